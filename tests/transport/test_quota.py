"""What is left of a tenant's windows, and how fast it may be spent: read from headers, and tried on a simulated Zuora."""

import heapq
from math import ceil, inf, isnan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zuora_jobs import Budget
from zuora_jobs.errors import ConfigurationError
from zuora_jobs.transport.gate import Gate
from zuora_jobs.transport.quota import AT_ONCE, SPRINT, Quota, Window

DAY = 86_400.0
PRODUCTION = "50000;w=60, 2250000;w=3600, 27000000;w=86400"
SANDBOX = (Window(2_500, 60), Window(5_000, 3600), Window(10_000, DAY))
TOLD_SANDBOX = "2500;w=60, 5000;w=3600, 10000;w=86400"
SANDBOX_URL = "https://rest.apisandbox.zuora.com"


def figures(limit: str | None, remaining: object = None, reset: object = None) -> dict[str, str]:
    """The headers of an answer."""
    headers = {"ratelimit-limit": limit, "ratelimit-remaining": remaining, "ratelimit-reset": reset}
    return {name: str(value) for name, value in headers.items() if value is not None}


def told(limit: str | None, remaining: object = None, reset: object = None, in_flight: int = 0) -> Quota:
    """A quota that has heard this in the moment 0, and nothing else."""
    quota = Quota()
    quota.note(figures(limit, remaining, reset), 0.0, in_flight)
    return quota


def opens_again(quota: Quota, now: float = 0.0, steps: int = 2_000) -> float:
    """The first moment at which there is a rate again, for one who looks whenever a window ends."""
    for _ in range(steps):
        if quota.rate(now) > 0:
            return now
        assert quota.changes_at(now) > now
        now = quota.changes_at(now)
    raise AssertionError(f"not open after looking {steps} times, at {now}")


# --- what the headers say


@pytest.mark.parametrize(
    ("limit", "reset"),
    [
        (f"50000, {PRODUCTION}", 30),
        (f"2250000, {PRODUCTION}", 1800),
        (f"27000000, {PRODUCTION}", 40_000),
        ("50000,50000;w=60,2250000;w=3600", 30),
        ("  50000 ,  50000 ; w=60 , 2250000 ; w=3600 ", 30),
        ("2250000, 27000000;w=86400, 2250000;w=3600, 50000;w=60", 1800),
        ('2250000, 50000;policy="a";w=60, 2250000;w=3600;comment="b"', 1800),
        ("100, 100;w=60, 100;w=3600", 30),  # two windows of one limit: the reset tells which
        ("100, 100;w=60, 100;w=3600", 1800),
        ("50000;w=60", 30),
        ("50000.0, 50000;w=60.0", 30),
        ("50000", 30),  # no window is named: one as long as the reset
        (f"50000, {PRODUCTION}, 7;w=soon, soon;w=7, ;;;, 8;w", 30),
    ],
)
def test_the_first_number_names_the_window_that_the_figures_are_about(limit: str, reset: float) -> None:
    quota = told(limit, 0, reset)
    assert quota.rate(0.0) == 0
    assert quota.rate(reset - 0.001) == 0
    assert quota.rate(reset) > 0


def test_where_no_window_is_named_it_is_as_long_as_the_longest_reset_that_was_told() -> None:
    quota = told("100", 50, 5)
    quota.note(figures("100", 0, 60), 5.0)
    assert quota.rate(6.0) == 0
    assert opens_again(quota, 6.0) == 65
    assert quota.ceiling == pytest.approx(0.95 * 100 / 60)


@pytest.mark.parametrize(
    ("limit", "ceiling"),
    [
        (f"50000, {PRODUCTION}", 0.95 * 50_000 / 60),
        (f"5000, {TOLD_SANDBOX}", 0.95 * 2_500 / 60),
        ("30, 30;w=60, 2;w=1", 0.95 * 30 / 60),
        ("5000, 5000;w=3600", inf),  # what is left over of an hour is a reserve for later, and no ceiling
    ],
)
def test_the_shortest_windows_set_a_ceiling_a_little_below_their_even_pace(limit: str, ceiling: float) -> None:
    quota = told(limit)
    assert quota.ceiling == pytest.approx(ceiling)
    assert quota.rate(0.0) <= ceiling


@pytest.mark.parametrize(
    ("remaining", "reset", "even"),
    [(500_000, 1801, 500_000 / 1800), (225_000, 3601, 62.5), (200_000, 361, 200_000 / 360)],
)
def test_what_is_left_of_a_window_goes_at_four_times_the_even_pace(remaining: int, reset: int, even: float) -> None:
    rate = told("2250000, 2250000;w=3600", remaining, reset).rate(0.0)
    assert 0.85 * SPRINT * even <= rate <= SPRINT * even


