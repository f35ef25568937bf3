"""When the next request may go: the budget, the tenant's windows, its refusals and its outages, all in one gate."""

from copy import deepcopy
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from zuora_jobs import Budget
from zuora_jobs.errors import ConfigurationError
from zuora_jobs.timing import LONGEST_HOLD, TICK
from zuora_jobs.transport.breaker import OPENS_AFTER
from zuora_jobs.transport.congestion import GROWTH, SLOWEST
from zuora_jobs.transport.gate import BURST, Gate
from zuora_jobs.transport.quota import Window

# --- the gate, told the time

WAITS = st.floats(0, 3, allow_nan=False)
RATES = st.one_of(st.sampled_from([0.5, 1.0, 3.0, 7.0, 10.0, 19.9, 20.0, 100.0, 833.0]), st.floats(0.1, 2000))


@given(
    rate=RATES,
    concurrency=st.integers(1, 8),
    moves=st.lists(st.tuples(st.sampled_from(["enter", "leave", "wait", "hold"]), WAITS), max_size=120),
)
def test_the_gate_keeps_its_three_promises_whatever_happens(
    rate: float, concurrency: int, moves: list[tuple[str, float]]
) -> None:
    gate = Gate(Budget(rate=rate, concurrency=concurrency))
    now, held_until = 1000.0, 0.0
    let_go: list[float] = []
    for move, seconds in moves:
        if move == "enter":
            opens = gate.opens_at(now)
            if opens is None:
                assert gate.in_flight == concurrency
                continue
            assert opens >= now
            now = opens
            assert now >= held_until
            assert gate.opens_at(now) == now, "when the moment comes, it opens"
            gate.enter(now)
            let_go.append(now)
        elif move == "leave" and gate.in_flight:
            gate.leave()
        elif move == "wait":
            now += seconds
        elif move == "hold":
            gate.hold(now, seconds)
            held_until = max(held_until, now + seconds)
        assert 0 <= gate.in_flight <= concurrency
    for first, start in enumerate(let_go):
        for last in range(first, len(let_go)):
            span = let_go[last] - start
            assert last - first + 1 <= 1 + (span + BURST) * rate + 1e-6


@given(rate=RATES, pause=st.floats(0, 10_000))
def test_a_long_pause_saves_up_no_more_than_the_burst(rate: float, pause: float) -> None:
    gate = Gate(Budget(rate=rate, concurrency=10_000))
    gate.enter(0.0)
    count = 0
    while gate.opens_at(pause) == pause and count < 10_000:
        gate.enter(pause)
        count += 1
    assert count <= 1 + BURST * rate + 1e-6


@given(rate=RATES)
def test_one_who_never_stops_asking_gets_the_whole_rate(rate: float) -> None:
    gate = Gate(Budget(rate=rate, concurrency=100_000))
    now = 0.0
    for _ in range(200):
        opens = gate.opens_at(now)
        assert opens is not None
        now = opens
        gate.enter(now)
    assert now <= 199 / rate + 1e-6, "no slower than promised"
    assert now >= 199 / rate - BURST - 1e-6, "no faster either"


@pytest.mark.parametrize(
    ("holds", "held_until"),
    [
        ([(0, 10)], 10),
        ([(0, 10), (2, 3)], 10),  # a shorter wait changes nothing
        ([(0, 10), (2, 30)], 32),
        ([(0, 1e12)], LONGEST_HOLD),  # nonsense is cut
        ([(0, 0)], 0),
    ],
)
def test_the_longest_wait_that_the_server_asked_for_counts(holds: list[tuple[float, float]], held_until: float) -> None:
    gate = Gate(Budget())
    for now, seconds in holds:
        gate.hold(now, seconds)
    assert gate.held_until == held_until
    assert gate.opens_at(0) == held_until


def test_waiting_for_the_server_does_not_save_up_requests() -> None:
    gate = Gate(Budget(rate=1, concurrency=100))
    gate.hold(0, 60)
    gate.enter(60)
    assert gate.opens_at(60) == 61


@pytest.mark.parametrize(
    ("url", "rate"),
    [
        ("https://rest.zuora.com", 400),
        ("https://rest.test.eu.zuora.com", 400),
        ("https://rest.apisandbox.zuora.com", 20),
        ("https://rest.sandbox.na.zuora.com", 20),
        ("https://REST.SANDBOX.EU.zuora.com/", 20),
        ("http://127.0.0.1:8080", 400),
    ],
)
def test_the_default_budget_leaves_most_of_the_tenants_quota_to_others(url: str, rate: float) -> None:
    budget = Budget.for_tenant(url)
    assert budget.rate == rate
    assert budget.concurrency == 20


