"""What a file holds: bytes in memory, or a part of a file on disk that is never in memory as a whole.

- Both are `Content`: they have a length, and a slice of one is bytes. Deliveries need no more.
- `Shelf` keeps what a test has put in place of the usual content, and what it has purged.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

PIECE = 1 << 16
"""Bytes that are sent in one go."""


@frozen
class FilePart:
    """*size* bytes of a file on disk, read only as they are asked for."""

    path: Path
    first: int
    size: int

    @classmethod
    def whole(cls, path: Path) -> FilePart:
        """All of a file, as long as it is now."""
        return cls(path, 0, path.stat().st_size)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.size)
        with self.path.open("rb") as file:
            file.seek(self.first + start)
            return file.read(max(stop - start, 0))


Content = bytes | FilePart


def portion(content: Content, first: int, end: int) -> Content:
    """The bytes of *content* from *first* up to, and without, *end*."""
    if isinstance(content, bytes):
        return content[first:end]
    return FilePart(content.path, content.first + first, end - first)


def pieces(content: Content, end: int | None = None) -> Iterator[bytes]:
    """*content* up to *end*, in pieces small enough to be sent in one go."""
    last = len(content) if end is None else min(end, len(content))
    return (content[first : min(first + PIECE, last)] for first in range(0, last, PIECE))


def etag_of(content: Content) -> str:
    """The ETag of a whole file. One on disk is told by its size and age, so that it need not be read."""
    if isinstance(content, bytes):
        mark = content
    else:
        mark = f"{content.path} {content.size} {content.path.stat().st_mtime_ns}".encode()
    return f'"{hashlib.sha256(mark).hexdigest()[:32]}"'


class Shelf:
    """Files that a test has put in place of the usual ones, by name, and those that are gone."""

    def __init__(self) -> None:
        self._own: dict[str, tuple[bytes | Path, datetime]] = {}
        self._purged: set[str] = set()

    def put(self, name: str, content: bytes | str | Path, at: datetime) -> None:
        """Hold *content* under *name*: text as UTF-8, a path as the file there."""
        if isinstance(content, Path) and not content.is_file():
            msg = f"there is no file {content}"
            raise ConfigurationError(msg)
        self._own[name] = (content.encode() if isinstance(content, str) else content), at
        self._purged.discard(name)

    def purge(self, name: str) -> None:
        """Have nothing under *name* any more."""
        self._purged.add(name)

    def purged(self, name: str) -> bool:
        """Whether the file of that name is gone."""
        return name in self._purged

    def own(self, name: str) -> tuple[Content, datetime] | None:
        """What a test has put there, and when."""
        if name not in self._own:
            return None
        content, at = self._own[name]
        return (FilePart.whole(content) if isinstance(content, Path) else content), at
