"""How a file is asked for from some byte on, and what the answer gives: pure. RFC 9110, sections 8.8, 13.1.5 and 14.

A server that has another file meanwhile says so by a 200 instead of a 206, since it is asked under a condition. What says
nothing that can be such a condition is fetched from its beginning.
"""

from __future__ import annotations

import re
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTIAL: Final = 206

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e]*"')


@frozen
class Source:
    """What a server says of a file."""

    validator: str | None
    """Its strong ETag, or the date of its last change: what tells it from another; None: nothing does."""
    size: int | None
    """Bytes of the whole; None: unknown until the end."""


@frozen
class Incoming:
    """What comes: the bytes of *source* from *at* on."""

    at: int
    source: Source


def asking(at: int, source: Source | None) -> dict[str, str]:
    """Give the headers that ask for *source* from byte *at* on."""
    if at == 0 or source is None or source.validator is None:
        return {}
    return {"Range": f"bytes={at}-", "If-Range": source.validator}


def incoming(status: int, headers: Mapping[str, str], asked: int, known: Source | None) -> Incoming | None:
    """Tell what an answer of 200 or 206 gives.

    Args:
        status: of the answer.
        headers: of the answer.
        asked: the byte that was asked for.
        known: what earlier answers said of the file.

    Returns:
        None where it is not what was asked for, and cannot be put together with what there is.
    """
    if status != PARTIAL:
        return Incoming(0, Source(validator_of(headers), _length(headers)))
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if found is None or known is None or asked == 0:
        return None
    first, last = int(found[1]), int(found[2])
    size = known.size if found[3] == "*" else int(found[3])
    length = _length(headers)
    fits = (
        first == asked
        and last >= first
        and (size is None or last < size)
        and size in {known.size, known.size or size}
        and length in {None, last - first + 1}
        and validator_of(headers) in {None, known.validator}
    )
    return Incoming(first, Source(known.validator, size)) if fits else None


def validator_of(headers: Mapping[str, str]) -> str | None:
    """Give what tells this file from a later one for certain; None where nothing does.

    A date does if the answer is younger by a second at least, since two changes may fall into one.
    """
    etag = headers.get("etag", "")
    if _STRONG_ETAG.fullmatch(etag):
        return etag
    changed, now = headers.get("last-modified", ""), headers.get("date", "")
    try:
        is_strong = parsedate_to_datetime(now) - parsedate_to_datetime(changed) >= timedelta(seconds=1)
    except (TypeError, ValueError, OverflowError):
        return None
    return changed if is_strong and changed.isascii() and changed.isprintable() else None


def _length(headers: Mapping[str, str]) -> int | None:
    """Give the length of the body; None where it is sent in chunks, or until the connection ends."""
    text = headers.get("content-length", "")
    known = text.isascii() and text.isdigit() and len(text) < 19 and "transfer-encoding" not in headers  # noqa: PLR2004
    return int(text) if known else None