@pytest.mark.parametrize(
    "arguments",
    [
        {"rate": 0},
        {"rate": -1},
        {"rate": float("nan")},
        {"rate": "fast"},
        {"concurrency": 0},
        {"concurrency": -3},
        {"concurrency": 2.5},
    ],
)
def test_a_budget_of_nothing_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        Budget(**arguments)


@pytest.mark.parametrize(
    ("url", "opening", "first"),
    [
        ("https://rest.zuora.com", 180.0, 180.0),
        ("https://rest.apisandbox.zuora.com", None, 13.9),
        ("http://[::1]:80", 180.0, 180.0),
    ],
)
def test_the_default_budget_begins_gently(url: str, opening: float | None, first: float) -> None:
    budget = Budget.for_tenant(url)
    assert budget.opening == opening
    assert Gate(budget).rate(0.0) == pytest.approx(first, rel=0.02)


@pytest.mark.parametrize("opening", [0, -1, float("nan"), float("inf"), "180", True])
def test_an_opening_of_nothing_is_refused(opening: Any) -> None:
    with pytest.raises(ConfigurationError, match="opening"):
        Budget(opening=opening)


# --- what the other rooms say


def opened(gate: Gate, now: float) -> Gate:
    """Let nobody answer."""
    for _ in range(OPENS_AFTER):
        gate.breaker.failed(now, now)
    return gate


def go(gate: Gate, now: float, count: int) -> list[float]:
    """Let so many go, one after another and as soon as may be; give the moments."""
    times = []
    for _ in range(count):
        for _ in range(1000):
            opens = gate.opens_at(now)
            assert opens is not None
            if opens <= now:
                break
            now = opens
        else:
            raise AssertionError(f"still closed at {now}")
        gate.enter(now)
        gate.leave()
        times.append(now)
    return times


def test_those_who_go_as_fast_as_they_may_go_ever_faster_up_to_the_rate() -> None:
    gate = Gate(Budget(rate=12, opening=10, concurrency=100))
    times = go(gate, 0.0, 500)
    assert times[11] - times[0] == pytest.approx(1.1, rel=0.02)
    assert gate.rate(times[-1]) == 12
    assert times[-1] - times[-13] == pytest.approx(1.0, rel=0.001)


def test_those_who_go_when_it_suits_them_leave_the_rate_as_it_is() -> None:
    gate = Gate(Budget(rate=100, opening=10))
    for number in range(1000):
        (now,) = go(gate, number * 0.2, 1)
        assert now == number * 0.2
    assert gate.rate(200.0) == 10


def test_the_rate_grows_a_little_each_second_and_not_with_each_request() -> None:
    gate = Gate(Budget(rate=1000, opening=100))
    times = go(gate, 0.0, 2000)
    assert gate.rate(times[-1]) == pytest.approx(100 + GROWTH * 100 * times[-1], rel=0.01)


def test_a_rate_that_the_quota_holds_down_does_not_grow_behind_its_back() -> None:
    gate = Gate(Budget(rate=400, opening=10, quota=((300, 60),)))
    go(gate, 0.0, 200)
    assert gate.congestion.rate == 10
    assert gate.rate(200.0) == pytest.approx(0.95 * 300 / 60)


def test_fewer_at_once_are_let_in_when_the_tenant_says_that_it_has_fewer() -> None:
    gate = Gate(Budget(rate=1e6, concurrency=20))
    gate.congestion.note({"concurrency-limit-limit": "4"}, 0.0)
    for number in range(3):
        assert gate.opens_at(number * 1.0) == number * 1.0
        gate.enter(number * 1.0)
    assert gate.opens_at(3.0) is None
    gate.leave()
    assert gate.opens_at(3.0) == 3.0


def test_in_an_outage_one_after_another_goes_to_see_and_the_first_answer_opens_it() -> None:
    gate = opened(Gate(Budget(rate=1e6)), now=0.0)
    assert go(gate, 0.0, 6) == [0.5, 1.5, 3.5, 7.5, 12.5, 17.5]
    assert gate.opens_at(18.0) == 22.5
    gate.breaker.answered(18.0)
    assert gate.opens_at(18.0) == 18.0