def test_what_is_above_the_line_of_a_window_that_falls_evenly_goes_within_a_minute() -> None:
    rate = told("6000, 6000;w=3600", 5_700, 1801).rate(0.0)
    above = (5_700 - (1 - AT_ONCE) * 6_000 / 2) / 60
    assert above <= rate <= above + SPRINT * 5_700 / 1800


def test_what_is_left_in_the_last_second_before_a_reset_that_was_rounded_up_may_go_at_once() -> None:
    assert told("100, 100;w=3600", 50, 31).rate(29.9) < inf
    assert told("100, 100;w=3600", 50, 31).rate(30.0) == inf
    assert told("100, 100;w=3600", 0, 31).rate(30.0) == 0


def test_of_two_windows_with_one_limit_the_shorter_is_meant_where_both_might_be() -> None:
    told_of_the_minute = told("100, 100;w=60, 100;w=3600", 50, 30)
    assert told_of_the_minute.rate(0.0) == told("100, 100;w=3600", 100, 3600).rate(0.0)


def test_a_tenth_of_a_fresh_window_may_go_within_a_minute_and_then_it_goes_slower() -> None:
    quota = told("10000, 10000;w=86400", 10_000, 86_400)
    sprint = SPRINT * 10_000 / DAY
    assert AT_ONCE * 10_000 / 60 <= quota.rate(0.0) <= AT_ONCE * 10_000 / 60 + sprint + 0.01
    for _ in range(1000):
        quota.spend(0.0)
    assert 0.9 * sprint * 0.9 <= quota.rate(0.0) <= sprint


def test_requests_under_way_that_the_server_may_not_have_counted_are_taken_off() -> None:
    assert told("100, 100;w=3600", 5, 1800, in_flight=5).rate(0.0) == 0
    assert told("100, 100;w=3600", 50, 1800, in_flight=25).rate(0.0) < told("100, 100;w=3600", 50, 1800).rate(0.0)


def test_what_the_server_says_goes_before_what_was_counted() -> None:
    quota = told("100, 100;w=3600", 50, 1800)
    for _ in range(60):
        quota.spend(0.0)
    assert quota.rate(0.0) == 0
    quota.note(figures("100, 100;w=3600", 50, 1800), 0.0)
    assert quota.rate(0.0) == told("100, 100;w=3600", 50, 1800).rate(0.0)


def test_a_window_that_the_server_does_not_speak_of_is_counted_here() -> None:
    quota = told("100, 100;w=60, 200;w=3600", 100, 60)
    for second in range(250):
        quota.spend(float(second))
        quota.note(figures("100, 100;w=60, 200;w=3600", 90, 30), float(second))
    assert quota.rate(250.0) == 0
    assert opens_again(quota, 250.0) == 3600


def test_what_is_known_of_a_window_stays_when_others_are_named_beside_it() -> None:
    quota = Quota([Window(10_000, DAY)])
    for _ in range(10_000):
        quota.spend(0.0)
    quota.note(figures(f"2500, {TOLD_SANDBOX}", 2_400, 50), 1.0)
    assert quota.rate(1.0) == 0
    assert opens_again(quota, 1.0) == DAY


def test_a_tenant_that_changes_its_limits_is_believed() -> None:
    quota = told("10, 10;w=3600", 0, 3600)
    quota.note(figures("1000, 1000;w=3600", 990, 3590), 10.0)
    assert quota.rate(10.0) > 1


def test_a_window_is_whole_again_when_it_has_ended() -> None:
    quota = told("100, 100;w=3600", 0, 1800)
    assert opens_again(quota) == 1800
    quota.spend(1800.0)
    assert quota.rate(1800.0) > SPRINT * 90 / 3600
    assert quota.changes_at(1800.0) == 1800 + 3600


@pytest.mark.parametrize(
    ("limit", "remaining", "reset"),
    [
        (None, None, None),
        (None, "5", "10"),
        ("", "5", "10"),
        ("string", "string", "string"),
        ("nan, nan;w=60", "0", "10"),
        ("inf, inf;w=inf", "0", "10"),
        ("-5, -5;w=60", "0", "10"),
        ("0, 0;w=60", "0", "10"),
        ("0.5, 0.5;w=60", "0", "10"),
        ("50000", "0", None),
        ("50000", None, "10"),
        ("50000", "0", "0"),
        ("50000", "0", "-7"),
        ("50000", "0", "nan"),
        (",,,;;;===", "0", "10"),
    ],
)
def test_what_makes_no_sense_is_as_good_as_nothing(limit: str | None, remaining: str | None, reset: str | None) -> None:
    quota = told(limit, remaining, reset)
    assert (quota.rate(0.0), quota.ceiling, quota.changes_at(0.0)) == (inf, inf, inf)


