"""JobWatcher: the face of watching. What it does is in `fleet.py`; when, in `schedule.py` and `cadence.py`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self, cast

from zuora_jobs.checks import number, whole
from zuora_jobs.client import check_cancellable
from zuora_jobs.errors import ConfigurationError, WatcherClosed
from zuora_jobs.protocol.kinds import JobHandle, JobKind, JobT
from zuora_jobs.transport.retry import Patience
from zuora_jobs.watching.accompanied import Attended
from zuora_jobs.watching.cadence import MIN_INTERVAL, MIN_INTERVAL_WITH_QUOTA, Cadence
from zuora_jobs.watching.fleet import Fleet
from zuora_jobs.watching.intake import feed, in_slices, take_in
from zuora_jobs.watching.outcome import Ran, ended_at_once
from zuora_jobs.watching.record import NoRecord
from zuora_jobs.watching.stream import EventStream
from zuora_jobs.watching.submitter import Submitter
from zuora_jobs.watching.subscription import Subscription, check_handle
from zuora_jobs.watching.watch import Rules, Statistics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.errors import SubmitUncertain
    from zuora_jobs.journal.journal import Journal
    from zuora_jobs.protocol.submits import Submitted
    from zuora_jobs.watching.events import Attendant, Event, Observer
    from zuora_jobs.watching.outcome import Outcome
    from zuora_jobs.watching.record import Record

UNKNOWN_STATUS_TIMEOUT: Final = 3600.0
"""Seconds. A new word for progress may last as long as a query may run; one for an end lasts for ever."""

CONTACT_TIMEOUT: Final = 3600.0
"""Seconds. Zuora's announced maintenance is over in 15 minutes."""

MALFORMED_TIMEOUT: Final = 120.0
"""Seconds that answers may make no sense before they are believed."""


