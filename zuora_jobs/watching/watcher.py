"""JobWatcher: the face of watching. What it does is in `fleet.py`; when, in `schedule.py` and `cadence.py`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self

from zuora_jobs.checks import number, whole
from zuora_jobs.client import check_cancellable
from zuora_jobs.errors import ConfigurationError, WatcherClosed
from zuora_jobs.protocol.kinds import JobHandle, JobKind, JobT
from zuora_jobs.transport.retry import Patience
from zuora_jobs.watching.cadence import Cadence
from zuora_jobs.watching.fleet import Fleet
from zuora_jobs.watching.record import NoRecord
from zuora_jobs.watching.subscription import Subscription, check_handle
from zuora_jobs.watching.watch import Rules, Statistics

if TYPE_CHECKING:
    from types import TracebackType

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.journal.journal import Journal
    from zuora_jobs.watching.events import Event, Observer
    from zuora_jobs.watching.outcome import Outcome
    from zuora_jobs.watching.record import Record

UNKNOWN_STATUS_TIMEOUT: Final = 3600.0
"""Seconds. A new word for progress may last as long as a query may run; one for an end lasts for ever."""

CONTACT_TIMEOUT: Final = 3600.0
"""Seconds. Zuora's announced maintenance is over in 15 minutes."""

MALFORMED_TIMEOUT: Final = 120.0
"""Seconds that answers may make no sense before they are believed."""

INTAKE_SLICE: Final = 200
"""Handles taken in before others get their turn: about a millisecond."""


