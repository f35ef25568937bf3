"""Who decides when a job is looked at: the defaults of others, what one would write oneself, and `zuora_jobs`.

A default of others is a row of waits for each job. Where the budget has no place for all that are due, who has been due
for longest goes first. `scale` stretches all waits alike, to compare defaults at an equal number of requests.
"""

import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import cache
from heapq import heappop, heappush
from random import Random
from typing import Final

import backoff
from _delay_traces import PENDING, PROCESSING, Job, Policy
from attrs import Factory, define, field, frozen

from zuora_jobs.watching.cadence import Pace
from zuora_jobs.watching.rank import Entry
from zuora_jobs.watching.schedule import Schedule

Waits = Callable[[Random], Iterator[float]]
"""The seconds between the looks at one job; the first look is at once."""


# --- waits


def every(seconds: float) -> Waits:
    """Give the same each time.

    azure-core: 30 s, the default of `LROBasePolling(timeout=30)`. botocore: the `delay` of each waiter in its
    waiters-2.json; 15 s is the median of all, and 20 s that of DynamoDB's tables.
    """
    return lambda _: itertools.repeat(seconds)


def _by_formula(initial: float, maximum: float, multiplier: float) -> Iterator[float]:
    most = initial
    while True:
        yield random.uniform(0.0, most)  # noqa: TID251 - as the library draws
        most = min(most * multiplier, maximum)


def google(initial: float, maximum: float, multiplier: float) -> Waits:
    """Give google-api-core's own: `retry.exponential_sleep_generator`, or where it is not installed its formula.

    `PollingFuture` has 1 s to 20 s, x1.5 (`future/polling.py`, DEFAULT_POLLING): the most that is drawn, for it has full
    jitter. `AsyncFuture` has what any `AsyncRetry` has, 1 s to 60 s, x2: the same as `with_backoff`.
    """
    try:
        from google.api_core.retry import exponential_sleep_generator  # noqa: PLC0415 - not installed everywhere
    except ImportError:
        return lambda _: _by_formula(initial, maximum, multiplier)
    return lambda _: exponential_sleep_generator(initial, maximum, multiplier)  # type: ignore[no-any-return]


def with_backoff(_: Random) -> Iterator[float]:
    """Give those of `backoff.on_predicate(backoff.expo, max_value=60)`, which has full jitter unless told otherwise."""
    waits = backoff.expo(max_value=60)
    next(waits)
    return (backoff.full_jitter(wait) for wait in waits)


def databricks(rng: Random) -> Iterator[float]:
    """Give those of databricks-sdk's generated waiters: `sleep = min(attempt, 10)`, and up to a second at random."""
    return (min(attempt, 10) + rng.uniform(0, 1) for attempt in itertools.count(1))


def until_now(_: Random) -> Iterator[float]:
    """Give those of zuora_jobs before it had a schedule: `Cadence.exponential()`, 1 s, x1.1 up to 15 s."""
    wait = 1.0
    while True:
        yield wait
        wait = min(wait * 1.1, 15.0)


# --- policies


@define
class _ByMoments(Policy):
    """Each job is due at a moment: who has been due for longest is looked at."""

    _due: list[tuple[float, int]] = field(init=False, factory=list)

    def pick(self, now: float) -> int | None:
        """Give who has been due for longest."""
        return heappop(self._due)[1] if self._due and self._due[0][0] <= now else None

    def next_due(self, now: float) -> float | None:
        """Give when the first is due."""
        del now
        return self._due[0][0] if self._due else None


@define
class EachItsOwn(_ByMoments):
    """Each job has waits of its own, and does not know of others."""

    waits: Waits
    rng: Random
    scale: float = 1.0
    _of: dict[int, Iterator[float]] = Factory(dict)

    def add(self, number: int, kind: str, now: float) -> None:
        """Look at it at once."""
        del kind
        self._of[number] = self.waits(self.rng)
        heappush(self._due, (now, number))

    def saw(self, number: int, status: str, ended: bool, now: float) -> None:  # noqa: FBT001 - the protocol's
        """Draw the next wait."""
        del status
        if not ended:
            heappush(self._due, (now + self.scale * next(self._of[number]), number))


