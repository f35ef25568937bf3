"""Reads the body of an answer into bounded memory, whatever the server sends. Knows no HTTP library.

A body is as large as its sender likes, and a few kilobytes of gzip inflate to gigabytes; here both end at a limit.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LARGEST: Final = 4 * 1024 * 1024
"""Bytes of an answer, inflated. A job's document has kilobytes; one that names 100,000 invoices has three million."""

_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32


_ANOTHER: Final = b"\x1f\x8b"
"""How a further member of gzip begins. Padding after the first is passed over, a member must not be."""

_COMPRESSED: Final = frozenset({"gzip", "x-gzip", "deflate"})
"""We ask for gzip; a proxy may choose the other."""


class TooLarge(ValueError):
    """More than `LARGEST` bytes."""


class Undecodable(ValueError):
    """Not compressed as its header says, or not to the end."""


async def read_body(next_chunk: Callable[[], Awaitable[bytes]], encoding: str) -> bytes:
    """Read a body to its end.

    Args:
        next_chunk: gives some bytes of it, and none at its end.
        encoding: its `Content-Encoding`.

    Raises:
        TooLarge: on the wire or inflated; the rest is left unread.
        Undecodable: it is not compressed as promised, or cut short.
    """
    packed = zlib.decompressobj(_GZIP_OR_ZLIB) if encoding.strip().lower() in _COMPRESSED else None
    body = bytearray()
    received = 0
    while chunk := await next_chunk():
        received += len(chunk)
        body += _inflate(packed, chunk, LARGEST + 1 - len(body)) if packed is not None else chunk
        if max(received, len(body)) > LARGEST:
            raise TooLarge
    if packed is not None and received and (not packed.eof or packed.unused_data.startswith(_ANOTHER)):
        raise Undecodable
    return bytes(body)


def _inflate(packed: zlib._Decompress, chunk: bytes, most: int) -> bytes:
    try:
        return packed.decompress(chunk, most)
    except zlib.error:
        raise Undecodable from None