@pytest.mark.parametrize(
    ("limit", "remaining", "reset"),
    [
        ("77, 100;w=3600", "0", "1800"),  # a limit that is none of the windows'
        ("100, 100;w=3600", "0", "7200"),  # a reset beyond its window
        ("100, 100;w=3600", "0", "31536000"),
        ("100, 100;w=3600", "0", "1768000000"),  # a moment instead of seconds
        ("100, 100;w=3600", "nan", "1800"),
        ("100, 100;w=3600", "0", "inf"),
        ("100, 100;w=3600", "0", None),
        ("100, 100;w=3600", None, "1800"),
        ("100, 100;w=3600", "100000", "3600"),  # more than there is
        ("100, 100;w=3600", "1e400", "3600"),
    ],
)
def test_figures_that_fit_no_window_leave_the_windows_as_they_were(
    limit: str, remaining: str | None, reset: str | None
) -> None:
    quota = told(limit, remaining, reset)
    assert quota.rate(0.0) == told("100, 100;w=3600").rate(0.0)
    assert quota.changes_at(0.0) == 3600


# --- what a hostile server may say


@pytest.mark.parametrize(
    "limit",
    [
        "10",
        "10, 10;w=31536000",
        "10, 10;w=1e300",
        "10, 10;w=86400, 10;w=31536000",
        "10, 10;w=1e308, 11;w=1",
    ],
)
@pytest.mark.parametrize("reset", ["31536000", "1e300", "604800"])
def test_no_window_is_longer_than_a_day(limit: str, reset: str) -> None:
    assert opens_again(told(limit, 0, reset)) <= DAY


@pytest.mark.parametrize("tiny", ["0.00001", "1e-9", "1e-320", "0.001"])
def test_windows_too_short_to_be_true_do_not_keep_us_busy_while_a_long_one_is_used_up(tiny: str) -> None:
    quota = told(f"7, 1;w={tiny}, 7;w=86400", 0, 86_400)
    assert quota.rate(0.0) == 0
    assert opens_again(quota, steps=2_000) == DAY


def test_thousands_of_windows_cost_no_memory_and_no_time() -> None:
    quota = told(", ".join(f"{number + 2};w={number + 1}" for number in range(100_000)), 1, 1)
    assert len(quota._accounts) <= 9
    for number in range(1000):  # each answer names others
        quota.note(figures(", ".join(f"{number + k + 2};w={number + k + 1}" for k in range(20)), 5, 5), float(number))
    assert len(quota._accounts) <= 9


NUMBERS = st.one_of(
    st.sampled_from(
        ["0", "1", "-1", "60", "3600", "86400", "50000", "nan", "inf", "-inf", "1e308", "1e400", "1e-320", "1_000",
         "0x10", "", "string", "9" * 400, "0.0000001", "31536000", "\N{ARABIC-INDIC DIGIT FIVE}"]
    ),
    st.floats().map(repr),
    st.integers().map(str),
    st.text(max_size=6),
)  # fmt: skip
LISTS = st.one_of(
    st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12).map(lambda items: ", ".join(f"{a};w={b}" for a, b in items)),
    st.tuples(NUMBERS, st.lists(st.tuples(NUMBERS, NUMBERS), max_size=4)).map(
        lambda parts: ", ".join([parts[0], *(f"{a};w={b}" for a, b in parts[1])])
    ),
    st.sampled_from([f"50000, {PRODUCTION}", f"5000, {TOLD_SANDBOX}"]),
    st.text(alphabet="0123456789,;=w .e-_", max_size=40),
)
HEADERS = st.builds(figures, st.none() | LISTS, st.none() | NUMBERS, st.none() | NUMBERS)


