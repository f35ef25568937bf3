"""Whose turn comes next: the line against a list, and whether order is believed where there is one."""

from __future__ import annotations

import gc
import weakref
from importlib import import_module
from pathlib import Path
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from zuora_jobs.watching.cadence import Pace
from zuora_jobs.watching.line import IN_LINE_NO_MORE, STRETCHES, Line
from zuora_jobs.watching.rank import Entry
from zuora_jobs.watching.schedule import Schedule
from zuora_jobs.watching.stays import Stays

if TYPE_CHECKING:
    from collections.abc import Callable

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SPARE = 33
"""Places of those who have left that may lie about, and an eighth of those who wait."""


class Job(Entry):
    __slots__ = ("__weakref__", "name")

    def __init__(self, name: int = 0) -> None:
        self.name = name
        self.cell = self.place = None
        self.last = self.key = self.since = 0.0
        self.stretch = IN_LINE_NO_MORE

    def __repr__(self) -> str:
        return f"Job({self.name})"


def stretch_of(place: int) -> int:
    """1, 2, 4, 8 … places each."""
    return next((stretch for stretch in range(STRETCHES - 1) if place < 2 ** (stretch + 1) - 1), STRETCHES - 1)


def a_line(count: int) -> tuple[Line[Job], list[Job]]:
    line, jobs = Line[Job](), [Job(name) for name in range(count)]
    for job in jobs:
        line.join(job, 0.0)
    return line, jobs


def check(line: Line[Job], model: list[Job], spare: int | None = None) -> None:
    """Nobody is taken for nearer than he is, nor for much farther; those behind thousands may be off by a stretch."""
    spare = SPARE + len(model) // 8 if spare is None else spare
    assert len(line) == len(model)
    for place, job in enumerate(model):
        assert stretch_of(place) <= job.stretch <= stretch_of(place + spare) + (place > 3000), (place, job.stretch)
    assert not model or model[0].stretch == 0
    assert len(line._places) <= 2 * len(model) + 2 * SPARE


# --- who stands where


class LineAgainstAList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.line: Line[Job] = Line()
        self.model: list[Job] = []
        self.count = 0

    @rule(count=st.integers(1, 40))
    def some_join(self, count: int) -> None:
        for _ in range(count):
            self.count += 1
            job = Job(self.count)
            self.line.join(job, 0.0)
            self.model.append(job)

    @rule(places=st.lists(st.integers(0, 10**6) | st.integers(0, 8), max_size=40))
    def some_leave(self, places: list[int]) -> None:
        for place in places:
            if self.model:
                self.leave(self.model.pop(place % len(self.model)))

    @rule(count=st.integers(1, 40))
    def the_first_leave(self, count: int) -> None:
        for _ in range(min(count, len(self.model))):
            self.leave(self.model.pop(0))

    def leave(self, job: Job) -> None:
        before = {other: other.stretch for other in self.model}
        nearer = list(self.line.leave(job))
        assert job.stretch == IN_LINE_NO_MORE
        assert len(nearer) == len(set(nearer))
        assert set(nearer) == {other for other, was in before.items() if other.stretch != was}
        assert all(other.stretch < before[other] for other in nearer)

    @invariant()
    def stretches_are_right(self) -> None:
        check(self.line, self.model)


@pytest.mark.unmeasured
def test_the_line_agrees_with_the_plainest_model() -> None:
    run_state_machine_as_test(
        LineAgainstAList, settings=settings(max_examples=80, stateful_step_count=30, deadline=None, derandomize=True)
    )


