"""How soon to look again: pure functions of how often one has looked."""

from __future__ import annotations

import itertools
from math import inf, isfinite, nan
from random import Random
from typing import TYPE_CHECKING, Any

import backoff
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zuora_jobs.errors import ConfigurationError
from zuora_jobs.watching.cadence import MAX_INTERVAL, MIN_INTERVAL, Cadence, Pace
from zuora_jobs.watching.rank import Entry
from zuora_jobs.watching.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


def first(cadence: Cadence, count: int) -> list[float]:
    rng = Random(7)
    return [cadence.delay(looks, rng) for looks in range(1, count + 1)]


# --- constant


def test_a_constant_cadence_is_always_the_same() -> None:
    cadence = Cadence.constant(60)
    assert first(cadence, 5) == [60.0] * 5
    assert cadence.delay(10**6, Random(1)) == 60.0


@pytest.mark.parametrize("bad", [0, -1, 0.0009, nan, inf, -inf, "60", None, True])
def test_an_interval_that_is_none_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"the interval must be a number.*0\.001 or more"):
        Cadence.constant(bad)


# --- exponential


def test_an_exponential_cadence_grows_to_its_maximum() -> None:
    assert first(Cadence.exponential(1, factor=2, maximum=10), 7) == [1, 2, 4, 8, 10, 10, 10]


def test_the_default_notices_within_fifteen_seconds() -> None:
    delays = first(Cadence.exponential(), 100)
    assert delays[:3] == [1.0, 1.1, pytest.approx(1.21)]
    assert max(delays) == 15.0
    late = [delay / waited for waited, delay in zip(itertools.accumulate(delays), delays[1:], strict=False)]
    assert max(late[9:]) <= 0.2


@settings(max_examples=200, deadline=None)
@given(
    initial=st.floats(0.001, 1e6),
    factor=st.floats(1, 1e6) | st.sampled_from([1, 2]),
    stretch=st.floats(1, 1e9),
    looks=st.lists(st.integers(1, 10**6), min_size=2, max_size=6),
)
def test_an_exponential_cadence_is_monotone_and_never_above_its_maximum(
    initial: float, factor: float, stretch: float, looks: list[int]
) -> None:
    cadence = Cadence.exponential(initial, factor=factor, maximum=initial * stretch)
    delays = [cadence.delay(count, Random(1)) for count in sorted(looks)]
    assert delays == sorted(delays)
    assert all(initial <= delay <= initial * stretch for delay in delays)


@pytest.mark.parametrize("factor", [1.0, 1.0000001, 1.3, 2, 10, 1e308])
def test_a_million_looks_overflow_nothing(factor: float) -> None:
    for looks in (10**6, 10**9 if isinstance(factor, float) else 10**6):
        delay = Cadence.exponential(0.5, factor=factor, maximum=15).delay(looks, Random(1))
        assert 0.5 <= delay <= 15


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"initial": 0}, "initial must be"),
        ({"initial": -1}, "initial must be"),
        ({"initial": nan}, "initial must be"),
        ({"initial": "1"}, "initial must be"),
        ({"maximum": inf}, "maximum must be"),
        ({"maximum": nan}, "maximum must be"),
        ({"initial": 20, "maximum": 10}, "maximum must be a number.* 20 or more, not 10"),
        ({"factor": 0.5}, "factor must be .*1 or more"),
        ({"factor": nan}, "factor must be .*1 or more"),
        ({"factor": inf}, "factor must be .*1 or more"),
        ({"factor": "2"}, "factor must be .*1 or more"),
    ],
)
def test_an_exponential_cadence_that_cannot_be_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Cadence.exponential(**given)


# --- adaptive


def test_an_adaptive_cadence_leaves_the_moment_to_the_schedule_within_bounds() -> None:
    assert Cadence.adaptive().pace == Pace() == Pace(MIN_INTERVAL, MAX_INTERVAL, None)
    assert Cadence.adaptive(min_interval=2, max_interval=60, lateness=5).pace == Pace(2.0, 60.0, 5.0)
    assert Cadence.adaptive(min_interval=7, max_interval=7).pace == Pace(7.0, 7.0)


def test_other_cadences_have_no_pace() -> None:
    for cadence in (Cadence.constant(5), Cadence.exponential(), Cadence.from_wait_gen(backoff.expo)):
        assert cadence.pace is None


def test_an_adaptive_cadence_asked_for_a_delay_gives_its_shortest_interval() -> None:
    assert first(Cadence.adaptive(min_interval=3), 4) == [3.0] * 4


def test_bounds_are_floats_whatever_was_given() -> None:
    pace = Cadence.adaptive(min_interval=1, max_interval=2, lateness=3).pace
    assert pace is not None
    assert [type(value) for value in (pace.min_interval, pace.max_interval, pace.lateness)] == [float] * 3


