"""A run in figures: what is counted, and what is not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zuora_jobs.errors import Reason
from zuora_jobs.journal.history import Change, History, JobRecord, Minute, Run
from zuora_jobs.report.moments import Span, drawable, gaps, span_of
from zuora_jobs.report.summary import OUTCOMES, percentile, reasons_of, summarize, trouble_key
from zuora_jobs.report.words import clean, duration, period, plural

T = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)


def after(seconds):
    return T + timedelta(seconds=seconds)


def job(number, *, kind="aqua", took: float | None = 10, outcome="succeeded", **fields: Any):
    ended = None if took is None else after(took)
    return JobRecord(
        kind=kind,
        id=f"j{number}",
        accepted=T,
        ended=ended,
        outcome=None if took is None else outcome,
        polls=2,
        **fields,
    )


def history(*jobs, minutes=(), runs=()):
    return History(jobs=jobs, minutes=tuple(minutes), runs=tuple(runs))


def minute(number, requests=1, refused=0, held=0.0, allowed=60.0):
    return Minute(
        began=T + timedelta(minutes=number), requests=requests, refused=refused, held_seconds=held, allowed=allowed
    )


def run(began, ended):
    return Run(began=after(began), ended=None if ended is None else after(ended), rate=1, concurrency=1)


# --- by kind


def test_each_kind_is_counted_by_itself_and_all_together():
    summary = summarize(
        history(
            job(1, took=10),
            job(2, took=20, partial=True),
            job(3, took=30, outcome="failed"),
            job(4, kind="bulk-pdf", took=5000, outcome="lost", error=("NotFound", "gone")),
            job(5, kind="bulk-pdf", took=None),
        )
    )
    aqua, pdf = summary.kinds
    assert (aqua.name, aqua.jobs, aqua.polls_a_job) == ("aqua", 3, 2)
    assert dict(aqua.outcomes) == dict.fromkeys(OUTCOMES, 0) | {"succeeded": 1, "partly": 1, "failed": 1}
    assert aqua.durations is not None
    assert (aqua.durations.p50, aqua.durations.p90, aqua.durations.longest) == (20, 30, 30)
    assert dict(pdf.outcomes) == dict.fromkeys(OUTCOMES, 0) | {"lost": 1, "open": 1}
    assert pdf.durations is None  # a lost job has no end to measure, an open one has none yet
    assert (summary.total.jobs, summary.total.outcomes["lost"]) == (5, 1)


def test_the_most_numerous_kind_comes_first():
    kinds = summarize(history(job(1, kind="b"), job(2, kind="c"), job(3, kind="c"), job(4, kind="a"))).kinds
    assert [kind.name for kind in kinds] == ["c", "a", "b"]


def test_a_clock_that_was_set_back_makes_no_negative_durations():
    summary = summarize(history(job(1, took=-60), job(2, took=4)))
    assert summary.backwards == 1
    assert summary.total.durations is not None
    assert (summary.total.durations.p50, summary.total.durations.longest) == (0, 4)


def test_nothing_at_all_is_summed_up_too():
    summary = summarize(history())
    assert (summary.span, summary.kinds, summary.troubles, summary.runs, summary.unended) == (None, (), (), 0, False)
    assert (summary.total.jobs, summary.total.polls_a_job, summary.total.durations) == (0, 0, None)


@pytest.mark.parametrize(
    ("count", "percent", "rank"), [(1, 50, 1), (1, 90, 1), (2, 50, 1), (3, 50, 2), (10, 90, 9), (11, 90, 10)]
)
def test_percentiles_are_nearest_rank(count, percent, rank):
    assert percentile(range(1, count + 1), percent) == rank


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(values, percent):
    ordered = sorted(values)
    found = percentile(ordered, percent)
    assert found in ordered
    assert sum(value <= found for value in ordered) * 100 >= percent * len(ordered)
    assert sum(value < found for value in ordered) * 100 < percent * len(ordered)


# --- in all


def test_requests_and_runs_are_summed_up():
    summary = summarize(
        history(
            job(1),
            minutes=[minute(0, 10, 2, 5.5), minute(1, 20, 1, 30)],
            runs=[run(0, None), run(100, 200), run(300, None)],
        )
    )
    assert (summary.requests, summary.refused, summary.held_seconds) == (30, 3, 35.5)
    assert (summary.runs, summary.cut_short, summary.unended) == (3, 1, True)  # the last may still be at work
    assert summary.span == Span(T, after(300))


def test_runs_come_in_the_order_of_the_journal_whatever_their_clocks_said():
    summary = summarize(history(runs=[run(300, None), run(0, 10)]))
    assert (summary.cut_short, summary.unended) == (1, False)


def test_a_run_that_ended_last_was_not_cut_short():
    summary = summarize(history(runs=[run(0, None), run(10, 20)]))
    assert (summary.cut_short, summary.unended) == (1, False)


def test_the_span_reaches_over_all_that_is_written_down():
    seen = Change(at=after(900), status="executing", phase="running")
    assert span_of(history(job(1, took=None, changes=(seen,)), minutes=[minute(20)])) == Span(T, after(1200))


def test_a_minute_that_began_before_all_else_is_the_clocks_and_not_the_runs():
    assert span_of(history(job(1, took=90), minutes=[minute(-1)])) == Span(T, after(90))
    assert span_of(history(minutes=[minute(-1), minute(2)])) == Span(T - timedelta(minutes=1), after(120))


def test_a_span_without_length_is_drawn_as_a_second():
    assert drawable(Span(T, T)).seconds == 1
    assert drawable(Span(T, after(90))).seconds == 90
    assert (Span(T, T).share(T), Span(T, T).share(after(1)), Span(T, after(10)).share(after(99))) == (0, 1, 1)


# --- when no process was at work


def test_a_killed_run_lasted_until_the_last_thing_known_before_the_next():
    seen = Change(at=after(100), status="executing", phase="running")
    found = gaps(history(job(1, took=400, changes=(seen,)), runs=[run(0, None), run(160, None)]))
    assert found == (Span(after(100), after(160)),)


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        ([], ()),
        ([run(0, 50)], ()),
        ([run(0, 50), run(50, 90)], ()),
        ([run(0, 50), run(70, 90)], ((50, 70),)),
        ([run(70, 90), run(0, 50)], ((50, 70),)),  # in any order
        ([run(0, 100), run(20, 30), run(40, 60)], ()),  # two at once
        ([run(0, 100), run(20, 30), run(120, 130)], ((100, 120),)),
        ([run(10, 5), run(20, 30)], ((10, 20),)),  # a clock was set back
    ],
)
def test_gaps_are_where_no_run_was(runs, found):
    assert gaps(history(runs=runs)) == tuple(Span(after(begin), after(end)) for begin, end in found)


# --- what went wrong


def test_reasons_that_differ_in_ids_only_are_one_trouble():
    def failed(number, message, code="58730045"):
        return job(number, outcome="failed", reasons=(Reason(code, message),))

    troubles = summarize(
        history(
            failed(1, "Invoice INV-0001 is not in Posted status."),
            failed(2, "Invoice INV-0002 is not in Posted status."),
            failed(3, "Invoice INV-0003 is not in Posted status.", code="58730046"),
            job(4, outcome="lost", error=("NotFound", "no such job")),
            job(5, outcome="lost", error=("NotFound", "no such job")),
            job(6, outcome="lost", error=("NotFound", "no such job")),
        )
    ).troubles
    assert [(trouble.outcome, trouble.count, trouble.text) for trouble in troubles] == [
        ("lost", 3, "NotFound: no such job"),
        ("failed", 2, "58730045: Invoice … is not in Posted status."),
        ("failed", 1, "58730046: Invoice INV-0003 is not in Posted status."),
    ]
    assert troubles[0].examples == ("aqua:j4", "aqua:j5", "aqua:j6")
    assert troubles[1].examples == ("aqua:j1", "aqua:j2")


def test_a_job_counts_once_in_each_of_its_troubles():
    reasons = (Reason("1", "no A-1"), Reason("1", "no A-2"), Reason("2", "else"))
    troubles = summarize(history(job(1, outcome="failed", reasons=reasons))).troubles
    assert [(trouble.text, trouble.count) for trouble in troubles] == [("1: no …", 1), ("2: else", 1)]


def test_a_failure_without_reasons_is_a_trouble_as_well():
    (trouble,) = summarize(history(job(1, outcome="failed"))).troubles
    assert trouble.text == "Zuora gives no reason"
    assert reasons_of(job(1, outcome="lost")) == ("nothing is known of why",)
    assert reasons_of(job(1, reasons=(Reason("1", "ignored"),))) == ()  # it succeeded


def test_only_a_code_keeps_its_digits():
    assert trouble_key("failed", "90006: no such column c1") == "failed 90006: no such column …"
    assert trouble_key("failed", "Invoice 17: not found") == "failed Invoice … not found"


def test_a_long_word_costs_no_more_than_its_length():
    assert trouble_key("failed", "x" * 300_000) == "failed " + "x" * 300_000  # hours, if tried from each character


# --- words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"),
        (0, "0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3599.6, "1 h"),
        (3720, "1 h 2 min"),
        (86399, "1 d"),
        (86400 * 3 + 3600 * 4.4, "3 d 4 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds, said):
    assert duration(seconds) == said


def test_numbers_have_their_nouns():
    assert (plural(1, "job"), plural(0, "job"), plural(2000, "job")) == ("1 job", "0 jobs", "2,000 jobs")


def test_a_period_says_each_day_once_and_always_in_utc():
    east = timedelta(hours=9)
    local = (T + timedelta(0)).astimezone(__import__("datetime").timezone(east))
    assert period(local, after(60)) == "22 Nov 2026, 01:00:00 to 01:01:00 UTC"
    assert period(T, after(86400)) == "22 Nov 2026, 01:00:00 to 23 Nov 2026, 01:00:00 UTC"
    assert period(T, T) == "22 Nov 2026, 01:00:00 UTC"


def test_what_is_invisible_becomes_visible():
    assert clean("a\tb\u00a0c\nd") == "a b c d"
    assert clean("\x00\x1b[31m\x7f") == "␀␛[31m␡"
    assert clean("abc\u202edef\u2066") == "abc\\u202edef\\u2066"
    assert clean("half \ud800") == "half \\ud800"
    assert clean("日本語 ünï 🎉") == "日本語 ünï 🎉"
    assert clean("x" * 50, 10) == "x" * 10 + "… (50 characters)"


@given(st.text(st.characters()))
def test_clean_text_can_be_written_and_turns_nothing_around(text):
    shown = clean(text)
    shown.encode()
    assert not set(shown) & set("\x00\x1b\u200f\u202a\u202e\u2028\u2066\n")
