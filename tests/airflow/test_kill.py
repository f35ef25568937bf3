"""What a trigger does when Airflow says that a user has ended its task; in virtual time, with states that are made up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import define, field, frozen

pytest.importorskip("airflow", reason="needs Apache Airflow")

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.utils.state import TaskInstanceState

from zuora_jobs import emulator
from zuora_jobs.emulator import Fault, Step
from zuora_jobs.integrations.airflow import ZuoraJobsTrigger
from zuora_jobs.integrations.airflow.triggers import CANCELLED_WITHIN

pytestmark = pytest.mark.looptime
RUNNING = [Step("executing")]


@frozen
class Instance:
    """Of a task, as far as a trigger looks at it."""

    dag_id: str = "dag"
    task_id: str = "watch"
    run_id: str = "run"
    map_index: int = -1


@define
class Office:
    """What Airflow says of the states of tasks, and what it was asked."""

    states: dict[str, Any] = field(factory=dict)
    asked: list[dict[str, Any]] = field(factory=list)

    def get_task_states(self, **question: Any) -> dict[str, Any]:
        self.asked.append(question)
        return {"run": self.states}


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Office:
    office = Office()
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", office.get_task_states)
    return office


def trigger_of(handles: Any, *, map_index: int = -1, cancel_on_kill: bool = True) -> ZuoraJobsTrigger:
    trigger = ZuoraJobsTrigger(handles, cancel_on_kill=cancel_on_kill)
    trigger._task_instance = Instance(map_index=map_index)
    return trigger


def deleted(zuora: emulator.Emulator) -> list[str | None]:
    return [request.handle for request in zuora.requests if request.method == "DELETE"]


@pytest.mark.parametrize("state", ["failed", "success"])
async def test_the_job_of_a_task_that_was_ended_is_cancelled(connect: Any, office: Office, state: str) -> None:
    office.states = {"watch": state}
    async with connect() as zuora:
        job = zuora.add_job("aqua", life=RUNNING)
        await trigger_of(job.handle).on_kill()
        assert job.status == "cancelled"
        assert office.asked == [{"dag_id": "dag", "task_ids": ["watch"], "run_ids": ["run"], "map_index": None}]


@pytest.mark.parametrize("state", [state for state in TaskInstanceState if state not in {"failed", "success"}])
async def test_the_job_of_a_task_that_goes_on_is_left_alone(connect: Any, office: Office, state: str) -> None:
    office.states = {"watch": state}
    async with connect() as zuora:
        job = zuora.add_job("aqua", life=RUNNING)
        await trigger_of(job.handle).on_kill()
        assert job.status == "executing"
        assert zuora.requests == []


@pytest.mark.parametrize("states", [{}, {"watch": None}])
async def test_where_the_state_is_not_known_nothing_is_cancelled(connect: Any, office: Office, states: Any) -> None:
    office.states = states
    async with connect() as zuora:
        await trigger_of(zuora.add_job("aqua", life=RUNNING).handle).on_kill()
        assert zuora.requests == []


async def test_without_a_task_nothing_is_cancelled(connect: Any, office: Office) -> None:
    async with connect() as zuora:
        await ZuoraJobsTrigger(zuora.add_job("aqua", life=RUNNING).handle, cancel_on_kill=True).on_kill()
        assert (zuora.requests, office.asked) == ([], [])


async def test_of_a_mapped_task_only_its_own_state_counts(connect: Any, office: Office) -> None:
    office.states = {"watch_0": "failed"}
    async with connect() as zuora:
        job = zuora.add_job("aqua", life=RUNNING)
        await trigger_of(job.handle, map_index=0).on_kill()
        assert job.status == "cancelled"
        assert office.asked[0]["map_index"] == 0


async def test_nothing_is_asked_or_cancelled_unless_it_was_wanted(connect: Any, office: Office) -> None:
    office.states = {"watch": "failed"}
    async with connect() as zuora:
        await trigger_of(zuora.add_job("aqua", life=RUNNING).handle, cancel_on_kill=False).on_kill()
        assert (zuora.requests, office.asked) == ([], [])


async def test_only_kinds_that_can_be_cancelled_are(connect: Any, office: Office) -> None:
    office.states = {"watch": "failed"}
    async with connect() as zuora:
        pdfs, delete = zuora.add_job("bulk-pdf"), zuora.add_job("operation")
        await trigger_of([pdfs.handle, delete.handle]).on_kill()
        assert (zuora.requests, office.asked) == ([], [])
        exports = [zuora.add_job("aqua", life=RUNNING) for _ in range(3)]
        ended = zuora.add_job("aqua", life=[Step("completed")])
        await trigger_of([pdfs.handle, *(job.handle for job in (*exports, ended))]).on_kill()
        assert [job.status for job in (*exports, ended)] == [*["cancelled"] * 3, "completed"]
        assert {job.handle for job in exports} <= set(deleted(zuora)) <= {job.handle for job in (*exports, ended)}


async def test_one_that_cannot_be_cancelled_does_not_hold_up_the_others(connect: Any, office: Office) -> None:
    office.states = {"watch": "failed"}
    async with connect() as zuora:
        bad, good = (zuora.add_job("aqua", life=RUNNING) for _ in range(2))
        zuora.fault(Fault("server-error", path=bad.id))
        await trigger_of([bad.handle, good.handle]).on_kill()
        assert (bad.status, good.status) == ("executing", "cancelled")


@pytest.mark.parametrize("effect", ["hang", "unavailable"])
async def test_it_takes_no_longer_than_airflow_waits(connect: Any, office: Office, effect: str) -> None:
    office.states = {"watch": "failed"}
    async with connect() as zuora:
        job = zuora.add_job("aqua", life=RUNNING)
        zuora.fault(Fault(effect))
        began = asyncio.get_running_loop().time()
        await trigger_of(job.handle).on_kill()
        assert asyncio.get_running_loop().time() - began <= CANCELLED_WITHIN < 30


async def test_being_cancelled_again_each_second_does_not_stop_it(connect: Any, office: Office) -> None:
    office.states = {"watch": "failed"}
    async with connect() as zuora:
        job = zuora.add_job("aqua", life=RUNNING)
        zuora.fault(Fault("slow", times=2))  # a token takes 5 s, and so does the DELETE
        killing = asyncio.ensure_future(trigger_of(job.handle).on_kill())
        for _ in range(12):
            await asyncio.sleep(1)
            killing.cancel()
        assert job.status == "cancelled"


async def test_cleaning_up_and_being_cancelled_cancel_nothing(connect: Any, office: Office) -> None:
    office.states = {"watch": "failed"}
    async with connect() as zuora:
        job = zuora.add_job("aqua", life=RUNNING)
        trigger = trigger_of(job.handle)

        async def watch() -> list[Any]:
            return [event async for event in trigger.run()]

        watching = asyncio.ensure_future(watch())
        await asyncio.sleep(5)
        assert job.polls
        watching.cancel()
        await asyncio.wait([watching])
        await trigger.cleanup()
        assert watching.cancelled()
        assert (job.status, deleted(zuora), office.asked) == ("executing", [], [])
