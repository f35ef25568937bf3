"""The queue of those whose next look is worth the same."""

from __future__ import annotations

import gc
import weakref
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from zuora_jobs.watching.cadence import Pace
from zuora_jobs.watching.rank import Entry, Rank
from zuora_jobs.watching.schedule import Schedule

PENDING, PROCESSING, ODD = "Pending", "Processing", "Odd"
STATUSES = (PENDING, PROCESSING, ODD)
PACES = (Pace(), Pace(1.0, 30.0), Pace(2.5, 10.0), Pace(0.5, 60.0, 4.0))
NUMBERS = st.integers(0, 5)
MOMENTS = st.integers(0, 30).map(float)


class Job(Entry):
    __slots__ = ("__weakref__", "name")

    def __init__(self, name: int, key: float = 0.0) -> None:
        self.name = name
        self.place = None
        self.last = self.key = key

    def __repr__(self) -> str:
        return f"Job({self.name}, {self.key})"


def first(rank: Rank[Job]) -> Job | None:
    """Who is first, after those who have gone elsewhere were cleared away."""
    while rank.keys and not rank.is_current():
        rank.take()
    return rank.entries[0] if rank.keys else None


class RankAgainstAList(RuleBasedStateMachine):
    """Who waits for longest is first; of those who wait equally long, who came first."""

    def __init__(self) -> None:
        super().__init__()
        self.rank: Rank[Job] = Rank(1.0, 2.0, 60.0)
        self.jobs = [Job(name) for name in range(6)]
        self.model: list[Job] = []

    @rule(name=NUMBERS, key=MOMENTS)
    def comes(self, name: int, key: float) -> None:
        job = self.jobs[name]
        if job in self.model:
            return
        first(self.rank)
        job.key = job.last = key + 0.0
        self.comes_in_order(job)

    def comes_in_order(self, job: Job) -> None:
        self.model.append(job)
        self.model.sort(key=lambda one: one.key)
        self.rank.append(job)

    @rule(name=NUMBERS)
    def goes_elsewhere(self, name: int) -> None:
        job = self.jobs[name]
        if job in self.model:
            self.model.remove(job)
            job.place = object()

    @rule(name=NUMBERS, key=MOMENTS)
    def counts_from_another_moment(self, name: int, key: float) -> None:
        job = self.jobs[name]
        if job in self.model:
            self.model.remove(job)
            first(self.rank)
            job.place, job.key = None, key + 0.0
            self.comes_in_order(job)

    @precondition(lambda machine: machine.model)
    @rule()
    def first_is_taken(self) -> None:
        first(self.rank)
        job = self.rank.take()
        assert job is self.model.pop(0)
        job.place = None

    @rule(now=MOMENTS)
    def those_due_are_given(self, now: float) -> None:
        due = list(self.rank.due(now))
        assert len(due) == len(set(due))
        assert all(job in self.model and job.key + 2.0 <= now for job in due)
        if self.model and self.model[0].key + 2.0 <= now:
            first(self.rank)
            assert next(self.rank.due(now)) is self.model[0]

    @invariant()
    def the_first_is_first(self) -> None:
        assert first(self.rank) is (self.model[0] if self.model else None)
        assert len(self.rank.entries) == len(self.rank.keys)


def test_a_rank_agrees_with_the_plainest_model() -> None:
    run_state_machine_as_test(
        RankAgainstAList, settings=settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True)
    )


def rank_of(*keys: float) -> Rank[Job]:
    rank: Rank[Job] = Rank(1.0, 0.0, 60.0)
    for name, key in enumerate(keys):
        rank.append(Job(name, key))
    return rank


def names(rank: Rank[Job]) -> list[int]:
    taken = []
    while first(rank) is not None:
        taken.append(rank.take().name)
    return taken


def test_who_was_looked_at_longest_ago_is_first() -> None:
    assert names(rank_of(1.0, 2.0, 3.0)) == [0, 1, 2]
    assert names(rank_of(2.0, 1.0, 3.0)) == [1, 0, 2]
    assert names(rank_of(1.0, 3.0, 2.0)) == [0, 2, 1]
    assert names(rank_of(1.0, 1.0, 1.0)) == [0, 1, 2]


def test_who_has_gone_elsewhere_is_cleared_away_once_it_is_first() -> None:
    rank = rank_of(1.0, 2.0, 3.0)
    rank.entries[0].place = rank.entries[1].place = None
    assert not rank.is_current()
    assert rank.take().name == 0
    assert not rank.is_current()
    assert names(rank) == [2]


def test_in_an_empty_rank_nobody_is_due() -> None:
    rank = rank_of()
    assert first(rank) is None
    assert list(rank.due(1e9)) == []


def test_who_is_due_is_known_to_the_moment() -> None:
    rank: Rank[Job] = Rank(1.0, 5.0, 60.0)
    rank.append(Job(0, 10.0))
    assert list(rank.due(14.999)) == []
    assert [job.name for job in rank.due(15.0)] == [0]


