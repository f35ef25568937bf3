"""What a person sees: the live bars, the quiet lines, and the table at several widths."""

import asyncio
import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from zuora_jobs import (
    AQUA,
    BULK_PDF,
    AquaBatch,
    AquaJob,
    BulkPdfJob,
    Cancelled,
    ConnectionFailed,
    Failed,
    Finished,
    JobHandle,
    Lost,
    LostContact,
    Observed,
    Phase,
    Recovered,
    Statistics,
    Succeeded,
    Throttled,
)
from zuora_jobs.cli import view

NOW = datetime(2026, 11, 22, tzinfo=UTC)
FIGURES = Statistics(
    watching=2,
    looking=1,
    polls=7,
    retries=0,
    requests=9,
    refused=0,
    succeeded=1,
    failed=0,
    cancelled=0,
    lost=0,
    held_seconds=3,
)
A, B, C = (AQUA.handle(f"{letter * 32}") for letter in "abc")
D = BULK_PDF.handle("d" * 32)
HANDLES: list[JobHandle[Any]] = [A, B, C, D]


def job(status, **fields):
    return AquaJob(status=status, **fields)


def seen(handle, status):
    return Observed(at=NOW, handle=handle, status=status, phase=Phase.RUNNING, polls=1, job=job(status))


def ended(outcome):
    return Finished(at=NOW, handle=outcome.handle, outcome=outcome)


OUTCOMES: list[Any] = [
    Succeeded(
        handle=A, job=job("completed", batches=(AquaBatch(status="completed", file_id="f"),)), polls=3, elapsed=4.25
    ),
    Failed(handle=B, job=job("aborted", message="no such\x1b[31m\nfield"), polls=1, elapsed=1),
    Lost(handle=C, job=None, polls=0, elapsed=60, error=ConnectionFailed("nobody there")),
    Succeeded(handle=D, job=BulkPdfJob(status="PartialComplete"), polls=1, elapsed=2),
]


def screen(width=100):
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, legacy_windows=False)


def drawn(live):
    console = screen()
    console.print(live._draw())
    return console.file.getvalue()


def test_the_live_view_shows_a_bar_a_kind_statuses_ends_and_requests():
    with view.view_of(HANDLES, screen(), lambda: FIGURES) as live:
        assert isinstance(live, view.LiveView)
        for event in (seen(A, "submitted"), seen(B, "executing"), seen(C, "executing"), seen(A, "executing")):
            live(event)
        picture = drawn(live)
        assert "executing 3" in picture
        assert "submitted" not in picture
        assert "0/3" in picture
        for outcome in OUTCOMES[:3]:
            live(ended(outcome))
        picture = drawn(live)
    assert "3/3" in picture
    assert "executing" not in picture
    assert "1 succeeded, 1 failed, 1 lost · 9 requests, 1 under way" in picture


def test_the_live_view_tells_trouble_with_the_tenant():
    with view.view_of(HANDLES, screen(), lambda: FIGURES) as live:
        live(Throttled(at=NOW, seconds=120))
        assert "throttled: the server asks to wait 120 s" in drawn(live)
        live(LostContact(at=NOW, error=ConnectionFailed("cut"), seconds=9))
        assert "no answer for 9 s, watching on: cut" in drawn(live)
        live(Recovered(at=NOW, seconds=40))
        assert "answered again after 40 s" in drawn(live)


def test_elsewhere_only_what_one_should_know_is_a_line(monkeypatch):
    out = io.StringIO()
    with view.view_of(HANDLES, Console(file=out, width=500), lambda: FIGURES) as quiet:
        assert isinstance(quiet, view.QuietView)
        quiet(seen(A, "executing"))
        assert out.getvalue() == ""
        quiet(Throttled(at=NOW, seconds=120))
        monkeypatch.setattr(view, "QUIET_INTERVAL", 0.0)
        quiet(ended(OUTCOMES[0]))
    assert out.getvalue().splitlines() == [
        "throttled: the server asks to wait 120 s",
        "1 of 4 ended (1 succeeded), 9 requests",
    ]


@pytest.mark.parametrize("width", [80, 110, 200])
def test_the_table_never_cuts_a_handle(width):
    console = screen(width)
    view.print_outcomes(OUTCOMES, console)
    lines = console.file.getvalue().splitlines()
    for outcome in OUTCOMES:
        assert sum(str(outcome.handle) in line for line in lines) == 1
    assert all(len(line) <= width for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "1 file" in text
    assert "no such [31m field" in text
    assert "ConnectionFailed: nobody there" in text
    assert "partly" in text
    assert ("seconds" in text) is (width >= view.NARROW)


def test_the_summary_counts_in_good_english():
    one: list[Any] = [Cancelled(handle=A, job=job("cancelled"), polls=1, elapsed=1)]
    assert view.summary(one, FIGURES) == "1 job: 1 cancelled; 7 polls, 9 requests, 3 s throttled"
    assert view.summary(OUTCOMES, FIGURES).startswith("4 jobs: 1 succeeded, 1 partly, 1 failed, 1 lost; ")


async def test_the_live_view_is_drawn_from_another_thread_while_it_changes():
    console = screen()
    with view.LiveView([A], console, lambda: FIGURES) as live:
        for number in range(20_000):
            live(seen(A, f"status {number % 50}"))
        await asyncio.sleep(0.3)
        for number in range(5000):
            live(seen(A, f"status {number % 50}"))
    assert "status" in console.file.getvalue()
