"""Takes out of texts from outside what nobody is to read: presigned URLs, and what was sent along and came back.

A presigned URL keeps its path and loses what makes it one: the file can be asked for again, by asking about its job.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN: Final = "(hidden)"

SHORTEST_SECRET: Final = 8
"""Characters; what is shorter is a test's, and occurs in any text."""

_URL_OR_QUERY: Final = re.compile(r"""(?:://|\?)(?:[^"\\\s]|\\.)*""")
"""The rest of an URL after its scheme, or a query that stands alone; in plain text and in JSON alike."""

_SIGNATURES: Final = ("x-amz-", "signature", "sig=", "token")


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
