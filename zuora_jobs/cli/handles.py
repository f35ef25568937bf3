"""What a command is about, from the command line and from files; whatever is bad is named before any request is made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zuora_jobs.errors import ConfigurationError
from zuora_jobs.protocol.kinds import JobHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def gather(arguments: Sequence[str], source: str | None, *, journal: str | None = None) -> list[JobHandle[Any]]:
    """Read the handles of *arguments*, then those of the file *source* (`-`: standard input), each once.

    Raises:
        ConfigurationError: one is bad (where it stands is said), the file cannot be read, or there are none, where no
            *journal* has any.
    """
    handles: list[JobHandle[Any]] = read_all(arguments, source, JobHandle.parse)
    if not handles and (journal is None or source is not None):
        message = "no handles: give some, such as aqua:e20b07474688ad5001468daf10e501de, or a file of them with --from"
        raise ConfigurationError(message)
    return handles


def read_all(arguments: Sequence[str], source: str | None, read: Callable[[str], T]) -> list[T]:
    """Read *arguments*, then the lines of the file *source* (`-`: standard input), each once.

    Raises:
        ConfigurationError: one is bad (where it stands is said), or the file cannot be read.
    """
    found = [read(text) for text in arguments]
    if source is not None:
        name = "standard input" if source == "-" else source
        for number, line in enumerate(text_of(source).splitlines(), start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            try:
                found.append(read(line.strip()))
            except ConfigurationError as error:
                message = f"{name}, line {number}: {error}"
                raise ConfigurationError(message) from None
    return list(dict.fromkeys(found))


def text_of(source: str) -> str:
    """Read the file *source* (`-`: standard input).

    Raises:
        ConfigurationError: it cannot be read, or is no text.
    """
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        message = f"cannot read {source}: {error.strerror or error}"
        raise ConfigurationError(message) from None
    except UnicodeDecodeError:
        message = f"cannot read {source}: it is not text in UTF-8"
        raise ConfigurationError(message) from None