class JobWatcher:
    """Watches jobs of all kinds until they end. To be used inside `async with`; nothing outlives it.

    Args:
        client: an open ZuoraClient; its budget is shared by all that is watched.
        cadence: how soon to look at a job again; one for all, or a mapping of kinds or handles to theirs. By default
            the schedule looks where looks are worth most (`Cadence.adaptive`).
        durations: seconds that earlier jobs of a kind took, for the schedule to begin with; a journal knows its own.
        observers: called with every event; one with a method `attend`, such as what gives metrics and traces, is asked
            for whom to call (`Attendant`).
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
        cadence: Cadence | Mapping[Any, Cadence] | None = None,
        durations: Mapping[JobKind[Any], Iterable[float]] | None = None,
        observers: Iterable[Observer | Attendant] = (),
        journal: Journal | None = None,
        unknown_status_timeout: float = UNKNOWN_STATUS_TIMEOUT,
        contact_timeout: float = CONTACT_TIMEOUT,
        cancel_remote: bool = False,
    ) -> None:
        self._client = client
        self._observers = tuple(observers)
        self._record: Record = journal if journal is not None else NoRecord()
        _check_cadence(cadence)
        self._rules = Rules(
            cadence=_cadences(cadence, client),
            durations=_durations(durations),
            patience=Patience(
                again=number("contact_timeout", contact_timeout, above=0),
                throttled=None,
                briefly=min(MALFORMED_TIMEOUT, contact_timeout),
            ),
            unknown_status_timeout=number("unknown_status_timeout", unknown_status_timeout, above=0),
            cancel_remote=cancel_remote,
        )
        self._submitter = Submitter(client, self._record, self._rules.patience)
        self._group: asyncio.TaskGroup | None = None
        self._fleet: Fleet | None = None
        self._attended = Attended()

    def __repr__(self) -> str:
        state = f"watching {self.statistics().watching}" if self._fleet else "closed"
        return f"<JobWatcher {self._client.settings.base_url} {state}>"

    async def __aenter__(self) -> Self:
        if self._group is not None:
            message = "the watcher is open already: use it in one `async with` at a time"
            raise WatcherClosed(message)
        self._client.check_open()
        self._record.check()
        with Attended() as attended:
            observers = [attended.by(one, self) for one in self._observers]
            group = await asyncio.TaskGroup().__aenter__()
            try:
                self._fleet = Fleet(self._client, self._rules, observers, self._record, group)
            except ConfigurationError:  # it has another tenant's jobs
                await self._record.close()
                raise
            self._attended = attended.keep()
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
        finally:
            self._attended.close()
        # What the block raised is the caller's, and passes as it is; only a cancellation may be the group's own doing.
        if isinstance(exc, asyncio.CancelledError):
            await group.__aexit__(exc_type, exc, traceback)
        else:
            await group.__aexit__(None, None, None)

    async def watch(
        self, handle: JobHandle[JobT], *, timeout: float | None = None, cadence: Cadence | None = None
    ) -> Outcome[JobT]:
        """Watch one job until it ends.

        Cancelling the task that awaits this stops the watch, and leaves the job alone unless `cancel_remote` is set.

        Args:
            handle: which job.
            timeout: seconds; a watch that runs out of them ends as Lost.
            cadence: for this job, instead of the watcher's.

        Returns:
            How it ended. A failed job is a value; `unwrap()` raises for those who want it raised.
        """
        return (await self.watch_all([handle], timeout=timeout, cadence=cadence))[handle]

    async def watch_all(
        self, handles: Iterable[JobHandle[Any]], *, timeout: float | None = None, cadence: Cadence | None = None
    ) -> dict[JobHandle[Any], Outcome[Any]]:
        """Watch many jobs until all have ended.

        Returns:
            The outcome of each, in the order of *handles*; a handle given twice is there once.
        """
        wanted: dict[JobHandle[Any], Any] = {}
        async for handle in in_slices(handles):
            check_handle(handle)
            wanted[handle] = None
        async with self._subscribed(timeout, cadence, only_ends=True) as subscription:
            await take_in(subscription, wanted, len(wanted) + 1)
            outcomes = await subscription.outcomes()
        async for handle in in_slices(wanted):
            wanted[handle] = outcomes[handle]
        return wanted

    @property
    def client(self) -> ZuoraClient:
        """The client whose budget it spends."""
        return self._client

    @property
    def left_in_doubt(self) -> tuple[SubmitUncertain, ...]:
        """What there is to be found out of requests that were cut off on their way by a cancellation."""
        return tuple(self._submitter.left_in_doubt)

    @property
    def journal(self) -> Journal | None:
        """Its journal, if it has one."""
        return None if isinstance(self._record, NoRecord) else cast("Journal", self._record)

    def stream(
        self,
        handles: Iterable[JobHandle[Any]] | AsyncIterable[JobHandle[Any]],
        *,
        timeout: float | None = None,
        at_once: int = 100_000,
        buffer: int = 1000,
        tell_again: bool = False,
        cadence: Cadence | None = None,
    ) -> EventStream:
        """Watch jobs as their handles come, and tell what happens as it happens.

        `async with watcher.stream(handles) as events: async for event in events: …`. Leaving the block stops the
        watches. Every handle's last event is its `Finished`, unless it was acknowledged; a handle that comes twice while
        it is watched counts once.

        Args:
            handles: of any length, also endless; taken in while others are watched.
            timeout: seconds for each job, from when its handle was taken in.
            at_once: how many jobs may be watched at a time; more are taken in as these end.
            buffer: how many events may wait for a slow reader, before the jobs that only he watches are left alone.
            tell_again: tell also the ends that were acknowledged to the journal, by `Journal.acknowledge`.
            cadence: for these jobs, instead of the watcher's.

        Returns:
            What is to be entered for an async iterator of events, which ends when *handles* has ended and so have all its
            jobs. What *handles* raises is raised there. It can be a pipeline's source.
        """
        whole("at_once", at_once, least=1)
        whole("buffer", buffer, least=1)
        subscribed = self._subscribed(timeout, cadence, limit=buffer, tell_again=tell_again)
        return EventStream(self, self._streaming(subscribed, handles, at_once))

    @asynccontextmanager
    async def _streaming(
        self,
        subscribed: AbstractAsyncContextManager[Subscription],
        handles: Iterable[JobHandle[Any]] | AsyncIterable[JobHandle[Any]],
        at_once: int,
    ) -> AsyncIterator[AsyncIterator[Event]]:
        async with subscribed as subscription:
            intake = self._opened().spawn(feed(subscription, handles, at_once))
            try:
                yield subscription
            finally:
                intake.cancel()

    async def submit(
        self,
        request: object,
        *,
        again: bool = False,
        idempotency_key: str | None = None,
        note: Callable[[], Awaitable[str]] | None = None,
    ) -> Submitted[Any]:
        """Begin a job: `submitted = await watcher.submit(RunQueries([Query("Invoices", "select Id from Invoice")]))`.

        With a journal the intent is on the disk before the request and the job's handle after it. So in a run that is
        begun again, what was submitted is not submitted twice: the handle comes from the journal; a POST whose answer is
        missing is sent again with its key, for as long as Zuora knows that; any other is told as SubmitUncertain. The same
        contents twice in one run are two requests.

        Args:
            request: `RunQueries`, `ZipPdfs`, `DeleteInvoice`, `ReverseInvoice`, `ApplyCreditMemo` or `UnapplyCreditMemo`.
            again: for who has found out that what is uncertain was not carried out: submit it anew.
            idempotency_key: of an earlier try of the same request that the journal does not know, at most 24 hours ago.
            note: asked, if the request is going to be sent, for what the journal is to keep beside it (`Submitted.note`).

        Raises:
            ConfigurationError: this is no request.
            SubmitUncertain: whether Zuora has begun the job is not known; says how to find out.
            ApiError, TransportError: nothing was begun; as `ZuoraClient.submit`.
            JournalError: the disk says no; where a job had been begun, its handle is in the text.
        """
        fleet = self._opened()
        submitted = await self._submitter.submit(request, again=again, idempotency_key=idempotency_key, note=note)
        if submitted.handle is not None:
            fleet.submitted(submitted.handle, ended_at_once(submitted), from_journal=submitted.from_journal)
        return submitted

    async def run(
        self,
        request: object,
        *,
        timeout: float | None = None,
        again: bool = False,
        note: Callable[[], Awaitable[str]] | None = None,
    ) -> Ran[Any]:
        """Begin a job and watch it until it ends: `(await watcher.run(ReverseInvoice("INV00000123"))).unwrap()`.

        No more such jobs are begun at a time than a tenant may have (50 of AQuA's); the rest wait for their turn.

        Args:
            request: as for `submit`.
            timeout: seconds from when it was submitted; then it is Lost, and left alone.
            again: as for `submit`.
            note: as for `submit`.

        Raises:
            ZuoraJobsError: it was not begun, or that is not known; as `submit`.
        """
        async with self._client.place_for(request):
            submitted = await self.submit(request, again=again, note=note)
            outcome = ended_at_once(submitted)
            if outcome is None and submitted.handle is not None:
                outcome = await self.watch(submitted.handle, timeout=timeout)
        return Ran(submitted=submitted, outcome=outcome)

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
    async def _subscribed(
        self, timeout: float | None, cadence: Cadence | None, **options: Any
    ) -> AsyncIterator[Subscription]:
        fleet = self._opened()
        if cadence is not None and not isinstance(cadence, Cadence):
            message = f"cadence must be a Cadence here, such as Cadence.constant(5), not {cadence!r:.60}"
            raise ConfigurationError(message)
        subscription = Subscription(fleet, timeout=_timeout(timeout), cadence=cadence, **options)
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
        isinstance(of, JobKind | JobHandle) and isinstance(one, Cadence) for of, one in cadence.items()
    )
    if cadence is not None and not isinstance(cadence, Cadence) and not by_kind:
        message = f"cadence must be a Cadence, such as Cadence.constant(5), or a mapping of kinds to such, not {cadence!r:.60}"
        raise ConfigurationError(message)


def _cadences(
    cadence: Cadence | Mapping[Any, Cadence] | None, client: ZuoraClient
) -> Callable[[JobHandle[Any]], Cadence]:
    """Give what finds the cadence of a job: its own, or its kind's, or the one for all."""
    if isinstance(cadence, Cadence):
        return lambda _: cadence
    least = MIN_INTERVAL_WITH_QUOTA if client.budget.quota else MIN_INTERVAL
    default = Cadence.adaptive(min_interval=least)
    own = dict(cadence or {})
    if not own:
        return lambda _: default
    return lambda handle: own.get(handle) or own.get(handle.kind, default)


def _durations(given: Mapping[JobKind[Any], Iterable[float]] | None) -> tuple[tuple[JobKind[Any], float], ...]:
    if given is None:
        return ()
    if not isinstance(given, Mapping) or not all(isinstance(kind, JobKind) for kind in given):
        message = f"durations must be a mapping of kinds to seconds, such as {{AQUA: [41.5, 63]}}, not {given!r:.60}"
        raise ConfigurationError(message)
    for kind, some in given.items():
        if not isinstance(some, Iterable):
            message = f"durations of {kind.name} jobs must be a list of seconds, such as [41.5, 63], not {some!r:.60}"
            raise ConfigurationError(message)
    return tuple((kind, number("a duration", seconds, least=0)) for kind, some in given.items() for seconds in some)


def _timeout(value: float | None) -> float | None:
    return None if value is None or value == float("inf") else number("timeout", value, above=0)
