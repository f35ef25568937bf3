"""The journal as a watcher uses it: entries go in at once, and are on the disk a moment later.

One thread of its own writes; the loop never waits for the disk. What comes while a batch is being written is the next
batch, and no batch follows another sooner than `PAUSE`, so that a busy watcher pays for few of them. Entries that
somebody waits for are written at once, the others with them, or at most `LINGER` later.
"""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from zuora_jobs.errors import JournalError, JournalInUse
from zuora_jobs.journal import files
from zuora_jobs.journal.entries import (
    Accepted,
    Acknowledged,
    Began,
    Ended,
    Entry,
    Left,
    Past,
    Saved,
    Seen,
    Spent,
    Stopped,
)
from zuora_jobs.journal.store import Store
from zuora_jobs.watching.clock import WallClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor
    from pathlib import Path
    from types import TracebackType

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.protocol.kinds import JobHandle, Phase
    from zuora_jobs.watching.outcome import Outcome

log = logging.getLogger("zuora_jobs")

T = TypeVar("T")

PAUSE: Final = 0.05
"""Seconds from the beginning of a batch to that of the next."""

LINGER: Final = 1.0
"""Seconds that an entry for which nobody waits may wait itself; a crash may take such entries with it."""

SAMPLE: Final = 10.0
"""Seconds between two looks at what has been spent."""

LARGEST_BATCH: Final = 1000
"""Entries that are written, and whose answers are told, in one go: about ten milliseconds."""


