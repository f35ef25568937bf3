"""Takes jobs from the schedule as they fall due, as far as the budget allows, and has them looked at.

A look is performed by a worker, of which there are as many as requests are in flight at most. One that has come back goes
on with the next job at once where the budget has a place: at full speed no look costs a task, a timer or a turn of the
loop. At leisure one timer wakes a worker when both a job and the budget are ready. Only where others wait for the same
budget, or nobody answers, a place is waited for in the queue.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol

from zuora_jobs.errors import WatcherClosed, ZuoraJobsError
from zuora_jobs.timing import TICK

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from zuora_jobs.transport.limits import Limiter, Permit
    from zuora_jobs.watching.schedule import Schedule
    from zuora_jobs.watching.watch import Watch

GATHER: Final = 0.01
"""Seconds for which a fast budget gathers several places before a timer goes off: half of what it may spend at once."""

RATE_LASTS: Final = 0.25
"""Seconds for which the rate of the budget is good enough for the schedule."""


class Looks(Protocol):
    """What the driver needs of the fleet."""

    def park(self, watch: Watch) -> bool:
        """Leave *watch* alone for now, if nobody wants to hear of it."""

    async def look(self, watch: Watch, permit: Permit) -> None:
        """Look at *watch*, using up *permit*."""


class Driver:
    """One timer for all jobs of a watcher, and a task for each request in flight.

    Args:
        limiter: the budget.
        schedule: who is to be looked at.
        looks: performs what is due.
        spawn: runs a worker for as long as the watcher is open.
    """

    def __init__(
        self,
        limiter: Limiter,
        schedule: Schedule[Watch],
        looks: Looks,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self.looking = 0
        """Workers that have something to do."""
        self._limiter = limiter
        self._schedule = schedule
        self._looks = looks
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        """Of who opened the watcher: looks serve all, so they run in nobody else's, whoever asked for them first."""
        self._idle: list[tuple[asyncio.Future[tuple[Watch, Permit]], asyncio.Task[None]]] = []
        self._timer: asyncio.Handle | None = None
        self._armed_for = inf
        self._gathering_since = inf
        self._rate, self._rate_is_of = 0.0, -inf
        self._to_queue = asyncio.Event()
        self._is_running = False

    async def run(self) -> None:
        """Drive until cancelled.

        Raises:
            WatcherClosed: the client was closed.
        """
        self._is_running = True
        self._dispatch()
        try:
            while True:
                await self._to_queue.wait()
                await self._wait_in_queue()
                self._to_queue.clear()
                self._dispatch()
        finally:
            self._is_running = False
            self._disarm()

    def notice(self, due: float) -> None:
        """Take note that a look may be due then, which was not known before."""
        if self._is_running and due < self._armed_for:
            self._arm(due)

    async def _wait_in_queue(self) -> None:
        """Wait for a place in the budget as everybody does, and use it."""
        try:
            permit = await self._limiter.acquire()
        except WatcherClosed:
            raise
        except ZuoraJobsError:  # nobody answers, and this was not the look that found out
            return
        watch = self._next()
        if watch is None:
            permit.give_back()
        else:
            self._give(watch, permit)

    def _dispatch(self) -> None:
        """Have those looked at whose turn it is, and see to it that the next is in time."""
        self._disarm()
        while not self._to_queue.is_set():
            due, opens = self._schedule.next_due(), self._limiter.opens_at()
            # read after these, which take longer than a tick on a bad day: else we would spin
            now = self._loop.time() + TICK
            if due is None:
                return
            if due > now:
                self._arm(due)
                return
            if self._limiter.is_crowded or (opens is None and not self.looking):
                self._to_queue.set()
            elif opens is None:
                return  # a worker of ours will have the next place, when it comes back
            elif opens > now:
                self._arm(self._gathered(opens, now))
                return
            elif (job := self._take()) is not None:
                self._give(*job)
                self._gathering_since = inf

    def _gathered(self, opens: float, now: float) -> float:
        """Give the moment for which to set the timer, where the next place in the budget *opens* after *now*."""
        if self._limiter.rate * GATHER <= 1:
            return opens
        self._gathering_since = min(self._gathering_since, now)
        return max(opens, self._gathering_since + GATHER)

    def _take(self) -> tuple[Watch, Permit] | None:
        """Give who is to be looked at now, with a place in the budget, if there is both."""
        watch = self._next()
        if watch is None:
            return None
        try:
            permit = self._limiter.try_acquire()
        except WatcherClosed:  # who waits in the queue will say so
            permit = None
        if permit is None:
            self._schedule.put(watch, self._loop.time())
            self._to_queue.set()
            return None
        return watch, permit

    def _next(self) -> Watch | None:
        """Take the job that is to be looked at now, if any is."""
        now = self._loop.time()
        if now >= self._rate_is_of + RATE_LASTS:
            self._rate, self._rate_is_of = self._limiter.rate, now
        while (watch := self._schedule.pop(now + TICK, self._rate)) is not None:
            if not self._looks.park(watch):
                return watch
        return None

    # --- workers

    def _give(self, watch: Watch, permit: Permit) -> None:
        """Have a worker look, which begins in the loop's next turn; until then *watch* counts as being looked at."""
        while self._idle:
            idle, worker = self._idle.pop()
            if not idle.done():
                idle.set_result((watch, permit))
                watch.looking = worker
                return
        watch.looking = self._spawn(self._work(watch, permit))
        # here, since a task that is cancelled before it began runs nothing of its own
        watch.looking.add_done_callback(lambda _: permit.release())

    async def _work(self, watch: Watch, permit: Permit) -> None:
        """Look at one job after the other."""
        while True:
            self.looking += 1
            try:
                await self._look(watch, permit)
            finally:
                self.looking -= 1
                if self._is_running:
                    self._dispatch()
            watch, permit = await self._something_to_do()

    async def _look(self, watch: Watch, permit: Permit) -> None:
        """Look at a job, and at whoever is next for as long as there is a place in the budget."""
        while True:
            try:
                await self._looks.look(watch, permit)
            finally:
                permit.release()
            if self._limiter.is_crowded or not self._limiter.is_open:
                return
            following = self._take()
            if following is None:
                return
            watch, permit = following

    async def _something_to_do(self) -> tuple[Watch, Permit]:
        idle: asyncio.Future[tuple[Watch, Permit]] = self._loop.create_future()
        worker = asyncio.current_task()
        assert worker is not None  # noqa: S101 - this is one
        self._idle.append((idle, worker))
        try:
            return await idle
        except asyncio.CancelledError:
            if not idle.cancelled():  # it was given some in the very moment
                idle.result()[1].release()
            raise

    # --- the timer

    def _arm(self, moment: float) -> None:
        self._disarm()
        self._timer = self._loop.call_at(moment, self._dispatch, context=self._context)
        self._armed_for = moment

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._armed_for = None, inf
