"""Which job to look at next: the heap against the plainest model there is."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from zuora_jobs.watching.schedule import Schedule

KEYS = st.integers(0, 9)
MOMENTS = st.integers(0, 20).map(float) | st.floats(0, 20)


class ScheduleAgainstADict(RuleBasedStateMachine):
    """A dict of (due, order of putting), of which the least is next."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule: Schedule[int] = Schedule()
        self.model: dict[int, tuple[float, int]] = {}
        self.puts = 0

    @rule(key=KEYS, due=MOMENTS)
    def put(self, key: int, due: float) -> None:
        self.puts += 1
        self.schedule.put(key, due)
        self.model[key] = (due, self.puts)

    @rule(key=KEYS, dues=st.lists(MOMENTS, min_size=50, max_size=90))
    def change_ones_mind(self, key: int, dues: list[float]) -> None:
        for due in dues:
            self.put(key, due)

    @rule(key=KEYS)
    def discard(self, key: int) -> None:
        self.schedule.discard(key)
        self.model.pop(key, None)

    @rule(now=MOMENTS)
    def pop(self, now: float) -> None:
        expected = min(self.model, key=self.model.__getitem__, default=None)
        if expected is not None and self.model[expected][0] > now:
            expected = None
        assert self.schedule.pop(now) == expected
        if expected is not None:
            del self.model[expected]

    @rule()
    def drain(self) -> None:
        order = []
        while (key := self.schedule.pop(20.0)) is not None:
            order.append(key)
        assert order == sorted(self.model, key=self.model.__getitem__)
        self.model.clear()

    @rule()
    def look_ahead(self) -> None:
        assert self.schedule.next_due() == min((due for due, _ in self.model.values()), default=None)

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        assert len(self.schedule) == len(self.model)
        assert all((key in self.schedule) == (key in self.model) for key in range(10))

    @invariant()
    def it_stays_small(self) -> None:
        assert len(self.schedule._heap) <= 2 * 10 + 64 + 1


def test_the_schedule_agrees_with_the_plainest_model() -> None:
    run_state_machine_as_test(
        ScheduleAgainstADict, settings=settings(max_examples=60, stateful_step_count=30, deadline=None)
    )


def test_an_empty_schedule_has_nothing_due() -> None:
    schedule: Schedule[str] = Schedule()
    assert schedule.next_due() is None
    assert schedule.pop(1e9) is None
    assert len(schedule) == 0
    schedule.discard("unknown")
    assert "unknown" not in schedule


def test_what_has_been_due_for_longest_goes_first() -> None:
    schedule: Schedule[str] = Schedule()
    for key, due in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
        schedule.put(key, due)
    assert schedule.pop(0.5) is None
    assert [schedule.pop(9.0) for _ in range(4)] == ["a", "b", "c", None]


def test_of_those_due_at_once_the_first_put_goes_first() -> None:
    schedule: Schedule[int] = Schedule()
    for key in (3, 1, 2):
        schedule.put(key, 5.0)
    assert [schedule.pop(5.0) for _ in range(3)] == [3, 1, 2]


def test_a_job_is_due_at_its_moment_and_not_before() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.put("a", 1.5)
    assert schedule.next_due() == 1.5
    assert schedule.pop(1.4999) is None
    assert schedule.pop(1.5) == "a"
    assert "a" not in schedule


@pytest.mark.parametrize(("before", "after"), [(1.0, 9.0), (9.0, 1.0), (5.0, 5.0)])
def test_the_last_word_about_a_job_counts(before: float, after: float) -> None:
    schedule: Schedule[str] = Schedule()
    schedule.put("a", before)
    schedule.put("a", after)
    assert len(schedule) == 1
    assert schedule.next_due() == after
    assert schedule.pop(after) == "a"
    assert schedule.pop(100.0) is None


def test_a_job_discarded_and_put_again_is_looked_at_once() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.put("a", 1.0)
    schedule.discard("a")
    assert schedule.next_due() is None
    schedule.put("a", 2.0)
    assert [schedule.pop(9.0), schedule.pop(9.0)] == ["a", None]


def test_keys_need_not_be_ordered() -> None:
    schedule: Schedule[object] = Schedule()
    keys = [object(), complex(1, 2), ("tuple",), frozenset()]
    for key in keys:
        schedule.put(key, 1.0)
    assert [schedule.pop(1.0) for _ in keys] == keys


def test_changing_ones_mind_a_hundred_thousand_times_takes_no_memory() -> None:
    schedule: Schedule[int] = Schedule()
    for key in range(100):
        schedule.put(key, 1e9)
    most = 0
    for turn in range(100_000):
        schedule.put(turn % 7, 1e6 - turn)
        most = max(most, len(schedule._heap))
    assert most <= 2 * 100 + 64 + 1
    assert len(schedule) == 100
    assert schedule.pop(1e6) == 99_999 % 7


def test_coming_and_going_leaves_nothing_behind() -> None:
    schedule: Schedule[int] = Schedule()
    for key in range(20_000):
        schedule.put(key, float(key))
        schedule.discard(key)
        assert len(schedule._heap) <= 2 * 1 + 64
    assert schedule.next_due() is None
    assert (len(schedule), len(schedule._entries), len(schedule._heap)) == (0, 0, 0)


def test_no_job_starves_while_others_come_back_again_and_again() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.put("patient", 10.0)
    for now in range(10):
        schedule.put("eager", float(now))
        assert schedule.pop(float(now)) == "eager"
    schedule.put("eager", 10.5)
    assert schedule.pop(11.0) == "patient"
