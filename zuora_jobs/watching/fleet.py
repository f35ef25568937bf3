"""All jobs that a watcher watches, and what is made of each answer about one.

When to look is the driver's; a look is a task for as long as its request takes. Two who watch one job share its looks.
What is told has been taken down before: no job is looked at, and no end told, that the record does not have. Everything
runs in the watcher's task group, so nothing outlives it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from zuora_jobs.errors import UnknownStatus, WatcherClosed, ZuoraJobsError
from zuora_jobs.protocol.messages import one_line
from zuora_jobs.transport.retry import Trouble, Verdict, delay_before_retry, nobody_home, verdict
from zuora_jobs.watching.driver import Driver
from zuora_jobs.watching.events import CancelRefused, Finished, Observed, Retrying, StatusChanged, UnknownStatusSeen
from zuora_jobs.watching.herald import Herald
from zuora_jobs.watching.losses import kept, timed_out, unknown_for_too_long
from zuora_jobs.watching.outcome import Lost, Outcome, outcome_of
from zuora_jobs.watching.remote import RemoteCancellation
from zuora_jobs.watching.watch import Rules, Statistics, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.journal.entries import Past
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.protocol.models import JobDocument
    from zuora_jobs.transport.limits import Permit
    from zuora_jobs.watching.events import JobEvent, Observer
    from zuora_jobs.watching.record import Record
    from zuora_jobs.watching.subscription import Subscription

log = logging.getLogger("zuora_jobs")

FEWEST_ATTEMPTS: Final = 3
"""Looks in a row that must fail before time alone loses a job: in a large fleet two may lie an hour apart."""


FEWEST_ALIKE: Final = 8
"""Answers in a row of what may be an answer before it is believed: chance is not as stubborn."""

MOST_UNKNOWN: Final = 20
"""Unknown statuses in a row that are told; what comes after them is a number that grows, say."""


class Fleet:
    """Watches jobs until they end; used by one JobWatcher, inside its task group."""

    def __init__(
        self,
        client: ZuoraClient,
        rules: Rules,
        observers: Sequence[Observer],
        record: Record,
        group: asyncio.TaskGroup,
    ) -> None:
        self._client = client
        self._record = record
        self._rules = rules
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._herald = Herald(observers, self._everybody)
        self._remote = RemoteCancellation(
            client, seen=self._answered_a_delete, refused=self._refused_a_delete, settled=self._look_if_idle
        )
        self._driver = Driver(client.limiter, self)
        self._watches: dict[JobHandle[Any], Watch] = {}
        self._subscriptions: set[Subscription] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._looks: set[asyncio.Task[None]] = set()
        self._farewells: set[asyncio.Task[None]] = set()
        self._counts: Counter[str] = Counter()
        self._closed = False
        record.begin(client, on_failure=self._stop)
        client.limiter.on_hold.append(self._herald.throttled)
        self._driving = self.spawn(self._drive())

    # --- what subscriptions ask for

    def enrol(self, subscription: Subscription) -> None:
        """Tell *subscription* of what concerns all, until it leaves."""
        if self._closed:
            message = "the watcher is closed: use it inside `async with JobWatcher(client) as watcher`"
            raise WatcherClosed(message)
        self._record.check()
        self._subscriptions.add(subscription)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run *work* for as long as the watcher is open."""
        return self._start(work, self._tasks)

    def attach(self, handle: JobHandle[Any], subscription: Subscription, *, hold: bool) -> None:
        """Watch *handle* for *subscription*; with *hold*, look only when told to."""
        watch = self._watches.get(handle)
        if watch is None:
            watch = self._watches[handle] = Watch(handle, self._loop.time())
            watch.subscriptions = (subscription,)
            self._record.accept(handle, partial(self._accepted, watch))
        else:
            watch.subscriptions += (subscription,)
        if not hold:
            self._look_if_idle(handle)

    def detach(self, handle: JobHandle[Any], subscription: Subscription) -> None:
        """Stop watching *handle* for *subscription*; the last to leave stops the looking."""
        watch = self._watches.get(handle)
        if watch is None:
            return
        watch.subscriptions = tuple(other for other in watch.subscriptions if other is not subscription)
        if not watch.subscriptions:
            self._leave_alone(watch)
        elif watch.parked:  # it may have been for his sake who has left
            self._look_if_idle(handle)

    def give_up(self, handles: Iterable[JobHandle[Any]], subscription: Subscription) -> None:
        """The time that *subscription* gave for *handles* has run out."""
        if self._closed:
            return
        if self._rules.cancel_remote:
            self._start(self._cancel_then_lose(list(handles), subscription), self._farewells)
        else:
            self._lose_all(handles, subscription)

    def unpark(self, handles: Iterable[JobHandle[Any]]) -> None:
        """Look at *handles*, which had been left alone for a slow reader's sake."""
        for handle in handles:
            if (watch := self._watches.get(handle)) and watch.parked:
                self._look_if_idle(handle)

    def nudge(self, handle: JobHandle[Any]) -> bool:
        """Look at *handle* now; False when it is not watched."""
        watch = self._watches.get(handle)
        if watch is None:
            return False
        if watch.looking is not None or not watch.accepted or handle in self._remote:
            watch.nudged = True  # what is on its way may be older than the nudge
        else:
            self._look_at(watch, self._loop.time())
        return True

    def delete(self, handle: JobHandle[Any], on_error: Callable[[ZuoraJobsError], None]) -> None:
        """Cancel the remote job; what came of it is seen like any answer about it."""
        watch = self._watches.get(handle)
        if watch is not None and not watch.accepted:
            watch.deletions += (on_error,)
        elif deletion := self._remote.ask(handle, on_error):
            self._remote.runs(handle, self.spawn(deletion))

    def undelete(self, handle: JobHandle[Any], on_error: Callable[[ZuoraJobsError], None]) -> None:
        """He who asked for the remote job to be cancelled has left; the last to leave takes the request along."""
        watch = self._watches.get(handle)
        if watch is not None and on_error in watch.deletions:
            watch.deletions = tuple(one for one in watch.deletions if one != on_error)
        self._remote.unask(handle, on_error)

    async def leave(self, subscription: Subscription) -> None:
        """End *subscription*; where the rules say so, cancel the remote jobs that only it still watched."""
        try:
            if subscription.open and self._rules.cancel_remote and not self._closed:
                alone = self._only_watched_by(subscription, subscription.open)
                await asyncio.shield(self._start(self._remote.say_farewell(alone), self._farewells))
        finally:
            self.depart(subscription)

    def depart(self, subscription: Subscription) -> None:
        """End *subscription*, and leave the remote jobs alone."""
        subscription.close()
        self._subscriptions.discard(subscription)

    def statistics(self) -> Statistics:
        """Give the figures as they stand."""
        counts = self._counts
        return Statistics(
            watching=len(self._watches),
            looking=len(self._looks),
            polls=counts["polls"],
            retries=counts["retries"],
            requests=self._client.limiter.requests,
            refused=self._client.limiter.refusals,
            succeeded=counts["succeeded"],
            failed=counts["failed"],
            cancelled=counts["cancelled"],
            lost=counts["lost"],
            held_seconds=self._client.limiter.held_seconds,
        )

    async def close(self) -> None:
        """Finish saying farewell, then stop everything; cancelled meanwhile, stop at once."""
        try:
            if self._rules.cancel_remote and self._watches:
                left = [handle for handle, watch in self._watches.items() if watch.accepted]
                self._start(self._remote.say_farewell(left), self._farewells)
            while self._farewells:
                await asyncio.wait(self._farewells)
        finally:
            self._closed = True
            self._client.limiter.on_hold.remove(self._herald.throttled)
            self._fail_all(
                WatcherClosed("the watcher was closed while this job was being watched; the job was left alone")
            )
            for watch in list(self._watches.values()):
                self._leave_alone(watch)
            for task in self._tasks | self._looks | self._farewells:
                task.cancel()
            await self._record.close()

    def _fail_all(self, error: ZuoraJobsError) -> None:
        for subscription in self._subscriptions:
            subscription.fail(error)

    def _stop(self, error: ZuoraJobsError) -> None:
        """Nothing that is seen can be told any more."""
        self._fail_all(error)
        self._driving.cancel()

    # --- what the record knows

    def _accepted(self, watch: Watch, past: Past) -> None:
        """Begin to watch what is now on record, or go on, or tell its end, which is on record too."""
        if self._watches.get(watch.handle) is not watch:
            return  # left in the meantime
        if past.outcome is not None:
            self._tell_again(watch, past.outcome, acknowledged=past.acknowledged)
            return
        watch.accepted, watch.polls, watch.status = True, past.polls, past.status
        watch.began -= past.age
        late, watch.late = watch.late, ()
        for subscription in late:
            self.give_up([watch.handle], subscription)
        if self._watches.get(watch.handle) is not watch:
            return
        if watch.nudged:
            self._look_at(watch, self._loop.time())
        deletions, watch.deletions = watch.deletions, ()
        for on_error in deletions:
            self.delete(watch.handle, on_error)

    def _tell_again(self, watch: Watch, outcome: Outcome[Any], *, acknowledged: bool) -> None:
        """Tell an end that was seen in an earlier run, but not to those who have said that they know."""
        self._drop(watch)
        listeners = [one for one in watch.subscriptions if one.tell_again or not acknowledged]
        for subscription in watch.subscriptions:
            if subscription not in listeners:
                subscription.skip(watch.handle)
        if listeners:
            self._counts[outcome.name] += 1
            self._herald.about(Finished, listeners, handle=watch.handle, outcome=outcome, from_journal=True)

    # --- looks

    async def _drive(self) -> None:
        try:
            await self._driver.run()
        except WatcherClosed as error:  # the client was closed under us
            self._fail_all(error)

    def park(self, handle: JobHandle[Any]) -> bool:
        """Leave *handle* alone if all who watch it are behind in their reading, until one has read on."""
        watch = self._watches.get(handle)
        if watch is None or not all(subscription.is_full for subscription in watch.subscriptions):
            return False
        watch.parked = True
        for subscription in watch.subscriptions:
            subscription.park(handle)
        return True

    def look(self, handle: JobHandle[Any] | None, permit: Permit) -> None:
        """Look at *handle*, using up *permit*, unless it is not watched or being looked at."""
        watch = self._watches.get(handle) if handle is not None else None
        if watch is None or watch.looking is not None:
            permit.release()
            return
        watch.looking = self._start(self._look(watch, permit), self._looks)
        # here, since a task that is cancelled before it began runs nothing of its own
        watch.looking.add_done_callback(lambda _: permit.release())

    def _look_at(self, watch: Watch, due: float) -> None:
        """Have *watch* looked at when it is *due*, or now where it has been nudged; one look at a time."""
        if watch.looking is not None:
            return
        due = self._loop.time() if watch.nudged else due
        watch.nudged = watch.parked = False
        self._driver.put(watch.handle, due)

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
        watch.trouble = watch.delays = None
        kind, status = watch.handle.kind, job.status
        before, watch.status, watch.job = watch.status, status, job
        phase = kind.phase(status)
        if before != status:
            self._record.seen(watch.handle, status, phase, watch.polls)
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
                watch.unknown = frozenset()
            self._look_at(watch, now + self._rules.cadence(kind).delay(max(1, watch.polls), self._client.rng))

    def _unknown_for_too_long(self, watch: Watch, status: str, now: float) -> UnknownStatus | None:
        if not watch.unknown:
            watch.unknown_since = now
        if status not in watch.unknown and len(watch.unknown) < MOST_UNKNOWN:
            watch.unknown |= {status}
            told = one_line(status, 60)
            log.warning("%s has the status %r, which its kind does not list; watching on", watch.handle, told)
            self._tell(UnknownStatusSeen, watch, status=status)
        if now - watch.unknown_since < self._rules.unknown_status_timeout:
            return None
        return unknown_for_too_long(watch.handle, status, now - watch.unknown_since)

    def _not_seen(self, watch: Watch, error: ZuoraJobsError) -> None:
        """Take in that a look was not answered with a document."""
        if self._watches.get(watch.handle) is not watch:
            return
        now = self._loop.time()
        if nobody_home(error):
            alone = len(self._watches) == 1
            away_since = self._herald.contact_failed(error, watch.handle, now, alone=alone)
            if self._lose_contact(watch, error, away_since, now):
                return
        elif error.sent:
            self._herald.contact_made(now)
        if watch.trouble is None:
            watch.trouble = Trouble()
        lasting = watch.trouble.add(error, now)
        enough = watch.trouble.attempts >= FEWEST_ATTEMPTS
        if verdict(error) is Verdict.BRIEFLY:
            enough = watch.trouble.alike >= FEWEST_ALIKE
        worn_out = enough and not self._rules.patience.allows(error, lasting)
        if verdict(error) is Verdict.FINAL or worn_out:
            self._lose(watch, error)
            return
        if watch.delays is None:
            watch.delays = self._rules.patience.delays(self._client.rng)
        delay = delay_before_retry(error, next(watch.delays))
        self._counts["retries"] += 1
        log.info("%s: trying again in %.1f s: %s", watch.handle, delay, error)
        self._tell(Retrying, watch, error=kept(error), delay=delay)
        self._look_at(watch, now + delay)

    def _lose_contact(self, watch: Watch, error: ZuoraJobsError, away_since: float, now: float) -> bool:
        """Give up those who have waited for a look for too long: in an outage only few are asked about.

        Returns:
            Whether *watch*, whose look it was that nobody answered, is among them.
        """
        longest = self._rules.patience.again
        if now - away_since < longest or len(self._watches) == 1:  # one alone has troubles of its own
            return False
        waiting = [watch]
        while (handle := self._driver.pop(now)) is not None:
            waiting.append(self._watches[handle])
        for one in waiting:
            if now - max(one.began, away_since) >= longest:
                self._lose(one, error)
            elif one is not watch:
                self._look_at(one, now)
        return self._watches.get(watch.handle) is not watch

    # --- cancelling

    def _answered_a_delete(self, handle: JobHandle[Any], job: JobDocument) -> None:
        if watch := self._watches.get(handle):
            self._seen(watch, job, looked=False)

    def _refused_a_delete(self, handle: JobHandle[Any], error: ZuoraJobsError) -> None:
        if watch := self._watches.get(handle):
            self._tell(CancelRefused, watch, error=error)

    def _look_if_idle(self, handle: JobHandle[Any]) -> None:
        """Look at *handle* now, unless that is under way or arranged for."""
        watch = self._watches.get(handle)
        if watch is None or handle in self._driver:
            return
        if watch.accepted:
            self._look_at(watch, self._loop.time())
        else:
            watch.nudged = True

    async def _cancel_then_lose(self, handles: list[JobHandle[Any]], subscription: Subscription) -> None:
        await self._remote.say_farewell(self._only_watched_by(subscription, handles))
        self._lose_all(handles, subscription)

    def _only_watched_by(self, subscription: Subscription, handles: Iterable[JobHandle[Any]]) -> list[JobHandle[Any]]:
        return [
            handle
            for handle in handles
            if (watch := self._watches.get(handle)) and watch.accepted and watch.subscriptions == (subscription,)
        ]

    # --- ends

    def _finish(self, watch: Watch, outcome: Outcome[Any]) -> None:
        self._drop(watch)
        self._record.finish(outcome, partial(self._tell_end, watch, outcome))

    def _tell_end(self, watch: Watch, outcome: Outcome[Any]) -> None:
        self._counts[outcome.name] += 1
        self._tell(Finished, watch, outcome=outcome)

    def _lose(self, watch: Watch, error: ZuoraJobsError) -> None:
        self._finish(watch, self._lost(watch, error))

    def _lost(self, watch: Watch, error: ZuoraJobsError) -> Lost[Any]:
        elapsed = self._loop.time() - watch.began
        return Lost(handle=watch.handle, job=watch.job, polls=watch.polls, elapsed=elapsed, error=kept(error))

    def _lose_all(self, handles: Iterable[JobHandle[Any]], subscription: Subscription) -> None:
        for handle in handles:
            watch = self._watches.get(handle)
            if watch is None or handle not in subscription.open:
                continue
            if not watch.accepted:
                watch.late += (subscription,)  # the record may know better
                continue
            outcome = self._lost(watch, timed_out(watch.handle, subscription.timeout, watch.trouble))
            if watch.subscriptions == (subscription,):
                self._finish(watch, outcome)
            else:
                self._counts["lost"] += 1
                self._herald.to_one(Finished, subscription, handle=handle, outcome=outcome)
                self.detach(handle, subscription)

    def _leave_alone(self, watch: Watch) -> None:
        self._drop(watch)
        if watch.accepted:
            self._record.left(watch.handle, watch.polls)

    def _drop(self, watch: Watch) -> None:
        self._watches.pop(watch.handle, None)
        self._driver.discard(watch.handle)
        if watch.looking is not None:
            watch.looking.cancel()
            watch.looking = None

    # --- telling, and tasks

    def _tell(self, event: type[JobEvent], watch: Watch, **details: Any) -> None:
        if event is Finished or self._herald.is_heard_by(watch.subscriptions):
            self._herald.about(event, watch.subscriptions, handle=watch.handle, **details)

    def _everybody(self) -> tuple[Subscription, ...]:
        return tuple(self._subscriptions)

    def _start(self, work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> asyncio.Task[None]:
        task = self._group.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task
