"""How much a tenant bears that does not say so: found out by literals, by any sequence of answers, and by simulation."""

import heapq
from math import inf
from random import Random
from typing import Any

import pytest
from attrs import define
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from zuora_jobs.transport.congestion import CUT, GROWTH, SLOWEST, Congestion


def steadily(congestion: Congestion, seconds: float, since: float = 0.0, *, at_full_rate: bool = True) -> float:
    """Send at the rate that is allowed for so long; give the moment of the last request."""
    now = since
    while now + 1 / congestion.rate <= since + seconds:
        now += 1 / congestion.rate
        congestion.sent(now, at_full_rate=at_full_rate)
    return now


# --- how fast


def test_it_opens_at_the_opening_and_never_above_the_ceiling() -> None:
    assert Congestion(180, 400, 20).rate == 180
    assert Congestion(180, 50, 20).rate == 50


def test_used_and_not_refused_the_rate_grows_by_a_little_each_second_up_to_the_ceiling() -> None:
    congestion = Congestion(100, 400, 20)
    steadily(congestion, 10)
    assert congestion.rate == pytest.approx(100 + 10 * GROWTH * 100, rel=0.01)
    steadily(congestion, 1000, since=10)
    assert congestion.rate == 400


def test_a_rate_that_is_not_used_does_not_grow() -> None:
    congestion = Congestion(100, 400, 20)
    steadily(congestion, 100, at_full_rate=False)
    assert congestion.rate == 100


def test_a_refusal_cuts_the_rate_by_a_tenth() -> None:
    congestion = Congestion(100, 100, 20)
    now = steadily(congestion, 3)
    assert congestion.too_fast(now, now + 0.05) is True
    assert congestion.rate == pytest.approx(90, rel=0.02)


def test_a_refusal_cuts_what_was_really_sent_and_not_what_might_have_been() -> None:
    congestion = Congestion(100, 100, 20)
    for number in range(100):
        congestion.sent(number / 20, at_full_rate=False)
    congestion.too_fast(99 / 20, 4.99)
    assert congestion.rate == pytest.approx(CUT * 20, rel=0.02)


def test_refusals_of_what_was_under_way_at_the_cut_count_once_and_later_ones_again() -> None:
    congestion = Congestion(100, 100, 20)
    now = steadily(congestion, 3)
    assert congestion.too_fast(now, 3.2)
    once = congestion.rate
    for sent_at in (now - 1, now, 3.2):
        assert congestion.too_fast(sent_at, 3.3) is False
    assert congestion.rate == once
    now = steadily(congestion, 2, since=3.2)
    assert congestion.too_fast(now, 5.3) is True
    assert congestion.rate < once


def test_a_tenant_that_says_what_it_allows_gets_that() -> None:
    congestion = Congestion(100, 400, 20)
    now = steadily(congestion, 3)
    congestion.too_fast(now, now, allowed=50)
    assert congestion.rate == 50


def test_what_the_tenant_allows_in_all_does_not_excuse_one_who_sends_less_than_that() -> None:
    congestion = Congestion(100, 400, 20)
    now = steadily(congestion, 3, at_full_rate=False)
    congestion.too_fast(now, now, allowed=800)
    assert congestion.rate == pytest.approx(90, rel=0.02)


@pytest.mark.parametrize(("opening", "ceiling"), [(100, 400), (100, 100), (0.5, 2), (180, 50), (1000, 1), (5, 5)])
def test_no_number_of_refusals_brings_it_below_the_slowest_or_above_the_ceiling(opening: float, ceiling: float) -> None:
    congestion = Congestion(opening, ceiling, 20)
    for number in range(1, 1000):
        congestion.sent(10.0 * number, at_full_rate=True)
        congestion.too_fast(10.0 * number, 10.0 * number + 0.01, allowed=1e-6)
        assert SLOWEST * min(opening, ceiling) <= congestion.rate <= ceiling


def test_far_below_what_was_refused_last_it_is_soon_back_and_then_goes_on_slowly() -> None:
    congestion = Congestion(180, 400, 20)
    now = steadily(congestion, 1)
    congestion.too_fast(now, now, allowed=100)
    congestion.ease()
    assert congestion.rate == 50
    now = steadily(congestion, 10, since=now)
    assert 85 < congestion.rate < 100
    now = steadily(congestion, 10, since=now)
    before = congestion.rate
    assert before > 94
    steadily(congestion, 1, since=now)
    assert congestion.rate - before == pytest.approx(GROWTH * 100, rel=0.05)


