"""All jobs that a watcher watches: performs what the schedule decides.

One driver task takes jobs from the schedule as the budget lets it, and each look is a task for as long as its request
takes; a job that waits costs an entry here and one in the schedule's heap, no task and no timer. Two who watch one job
share its looks. Everything runs in the watcher's task group, so nothing outlives it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from zuora_jobs.errors import (
    MalformedResponse,
    RateLimited,
    ServerError,
    TransportError,
    UnknownStatus,
    WatcherClosed,
    WatchTimedOut,
    ZuoraJobsError,
)
from zuora_jobs.timing import TICK
from zuora_jobs.transport.retry import Verdict, delay_before_retry, verdict
from zuora_jobs.watching.events import CancelRefused, Finished, Observed, Retrying, StatusChanged, UnknownStatusSeen
from zuora_jobs.watching.herald import Herald
from zuora_jobs.watching.outcome import Lost, Outcome, outcome_of
from zuora_jobs.watching.remote import RemoteCancellation
from zuora_jobs.watching.schedule import Schedule
from zuora_jobs.watching.watch import Rules, Statistics, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.protocol.models import JobDocument
    from zuora_jobs.transport.limits import Permit
    from zuora_jobs.watching.events import JobEvent, Observer
    from zuora_jobs.watching.subscription import Subscription

log = logging.getLogger("zuora_jobs")


class Fleet:
    """Watches jobs until they end; used by one JobWatcher, inside its task group."""

    def __init__(
        self, client: ZuoraClient, rules: Rules, observers: Sequence[Observer], group: asyncio.TaskGroup
    ) -> None:
        self._client = client
        self._rules = rules
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._herald = Herald(observers, self._everybody)
        self._remote = RemoteCancellation(
            client, seen=self._answered_a_delete, refused=self._refused_a_delete, settled=self._look_if_idle
        )
        self._schedule: Schedule[JobHandle[Any]] = Schedule()
        self._watches: dict[JobHandle[Any], Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looks: set[asyncio.Task[None]] = set()
        self._farewells: set[asyncio.Task[None]] = set()
        self._wake: asyncio.Future[None] | None = None
        self._wakes_at: float | None = None
        self._counts: Counter[str] = Counter()
        self._closed = False
        client.limiter.on_hold.append(self._herald.throttled)
        self._spawn(self._drive(), self._tasks)

    # --- what subscriptions ask for

    def attach(self, handle: JobHandle[Any], subscription: Subscription, *, hold: bool) -> None:
        """Watch *handle* for *subscription*; with *hold*, look only when told to."""
        if self._closed:
            message = "the watcher is closed: use it inside `async with JobWatcher(client) as watcher`"
            raise WatcherClosed(message)
        watch = self._watches.get(handle)
        if watch is None:
            now = self._loop.time()
            watch = self._watches[handle] = Watch(handle, now)
            if not hold:
                self._look_at(handle, now)
        watch.subscriptions += (subscription,)

    def detach(self, handle: JobHandle[Any], subscription: Subscription) -> None:
        """Stop watching *handle* for *subscription*; the last to leave stops the looking."""
        watch = self._watches.get(handle)
        if watch is None:
            return
        watch.subscriptions = tuple(other for other in watch.subscriptions if other is not subscription)
        if not watch.subscriptions:
            self._drop(watch)

    def give_up(self, handles: Iterable[JobHandle[Any]], subscription: Subscription) -> None:
        """The time that *subscription* gave for *handles* has run out."""
        if self._rules.cancel_remote:
            self._spawn(self._cancel_then_lose(list(handles), subscription), self._farewells)
        else:
            self._lose_all(handles, subscription)

    def unpark(self, handles: Iterable[JobHandle[Any]]) -> None:
        """Look at *handles*, which had been left alone for a slow reader's sake."""
        for handle in handles:
            self.nudge(handle)

    def nudge(self, handle: JobHandle[Any]) -> bool:
        """Look at *handle* now; False when it is not watched."""
        watch = self._watches.get(handle)
        if watch is not None and watch.looking is None and handle not in self._remote:
            self._look_at(handle, self._loop.time())
        return watch is not None

    def delete(self, handle: JobHandle[Any], on_error: Callable[[ZuoraJobsError], None]) -> None:
        """Cancel the remote job; what came of it is seen like any answer about it."""
        if deletion := self._remote.ask(handle, on_error):
            self._spawn(deletion, self._tasks)

    async def leave(self, subscription: Subscription) -> None:
        """End *subscription*; where the rules say so, cancel the remote jobs that only it still watched."""
        try:
            if subscription.open and self._rules.cancel_remote and not self._closed:
                alone = self._only_watched_by(subscription)
                await asyncio.shield(self._spawn(self._remote.say_farewell(alone), self._farewells))
        finally:
            subscription.close()

    def statistics(self) -> Statistics:
        """Give the figures as they stand."""
        counts = self._counts
        return Statistics(
            watching=len(self._watches),
            looking=len(self._looks),
            polls=counts["polls"],
            retries=counts["retries"],
            requests=self._client.limiter.requests,
            succeeded=counts["succeeded"],
            failed=counts["failed"],
            cancelled=counts["cancelled"],
            lost=counts["lost"],
            held_seconds=self._client.limiter.held_seconds,
        )

    async def close(self) -> None:
        """Finish saying farewell, then stop everything."""
        while self._farewells:
            await asyncio.wait(self._farewells)
        self._closed = True
        self._client.limiter.on_hold.remove(self._herald.throttled)
        error = WatcherClosed("the watcher was closed while this job was being watched; the job was left alone")
        for subscription in self._everybody():
            subscription.fail(error)
        for watch in list(self._watches.values()):
            self._drop(watch)
        for task in self._tasks | self._looks:
            task.cancel()

    # --- the driver, and looks

    async def _drive(self) -> None:
        limiter = self._client.limiter
        while True:
            due = self._schedule.next_due()
            if due is None or due > self._loop.time() + TICK:
                await self._sleep_until(due)
                continue
            permit = await limiter.acquire()
            handle = self._schedule.pop(self._loop.time() + TICK)  # chosen last: what was due first may have changed
            watch = self._watches.get(handle) if handle is not None else None
            if watch is None:
                permit.release()
            elif all(subscription.is_full for subscription in watch.subscriptions):
                permit.release()
                for subscription in watch.subscriptions:
                    subscription.park(watch.handle)
            else:
                self._start_look(watch, permit)

    def _start_look(self, watch: Watch, permit: Permit) -> None:
        watch.looking = self._spawn(self._look(watch, permit), self._looks)
        # here, since a task that is cancelled before it began runs nothing of its own
        watch.looking.add_done_callback(lambda _: permit.release())

    async def _sleep_until(self, moment: float | None) -> None:
        self._wake, self._wakes_at = self._loop.create_future(), moment
        timer = self._loop.call_at(moment, self._wake_up) if moment is not None else None
        try:
            await self._wake
        finally:
            self._wake = None
            if timer is not None:
                timer.cancel()

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _look_at(self, handle: JobHandle[Any], due: float) -> None:
        self._schedule.put(handle, due)
        if self._wake is not None and (self._wakes_at is None or due < self._wakes_at):
            self._wake_up()

    async def _look(self, watch: Watch, permit: Permit) -> None:
        try:
            try:
                job = await self._client.look(watch.handle, permit)
            finally:
                watch.looking = None
            self._counts["polls"] += 1
            watch.polls += 1
            self._seen(watch, job, looked=True)
        except ZuoraJobsError as error:
            self._not_seen(watch, error)
        except Exception as bug:  # one job's trouble, a mistake in its kind's row say, is not its neighbours'
            log.exception("looking at %s went wrong", watch.handle)
            if watch.handle in self._watches:
                self._lose(watch, ZuoraJobsError(f"{type(bug).__name__} while looking at the job; see the log"))

    def _seen(self, watch: Watch, job: JobDocument, *, looked: bool) -> None:
        """Take in a document, which answers a look or a DELETE."""
        if self._watches.get(watch.handle) is not watch:
            return  # ended, or left, while the answer was under way
        now = self._loop.time()
        self._herald.contact_made(now)
        watch.failing_since = watch.delays = None
        before, watch.job = watch.job.status if watch.job is not None else None, job
        kind, status = watch.handle.kind, job.status
        phase = kind.phase(status)
        if looked:
            self._tell(Observed, watch, status=status, phase=phase, polls=watch.polls, job=job)
        if before is not None and before != status:
            self._tell(StatusChanged, watch, before=before, status=status)
        outcome = outcome_of(watch.handle, job, polls=watch.polls, elapsed=now - watch.began)
        if outcome is not None:
            self._finish(watch, outcome)
        elif phase is None and (error := self._unknown_for_too_long(watch, status, now)):
            self._lose(watch, error)
        else:
            if phase is not None:
                watch.unknown = None
            self._look_at(watch.handle, now + self._rules.cadence(kind).delay(max(1, watch.polls), self._client.rng))

    def _unknown_for_too_long(self, watch: Watch, status: str, now: float) -> UnknownStatus | None:
        if watch.unknown != status:
            watch.unknown, watch.unknown_since = status, now
            log.warning("%s has the status %r, which its kind does not list; watching on", watch.handle, status)
            self._tell(UnknownStatusSeen, watch, status=status)
        if now - watch.unknown_since < self._rules.unknown_status_timeout:
            return None
        message = (
            f"{watch.handle} has had the status {status!r}, which its kind does not list,"
            f" for {now - watch.unknown_since:.0f} s"
        )
        return UnknownStatus(message, status=status)

    def _not_seen(self, watch: Watch, error: ZuoraJobsError) -> None:
        """Take in that a look was not answered with a document."""
        if self._watches.get(watch.handle) is not watch:
            return
        now = self._loop.time()
        if isinstance(error, TransportError | ServerError | MalformedResponse):
            self._herald.contact_failed(error, now)
        if watch.failing_since is None or isinstance(error, RateLimited):  # whoever throttles us has not lost contact
            watch.failing_since = now
        if verdict(error) is Verdict.FINAL or not self._rules.patience.allows(error, now - watch.failing_since):
            self._lose(watch, error)
            return
        if watch.delays is None:
            watch.delays = self._rules.patience.delays(self._client.rng)
        delay = delay_before_retry(error, next(watch.delays))
        self._counts["retries"] += 1
        log.info("%s: trying again in %.1f s: %s", watch.handle, delay, error)
        self._tell(Retrying, watch, error=error, delay=delay)
        self._look_at(watch.handle, now + delay)

    # --- cancelling

    def _answered_a_delete(self, handle: JobHandle[Any], job: JobDocument) -> None:
        if watch := self._watches.get(handle):
            self._seen(watch, job, looked=False)

    def _refused_a_delete(self, handle: JobHandle[Any], error: ZuoraJobsError) -> None:
        if watch := self._watches.get(handle):
            self._tell(CancelRefused, watch, error=error)

    def _look_if_idle(self, handle: JobHandle[Any]) -> None:
        watch = self._watches.get(handle)
        if watch is not None and watch.looking is None and handle not in self._schedule:
            self._look_at(handle, self._loop.time())

    async def _cancel_then_lose(self, handles: list[JobHandle[Any]], subscription: Subscription) -> None:
        alone = self._only_watched_by(subscription)
        await self._remote.say_farewell(handle for handle in handles if handle in alone)
        self._lose_all(handles, subscription)

    def _only_watched_by(self, subscription: Subscription) -> set[JobHandle[Any]]:
        return {
            handle
            for handle in subscription.open
            if (watch := self._watches.get(handle)) and watch.subscriptions == (subscription,)
        }

    # --- ends

    def _finish(self, watch: Watch, outcome: Outcome[Any]) -> None:
        self._drop(watch)
        self._counts[outcome.name] += 1
        self._tell(Finished, watch, outcome=outcome)

    def _lose(self, watch: Watch, error: ZuoraJobsError) -> None:
        self._finish(watch, self._lost(watch, error))

    def _lost(self, watch: Watch, error: ZuoraJobsError) -> Lost[Any]:
        elapsed = self._loop.time() - watch.began
        return Lost(handle=watch.handle, job=watch.job, polls=watch.polls, elapsed=elapsed, error=error)

    def _lose_all(self, handles: Iterable[JobHandle[Any]], subscription: Subscription) -> None:
        for handle in handles:
            watch = self._watches.get(handle)
            if watch is None or handle not in subscription.open:
                continue
            message = f"the watch of {handle} ran out of its {subscription.timeout:g} s; the job was left alone"
            outcome = self._lost(watch, WatchTimedOut(message))
            if watch.subscriptions == (subscription,):
                self._finish(watch, outcome)
            else:
                self._counts["lost"] += 1
                self._herald.about(Finished, (subscription,), handle=handle, outcome=outcome)
                self.detach(handle, subscription)

    def _drop(self, watch: Watch) -> None:
        self._watches.pop(watch.handle, None)
        self._schedule.discard(watch.handle)
        if watch.looking is not None:
            watch.looking.cancel()
            watch.looking = None

    # --- telling, and tasks

    def _tell(self, event: type[JobEvent], watch: Watch, **details: Any) -> None:
        if event is Finished or self._herald.is_heard_by(watch.subscriptions):
            self._herald.about(event, watch.subscriptions, handle=watch.handle, **details)

    def _everybody(self) -> set[Subscription]:
        return {subscription for watch in self._watches.values() for subscription in watch.subscriptions}

    def _spawn(self, work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> asyncio.Task[None]:
        task = self._group.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task