@settings(max_examples=100, deadline=None, derandomize=True)
@given(least=st.floats(0.001, 1e7), stretch=st.floats(1, 3), lateness=st.none() | st.floats(0.001, 1e7))
def test_whatever_adaptive_accepts_the_schedule_can_use(least: float, stretch: float, lateness: float | None) -> None:
    pace = Cadence.adaptive(min_interval=least, max_interval=least * stretch, lateness=lateness).pace
    assert pace is not None
    schedule, entry, now = Schedule[Entry](), Entry(), 0.0
    schedule.add(entry, "kind", now)
    for status in ("Pending", "Processing", "Processing", "Pending"):
        schedule.wait(entry, "kind", pace)
        due = schedule.next_due()
        assert due is not None
        assert entry.cell is None or least * (1 - 1e-9) <= due - now <= least * stretch * (1 + 1e-9)
        now = due
        assert schedule.pop(now, 1.0) is entry
        schedule.saw(entry, "kind", status, begun=status != "Pending", ended=False, now=now)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"min_interval": 0}, "min_interval must be"),
        ({"min_interval": 0.0009}, "min_interval must be"),
        ({"min_interval": -1}, "min_interval must be"),
        ({"min_interval": nan}, "min_interval must be"),
        ({"min_interval": "1"}, "min_interval must be"),
        ({"min_interval": True}, "min_interval must be"),
        ({"min_interval": None}, "min_interval must be"),
        ({"min_interval": inf}, "min_interval must be"),
        ({"max_interval": inf}, "max_interval must be"),
        ({"max_interval": nan}, "max_interval must be"),
        ({"max_interval": None}, "max_interval must be"),
        ({"max_interval": 0.1}, "max_interval must be .*, not 0.1"),
        ({"min_interval": 20, "max_interval": 10}, "max_interval must be a number.* 20 or more, not 10"),
        ({"min_interval": 5000}, "max_interval must be a number.* 5000 or more, not 3600"),
        ({"max_interval": 1e8}, "a year"),
        ({"lateness": 0}, "lateness must be"),
        ({"lateness": -5}, "lateness must be"),
        ({"lateness": nan}, "lateness must be"),
        ({"lateness": inf}, "lateness must be"),
        ({"lateness": "5"}, "lateness must be"),
        ({"lateness": 1e-9}, "lateness must be"),
        ({"lateness": 1e200}, "a year"),
    ],
    ids=str,
)
def test_an_adaptive_cadence_that_cannot_be_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Cadence.adaptive(**given)


# --- from backoff's wait generators


def test_backoffs_expo_is_a_cadence_without_its_first_none() -> None:
    cadence = Cadence.from_wait_gen(backoff.expo, base=2, max_value=60)
    assert first(cadence, 9) == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_backoffs_fibo_is_a_cadence() -> None:
    assert first(Cadence.from_wait_gen(backoff.fibo, max_value=8), 8) == [1, 1, 2, 3, 5, 8, 8, 8]


@pytest.mark.parametrize(("interval", "delays"), [(5, [5, 5, 5, 5]), ([1, 2, 3], [1, 2, 3, 3])])
def test_backoffs_constant_is_a_cadence_and_its_last_value_goes_on(interval: Any, delays: list[float]) -> None:
    assert first(Cadence.from_wait_gen(backoff.constant, interval=interval), 4) == delays


def test_a_cadence_from_a_generator_has_no_jitter_unless_asked() -> None:
    assert first(Cadence.from_wait_gen(backoff.constant, interval=10), 50) == [10.0] * 50
    assert len(set(first(Cadence.from_wait_gen(backoff.constant, interval=10, jitter=0.5), 50))) == 50


def test_one_generator_serves_any_number_of_jobs_in_any_order() -> None:
    drawn = 0

    def counting() -> Generator[float, None, None]:
        nonlocal drawn
        while True:
            drawn += 1
            yield float(drawn)

    cadence = Cadence.from_wait_gen(counting)
    assert [cadence.delay(looks, Random(1)) for looks in (3, 1, 5, 2, 5, 4)] == [3, 1, 5, 2, 5, 4]
    assert drawn == 5


def test_a_generator_that_ends_goes_on_with_its_last_value() -> None:
    def short() -> Iterator[float]:
        return iter([3.0, 1.0, 2.0])

    cadence = Cadence.from_wait_gen(short)  # type: ignore[arg-type]
    assert first(cadence, 5) == [3, 1, 2, 2, 2]
    assert cadence.delay(10**6, Random(1)) == 2


def test_nones_anywhere_are_passed_over() -> None:
    def hesitant() -> Generator[float | None, None, None]:
        yield None
        yield None
        yield 1
        yield None
        yield 2

    assert first(Cadence.from_wait_gen(hesitant), 3) == [1, 2, 2]


@pytest.mark.unmeasured
def test_a_million_looks_at_a_generator_overflow_nothing() -> None:
    assert Cadence.from_wait_gen(backoff.expo, base=2, max_value=60).delay(10**6, Random(1)) == 60


@pytest.mark.parametrize("wait_gen", [backoff.expo, backoff.fibo], ids=["expo", "fibo"])
def test_a_generator_without_an_upper_limit_overflows_nothing(wait_gen: Any) -> None:
    cadence = Cadence.from_wait_gen(wait_gen)
    try:
        delay = cadence.delay(2000, Random(1))
    except ConfigurationError:
        return
    assert isfinite(delay)


