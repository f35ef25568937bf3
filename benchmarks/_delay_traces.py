"""A small world for `delay.py`: jobs whose ends nobody tells, and a watcher that may ask only so often.

Time is a number here: no loop and no socket, so that a fleet of 1,000 jobs takes a fraction of a second. A trace is a
list of jobs drawn with a seed, and `run` has a policy watch it under a budget.
"""

import math
import statistics
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from random import Random
from typing import Final, Protocol

from attrs import Factory, define, evolve, frozen

PENDING, PROCESSING, COMPLETED = "Pending", "Processing", "Completed"

MOST_LOOKS: Final = 5_000_000
"""A policy that needs more never finds an end."""


@frozen
class Job:
    """One job and its hidden truth; moments are seconds from the begin of the watch, and may lie before it."""

    number: int
    """Ascending in the order of submission."""
    kind: str
    submitted: float
    started: float
    ended: float
    is_mute: bool = False
    """Whether its status stays Pending while it is worked."""

    @property
    def taken_in(self) -> float:
        """When the watcher gets its handle."""
        return max(0.0, self.submitted)

    def status_at(self, now: float) -> str:
        """Give what the server answers."""
        if now >= self.ended:
            return COMPLETED
        return PROCESSING if now >= self.started and not self.is_mute else PENDING


class Policy(Protocol):
    """Who decides which job is looked at next. A job that is picked is not picked again before its answer."""

    def add(self, number: int, kind: str, now: float) -> None:
        """Take in a job."""

    def pick(self, now: float) -> int | None:
        """Give the job to look at this moment; None: nobody is due."""

    def next_due(self, now: float) -> float | None:
        """Give when to ask again after a None; None: not before something else happens."""

    def saw(self, number: int, status: str, ended: bool, now: float) -> None:  # noqa: FBT001 - one of four plain facts
        """Take in an answer."""


@frozen
class Result:
    """How late a policy was, and what it spent."""

    delays: dict[int, float]
    """By the number of the job: seconds from its end, or from when its handle was there, until its end was known."""
    requests: int
    longest_gap: float
    """The longest time that a job went without a look."""

    @property
    def mean(self) -> float:
        """The mean delay."""
        return statistics.fmean(self.delays.values())

    @property
    def median(self) -> float:
        """The median delay."""
        return statistics.median(self.delays.values())

    @property
    def p95(self) -> float:
        """What 95 % of the delays are below."""
        return sorted(self.delays.values())[int(0.95 * len(self.delays))]

    @property
    def worst(self) -> float:
        """The longest delay."""
        return max(self.delays.values())

    @property
    def requests_a_job(self) -> float:
        """The mean number of requests that a job took."""
        return self.requests / len(self.delays)


def together(results: Iterable[Result]) -> Result:
    """Put runs of different jobs together."""
    results = list(results)
    delays = dict(enumerate(late for one in results for late in one.delays.values()))
    return Result(delays, sum(one.requests for one in results), max(one.longest_gap for one in results))


@define
class _World:
    """The run of one policy: what has been sent, answered and noticed so far."""

    policy: Policy
    latency: float
    unknown: dict[int, Job]
    arrivals: deque[Job]
    answers: deque[tuple[float, int, str]] = Factory(deque)
    last_look: dict[int, float] = Factory(dict)
    delays: dict[int, float] = Factory(dict)
    requests: int = 0
    longest_gap: float = 0.0

    def happens(self, now: float) -> None:
        """Tell the policy all that has happened by *now*."""
        while self.arrivals and self.arrivals[0].taken_in <= now:
            job = self.arrivals.popleft()
            self.last_look[job.number] = now
            self.policy.add(job.number, job.kind, now)
        while self.answers and self.answers[0][0] <= now:
            _, number, status = self.answers.popleft()
            self._answered(number, status, now)

    def _answered(self, number: int, status: str, now: float) -> None:
        ended = status == COMPLETED
        if ended and number in self.unknown:
            job = self.unknown.pop(number)
            self.delays[number] = now - max(job.ended, job.taken_in)
        self.policy.saw(number, status, ended, now)

    def looks(self, number: int, now: float) -> None:
        """Send a request for one job; it is answered with what is true half way through."""
        self.requests += 1
        self.longest_gap = max(self.longest_gap, now - self.last_look[number])
        self.last_look[number] = now
        self.answers.append((now + self.latency, number, self.unknown[number].status_at(now + self.latency / 2)))

    def next_event(self) -> float:
        """Give when the next handle or answer comes."""
        handle = self.arrivals[0].taken_in if self.arrivals else math.inf
        return min(handle, self.answers[0][0]) if self.answers else handle