def test_an_outage_is_no_leave_to_go_before_a_wait_that_was_asked_for_is_over() -> None:
    gate = opened(Gate(Budget()), now=0.0)
    gate.hold(0.0, 60.0)
    assert gate.opens_at(0.0) == 60.0


def test_an_outage_is_no_leave_to_go_faster_than_the_budget() -> None:
    gate = Gate(Budget(rate=0.1))
    gate.enter(0.0)
    gate.leave()
    opened(gate, now=0.0)
    times = [0.0, *go(gate, 0.0, 5)]
    assert all(later - earlier >= 10 for earlier, later in zip(times, times[1:], strict=False)), times


def test_an_outage_is_no_leave_to_spend_what_is_not_there() -> None:
    """Requests that nobody answers count as well."""
    gate = Gate(Budget(quota=((5, 3600),)))
    for _ in range(5):
        gate.quota.spend(0.0)
    opened(gate, now=0.0)
    assert go(gate, 0.0, 1) == [3600.0]


# --- a hair before the moment


@pytest.mark.parametrize("early", [0.0, TICK / 10, TICK / 2, TICK])
def test_one_who_goes_a_hair_before_a_used_up_window_ends_finds_the_gate_open_to_the_next(early: float) -> None:
    """Timers go off up to a tick early. Taken for a moment of the old window, its pace of nothing would shut the gate."""
    gate = Gate(Budget(rate=100, quota=((60, 60), (1000, 3600))))
    named = "60, 60;w=60, 1000;w=3600"
    gate.quota.note({"ratelimit-limit": named, "ratelimit-remaining": "0", "ratelimit-reset": "40"}, 0.0)
    assert gate.opens_at(0.0) == 40.0
    now = 40.0 - early
    opens = gate.opens_at(now)
    assert opens is not None
    assert opens <= now + TICK
    gate.enter(now)
    assert gate.quota.changes_at(now) == pytest.approx(100, abs=2 * TICK), "a new window has begun, and was counted in"
    times = go(gate, now, 20)
    assert times[-1] <= now + 20 * 60 / 57 + 0.1


@given(rate=RATES, early=st.floats(0, TICK), limit=st.integers(1, 50), start=st.sampled_from([0.0, 1e3, 1e6]))
def test_going_a_hair_early_each_time_shuts_the_gate_no_longer_than_a_window(
    rate: float, early: float, limit: int, start: float
) -> None:
    gate, now = Gate(Budget(rate=rate, quota=((limit, 60),))), start
    for _ in range(60):
        opens = gate.opens_at(now)
        assert opens is not None
        assert opens <= now + max(60.0, 1 / rate) + 2 * TICK
        if opens <= now + TICK:
            gate.enter(now)
            gate.leave()
        else:
            now = opens - early


# --- whatever happens

LIMITS = st.sampled_from([1, 3, 10, 100, 2500])
QUOTAS = st.sampled_from([(), (60.0,), (30.0, 600.0), (3600.0, 86_400.0)]).flatmap(
    lambda lengths: st.tuples(*(st.builds(Window, LIMITS, st.just(seconds)) for seconds in lengths))
)


