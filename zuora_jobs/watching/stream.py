"""What `JobWatcher.stream` gives: to be entered for its events, and to be asked whose it is."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from zuora_jobs.watching.events import Event
    from zuora_jobs.watching.watcher import JobWatcher


class EventStream(AbstractAsyncContextManager["AsyncIterator[Event]"]):
    """Watches jobs for as long as its block is not left, and gives an async iterator of what happens."""

    def __init__(self, watcher: JobWatcher, events: AbstractAsyncContextManager[AsyncIterator[Event]]) -> None:
        self.watcher = watcher
        """Who watches: a pipeline's stages use its client."""
        self._events = events

    async def __aenter__(self) -> AsyncIterator[Event]:
        return await self._events.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._events.__aexit__(exc_type, exc, traceback)
