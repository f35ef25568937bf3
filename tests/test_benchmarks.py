"""The benchmarks run: a few jobs through a few storms, in virtual time."""

from collections.abc import Callable
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from zuora_jobs.journal.reading import read_history

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytestmark = [
    pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="tests of the installed wheel have no benchmarks"),
    pytest.mark.unmeasured,
]


@pytest.fixture
def chaos(benchmark_named: Callable[[str], Any]) -> Any:
    pytest.importorskip("looptime")
    return benchmark_named("chaos")


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
async def test_a_journal_is_written_and_gone_on_with(benchmark_named, tmp_path, ended):
    journal = benchmark_named("journal")
    path = tmp_path / "run.db"
    journal.write_journal(path, 300, ended=ended)
    assert await journal.seconds_to_resume(path, 300, ended=ended) > 0
    jobs = read_history(path).jobs
    assert len(jobs) == 300
    assert {job.outcome for job in jobs} == ({"succeeded"} if ended else {None})


def test_a_polls_cost_is_measured_in_processes_of_their_own(benchmark_named, tmp_path):
    journal = benchmark_named("journal")
    cost, polls, share = journal.cpu_a_poll(8, tmp_path / "run.db", tmp_path)
    assert cost > 0
    assert polls >= 2
    assert 0 < share < 1
    assert len(read_history(tmp_path / "run.db").jobs) == 8


@pytest.fixture
def delay(benchmark_named: Callable[[str], Any]) -> Any:
    return benchmark_named("delay")


def test_delays_are_counted_from_the_end_or_from_when_the_handle_was_there(delay):
    traces, policies = import_module("_delay_traces"), import_module("_delay_policies")
    jobs = [
        traces.Job(0, "operation", submitted=-9.0, started=-8.0, ended=-1.0),
        traces.Job(1, "operation", submitted=0.0, started=0.5, ended=2.5),
    ]
    result = delay.run(jobs, policies.InTurns(), rate=1.0)
    assert result.delays == {0: 0.0, 1: 0.5}  # looks: at 0 at the one, at 1, 2 and 3 at the other
    assert result.requests == 4
    assert delay.run(jobs, policies.ToldTheEnds(jobs), rate=1.0).delays == {0: 0.0, 1: 0.0}


def test_a_queue_works_so_many_at_a_time_and_none_before_it_was_submitted(delay):
    for name in ("ordered, 400", "in bursts", "among strangers", "resumed"):
        jobs = delay.TRACES[name].draw(Random(1))
        assert all(job.submitted <= job.started < job.ended for job in jobs)
        changes = sorted([(job.started, 1) for job in jobs] + [(job.ended, -1) for job in jobs])
        assert max(accumulate(change for _, change in changes)) <= 8