def empty() -> Iterator[float]:
    return iter(())


def only_none() -> Iterator[None]:
    return iter((None,))


@pytest.mark.parametrize("wait_gen", [empty, only_none])
def test_a_generator_without_a_delay_is_refused(wait_gen: Any) -> None:
    with pytest.raises(ConfigurationError, match="gives no delay at all"):
        Cadence.from_wait_gen(wait_gen)


@pytest.mark.parametrize("garbage", ["1", -1, nan, inf, -inf, True, [1], b"1", 1j], ids=repr)
def test_a_generator_that_gives_garbage_is_refused(garbage: Any) -> None:
    with pytest.raises(ConfigurationError, match="wait generator"):
        Cadence.from_wait_gen(lambda: iter([garbage]))  # type: ignore[arg-type, return-value]


def test_garbage_that_comes_later_is_our_error_too() -> None:
    cadence = Cadence.from_wait_gen(lambda: iter([1.0, "soon"]))  # type: ignore[arg-type, return-value]
    assert cadence.delay(1, Random(1)) == 1
    with pytest.raises(ConfigurationError, match="soon"):
        cadence.delay(2, Random(1))


def failing() -> Generator[float, None, None]:
    yield from ()
    message = "no weather today"
    raise RuntimeError(message)


@pytest.mark.parametrize(
    ("wait_gen", "parameters", "sentence"),
    [
        (backoff.expo, {"bass": 2}, "expo cannot be a cadence with {'bass': 2}"),
        (backoff.runtime, {}, "runtime cannot be a cadence"),
        (backoff.runtime, {"value": lambda response: response.headers["Retry-After"]}, "runtime cannot be a cadence"),
        (failing, {}, "failing cannot be a cadence with {}: no weather today"),
        (None, {}, "cannot be a cadence"),
        (lambda: 5, {}, "cannot be a cadence"),
    ],
    ids=["parameter", "runtime", "runtime-value", "failing", "none", "no-iterator"],
)
def test_what_is_no_wait_generator_is_refused_with_a_sentence(
    wait_gen: Any, parameters: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence.replace("{", r"\{")):
        Cadence.from_wait_gen(wait_gen, **parameters)


def test_backoffs_runtime_is_refused_even_where_its_value_needs_no_answer() -> None:
    with pytest.raises(ConfigurationError, match="runtime"):
        Cadence.from_wait_gen(backoff.runtime, value=lambda _: 5)


# --- jitter


@pytest.mark.parametrize("jitter", [0.01, 0.1, 0.5, 0.99])
def test_jitter_stretches_and_shortens_by_at_most_its_share(jitter: float) -> None:
    delays = first(Cadence.constant(10, jitter=jitter), 2000)
    assert min(delays) >= 10 * (1 - jitter)
    assert max(delays) <= 10 * (1 + jitter)
    assert min(delays) < 10 * (1 - 0.9 * jitter)
    assert max(delays) > 10 * (1 + 0.9 * jitter)
    assert sum(delays) / len(delays) == pytest.approx(10, rel=0.05)


def test_jitter_comes_from_the_randomness_given() -> None:
    cadence = Cadence.exponential(jitter=0.3)
    assert first(cadence, 20) == first(cadence, 20)
    assert cadence.delay(5, Random(1)) != cadence.delay(5, Random(2))


def test_without_jitter_no_randomness_is_used_up() -> None:
    rng = Random(1)
    before = rng.getstate()
    Cadence.exponential().delay(3, rng)
    assert rng.getstate() == before


@pytest.mark.parametrize("bad", [-0.1, 1, 1.5, nan, inf])
def test_a_jitter_that_is_no_share_is_refused(bad: float) -> None:
    for build in (
        lambda: Cadence.constant(1, jitter=bad),
        lambda: Cadence.exponential(jitter=bad),
        lambda: Cadence.from_wait_gen(backoff.constant, jitter=bad),
    ):
        with pytest.raises(ConfigurationError, match="jitter is a share from 0 up to 1"):
            build()


@pytest.mark.parametrize("bad", ["0.5", None])
def test_a_jitter_that_is_no_number_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigurationError, match="jitter"):
        Cadence.constant(1, jitter=bad)


@pytest.mark.parametrize(
    ("cadence", "text"),
    [
        (Cadence.constant(60), "every 60 s"),
        (Cadence.exponential(1, factor=2, maximum=10), "1 s, x2 up to 10 s"),
        (Cadence.from_wait_gen(backoff.constant, interval=3), "constant({'interval': 3})"),
        (Cadence.adaptive(min_interval=1, max_interval=60), "adaptive, from 1 s to 60 s"),
        (Cadence.adaptive(min_interval=1, max_interval=60, lateness=5), "adaptive, from 1 s to 60 s, about 5 s late"),
    ],
    ids=["constant", "exponential", "wait_gen", "adaptive", "adaptive-late"],
)
def test_a_cadence_tells_what_it_is(cadence: Cadence, text: str) -> None:
    assert cadence.description == text
    assert text in repr(cadence)
