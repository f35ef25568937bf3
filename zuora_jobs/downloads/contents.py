"""Looks through a file that has come whole: whether its archive can be opened, and how many records it has. Blocks.

Memory is the same whatever the size. What is encrypted, or of a format that we do not know, is not looked into.
"""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from contextlib import contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING, Final, cast

from attrs import frozen

from zuora_jobs.downloads.records import RecordCounter, ways_to_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CSV: Final = ".csv"
GZIP: Final = ".csv.gz"
ZIP: Final = ".zip"

TABLES: Final = frozenset({CSV, GZIP, ZIP})
"""What records are counted in, where Zuora says how many there must be."""

_BLOCK: Final = 1024 * 1024

_DAMAGED: Final = (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError)


class GivenUp(Exception):
    """Nobody wants to know any more."""


@frozen
class Findings:
    """What a file turned out to be."""

    records: int | None
    """None: it was not counted."""
    problem: str | None = None
    """What is wrong with it, as the end of a sentence."""


def examine(
    path: Path, suffix: str, expected: int | None, counted: int | None, is_given_up: Callable[[], bool]
) -> Findings:
    """Look through the file at *path*.

    Args:
        path: where it is.
        suffix: what it is, see `ResultFile.suffix`.
        expected: how many records it must have; None: any number.
        counted: how many it has, where they were counted on their way.
        is_given_up: asked again and again whether to stop.

    Raises:
        OSError: it cannot be read.
        GivenUp: *is_given_up* said so.
    """
    go_on = partial(_go_on, is_given_up)
    try:
        if suffix == GZIP:
            if path.stat().st_size == 0:  # which Python takes for an archive of nothing
                raise EOFError
            with _csv_in(path, suffix) as content:
                counted = _read_through(content, go_on)
        elif suffix == ZIP:
            counted = _look_into_archive(path, go_on, counts=expected is not None)
        if expected is None or counted is None or counted == expected:
            return Findings(counted)
        with _csv_in(path, suffix) as content:
            if expected in ways_to_count(content, go_on):
                return Findings(expected)
    except _DAMAGED as error:
        return Findings(None, f"is damaged ({type(error).__name__})")
    return Findings(counted, f"has {counted} records, and Zuora counted {expected}")


def count(path: Path, suffix: str, is_given_up: Callable[[], bool]) -> int | None:
    """Count the records of a whole file; None where it is no table.

    Raises:
        OSError, GivenUp: as `examine`.
    """
    go_on = partial(_go_on, is_given_up)
    if suffix not in TABLES:
        return None
    try:
        with _csv_in(path, suffix) as content:
            return _read_through(content, go_on)
    except _DAMAGED:
        return None


def _go_on(is_given_up: Callable[[], bool]) -> None:
    if is_given_up():
        raise GivenUp


def _read_through(content: IO[bytes], go_on: Callable[[], None]) -> int:
    counter = RecordCounter()
    while block := content.read(_BLOCK):
        counter.feed(block)
        go_on()
    return counter.records


def _look_into_archive(path: Path, go_on: Callable[[], None], *, counts: bool) -> int | None:
    """Read all members of an archive; give the records of the only table in it."""
    with zipfile.ZipFile(path) as archive:
        table = _table_in(archive) if counts else None
        counted = None
        for member in archive.infolist():
            try:
                with archive.open(member) as content:
                    records = _read_through(content, go_on)
            except (NotImplementedError, RuntimeError):  # packed or encrypted in a way that Python does not know
                continue
            counted = records if member is table else counted
        return counted


@contextmanager
def _csv_in(path: Path, suffix: str) -> Iterator[IO[bytes]]:
    if suffix == ZIP:
        with zipfile.ZipFile(path) as archive, archive.open(_table_in(archive) or "") as content:
            yield content
    elif suffix == GZIP:
        with gzip.open(path) as unpacked:
            yield cast("IO[bytes]", unpacked)
    else:
        with path.open("rb") as content:
            yield content


def _table_in(archive: zipfile.ZipFile) -> zipfile.ZipInfo | None:
    tables = [member for member in archive.infolist() if member.filename.casefold().endswith(CSV)]
    return tables[0] if len(tables) == 1 else None
