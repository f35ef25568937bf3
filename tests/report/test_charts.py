"""The geometry of the charts: where things lie, at which scale, and that nothing divides by zero."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zuora_jobs.journal.history import Change, History, JobRecord, Minute, Run
from zuora_jobs.report import axes, timeline
from zuora_jobs.report.charts import MOST_HISTOGRAMS, distribution_of, spending_of
from zuora_jobs.report.moments import Span, span_of
from zuora_jobs.report.summary import summarize

T = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
HOUR = Span(T, T + timedelta(hours=1))


def after(seconds):
    return T + timedelta(seconds=seconds)


def job(name, begin, end: float | None, *changes, kind="aqua", outcome="succeeded", **fields: Any):
    return JobRecord(
        kind=kind,
        id=name,
        accepted=after(begin),
        ended=None if end is None else after(end),
        outcome=None if end is None else outcome,
        changes=tuple(Change(at=after(at), status="any", phase=phase) for at, phase in changes),
        **fields,
    )


def drawn(*jobs, span=HOUR, runs=()):
    return timeline.timeline_of(History(jobs=jobs, minutes=(), runs=runs), span)


def minutes(*requests, allowed=60.0, refused=0, held=0.0):
    return tuple(
        Minute(began=T + timedelta(minutes=at), requests=number, refused=refused, held_seconds=held, allowed=allowed)
        for at, number in enumerate(requests)
        if number is not None
    )


def spent(*of, span=None, runs=()):
    history = History(jobs=(), minutes=tuple(of), runs=runs)
    found = spending_of(history, span or span_of(history) or HOUR)
    assert found is not None
    return found


# --- axes


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        (8, ["01:00:01", "01:00:02", "01:00:03", "01:00:04", "01:00:05", "01:00:06", "01:00:07"]),
        (3600, ["01:10", "01:20", "01:30", "01:40", "01:50"]),
        (86400 * 1.2, ["06:00", "12:00", "18:00", "23 Nov"]),
        (86400 * 30, ["26 Nov", "3 Dec", "10 Dec", "17 Dec"]),
    ],
)
def test_time_is_marked_where_it_is_round(seconds, labels):
    assert [mark.label for mark in axes.time_marks(Span(T, after(seconds)))] == labels


@given(st.floats(1, 1e9), st.integers(0, 10**6))
def test_an_axis_of_time_has_few_marks_which_lie_on_it(seconds, shift):
    marks = axes.time_marks(Span(after(shift), after(shift + seconds)))
    assert len(marks) <= axes.MARKS
    assert all(0 < mark.share < 1 for mark in marks)
    assert [mark.share for mark in marks] == sorted({mark.share for mark in marks})


@pytest.mark.parametrize(("number", "least"), [(0.2, 1), (1, 1), (1.1, 2), (3, 5), (6, 10), (11, 20), (999, 1000)])
def test_nice_numbers(number, least):
    assert axes.nice(number) == least


@given(st.lists(st.floats(0, 1e8), max_size=30))
def test_every_length_of_time_has_a_place_on_its_axis(values):
    ordered = sorted(values)
    scale = axes.scale_of(ordered)
    shares = [scale.share(value) for value in ordered]
    assert all(0 <= share <= 1 for share in shares)
    assert shares == sorted(shares)
    assert all(0 <= mark.share <= 1 for mark in axes.length_marks(scale))
    assert len(axes.length_marks(scale)) <= axes.LENGTHS + 1


@pytest.mark.parametrize(
    ("ordered", "logarithmic"), [([], False), ([0, 0], False), ([5, 5], False), ([1, 29], False), ([0, 1, 31], True)]
)
def test_an_axis_is_logarithmic_where_lengths_differ_widely(ordered, logarithmic):
    assert axes.scale_of(ordered).logarithmic is logarithmic


def test_places_and_lengths_are_each_others_reverse():
    for scale in (axes.Scale(2, 2000, logarithmic=True), axes.Scale(0, 50, logarithmic=False)):
        assert scale.share(scale.at(0.25)) == pytest.approx(0.25)


# --- the timeline


def test_a_job_is_drawn_by_what_it_was_doing():
    picture = drawn(job("a", 0, 1800, (360, "pending"), (720, "running"), (1080, None), (1440, "running")))
    assert picture.phases == {
        "unseen": "M0 2.5h10000",
        "pending": "M10000 2.5h10000",
        "running": "M20000 2.5h10000M40000 2.5h10000",
        "unknown": "M30000 2.5h10000",
    }
    assert picture.ends == {"succeeded": "M50000 2.1v.8"}


def test_what_comes_after_the_end_of_a_job_is_not_drawn():
    picture = drawn(job("a", 0, 1800, (0, "running"), (360, "failed"), outcome="failed"))
    assert picture.phases == {"running": "M0 2.5h10000"}
    assert picture.ends == {"failed": "M50000 2.5h0"}


def test_an_open_job_reaches_to_the_last_moment_and_has_no_end():
    picture = drawn(job("a", 1800, None, (1800, "pending")))
    assert picture.phases == {"pending": "M50000 2.5h50000"}
    assert picture.ends == {}


def test_an_outcome_has_a_path_of_its_own_and_partly_is_no_plain_success():
    picture = drawn(
        job("a", 0, 36),
        job("b", 0, 36, partial=True),
        job("c", 0, 36, outcome="lost"),
        job("d", 0, 36, outcome="cancelled"),
    )
    assert list(picture.ends) == ["succeeded", "partly", "cancelled", "lost"]


def test_time_stands_still_where_a_clock_went_backwards():
    picture = drawn(job("a", 1800, 900, (1200, "pending"), (1000, "running")), job("b", 1800, 3600, (0, "running")))
    assert picture.phases["running"].endswith("M50000 3.5h50000")
    assert "-" not in "".join(picture.phases.values())


def test_a_job_takes_the_first_row_that_is_free():
    picture = drawn(job("a", 0, 100), job("b", 50, 150), job("c", 200, 300), job("d", 210, 220), job("e", 1000, 1001))
    assert [row - picture.bands[0].top for row in picture.row_of] == [0, 1, 0, 1, 0]


def test_jobs_that_begin_together_lie_by_their_ends():
    picture = drawn(job("a", 0, 300), job("b", 0, 100), job("c", 0, 200), job("d", 0, None))
    assert [job.id for job in picture.jobs] == ["b", "c", "a", "d"]
    assert list(picture.row_of) == sorted(picture.row_of)


def test_kinds_do_not_share_rows():
    picture = drawn(job("a", 0, 10, kind="b"), job("b", 500, 510, kind="a"), job("c", 0, 10, kind="a"))
    assert [(band.kind, band.first, band.count, band.labelled) for band in picture.bands] == [
        ("a", 0, 2, True),
        ("b", 2, 1, True),
    ]
    first, second = picture.bands
    assert first.top + first.rows < second.top
    assert second.top + second.rows == picture.rows


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-50, 4000), st.integers(-50, 4000)), max_size=60))
def test_bars_never_overlap_and_stay_in_their_band(lives):
    jobs = [job(str(at), begin, end, kind=kind) for at, (kind, begin, end) in enumerate(lives)]
    picture = drawn(*jobs)
    assert sorted(job.id for job in picture.jobs) == sorted(job.id for job in jobs)
    for band in picture.bands:
        rows: dict[int, float] = {}
        for at in range(band.first, band.first + band.count):
            record, row = picture.jobs[at], picture.row_of[at]
            assert record.kind == band.kind
            assert band.top <= row < band.top + band.rows
            left = HOUR.share(record.accepted)
            assert left >= rows.get(row, -1)
            rows[row] = max(left, HOUR.share(record.ended or T))


def test_ten_thousand_jobs_together_fit_the_height_and_hundreds_of_kinds_nearly():
    together = drawn(*(job(str(at), 0, at, kind="aqua") for at in range(10_000)))
    assert together.height <= timeline.TALLEST + 2 * timeline.HEADING
    assert together.dense
    kinds = drawn(*(job(str(at), 0, at, kind=f"k{at:03}") for at in range(300)))
    assert kinds.height <= timeline.TALLEST_OF_MANY + 2
    assert kinds.nameless
    few = drawn(*(job(str(at), 0, at, kind=f"k{at:03}") for at in range(30)))
    assert not few.nameless


def test_gaps_are_shares_of_the_axis():
    runs = [Run(began=after(begin), ended=after(end), rate=1, concurrency=1) for begin, end in [(0, 900), (1800, 3600)]]
    (gap,) = drawn(job("a", 0, 10), runs=tuple(runs)).gaps
    assert (gap.left, gap.width) == (0.25, 0.25)


def test_no_length_of_time_and_no_jobs_are_no_trouble():
    assert drawn(job("a", 0, 0), span=Span(T, T)).ends == {"succeeded": "M0 2.1v.8"}
    assert drawn().rows == 0


# --- how long jobs took


def distribution(*jobs):
    return distribution_of(jobs, summarize(History(jobs=jobs, minutes=(), runs=())).kinds)


def test_every_job_that_ended_is_in_one_bin():
    found = distribution(
        *(job(str(at), 0, at) for at in range(1, 101)), job("l", 0, 9, outcome="lost"), job("o", 0, None)
    )
    (histogram,) = found.histograms
    assert sum(histogram.counts) == histogram.durations.count == 100
    assert found.scale.logarithmic
    assert found.scale.at(histogram.p50) == pytest.approx(50)
    assert found.scale.at(histogram.p90) == pytest.approx(90)
    assert histogram.path.count("M") == sum(count > 0 for count in histogram.counts)


def test_a_bin_holds_what_lies_between_its_edges():
    (histogram,) = distribution(*(job(str(at), 0, at) for at in (14, 14.5, 14.9, 15, 20, 28))).histograms
    assert histogram.counts == (*[0] * 14, 3, 1, *[0] * 4, 1, *[0] * 6, 1)[:28]


@given(st.lists(st.floats(-10, 1e6), min_size=1, max_size=40))
def test_no_durations_are_left_out(values):
    (histogram,) = distribution(*(job(str(at), 0, value) for at, value in enumerate(values))).histograms
    assert sum(histogram.counts) == len(values)


def test_only_so_many_kinds_have_a_histogram_and_the_rest_is_counted():
    found = distribution(*(job(str(at), 0, 5, kind=f"k{at}") for at in range(MOST_HISTOGRAMS + 3)))
    assert (len(found.histograms), found.omitted) == (MOST_HISTOGRAMS, 3)
    assert distribution(job("l", 0, 9, outcome="lost")).histograms == ()


# --- requests


def test_refused_requests_stand_on_the_answered_ones():
    found = spent(*minutes(40, 20, refused=10))
    assert (found.bars, found.minutes_a_bar, found.top) == (2, 1, 60)
    assert found.answered == "M0.05 60v-30h0.9V60zM1.05 60v-10h0.9V60z"
    assert found.refused == "M0.05 30v-10h0.9V30zM1.05 50v-10h0.9V50z"
    assert found.allowed == "M0 0H1H1V0H2"


@pytest.mark.parametrize(
    ("requests", "allowed", "top", "off", "nowhere"),
    [(60, 100, 100, False, False), (60, 180, 200, False, False), (60, 24_000, 60, True, True), (0, 0, 1, False, False)],
)
def test_the_scale_is_the_requests_with_the_allowance_where_that_is_near(requests, allowed, top, off, nowhere):
    found = spent(*minutes(requests, requests, allowed=allowed))
    assert (found.top, found.off_the_scale, found.nowhere) == (top, off, nowhere)
    assert found.counts[0].label == "0"
    assert found.counts[-1].share == 1


def test_an_allowance_that_comes_down_to_the_requests_is_seen_there():
    of = (*minutes(60, allowed=24_000), *minutes(None, 50, allowed=80))
    found = spent(*of)
    assert (found.off_the_scale, found.nowhere, found.least_allowed, found.most_allowed) == (True, False, 80, 24_000)
    assert found.allowed == "M0 -80H1H1V0H2"  # above the upper edge, then down to it


def test_the_allowance_is_drawn_over_idle_minutes_but_not_where_no_process_ran():
    of = minutes(10, None, 10, None, 10, allowed=15)
    assert spent(*of).allowed.count("M") == 1
    runs = [Run(began=after(begin), ended=after(end), rate=1, concurrency=1) for begin, end in [(0, 150), (200, 300)]]
    assert spent(*of, runs=tuple(runs)).allowed.count("M") == 2


def test_throttled_seconds_are_of_the_minute_and_never_more():
    assert spent(*minutes(1, held=15)).held == "M0.05 60v-15h0.9V60z"
    assert spent(*minutes(1, held=90)).held == "M0.05 60v-60h0.9V60z"
    assert spent(*minutes(1)).held == ""


def test_many_minutes_share_bars_which_show_the_busiest_of_them():
    of = [*minutes(*[1] * 5000)]
    of[1234] = Minute(began=of[1234].began, requests=700, refused=3, held_seconds=9, allowed=5)
    found = spent(*of)
    assert (found.minutes_a_bar, found.bars) == (11, 455)
    assert max(float(height) for height in re.findall(r"v-([\d.]+)", found.answered)) == 697
    assert found.refused.count("v-3h") == 1
    assert sum(line.requests for line in found.lines) == 4999 + 700
    assert len(found.lines) <= 24


def test_no_minutes_no_chart():
    assert spending_of(History(jobs=(), minutes=(), runs=()), HOUR) is None