class Gatekeeping(RuleBasedStateMachine):
    """All that may happen to a gate, in any order, by somebody who asks before he enters."""

    @initialize(
        rate=st.sampled_from([0.1, 1.0, 7.0, 100.0, 400.0]),
        opening=st.sampled_from([None, 0.5, 50.0]),
        concurrency=st.integers(1, 6),
        quota=QUOTAS,
        early=st.sampled_from([0.0, TICK / 2]),
    )
    def open(
        self, rate: float, opening: float | None, concurrency: int, quota: tuple[Window, ...], early: float
    ) -> None:
        self.budget = Budget(rate=rate, opening=opening, concurrency=concurrency, quota=quota)
        self.gate = Gate(self.budget)
        self.early = early
        """How much too early timers go off."""
        self.windows = quota
        self.now = 1000.0
        self.held_until = -inf
        self.let_go: list[float] = []
        self.under_way: list[float] = []

    @rule(count=st.integers(1, 10))
    def come(self, count: int) -> None:
        """Go as often as may be, waiting no longer than a minute."""
        until = self.now + 60
        for _ in range(count):
            opens = self.gate.opens_at(self.now)
            while opens is not None and self.now + TICK < opens <= until:
                self.now = opens - self.early
                opens = self.gate.opens_at(self.now)
            if opens is None or opens > self.now + TICK:
                return
            assert self.now >= self.held_until - TICK
            if self.gate.breaker.is_open:
                assert self.now >= self.gate.breaker.probe_at - TICK
            self.gate.enter(self.now)
            self.let_go.append(self.now)
            self.under_way.append(self.now)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def be_answered(self, data: st.DataObject) -> None:
        self._end(data)
        self.gate.breaker.answered(self.now)
        self.gate.congestion.passed(self.now, all_at_once=data.draw(st.booleans()))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), count=st.integers(1, 6))
    def be_left_unanswered(self, data: st.DataObject, count: int) -> None:
        for _ in range(min(count, len(self.under_way))):
            self.gate.breaker.failed(self._end(data), self.now)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), for_the_rate=st.booleans(), allowed=st.sampled_from([inf, 1.0]))
    def be_refused(self, data: st.DataObject, for_the_rate: bool, allowed: float) -> None:
        sent_at = self._end(data)
        if for_the_rate:
            self.gate.congestion.too_fast(sent_at, self.now, allowed)
        else:
            self.gate.congestion.too_many(
                sent_at, self.now, self.gate.in_flight, data.draw(st.sampled_from([0.0, 120.0]))
            )

    def _end(self, data: st.DataObject) -> float:
        self.gate.leave()
        return self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))

    @rule(count=st.integers(8, 9))
    def lose_contact(self, count: int) -> None:
        for _ in range(count):
            self.gate.breaker.failed(self.now, self.now)

    @rule()
    def find_contact_again(self) -> None:
        if self.gate.breaker.answered(self.now):
            self.gate.congestion.ease()

    @rule(seconds=st.sampled_from([0.001, 0.3, 5.0, 61.0, 5000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.sampled_from([0.0, 0.7, 30.0, 1e9]))
    def be_told_to_wait(self, seconds: float) -> None:
        self.gate.hold(self.now, seconds)
        self.held_until = max(self.held_until, self.now + min(seconds, LONGEST_HOLD))

    @precondition(lambda self: self.windows)
    @rule(data=st.data(), left=st.sampled_from([0, 1, 2, 50]), part=st.floats(0, 1))
    def be_told_what_is_left(self, data: st.DataObject, left: int, part: float) -> None:
        window = data.draw(st.sampled_from(self.windows))
        named = ", ".join(f"{window.limit};w={window.seconds:g}" for window in self.windows)
        headers = {
            "ratelimit-limit": f"{window.limit}, {named}",
            "ratelimit-remaining": str(left),
            "ratelimit-reset": str(int(part * window.seconds)),
        }
        self.gate.quota.note(headers, self.now, self.gate.in_flight)

    @rule(limit=st.integers(1, 8), left=st.integers(0, 8))
    def be_told_how_many_at_once(self, limit: int, left: int) -> None:
        headers = {"concurrency-limit-limit": str(limit), "concurrency-limit-remaining": str(left)}
        self.gate.congestion.note(headers, self.now)

    @invariant()
    def keeps_its_promises(self) -> None:
        if not hasattr(self, "gate"):
            return
        assert self.gate.in_flight == len(self.under_way) <= self.budget.concurrency
        assert 0 <= self.gate.rate(self.now) <= self.budget.rate
        for first, start in enumerate(self.let_go):
            count = len(self.let_go) - first
            span = self.let_go[-1] - start + count * TICK
            assert count <= 1 + (span + BURST) * self.budget.rate + 1e-6

    @invariant()
    def opens_in_the_end(self) -> None:
        """With nothing under way there is a moment, no further off than is asked for, at which one may go."""
        if not hasattr(self, "gate"):
            return
        gate, now = deepcopy(self.gate), self.now
        for _ in range(len(self.under_way)):
            gate.leave()
        for _ in range(10_000):
            opens = gate.opens_at(now)
            assert opens is not None
            assert opens >= now
            if opens <= now + TICK:
                break
            now = opens - self.early
        else:
            raise AssertionError("it has us look again and again")
        longest = max((window.seconds for window in self.windows), default=0.0)
        slowest = 1 / (SLOWEST * min(self.budget.opening or inf, self.budget.rate))
        assert now <= self.now + LONGEST_HOLD + longest + slowest + 10


Gatekeeping.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestGatekeeping = pytest.mark.unmeasured(Gatekeeping.TestCase)