@pytest.mark.unmeasured
@given(
    windows=st.lists(st.builds(Window, st.integers(1, 10**9), st.floats(1, DAY)), max_size=4),
    moves=st.lists(
        st.tuples(st.sampled_from(["note", "note", "spend", "pass"]), HEADERS, st.floats(0, 1e5), st.integers(0, 50)),
        max_size=25,
    ),
)
@settings(max_examples=150, deadline=None)
def test_no_headers_at_any_moment_raise_or_lead_to_a_rate_that_is_none(
    windows: list[Window], moves: list[tuple[str, dict[str, str], float, int]]
) -> None:
    quota, now = Quota(windows), 1000.0
    for move, headers, number, in_flight in moves:
        if move == "note":
            quota.note(headers, now, in_flight)
        elif move == "spend":
            quota.spend(now)
        else:
            now += number
        rate = quota.rate(now)
        assert rate >= 0
        assert not isnan(rate)
        assert rate <= quota.ceiling
        assert quota.ceiling > 0
        assert quota.changes_at(now) > now
        assert len(quota._accounts) <= 9


PLAUSIBLE = st.lists(
    st.builds(Window, st.integers(1, 10_000), st.sampled_from([30.0, 60.0, 3600.0, DAY])),
    min_size=1, max_size=4, unique_by=lambda window: window.seconds,
)  # fmt: skip


@pytest.mark.unmeasured
@given(windows=PLAUSIBLE, data=st.data())
@settings(deadline=None)
def test_whatever_was_spent_and_told_there_is_a_rate_again_once_the_longest_window_has_ended(
    windows: list[Window], data: st.DataObject
) -> None:
    quota, now = Quota(windows), 0.0
    named = ", ".join(f"{window.limit};w={window.seconds:g}" for window in windows)
    for _ in range(data.draw(st.integers(0, 12))):
        now += data.draw(st.floats(0, 100))
        window = data.draw(st.sampled_from(windows))
        if data.draw(st.booleans()):
            reset = data.draw(st.floats(0, window.seconds))
            quota.note(figures(f"{window.limit}, {named}", data.draw(st.integers(0, 2)), reset), now)
        for _ in range(data.draw(st.integers(0, 5))):
            quota.spend(now)
    longest = max(window.seconds for window in windows)
    assert opens_again(quota, now, steps=100_000) <= now + longest + 1


# --- against a Zuora that counts in fixed windows


class Server:
    """Counts as Zuora does: windows begin with the first request after the last, and refused requests count too."""

    def __init__(self, *windows: Window) -> None:
        self.windows = windows
        self.named = ", ".join(f"{window.limit};w={window.seconds:g}" for window in windows)
        self.counts = [0] * len(windows)
        self.ends = [-inf] * len(windows)
        self.refused = 0

    def left(self) -> list[int]:
        return [window.limit - count for window, count in zip(self.windows, self.counts, strict=True)]

    def take(self, now: float) -> dict[str, str]:
        for number, window in enumerate(self.windows):
            if now >= self.ends[number]:
                self.counts[number], self.ends[number] = 0, now + window.seconds
            self.counts[number] += 1
        self.refused += min(self.left()) < 0
        used = [count / window.limit for window, count in zip(self.windows, self.counts, strict=True)]
        tightest = used.index(max(used))
        reset = ceil(round(self.ends[tightest] - now, 6))
        return figures(f"{self.windows[tightest].limit}, {self.named}", max(0, self.left()[tightest]), reset)


def run(
    server: Server, clients: int, until: float, known: tuple[Window, ...] = (), arrive: float = 0.137
) -> list[tuple[float, int, int]]:
    """Let *clients*, one after another, send exactly as fast as their quota says; give (when, who, left) of each request.

    What is left is that of the server's longest window.
    """
    quotas = [Quota(known) for _ in range(clients)]
    last = [-inf] * clients
    turns = [(arrive * number, number) for number in range(clients)]
    log = []
    while turns[0][0] <= until:
        now, number = turns[0]
        quota = quotas[number]
        rate = quota.rate(now)
        opens = last[number] + 1 / rate if rate else inf
        if opens > now + 1e-9:
            heapq.heapreplace(turns, (min(opens, quota.changes_at(now)), number))
            continue
        quota.spend(now)
        quota.note(server.take(now), now)
        last[number] = now
        log.append((now, number, server.left()[-1]))
        heapq.heapreplace(turns, (now + 1e-6, number))
    return log


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("windows", "until", "share"),
    [
        ([Window(2_500, 60)], 299, 0.94),
        ([Window(60, 60)], 3600, 0.94),
        ([Window(10, 60)], 3600, 0.9),
        ([Window(3, 60)], 3600, 0.6),
        ([Window(5_000, 3600)], 7199, 0.95),
        ([Window(2_500, 60), Window(5_000, 3600)], 7199, 0.95),
        ([Window(100, 3600)], 7199, 0.9),
        ([Window(10_000, DAY)], DAY - 1, 0.95),
    ],
)
def test_one_client_alone_is_never_refused_and_uses_most_of_it(
    windows: list[Window], until: float, share: float
) -> None:
    server = Server(*windows)
    log = run(server, 1, until)
    assert server.refused == 0
    assert len(log) >= share * min(window.limit * ceil(until / window.seconds) for window in windows)


