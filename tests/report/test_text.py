"""The summary on a terminal, at several widths and off one."""

import io

import pytest
from attrs import evolve
from rich.cells import cell_len
from rich.console import Console

from zuora_jobs.journal.history import History
from zuora_jobs.report.summary import summarize
from zuora_jobs.report.text import print_summary


def printed(history, width, **options):
    out = io.StringIO()
    print_summary(summarize(history), Console(file=out, width=width, **options))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 160])
def test_no_figure_is_cut_at_any_width(night, width):
    text = printed(night(1000), width, force_terminal=True, color_system=None)
    assert max(map(cell_len, text.splitlines())) <= width
    (row, *_) = [line.split() for line in text.splitlines() if line.startswith(" credit-memo-apply ")]
    total = summarize(night(1000)).kinds[1]
    assert row[:4] == [total.name, f"{total.jobs:,}", f"{total.outcomes['succeeded']:,}", "0"]
    assert "…" not in text.partition(" why")[0]  # rich's own mark of something cut


def test_one_table_where_there_is_room_and_two_where_there_is_not(night):
    heads = [line for line in printed(night(100), 160).splitlines() if " kind " in line]
    assert len(heads) == 1
    assert " ".join(heads[0].split()) == (
        "kind jobs succeeded partly failed cancelled lost open p50 p90 longest polls a job"
    )
    assert len([line for line in printed(night(100), 80).splitlines() if " kind " in line]) == 2


def test_off_a_terminal_there_is_no_colour_and_no_line_is_wrapped(night):
    text = printed(night(1000), 10_000)
    assert "\x1b" not in text
    assert all(trouble.text in text for trouble in summarize(night(1000)).troubles[:10])
    assert "and 1 other reason" in text
    assert max(map(len, text.splitlines())) < 200  # nothing is spread over ten thousand columns


def test_the_headlines_say_how_it_went(night):
    text = printed(night(1000), 80)
    assert text.startswith("21 Nov 2026, 22:00:07 to 22 Nov 2026, 04:30:07 UTC, 6 h 30 min\n1,000 jobs: 9")
    assert "2 runs, 1 cut short\n" in text
    assert "lost ones do not count" in text


def test_a_run_that_goes_on_and_a_clock_that_was_set_are_told(night):
    history = night(10)
    jobs = [evolve(job, accepted=job.accepted.replace(year=2030)) for job in history.jobs]
    text = printed(evolve(history, jobs=tuple(jobs), runs=history.runs[:1]), 80)
    assert "1 run; the last one wrote no end: still at work, or killed" in text
    assert "10 jobs ended before beginning: a clock was set" in text


def test_nothing_is_said_in_a_line():
    assert printed(History(jobs=(), minutes=(), runs=()), 80) == "Nothing is written down.\n"


def test_text_from_outside_is_neither_markup_nor_control(night):
    history = night(20)
    jobs = tuple(
        evolve(job, kind="[red]x[/]", outcome="lost", ended=job.accepted, error=("[bold]E", "\x1b]0;title\x07[/]"))
        for job in history.jobs
    )
    text = printed(evolve(history, jobs=jobs), 80)
    assert "\n [red]x[/]  " in text
    assert "[bold]E: ␛]" in text
    assert "\x1b" not in text