@pytest.mark.parametrize("answered_after", [0.05, 0.5, 1.0, 3.0])
def test_one_refusal_while_hardly_anything_was_sent_does_not_cost_minutes_when_there_is_much_to_send(
    answered_after: float,
) -> None:
    """The tenant was busy with others for a moment; the first request of a run, or a look at one slow job, was refused."""
    congestion = Congestion(180, 400, 20)
    congestion.sent(0.0, at_full_rate=False)
    congestion.too_fast(0.0, answered_after)
    steadily(congestion, 180, since=answered_after)
    assert congestion.rate > 90


def test_after_an_outage_it_begins_again_at_half_the_rate_and_is_soon_back() -> None:
    congestion = Congestion(100, 100, 20)
    congestion.ease()
    assert congestion.rate == 50
    steadily(congestion, 30)
    assert congestion.rate > 90
    for _ in range(50):
        congestion.ease()
    assert congestion.rate == SLOWEST * 100


# --- how many at once


@pytest.mark.parametrize(
    ("limit", "remaining", "at_once"),
    [
        ("40", "39", 20),  # three quarters of what the tenant has are more than we would use
        ("20", "19", 15),
        ("5", "4", 3),
        ("2", "1", 1),
        ("1", "0", 1),
        ("20", None, 15),
        ("20", "2", 15),
        ("20", "string", 15),
        ("1e308", "1e308", 20),
        ("0", "0", 20),
        ("-3", "0", 20),
        ("string", "0", 20),
        ("nan", "0", 20),
        ("inf", "0", 20),
        (None, "0", 20),
    ],
)
def test_one_client_takes_three_quarters_of_the_tenants_requests_at_once(
    limit: str | None, remaining: str | None, at_once: float
) -> None:
    congestion = Congestion(100, 100, 20)
    given = {"concurrency-limit-limit": limit, "concurrency-limit-remaining": remaining}
    congestion.note({name: value for name, value in given.items() if value is not None}, 5.0)
    assert congestion.at_once == at_once


@pytest.mark.parametrize(("limit", "remaining"), [("20", "1"), ("20", "0"), ("20", "-5"), ("20.5", "1.9")])
def test_as_long_as_others_use_theirs_a_few_are_given_up_each_second_and_no_more(limit: str, remaining: str) -> None:
    congestion = Congestion(100, 100, 20)
    crowded = {"concurrency-limit-limit": limit, "concurrency-limit-remaining": remaining}
    seen = []
    for tenth in range(31):  # three seconds of answers
        congestion.note(crowded, tenth / 10)
        seen.append(congestion.at_once)
    assert 13 <= seen[0] < 15
    assert seen[0:30:10] == seen[9:30:10]
    assert all(0.85 * before <= after < before for before, after in zip(seen[0::10], seen[10::10], strict=False))
    for second in range(4, 100):
        congestion.note(crowded, float(second))
    assert congestion.at_once == 1


def test_a_refusal_counts_as_one_also_where_it_says_itself_that_none_is_left() -> None:
    congestion = Congestion(100, 100, 10)
    congestion.note({"concurrency-limit-limit": "12", "concurrency-limit-remaining": "0"}, 1.1)
    assert congestion.too_many(1.0, 1.1, in_flight=8) is True
    assert congestion.at_once < 8


def test_it_may_begin_with_a_few_at_once_and_then_finds_room_quickly() -> None:
    congestion = Congestion(180, 400, 20, gently=True)
    assert congestion.at_once == 4
    for number in range(100):
        congestion.passed(number / 10, all_at_once=True)
        assert congestion.at_once == min(20, 5 + number)
    assert Congestion(180, 400, 3, gently=True).at_once == 3


def test_a_refusal_for_too_many_at_once_cuts_what_was_under_way_by_a_tenth() -> None:
    congestion = Congestion(100, 100, 20)
    assert congestion.too_many(1.0, 1.1, in_flight=10) is True
    assert congestion.at_once == 9
    assert congestion.too_many(1.05, 1.2, in_flight=9) is False, "it was under way at the cut"
    assert congestion.at_once == 9
    assert congestion.too_many(1.15, 1.3, in_flight=1) is True
    assert congestion.at_once == 1
    assert congestion.rate == 100, "the rate is another matter"


def test_a_refusal_that_costs_a_long_wait_halves_what_was_under_way() -> None:
    congestion = Congestion(100, 100, 20)
    congestion.too_many(1.0, 1.1, in_flight=16, wait=120.0)
    assert congestion.at_once == 8


