"""What jobs do when they end, done in the order of their ends, no earlier than anybody looks.

- Time alone moves this: there is no task and no timer. Whoever looks has everything settled first that has ended by then,
  at the moment it ended; nobody can tell that it was not done at once.
- A look costs nothing while nothing ends. So each job is listed by the moment at which time will end it, and listed again
  whenever something else than time moves it (a GET that is counted, a DELETE, a test); older listings are passed over.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

from attrs import define

from zuora_jobs.emulator.lives import RESOLUTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from zuora_jobs.emulator.clock import Clock
    from zuora_jobs.emulator.jobs import Job

    Consequence = Callable[[float, str], None]
    """Given the moment of the end, as the emulator's clock tells it, and the status."""


@define(eq=False)
class _Pending:
    consequence: Consequence
    subject: str | None
    listed_at: float = math.nan


class Ledger:
    """The jobs whose ends have consequences."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pending: dict[Job, _Pending] = {}
        self._subjects: set[str] = set()
        self._listed: list[tuple[float, int, Job]] = []
        self._count = 0
        self._settling = False

    def enter(self, job: Job, consequence: Consequence, subject: str | None = None) -> None:
        """Have *consequence* follow from the end of *job*, which works on the object *subject* until then."""
        self._pending[job] = _Pending(consequence, subject)
        if subject is not None:
            self._subjects.add(subject)
        self.moved(job)

    def moved(self, job: Job) -> None:
        """Take note that something has changed when *job* ends."""
        pending = self._pending.get(job)
        moment = math.inf if pending is None else job.foreseen_end
        if pending is not None and moment != pending.listed_at:
            pending.listed_at = moment
            if moment < math.inf:
                self._count += 1  # of two that end at one moment, the first to be listed is the first
                heapq.heappush(self._listed, (moment, self._count, job))

    def busy(self, subject: str) -> bool:
        """Whether a job that works on that object runs."""
        self.settle()
        return subject in self._subjects

    def settle(self) -> None:
        """Do what follows from all that has ended by now, the earliest end first."""
        if not self._listed or self._settling:
            return
        now, self._settling = self._clock.now() + RESOLUTION, True
        try:
            while self._listed and self._listed[0][0] <= now:
                moment, _, job = heapq.heappop(self._listed)
                pending = self._pending.get(job)
                if pending is not None and pending.listed_at == moment and job.end is not None:
                    self._close(job, pending)
                    pending.consequence(*job.end)
        finally:
            self._settling = False

    def _close(self, job: Job, pending: _Pending) -> None:
        del self._pending[job]
        if pending.subject is not None:
            self._subjects.discard(pending.subject)
