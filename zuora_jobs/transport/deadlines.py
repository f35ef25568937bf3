"""Cuts off tasks whose time is up: what `asyncio.timeout` does for one, with a single timer for all of them.

A timer for each request is set thousands of times and hardly ever goes off. Here one goes off at the earliest deadline that
was known when it was set, cuts off who is late, and is set again for the rest.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Deadlines:
    """The deadlines of one loop's tasks."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._next = inf
        """When the timer goes off."""

    def within(self, seconds: float) -> Deadline:
        """Give a block so many seconds; what it has not done by then is cancelled, and it raises TimeoutError."""
        return Deadline(self, self._loop.time() + seconds)

    def now(self) -> float:
        """Give the moment, on the loop's clock."""
        return self._loop.time()

    def close(self) -> None:
        """Set no timer any more."""
        self._set(inf)
        self._next = -inf

    def add(self, deadline: Deadline) -> None:
        """Watch a block that begins."""
        self._running.add(deadline)
        if deadline.when < self._next:
            self._set(deadline.when)

    def remove(self, deadline: Deadline) -> None:
        """Forget a block that has ended."""
        self._running.discard(deadline)

    def _set(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = when
        self._timer = self._loop.call_at(when, self._cut_off) if when < inf else None

    def _cut_off(self) -> None:
        late = [deadline for deadline in self._running if deadline.when <= self._next]
        self._running.difference_update(late)
        self._set(min((deadline.when for deadline in self._running), default=inf))
        for deadline in late:
            deadline.cut_off()


class Deadline:
    """A block of one task, to be used once, inside `with`."""

    __slots__ = ("_before", "_deadlines", "_passed", "_task", "when")

    def __init__(self, deadlines: Deadlines, when: float) -> None:
        self.when = when
        """On the loop's clock."""
        self._deadlines = deadlines
        self._passed = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            message = "a deadline needs a task that can be cancelled"
            raise RuntimeError(message)
        self._task = task
        self._before = task.cancelling()
        self._deadlines.add(self)
        return self

    def begin_again(self, seconds: float) -> None:
        """Give the block so many seconds from now on."""
        self.when = self._deadlines.now() + seconds
        self._deadlines.add(self)

    def cut_off(self) -> None:
        """Cancel the task: its time is up."""
        self._passed = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._deadlines.remove(self)
        # where somebody else has cancelled the task as well, that comes first
        if self._passed and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error
