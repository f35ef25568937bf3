"""One caller's interest in any number of jobs: what has been told and not yet taken, and which jobs are still open.

A slow reader slows his own jobs and nobody else's: once `limit` events wait to be taken, jobs that only he watches are
parked instead of looked at, until he has taken half of them. Ends are always kept.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, Self

from zuora_jobs.errors import InvalidHandle
from zuora_jobs.protocol.kinds import JobHandle
from zuora_jobs.timing import TICK
from zuora_jobs.watching.events import Event, Finished, JobEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zuora_jobs.watching.cadence import Cadence
    from zuora_jobs.watching.outcome import Outcome


_LEFTOVERS = 64
"""Deadlines of ended jobs that are not worth clearing away."""


class Watches(Protocol):
    """What a subscription needs of the fleet."""

    def attach(
        self, handle: JobHandle[Any], subscription: Subscription, *, hold: bool, cadence: Cadence | None = None
    ) -> None:
        """Watch *handle* for *subscription*."""

    def detach(self, handle: JobHandle[Any], subscription: Subscription) -> None:
        """Stop watching *handle* for *subscription*."""

    def give_up(self, handles: Iterable[JobHandle[Any]], subscription: Subscription) -> None:
        """The time of *handles* has run out."""

    def unpark(self, handles: Iterable[JobHandle[Any]]) -> None:
        """Look at *handles* again."""


def check_handle(handle: object) -> None:
    """Make sure that *handle* is one, and not the text of one.

    Raises:
        InvalidHandle: it is not.
    """
    if not isinstance(handle, JobHandle):
        message = f"expected a JobHandle, not {handle!r:.80}: make one with JobHandle.parse('kind:id')"
        raise InvalidHandle(message)


class Subscription:
    """What one caller is told.

    Args:
        watches: where jobs are watched.
        timeout: seconds for each job from when it was accepted; None: as long as it takes.
        only_ends: tell ends and nothing else.
        tell_again: tell also ends that were acknowledged in an earlier run.
        limit: how many events may wait to be taken.
        cadence: how soon to look again at what is watched for this caller; None: as the watcher has it.
    """

    def __init__(
        self,
        watches: Watches,
        *,
        timeout: float | None = None,
        only_ends: bool = False,
        tell_again: bool = True,
        limit: int | None = None,
        cadence: Cadence | None = None,
    ) -> None:
        self.only_ends = only_ends
        self.tell_again = tell_again
        self.timeout = timeout
        self.open: set[JobHandle[Any]] = set()
        """Accepted, and not yet told to have ended."""
        self.complete = False
        """No more jobs will be accepted."""
        self.alone = (self,)
        """For the jobs that only this caller watches: one tuple for all."""
        self._watches = watches
        self._limit = limit
        self._cadence = cadence
        self._events: deque[Event] = deque()
        self._error: BaseException | None = None
        self._told = asyncio.Event()
        self._room = asyncio.Event()
        self._parked: dict[JobHandle[Any], None] = {}
        self._deadlines: deque[tuple[float, JobHandle[Any]]] = deque()
        self._deadline_of: dict[JobHandle[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def accept(self, handle: JobHandle[Any], *, hold: bool = False) -> None:
        """Watch *handle*; one that is open already stays as it is. With *hold*, wait to be told before looking."""
        check_handle(handle)
        if handle in self.open:
            return
        self._watches.attach(handle, self, hold=hold, cadence=self._cadence)
        self.open.add(handle)
        if self.timeout is not None:
            deadline = asyncio.get_running_loop().time() + self.timeout
            self._deadline_of[handle] = deadline
            self._deadlines.append((deadline, handle))
            if len(self._deadlines) > 2 * len(self._deadline_of) + _LEFTOVERS:
                self._deadlines = deque(entry for entry in self._deadlines if self._stands(*entry))
            self._arm()

    def end_of_handles(self) -> None:
        """No more jobs will be accepted."""
        self.complete = True
        self._told.set()

    async def room(self, at_once: int) -> None:
        """Wait until fewer than *at_once* jobs are open, and the reader is not behind."""
        while not self.has_room(at_once):
            self._room.clear()
            await self._room.wait()

    def has_room(self, at_once: int) -> bool:
        """Tell whether fewer than *at_once* jobs are open, and the reader is not behind."""
        return len(self.open) < at_once and not self.is_full

    @property
    def is_full(self) -> bool:
        """Whether the reader is behind."""
        return self._limit is not None and len(self._events) >= self._limit

    def park(self, handle: JobHandle[Any]) -> None:
        """Keep *handle* until there is room."""
        self._parked[handle] = None

    def skip(self, handle: JobHandle[Any]) -> bool:
        """Close *handle* without a word; False where it is not open."""
        if handle not in self.open:
            return False
        self.open.remove(handle)
        self._deadline_of.pop(handle, None)
        self._room.set()
        self._told.set()
        return True

    def put(self, event: Event) -> None:
        """Tell *event*, where it concerns this caller."""
        if isinstance(event, Finished):
            if not self.skip(event.handle):
                return
        elif self.only_ends or self._has_no_room_for(event):
            return
        self._events.append(event)
        self._told.set()

    def fail(self, error: BaseException) -> None:
        """Have the reader get *error* once he has taken what was told before."""
        self._error = error
        self._told.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Take the next event; cancelled meanwhile, nothing is taken."""
        while not self._events:
            if self._error is not None:
                raise self._error
            if self.complete and not self.open:
                raise StopAsyncIteration
            self._told.clear()
            await self._told.wait()
        event = self._events.popleft()
        if self._limit is not None and len(self._events) <= self._limit // 2:
            self._room.set()
            if self._parked:
                some = list(islice(self._parked, self._limit))
                for handle in some:
                    del self._parked[handle]
                self._watches.unpark(some)
        return event

    async def outcomes(self) -> dict[JobHandle[Any], Outcome[Any]]:
        """Take all ends."""
        ends: dict[JobHandle[Any], Outcome[Any]] = {}
        async for event in self:
            if isinstance(event, Finished):
                ends[event.handle] = event.outcome
        return ends

    def close(self) -> None:
        """Stop watching whatever is still open."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._deadlines.clear()
        self._deadline_of.clear()
        while self.open:
            self._watches.detach(self.open.pop(), self)

    def _has_no_room_for(self, event: Event) -> bool:
        """Events that no parking can stop, or that a job shared with a faster reader brings, are left out."""
        if self._limit is None:
            return False
        return len(self._events) >= (2 * self._limit if isinstance(event, JobEvent) else self._limit)

    def _stands(self, deadline: float, handle: JobHandle[Any]) -> bool:
        """Tell whether an entry is still good: its job may have ended since, and even have come again."""
        return self._deadline_of.get(handle) == deadline

    def _arm(self) -> None:
        if self._timer is None and self._deadlines:
            self._timer = asyncio.get_running_loop().call_at(self._deadlines[0][0], self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time() + TICK
        late = []
        while self._deadlines and (self._deadlines[0][0] <= now or not self._stands(*self._deadlines[0])):
            deadline, handle = self._deadlines.popleft()
            if self._stands(deadline, handle):
                late.append(handle)
        self._arm()
        if late:
            self._watches.give_up(late, self)
