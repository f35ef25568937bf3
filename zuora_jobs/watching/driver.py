"""Takes jobs from the schedule as they fall due, as far as the budget allows, and has them looked at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from zuora_jobs.errors import WatcherClosed, ZuoraJobsError
from zuora_jobs.timing import TICK
from zuora_jobs.watching.schedule import Schedule

if TYPE_CHECKING:
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.transport.limits import Limiter, Permit


class Looks(Protocol):
    """What the driver needs of the fleet."""

    def park(self, handle: JobHandle[Any]) -> bool:
        """Leave *handle* alone for now, if nobody wants to hear of it."""

    def look(self, handle: JobHandle[Any] | None, permit: Permit) -> None:
        """Look at *handle*, using up *permit*; give it back where there is nothing to be looked at."""


class Driver:
    """One task for all jobs of a watcher: a job that waits costs an entry in the schedule's heap, and no timer.

    Args:
        limiter: the budget.
        looks: performs what is due.
    """

    def __init__(self, limiter: Limiter, looks: Looks) -> None:
        self._limiter = limiter
        self._looks = looks
        self._loop = asyncio.get_running_loop()
        self._schedule: Schedule[JobHandle[Any]] = Schedule()
        self._wake: asyncio.Future[None] | None = None
        self._wakes_at: float | None = None

    def __contains__(self, handle: object) -> bool:
        return handle in self._schedule

    def put(self, handle: JobHandle[Any], due: float) -> None:
        """Have *handle* looked at when it is *due*, and not when it was due before."""
        self._schedule.put(handle, due)
        if self._wake is not None and (self._wakes_at is None or due < self._wakes_at):
            self._wake_up()

    def discard(self, handle: JobHandle[Any]) -> None:
        """Do not have *handle* looked at."""
        self._schedule.discard(handle)

    def pop(self, now: float) -> JobHandle[Any] | None:
        """Take the job that has been due for longest; None when none is."""
        return self._schedule.pop(now)

    async def run(self) -> None:
        """Drive until cancelled.

        Raises:
            WatcherClosed: the client was closed.
        """
        while True:
            due = self._schedule.next_due()
            if due is None or due > self._loop.time() + TICK:
                await self._sleep_until(due)
                continue
            first = self._schedule.first()
            if first is not None and self._looks.park(first):
                self._schedule.discard(first)
                continue
            try:
                permit = await self._limiter.acquire()
            except WatcherClosed:
                raise
            except ZuoraJobsError:  # nobody answers, and this was not the look that found out
                continue
            # chosen last: what was due first may have changed
            self._looks.look(self._schedule.pop(self._loop.time() + TICK), permit)

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