def test_delays_are_compared_under_a_shared_budget(delay, capsys):
    assert delay.main(["--only", "in bursts", "--seeds", "1", "--processes", "1"]) == 0
    header, rule, *rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert header.count("|") == rule.count("|") == rows[0].count("|")
    means = dict(row.strip("| ").split(" | ") for row in rows[: len(rows) // 2 - 1] if "second" not in row)
    assert float(means["told the ends"]) == min(map(float, means.values()))
    assert float(means["zuora_jobs"]) < float(means["round robin"])


def test_delays_are_drawn(delay):
    column = delay.watch_fleet("in bursts", 10.0, 1)
    drawn = ET.fromstring(delay.plot({("in bursts", "10 requests/s"): column}))
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert set(column) < set(texts)
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}circle"))) == len(column)


def test_who_watches_alone_is_given_as_many_requests_as_another(delay):
    jobs = delay.TRACES["5 min, peaked"].draw(Random(1))[:30]
    target = delay.watch_alone(delay.GOOGLE, jobs, (), 1.0).requests
    tuned = delay.tuned(delay.COLD, jobs, (), target)
    assert tuned.requests * len(jobs) == pytest.approx(target, rel=0.06)  # its intervals come in steps


@pytest.fixture
def cost(benchmark_named: Callable[[str], Any]) -> Any:
    """A measurement of little, without the peers that would have to be installed."""
    plan, lab, envs = map(benchmark_named, ("_cost_plan", "_cost_lab", "_cost_envs"))
    few = plan.Plan(
        contests=(plan.flat_out((plan.LOOP, plan.AZURE, plan.STREAM), 1, 0.2),),
        memory=((plan.WATCH_ALL, 1000, plan.FAR),),
        intake=1000,
        intakes=1,
        imports=1,
    )
    return lambda: lab.Lab(envs.Environments(), few).measure()


def test_the_cost_of_watching_is_measured_and_judged(cost):
    results, report, plan = cost(), import_module("_cost_report"), import_module("_cost_plan")
    [[measured]] = results.cpu.values()
    assert set(measured) == {plan.LOOP, plan.STREAM}  # whoever is not installed is left out
    assert all(10 < report.microseconds(figures) < 10_000 for figures in measured.values())
    [waiting] = results.memory.values()
    assert 0.05 < report.kibibytes(waiting) < 10
    lines = [*report.tables(results, {}), *report.goal_table(list(report.goals(results)))]
    assert sum(line.startswith("|") for line in lines) == 2 + 2 + 2 + 1 + 2 + 3 + 2 + 4 + 2 + 6
    assert report.bars(results)["Memory a waiting job, KiB"] == {
        "zuora_jobs watch_all, 1,000 jobs": report.kibibytes(waiting)
    }


def test_what_could_not_be_measured_is_no_goal_reached(benchmark_named):
    report = benchmark_named("_cost_report")
    assert not report.Goal("CPU", None, 1.0).is_met
    assert report.Goal("CPU", 1.0, 1.0).is_met
    assert not report.Goal("CPU", 1.0, 1.0, is_strict=True).is_met


def test_figures_are_put_where_the_last_ones_were(benchmark_named, tmp_path):
    cost, readme = benchmark_named("cost"), tmp_path / "README.md"
    readme.write_text("before\n" + "last ones\n".join(cost.BETWEEN) + "after\n", encoding="utf-8")
    for _ in range(2):
        cost.publish(readme, "| 1 |\n")
    assert readme.read_text(encoding="utf-8") == "before\n" + "\n| 1 |\n\n".join(cost.BETWEEN) + "after\n"
    assert cost.BETWEEN[0] in (BENCHMARKS / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def scale(benchmark_named: Callable[[str], Any]) -> Any:
    return benchmark_named("scale")


def test_a_polls_cost_is_measured_for_some_jobs_and_for_many(scale, tmp_path):
    plan = import_module("_scale_lab").Plan((50, 1000), rounds=1, looks=500, polls=200, many=1000)
    results, report = scale.measure(plan), import_module("_scale_report")
    assert set(report.polls(results, "later")) == set(report.decisions(results, "later")) == {50, 1000}
    assert set(report.polls(results, "first")) == set(report.decisions(results, "first")) == {1000}
    assert all(10 < point.middle < 10_000 for point in report.polls(results, "later").values())
    later, together = scale.goals(results)
    assert 1 <= later.value <= together.value
    lines = [*scale.tables(results), *scale.goal_table([later, together])]
    assert sum(line.startswith("|") for line in lines) == 5 + 5 + 4 + 4
    texts = [text.text for text in ET.fromstring(scale.picture(results)).iter("{http://www.w3.org/2000/svg}text")]
    assert {"50", "1,000", "a poll, later looks", "microseconds of CPU"} < set(texts)
    readme = tmp_path / "README.md"
    readme.write_text((BENCHMARKS / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    scale.publish(readme, "| 1 |\n")
    before, found, after = readme.read_text(encoding="utf-8").partition("\n| 1 |\n\n".join(scale.BETWEEN))
    assert found
    assert "cost.py printed" in before
    assert "limit.py" in after
