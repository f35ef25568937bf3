"""The trigger by itself: in virtual time, with a real Airflow's classes around it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

pytest.importorskip("airflow", reason="needs Apache Airflow")

from airflow.models.trigger import Trigger
from airflow.sdk import timezone
from airflow.serialization.decoders import smart_decode_trigger_kwargs
from airflow.serialization.encoders import encode_trigger

from zuora_jobs.emulator import Fault, Step
from zuora_jobs.integrations.airflow import ZuoraJobsTrigger, ZuoraWatchOperator
from zuora_jobs.integrations.airflow.triggers import AT_LEAST, FIRES_AFTER


async def event_of(trigger: ZuoraJobsTrigger) -> Any:
    events = [event async for event in trigger.run()]
    assert len(events) == 1
    return events[0]


async def accounts_of(trigger: ZuoraJobsTrigger) -> list[Any]:
    return list((await event_of(trigger)).payload["accounts"])


def in_seconds(seconds: float) -> str:
    return str((timezone.utcnow() + timedelta(seconds=seconds)).isoformat())


# ---- what is kept of it ----


def test_it_survives_airflows_own_serialization_and_has_no_secret() -> None:
    given = {
        "handles": ["aqua:" + "1" * 32, "operation:" + "2" * 32],
        "zuora_conn_id": "other",
        "deadline": in_seconds(60),
        "timeout": 5.5,
        "cancel_on_kill": True,
    }
    trigger = ZuoraJobsTrigger(**given)  # type: ignore[arg-type]
    row = Trigger.from_object(trigger)
    assert row.encrypted_kwargs.startswith("gAAAA")
    kwargs = {
        name: smart_decode_trigger_kwargs(value)
        for name, value in Trigger._decrypt_kwargs(row.encrypted_kwargs).items()
    }
    assert kwargs == given
    again = ZuoraJobsTrigger(**kwargs)
    assert again.serialize() == trigger.serialize()
    assert trigger.serialize()[0] == f"{ZuoraJobsTrigger.__module__}.ZuoraJobsTrigger"
    assert len(json.dumps(encode_trigger(trigger))) < 1000


def test_a_trigger_for_thousands_of_jobs_is_as_large_as_their_names() -> None:
    handles = [f"aqua:{number:032x}" for number in range(5000)]
    assert len(json.dumps(ZuoraJobsTrigger(handles).serialize())) < 5000 * 45


# ---- what it tells ----


@pytest.mark.looptime
async def test_it_tells_each_end_in_the_order_asked_for(connect: Any) -> None:
    async with connect() as zuora:
        ends = [
            ("aqua", "completed"),
            ("operation", "Failed"),
            ("bulk-pdf", "Cancelled"),
            ("bulk-pdf", "PartialComplete"),
        ]
        jobs = [zuora.add_job(kind, ends=end, seconds=9 - place) for place, (kind, end) in enumerate(ends)]
        handles = [job.handle for job in jobs]
        missing = "aqua:" + "0" * 32
        told = await accounts_of(ZuoraJobsTrigger([*handles, missing, handles[0]]))
        assert [account["handle"] for account in told] == [*handles, missing]
        assert [account["outcome"] for account in told] == ["succeeded", "failed", "cancelled", "succeeded", "lost"]
        assert [account["partial"] for account in told] == [False, False, False, True, False]
        assert [account["status"] for account in told[:4]] == [end for _, end in ends]
        assert told[1]["reasons"]
        assert told[1]["reasons"][0]["message"] in told[1]["message"]
        assert (told[0]["message"], told[0]["job"]["status"]) == ("", "completed")
        assert told[4]["error"]["type"] == "NotFound"
        json.dumps(told)


@pytest.mark.looptime
async def test_a_presigned_url_loses_its_signature(connect: Any) -> None:
    async with connect() as zuora:
        job = zuora.add_job("bulk-pdf", ends="Completed", seconds=1)
        (told,) = await accounts_of(ZuoraJobsTrigger([job.handle]))
        assert "X-Amz-Signature" in json.dumps(job.document())
        assert told["job"]["success"] is True
        assert zuora.store_url in json.dumps(told["job"])
        assert "Signature" not in json.dumps(told)


@pytest.mark.looptime
async def test_large_documents_are_left_out_and_the_rest_told(connect: Any) -> None:
    async with connect() as zuora:
        large = [zuora.add_job("aqua", ends="completed", seconds=1, fields={"name": "x" * 30_000}) for _ in range(2)]
        small = zuora.add_job("aqua", ends="completed", seconds=1)
        told = await accounts_of(ZuoraJobsTrigger([job.handle for job in (*large, small)]))
        assert [account["job"] is None for account in told] == [False, True, False]
        assert {account["outcome"] for account in told} == {"succeeded"}
        assert len(json.dumps(told)) < 60_000


@pytest.mark.looptime
async def test_an_unknown_status_is_watched_on(connect: Any) -> None:
    async with connect() as zuora:
        job = zuora.add_job("aqua", life=[Step("sleeping", 60), Step("completed")])
        (told,) = await accounts_of(ZuoraJobsTrigger([job.handle]))
        assert (told["outcome"], told["status"]) == ("succeeded", "completed")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [({"handles": "not-a-handle"}, "not-a-handle"), ({"handles": "aqua:1", "zuora_conn_id": "nowhere"}, "nowhere")],
)
async def test_what_cannot_be_watched_is_told(arguments: Any, complaint: str) -> None:
    event = await event_of(ZuoraJobsTrigger(**arguments))
    assert event.payload.keys() == {"error"}
    assert complaint in event.payload["error"]["message"]


# ---- how long ----


@pytest.mark.looptime
@pytest.mark.parametrize("seconds", [5, 60])
async def test_a_deadline_is_kept_to_the_second(connect: Any, seconds: float) -> None:
    async with connect() as zuora:
        job = zuora.add_job("aqua", life=[Step("executing")])
        began = asyncio.get_running_loop().time()
        (told,) = await accounts_of(ZuoraJobsTrigger(job.handle, deadline=in_seconds(seconds)))
        assert told["outcome"] == "lost"
        assert seconds - 1 <= asyncio.get_running_loop().time() - began <= seconds
        assert job.status == "executing"


@pytest.mark.looptime
async def test_a_timeout_counts_from_when_it_is_begun(connect: Any) -> None:
    async with connect() as zuora:
        job = zuora.add_job("aqua", life=[Step("executing")])
        began = asyncio.get_running_loop().time()
        (told,) = await accounts_of(ZuoraJobsTrigger(job.handle, timeout=7.5))
        assert told["outcome"] == "lost"
        assert asyncio.get_running_loop().time() - began == pytest.approx(7.5, abs=1e-6)


@pytest.mark.looptime
async def test_one_that_is_begun_past_its_deadline_still_looks(connect: Any) -> None:
    async with connect() as zuora:
        ended, running = (
            zuora.add_job("aqua", life=[Step("completed")]),
            zuora.add_job("aqua", life=[Step("executing")]),
        )
        began = asyncio.get_running_loop().time()
        told = await accounts_of(ZuoraJobsTrigger([ended.handle, running.handle], deadline=in_seconds(-3600)))
        assert [account["outcome"] for account in told] == ["succeeded", "lost"]
        assert asyncio.get_running_loop().time() - began == pytest.approx(AT_LEAST, abs=1e-6)


# ---- for `start_from_trigger` ----


@pytest.mark.looptime
@pytest.mark.parametrize(("lasts", "is_told"), [(0, FIRES_AFTER), (2, FIRES_AFTER), (40, 40)])
async def test_in_a_triggerer_it_fires_only_when_the_executor_is_done_with_the_worker(
    connect: Any, lasts: float, is_told: float
) -> None:
    async with connect() as zuora:
        job = zuora.add_job("operation", life=[Step("Processing", seconds=lasts), Step("Completed")])
        trigger = ZuoraJobsTrigger(job.handle)
        trigger.trigger_id = 1
        began = asyncio.get_running_loop().time()
        assert [account["outcome"] for account in await accounts_of(trigger)] == ["succeeded"]
        assert is_told <= asyncio.get_running_loop().time() - began <= is_told + 0.6, (
            "the next look is 0.5 s later at most"
        )


@pytest.mark.looptime
async def test_the_tasks_log_says_that_nobody_answers_and_when_somebody_does(
    connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect() as zuora:
        job = zuora.add_job("operation", life=[Step("Processing", seconds=100), Step("Completed")])
        fault = zuora.fault(Fault("unavailable", path="/jobs/"))
        trigger = ZuoraJobsTrigger(job.handle)
        said: list[str] = []
        for level in ("info", "warning"):
            setattr(trigger.log, level, lambda text, *about: said.append(text % about))
        watching = asyncio.create_task(accounts_of(trigger))
        await asyncio.sleep(30)
        fault.remove()
        await watching
    told = [line for line in said if "answer" in line.lower()]
    assert len(told) == len(set(told)) == 4
    assert sum("again" in line for line in told) == 3  # asked about again, answered about again, answers come again
    assert "503" in told[0]


def test_an_operator_that_begins_in_the_triggerer_says_what_the_trigger_is_made_of() -> None:
    operator = ZuoraWatchOperator(
        task_id="watch", handles="{{ params.handle }}", start_from_trigger=True, job_timeout=timedelta(minutes=2)
    )
    arguments = operator.start_trigger_args
    assert arguments is not None
    assert arguments.trigger_kwargs is not None
    assert (arguments.trigger_kwargs["timeout"], arguments.trigger_kwargs["deadline"]) == (120.0, None)
    assert arguments.trigger_kwargs["handles"] == "{{ params.handle }}"
    assert arguments.trigger_cls == ZuoraJobsTrigger("aqua:1").serialize()[0]
