"""Writes entries from a loop that never waits for the disk.

One thread of its own writes. What comes while a batch is being written is the next batch, and no batch follows another
sooner than `PAUSE`, so that a busy watcher pays for few of them. Entries that somebody waits for are written at once, the
others with them, or at most `LINGER` later.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from zuora_jobs.errors import JournalError
from zuora_jobs.logs import about

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from zuora_jobs.journal.entries import Entry, Past
    from zuora_jobs.journal.store import Store

log = logging.getLogger("zuora_jobs")

T = TypeVar("T")

PAUSE: Final = 0.2
"""Seconds from the beginning of a batch to that of the next."""

LINGER: Final = 1.0
"""Seconds that an entry for which nobody waits may wait itself; a crash may take such entries with it."""

LARGEST_BATCH: Final = 1000
"""Entries that are written, and whose answers are told, in one go: about ten milliseconds."""


class Writer:
    """Takes entries for a store, in their order, and tells whoever waits when they are on the disk.

    Args:
        store: where they go.
        executor: runs what waits for the disk, one thing at a time; by default a thread of its own.
    """

    def __init__(self, store: Store, executor: Executor | None = None) -> None:
        self.failure: JournalError | None = None
        """Why nothing more can be written."""
        self.closed = False
        self.on_failure: Callable[[JournalError], None] | None = None
        self.last_words: Callable[[], Entry | None] = lambda: None
        """Asked before each batch what else is to be in it."""
        self._store = store
        self._own_executor = None if executor is not None else ThreadPoolExecutor(1, "zuora-jobs-journal")
        self._executor = executor or self._own_executor
        self._entries: list[tuple[Entry, Callable[[Any], None] | None]] = []
        self._added = 0
        """Entries since the beginning."""
        self._taken = 0
        """Of those, how many have been handed to the thread."""
        self._urgent = False
        self._writing: asyncio.Future[list[Past | None]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._begins_at = 0.0
        self._may_write_at = float("-inf")
        self._awaited: set[asyncio.Future[None]] = set()

    def add(self, entry: Entry, then: Callable[[Any], None] | None = None) -> None:
        """Write *entry*, and when it is on the disk tell *then* what the store answers."""
        if self.failure is not None or self.closed:
            return  # who waits has been told, or has left
        self._entries.append((entry, then))
        self._added += 1
        self._urgent = self._urgent or then is not None
        if self._writing is None:
            self._arrange()

    def add_all(self, entries: Sequence[Entry]) -> asyncio.Future[None]:
        """Write *entries*; what is given may be awaited, and is done when they are on the disk."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.failure is not None or self.closed:
            _fail(told, self.failure or self._is_closed())
        elif not entries:
            told.set_result(None)
        else:
            self._awaited.add(told)
            told.add_done_callback(self._awaited.discard)
            for entry in entries[:-1]:
                self.add(entry)
            self.add(entries[-1], lambda _: None if told.done() else told.set_result(None))
        return told

    async def read(self, question: Callable[[], T]) -> T:
        """Ask the store, once it has what was added before, where that does not hold up the loop.

        Raises:
            JournalError: it does not know, or is closed.
        """
        await self._flush_to(self._added)
        return await self.read_earlier(question)

    async def read_earlier(self, question: Callable[[], T]) -> T:
        """Ask the store of what it has, without waiting for what is still to be written.

        Raises:
            JournalError: as `read`.
        """
        self.check()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, question)
        except RuntimeError as error:  # the executor has been shut down
            message = f"cannot read the journal {self._store.path}: {error}"
            raise JournalError(message) from None

    def check(self) -> None:
        """Make sure that something can still be written.

        Raises:
            JournalError: why not.
        """
        if self.failure is not None:
            raise self.failure.with_traceback(None)
        if self.closed:
            raise self._is_closed()

    async def flush(self) -> None:
        """Wait until all entries are on the disk, or have met an error."""
        await self._flush_to(float("inf"))

    async def _flush_to(self, count: float) -> None:
        """Wait until so many entries have been handed over since the beginning, or all there are have been written."""
        while self.failure is None and self._taken < count and (self._writing or self._entries):
            if self._writing is None:
                self._begin()
            if self._writing is not None:
                await asyncio.wait([self._writing])

    async def close(self) -> None:
        """Write what is left, and close the store."""
        if self.closed:
            return
        try:
            await self.flush()
        finally:
            self.closed = True
            if self._timer is not None:
                self._timer.cancel()
            for told in list(self._awaited):  # none, unless this was cut short
                _fail(told, self._is_closed())
            loop = asyncio.get_running_loop()
            try:
                await asyncio.shield(loop.run_in_executor(self._executor, self._store.close))
            except RuntimeError:  # the executor has been shut down
                self._store.close()
            finally:
                if self._own_executor is not None:
                    self._own_executor.shutdown(wait=False)

    def _arrange(self) -> None:
        """Have the next batch written as soon as it is worth it."""
        loop = asyncio.get_running_loop()
        due = max(self._may_write_at, loop.time() + (0 if self._urgent else LINGER))
        if self._timer is not None:
            if self._begins_at <= due:
                return
            self._timer.cancel()
        # the moment is kept here, since not every loop's timers tell theirs
        self._timer, self._begins_at = loop.call_at(due, self._begin), due

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (entry := self.last_words()) is not None:
            self._entries.append((entry, None))
            self._added += 1
        loop = asyncio.get_running_loop()
        batch, self._entries = self._entries[:LARGEST_BATCH], self._entries[LARGEST_BATCH:]
        self._taken += len(batch)
        self._urgent = bool(self._entries)
        self._may_write_at = loop.time() + (0 if self._entries else PAUSE)
        try:
            self._writing = loop.run_in_executor(self._executor, self._store.write, [entry for entry, _ in batch])
        except RuntimeError as error:  # the executor has been shut down
            self._give_up(error)
            return
        self._writing.add_done_callback(partial(self._written, [then for _, then in batch]))

    def _written(
        self, waiting: Sequence[Callable[[Any], None] | None], writing: asyncio.Future[list[Past | None]]
    ) -> None:
        self._writing = None
        error = asyncio.CancelledError("its thread was stopped") if writing.cancelled() else writing.exception()
        if error is not None:
            self._give_up(error)
            return
        for then, answer in zip(waiting, writing.result(), strict=True):
            if then is not None:
                try:
                    then(answer)
                except Exception:  # one who waited must not keep it from the others
                    log.exception("what waited for the journal failed")
        if self._entries and self._writing is None and not self.closed:
            self._arrange()

    def _give_up(self, error: BaseException) -> None:
        if not isinstance(error, JournalError):
            log.error(
                "writing the journal went wrong", exc_info=error, extra=about(error=error, path=str(self._store.path))
            )
            error = JournalError(f"cannot write the journal {self._store.path}: {type(error).__name__}; see the log")
        self.failure = error.with_traceback(None)
        self._entries.clear()
        for told in list(self._awaited):
            _fail(told, self.failure)
        if self.on_failure is not None:
            self.on_failure(self.failure)

    def _is_closed(self) -> JournalError:
        return JournalError(f"the journal {self._store.path} is closed: open it anew with Journal.open")


def _fail(told: asyncio.Future[None], error: JournalError) -> None:
    if not told.done():
        told.set_exception(error)
        told.exception()  # who does not wait does not want to know
