"""How the command ends: exit statuses, and signals as an exception."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ALL_SUCCEEDED: Final = 0
SOME_DID_NOT: Final = 1
USAGE: Final = 2
SOME_LOST: Final = 3
INTERRUPTED: Final = 130


def status_of(outcomes: Iterable[str], *, good: str = "succeeded") -> int:
    """Give the exit status for how the jobs ended, by the names of the outcomes; *good* is the one that was wanted."""
    names = set(outcomes)
    if "lost" in names:
        return SOME_LOST
    return SOME_DID_NOT if names - {good} else ALL_SUCCEEDED


class Interrupted(Exception):
    """The user (Ctrl-C) or the system (SIGTERM) wants us to end."""


class ReaderGone(Exception):
    """Who read our output has gone. Click would end with 1 on a BrokenPipeError, and rich does."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted in this block when a signal comes; to be used in a task, around what it awaits."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None  # noqa: S101 - we are in one
    came = False

    def on_signal() -> None:
        nonlocal came
        if not came:
            came = True
            task.cancel()

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    except asyncio.CancelledError:
        if came and not task.uncancel():
            raise Interrupted from None
        raise
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
