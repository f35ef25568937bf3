"""The benchmarks run: a few jobs through a few storms, in virtual time."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from zuora_jobs.journal.reading import read_history

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="tests of the installed wheel have no benchmarks")


@pytest.fixture
def chaos(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, found as it finds its helpers: beside it."""
    pytest.importorskip("looptime")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield import_module("chaos")
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


def test_no_job_is_lost_or_misreported_in_a_storm(chaos, capsys):
    assert chaos.main(["--jobs", "20", "--processes", "1", "--only", "dropped"]) == 0
    header, rule, calm, *stormy = capsys.readouterr().out.splitlines()
    assert header.count("|") == rule.count("|") == calm.count("|")
    assert [line.split(" | ")[0] for line in stormy] == ["| dropped", "| token: dropped"]
    assert stormy[0].split(" | ")[4:6] == ["0", "0"]


def test_a_goal_that_is_missed_is_named(chaos, capsys):
    dear = {"storm": "dropped", "is_single": True, "lost": 0, "misreported": 0}
    figures = dict.fromkeys(
        ("jobs", "struck", "token_requests", "refused", "unauthorized", "mean_late", "worst_late", "virtual", "real"), 0
    )
    calm = chaos.Result(**dear, **figures, strikes="", requests=100, complaints=())
    assert chaos.Result(**dear, **figures, strikes="", requests=150, complaints=()).misses(calm) == []
    assert chaos.Result(**dear, **figures, strikes="", requests=151, complaints=()).misses(calm) == [
        "dropped: too many requests"
    ]


def test_a_report_is_held_against_what_the_job_did(chaos):
    outlived = chaos.in_virtual_time(chaos.outlive(chaos.named("duplicate-keys", 1), "`while True`", 20, 1))
    ours = chaos.in_virtual_time(chaos.outlive(chaos.named("duplicate-keys", 1), chaos.OURS, 20, 1))
    assert ours == {chaos.Report.RIGHT: 20}
    assert outlived[chaos.Report.WRONG] > 0
    assert outlived.total() == 20


def test_every_named_fault_has_a_storm_of_its_own(chaos):
    from zuora_jobs.emulator.faults import NAMED

    single = [storm.name for storm in chaos.storms(1) if storm.is_single]
    assert single == list(NAMED)
    assert len({storm.name for storm in chaos.storms(1)}) == len(chaos.storms(1))


@pytest.mark.parametrize("ended", [False, True])
async def test_a_journal_is_written_and_gone_on_with(monkeypatch, tmp_path, ended):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    journal = import_module("journal")
    path = tmp_path / "run.db"
    journal.write_journal(path, 300, ended=ended)
    assert await journal.seconds_to_resume(path, 300, ended=ended) > 0
    jobs = read_history(path).jobs
    assert len(jobs) == 300
    assert {job.outcome for job in jobs} == ({"succeeded"} if ended else {None})


def test_a_polls_cost_is_measured_in_processes_of_their_own(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    journal = import_module("journal")
    cost, polls, share = journal.cpu_a_poll(8, tmp_path / "run.db", tmp_path)
    assert cost > 0
    assert polls >= 2
    assert 0 < share < 1
    assert len(read_history(tmp_path / "run.db").jobs) == 8
