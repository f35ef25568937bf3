"""Where what waits for the disk runs, and what room the disk has for downloads."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from zuora_jobs.errors import CannotSave

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from pathlib import Path

T = TypeVar("T")

_MIB: Final = 1024 * 1024


async def in_thread(
    executor: Executor | None, work: Callable[..., T], *arguments: Any, give_up: Callable[[], None] = lambda: None
) -> T:
    """Run *work* elsewhere, and never leave before it has ended: it may hold a file that somebody else has next.

    Args:
        executor: runs it; None: a thread of the loop's own.
        work: what is to be done.
        arguments: of it.
        give_up: called when whoever waits for it is cancelled, so that it may end sooner.
    """
    future = asyncio.get_running_loop().run_in_executor(executor, partial(work, *arguments))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        give_up()
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # told to nobody
        raise


class Room:
    """What downloads under way will still take of the disk."""

    def __init__(self) -> None:
        self._claims: dict[Path, int] = {}

    def claim(self, path: Path, needed: int, free: int) -> None:
        """Have room for *needed* more bytes of the file at *path*, out of *free* ones.

        Raises:
            CannotSave: there is not enough beside what the others will take.
        """
        promised = sum(claimed for other, claimed in self._claims.items() if other != path)
        if needed > free - promised:
            others = f", of which downloads under way will take {_mib(promised)}" if promised else ""
            message = (
                f"there is no room for {path}: it needs {_mib(needed)} more, and {_mib(free)} are free{others}:"
                " make room, and run the same again"
            )
            raise CannotSave(message, path=path)
        self._claims[path] = needed

    def use(self, path: Path, count: int) -> None:
        """Take note that so many bytes have been written."""
        self._claims[path] = max(0, self._claims.get(path, 0) - count)

    def give_back(self, path: Path) -> None:
        """Take note that no more will be written."""
        self._claims.pop(path, None)


def _mib(count: int) -> str:
    return f"{count / _MIB:,.1f} MiB"