def run(jobs: Sequence[Job], policy: Policy, rate: float = math.inf, latency: float = 0.0) -> Result:
    """Have *policy* watch until all ends are known, with a request each 1/*rate* seconds at most.

    A place in the budget that is not used is lost. Answers take *latency* seconds.
    """
    arrivals = deque(sorted(jobs, key=lambda job: (job.taken_in, job.number)))
    world = _World(policy, latency, {job.number: job for job in jobs}, arrivals)
    now = free_at = 0.0
    while world.unknown:
        world.happens(now)
        if now >= free_at:
            number = policy.pick(now)
            if number is not None:
                world.looks(number, now)
                world.happens(now)
            if number is not None or (policy.next_due(now) or math.inf) <= now:
                free_at = now + 1 / rate  # who is due and does not look has lost a place, too
        if world.unknown:
            now = _next_moment(world, now, free_at)
    return Result(world.delays, world.requests, world.longest_gap)


def _next_moment(world: _World, now: float, free_at: float) -> float:
    due = world.policy.next_due(now)
    moment = min(world.next_event(), math.inf if due is None else max(due, free_at))
    if moment == math.inf or world.requests > MOST_LOOKS:
        message = f"after {world.requests} looks the ends of {len(world.unknown)} jobs are not known"
        raise RuntimeError(message)
    return moment


def run_each(jobs: Iterable[Job], policy: Callable[[], Policy]) -> Result:
    """Have each job watched alone, by a policy of its own, and with no budget but what the policy wants."""
    return together(run([_from_zero(job)], policy()) for job in jobs)


def _from_zero(job: Job) -> Job:
    return evolve(job, submitted=0.0, started=job.started - job.submitted, ended=job.ended - job.submitted)


# --- durations, in seconds

Durations = Callable[[Random], float]


def lognormal(median: float, sigma: float) -> Durations:
    """Give a lognormal one."""
    return lambda rng: rng.lognormvariate(math.log(median), sigma)


def exponential(mean: float) -> Durations:
    """Give a memoryless one."""
    return lambda rng: rng.expovariate(1 / mean)


def uniform(least: float, most: float) -> Durations:
    """Give one that lies anywhere between."""
    return lambda rng: rng.uniform(least, most)


def bimodal(rng: Random) -> float:
    """Give 20 s or 30 min, as likely, and give or take a tenth."""
    return rng.choice((20.0, 1800.0)) * rng.uniform(0.9, 1.1)


def heavy_tail(rng: Random) -> float:
    """Give 10 s or more: Pareto, alpha 1.3. A day is the end of it."""
    return min(10 * rng.paretovariate(1.3), 86_400.0)


def peaked(rng: Random) -> float:
    """Give five minutes, and 45 s more or less."""
    return max(1.0, rng.gauss(300, 45))


THIRTY_SECONDS: Final = lognormal(30, 0.3)


def least_product(durations: Sequence[float]) -> float:
    """Give what the mean delay and the number of looks come to at best, multiplied, if the law of durations is known.

    The best looks are as dense as the square root of the rate of ending. From that their product is half the square of the
    integral over time of sqrt(density of ending x share that has not ended): R. E. Barlow, L. C. Hunter, F. Proschan,
    "Optimum Checking Procedures", J. SIAM 11 (1963). Bins grow by a fiftieth; the looks at the begin and at the end are not
    in it.
    """
    ends = Counter(round(50 * math.log(seconds)) for seconds in durations)
    integral, left = 0.0, len(durations)
    for place in sorted(ends):
        width = math.exp((place + 0.5) / 50) - math.exp((place - 0.5) / 50)
        integral += math.sqrt((left - ends[place] / 2) * ends[place] * width)
        left -= ends[place]
    return (integral / len(durations)) ** 2 / 2


# --- traces

Draw = Callable[[Random], list[Job]]


def alone(durations: Durations, count: int = 400) -> Draw:
    """Jobs that have nothing to do with each other, in work at once."""
    return lambda rng: [Job(number, "operation", 0.0, 0.0, durations(rng)) for number in range(count)]


@frozen
class Queue:
    """One that works so many jobs at a time, in order or in no order at all."""

    durations: Durations = THIRTY_SECONDS
    at_a_time: int = 8
    is_ordered: bool = True
    is_mute: bool = False
    kind: str = "operation"

    def works(self, submitted: Sequence[tuple[int, float]], rng: Random) -> list[Job]:
        """Give the lives of jobs, of which the numbers and moments of submission are given in order."""
        to_come = deque(submitted)
        waiting: list[tuple[int, float]] = []
        free = [0.0] * self.at_a_time
        jobs, begin = [], 0.0
        while to_come or waiting:
            begin = max(begin, heappop(free))  # who was free before had nothing to begin with
            if not waiting:
                begin = max(begin, to_come[0][1])
            while to_come and to_come[0][1] <= begin:
                waiting.append(to_come.popleft())
            number, moment = waiting.pop(0 if self.is_ordered else rng.randrange(len(waiting)))
            end = begin + self.durations(rng)
            heappush(free, end)
            jobs.append(Job(number, self.kind, moment, begin, end, self.is_mute))
        return sorted(jobs, key=lambda job: job.number)


