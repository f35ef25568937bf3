"""All jobs that a watcher watches, and who watches them.

Whom to look at is the schedule's to say, and the driver's to arrange; what is made of an answer, the looker's. Two who watch
one job share its looks. What is told has been taken down before: no job is looked at, and no end told, that the record does
not have. Everything runs in the watcher's task group, so nothing outlives it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from zuora_jobs.errors import JournalError, WatcherClosed, ZuoraJobsError
from zuora_jobs.watching.driver import Driver
from zuora_jobs.watching.events import CancelRefused, Finished, JobSubmitted, WatchBegan, WatchLeft
from zuora_jobs.watching.herald import Herald
from zuora_jobs.watching.intake import in_slices
from zuora_jobs.watching.looker import Looker
from zuora_jobs.watching.losses import timed_out
from zuora_jobs.watching.outcome import Outcome
from zuora_jobs.watching.remote import RemoteCancellation
from zuora_jobs.watching.schedule import Schedule
from zuora_jobs.watching.watch import NOTHING_ASIDE, Rules, Statistics, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.journal.entries import Past
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.protocol.sighting import Sighting
    from zuora_jobs.watching.cadence import Cadence
    from zuora_jobs.watching.events import Observer
    from zuora_jobs.watching.record import Record
    from zuora_jobs.watching.subscription import Subscription


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
        self._herald = Herald(observers, self._everybody, lambda: client.secrets)
        self._remote = RemoteCancellation(
            client, seen=self._answered_a_delete, refused=self._refused_a_delete, settled=self._look_if_idle
        )
        self._schedule: Schedule[Watch] = Schedule()
        self._watches: dict[JobHandle[Any], Watch] = {}
        self._counts: Counter[str] = Counter()
        self._looker = Looker(
            client=client,
            rules=rules,
            record=record,
            herald=self._herald,
            schedule=self._schedule,
            watches=self._watches,
            counts=self._counts,
            finish=self._finish,
        )
        self._driver = Driver(client.limiter, self._schedule, self._looker, self.spawn)
        self._looker.notice = self._driver.notice
        self._subscriptions: set[Subscription] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._farewells: set[asyncio.Task[None]] = set()
        self._closed = False
        record.begin(client, on_failure=self._stop)
        client.limiter.on_hold.append(self._herald.throttled)
        self.spawn(self._learn())
        self._driving = self.spawn(self._drive())

    # --- what subscriptions ask for

    def enrol(self, subscription: Subscription) -> None:
        """Tell *subscription* of what concerns all, until it leaves."""
        if self._closed:
            message = "the watcher is closed: use it inside `async with JobWatcher(client) as watcher`"
            raise WatcherClosed(message)
        self._record.check()
        self._subscriptions.add(subscription)

    def submitted(self, handle: JobHandle[Any], outcome: Outcome[Any] | None, *, from_journal: bool) -> None:
        """Tell observers of a job that was begun, and how it ended if it had ended at once."""
        self._herald.about(JobSubmitted, (), handle=handle, from_journal=from_journal)
        if outcome is not None:
            self._counts[outcome.name] += 1
            self._herald.about(Finished, (), handle=handle, outcome=outcome)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run *work* for as long as the watcher is open."""
        return self._start(work, self._tasks)

    def attach(
        self, handle: JobHandle[Any], subscription: Subscription, *, hold: bool, cadence: Cadence | None = None
    ) -> None:
        """Watch *handle* for *subscription*; with *hold*, look only when told to."""
        watch = self._watches.get(handle)
        if watch is None:
            watch = self._watches[handle] = Watch(handle, self._loop.time())
            watch.subscriptions = subscription.alone
            self._schedule.add(watch, handle.kind, watch.began)
            self._herald.to_observers(WatchBegan, handle=handle)
            self._record.accept(handle, partial(self._accepted, watch))
        else:
            watch.subscriptions += (subscription,)
        if cadence is not None:
            watch.set_aside().cadence = cadence
        if not hold:
            self._looker.begin(watch)

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
        if watch.looking or not watch.accepted or handle in self._remote:
            watch.nudged = True  # what is on its way may be older than the nudge
        else:
            self._looker.look_at(watch, self._loop.time())
        return True

    def delete(self, handle: JobHandle[Any], on_error: Callable[[ZuoraJobsError], None]) -> None:
        """Cancel the remote job; what came of it is seen like any answer about it."""
        watch = self._watches.get(handle)
        if watch is not None and not watch.accepted:
            watch.set_aside().deletions += (on_error,)
        elif deletion := self._remote.ask(handle, on_error):
            self._remote.runs(handle, self.spawn(deletion))

    def undelete(self, handle: JobHandle[Any], on_error: Callable[[ZuoraJobsError], None]) -> None:
        """He who asked for the remote job to be cancelled has left; the last to leave takes the request along."""
        watch = self._watches.get(handle)
        if watch is not None and watch.aside is not None:
            watch.aside.deletions = tuple(one for one in watch.aside.deletions if one != on_error)
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
            looking=self._driver.looking,
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
            for task in self._tasks | self._farewells:
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
        if past.age:  # else the moment stays the one that others share
            watch.began -= past.age
        aside, late, deletions = watch.aside, NOTHING_ASIDE.late, NOTHING_ASIDE.deletions
        if aside is not None:
            late, aside.late = aside.late, ()
            deletions, aside.deletions = aside.deletions, ()
        for subscription in late:
            self.give_up([watch.handle], subscription)
        if self._watches.get(watch.handle) is not watch:
            return
        if watch.nudged:
            watch.nudged = False
            self._looker.begin(watch)
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
        else:
            self._herald.to_observers(WatchLeft, handle=watch.handle, polls=outcome.polls)

    # --- driving

    async def _learn(self) -> None:
        """Tell the schedule what is known from before; looks do not wait for that."""
        for kind, seconds in self._rules.durations:
            for status in kind.running:
                self._schedule.stays(kind, status).lasted(seconds)
        try:
            known = await self._record.stays()
        except JournalError:
            return  # whoever writes will hear of it
        async for kind, status, seconds in in_slices(known):
            self._schedule.stays(kind, status).lasted(seconds)

    async def _drive(self) -> None:
        try:
            await self._driver.run()
        except WatcherClosed as error:  # the client was closed under us
            self._fail_all(error)

    # --- cancelling

    def _answered_a_delete(self, handle: JobHandle[Any], job: Sighting[Any]) -> None:
        if watch := self._watches.get(handle):
            self._looker.take_in(watch, job)

    def _refused_a_delete(self, handle: JobHandle[Any], error: ZuoraJobsError) -> None:
        if watch := self._watches.get(handle):
            self._herald.of(CancelRefused, watch, error=error)

    def _look_if_idle(self, handle: JobHandle[Any]) -> None:
        """Look at *handle* now, unless that is under way or arranged for."""
        watch = self._watches.get(handle)
        if watch is None or watch.place is not None:
            return
        if watch.accepted:
            self._looker.look_at(watch, self._loop.time())
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
        self._herald.of(Finished, watch, outcome=outcome)

    def _lose_all(self, handles: Iterable[JobHandle[Any]], subscription: Subscription) -> None:
        for handle in handles:
            watch = self._watches.get(handle)
            if watch is None or handle not in subscription.open:
                continue
            if not watch.accepted:
                watch.set_aside().late += (subscription,)  # the record may know better
                continue
            outcome = self._looker.lost(watch, timed_out(watch.handle, subscription.timeout, watch.last_trouble))
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
        self._herald.to_observers(WatchLeft, handle=watch.handle, polls=watch.polls)

    def _drop(self, watch: Watch) -> None:
        self._watches.pop(watch.handle, None)
        self._schedule.remove(watch, watch.handle.kind, self._loop.time())
        if watch.looking is not None:
            watch.looking.cancel()
            watch.looking = None

    # --- tasks

    def _everybody(self) -> tuple[Subscription, ...]:
        return tuple(self._subscriptions)

    def _start(self, work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> asyncio.Task[None]:
        task = self._group.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task