class Journal:
    """The durable record of what is watched, in an SQLite file: `JobWatcher(client, journal=Journal.open("run.db"))`.

    A handle is watched only when it is on the disk, and an end is told only when it is. So whatever happens to the
    process or the machine, the same handles and the same journal go on from there: ended jobs are told from the journal
    without a request, the others are watched. Presigned URLs are not kept; ask about the job again for them.

    The watcher closes it. Without a watcher it is an async context manager of its own.
    """

    def __init__(self, store: Store, executor: Executor | None = None) -> None:
        self._store = store
        self._own_executor = None if executor is not None else ThreadPoolExecutor(1, "zuora-jobs-journal")
        self._executor = executor or self._own_executor
        self._entries: list[tuple[Entry, Callable[[Past | None], None] | None]] = []
        self._urgent = False
        self._writing: asyncio.Future[list[Past | None]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._may_write_at = float("-inf")
        self._failure: JournalError | None = None
        self._client: ZuoraClient | None = None
        self._sampling: asyncio.TimerHandle | None = None
        self._sampled = (0, 0, 0.0)
        self._on_failure: Callable[[JournalError], None] | None = None
        self._clock: WallClock | None = None
        self._awaited: set[asyncio.Future[None]] = set()
        self._closed = False

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, executor: Executor | None = None) -> Self:
        """Open the journal at *path* for writing, or begin one there; a journal of an older version is brought up to date.

        Blocks for as long as that takes: milliseconds, as a rule.

        Args:
            path: of the file, by convention `….db`. While it is open, SQLite keeps two more beside it, and there is a lock.
            executor: runs what waits for the disk, one thing at a time; by default a thread of the journal's own.

        Raises:
            JournalInUse: another process writes to it.
            NewerJournal: a later version of this package wrote it.
            CorruptJournal: it is damaged, or no journal.
            JournalError: it cannot be written.
        """
        return cls(Store(files.resolved(path)), executor)

    def __repr__(self) -> str:
        return f"<Journal {self.path}{' closed' if self._closed else ''}>"

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._store.path

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # --- for its user

    async def to_resume(self) -> list[JobHandle[Any]]:
        """Give the handles of which there is something to be told: not ended, lost, or ended and not acknowledged."""
        return await self._in_thread(self._store.to_resume)

    async def outcomes(self) -> dict[str, int]:
        """Count the jobs that have ended, by outcome: `{"succeeded": 118, "failed": 2}`."""
        return await self._in_thread(self._store.outcomes)

    async def durations(self) -> dict[str, list[float]]:
        """Give, by kind, how many seconds jobs took that have ended, in ascending order."""
        return await self._in_thread(self._store.durations)

    async def ages(self) -> dict[tuple[str, str], float]:
        """Give, by kind and id, how many seconds ago each job was accepted that has not ended."""
        since = await self._in_thread(self._store.open_since)
        now = self._now()
        return {job: max(0.0, now - at) for job, at in since.items()}

    def acknowledge(self, *handles: JobHandle[Any]) -> asyncio.Future[None]:
        """Take note that the consumer has what he needs of these jobs' ends, and is not to be told again by a stream.

        Returns:
            What may be awaited, to know that it is on the disk. A job that has not ended is not acknowledged.
        """
        return self._told_when_written([Acknowledged(handle, self._now()) for handle in handles])

    def saved(self, handle: JobHandle[Any], path: str | os.PathLike[str], size: int) -> asyncio.Future[None]:
        """Take note that a result file of a job is at *path*, of *size* bytes.

        Returns:
            What may be awaited, to know that this is on the disk.
        """
        return self._told_when_written([Saved(handle, self._now(), os.fspath(path), size)])

    async def flush(self) -> None:
        """Wait until all that was told to the journal is on the disk, or has met an error."""
        while self._failure is None and (self._writing or self._entries):
            if self._writing is None:
                self._begin()
            if self._writing is not None:
                await asyncio.wait([self._writing])

    async def close(self) -> None:
        """Write what is left, and let others use the file."""
        if self._closed:
            return
        try:
            if self._client is not None:
                self._add(Stopped(self._now()))
            await self.flush()
        finally:
            self._closed = True
            for timer in (self._timer, self._sampling):
                if timer is not None:
                    timer.cancel()
            loop = asyncio.get_running_loop()
            await asyncio.shield(loop.run_in_executor(self._executor, self._store.close))
            if self._own_executor is not None:
                self._own_executor.shutdown(wait=False)

    # --- for the watcher that uses it

    def begin(self, client: ZuoraClient, *, on_failure: Callable[[JournalError], None]) -> None:
        """Serve a watcher, and nobody else.

        Args:
            client: its client: what it spends is taken down, and its secrets are not.
            on_failure: told when nothing more can be written.

        Raises:
            JournalInUse: another watcher uses it.
            JournalError: it is closed.
        """
        self.check()
        if self._client is not None:
            message = f"the journal {self.path} is in use by another watcher: give each a journal of its own"
            raise JournalInUse(message)
        self._client, self._on_failure = client, on_failure
        self._add(Began(self._now(), client.budget.rate, client.budget.concurrency))
        self._sampled = self._spent_by(client)
        self._arrange_sample(client)

    def accept(self, handle: JobHandle[Any], then: Callable[[Past], None]) -> None:
        """Take note that a job is to be watched, and tell *then*, once that is on the disk, what is known of it."""
        self._add(Accepted(handle, self._now()), then)

    def seen(self, handle: JobHandle[Any], status: str, phase: Phase | None, polls: int) -> None:
        """Take note that a job has another status than before."""
        self._add(Seen(handle, self._now(), status, phase.value if phase is not None else None, polls))

    def left(self, handle: JobHandle[Any], polls: int) -> None:
        """Take note that a job is no longer watched, though it had not ended."""
        self._add(Left(handle, polls))

    def finish(self, outcome: Outcome[Any], then: Callable[[], None]) -> None:
        """Take note of how a watch ended, and call *then* once that is on the disk."""
        secrets = self._client.secrets if self._client is not None else ()
        self._add(Ended(outcome, self._now(), secrets), lambda _: then())

    def check(self) -> None:
        """Make sure that something can still be written.

        Raises:
            JournalError: why not.
        """
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if self._closed:
            raise self._is_closed()

    # --- what is spent

    def _arrange_sample(self, client: ZuoraClient) -> None:
        """Have a look at what was spent when the clock's next few seconds are full, so that no sample has two minutes."""
        delay = SAMPLE - self._now() % SAMPLE
        self._sampling = asyncio.get_running_loop().call_later(delay, self._sample_on_time, client)

    def _sample_on_time(self, client: ZuoraClient) -> None:
        # surely in the minute that was sampled, though the loop may be late
        if spent := self._sample(client, self._now() - SAMPLE / 2):
            self._add(spent)
        self._arrange_sample(client)

    def _sample(self, client: ZuoraClient, at: float) -> Spent | None:
        """Give what has been spent since the last sample, if anything has."""
        before, self._sampled = self._sampled, self._spent_by(client)
        requests, refused, held = (now - then for now, then in zip(self._sampled, before, strict=True))
        if not (requests or refused or held):
            return None
        return Spent(at, int(requests), int(refused), held, client.limiter.rate)

    @staticmethod
    def _spent_by(client: ZuoraClient) -> tuple[int, int, float]:
        limiter = client.limiter
        return limiter.requests, limiter.refusals, limiter.held_seconds

    # --- batches

    def _told_when_written(self, entries: Sequence[Entry]) -> asyncio.Future[None]:
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._failure is not None or self._closed:
            told.set_exception(self._failure or self._is_closed())
            told.exception()  # who does not wait does not want to know
            return told
        if not entries:
            told.set_result(None)
            return told
        self._awaited.add(told)
        told.add_done_callback(self._awaited.discard)
        for entry in entries[:-1]:
            self._add(entry)
        self._add(entries[-1], lambda _: None if told.done() else told.set_result(None))
        return told

    def _add(self, entry: Entry, then: Callable[[Any], None] | None = None) -> None:
        if self._failure is not None or self._closed:
            return  # who waits has been told, or has left
        self._entries.append((entry, then))
        self._urgent = self._urgent or then is not None
        if self._writing is None:
            self._arrange()

    def _arrange(self) -> None:
        """Have the next batch written as soon as it is worth it."""
        loop = asyncio.get_running_loop()
        due = max(self._may_write_at, loop.time() + (0 if self._urgent else LINGER))
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = loop.call_at(due, self._begin)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._client is not None and (spent := self._sample(self._client, self._now())):
            self._entries.append((spent, None))  # so that a crash takes as little of it as of the rest
        loop = asyncio.get_running_loop()
        batch, self._entries = self._entries[:LARGEST_BATCH], self._entries[LARGEST_BATCH:]
        self._urgent = bool(self._entries)
        self._may_write_at = loop.time() + (0 if self._entries else PAUSE)
        self._writing = loop.run_in_executor(self._executor, self._store.write, [entry for entry, _ in batch])
        self._writing.add_done_callback(partial(self._written, [then for _, then in batch]))

    def _written(
        self, waiting: Sequence[Callable[[Any], None] | None], writing: asyncio.Future[list[Past | None]]
    ) -> None:
        self._writing = None
        if writing.cancelled():
            return
        error = writing.exception()
        if error is not None:
            self._fail(error)
            return
        for then, past in zip(waiting, writing.result(), strict=True):
            if then is not None:
                try:
                    then(past)
                except Exception:  # one who waited must not keep it from the others
                    log.exception("what waited for the journal failed")
        if self._entries and self._writing is None and not self._closed:
            self._arrange()

    def _fail(self, error: BaseException) -> None:
        if not isinstance(error, JournalError):
            log.error("writing the journal went wrong", exc_info=error)
            error = JournalError(f"cannot write the journal {self.path}: {type(error).__name__}; see the log")
        self._failure = error.with_traceback(None)
        self._entries.clear()
        for told in list(self._awaited):
            if not told.done():
                told.set_exception(self._failure)
                told.exception()
        if self._on_failure is not None:
            self._on_failure(self._failure)

    async def _in_thread(self, read: Callable[[], T]) -> T:
        self.check()
        return await asyncio.get_running_loop().run_in_executor(self._executor, read)

    def _is_closed(self) -> JournalError:
        return JournalError(f"the journal {self.path} is closed: open it anew with Journal.open")

    def _now(self) -> float:
        if self._clock is None:
            self._clock = WallClock()
        return self._clock.timestamp()
