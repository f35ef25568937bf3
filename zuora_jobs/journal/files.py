"""The files of a journal: the database itself, and a lock beside it that ends with the process that holds it.

Journals are for their owner's eyes: 0600. The lock is a database too, so that it works wherever SQLite does.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from zuora_jobs import errnos
from zuora_jobs.errors import CorruptJournal, JournalError, JournalInUse

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY: Final = 10.0
"""Seconds to wait for somebody who looks into the database with a tool of his own."""

_CORRUPT: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_MAY_WRITE: Final = "; it must be a file that this user may write, in a folder that he may write"
_MAKE_ROOM: Final = "; what it has stays: make room, and run the same again to go on from there"
_ADVICE: Final = errnos.advice(may_write=_MAY_WRITE, make_room=_MAKE_ROOM)


@contextmanager
def told(path: Path, doing: str) -> Iterator[None]:
    """Say in a sentence what is wrong with the journal at *path*, instead of in SQLite's words alone."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF == sqlite3.SQLITE_NOTADB:
            message = (
                f"{path} is no journal ({error}): name another file; if it was one, it is damaged: move it away,"
                " and begin a new one with the same handles"
            )
            raise CorruptJournal(message) from error
        if code is not None and code & 0xFF == sqlite3.SQLITE_CORRUPT:
            raise CorruptJournal(_damaged(path, error)) from error
        message = f"cannot {doing} the journal {path}: {error}{_advice(code)}"
        raise JournalError(message) from error
    except OSError as error:
        message = f"cannot {doing} the journal {path}: {error.strerror or error}{_ADVICE.get(error.errno or 0, '')}"
        raise JournalError(message) from error
    except (TypeError, ValueError) as error:
        if doing != "read":
            raise  # a mistake of ours
        raise CorruptJournal(_damaged(path, f"{type(error).__name__} in a row")) from error


def _damaged(path: Path, what: object) -> str:
    return (
        f"the journal {path} is damaged ({what}): move it away, and begin a new one with the same handles;"
        " what had ended will be asked for again"
    )


def _advice(code: int | None) -> str:
    match (code or 0) & 0xFF:
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            return _MAKE_ROOM
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return _MAY_WRITE
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "; another program has locked it"
    return ""


def resolved(path: str | os.PathLike[str]) -> Path:
    """Give the whole path of a journal that is to be written.

    Raises:
        JournalError: there can be none.
    """
    try:
        whole = Path(path).expanduser().resolve()
        is_folder, has_folder = whole.is_dir(), whole.parent.is_dir()
        is_other = not is_folder and whole.exists() and not whole.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long, no name at all, links in a circle, ~nobody
        message = f"cannot open the journal {str(path)!r}: {getattr(error, 'strerror', None) or error}"
        raise JournalError(message) from None
    if is_folder:
        message = f"the journal {whole} is a folder: name a file, such as {whole / 'run.db'}"
        raise JournalError(message)
    if is_other:
        message = f"the journal {whole} is a device or a pipe: name a file"
        raise JournalError(message)
    if not has_folder:
        message = f"there is no folder {whole.parent} for the journal: make it, or name another file"
        raise JournalError(message)
    return whole


def exists(path: str | os.PathLike[str]) -> bool:
    """Tell whether there is a file where a journal is named.

    Raises:
        JournalError: there can be none, or whether there is cannot be told.
    """
    whole = resolved(path)
    with told(whole, "open"):
        return whole.exists()


def lock(path: Path) -> sqlite3.Connection:
    """Keep everybody else from writing to the journal at *path*, until what is given is closed or the process ends.

    Raises:
        JournalInUse: somebody else does.
        JournalError: the folder cannot be written.
    """
    beside = _lock_of(path)
    with told(path, "lock"):
        _make(beside)
        held = sqlite3.connect(beside, isolation_level=None, timeout=0, check_same_thread=False)
        try:
            held.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            held.close()
            code = error.sqlite_errorcode & 0xFF
            if code in _CORRUPT:
                message = f"{beside} is in the place of the journal's lock, and is something else: move it away"
                raise JournalError(message) from None
            if code != sqlite3.SQLITE_BUSY:
                raise
            message = (
                f"the journal {path} is in use by another process (or another watcher of this one):"
                " wait until that has ended, or name another file (its lock ends with it, and need not be removed)"
            )
            raise JournalInUse(message) from None
    return held


def is_locked_for_the_first_time(path: Path) -> bool:
    """Tell whether nobody has ever locked the journal at *path*."""
    return not _lock_of(path).exists()


def forget_lock(path: Path) -> None:
    """Leave nothing beside what turned out to be no journal."""
    _lock_of(path).unlink(missing_ok=True)


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + "-lock")


def connect(path: Path) -> sqlite3.Connection:
    """Open the journal at *path*, which is made where there is none, and see whether it is whole; leave it as it is."""
    _make(path)
    if path.stat().st_nlink > 1:
        message = (
            f"the journal {path} has another name (a hard link), under which somebody else could write to it unseen:"
            " leave it one"
        )
        raise JournalError(message)
    database = sqlite3.connect(path, isolation_level=None, timeout=BUSY, check_same_thread=False)
    try:
        damage = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    except BaseException:
        database.close()
        raise
    if damage != "ok":
        database.close()
        raise CorruptJournal(_damaged(path, damage))
    return database


def identity(path: Path) -> tuple[tuple[int, int], ...]:
    """Tell which files the journal at *path* and its lock are, under whatever name."""
    try:
        stats = [one.stat() for one in (path, _lock_of(path))]
    except FileNotFoundError:
        return ()
    return tuple((stat.st_dev, stat.st_ino) for stat in stats)


def taken_away(path: Path) -> JournalError:
    """Say that the journal at *path*, or its lock, is not the one that was opened."""
    message = (
        f"the journal {path} or its lock was removed or replaced while it was being written:"
        " run the same again, with all handles if the journal is gone"
    )
    return JournalError(message)


def make_durable(database: sqlite3.Connection) -> None:
    """Have each commit on the disk before it is told."""
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA journal_mode = WAL")


def copy(path: Path) -> sqlite3.Connection:
    """Take a copy of the journal at *path* into memory, as of one moment, also while another process writes to it."""
    beside = path.with_name(path.name + "-wal")
    if not beside.exists():  # nobody writes, and nothing is left to be found beside it
        before = path.stat()
        try:
            taken = _copied(path, "immutable=1")
        except sqlite3.DatabaseError:
            if _is_still(path, before) and not beside.exists():
                raise
        else:
            if _is_still(path, before) and not beside.exists():
                return taken
            taken.close()  # somebody has written meanwhile, and what was taken may be half of it
    try:
        return _copied(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            raise
    with tempfile.TemporaryDirectory() as elsewhere:  # where SQLite may make what it needs beside it
        for one in (path, beside):
            if one.exists():
                shutil.copyfile(one, Path(elsewhere, one.name))
        return _copied(Path(elsewhere, path.name), "mode=rw")


def _is_still(path: Path, before: os.stat_result) -> bool:
    now = path.stat()
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)


def _copied(path: Path, how: str) -> sqlite3.Connection:
    taken = sqlite3.connect(":memory:", isolation_level=None)
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, timeout=BUSY)) as original:
            # waits for others, but not for ever as backup does
            original.execute("SELECT 1 FROM sqlite_master").fetchone()
            original.backup(taken)
    except BaseException:
        taken.close()
        raise
    return taken


def _make(path: Path) -> None:
    """Make an empty file that only its owner can read; one that is there is left as it is."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
