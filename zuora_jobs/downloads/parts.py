"""A file on its way: `.name.part`, with a lock, and a note beside it of what it is a part of. Blocks.

- The part becomes the file by being renamed, when it is whole, right, and on the disk; so what has the name is all that.
- Whoever has the lock is the only one to write, in whatever process; it ends with him.
- The note is written when the part is empty. So what is in a part is always of the file that its note names, whenever
  the process is killed.
- Nothing is written through a link, of either kind.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from zuora_jobs import errnos
from zuora_jobs.downloads import names
from zuora_jobs.downloads.ranges import Source
from zuora_jobs.downloads.records import RecordCounter
from zuora_jobs.downloads.writeback import write_back
from zuora_jobs.errors import CannotSave

try:
    import fcntl
except ImportError:  # Windows: one process at a time
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NO_LINKS: Final[int] = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_BLOCK: Final = 1024 * 1024

_ADVICE: Final = errnos.advice(
    may_write="; the folder and what is in it must be such that this user may write them",
    make_room="; what is there of it stays: make room, and run the same again to go on from there",
) | {
    errno.EFBIG: "; the file system, or a limit of this process, takes no file of that size",
    errno.ELOOP: "; there is a link in its place: move it away",
}


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say in a sentence why the file at *path* cannot be written or read."""
    try:
        yield
    except OSError as error:
        message = f"cannot save {path}: {error.strerror or type(error).__name__}{_ADVICE.get(error.errno or 0, '')}"
        raise CannotSave(message, path=path) from error


def _size_of(path: Path) -> int | None:
    """Give the bytes of the file at *path*; None where there is none."""
    with told(path):
        try:
            there = path.lstat()
        except FileNotFoundError:
            return None
    if not stat.S_ISREG(there.st_mode):
        message = f"cannot save {path}: a link, a folder or a device is in its place: move it away"
        raise CannotSave(message, path=path)
    return there.st_size


