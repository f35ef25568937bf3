"""Documents and texts as a journal keeps them: as received, less what is secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from zuora_jobs.protocol import wire
from zuora_jobs.protocol.secrets import HIDDEN, SHORTEST_SECRET, without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zuora_jobs.protocol.kinds import JobKind, JobT
    from zuora_jobs.protocol.models import JobDocument

__all__ = ["HIDDEN", "LONGEST_TEXT", "SHORTEST_SECRET", "clean", "from_text", "to_text", "without_secrets"]

LONGEST_TEXT: Final = 2000
"""Characters of a status or a message that are kept beside the document."""


def to_text(document: JobDocument, secrets: Iterable[str] = ()) -> str:
    """Write *document* as JSON without what is secret; only ASCII, since what came may be no Unicode text."""
    return without_secrets(json.dumps(wire.to_json(document), separators=(",", ":")), secrets)


def from_text(text: str, kind: JobKind[JobT]) -> JobT:
    """Read a document of *kind* back.

    Raises:
        MalformedResponse: it is damaged, or the kind's model has become another.
    """
    return wire.read(text.encode(), kind.model)


def clean(text: str, secrets: Iterable[str] = (), longest: int = LONGEST_TEXT) -> str:
    """Make a text from outside fit for the journal: Unicode, of bounded length, without what is secret."""
    return without_secrets(text[:longest].encode("utf-8", "backslashreplace").decode(), secrets)