@pytest.mark.unmeasured
@pytest.mark.parametrize("clients", [2, 5, 10])
@pytest.mark.parametrize(
    ("windows", "until", "known"),
    [
        ((Window(2_500, 60),), 179, ()),
        ((Window(2_500, 60), Window(5_000, 3600)), 3599, ()),
        ((Window(2_500, 60), Window(5_000, 3600)), 3599, SANDBOX),
    ],
)
def test_clients_that_read_the_same_figures_are_never_refused_and_get_equal_shares(
    windows: tuple[Window, ...], until: float, known: tuple[Window, ...], clients: int
) -> None:
    server = Server(*windows)
    log = run(server, clients, until, known)
    counts = [sum(who == number for _, who, _ in log) for number in range(clients)]
    assert server.refused == 0
    assert max(counts) <= 1.2 * min(counts)
    assert len(log) >= 0.9 * windows[-1].limit * ceil(until / windows[-1].seconds)


@pytest.mark.parametrize("known", [(), SANDBOX])
def test_the_day_of_an_api_sandbox_lasts_all_day_however_much_there_is_to_ask(known: tuple[Window, ...]) -> None:
    server = Server(*SANDBOX)
    log = run(server, 1, DAY - 1, known)
    assert server.refused == 0
    assert log[499][0] < 75, "a short run need not wait"
    by_hour = [min(left for when, _, left in log if when < hour * 3600) for hour in range(1, 25)]
    assert by_hour[0] > 7_000
    assert by_hour[5] > 2_500, "a quarter of the day: what a run lasts at most"
    assert by_hour[-1] > 0, by_hour


def test_one_who_comes_late_to_a_window_that_others_have_nearly_used_up_goes_slowly_from_the_second_request_on() -> (
    None
):
    server = Server(*SANDBOX)
    for _ in range(9_000):
        server.counts[2] += 1
    server.ends[2] = 40_000.0
    log = run(server, 1, 3600.0, SANDBOX)
    assert server.refused == 0
    assert log[9][0] > 60, "not as one who has the whole day's quota"
    assert 250 <= len(log) <= SPRINT * 1_000 * 3600 / 40_000
    assert server.left()[2] > 600


# --- what is known beforehand


@pytest.mark.parametrize(
    "url", [SANDBOX_URL, "https://rest.sandbox.na.zuora.com", "https://REST.sandbox.eu.zuora.com/"]
)
def test_a_sandbox_is_known_to_have_little_before_it_says_so(url: str) -> None:
    budget = Budget.for_tenant(url)
    assert budget.quota == SANDBOX
    gate = Gate(budget)
    assert gate.quota.ceiling == pytest.approx(0.95 * 2_500 / 60)
    now = 5.0
    for _ in range(1_000):
        gate.quota.spend(now)
    assert gate.rate(now) < 1.01 * SPRINT * 9_000 / DAY
    for _ in range(9_000):
        gate.quota.spend(now)
    assert gate.rate(now) == 0
    assert opens_again(gate.quota, now) == now + DAY


@pytest.mark.parametrize("url", ["https://rest.zuora.com", "https://rest.test.zuora.com", "http://127.0.0.1:8080"])
def test_of_other_tenants_nothing_is_known_beforehand(url: str) -> None:
    budget = Budget.for_tenant(url)
    assert budget.quota == ()
    assert Gate(budget).quota.rate(0.0) == inf


def test_windows_known_beforehand_begin_with_the_first_request_however_late_that_is() -> None:
    quota = Quota([Window(10, 60)])
    quota.spend(1_000.0)
    assert quota.changes_at(1_000.0) == 1_060


def test_a_budgets_quota_may_be_given_as_pairs() -> None:
    assert Budget(quota=[(10_000, 86_400), Window(5, 1)]).quota == (Window(10_000, DAY), Window(5, 1))


@pytest.mark.parametrize(
    "quota",
    [5, [5], [(0, 60)], [(5, 0)], [(5, -1)], [(5, float("nan"))], [(5, inf)], [(1.5, 60)], ["10;w=60"], [(1, 2, 3)], None],
    ids=repr,
)  # fmt: skip
def test_a_quota_that_is_none_is_refused_with_a_sentence(quota: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"quota|limit|seconds"):
        Budget(quota=quota)