# --- nothing grows where many wait, and change


class Waiting(Job):
    __slots__ = ("kind", "pace")

    def __init__(self, name: int, kind: str = "a", pace: Pace = PACES[0]) -> None:
        super().__init__(name)
        self.kind, self.pace = kind, pace


class Plan(Schedule[Waiting]):
    """A schedule that is used as the fleet does."""

    def take_in(self, job: Waiting, now: float = 0.0) -> Waiting:
        self.add(job, job.kind, now)
        self.wait(job, job.kind, job.pace)
        return job

    def answer(self, job: Waiting | None, status: str, now: float) -> None:
        assert job is not None
        self.saw(job, job.kind, status, begun=status != PENDING, ended=False, now=now)
        self.wait(job, job.kind, job.pace)

    def size(self) -> int:
        """How many places are kept, whoever stands in them."""
        places = [*(line._places for line in self._lines.values()), *(rank.entries for rank in self._ranks.values())]
        return len(self._appointments) + sum(map(len, places))


def test_changing_ones_mind_thousands_of_times_takes_no_memory() -> None:
    plan = Plan()
    jobs = [plan.take_in(Waiting(number)) for number in range(10)]
    for turn in range(3000):
        plan.put(jobs[turn % 7], 1e6 + turn)
        assert len(plan._appointments) <= 2 * 10 + 64 + 1
    assert len(plan) == 10


def test_who_has_another_appointment_is_not_overdue() -> None:
    plan = Plan()
    jobs = [plan.take_in(Waiting(number)) for number in range(2)]
    plan.put(jobs[0], 1.0)
    plan.put(jobs[1], 2.0)
    plan.put(jobs[1], 50.0)
    assert list(plan.overdue(10.0)) == jobs[:1]


@pytest.mark.unmeasured
@pytest.mark.parametrize("pace", PACES, ids=str)
def test_thousands_of_looks_at_few_jobs_leave_no_more_than_those(pace: Pace) -> None:
    rng, plan = Random(1), Plan()
    jobs = [plan.take_in(Waiting(number, "ab"[number % 2], pace)) for number in range(12)]
    now, ranks, size = 0.0, 0, 0
    for turn in range(6000):
        now = max(now, plan.next_due() or 0.0) + rng.random()
        job = plan.pop(now, 2.0)
        assert job is not None
        plan.answer(job, STATUSES[turn // 100 % 3] if job.name % 4 == 0 else rng.choice(STATUSES), now)
        if turn % 3 == 0:
            plan.put(rng.choice(jobs), now + 0.0)
        ranks, size = max(ranks, len(plan._ranks)), max(size, plan.size())
    assert ranks <= 200 + len(jobs)
    assert size <= 500
    assert len(plan) == len(jobs)


def test_ranks_in_which_nobody_waits_any_more_are_forgotten() -> None:
    plan = Plan()
    for number in range(2000):
        job = plan.take_in(Waiting(number, "a", Pace(1.0, 60.0 + number)), float(number))
        for later in (0.0, 1.0, 2.0):
            now = number + later
            plan.answer(plan.pop(now, 10.0), PROCESSING, now)
        plan.remove(job, "a", number + 3.0)
        plan.next_due()
    assert len(plan._ranks) <= 201


def test_those_who_left_are_forgotten_though_nobody_before_them_may_be_looked_at_for_long() -> None:
    plan, refs, pace = Plan(), [], Pace(3600.0, 86_400.0)
    for number in range(2):
        plan.take_in(Waiting(number, "a", pace))
    for _ in range(2):
        plan.answer(plan.pop(0.0, 1.0), PENDING, 0.0)
    for number in range(500):
        job = plan.take_in(Waiting(number, "a", pace), float(number))
        plan.answer(job, PENDING, float(number))
        plan.remove(job, "a", number + 0.5)
        refs.append(weakref.ref(job))
        plan.next_due()
        del job
    gc.collect()
    assert sum(ref() is not None for ref in refs) <= 150


def test_who_comes_nearer_to_the_head_is_looked_at_no_sooner_than_his_shortest_interval() -> None:
    plan, now = Plan(), 0.0
    jobs = [plan.take_in(Waiting(number, "a", Pace(5.0, 3600.0))) for number in range(60)]
    for _ in range(40):  # the last begins
        for job in jobs:
            now += 0.1
            plan.discard(job)
            if job is jobs[-1]:
                plan.saw(job, "a", PROCESSING, begun=True, ended=False, now=now)
                plan.remove(job, "a", now)
            else:
                plan.answer(job, PENDING, now)
        jobs.pop()
    assert plan._lines["a"].weight(5, 0.1, 1e9) > 1.5 * plan._lines["a"].weight(2, 0.1, 1e9)
    while len(jobs) > 1:
        plan.remove(jobs.pop(0), "a", now)
        assert all(job.last <= job.key <= now for job in jobs)
        now += 0.1
