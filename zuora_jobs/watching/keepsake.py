"""The last answer about each job that waits, in little memory: pure.

A job that waits needs its last document only in the end, and then perhaps not at all, but 100,000 of them fill a gigabyte
as objects. Kept are the answer's bytes, and of large fleets their difference to the first answer of the same kind.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from zuora_jobs.protocol.kinds import JobKind

MANY: Final = 2_000
"""Jobs from which it is worth some microseconds a look to keep less."""

_WINDOW_BITS: Final = -12
_MEMORY_LEVEL: Final = 4
_LEVEL: Final = 6
"""Of zlib: a small window is set up faster, and a document is small."""

_PACKED: Final = b"\x01"
"""How what is packed begins, and no JSON in any encoding does."""


class Keepsakes:
    """Packs answers, and unpacks them."""

    def __init__(self) -> None:
        self._samples: dict[JobKind[Any], bytes] = {}
        """The first answer of each kind, which others are much like."""

    def pack(self, kind: JobKind[Any], body: bytes, *, many: bool) -> bytes:
        """Give what is to be kept of *body*; packed where there are *many*."""
        if not many:
            return body
        sample = self._samples.setdefault(kind, body)
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, sample)
        return _PACKED + packer.compress(body) + packer.flush()

    def unpack(self, kind: JobKind[Any], kept: bytes) -> bytes:
        """Give the answer's bytes back."""
        if not kept.startswith(_PACKED):
            return kept
        unpacker = zlib.decompressobj(_WINDOW_BITS, self._samples[kind])
        return unpacker.decompress(kept[len(_PACKED) :])
