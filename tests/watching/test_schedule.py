"""Which job to look at next: against the plainest model there is, and in small worlds with jobs of all sorts."""

from __future__ import annotations

import gc
import weakref
from collections import deque
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import TYPE_CHECKING

import pytest
from attrs import define, field
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from zuora_jobs.timing import TICK
from zuora_jobs.watching.cadence import Pace
from zuora_jobs.watching.rank import Entry
from zuora_jobs.watching.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterable

PENDING, PROCESSING, ODD, DONE = "Pending", "Processing", "Odd", "Completed"
STATUSES = (PENDING, PROCESSING, ODD)
PACES = (Pace(), Pace(1.0, 30.0), Pace(2.5, 10.0), Pace(0.5, 60.0, 4.0))
WORLDS = settings(max_examples=25, deadline=None, derandomize=True, phases=[Phase.generate])
HAIR = 1e-6


class Job(Entry):
    __slots__ = ("__weakref__", "begins", "ends", "flaps", "kind", "looks", "name", "pace", "there")

    def __init__(
        self,
        name: int,
        kind: str = "a",
        pace: Pace = PACES[0],
        *,
        there: float = 0.0,
        begins: float = inf,
        ends: float = inf,
        flaps: float = 0.0,
    ) -> None:
        self.name, self.kind, self.pace = name, kind, pace
        self.there, self.begins, self.ends, self.flaps = there, begins, ends, flaps
        self.looks: list[float] = []

    def __repr__(self) -> str:
        return f"Job({self.name})"

    def status(self, now: float, rng: Random) -> str:
        if now >= self.ends:
            return DONE
        if self.flaps and rng.random() < self.flaps:
            return rng.choice(STATUSES)
        return PROCESSING if now >= self.begins else PENDING

    def gaps(self, end: float = -inf) -> list[float]:
        """Between its looks, since its handle was there, and until the *end* if nobody knew of its own by then."""
        moments = [self.there, *self.looks, *([end] if end > self.there else [])]
        return [later - sooner for sooner, later in zip(moments, moments[1:], strict=False)]


class Plan(Schedule[Job]):
    """A schedule that is used as the fleet does."""

    def take_in(self, job: Job, now: float = 0.0) -> Job:
        self.add(job, job.kind, now)
        self.wait(job, job.kind, job.pace)
        return job

    def answer(self, job: Job, status: str, now: float, *, arranged: bool = True) -> None:
        ended = status == DONE
        self.saw(job, job.kind, status, begun=status != PENDING, ended=ended, now=now)
        if ended:
            self.remove(job, job.kind, now)
        elif arranged:
            self.wait(job, job.kind, job.pace)

    def size(self) -> int:
        """How many places are kept, whoever stands in them."""
        places = [*(line._places for line in self._lines.values()), *(rank.entries for rank in self._ranks.values())]
        return len(self._appointments) + sum(map(len, places))


# --- against a model