@define
class InTurns(Policy):
    """Round robin: the job that was looked at longest ago, as often as the budget allows."""

    _line: deque[int] = Factory(deque)

    def add(self, number: int, kind: str, now: float) -> None:
        """Stand in line."""
        del kind, now
        self._line.append(number)

    def pick(self, now: float) -> int | None:
        """Give the first in line."""
        del now
        return self._line.popleft() if self._line else None

    def next_due(self, now: float) -> float | None:
        """Any time will do."""
        return now if self._line else None

    def saw(self, number: int, status: str, ended: bool, now: float) -> None:  # noqa: FBT001 - the protocol's
        """Stand in line again."""
        del status, now
        if not ended:
            self._line.append(number)


@define
class ByStatus(Policy):
    """Jobs at work are looked at so many times as often as those that wait, and newcomers as if they were at work."""

    weight: float = 10.0
    _lines: tuple[deque[tuple[float, int]], deque[tuple[float, int]]] = Factory(lambda: (deque(), deque()))
    """Who waits and who is at work, with the moments of their last looks, oldest first."""

    def add(self, number: int, kind: str, now: float) -> None:
        """Find out soon which it is."""
        del kind
        self._lines[True].append((now, number))

    def pick(self, now: float) -> int | None:
        """Give the first of the line whose first has waited longest for its weight."""
        waiting, at_work = self._lines
        if waiting and at_work:
            is_at_work = self.weight * (now - at_work[0][0]) >= now - waiting[0][0]
            return self._lines[is_at_work].popleft()[1]
        return (waiting or at_work).popleft()[1] if waiting or at_work else None

    def next_due(self, now: float) -> float | None:
        """Any time will do."""
        return now if any(self._lines) else None

    def saw(self, number: int, status: str, ended: bool, now: float) -> None:  # noqa: FBT001 - the protocol's
        """Stand in the line of the status."""
        if not ended:
            self._lines[status == PROCESSING].append((now, number))


@define
class ToldTheEnds(_ByMoments):
    """One who is told the true ends, and looks once at each: nobody can be sooner."""

    jobs: Sequence[Job]
    _ends: dict[int, float] = Factory(lambda told: {job.number: job.ended for job in told.jobs}, takes_self=True)

    def add(self, number: int, kind: str, now: float) -> None:
        """Have it looked at when it has ended."""
        del kind
        heappush(self._due, (max(now, self._ends[number]), number))

    def saw(self, number: int, status: str, ended: bool, now: float) -> None:  # noqa: FBT001 - the protocol's
        """It has ended."""


@define
class ToldWhoIsAtWork(Policy):
    """One who is told when each job begins, and looks at those in turns: what could be had by one who knows the queue."""

    jobs: Sequence[Job]
    _begins: dict[int, float] = Factory(lambda told: {job.number: job.started for job in told.jobs}, takes_self=True)
    _to_begin: list[tuple[float, int]] = Factory(list)
    _line: deque[int] = Factory(deque)

    def add(self, number: int, kind: str, now: float) -> None:
        """Have it stand in line when it has begun."""
        del kind
        heappush(self._to_begin, (max(now, self._begins[number]), number))

    def pick(self, now: float) -> int | None:
        """Give the first in line."""
        while self._to_begin and self._to_begin[0][0] <= now:
            self._line.append(heappop(self._to_begin)[1])
        return self._line.popleft() if self._line else None

    def next_due(self, now: float) -> float | None:
        """Any time will do, when one has begun."""
        return now if self._line else self._to_begin[0][0] if self._to_begin else None

    def saw(self, number: int, status: str, ended: bool, now: float) -> None:  # noqa: FBT001 - the protocol's
        """Stand in line again."""
        del status, now
        if not ended:
            self._line.append(number)


# --- zuora_jobs

Stay = tuple[str, str, float]
"""Of which kind, in which status, for how many seconds a job once was."""


SOONEST: Final = 0.1
"""Seconds between two looks at a job at least: a tenth of the default, for the others have no such bound."""


class Watched(Entry):
    """What the schedule keeps of a job."""

    __slots__ = ("kind", "number")

    def __init__(self, number: int, kind: str) -> None:
        self.number = number
        self.kind = kind


