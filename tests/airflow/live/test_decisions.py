"""Two triggerers as they are: who ends a task, and what that does to its job. Only a user who means it cancels one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("airflow", reason="needs Apache Airflow")

from airflow.sdk import DAG

from zuora_jobs.emulator import Step
from zuora_jobs.integrations.airflow import ZuoraJobsTrigger, ZuoraWatchOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNNING = [Step("executing")]
ROOM = 30
"""For triggers in a triggerer."""


@pytest.fixture(scope="module")
def tenant(new_zuora: Any) -> Iterator[Any]:
    """A Zuora for all tests of this file, since the triggerers are told of it as they start."""
    with new_zuora() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_ZUORA_DEFAULT", running.connection())
        yield running


@pytest.fixture(scope="module")
def pair(tenant: Any, start_triggerer: Any) -> list[Any]:
    """Two triggerers, both alive."""
    started = [start_triggerer(ROOM), start_triggerer(ROOM)]
    return [triggerer.wait_until_ready() for triggerer in started]


def jobs_of(tenant: Any, count: int, kind: str = "aqua") -> list[Any]:
    """Jobs that run until they are told to end."""
    return list(tenant.do(lambda zuora: [zuora.add_job(kind, life=RUNNING) for _ in range(count)]))


def end(tenant: Any, jobs: list[Any]) -> None:
    tenant.do(lambda _: [job.become("completed") for job in jobs if not job.ended])


def statuses(tenant: Any, jobs: list[Any]) -> list[str]:
    return list(tenant.do(lambda _: [job.status for job in jobs]))


def deleted(tenant: Any) -> set[str]:
    """The jobs that anybody tried to cancel; with SQLite two triggerers may take the same trigger, and both cancel its job."""
    return {record.handle for record in tenant.asked("DELETE")}


def test_a_user_who_ends_a_task_cancels_its_job_and_no_other(
    tenant: Any, pair: Any, deferred: Any, wait_until: Any
) -> None:
    jobs = jobs_of(tenant, 4)
    triggers = [ZuoraJobsTrigger(job.handle, cancel_on_kill=place != 2) for place, job in enumerate(jobs)]
    tasks = deferred("ended", triggers)
    wait_until(lambda: all(job.polls for job in jobs), "all are watched")
    tasks.mark(0, "failed")
    tasks.mark(1, "success")
    tasks.mark(2, "failed")
    wait_until(lambda: len(deleted(tenant)) >= 2, "two jobs are cancelled")
    wait_until(lambda: tasks.triggerers().count(None) == 3, "three triggers are gone")
    assert statuses(tenant, jobs) == ["cancelled", "cancelled", "executing", "executing"]
    end(tenant, jobs)
    wait_until(lambda: tasks.states()[3] == "scheduled", "the one that nobody ended goes on")
    assert tasks.states() == ["failed", "success", "failed", "scheduled"]
    assert deleted(tenant) == {job.handle for job in jobs[:2]}


def test_a_user_who_clears_a_task_has_its_job_watched_on(
    tenant: Any, pair: Any, deferred: Any, wait_until: Any
) -> None:
    cancelled = deleted(tenant)
    (job,) = jobs_of(tenant, 1)
    tasks = deferred("cleared", [ZuoraJobsTrigger(job.handle, cancel_on_kill=True)])
    wait_until(lambda: job.polls, "it is watched")
    (triggerer,) = [one for one in pair if one.job_id in tasks.triggerers()]
    tasks.clear(0)
    wait_until(lambda: "trigger completed" in tasks.log(0, triggerer), "the trigger is gone")
    assert "invoking on_kill" in tasks.log(0, triggerer)
    assert (statuses(tenant, [job]), deleted(tenant)) == (["executing"], cancelled)


def test_two_share_the_triggers_and_one_that_is_handed_over_cancels_nothing(
    tenant: Any, pair: Any, deferred: Any, wait_until: Any
) -> None:
    one, other = pair
    cancelled = deleted(tenant)
    jobs = jobs_of(tenant, ROOM + 10)
    tasks = deferred("shared", [ZuoraJobsTrigger(job.handle, cancel_on_kill=True) for job in jobs])
    wait_until(lambda: all(job.polls for job in jobs), "all are watched")
    of = tasks.triggerers()
    assert set(of) == {one.job_id, other.job_id}
    place = of.index(one.job_id)
    tasks.hand_over(place, other)
    wait_until(lambda: jobs[place].handle in tasks.log(place, other), "the other watches it")
    wait_until(lambda: "invoking on_kill" in tasks.log(place, one), "the one takes it for a user's decision")
    wait_until(lambda: "trigger completed" in tasks.log(place, one), "and has let go of it")
    end(tenant, jobs)
    wait_until(lambda: set(tasks.states()) == {"scheduled"}, "all go on")
    told_of = [event["accounts"][0]["handle"] for event in tasks.events()]
    assert told_of == [job.handle for job in jobs]
    assert deleted(tenant) == cancelled


def test_a_task_that_begins_in_a_triggerer(tenant: Any, pair: Any, begun_in_triggerer: Any, wait_until: Any) -> None:
    (job,) = jobs_of(tenant, 1)
    with DAG("without_a_worker", schedule=None, params={"which": "none"}) as dag:
        ZuoraWatchOperator(
            task_id="watch",
            handles="{{ dag_run.conf['which'] }}",
            start_from_trigger=True,
            job_timeout=600,
        )
    tasks = begun_in_triggerer(dag, which=job.handle)
    wait_until(lambda: job.polls, "it is watched")
    assert tasks.states() == ["deferred"]
    end(tenant, [job])
    wait_until(lambda: tasks.states() == ["scheduled"], "it goes on")
    assert [account["handle"] for account in tasks.events()[0]["accounts"]] == [job.handle]


def test_a_triggerer_that_is_stopped_cancels_nothing_and_hands_over(
    tenant: Any, pair: Any, deferred: Any, wait_until: Any
) -> None:
    one, other = pair
    cancelled = deleted(tenant)
    jobs = jobs_of(tenant, 20)
    tasks = deferred("stopped", [ZuoraJobsTrigger(job.handle, cancel_on_kill=True) for job in jobs])
    wait_until(lambda: all(job.polls for job in jobs), "all are watched")
    one.terminate()
    wait_until(lambda: set(tasks.triggerers()) == {other.job_id}, "the other has them all")
    end(tenant, jobs)
    wait_until(lambda: set(tasks.states()) == {"scheduled"}, "all go on")
    assert deleted(tenant) == cancelled
