"""Whether anybody is there at all: by literals, against a naive model, and through bad days."""

import heapq
from math import inf
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zuora_jobs.transport.breaker import FIRST_PROBE, LONGEST_PAUSE, OPENS_AFTER, Breaker


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(OPENS_AFTER):
        breaker.failed(now, now)
    assert breaker.is_open
    return breaker


def test_it_opens_at_the_eighth_failure_in_a_row_and_not_before() -> None:
    breaker = Breaker()
    for number in range(7):
        breaker.failed(float(number), number + 0.5)
        assert not breaker.is_open
    breaker.failed(7.0, 7.5)
    assert breaker.is_open
    assert breaker.probe_at == 8.0


def test_any_answer_in_between_begins_the_row_anew() -> None:
    breaker = Breaker()
    for number in range(100):
        for _ in range(7):
            breaker.failed(float(number), number + 0.1)
        assert breaker.answered(number + 0.2) == 0
    assert not breaker.is_open


def test_a_failure_of_what_was_sent_before_the_last_answer_says_nothing_new() -> None:
    breaker = Breaker()
    breaker.answered(10.0)
    for sent_at in (0.0, 5.0, 9.9, 10.0):
        for _ in range(100):
            breaker.failed(sent_at, 130.0)  # they hung until their timeout
    assert breaker.failures == 0
    for _ in range(OPENS_AFTER):
        breaker.failed(10.1, 130.0)
    assert breaker.is_open


def test_stale_failures_do_not_open_it_again_after_an_outage() -> None:
    breaker = opened(now=0.0)
    assert breaker.answered(60.0) == 60
    for _ in range(100):
        breaker.failed(59.0, 61.0)
    assert not breaker.is_open
    assert breaker.answered(62.0) == 0, "there is no second outage to end"


def test_probes_go_ever_more_seldom_down_to_one_in_five_seconds() -> None:
    breaker, times = opened(now=100.0), []
    for _ in range(8):
        times.append(breaker.probe_at)
        breaker.probing(breaker.probe_at)
        breaker.failed(times[-1], times[-1] + 0.01)
    assert times == [100.5, 101.5, 103.5, 107.5, 112.5, 117.5, 122.5, 127.5]


def test_a_probe_that_goes_late_is_followed_by_as_long_a_pause() -> None:
    breaker = opened()
    breaker.probing(40.0)
    assert breaker.probe_at == 41.0


def test_failures_while_it_is_open_put_no_probe_off() -> None:
    breaker = opened()
    for moment in (0.1, 0.2, 0.3, 0.4):
        breaker.failed(0.0, moment)
    assert breaker.probe_at == FIRST_PROBE


def test_the_next_outage_begins_with_quick_probes_again() -> None:
    breaker = opened()
    for _ in range(20):
        breaker.probing(breaker.probe_at)
    breaker.answered(1000.0)
    for _ in range(OPENS_AFTER):
        breaker.failed(1001.0, 1002.0)
    assert breaker.probe_at == 1002.5
    breaker.probing(1002.5)
    assert breaker.probe_at == 1003.5


# --- against a model that keeps everything that has happened, and looks through it each time


class Contact(RuleBasedStateMachine):
    """Requests are sent, answered, and not answered, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.under_way: list[float] = []
        self.history: list[tuple[str, float]] = []
        """("failed", when it was sent) and ("answered", when)."""
        self.opened_at = inf
        self.probes = 0
        self.last_probe = -inf

    @property
    def row(self) -> int:
        """Failures since the last answer, of what was sent after it."""
        answers = [number for number, (what, _) in enumerate(self.history) if what == "answered"]
        since = answers[-1] if answers else -1
        answered_at = self.history[since][1] if answers else -inf
        return sum(sent_at > answered_at for _, sent_at in self.history[since + 1 :])

    @rule(seconds=st.sampled_from([0.01, 0.5, 1.0, 7.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(count=st.integers(1, 5))
    def send(self, count: int) -> None:
        self.under_way += [self.now] * count

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        lasted = self.now - self.opened_at if self.row >= 8 else 0.0
        assert self.breaker.answered(self.now) == lasted
        self.history.append(("answered", self.now))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), count=st.integers(1, 12))
    def leave_unanswered(self, data: st.DataObject, count: int) -> None:
        for _ in range(min(count, len(self.under_way))):
            sent_at = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
            was_open = self.row >= 8
            self.breaker.failed(sent_at, self.now)
            self.history.append(("failed", sent_at))
            if self.row >= 8 and not was_open:
                self.opened_at, self.probes = self.now, 0

    @precondition(lambda self: self.row >= 8)
    @rule()
    def probe(self) -> None:
        self.now = max(self.now, self.breaker.probe_at)
        self.breaker.probing(self.now)
        self.under_way.append(self.now)
        self.probes += 1
        self.last_probe = self.now

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert self.breaker.failures == self.row
        assert self.breaker.is_open is (self.row >= 8)
        if self.row >= 8:
            expected = self.last_probe + min(0.5 * 2**self.probes, 5.0) if self.probes else self.opened_at + 0.5
            assert self.breaker.probe_at == expected


Contact.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestContact = pytest.mark.unmeasured(Contact.TestCase)


# --- bad days


def openings(share: float, requests: int, seed: int, at_once: int = 20) -> int:
    """How often it opens while that share of answers fails by chance, with so many under way."""
    rng, breaker, times = Random(seed), Breaker(), 0
    under_way = [(rng.uniform(0.05, 0.5), 0.0) for _ in range(at_once)]
    heapq.heapify(under_way)
    for _ in range(requests):
        now, sent_at = under_way[0]
        if rng.random() < share:
            was_open = breaker.is_open
            breaker.failed(sent_at, now)
            times += breaker.is_open and not was_open
        else:
            breaker.answered(now)
        heapq.heapreplace(under_way, (now + rng.uniform(0.05, 0.5), now))
    return times


@pytest.mark.parametrize("seed", range(3))
def test_a_fifth_of_all_answers_failing_by_chance_is_no_outage(seed: int) -> None:
    assert openings(0.2, 100_000, seed) <= 1
    assert openings(1.0, 100, seed) == 1, "but it would be seen"


def test_an_outage_of_a_quarter_of_an_hour_costs_a_probe_each_five_seconds_and_its_end_is_noticed_as_soon() -> None:
    breaker, times = opened(now=0.0), []
    while breaker.is_open:
        now = breaker.probe_at
        times.append(now)
        breaker.probing(now)
        if now < 900:
            breaker.failed(now, now + 0.1)
        else:
            breaker.answered(now + 0.1)
    assert len(times) <= 900 / LONGEST_PAUSE + 5
    assert 900 <= times[-1] < 900 + LONGEST_PAUSE
    assert max(later - earlier for earlier, later in zip(times, times[1:], strict=False)) == LONGEST_PAUSE