class JobWatcher:
    """Watches jobs of all kinds until they end. To be used inside `async with`; nothing outlives it.

    Args:
        client: an open ZuoraClient; its budget is shared by all that is watched.
        cadence: how soon to look at a job again; one for all, or a mapping of kinds to theirs.
        observers: called with every event.
        journal: keeps a durable record, and knows what earlier runs saw; the watcher closes it.
        unknown_status_timeout: seconds after which a job whose status its kind does not list is given up as Lost.
        contact_timeout: seconds of failures in a row after which a job is given up as Lost; outages shorter than that
            are ridden out, and so is any throttling.
        cancel_remote: cancel the remote job, where its kind allows, when its watch is left by cancellation or timeout.
    """

    def __init__(
        self,
        client: ZuoraClient,
        *,
        cadence: Cadence | Mapping[JobKind[Any], Cadence] | None = None,
        observers: Iterable[Observer] = (),
        journal: Journal | None = None,
        unknown_status_timeout: float = UNKNOWN_STATUS_TIMEOUT,
        contact_timeout: float = CONTACT_TIMEOUT,
        cancel_remote: bool = False,
    ) -> None:
        self._client = client
        self._observers = tuple(observers)
        self._record: Record = journal if journal is not None else NoRecord()
        _check_cadence(cadence)
        default = Cadence.exponential()
        by_kind = dict(cadence) if isinstance(cadence, Mapping) else {}
        for_others = cadence if isinstance(cadence, Cadence) else default
        self._rules = Rules(
            cadence=lambda kind: by_kind.get(kind, for_others),
            patience=Patience(
                again=number("contact_timeout", contact_timeout, above=0),
                throttled=None,
                briefly=min(MALFORMED_TIMEOUT, contact_timeout),
            ),
            unknown_status_timeout=number("unknown_status_timeout", unknown_status_timeout, above=0),
            cancel_remote=cancel_remote,
        )
        self._group: asyncio.TaskGroup | None = None
        self._fleet: Fleet | None = None

    def __repr__(self) -> str:
        state = f"watching {self.statistics().watching}" if self._fleet else "closed"
        return f"<JobWatcher {self._client.settings.base_url} {state}>"

    async def __aenter__(self) -> Self:
        if self._group is not None:
            message = "the watcher is open already: use it in one `async with` at a time"
            raise WatcherClosed(message)
        self._client.check_open()
        self._record.check()
        group = await asyncio.TaskGroup().__aenter__()
        try:
            self._fleet = Fleet(self._client, self._rules, self._observers, self._record, group)
        except ConfigurationError:  # it has another tenant's jobs
            await self._record.close()
            raise
        self._group = group
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        fleet, self._fleet = self._fleet, None
        group, self._group = self._group, None
        if fleet is None or group is None:
            return
        try:
            await fleet.close()
        except asyncio.CancelledError as cancelled:
            await group.__aexit__(type(cancelled), cancelled, cancelled.__traceback__)
            raise
        # What the block raised is the caller's, and passes as it is; only a cancellation may be the group's own doing.
        if isinstance(exc, asyncio.CancelledError):
            await group.__aexit__(exc_type, exc, traceback)
        else:
            await group.__aexit__(None, None, None)

    async def watch(self, handle: JobHandle[JobT], *, timeout: float | None = None) -> Outcome[JobT]:
        """Watch one job until it ends.

        Cancelling the task that awaits this stops the watch, and leaves the job alone unless `cancel_remote` is set.

        Args:
            handle: which job.
            timeout: seconds; a watch that runs out of them ends as Lost.

        Returns:
            How it ended. A failed job is a value; `unwrap()` raises for those who want it raised.
        """
        return (await self.watch_all([handle], timeout=timeout))[handle]

    async def watch_all(
        self, handles: Iterable[JobHandle[Any]], *, timeout: float | None = None
    ) -> dict[JobHandle[Any], Outcome[Any]]:
        """Watch many jobs until all have ended.

        Returns:
            The outcome of each, in the order of *handles*; a handle given twice is there once.
        """
        wanted = []
        for handle in handles:
            check_handle(handle)
            wanted.append(handle)
        wanted = list(dict.fromkeys(wanted))
        async with self._subscribed(timeout, only_ends=True) as subscription:
            await _take_in(subscription, wanted, len(wanted) + 1)
            outcomes = await subscription.outcomes()
        return {handle: outcomes[handle] for handle in wanted}

    @asynccontextmanager
    async def stream(
        self,
        handles: Iterable[JobHandle[Any]] | AsyncIterable[JobHandle[Any]],
        *,
        timeout: float | None = None,
        at_once: int = 100_000,
        buffer: int = 1000,
        tell_again: bool = False,
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Watch jobs as their handles come, and tell what happens as it happens.

        `async with watcher.stream(handles) as events: async for event in events: …`. Leaving the block stops the
        watches. Every handle's last event is its `Finished`, unless it was acknowledged; a handle that comes twice while it is watched counts once.

        Args:
            handles: of any length, also endless; taken in while others are watched.
            timeout: seconds for each job, from when its handle was taken in.
            at_once: how many jobs may be watched at a time; more are taken in as these end.
            buffer: how many events may wait for a slow reader, before the jobs that only he watches are left alone.
            tell_again: tell also the ends that were acknowledged to the journal, by `Journal.acknowledge`.

        Yields:
            An async iterator of events, which ends when *handles* has ended and so have all its jobs. What *handles*
            raises is raised there.
        """
        whole("at_once", at_once, least=1)
        whole("buffer", buffer, least=1)
        async with self._subscribed(timeout, limit=buffer, tell_again=tell_again) as subscription:
            intake = self._opened().spawn(_feed(subscription, handles, at_once))
            try:
                yield subscription
            finally:
                intake.cancel()

    async def cancel(self, handle: JobHandle[JobT], *, timeout: float | None = None) -> Outcome[JobT]:
        """Cancel a job, and tell how it really ended.

        A job that had ended, or ends in between, is refused by Zuora; then its real end is the answer. Who cancels or
        watches the same job at the same time shares the request and the answer.

        Wire: DELETE /v1/batch-query/jobs/{jobid}
        https://developer.zuora.com/v1-api-reference/api/operation/DELETE_BatchQueryJob/

        Args:
            handle: which job.
            timeout: seconds until its end is known; after them the answer is Lost.

        Raises:
            CancellationNotSupported: the kind cannot be cancelled; nothing was sent.
            ApiError: this user may not.
            TransportError: nobody answered, for as long as the client's patience lasted.
        """
        check_cancellable(handle)
        fleet = self._opened()
        subscription = Subscription(fleet, timeout=_timeout(timeout), only_ends=True)
        fleet.enrol(subscription)
        try:
            subscription.accept(handle, hold=True)
            subscription.end_of_handles()
            fleet.delete(handle, on_error=subscription.fail)
            return (await subscription.outcomes())[handle]
        finally:
            fleet.undelete(handle, on_error=subscription.fail)
            fleet.depart(subscription)

    def nudge(self, handle: JobHandle[Any]) -> bool:
        """Look at a job now: for a callout that says it has ended. The watch's own looks stay as the safety net.

        Returns:
            False when the job is not being watched.
        """
        return self._opened().nudge(handle)

    def statistics(self) -> Statistics:
        """Give the watcher's figures as they stand."""
        return self._opened().statistics()

    @asynccontextmanager
    async def _subscribed(self, timeout: float | None, **options: Any) -> AsyncIterator[Subscription]:
        fleet = self._opened()
        subscription = Subscription(fleet, timeout=_timeout(timeout), **options)
        fleet.enrol(subscription)
        try:
            yield subscription
        finally:
            await fleet.leave(subscription)

    def _opened(self) -> Fleet:
        if self._fleet is None:
            message = "the watcher is closed: use it inside `async with JobWatcher(client) as watcher`"
            raise WatcherClosed(message)
        return self._fleet


def _check_cadence(cadence: object) -> None:
    by_kind = isinstance(cadence, Mapping) and all(
        isinstance(kind, JobKind) and isinstance(one, Cadence) for kind, one in cadence.items()
    )
    if cadence is not None and not isinstance(cadence, Cadence) and not by_kind:
        message = f"cadence must be a Cadence, such as Cadence.constant(5), or a mapping of kinds to such, not {cadence!r:.60}"
        raise ConfigurationError(message)


def _timeout(value: float | None) -> float | None:
    return None if value is None or value == float("inf") else number("timeout", value, above=0)


async def _feed(
    subscription: Subscription, handles: Iterable[JobHandle[Any]] | AsyncIterable[JobHandle[Any]], at_once: int
) -> None:
    try:
        await _take_in(subscription, handles, at_once)
    except Exception as error:  # noqa: BLE001 - the reader's to handle: it is his iterable
        subscription.fail(error)


async def _take_in(
    subscription: Subscription, handles: Iterable[JobHandle[Any]] | AsyncIterable[JobHandle[Any]], at_once: int
) -> None:
    if isinstance(handles, AsyncIterable):
        async for handle in handles:
            await subscription.room(at_once)
            subscription.accept(handle)
    else:
        for number, handle in enumerate(handles, start=1):
            await subscription.room(at_once)
            subscription.accept(handle)
            if number % INTAKE_SLICE == 0:
                await asyncio.sleep(0)
    subscription.end_of_handles()