@pytest.mark.parametrize("count", [1, 3, 100, 9000])
def test_those_who_leave_in_order_leave_no_doubt(count: int) -> None:
    line, jobs = a_line(count)
    for gone in range(count):
        if gone % (1 + count // 50) == 0:
            check(line, jobs[gone:], spare=0)
        line.leave(jobs[gone])
    assert len(line) == 0
    assert len(line._places) <= 2 * SPARE


@pytest.mark.unmeasured
@pytest.mark.parametrize("count", [300, 6000])
def test_those_near_the_head_are_known_in_a_long_line_that_is_left_anywhere(count: int) -> None:
    rng = Random(1)
    line, jobs = a_line(count)
    while len(jobs) > 10:
        line.leave(jobs.pop(rng.randrange(len(jobs))))
        if len(jobs) % (1 + count // 100) == 0:
            check(line, jobs, SPARE + min(4096, len(jobs)) // 8)


@pytest.mark.unmeasured
@pytest.mark.parametrize("order", ["front", "back", "any"])
def test_places_of_those_who_left_are_cleared_away_now_and_then(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    line, jobs = a_line(20_000)
    gone_through, close_up = 0, line._close_up

    def counted() -> Any:
        nonlocal gone_through
        gone_through += min(len(line._places) - line._head, 4096)
        return close_up()

    monkeypatch.setattr(line, "_close_up", counted)
    rng = Random(1)
    jobs = jobs[::-1] if order == "back" else rng.sample(jobs, len(jobs)) if order == "any" else jobs
    for job in jobs[:10_000]:
        line.leave(job)
    assert gone_through <= 20 * 10_000
    for job in jobs[10_000:-50]:
        line.leave(job)
        assert len(line._places) <= 2 * (len(line) + SPARE + 4096 // 8)
    assert len(line) == 50


def test_those_who_left_are_forgotten() -> None:
    line, jobs = a_line(1000)
    stuck, refs = jobs[0], [weakref.ref(job) for job in jobs[1:]]
    for job in jobs[1:]:
        line.leave(job)
    jobs.clear()
    del job
    gc.collect()
    assert sum(ref() is not None for ref in refs) <= 2 * SPARE
    assert len(line) == 1
    line.leave(stuck)


@pytest.mark.xfail(strict=True, reason="gaps behind a head that does not move are closed up at an eighth of the line")
def test_behind_one_that_is_stuck_the_next_are_known_too() -> None:
    line, jobs = a_line(5000)
    farthest = 0
    for _ in range(1000):
        line.leave(jobs.pop(1))
        farthest = max(farthest, jobs[1].stretch)
    assert farthest <= 3


# --- whether they begin in order


def told(begins: Callable[[Random, int], int], count: int = 300) -> Line[Job]:
    """A line in which all were seen pending once, and looked at each second; *begins* says who is next."""
    line, jobs = a_line(count)
    line.then = Stays()
    for _ in range(20):
        line.then.lasted(30.0)
    for job in jobs:
        job.cell = Stays()
    rng = Random(1)
    for second in range(100):
        for job in jobs:
            line.still(job, 1.0)
        job = jobs.pop(begins(rng, len(jobs)))
        line.began(job, 1.0, float(second), has_ended=False)
        line.leave(job)
    line.renew(100.0)
    return line


def test_before_anything_is_known_the_head_is_worth_most() -> None:
    line, _ = a_line(3)
    weights = [line.weight(stretch, 0.1, 1e9) for stretch in range(STRETCHES)]
    assert weights == sorted(weights, reverse=True)


def test_order_is_believed_where_jobs_begin_in_order() -> None:
    line = told(lambda _rng, _count: 0)
    assert line.weight(0, 0.1, 1e9) > 5 * line.weight(5, 0.1, 1e9)


def test_order_is_not_believed_where_jobs_begin_anywhere() -> None:
    line = told(lambda rng, count: rng.randrange(count))
    weights = [line.weight(stretch, 0.1, 1e9) for stretch in range(7)]
    assert max(weights) < 2 * min(weights)


def test_where_jobs_begin_at_the_end_of_the_line_those_are_worth_most() -> None:
    line = told(lambda _rng, count: count - 1)  # 300 to 200: stretches 7 and 8
    weights = [line.weight(stretch, 0.1, 1e9) for stretch in range(9)]
    assert min(weights[7:]) > max(weights[:7])


def test_no_interval_is_longer_than_the_longest() -> None:
    line = told(lambda _rng, _count: 0)
    for stretch in range(STRETCHES):
        assert (2 * 0.1) ** 0.5 / line.weight(stretch, 0.1, 60.0) <= 60 * (1 + 1e-9)
        intervals = [line.interval(stretch, price) for price in (1e-6, 1e-3, 0.1, 1, 100)]
        assert intervals == sorted(intervals)


def test_where_all_begin_at_once_nobody_stands_in_line() -> None:
    schedule: Schedule[Job] = Schedule()
    for number in range(60):
        job = Job(number)
        schedule.add(job, "kind", float(number))
        schedule.saw(job, "kind", "Processing", begun=True, ended=False, now=number + 0.5)
    newcomer = Job()
    schedule.add(newcomer, "kind", 100.0)
    assert newcomer.stretch == IN_LINE_NO_MORE
    for number in range(10):
        job = Job(number)
        schedule.add(job, "kind", 101.0)
        for look in range(3):
            schedule.saw(job, "kind", "Pending", begun=False, ended=False, now=102.0 + look)
    schedule.add(newcomer, "kind", 110.0)
    assert newcomer.stretch >= 0


def test_when_one_was_seen_to_begin_is_known() -> None:
    schedule: Schedule[Job] = Schedule()
    assert schedule.moved("kind") == float("-inf")
    job = Job()
    schedule.add(job, "kind", 1.0)
    schedule.saw(job, "kind", "Pending", begun=False, ended=False, now=2.0)
    assert schedule.moved("kind") == float("-inf")
    schedule.saw(job, "kind", "Processing", begun=True, ended=False, now=3.0)
    schedule.saw(job, "kind", "Processing", begun=True, ended=False, now=4.0)
    assert (schedule.moved("kind"), schedule.moved("other")) == (3.0, float("-inf"))


# --- how soon ends are noticed


@pytest.fixture
def delay(benchmark_named: Callable[[str], Any]) -> Any:
    """The benchmark, found as it finds its helpers: beside it."""
    return benchmark_named("delay")


def against_round_robin(delay: Any, trace: str, rate: float, stuck: int = 0) -> tuple[float, Any]:
    """The mean delay, as a share of round robin's, over three seeds; and the line as it was at the end."""
    ours: list[float] = []
    others: list[float] = []
    line = None
    policies = import_module("_delay_policies")
    for seed in (1, 2, 3):
        jobs = delay.TRACES[trace].draw(Random(seed))
        last = max(job.ended for job in jobs)
        late = [evolve(jobs[0], number=number - stuck, started=last, ended=last + 1) for number in range(stuck)]
        scheduled = policies.Scheduled(Schedule(), rate, Pace(min_interval=0.1))
        for policy, means in ((scheduled, ours), (policies.InTurns(), others)):
            delays = delay.run([*late, *jobs], policy, rate).delays
            means.append(fmean(delays[job.number] for job in jobs if job.ended > 0))
        line = scheduled.schedule._lines["operation"]
    return fmean(ours) / fmean(others), line


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("trace", "rate", "most"),
    [
        ("ordered, 400", 2.0, 0.12),
        ("ordered, 400", 10.0, 0.12),
        ("ordered, 1,000", 2.0, 0.12),
        ("ordered, mute", 10.0, 0.12),
        ("resumed", 2.0, 0.8),
        ("resumed", 10.0, 0.25),
        ("in bursts", 10.0, 0.35),
        ("among strangers", 2.0, 0.12),
    ],
)
def test_where_jobs_begin_in_order_ends_are_noticed_much_sooner(
    delay: Any, trace: str, rate: float, most: float
) -> None:
    share, line = against_round_robin(delay, trace, rate)
    assert share <= most
    assert line.weight(0, 0.1, 1e9) > 10 * line.weight(6, 0.1, 1e9)


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("trace", "rate", "most"),
    [
        ("shuffled, 400", 10.0, 0.7),
        ("shuffled, 400", 2.0, 0.9),
        ("shuffled, mute", 2.0, 1.15),
        ("shuffled, mute", 10.0, 1.15),
    ],
)
def test_where_they_begin_anywhere_nothing_is_lost_by_it(delay: Any, trace: str, rate: float, most: float) -> None:
    share, line = against_round_robin(delay, trace, rate)
    assert share <= most
    assert line.weight(0, 0.1, 1e9) < 2 * line.weight(6, 0.1, 1e9)


@pytest.mark.unmeasured
@pytest.mark.parametrize(("trace", "rate"), [("ordered, 400", 2.0), ("ordered, 1,000", 10.0)])
def test_one_that_is_stuck_at_the_head_costs_the_others_little(delay: Any, trace: str, rate: float) -> None:
    assert against_round_robin(delay, trace, rate, stuck=1)[0] <= 0.2
