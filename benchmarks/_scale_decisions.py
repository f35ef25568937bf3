"""The decision alone, for one number of jobs, in a process of its own: no socket, no loop. Prints its figures as JSON.

python _scale_decisions.py '{"figure": "in_order", "jobs": 10000, "looks": 50000}'
"""

import json
import sys
import time
from random import Random
from typing import Any, Final

from zuora_jobs.watching.cadence import Pace
from zuora_jobs.watching.intake import no_full_collection
from zuora_jobs.watching.rank import Entry
from zuora_jobs.watching.schedule import Schedule

RATE: Final = 400.0
"""Looks a second."""
PACE: Final = Pace()
KIND: Final = "kind"
BEGINS: Final = 0.02
"""Jobs in line that begin, a look."""
AT_ONCE: Final = 8
"""Those that are at work when the watch begins."""
ENDS: Final = 0.1
"""How likely it is, where there is a line, that a job at work has ended when it is looked at; then another joins the line."""
WARM_UP: Final = 20_000
"""Looks after which a line is as it goes on to be."""
Figures = dict[str, float]


class Job(Entry):
    """One job, and its number in the order of intake."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class Fleet:
    """A schedule with so many jobs, and a clock that each look moves on by what the budget says."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.looked_at = 0
        """Jobs that have been, at least once."""
        self._now = 0.0
        self._schedule: Schedule[Job] = Schedule()
        with no_full_collection():  # as the watcher does
            for number in range(jobs):
                self._take_in(number)

    def _take_in(self, number: int) -> None:
        job = Job(number)
        self._schedule.add(job, KIND, self._now)
        self._schedule.wait(job, KIND, PACE)

    def _next(self) -> Job:
        """Take whoever is to be looked at; where nobody is, later."""
        self._now += 1 / RATE
        job = self._schedule.pop(self._now, RATE)
        while job is None:
            self._now = max(self._now, self._schedule.next_due() or 0.0)
            job = self._schedule.pop(self._now, RATE)
        return job

    def find_at_work(self, looks: int) -> None:
        """Look so many times, and find everybody at work."""
        for _ in range(looks):
            job = self._next()
            self.looked_at += job.cell is None
            self._schedule.saw(job, KIND, "Processing", begun=True, ended=False, now=self._now)
            self._schedule.wait(job, KIND, PACE)

    def find_in_order(self, looks: int, rng: Random) -> None:
        """Look so many times, and find those in front at work, or ended, and the others waiting."""
        for _ in range(looks):
            job = self._next()
            begun = job.number < self._now * RATE * BEGINS + AT_ONCE
            ended = begun and rng.random() < ENDS
            status = "Completed" if ended else "Processing" if begun else "Pending"
            self._schedule.saw(job, KIND, status, begun=begun, ended=ended, now=self._now)
            if ended:
                self._schedule.remove(job, KIND, self._now)
                self._take_in(job.number + self.jobs)
            else:
                self._schedule.wait(job, KIND, PACE)


def taken_in(jobs: int, looks: int) -> Figures:
    """Take as many handles in as there are to be looks, or more, into as many fleets as that needs."""
    fleets = max(1, looks // jobs)
    spent = time.process_time()
    for _ in range(fleets):
        Fleet(jobs)
    return {"handle": (time.process_time() - spent) / (fleets * jobs)}


def at_work(jobs: int, looks: int) -> Figures:
    """Look at jobs that are all at work: while most have not been looked at, if they are that many, and once all have."""
    fleet, said = Fleet(jobs), {}
    if jobs >= 2 * looks:
        spent = time.process_time()
        fleet.find_at_work(looks)
        said = {"first": (time.process_time() - spent) / looks, "share": fleet.looked_at / looks}
    while fleet.looked_at < jobs:
        fleet.find_at_work(100)
    spent = time.process_time()
    fleet.find_at_work(looks)
    return said | {"later": (time.process_time() - spent) / looks}


def in_order(jobs: int, looks: int) -> Figures:
    """Look at jobs that are worked in the order in which they were taken in."""
    fleet, rng = Fleet(jobs), Random(1)
    fleet.find_in_order(WARM_UP, rng)
    spent = time.process_time()
    fleet.find_in_order(looks, rng)
    return {"in_order": (time.process_time() - spent) / looks}


FIGURES: Final = {"taken_in": taken_in, "at_work": at_work, "in_order": in_order}


def main() -> None:
    """Measure what is asked for."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    print(json.dumps(FIGURES[order["figure"]](order["jobs"], order["looks"])))


if __name__ == "__main__":
    main()
