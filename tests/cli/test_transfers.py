"""How far files have come, as a person sees it: bars on a terminal, a word in the quiet lines elsewhere."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from zuora_jobs import AQUA, Statistics
from zuora_jobs.cli import view
from zuora_jobs.cli.transfers import LONGEST_NAME, MOST_BARS, Transfers
from zuora_jobs.downloads import Progress
from zuora_jobs.protocol.models import ResultFile

HANDLE = AQUA.handle("a" * 32)
FIGURES = Statistics(
    watching=1, looking=0, polls=7, retries=0, requests=9, refused=0, succeeded=0, failed=0, cancelled=0, lost=0,
    held_seconds=0,
)  # fmt: skip


def progress(name, received, size=1_000_000):
    file = ResultFile(name=name, file_id=name)
    return Progress(handle=HANDLE, file=file, path=Path("/into") / name, received=received, size=size)


def screen(width=100):
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, legacy_windows=False)


def drawn(transfers: Any, width=100):
    console = screen(width)
    for part in transfers.bars():
        console.print(part)
    return console.file.getvalue()


@pytest.fixture
def transfers():
    return Transfers(screen())


def test_before_anything_has_come_there_is_nothing_to_be_drawn(transfers):
    assert (len(transfers), bool(transfers), transfers.bars()) == (0, False, [])


def test_a_file_under_way_has_a_bar_with_its_name_and_its_bytes(transfers):
    transfers.take(progress("Invoices-1.csv", 250_000))
    [line] = drawn(transfers).splitlines()
    assert line.startswith("Invoices-1.csv ")
    assert "0.2/1.0 MB" in line
    transfers.take(progress("Invoices-1.csv", 750_000))
    [later] = drawn(transfers).splitlines()
    assert "0.8/1.0 MB" in later
    assert (line.count("━"), later.count("━")) == (6, 18), "of 24"


def test_a_file_that_is_whole_has_no_bar_and_is_counted(transfers):
    transfers.take(progress("a.csv", 400_000))
    transfers.take(progress("b.csv", 100_000))
    assert (transfers.told(), transfers.unfinished) == ("0 of 2 files whole, 500.0 kB", 2)
    transfers.take(progress("a.csv", 1_000_000))
    assert "a.csv" not in drawn(transfers)
    assert "b.csv" in drawn(transfers)
    assert (transfers.told(), transfers.unfinished) == ("1 of 2 files whole, 1.1 MB", 1)
    transfers.take(progress("b.csv", 1_000_000))
    assert transfers.bars() == []
    assert transfers.told() == "2 of 2 files whole, 2.0 MB"


def test_a_small_file_that_is_whole_at_once_never_has_a_bar(transfers):
    transfers.take(progress("a.zip", 600, 600))
    assert transfers.bars() == []
    assert transfers.told() == "1 of 1 files whole, 600 bytes"


def test_a_file_of_unknown_size_is_not_whole_until_its_end(transfers):
    transfers.take(progress("a.csv", 250_000, None))
    assert "a.csv" in drawn(transfers)
    assert transfers.unfinished == 1
    transfers.take(progress("a.csv", 300_000, 300_000))
    assert transfers.bars() == []
    assert transfers.unfinished == 0


def test_there_are_never_more_bars_than_fit_and_a_new_one_takes_a_free_place(transfers):
    names = [f"f{number:02}.csv" for number in range(MOST_BARS + 3)]
    for name in names:
        transfers.take(progress(name, 1000))
    lines = drawn(transfers).splitlines()
    assert [line.split()[0] for line in lines] == names[:MOST_BARS]
    assert len(transfers) == len(names)
    transfers.take(progress(names[0], 1_000_000))
    transfers.take(progress(names[-1], 2000))
    assert [line.split()[0] for line in drawn(transfers).splitlines()] == [*names[1:MOST_BARS], names[-1]]


def test_a_file_that_failed_gives_its_place_back(transfers):
    transfers.take(progress("a.csv", 400_000))
    transfers.take(progress("b.csv", 400_000))
    transfers.forget(Path("/into/a.csv"))
    transfers.forget(Path("/into/never-begun.csv"))
    transfers.forget(None)
    assert [line.split()[0] for line in drawn(transfers).splitlines()] == ["b.csv"]
    assert (transfers.told(), transfers.unfinished) == ("0 of 1 files whole, 400.0 kB", 1)


def test_a_whole_file_that_was_not_what_it_should_be_is_not_counted(transfers):
    transfers.take(progress("a.csv", 1_000_000))
    transfers.forget(Path("/into/a.csv"))
    assert transfers.told() == "0 of 0 files whole, 0 bytes"


def test_a_file_that_is_fetched_anew_is_not_whole_meanwhile(transfers):
    transfers.take(progress("a.csv", 1_000_000))
    transfers.take(progress("a.csv", 1000))
    assert (transfers.told(), transfers.unfinished) == ("0 of 1 files whole, 1.0 kB", 1)


@pytest.mark.parametrize("width", [80, 120])
def test_the_longest_names_are_cut_in_the_middle_and_the_bars_fit_the_terminal(width):
    transfers = Transfers(screen(width))
    name = f"Invoices_of_the_whole_year-{'e' * 20}.csv.gz"
    assert len(name) > LONGEST_NAME
    transfers.take(progress(name, 500_000))
    transfers.take(progress(name, 600_000))
    lines = drawn(transfers, width).splitlines()
    assert len(lines) == 1
    assert len(lines[0]) <= width
    shown = lines[0].split()[0]
    assert shown == f"{name[:20]}…{name[-19:]}"
    assert len(shown) == LONGEST_NAME
    assert "0.6/1.0 MB" in lines[0]


def test_a_name_is_never_taken_for_markup(transfers):
    transfers.take(progress("[red]a[bold].csv", 1000))
    assert drawn(transfers).startswith("[red]a[bold].csv ")


def test_the_live_view_draws_bars_for_jobs_then_files_then_its_foot():
    with view.LiveView([HANDLE], screen(), lambda: FIGURES) as live:
        live.moved(progress("a.csv", 400_000))
        live.moved(progress("b.csv", 1_000_000))
        console = screen()
        console.print(live._draw())
    jobs, file, foot = console.file.getvalue().splitlines()
    assert jobs.startswith("aqua ")
    assert "0/1" in jobs
    assert file.startswith("a.csv ")
    assert foot.startswith("none ended yet · 9 requests")
    assert "1 of 2 files whole, 1.4 MB" in foot


def test_a_quiet_line_says_how_many_files_there_are(monkeypatch):
    out = io.StringIO()
    with view.QuietView([HANDLE], Console(file=out, width=500), lambda: FIGURES) as quiet:
        quiet.moved(progress("a.csv", 400_000))
        assert out.getvalue() == "", "so soon nobody wants to know"
        monkeypatch.setattr(view, "QUIET_INTERVAL", 0.0)
        quiet.moved(progress("a.csv", 1_000_000))
        quiet.moved(progress("b.csv", 500_000))
    assert out.getvalue().splitlines() == [
        "0 of 1 ended (none ended yet), 9 requests, 1 of 1 files whole, 1.0 MB",
        "0 of 1 ended (none ended yet), 9 requests, 1 of 2 files whole, 1.5 MB",
    ]


def test_without_files_nothing_is_said_of_them(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(view, "QUIET_INTERVAL", 0.0)
    with view.QuietView([HANDLE], Console(file=out, width=500), lambda: FIGURES) as quiet:
        quiet._say_how_far()
    assert out.getvalue() == "0 of 1 ended (none ended yet), 9 requests\n"