@cache
def learned(past: tuple[Stay, ...]) -> Schedule[Watched]:
    """Give a schedule that knows how long jobs stayed; to be copied."""
    schedule: Schedule[Watched] = Schedule()
    for kind, status, seconds in past:
        schedule.stays(kind, status).lasted(seconds)
    return schedule


@define
class Scheduled(Policy):
    """zuora_jobs: what its watcher does with its schedule."""

    schedule: Schedule[Watched]
    rate: float
    pace: Pace
    _watched: dict[int, Watched] = Factory(dict)

    def add(self, number: int, kind: str, now: float) -> None:
        """Take it in."""
        entry = self._watched[number] = Watched(number, kind)
        self.schedule.add(entry, kind, now)
        self.schedule.wait(entry, kind, self.pace)

    def pick(self, now: float) -> int | None:
        """Give whom a look at is worth most."""
        entry = self.schedule.pop(now + 1e-9, self.rate)  # what is due now is due, whatever has been rounded
        return entry.number if entry is not None else None

    def next_due(self, now: float) -> float | None:
        """Give when the first is due."""
        del now
        return self.schedule.next_due()

    def saw(self, number: int, status: str, ended: bool, now: float) -> None:  # noqa: FBT001 - the protocol's
        """Let it learn."""
        entry = self._watched[number]
        self.schedule.saw(entry, entry.kind, status, begun=status != PENDING, ended=ended, now=now)
        if ended:
            del self._watched[number]
        else:
            self.schedule.wait(entry, entry.kind, self.pace)


# --- candidates


@frozen
class Scene:
    """What a candidate is given."""

    jobs: Sequence[Job]
    rate: float
    rng: Random
    scale: float = 1.0
    """The one knob of those that have one: what the number of requests is set with."""
    past: tuple[Stay, ...] = ()
    """Of jobs of the same sort that were watched before."""


@frozen
class Candidate:
    """One way to watch."""

    name: str
    make: Callable[[Scene], Policy]
    is_shared: bool = True
    """Whether it is compared where jobs share a budget."""
    is_alone: bool = False
    """Whether it is compared where each job is watched alone: it has the knob."""


def _each(name: str, waits: Waits, *, is_shared: bool = True, is_alone: bool = True) -> Candidate:
    return Candidate(name, lambda scene: EachItsOwn(waits, scene.rng, scene.scale), is_shared, is_alone)


def _scheduled(scene: Scene, past: tuple[Stay, ...]) -> Scheduled:
    is_alone = math.isinf(scene.rate)
    pace = Pace(min_interval=SOONEST, lateness=scene.scale if is_alone else None)  # the price of a look is the knob
    return Scheduled(deepcopy(learned(past)), scene.rate, pace)


ROUND_ROBIN: Final = Candidate("round robin", lambda _: InTurns())
BY_STATUS: Final = Candidate("by status, 1:10", lambda _: ByStatus())
GOOGLE: Final = _each("google-api-core, to 20 s", google(1, 20, 1.5))
OTHERS: Final = (
    ROUND_ROBIN,
    BY_STATUS,
    _each("every 5 s", every(5), is_alone=False),
    _each("every 10 s", every(10), is_alone=False),
    _each("botocore, 15 s", every(15), is_alone=False),
    _each("botocore, 20 s", every(20), is_alone=False),
    _each("azure-core, 30 s", every(30), is_alone=False),
    _each("any fixed interval", every(10), is_shared=False),
    _each("databricks, to 10 s", databricks),
    GOOGLE,
    _each("backoff.expo, to 60 s", with_backoff),
)
"""backoff.expo to 60 s is google-api-core's default for `AsyncOperation` as well."""

UNTIL_NOW: Final = _each("zuora_jobs until now", until_now)
COLD: Final = Candidate("zuora_jobs", lambda scene: _scheduled(scene, ()), is_alone=True)
WITH_HISTORY: Final = Candidate("zuora_jobs, with history", lambda scene: _scheduled(scene, scene.past), is_alone=True)
OURS: Final = (COLD, WITH_HISTORY)

AT_WORK: Final = Candidate("told who is at work", lambda scene: ToldWhoIsAtWork(scene.jobs))
TOLD: Final = (AT_WORK, Candidate("told the ends", lambda scene: ToldTheEnds(scene.jobs)))
"""What is out of reach."""
