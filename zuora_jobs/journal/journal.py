"""The journal as its user and his watcher see it: told at once, and on the disk a moment later."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final, Self

from zuora_jobs.errors import ConfigurationError, JournalInUse
from zuora_jobs.journal import files
from zuora_jobs.journal.entries import (
    Accepted,
    Acknowledged,
    Began,
    Ended,
    Intended,
    Left,
    Past,
    Saved,
    Seen,
    Settled,
    Spent,
    Stopped,
    Withdrawn,
)
from zuora_jobs.journal.store import Store
from zuora_jobs.journal.writer import Writer
from zuora_jobs.protocol.kinds import KINDS
from zuora_jobs.watching.clock import WallClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from pathlib import Path
    from types import TracebackType

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.errors import JournalError
    from zuora_jobs.journal.entries import Entry, Intent
    from zuora_jobs.protocol.kinds import JobHandle, JobKind, Phase
    from zuora_jobs.protocol.submits import Submitted
    from zuora_jobs.settings import Settings
    from zuora_jobs.watching.outcome import Outcome

SAMPLE: Final = 10.0
"""Seconds between two looks at what has been spent."""


class Journal:
    """The durable record of what is watched, in an SQLite file: `JobWatcher(client, journal=Journal.open("run.db"))`.

    A handle is watched only when it is on the disk, and an end is told only when it is. So whatever happens to the
    process or the machine, the same handles and the same journal go on from there: ended jobs are told from the journal
    without a request, the others are watched. Presigned URLs are not kept; ask about the job again for them.

    The watcher closes it. Without a watcher it is an async context manager of its own.
    """

    def __init__(self, store: Store, executor: Executor | None = None) -> None:
        self._store = store
        self._writer = Writer(store, executor)
        self._client: ZuoraClient | None = None
        self._sampling: asyncio.TimerHandle | None = None
        self._sampled = (0, 0, 0.0)
        self._clock: WallClock | None = None

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
        return f"<Journal {self.path}{' closed' if self._writer.closed else ''}>"

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
        return await self._writer.read(self._store.to_resume)

    async def outcomes(self) -> dict[str, int]:
        """Count the jobs that have ended, by outcome: `{"succeeded": 118, "failed": 2}`."""
        return await self._writer.read(self._store.outcomes)

    async def durations(self) -> dict[str, list[float]]:
        """Give, by kind, how many seconds jobs took that have ended, in ascending order."""
        return await self._writer.read(self._store.durations)

    async def ages(self) -> dict[tuple[str, str], float]:
        """Give, by kind and id, how many seconds ago each job was accepted that has not ended."""
        since = await self._writer.read(self._store.open_since)
        now = self._now()
        return {job: max(0.0, now - at) for job, at in since.items()}

    def acknowledge(self, *handles: JobHandle[Any]) -> asyncio.Future[None]:
        """Take note that the consumer has what he needs of these jobs' ends, and is not to be told again by a stream.

        Returns:
            What may be awaited, to know that it is on the disk. A job that has not ended is not acknowledged.
        """
        return self._writer.add_all([Acknowledged(handle, self._now()) for handle in handles])

    def saved(self, handle: JobHandle[Any], path: str | os.PathLike[str], size: int) -> asyncio.Future[None]:
        """Take note that a result file of a job is at *path*, of *size* bytes.

        Returns:
            What may be awaited, to know that this is on the disk.
        """
        return self._writer.add_all([Saved(handle, self._now(), os.fspath(path), size)])

    async def flush(self) -> None:
        """Wait until all that was told to the journal is on the disk, or has met an error."""
        await self._writer.flush()

    async def close(self) -> None:
        """Write what is left, and let others use the file."""
        if self._sampling is not None:
            self._sampling.cancel()
        if self._client is not None:
            self._writer.add(Stopped(self._now()))
        await self._writer.close()

    # --- for the watcher that uses it

    def begin(self, client: ZuoraClient, *, on_failure: Callable[[JournalError], None]) -> None:
        """Serve a watcher, and nobody else.

        Args:
            client: its client: what it spends is taken down, and its secrets are not.
            on_failure: told when nothing more can be written.

        Raises:
            JournalInUse: another watcher uses it.
            ConfigurationError: it has another tenant's jobs.
            JournalError: it is closed.
        """
        self.check()
        if self._client is not None:
            message = f"the journal {self.path} is in use by another watcher: give each a journal of its own"
            raise JournalInUse(message)
        tenant = _tenant(client.settings)
        if None not in {tenant, self._store.tenant} and tenant != self._store.tenant:
            message = (
                f"the journal {self.path} has jobs of {self._store.tenant}, and this is {tenant}:"
                " give each tenant a journal of its own"
            )
            raise ConfigurationError(message)
        self._client, self._writer.on_failure = client, on_failure
        self._writer.add(Began(self._now(), client.budget.rate, client.budget.concurrency, tenant))
        self._sampled = self._spent_by(client)
        self._writer.last_words = lambda: self._sample(client, self._now())
        self._arrange_sample(client)

    async def stays(self) -> list[tuple[JobKind[Any], str, float]]:
        """Give for how many seconds jobs have stayed in each status, as far as that was seen; of late, where it is much."""
        rows = await self._writer.read_earlier(self._store.stays)
        return [(KINDS[kind], status, seconds) for kind, status, seconds in rows if kind in KINDS]

    def accept(self, handle: JobHandle[Any], then: Callable[[Past], None]) -> None:
        """Take note that a job is to be watched, and tell *then*, once that is on the disk, what is known of it."""
        self._writer.add(Accepted(handle, self._now()), then)

    def seen(self, handle: JobHandle[Any], status: str, phase: Phase | None, polls: int) -> None:
        """Take note that a job has another status than before."""
        known_phase = phase.value if phase is not None else None
        self._writer.add(Seen(handle, self._now(), status, known_phase, polls, self._secrets()))

    def left(self, handle: JobHandle[Any], polls: int) -> None:
        """Take note that a job is no longer watched, though it had not ended."""
        self._writer.add(Left(handle, polls))

    def finish(self, outcome: Outcome[Any], then: Callable[[], None]) -> None:
        """Take note of how a watch ended, and call *then* once that is on the disk."""
        self._writer.add(Ended(outcome, self._now(), self._secrets()), lambda _: then())

    async def intent(self, request: str) -> Intent | None:
        """Give what is known of a request that was submitted, or was about to be; None: nothing."""
        now = self._now()
        return await self._writer.read_earlier(lambda: self._store.intent(request, now))

    def intend(
        self, request: str, name: str, idempotency_key: str | None, note: str | None = None
    ) -> asyncio.Future[None]:
        """Take note that a request is about to be sent; what is given is done once that is on the disk."""
        return self._writer.add_all([Intended(request, self._now(), name, idempotency_key, note)])

    def settle(self, request: str, submitted: Submitted[Any], outcome: Outcome[Any] | None) -> asyncio.Future[None]:
        """Take note that Zuora has taken a request, and of the job that it began, with its end where that is known."""
        now = self._now()
        secrets = self._secrets()
        entries: list[Entry] = [Settled(request, now, submitted.handle, submitted.answer, secrets)]
        if outcome is not None:
            entries.append(Ended(outcome, now, secrets))
        return self._writer.add_all(entries)

    def withdraw(self, request: str) -> asyncio.Future[None]:
        """Take note that nothing came of a request."""
        return self._writer.add_all([Withdrawn(request)])

    def check(self) -> None:
        """Make sure that something can still be written.

        Raises:
            JournalError: why not.
        """
        self._writer.check()

    # --- what is spent

    def _arrange_sample(self, client: ZuoraClient) -> None:
        """Have a look at what was spent when the clock's next few seconds are full, so that no sample has two minutes."""
        delay = SAMPLE - self._now() % SAMPLE
        self._sampling = asyncio.get_running_loop().call_later(delay, self._sample_on_time, client)

    def _sample_on_time(self, client: ZuoraClient) -> None:
        # surely in the minute that was sampled, though the loop may be late
        if spent := self._sample(client, self._now() - SAMPLE / 2):
            self._writer.add(spent)
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

    def _secrets(self) -> tuple[str, ...]:
        return self._client.secrets if self._client is not None else ()

    def _now(self) -> float:
        if self._clock is None:
            self._clock = WallClock()
        return self._clock.timestamp()


def _tenant(settings: Settings) -> str | None:
    """Name the tenant whose jobs are watched; None for an emulator's, which has another address each time."""
    if not settings.base_url.startswith("https:"):
        return None
    return settings.base_url + (f" (entity {settings.entity_id})" if settings.entity_id else "")
