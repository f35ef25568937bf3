"""What is made of a look that failed: the table of who is tried again, how often, how long and after what."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zuora_jobs.errors import (
    ConnectionFailed,
    Forbidden,
    MalformedResponse,
    NotFound,
    RateLimited,
    Reason,
    Rejected,
    ResponseTimeout,
    ServerError,
    Unauthorized,
    ZuoraJobsError,
)
from zuora_jobs.transport.retry import LONGEST_GAP, Patience
from zuora_jobs.watching.troubles import FEWEST_ALIKE, FEWEST_ATTEMPTS, Troubles

if TYPE_CHECKING:
    from collections.abc import Iterable

PATIENCE = Patience(again=3600.0, throttled=None, briefly=120.0)

AWAY = (
    ConnectionFailed("reset"),
    ResponseTimeout("no answer"),
    ServerError("unavailable", status=503),
    ServerError("locked", status=200, reasons=[Reason("50000050")]),
    MalformedResponse("html"),
)
BRIEFLY = (ServerError("internal", status=501), MalformedResponse("no status", problems=["no status"]))
FINAL = (
    NotFound("none", status=404, reasons=[Reason("50000040")]),
    Rejected("no", status=400, reasons=[Reason("53100020")]),
    Forbidden("no", status=403, reasons=[Reason("50000030")]),
    Unauthorized("no", status=401),
)
THROTTLED = RateLimited("slow down", status=429, retry_after=7.0)


def name(error: ZuoraJobsError) -> str:
    return f"{type(error).__name__} {error}"


def troubles(patience: Patience = PATIENCE, seed: int = 1) -> Troubles:
    return Troubles(patience, Random(seed))


def fail(error: ZuoraJobsError, moments: Iterable[float], patience: Patience = PATIENCE) -> list[float | None]:
    row = troubles(patience)
    return [row.add(error, patience, now) for now in moments]


def given_up_after(error: ZuoraJobsError, moments: Iterable[float], patience: Patience = PATIENCE) -> int | None:
    """How many looks it took."""
    delays = fail(error, moments, patience)
    return delays.index(None) + 1 if None in delays else None


# --- who is given up, and when


@pytest.mark.parametrize("error", FINAL, ids=name)
def test_what_would_be_the_same_again_is_believed_at_once(error: ZuoraJobsError) -> None:
    assert fail(error, [0.0]) == [None]


@pytest.mark.parametrize("error", FINAL, ids=name)
def test_and_after_an_outage_too(error: ZuoraJobsError) -> None:
    row = troubles()
    assert row.add(AWAY[0], PATIENCE, 0.0) is not None
    assert row.add(error, PATIENCE, 10.0) is None


@pytest.mark.parametrize("error", AWAY, ids=name)
def test_an_outage_is_ridden_out_for_an_hour(error: ZuoraJobsError) -> None:
    assert given_up_after(error, range(0, 3600, 20)) is None
    assert given_up_after(error, range(0, 3601, 20)) == 181


@pytest.mark.parametrize("error", AWAY, ids=name)
@pytest.mark.parametrize("apart", [200.0, 3600.0, 1e6])
def test_nobody_is_lost_for_looks_that_lay_far_apart(error: ZuoraJobsError, apart: float) -> None:
    given_up = given_up_after(error, [apart * look for look in range(40)])
    assert given_up == 1 + 3600 / LONGEST_GAP


@pytest.mark.parametrize("error", AWAY, ids=name)
def test_no_impatience_loses_a_job_for_two_failures(error: ZuoraJobsError) -> None:
    hasty = Patience(again=0.0, throttled=0.0, briefly=0.0)
    assert given_up_after(error, range(0, 1000, 100), hasty) == FEWEST_ATTEMPTS == 3


def test_throttling_is_ridden_out_for_ever() -> None:
    assert given_up_after(THROTTLED, range(0, 1_000_000, 600)) is None


def test_throttling_has_an_end_where_patience_says_so() -> None:
    patience = Patience(again=3600.0, throttled=600.0, briefly=120.0)
    assert given_up_after(THROTTLED, range(0, 601, 100), patience) == 7
    assert given_up_after(THROTTLED, [0.0, 700.0, 800.0], patience) == 3


@pytest.mark.parametrize("error", BRIEFLY, ids=name)
def test_what_may_be_an_answer_is_believed_when_it_lasts_and_was_given_often(error: ZuoraJobsError) -> None:
    assert FEWEST_ALIKE == 8
    assert given_up_after(error, [20.0 * look for look in range(20)]) == 8
    assert given_up_after(error, [1.0 * look for look in range(300)]) == 121
    assert given_up_after(error, [1000.0 * look for look in range(20)]) == 8


@pytest.mark.parametrize("error", BRIEFLY, ids=name)
def test_what_may_be_an_answer_counts_anew_when_another_came_between(error: ZuoraJobsError) -> None:
    row = troubles()
    for turn in range(60):
        other = AWAY[0] if turn % 7 == 6 else error
        assert row.add(other, PATIENCE, 30.0 * turn) is not None


def test_an_outage_in_which_answers_differ_is_one_outage() -> None:
    row, given_up = troubles(), None
    for turn in range(400):
        error = (AWAY + BRIEFLY)[turn % len(AWAY + BRIEFLY)]
        if row.add(error, PATIENCE, 20.0 * turn) is None:
            given_up = 20.0 * turn
            break
    assert given_up is not None
    assert 3600 <= given_up < 3700


# --- after what


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 999), errors=st.lists(st.sampled_from([*AWAY, *BRIEFLY]), min_size=1, max_size=10))
def test_delays_have_jitter_over_a_growing_range_and_never_are_nothing(seed: int, errors: list[ZuoraJobsError]) -> None:
    row, again = troubles(seed=seed), troubles(seed=seed)
    for turn, error in enumerate(errors):
        delay = row.add(error, PATIENCE, float(turn))
        assert delay is not None
        assert 0.1 <= delay <= min(20.0, 2.0**turn)
        assert delay == again.add(error, PATIENCE, float(turn))


def test_delays_differ_from_job_to_job() -> None:
    rng = Random(1)
    assert len({Troubles(PATIENCE, rng).add(AWAY[0], PATIENCE, 0.0) for _ in range(50)}) == 50


@pytest.mark.parametrize("asked", [0.0, 7.0, 120.0, 3000.0])
def test_what_the_server_asked_for_is_waited_at_least(asked: float) -> None:
    for error in (
        RateLimited("slow down", status=429, retry_after=asked),
        ServerError("maintenance", status=503, retry_after=asked),
    ):
        (delay,) = fail(error, [0.0])
        assert delay is not None
        assert max(asked, 0.1) <= delay <= max(asked, 1.0)


def test_the_last_failure_is_known() -> None:
    row = troubles()
    assert row.last is None
    for error in (AWAY[0], BRIEFLY[0], THROTTLED):
        row.add(error, PATIENCE, 0.0)
        assert row.last is error