class Part:
    """What is there of one file. One thread at a time.

    Args:
        path: where the file is to be.
        counts: whether its records are counted as they come.
    """

    def __init__(self, path: Path, *, counts: bool) -> None:
        self.path = path
        self.place = path.with_name(names.part_name(path.name))
        """Where the part is."""
        self.have = 0
        """Bytes that are there."""
        self.source: Source | None = None
        """What they are a part of; None: not known, or not to be gone on with."""
        self.was_resumed = False
        """Whether the part was begun by another answer than its end."""
        self._note = path.with_name(names.note_name(path.name))
        self._counts = counts
        self._counter = RecordCounter()
        self._file = -1
        self._on_its_way = 0
        """Bytes that the disk has been told to begin with."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return self.source is not None and self.source.size == self.have

    @property
    def records(self) -> int | None:
        """How many have come, where they are counted."""
        return self._counter.records if self._counts else None

    @property
    def goes_on_at(self) -> int:
        """The byte from which on to ask for the rest; 0: from the beginning."""
        source = self.source
        if source is None or source.validator is None or (source.size is not None and self.have >= source.size):
            return 0
        return self.have

    def saved_size(self) -> int | None:
        """Give the bytes of the file, where it has been saved; else None.

        Raises:
            CannotSave: something else is in its place.
        """
        size = _size_of(self.path)
        if size is not None:
            with suppress(OSError):  # whoever saved it may have been killed just after that
                self._note.unlink(missing_ok=True)
        return size

    def open(self) -> bool:
        """Open the part, or begin one; False where somebody else writes to it at present.

        Raises:
            CannotSave: that is not possible.
        """
        with told(self.path):
            while True:
                file = os.open(self.place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | _NO_LINKS, 0o666)
                try:
                    self._check(file)
                    if not _lock(file):
                        return False
                    if _is_at(file, self.place):  # and has not become the file itself while we waited
                        self._file, file = file, -1
                        break
                finally:
                    if file >= 0:
                        os.close(file)
            self.have = os.fstat(self._file).st_size
            self.source = self._read_note() if self.have else None
            self.was_resumed = self.is_whole
        return True

    def begin_at(self, at: int, source: Source) -> None:
        """Get ready for the bytes of *source* from *at* on, which there are already up to there.

        Raises:
            CannotSave: the disk says no.
        """
        with told(self.path):
            if at == 0:
                os.ftruncate(self._file, 0)
                self._counter = RecordCounter()
                self._write_note(source)
            self.was_resumed = at > 0
            self.have, self.source = at, source
            self._on_its_way = at
            os.lseek(self._file, at, os.SEEK_SET)

    def write(self, data: bytes | bytearray) -> None:
        """Take the next bytes.

        Raises:
            CannotSave: the disk says no; what it took is there.
        """
        rest = memoryview(data)
        with told(self.path):
            self._count_to(self.have)
            while rest:
                written = os.write(self._file, rest)
                self.have += written
                rest = rest[written:]
            self._on_its_way = write_back(self._file, self._on_its_way, self.have)
            if self._counts:
                self._counter.feed(data)

    def begin_anew(self) -> None:
        """Trust nothing of what is there."""
        self.source = None

    def end(self) -> None:
        """Have it all on the disk, and counted."""
        with told(self.path):
            self._count_to(self.have)
            os.fsync(self._file)

    def keep(self) -> None:
        """Make it the file.

        Raises:
            CannotSave: something is in its place, or the disk says no.
        """
        _size_of(self.path)
        self._become(self.path)

    def reject(self) -> Path:
        """Put it aside; give where it is."""
        beside = self.path.with_name(names.rejected_name(self.path.name))
        self._become(beside)
        return beside

    def discard(self) -> None:
        """Leave nothing of it."""
        with told(self.path):
            self.place.unlink(missing_ok=True)
            self._note.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let others have it; an empty one is not left behind. A second time does nothing."""
        if self._file < 0:
            return
        with suppress(OSError):
            if os.fstat(self._file).st_size == 0 and _is_at(self._file, self.place):
                self.place.unlink()
                self._note.unlink(missing_ok=True)
        file, self._file = self._file, -1
        os.close(file)

    def _become(self, path: Path) -> None:
        with told(path):
            if fcntl is None:  # nothing that is open can be renamed there
                os.close(self._file)
                self._file = -1
            self.place.replace(path)
            _sync_folder(path.parent)
            self._note.unlink(missing_ok=True)
        self.close()

    def _count_to(self, end: int) -> None:
        """Count what an earlier run has left."""
        if not self._counts or self._counter.bytes == end:
            return
        self._counter = RecordCounter()
        os.lseek(self._file, 0, os.SEEK_SET)
        while missing := end - self._counter.bytes:
            block = os.read(self._file, min(_BLOCK, missing))
            if not block:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            self._counter.feed(block)
        os.lseek(self._file, end, os.SEEK_SET)

    def _check(self, file: int) -> None:
        there = os.fstat(file)
        if not stat.S_ISREG(there.st_mode) or there.st_nlink > 1:
            message = f"cannot save {self.path}: {self.place} is no file of ours: move it away"
            raise CannotSave(message, path=self.path)

    def _read_note(self) -> Source | None:
        try:
            file = os.open(self._note, os.O_RDONLY | _NO_LINKS)
            with os.fdopen(file, "rb") as note:
                content: Any = json.loads(note.read(4096))
            validator, size = content["validator"], content["size"]
        except (OSError, ValueError, TypeError, LookupError):
            return None
        good = isinstance(validator, str | None) and isinstance(size, int | None)
        return Source(validator, size) if good and (size is None or self.have <= size) else None

    def _write_note(self, source: Source) -> None:
        self._note.unlink(missing_ok=True)  # which may be another's, under a second name
        file = os.open(self._note, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | _NO_LINKS, 0o666)
        with os.fdopen(file, "wb") as note:
            note.write(json.dumps({"validator": source.validator, "size": source.size}).encode())


def _lock(file: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk too, where a folder can be opened."""
    with suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
