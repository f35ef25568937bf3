"""Handles from the command line and from files; every bad one is named before any request is made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zuora_jobs.errors import ConfigurationError, InvalidHandle
from zuora_jobs.protocol.kinds import JobHandle

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def gather(arguments: Sequence[str], source: str | None, *, journal: str | None = None) -> list[JobHandle[Any]]:
    """Read the handles of *arguments*, then those of the file *source* (`-`: standard input), each once.

    Raises:
        ConfigurationError: one is bad (where it stands is said), the file cannot be read, or there are none, where no
            *journal* has any.
    """
    handles: list[JobHandle[Any]] = [JobHandle.parse(text) for text in arguments]
    if source is not None:
        handles += _read(_lines_of(source), "standard input" if source == "-" else source)
    if not handles and (journal is None or source is not None):
        message = "no handles: give some, such as aqua:e20b07474688ad5001468daf10e501de, or a file of them with --from"
        raise ConfigurationError(message)
    return list(dict.fromkeys(handles))


def _lines_of(source: str) -> Iterable[str]:
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return raw.decode("utf-8-sig").splitlines()
    except OSError as error:
        message = f"cannot read {source}: {error.strerror or error}"
        raise ConfigurationError(message) from None
    except UnicodeDecodeError:
        message = f"cannot read {source}: it is not text in UTF-8"
        raise ConfigurationError(message) from None


def _read(lines: Iterable[str], name: str) -> list[JobHandle[Any]]:
    """Read one handle a line; blank lines and those that begin with # are passed over."""
    handles: list[JobHandle[Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            handles.append(JobHandle.parse(line))
        except InvalidHandle as error:
            message = f"{name}, line {number}: {error}"
            raise ConfigurationError(message) from None
    return handles
