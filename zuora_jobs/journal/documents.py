"""Documents as a journal keeps them: as received, less what is secret.

A presigned URL keeps its path and loses what makes it one: the files can be asked for again, by asking about the job.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus

from zuora_jobs.protocol import wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zuora_jobs.protocol.kinds import JobKind, JobT
    from zuora_jobs.protocol.models import JobDocument

HIDDEN: Final = "(hidden)"

SHORTEST_SECRET: Final = 8
"""Characters; what is shorter is a test's, and occurs in any text."""

LONGEST_TEXT: Final = 2000
"""Characters of a status or a message that are kept beside the document."""

_URL_OR_QUERY: Final = re.compile(r"""(?:://|\?)(?:[^"\\\s]|\\.)*""")
"""In JSON: the rest of an URL after its scheme, or of a query that stands alone."""

_SIGNATURES: Final = ("x-amz-", "signature", "sig=", "token")


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


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """Take out of a text, or of JSON, the queries and fragments of URLs, who is named in them, and *secrets*."""
    if "://" in text or "?" in text:
        text = _URL_OR_QUERY.sub(_disarmed, text)
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            for form in {secret, quote_plus(secret), json.dumps(secret)[1:-1]}:
                text = text.replace(form, HIDDEN)
    return text


def _disarmed(match: re.Match[str]) -> str:
    found = match[0]
    if found.startswith("?"):
        return f"?{HIDDEN}" if any(sign in found.lower() for sign in _SIGNATURES) else found
    address = re.split(r"[?#]", found, maxsplit=1)[0]
    authority, slash, path = address[3:].partition("/")
    shown = f"://{authority.rpartition('@')[2]}{slash}{path}"
    return shown if address == found else f"{shown}?{HIDDEN}"
