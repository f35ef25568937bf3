"""Takes out of texts from outside what nobody is to read: presigned URLs, and what was sent along and came back.

A presigned URL keeps its path and loses what makes it one: the file can be asked for again, by asking about its job.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN: Final = "(hidden)"

SHORTEST_SECRET: Final = 8
"""Characters; what is shorter is a test's, and occurs in any text."""

_URL: Final = re.compile(r"""://[^\s"'<>]*""")
"""The rest of an URL after its scheme."""

_SIGNATURE: Final = re.compile(
    r"""(?:x-amz-[\w-]*|(?:\b|(?<=%[0-9a-f]{2}))(?:signature|sig|access_token|token))(?:=|%3d|\\u003d)[^\s"'<>]+""",
    re.IGNORECASE,
)
"""A signature and whatever follows it, wherever it stands."""

_WORD: Final = re.compile(r"[A-Za-z0-9]+")


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """Take out of a text the queries and fragments of URLs, who is named in them, signatures, and *secrets*.

    Args:
        text: of any length; the time this takes grows with it and no faster.
        secrets: are found also where they are percent-encoded, or written as in JSON.
    """
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET and _longest_word(secret) in text:
            text = _spellings(secret).sub(HIDDEN, text)
    if "://" in text:
        text = _URL.sub(_disarmed, text)
    return _SIGNATURE.sub(HIDDEN, text) if _might_be_signed(text) else text


def may_hold_secrets(text: str, secrets: Iterable[str] = ()) -> bool:
    """Tell quickly whether there may be something to take out of *text*, which may be JSON."""
    return (
        "://" in text
        or _might_be_signed(text)
        or any(len(secret) >= SHORTEST_SECRET and _longest_word(secret) in text for secret in secrets)
    )


def _might_be_signed(text: str) -> bool:
    return "=" in text or "%3" in text or "u003" in text


def _disarmed(match: re.Match[str]) -> str:
    address = re.split(r"[?#]", match[0], maxsplit=1)[0]
    authority, slash, path = address[3:].partition("/")
    shown = f"://{authority.rpartition('@')[2]}{slash}{path}"
    return shown if address == match[0] else f"{shown}?{HIDDEN}"


@lru_cache(maxsize=32)
def _longest_word(secret: str) -> str:
    """Give what of *secret* is spelled alike everywhere."""
    return max(_WORD.findall(secret), key=len, default="")


@lru_cache(maxsize=32)
def _spellings(secret: str) -> re.Pattern[str]:
    return re.compile("".join(_spelled(char) for char in secret))


def _spelled(char: str) -> str:
    if char.isascii() and char.isalnum():
        return char
    code = "".join(f"%{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
    plus = r"|\+" if char == " " else ""
    return rf"(?:(?i:{code}|\\+u{ord(char):04x})|\\*{re.escape(char)}{plus})"  # JSON within JSON has more backslashes
