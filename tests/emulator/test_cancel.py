"""DELETE /v1/batch-query/jobs/{id}: what it stops, what it keeps, and when it comes too late."""

import asyncio
from typing import Any

import pytest

from zuora_jobs.emulator import Step
from zuora_jobs.errors import ConfigurationError

RUNNING = (Step("submitted", 1), Step("executing", 4), Step("completed"))


@pytest.mark.looptime
async def test_a_running_job_is_cancelled_and_keeps_what_it_has(calling: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("aqua", life=RUNNING)
        await asyncio.sleep(3)
        response = await caller.cancel(job)
        document = await response.json()
        assert (response.status, document["status"]) == (200, "cancelled")
        assert [(b["status"], "fileId" in b) for b in document["batches"]] == [("completed", True), ("aborted", False)]
        assert set(document) == {"batches", "encrypted", "format", "id", "name", "sourceData", "status", "version"}
        await asyncio.sleep(100)
        later = await caller.poll(job)
        assert [batch["status"] for batch in later["batches"]] == ["completed", "aborted"]
        assert (job.status, job.ended_at) == ("cancelled", 3)


@pytest.mark.looptime
async def test_a_cancel_can_take_time(calling: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("aqua", life=RUNNING, cancel_takes=10)
        await asyncio.sleep(2)
        assert (await (await caller.cancel(job)).json())["status"] == "executing"
        await asyncio.sleep(9)
        assert (await (await caller.cancel(job)).json())["status"] == "executing"
        await asyncio.sleep(1)
        assert (job.status, job.ended_at) == ("cancelled", 12)


@pytest.mark.parametrize("status", ["completed", "aborted", "error", "cancelled"])
async def test_an_ended_job_is_refused(status: Any, calling: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("aqua", life=[Step(status)])
        response = await caller.cancel(job)
        assert response.status == 400
        assert await response.json() == {"code": 90003, "message": f"Invalid job id for cancellation: {job.id}"}
        assert job.status == status
        assert caller.zuora.requests[-1].handle == job.handle


async def test_the_refusal_may_come_under_200(calling: Any) -> None:
    async with calling(aqua_refusal_status=200) as caller:
        job = caller.zuora.add_job("aqua", life=[Step("completed")])
        response = await caller.cancel(job)
        refusal = await response.json()
        assert (response.status, refusal["status"], refusal["errorCode"]) == (200, "error", "90003")


async def test_a_cancel_can_lose_the_race(calling: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("aqua", life=RUNNING, cancel_loses_to="completed")
        assert (await caller.poll(job))["status"] == "submitted"
        assert (await caller.cancel(job)).status == 400
        document = await caller.poll(job)
        assert document["status"] == "completed"
        assert all("fileId" in batch for batch in document["batches"])


async def test_only_aqua_can_be_cancelled(calling: Any) -> None:
    async with calling() as caller:
        for kind in ("operation", "bulk-pdf", "credit-memo-apply", "credit-memo-unapply"):
            job = caller.zuora.add_job(kind, seconds=60)
            response = await caller.cancel(job)
            assert (response.status, response.headers["Allow"]) == (405, "GET")
            assert (await response.json())["reasons"][0]["code"] == "50000045"
            with pytest.raises(ConfigurationError, match="cannot be cancelled"):
                job.cancel()
        missing = await caller.ask("DELETE", "/v1/batch-query/jobs/nowhere")
        assert (await missing.json())["code"] == 90002


async def test_a_fixed_document_is_cancelled_without_a_change(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.add_document("aqua", {"id": "1", "status": "executing"})
        caller.zuora.add_document("aqua", {"id": "2", "status": "cancelled"})
        answers = [await caller.ask("DELETE", f"/v1/batch-query/jobs/{number}") for number in (1, 2)]
        assert [answer.status for answer in answers] == [200, 400]
        assert await answers[0].json() == {"id": "1", "status": "executing"}