@pytest.mark.parametrize(("wait", "again_at"), [(1.0, 31.0), (120.0, 3601.0)])
def test_as_many_as_were_refused_are_tried_again_the_later_the_more_it_cost(wait: float, again_at: float) -> None:
    congestion = Congestion(100, 100, 20)
    congestion.too_many(0.9, 1.0, in_flight=10, wait=wait)
    for _ in range(10_000):
        congestion.passed(again_at - 0.01, all_at_once=True)
    assert congestion.at_once == 9, "one fewer than were refused"
    for _ in range(10_000):
        congestion.passed(again_at, all_at_once=True)
    assert congestion.at_once == 20


def test_as_many_as_are_allowed_and_none_refused_grow_by_one_in_twenty_round_trips() -> None:
    congestion = Congestion(100, 100, 20)
    congestion.too_many(1.0, 1.1, in_flight=10)
    for _ in range(20 * 10):
        congestion.passed(100.0, all_at_once=False)
    assert congestion.at_once == 9
    for _ in range(20 * 10):
        congestion.passed(100.0, all_at_once=True)
    assert 10 <= congestion.at_once < 10.1


def test_one_that_was_let_through_ends_a_row_of_refusals() -> None:
    congestion = Congestion(100, 100, 20, refused_in_a_row=3)
    congestion.passed(1.0, all_at_once=False)
    assert congestion.refused_in_a_row == 0


# --- any sequence of answers


class AnySequence(RuleBasedStateMachine):
    """Whatever is sent, let through and refused, in whatever order."""

    @initialize(
        opening=st.floats(0.1, 500),
        times=st.floats(0.1, 50),
        most=st.integers(1, 50),
        gently=st.booleans(),
        now=st.sampled_from([0.0, 1e6]),
    )
    def begin(self, opening: float, times: float, most: int, gently: bool, now: float) -> None:
        self.opening, self.ceiling, self.most, self.now = opening, opening * times, most, now
        self.congestion = Congestion(opening, self.ceiling, most, gently)
        self.sent: list[float] = []
        self.cut_at = self.at_once_cut_at = -inf

    @rule(at_full_rate=st.booleans(), count=st.integers(1, 30), gap=st.sampled_from([0.0, 0.01, 0.3]))
    def send(self, at_full_rate: bool, count: int, gap: float) -> None:
        for _ in range(count):
            before = self.congestion.rate
            self.now += gap
            self.congestion.sent(self.now, at_full_rate=at_full_rate)
            self.sent.append(self.now)
            if at_full_rate:
                assert before <= self.congestion.rate
            else:
                assert self.congestion.rate == before

    @rule(seconds=st.floats(0.001, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(all_at_once=st.booleans())
    def let_through(self, all_at_once: bool) -> None:
        before = self.congestion.rate, self.congestion.at_once
        self.congestion.passed(self.now, all_at_once=all_at_once)
        assert self.congestion.rate == before[0]
        assert self.congestion.at_once >= before[1]
        assert all_at_once or self.congestion.at_once == before[1]

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), allowed=st.sampled_from([inf, inf, 1e-9, 5.0, 1e9]))
    def refuse_for_the_rate(self, data: st.DataObject, allowed: float) -> None:
        sent_at = data.draw(st.sampled_from(self.sent))
        before = self.congestion.rate, self.congestion.at_once
        new = self.congestion.too_fast(sent_at, self.now, allowed)
        assert new is (sent_at > self.cut_at)
        if new:
            self.cut_at = self.now
            floor = SLOWEST * min(self.opening, self.ceiling)
            assert self.congestion.rate <= max(floor, CUT * before[0], min(before[0], allowed))
        else:
            assert self.congestion.rate == before[0]
        assert self.congestion.at_once == before[1]

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), in_flight=st.integers(0, 60), wait=st.sampled_from([0.0, 1.0, 30.0, 1e5]))
    def refuse_for_too_many(self, data: st.DataObject, in_flight: int, wait: float) -> None:
        sent_at = data.draw(st.sampled_from(self.sent))
        before = self.congestion.rate, self.congestion.at_once
        new = self.congestion.too_many(sent_at, self.now, in_flight, wait)
        assert new is (sent_at > self.at_once_cut_at)
        if new:
            self.at_once_cut_at = self.now
            assert self.congestion.at_once <= max(1, CUT * before[1])
        else:
            assert self.congestion.at_once == before[1]
        assert self.congestion.rate == before[0]

    @rule()
    def end_an_outage(self) -> None:
        before = self.congestion.rate
        self.congestion.ease()
        assert self.congestion.rate <= before

    @rule(limit=st.one_of(st.none(), st.integers(-5, 60).map(str), st.floats().map(str)), left=st.integers(-1, 60))
    def tell_of_requests_at_once(self, limit: str | None, left: int) -> None:
        before = self.congestion.at_once
        named = {} if limit is None else {"concurrency-limit-limit": limit}
        self.congestion.note({"concurrency-limit-remaining": str(left), **named}, self.now)
        assert self.congestion.at_once <= before
        if self.congestion.at_once < before:
            self.at_once_cut_at = max(self.at_once_cut_at, self.congestion._at_once_cut_at)

    @invariant()
    def stays_within_its_bounds(self) -> None:
        if hasattr(self, "congestion"):
            assert SLOWEST * min(self.opening, self.ceiling) <= self.congestion.rate <= self.ceiling
            assert 1 <= self.congestion.at_once <= self.most


