"""Triggerers as they are, with hundreds of triggers: one fleet for each, nothing lost when one dies, nothing cancelled."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

pytest.importorskip("airflow", reason="needs Apache Airflow")

from zuora_jobs.emulator import Step
from zuora_jobs.integrations.airflow import ZuoraJobsTrigger
from zuora_jobs.transport.gate import BURST

COUNT, RATE, AT_ONCE = 200, 40, 4
RUNNING = [Step("executing")]


def test_one_fleet_of_two_hundred_outlives_its_triggerer(
    zuora: Any, deferred: Any, start_triggerer: Any, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ZUORA_DEFAULT", zuora.connection(extra={"rate": RATE, "concurrency": AT_ONCE}))
    jobs = zuora.do(lambda zuora: [zuora.add_job("aqua", life=RUNNING) for _ in range(COUNT)])
    tasks = deferred("fleet", [ZuoraJobsTrigger(job.handle, cancel_on_kill=True) for job in jobs])

    def end(some: Any) -> None:
        zuora.do(lambda _: [job.become("completed") for job in some])

    def scheduled() -> int:
        return Counter(tasks.states())["scheduled"]

    first = start_triggerer(dead_after=5).wait_until_ready()
    wait_until(lambda: set(tasks.triggerers()) == {first.job_id}, "it has all triggers")
    second = start_triggerer(dead_after=5)
    wait_until(lambda: all(job.polls for job in jobs), "all jobs are watched")
    assert set(tasks.states()) == {"deferred"}
    assert set(tasks.triggerers()) == {first.job_id}
    assert zuora.emulator.token_requests == 1
    assert 1 <= first.connections_to(int(zuora.url.rpartition(":")[2])) <= AT_ONCE + 1
    end(jobs[:60])
    wait_until(lambda: scheduled() == 60, "60 tasks go on")
    second.wait_until_ready()
    asked_by_first = zuora.asked("GET")

    first.kill()
    end(jobs[60:130])
    wait_until(lambda: scheduled() == 130, "those whose jobs ended meanwhile go on as well")
    assert set(tasks.triggerers()[130:]) == {second.job_id}
    end(jobs[130:])
    wait_until(lambda: scheduled() == COUNT, "all go on")

    told = [event["accounts"] for event in tasks.events()]
    assert [(account["handle"], account["outcome"]) for (account,) in told] == [
        (job.handle, "succeeded") for job in jobs
    ]
    wait_until(lambda: not any(tasks.triggerers()), "no trigger is left")
    asked = zuora.asked("GET")
    assert zuora.emulator.token_requests == 2
    assert zuora.do(lambda zuora: zuora.peak_concurrency) <= AT_ONCE
    assert {record.status for record in asked} == {200}
    for records in (asked_by_first, [record for record in asked if record.at > asked_by_first[-1].at]):
        seconds = records[-1].at - records[0].at
        assert len(records) <= 1 + (seconds + BURST + 1) * RATE
    assert zuora.asked("DELETE") == []