def at_once(queue: Queue, count: int = 400) -> Draw:
    """All submitted together."""
    return lambda rng: queue.works([(number, 0.0) for number in range(count)], rng)


def in_bursts(queue: Queue, bursts: int = 8, size: int = 50, interval: float = 240.0) -> Draw:
    """Some submitted every few minutes."""
    return lambda rng: queue.works([(n, n // size * interval) for n in range(bursts * size)], rng)


def among_strangers(queue: Queue, count: int = 400, a_second: float = 0.1) -> Draw:
    """All submitted together, to a queue that works for another client too, who submits some at random moments."""

    def draw(rng: Random) -> list[Job]:
        moments, moment = [(0.0, True)] * count, 0.0
        while moment < 10 * count:
            moment += rng.expovariate(a_second)
            moments.append((moment, False))
        lives = queue.works([(number, moment) for number, (moment, _) in enumerate(moments)], rng)
        return [job for job in lives if moments[job.number][1]]

    return draw


def mixed(queues: Sequence[Queue], each: int = 200) -> Draw:
    """Several kinds, each with a queue of its own, submitted by turns."""

    def draw(rng: Random) -> list[Job]:
        kinds = len(queues)
        lives = [
            queue.works([(number, 0.0) for number in range(place, each * kinds, kinds)], rng)
            for place, queue in enumerate(queues)
        ]
        return sorted((job for jobs in lives for job in jobs), key=lambda job: job.number)

    return draw


def steady(durations: Durations, at_work: int, mean: float) -> Draw:
    """So many at work when the watch begins, all at once, and as many more that arrive as these end."""

    def draw(rng: Random) -> list[Job]:
        moments = [0.0] * at_work + [mean * (place + 1) / at_work for place in range(at_work)]
        return [Job(number, "operation", at, at, at + durations(rng)) for number, at in enumerate(moments)]

    return draw


def resumed(queue: Queue, count: int, had_ended: int) -> Draw:
    """A fleet submitted together, of which so many have ended when the watch begins."""

    def draw(rng: Random) -> list[Job]:
        jobs = at_once(queue, count)(rng)
        begin = sorted(job.ended for job in jobs)[had_ended - 1]
        return [evolve(job, submitted=-begin, started=job.started - begin, ended=job.ended - begin) for job in jobs]

    return draw


@frozen
class Trace:
    """One sort of world, and the budgets that it is watched with."""

    name: str
    draw: Draw
    rates: tuple[float, ...] = (2.0, 10.0)
    """Requests a second."""


SINGLE: Final = (
    Trace("lognormal, 2 min", alone(lognormal(120, 1))),
    Trace("20 s or 30 min", alone(bimodal)),
    Trace("heavy tail", alone(heavy_tail)),
    Trace("5 min, peaked", alone(peaked)),
)
"""Jobs each watched alone."""

SHUFFLED: Final = Queue(is_ordered=False)
SLOW: Final = Queue(uniform(60, 90), is_ordered=False)
KINDS: Final = (
    Queue(kind="operation"),
    Queue(lognormal(60, 0.3), 4, kind="bulk-pdf"),
    Queue(lognormal(20, 0.5), 2, kind="aqua"),
)

FLEETS: Final = (
    Trace("ordered, 400", at_once(Queue())),
    Trace("ordered, 1,000", at_once(Queue(), 1000)),
    Trace("ordered, exponential", at_once(Queue(exponential(30)))),
    Trace("shuffled, 400", at_once(SHUFFLED)),
    Trace("shuffled, 1,000", at_once(SHUFFLED, 1000)),
    Trace("shuffled, exponential", at_once(Queue(exponential(30), is_ordered=False))),
    Trace("shuffled, slower", at_once(SLOW, 200), (2.0, 10.0, 20.0)),
    Trace("ordered, mute", at_once(Queue(is_mute=True))),
    Trace("shuffled, mute", at_once(Queue(is_ordered=False, is_mute=True))),
    Trace("in bursts", in_bursts(Queue())),
    Trace("among strangers", among_strangers(Queue())),
    Trace("three kinds", mixed(KINDS)),
    Trace("memoryless", steady(exponential(600), 400, 600)),
    Trace("resumed", resumed(Queue(), 1000, 600)),
)
"""Jobs that share a budget."""