class ScheduleAgainstADict(RuleBasedStateMachine):
    """Who waits, and the appointments of those who have one."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.plan = Plan()
        self.jobs: list[Job] = []
        self.waiting: dict[Job, tuple[float, int] | None] = {}
        self.in_flight: list[Job] = []
        self.count = 0

    def pick(self, number: int) -> Job | None:
        idle = [job for job in self.jobs if job not in self.in_flight]
        return idle[number % len(idle)] if idle else None

    def due(self, job: Job) -> float:
        if (appointment := self.waiting[job]) is not None:
            return appointment[0]
        return job.key + (0.0 if job.cell is None else job.pace.min_interval)

    def all_due(self) -> set[Job]:
        return {job for job in self.waiting if self.due(job) <= self.now}

    @rule(kind=st.sampled_from("ab"), pace=st.sampled_from(PACES[:3]), count=st.integers(1, 5))
    def take_in(self, kind: str, pace: Pace, count: int) -> None:
        for _ in range(count):
            self.count += 1
            job = self.plan.take_in(Job(self.count, kind, pace), self.now)
            self.jobs.append(job)
            self.waiting[job] = None

    @rule(
        number=st.integers(0, 99), delays=st.lists(st.sampled_from([0.0, 0.0, 1.0, 3.0, 20.0]), min_size=1, max_size=3)
    )
    def put(self, number: int, delays: list[float]) -> None:
        if (job := self.pick(number)) is not None:
            for delay in delays:
                self.count += 1
                self.plan.put(job, self.now + delay)
                self.waiting[job] = self.now + delay, self.count

    @rule(number=st.integers(0, 99))
    def wait(self, number: int) -> None:
        if (job := self.pick(number)) is not None:
            self.plan.wait(job, job.kind, job.pace)
            self.waiting[job] = None

    @rule(number=st.integers(0, 99))
    def discard(self, number: int) -> None:
        if (job := self.pick(number)) is not None:
            self.plan.discard(job)
            self.waiting.pop(job, None)

    @rule(number=st.integers(0, 99))
    def remove(self, number: int) -> None:
        if self.jobs:
            job = self.jobs.pop(number % len(self.jobs))
            self.plan.remove(job, job.kind, self.now)
            self.waiting.pop(job, None)
            if job in self.in_flight:
                self.in_flight.remove(job)

    @rule(number=st.integers(0, 99), status=st.sampled_from([*STATUSES, DONE]), arranged=st.booleans())
    def an_answer_comes(self, number: int, status: str, arranged: bool) -> None:
        if self.in_flight:
            job = self.in_flight.pop(number % len(self.in_flight))
            self.take_answer(job, status, arranged)

    @rule(number=st.integers(0, 99), status=st.sampled_from([*STATUSES, DONE]))
    def something_else_answers(self, number: int, status: str) -> None:
        if (job := self.pick(number)) is not None:
            self.take_answer(job, status, arranged=True)

    def take_answer(self, job: Job, status: str, arranged: bool) -> None:
        self.plan.answer(job, status, self.now, arranged=arranged)
        if status == DONE:
            self.jobs.remove(job)
            self.waiting.pop(job, None)
        elif arranged:
            self.waiting[job] = None

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 2.5, 10.0, 100.0]))
    def time_goes_on(self, seconds: float) -> None:
        self.now += seconds

    @rule(rate=st.sampled_from([0.0, 0.1, 10.0, inf]))
    def pop(self, rate: float) -> None:
        earliest = min((one for one in self.waiting.values() if one is not None), default=None)
        job = self.plan.pop(self.now, rate)
        if job is None:
            assert not self.all_due()
            return
        assert self.due(job) <= self.now
        appointment = self.waiting.pop(job)
        assert appointment is None or appointment == earliest
        self.in_flight.append(job)

    @rule()
    def drain(self) -> None:
        due, popped = self.all_due(), []
        while (job := self.plan.pop(self.now, 10.0)) is not None:
            popped.append(job)
            del self.waiting[job]
        assert sorted(popped, key=id) == sorted(due, key=id)
        self.in_flight += popped

    @rule()
    def those_overdue_are_given_once_each(self) -> None:
        overdue = list(self.plan.overdue(self.now))
        assert sorted(overdue, key=id) == sorted(self.all_due(), key=id)

    @precondition(lambda machine: machine.waiting)
    @rule()
    def pop_when_next_is_due(self) -> None:
        due = self.plan.next_due()
        assert due is not None
        self.now = max(self.now, due)
        self.pop(10.0)
        assert self.in_flight

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        assert len(self.plan) == len(self.waiting)
        assert self.plan.next_due() == min(map(self.due, self.waiting), default=None)
        assert all((job.place is None) != (job in self.waiting) for job in self.jobs)
        assert all(job.key >= job.last >= job.since or job.cell is None for job in self.jobs)


@pytest.mark.unmeasured
def test_the_schedule_agrees_with_the_plainest_model() -> None:
    run_state_machine_as_test(
        ScheduleAgainstADict,
        settings=settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True),
    )


# --- in small worlds


@define
class World:
    """One request each 1/rate seconds at most, answered after a while."""

    jobs: list[Job]
    rate: float
    latency: float
    rng: Random
    nudges: float = 0.0
    plan: Plan = field(factory=Plan)
    now: float = 0.0
    order: list[tuple[float, int]] = field(factory=list)
    unknown: set[Job] = field(factory=set)
    answers: deque[tuple[float, Job, str]] = field(factory=deque)

    def run(self, until: float) -> World:
        arrivals = deque(sorted(self.jobs, key=lambda job: (job.there, job.name)))
        free = 0.0
        while (arrivals or self.unknown) and self.now <= until:
            while arrivals and arrivals[0].there <= self.now:
                job = self.plan.take_in(arrivals.popleft(), self.now)
                self.unknown.add(job)
            while self.answers and self.answers[0][0] <= self.now:
                self.answered(*self.answers.popleft()[1:])
            if not (arrivals or self.unknown):
                break
            due = self.plan.next_due()
            if due is not None and max(due, free) <= self.now + TICK:
                self.look()
                free = self.now + 1 / self.rate
                continue
            moments = [job.there for job in arrivals][:1] + [answer[0] for answer in self.answers][:1]
            self.now = max(self.now, min([*moments, *([max(due, free)] if due is not None else [])]))
        return self

    def look(self) -> None:
        job = self.plan.pop(self.now + TICK, self.rate)
        assert job is not None
        job.looks.append(self.now)
        self.order.append((self.now, job.name))
        self.answers.append((self.now + self.latency, job, job.status(self.now + self.latency / 2, self.rng)))

    def answered(self, job: Job, status: str) -> None:
        self.plan.answer(job, status, self.now)
        if status == DONE:
            self.unknown.discard(job)
        if self.nudges and self.unknown and self.rng.random() < self.nudges:
            other = self.rng.choice(sorted(self.unknown, key=lambda one: one.name))
            if other.place is not None:
                self.plan.put(other, self.now)

    def longest_gap(self, jobs: Iterable[Job] = ()) -> float:
        return max(gap for job in jobs or self.jobs for gap in job.gaps(self.now if job in self.unknown else -inf))


STYLES = ("in order", "in any order", "at once", "never", "memoryless", "all sorts")


def population(rng: Random, count: int, style: str, pace: Pace, *, flaps: float = 0.0) -> list[Job]:
    """Jobs of one kind or several, that come together or one by one."""
    kinds = [f"kind {number}" for number in range(rng.choice((1, 1, 2, 4)))]
    workers, seconds = rng.choice((1, 4, 16)), rng.choice((2.0, 10.0, 60.0, 300.0))
    free = {kind: [0.0] * workers for kind in kinds}
    there = sorted(rng.choice((0.0, rng.uniform(0, 2 * pace.max_interval))) for _ in range(count))
    there = [0.0] * count if rng.random() < 0.5 else there
    numbers = rng.sample(range(count), count) if style == "in any order" else range(count)
    jobs = []
    for number in numbers:
        kind, moment = rng.choice(kinds), there[number]
        sort = rng.choice(STYLES[:-1]) if style == "all sorts" else style
        begins = ends = inf
        if sort in {"in order", "in any order"}:
            begins = max(heappop(free[kind]), moment)
            ends = begins + seconds * rng.uniform(0.5, 1.5)
            heappush(free[kind], ends)
        elif sort != "never":
            begins = moment
            ends = begins + (rng.expovariate(1 / seconds) if sort == "memoryless" else seconds * rng.uniform(0.5, 1.5))
        jobs.append(Job(number, kind, pace, there=moment, begins=begins, ends=ends, flaps=flaps))
    return sorted(jobs, key=lambda job: job.name)


SEEDS = st.integers(0, 10**6)
COUNTS = st.sampled_from([1, 3, 10, 40, 100])


@WORLDS
@given(
    seed=SEEDS,
    count=COUNTS,
    style=st.sampled_from(STYLES),
    flaps=st.sampled_from([0.0, 0.3, 1.0]),
    latency=st.sampled_from([0.0, 0.1, 2.0]),
    pace=st.sampled_from(PACES),
)
def test_no_two_looks_at_a_job_are_closer_than_its_shortest_interval(
    seed: int, count: int, style: str, flaps: float, latency: float, pace: Pace
) -> None:
    rng = Random(seed)
    world = World(population(rng, count, style, pace, flaps=flaps), rng.choice((1.0, 10.0, 1000.0)), latency, rng)
    world.run(until=60.0)
    assert any(len(job.looks) > 1 for job in world.jobs) or count == 100 or not world.unknown
    for job in world.jobs:
        assert all(gap >= latency + pace.min_interval - 2 * TICK for gap in job.gaps()[1:])


@pytest.mark.unmeasured
@WORLDS
@given(seed=SEEDS, count=COUNTS, style=st.sampled_from(STYLES), load=st.sampled_from([0.02, 0.1, 0.2, 0.25]))
def test_none_waits_for_more_than_its_longest_interval_where_the_budget_allows_it(
    seed: int, count: int, style: str, load: float
) -> None:
    rng = Random(seed)
    longest = rng.choice((30.0, 60.0, 300.0))
    jobs = population(rng, count, style, Pace(rng.choice((0.5, 2.0)), longest), flaps=rng.choice((0.0, 0.3)))
    world = World(jobs, rate=count / (load * longest), latency=rng.choice((0.0, 0.2)), rng=rng).run(4 * longest)
    assert world.longest_gap() <= longest + 1 / world.rate + world.latency + HAIR


@WORLDS
@given(seed=SEEDS, count=COUNTS, style=st.sampled_from(STYLES), load=st.sampled_from([0.5, 1.0, 5.0, 50.0]))
def test_none_is_starved_where_the_budget_does_not(seed: int, count: int, style: str, load: float) -> None:
    rng = Random(seed)
    jobs = population(rng, count, style, Pace(0.5, 60.0), flaps=rng.choice((0.0, 0.3)))
    world = World(jobs, rate=count / (load * 60), latency=0.1, rng=rng).run(8 * count / (count / (load * 60)))
    assert world.longest_gap() <= 3.2 * count / world.rate + 2 / world.rate


@pytest.mark.unmeasured
@pytest.mark.parametrize("impatient", [1.0, 10.0])
@pytest.mark.parametrize(("begins", "ends"), [(inf, inf), (0.0, inf)], ids=["waiting", "at work"])
def test_none_is_starved_by_others_whose_longest_interval_cannot_be_kept(
    impatient: float, begins: float, ends: float
) -> None:
    paces = (Pace(0.5, impatient), Pace(0.5, 3600.0))
    jobs = [Job(number, "ab"[number % 2], paces[number % 2], begins=begins, ends=ends) for number in range(100)]
    world = World(jobs, rate=2.0, latency=0.1, rng=Random(1)).run(3000.0)
    assert world.longest_gap() <= 2 * 100 / (0.1 * world.rate)


def test_some_with_a_short_longest_interval_keep_it_among_many_with_a_long_one() -> None:
    paces = (Pace(0.5, 5.0), Pace(0.5, 3600.0))
    jobs = [
        Job(number, f"kind {number % 3}", paces[number >= 20], begins=inf if number % 2 else 0.0)
        for number in range(220)
    ]
    quick = [Job(1000 + number, "quick", begins=0.0, ends=0.02 * number) for number in range(5000)]
    world = World([*jobs, *quick], rate=20.0, latency=0.1, rng=Random(1)).run(100.0)
    assert world.longest_gap(jobs[:20]) <= 5.0 + 0.2


def test_a_long_longest_interval_is_no_reason_to_forget_those_at_the_end_of_the_line() -> None:
    begins = [7.0 * number for number in range(200)]
    jobs = [Job(n, "a", Pace(0.1, 1e6), begins=begin, ends=begin + 10.0) for n, begin in enumerate(begins)]
    world = World(jobs, rate=5.0, latency=0.1, rng=Random(1)).run(1500.0)
    assert world.longest_gap() <= 1.2 * 200 / (0.08 * world.rate)


def test_where_looks_are_scarce_they_are_dear() -> None:
    prices = []
    for rate in (0.5, 5.0, 50.0):
        jobs = [Job(number, "a", begins=0.0) for number in range(100)]
        prices.append(World(jobs, rate, latency=0.0, rng=Random(1)).run(1000.0 / rate).plan.price)
    assert prices[0] > 4 * prices[1] > 16 * prices[2]


@pytest.mark.unmeasured
@pytest.mark.parametrize(("a_second", "strangers", "rate"), [(0.25, 5, 2.0), (8.0, 100, 10.0)])
def test_jobs_of_unknown_behaviour_are_not_starved_by_quick_ones(a_second: float, strangers: int, rate: float) -> None:
    rng, pace = Random(1), Pace(0.5, 1e6)
    moments = [number / a_second for number in range(int(1000 * a_second))]
    quick = [
        Job(n, "quick", pace, there=at, begins=at, ends=at + rng.uniform(0.2, 0.8)) for n, at in enumerate(moments)
    ]
    strange = [Job(10_000 + number, "strange", pace, there=50.0, begins=50.0) for number in range(strangers)]
    world = World([*quick, *strange], rate, latency=0.1, rng=rng).run(1000.0)
    assert world.longest_gap(strange) <= 1.1 * (strangers + 5) / (0.08 * rate)


@WORLDS
@given(seed=SEEDS, count=COUNTS, style=st.sampled_from(STYLES), pace=st.sampled_from(PACES))
def test_the_same_again_is_the_same_order(seed: int, count: int, style: str, pace: Pace) -> None:
    orders = []
    for _ in range(2):
        rng = Random(seed)
        jobs = population(rng, count, style, pace, flaps=0.1)
        orders.append(World(jobs, rate=5.0, latency=0.1, rng=rng, nudges=0.05).run(40.0).order)
    assert orders[0] == orders[1]


@pytest.mark.unmeasured
@WORLDS
@given(seed=SEEDS, count=COUNTS, style=st.sampled_from(STYLES[:3]), pace=st.sampled_from(PACES))
def test_every_end_is_noticed_and_nothing_is_left_behind(seed: int, count: int, style: str, pace: Pace) -> None:
    rng = Random(seed)
    jobs = population(rng, count, style, pace, flaps=rng.choice((0.0, 0.2)))
    world = World(jobs, rate=20.0, latency=0.1, rng=rng, nudges=rng.choice((0.0, 0.2))).run(1e7)
    assert not world.unknown
    assert len(world.plan) == 0
    assert world.plan.next_due() is None
    assert world.plan.pop(world.now + 1e6, 1.0) is None
    assert world.plan.size() <= 64 + 4 * (32 + 1)


# --- appointments


@pytest.mark.parametrize("waiting", [1, 50])
def test_appointments_and_those_who_wait_take_turns(waiting: int) -> None:
    plan = Plan()
    for number in range(waiting):
        plan.take_in(Job(number, "a", Pace(0.001, 3600.0)))
    appointed = [Job(1000 + number, "b") for number in range(20)]
    for job in appointed:
        plan.add(job, "b", 0.0)
        plan.put(job, 1.0)
    sorts = []
    for look in range(40):
        taken = plan.pop(2.0 + look, 1.0)
        assert taken is not None
        sorts.append(taken.name >= 1000)
        if taken.name < 1000:
            plan.answer(taken, PROCESSING, 2.0 + look)
    assert all(first != second for first, second in zip(sorts, sorts[1:], strict=False))


@WORLDS
@given(seed=SEEDS, count=COUNTS, looks=st.integers(0, 60))
def test_a_nudge_comes_within_two_looks(seed: int, count: int, looks: int) -> None:
    rng = Random(seed)
    world = World(population(rng, count, "all sorts", PACES[0]), rate=3.0, latency=0.0, rng=rng)
    world.run(looks / 3.0)
    idle = [job for job in world.jobs if job in world.unknown and job.place is not None]
    for job in idle[:3]:
        world.plan.put(job, world.now)
        assert job in {world.plan.pop(world.now, 3.0), world.plan.pop(world.now, 3.0)}


@pytest.mark.unmeasured
def test_jobs_that_have_ended_are_forgotten() -> None:
    rng = Random(1)
    jobs = population(rng, 300, "in order", PACES[1], flaps=0.1)
    never = Job(999, jobs[0].kind, PACES[1])
    world = World([*jobs, never], rate=30.0, latency=0.1, rng=rng, nudges=0.1)
    world.run(2e4)
    assert world.unknown == {never}
    refs = [weakref.ref(job) for job in jobs]
    world.jobs.clear()
    jobs.clear()
    gc.collect()
    assert sum(ref() is not None for ref in refs) <= 64 + 4 * (32 + 1)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("known", [0, 5, 500])
def test_a_lateness_that_may_be_long_is_held_below_the_longest_interval(status: str, known: int) -> None:
    plan = Plan()
    for _ in range(known):
        plan.stays("a", status).lasted(5000.0)
    job = plan.take_in(Job(1, "a", Pace(1.0, 60.0, 100.0)))
    for _ in range(5):
        now = plan.next_due()
        assert now is not None
        assert now - job.last <= 60.0 + HAIR
        assert plan.pop(now, 10.0) is job
        plan.answer(job, status, now)
