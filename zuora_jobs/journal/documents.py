"""Documents and texts as a journal keeps them: as received, less what is secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeVar

from zuora_jobs.errors import MalformedResponse
from zuora_jobs.protocol import wire
from zuora_jobs.protocol.secrets import may_hold_secrets, without_secrets

if TYPE_CHECKING:
    from collections.abc import Sequence


T = TypeVar("T")

LONGEST_TEXT: Final = 2000
"""Characters of a status or a message that are kept beside the document."""


def to_text(document: object, secrets: Sequence[str] = ()) -> str:
    """Write *document* as JSON without what is secret; only ASCII, since what came may be no Unicode text."""
    text = _dumps(wire.to_json(document))
    return _dumps(_cleaned(json.loads(text), secrets)) if may_hold_secrets(text, secrets) else text


def from_text(text: str, model: type[T]) -> T:
    """Read a document back.

    Raises:
        MalformedResponse: it is damaged, or *model* has become another.
    """
    try:
        document = json.loads(text)  # not by wire's, to which two keys that were cleaned alike would be one too many
    except (ValueError, RecursionError) as error:
        message = f"the document is damaged: {type(error).__name__}"
        raise MalformedResponse(message) from None
    return wire.structure(model, document)


def clean(text: str, secrets: Sequence[str] = ()) -> str:
    """Make a text from outside fit for the journal: Unicode, of bounded length, without what is secret."""
    return without_secrets(text.encode("utf-8", "backslashreplace").decode(), secrets)[:LONGEST_TEXT]


def _dumps(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), default=str)  # a number beyond all floats becomes text


def _cleaned(document: Any, secrets: Sequence[str]) -> Any:
    """Take what is secret out of all keys and texts of *document*, in place; not by recursion, since it may be deep."""

    def clean_one(value: Any) -> Any:
        if isinstance(value, str):
            return without_secrets(value, secrets)
        if isinstance(value, dict | list):
            waiting.append(value)
        return value

    waiting: list[Any] = [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            items = list(node.items())
            node.clear()
            node.update((without_secrets(key, secrets), clean_one(value)) for key, value in items)
        else:
            node[:] = [clean_one(value) for value in node]
    return document