AnySequence.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestAnySequence = pytest.mark.unmeasured(AnySequence.TestCase)


# --- against a tenant that bears so many requests a second and says nothing


@define
class Bucket:
    """Lets through *rate* requests a second, and *size* of them at once."""

    rate: float
    size: float
    left: float = 0.0
    at: float = 0.0

    def take(self, now: float) -> bool:
        self.left, self.at = min(self.size, self.left + (now - self.at) * self.rate), now
        passes = self.left >= 1
        self.left -= passes
        return passes


def compete(
    bucket: Bucket, clients: list[Congestion], starts: list[float], until: float, seed: int = 1
) -> list[tuple[float, int, bool]]:
    """Let each of *clients*, from its start on, send as fast as it may; give (when, who, let through) of each request."""
    rng = Random(seed)  # without a little disorder, two clients march in step
    log: list[tuple[float, int, bool]] = []
    events: list[tuple[float, int, Any]] = [(start, number, None) for number, start in enumerate(starts)]
    while events[0][0] <= until:
        now, number, answer = heapq.heappop(events)
        client = clients[number]
        if answer is None:
            passes = bucket.take(now)
            client.sent(now, at_full_rate=True)
            log.append((now, number, passes))
            heapq.heappush(events, (now + rng.uniform(0.9, 1.1) / client.rate, number, None))
            heapq.heappush(events, (now + rng.uniform(0.05, 0.15), number, (now, passes)))
        elif answer[1]:
            client.passed(now, all_at_once=False)
        else:
            client.too_fast(answer[0], now)
    return log


@pytest.mark.unmeasured
@pytest.mark.parametrize("slack", [0.1, 1.0])
@pytest.mark.parametrize(
    ("bears", "opening", "warm", "until"),
    [(5, 180, 60, 400), (10, 180, 60, 300), (30, 180, 60, 200), (100, 180, 60, 120), (300, 180, 60, 90), (1000, 800, 30, 45)],
)  # fmt: skip
def test_one_client_finds_out_what_a_tenant_bears_and_is_then_seldom_refused(
    bears: float, opening: float, warm: float, until: float, slack: float
) -> None:
    bucket = Bucket(bears, max(3.0, slack * bears))
    log = compete(bucket, [Congestion(opening, 2_000, 1_000)], [0.0], until)
    late = [passes for when, _, passes in log if when > warm]
    assert 0.8 * bears <= sum(late) / (until - warm)
    refused = len(late) - sum(late)
    assert refused <= max(0.02 * len(late), (until - warm) / 6), "2 %, or one in six seconds"


@pytest.mark.unmeasured
@pytest.mark.parametrize("slack", [0.1, 1.0])
@pytest.mark.parametrize("late", [0.0, 50.0])
@pytest.mark.parametrize("bears", [20, 60])
def test_two_clients_come_to_like_shares_whoever_was_there_first(bears: float, late: float, slack: float) -> None:
    ratios = []
    for seed in range(7):
        clients = [Congestion(180, 400, 1_000) for _ in range(2)]
        log = compete(Bucket(bears, slack * bears), clients, [0.0, late], 250, seed)
        shares = [sum(passes for when, who, passes in log if who == number and when > 150) for number in range(2)]
        assert sum(shares) >= 0.8 * bears * 100
        ratios.append(max(shares) / min(shares))
    assert sorted(ratios)[3] <= 1.4, ratios
    assert sorted(ratios)[5] <= 1.6, ratios  # one in seven has bad luck
    assert max(ratios) <= 2.5, ratios


def test_one_who_is_left_alone_takes_the_others_share_within_a_minute_or_two() -> None:
    clients = [Congestion(180, 400, 1_000) for _ in range(2)]
    bucket = Bucket(50, 10)
    compete(bucket, clients, [0.0, 0.0], 120)
    log = compete(bucket, clients[:1], [120.0], 300)
    assert sum(passes for when, _, passes in log if when > 240) >= 0.8 * 50 * 60
