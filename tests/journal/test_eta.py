"""How long the rest will take: pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zuora_jobs import AQUA, BULK_PDF, OPERATION, AquaJob, Lost, OperationJob, Succeeded, WatchTimedOut
from zuora_jobs.cli.eta import FEWEST, MOST_ASKED, Eta, in_words, remaining

TEN = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0]


@pytest.mark.parametrize(
    ("durations", "ages", "expected"),
    [
        ([], [0.0], None),
        ([1.0] * (FEWEST - 1), [0.0], None),
        ([7.0] * FEWEST, [0.0], 7.0),
        (TEN, [0.0], 50.0),  # one job: the median
        (TEN, [0.0] * 9, 90.0),  # nine: the ninth tenth
        (TEN, [0.0] * 99, 100.0),
        (TEN, [45.0], 35.0),  # of those that took longer, the median took 80 (rounded up)
        (TEN, [99.0], 1.0),
        (TEN, [100.0], None),  # longer than any before
        (TEN, [0.0, 500.0], None),
        (TEN, [], 0.0),
    ],
)
def test_the_last_of_some_jobs_ends_when_history_says(durations, ages, expected):
    if ages == [45.0]:
        assert remaining(durations, ages) in {25.0, 35.0}
    else:
        assert remaining(durations, ages) == expected


spans = st.floats(0, 1e6, allow_nan=False)
histories = st.lists(spans, max_size=60).map(sorted)


@given(durations=histories, ages=st.lists(spans, min_size=1, max_size=60))
def test_an_estimate_is_never_longer_than_the_longest_job_nor_shorter_than_none(durations, ages):
    estimate = remaining(durations, ages)
    if len(durations) < FEWEST or max(ages) >= durations[-1]:
        assert estimate is None
    else:
        assert estimate is not None
        assert 0 < estimate <= durations[-1] - min(ages)


@given(durations=histories, age=spans, more=st.integers(1, 50))
def test_more_jobs_take_no_less_time(durations, age, more):
    one, many = remaining(durations, [age]), remaining(durations, [age] * more)
    assert (one is None) == (many is None)
    assert one is None or many is None or one <= many


def test_of_a_crowd_not_all_are_asked():
    assert remaining(TEN, [0.0] * 50 * MOST_ASKED) == 100.0


def succeeded(handle, elapsed):
    job = AquaJob(status="completed") if handle.kind is AQUA else OperationJob(status="Completed")
    return Succeeded(handle=handle, job=job, polls=1, elapsed=elapsed)


def test_nothing_can_be_said_without_history():
    eta = Eta({}, {AQUA.handle("a"): 0.0})
    assert eta.left(5.0) is None


def test_nothing_can_be_said_while_one_kind_has_no_history():
    eta = Eta({"aqua": TEN}, {AQUA.handle("a"): 0.0, BULK_PDF.handle("b"): 0.0})
    assert eta.left(0.0) is None


def test_jobs_that_take_longer_than_any_before_are_counted_and_do_not_hide_the_rest():
    eta = Eta({"aqua": TEN}, {AQUA.handle("a"): 0.0, AQUA.handle("b"): -100.0, AQUA.handle("c"): -500.0})
    assert (eta.left(0.0), eta.overdue(0.0)) == (50.0, 2)
    assert (eta.left(100.0), eta.overdue(100.0)) == (None, 3)
    assert Eta({}, {AQUA.handle("a"): 0.0}).overdue(9e9) == 0


def test_the_slowest_kind_decides():
    eta = Eta({"aqua": TEN, "operation": [1.0] * 9}, {AQUA.handle("a"): 0.0, OPERATION.handle("b"): 0.0})
    assert eta.left(0.0) == 50.0


def test_a_job_that_was_watched_for_a_while_has_less_left():
    eta = Eta({"aqua": [60.0] * 9}, {AQUA.handle("a"): -20.0})
    assert eta.left(10.0) == 30.0


def test_it_learns_from_every_end_but_from_those_known_before_and_lost_ones():
    handles = [AQUA.handle(f"a{number}") for number in range(20)]
    eta = Eta({}, dict.fromkeys(handles, 0.0))
    for handle in handles[:5]:
        eta.ended(succeeded(handle, 1.0), known_before=True)
    lost = Lost(handle=handles[5], job=None, polls=0, elapsed=1.0, error=WatchTimedOut("too late"))
    eta.ended(lost, known_before=False)
    assert eta.left(0.0) is None
    for handle in handles[6:11]:
        eta.ended(succeeded(handle, 8.0), known_before=False)
    assert eta.left(0.0) == 8.0


def test_when_all_have_ended_nothing_is_left():
    handle = AQUA.handle("a")
    eta = Eta({"aqua": TEN}, {handle: 0.0})
    eta.ended(succeeded(handle, 3.0), known_before=False)
    assert not eta.left(0.0)


def test_what_it_was_given_stays_as_it_was():
    durations = {"aqua": list(TEN)}
    handle = AQUA.handle("a")
    Eta(durations, {handle: 0.0}).ended(succeeded(handle, 1.0), known_before=False)
    assert durations == {"aqua": TEN}


def test_an_end_of_a_job_that_nobody_asked_about_is_taken_too():
    eta = Eta({}, {})
    eta.ended(succeeded(AQUA.handle("a"), 1.0), known_before=False)
    assert eta.left(0.0) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.1, "1 s"),
        (40, "40 s"),
        (99.9, "100 s"),
        (100, "2 min"),
        (3600, "60 min"),
        (5940, "99 min"),
        (5941, "1 h 40 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_a_time_is_said_in_words(seconds, words):
    assert in_words(seconds) == words
