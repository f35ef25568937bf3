import asyncio
import json
import re
from typing import Any

import pytest

from zuora_jobs import emulator
from zuora_jobs.emulator import Step
from zuora_jobs.emulator.families import FAMILIES
from zuora_jobs.errors import ConfigurationError

IDS = re.compile(r"[0-9a-f]{32}")


async def answer(calling: Any, kind: Any, *life: Any, **options: Any) -> Any:
    async with calling() as caller:
        job = caller.zuora.add_job(kind, life=[Step(*life)] if life else None, **options)
        return await caller.poll(job)


def test_ids_look_like_zuoras() -> None:
    async def draw(seed: Any) -> Any:
        async with emulator.running(seed=seed) as zuora:
            return [job.id for job in zuora.add_jobs("aqua", 20)]

    first, again, other = (asyncio.run(draw(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert all(IDS.fullmatch(job_id) for job_id in first)
    assert len({*first, *other}) == 40


@pytest.mark.looptime
@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
async def test_drawn_lives_end_in_an_ending_of_their_family(family: Any, calling: Any) -> None:
    async with calling() as caller:
        jobs = caller.zuora.add_jobs(family.name, 200)
        assert {job.status for job in jobs} == {family.running[0]}
        await asyncio.sleep(family.seconds[1])
        assert {job.status for job in jobs} <= set(family.endings)
        assert len({job.status for job in jobs}) == len(family.endings)
        assert all(family.seconds[0] - 0.1 <= job.ended_at <= family.seconds[1] for job in jobs)


@pytest.mark.looptime
async def test_short_cuts(calling: Any) -> None:
    async with calling() as caller:
        timed = caller.zuora.add_job("bulk-pdf", ends="PartialComplete", seconds=3)
        counted = caller.zuora.add_job("aqua", ends="aborted", polls=2)
        assert [(await caller.poll(counted))["status"] for _ in range(3)] == ["executing", "executing", "aborted"]
        await asyncio.sleep(2.9)
        assert timed.status == "Executing"
        await asyncio.sleep(0.1)
        assert (timed.status, timed.ended_at) == ("PartialComplete", 3)


async def test_operation(calling: Any) -> None:
    done = await answer(calling, "operation", "Completed")
    assert set(done) == {"id", "objectId", "objectType", "operationType", "status", "reasons", "success"}
    assert (done["objectType"], done["reasons"], done["success"]) == ("Invoice", [], True)
    failed = await answer(calling, "operation", "Failed")
    assert failed["success"] is True
    assert set(failed["reasons"][0]) == {"code", "message"}


async def test_bulk_pdf(calling: Any) -> None:
    done = await answer(calling, "bulk-pdf", "Completed")
    assert (done["stepStatus"], done["createdOn"], done["success"]) == ("PostProcessing", "2026-01-05 09:00:00", True)
    assert all("X-Amz-Signature=" in url for url in done["fileUrls"])
    assert "failedDocuments" not in done
    partial = await answer(calling, "bulk-pdf", "PartialComplete")
    assert partial["fileUrls"]
    assert partial["failedDocuments"][0].keys() == partial["skippedDocuments"][0].keys() == {"docType", "objectIds"}
    failed = await answer(calling, "bulk-pdf", "Error")
    assert (failed["fileUrls"], len(failed["reasons"])) == ([], 1)


@pytest.mark.looptime
async def test_bulk_pdf_steps_follow_its_progress(calling: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("bulk-pdf", life=[Step("Submitted", 1), Step("Executing", 4), Step("Completed")])
        steps = []
        for _ in range(6):
            steps.append((await caller.poll(job))["stepStatus"])
            await asyncio.sleep(1)
        assert steps == [
            "JobCreated",
            "TasksCreated",
            "GenerateMissPDF",
            "PdfToZip",
            "PostProcessing",
            "PostProcessing",
        ]


@pytest.mark.parametrize(
    ("kind", "operation"), [("apply", "AsyncCreditMemoApply"), ("unapply", "AsyncCreditMemoUnapply")]
)
async def test_credit_memo_settlements(kind: Any, operation: Any, calling: Any) -> None:
    done = await answer(calling, f"credit-memo-{kind}", "Processed")
    assert done["operationType"] == operation
    assert set(done) == {"id", "status", "operationType", "referenceId", "referenceType", "error", "success"}
    assert (done["error"], done["success"]) == (None, True)
    failed = await answer(calling, f"credit-memo-{kind}", "Error")
    assert f"to {kind}" in failed["error"]


@pytest.mark.looptime
async def test_aqua_batches_advance_one_after_another(calling: Any) -> None:
    async with calling() as caller:
        life = [Step("submitted", 1), Step("executing", 4), Step("completed")]
        job = caller.zuora.add_job("aqua", life=life, fields={"batches": [{"name": "A"}, {"name": "B"}]})
        seen = []
        for _ in range(6):
            document = await caller.poll(job)
            seen.append([(b["name"], b["status"], "fileId" in b, "recordCount" in b) for b in document["batches"]])
            await asyncio.sleep(1)
        waiting, running, done = (("pending", False, False), ("executing", False, False), ("completed", True, True))
        assert [[state[1:] for state in states] for states in seen] == [
            [waiting, waiting], [running, waiting], [running, waiting], [done, running], [done, running], [done, done],
        ]  # fmt: skip
        assert [state[0] for state in seen[0]] == ["A", "B"]


async def test_aqua_failures(calling: Any) -> None:
    aborted = await answer(calling, "aqua", ends="aborted", seconds=0)
    assert [batch["status"] for batch in aborted["batches"]] == ["completed", "aborted"]
    assert "must specify a select" in aborted["batches"][1]["message"]
    assert "fileId" in aborted["batches"][0]
    refused = await answer(calling, "aqua", "error")
    assert (refused["errorCode"], refused["batches"]) == ("90005", [])
    cancelled = await answer(calling, "aqua", "cancelled")
    assert [("fileId" in batch, batch["status"]) for batch in cancelled["batches"]] == [
        (True, "completed"), (False, "aborted"),
    ]  # fmt: skip


async def test_a_document_is_served_key_for_key(calling: Any) -> None:
    sample = json.loads('{"status": "Zipping", "jobId": "2c92c8955bd63cc1015bd7c151af02ab", "x": [1, {"y": null}]}')
    async with calling() as caller:
        assert caller.zuora.add_document("bulk-pdf", sample) == sample["jobId"]
        for _ in range(2):
            response = await caller.get(f"/v1/operations/bulk-pdf/{sample['jobId']}")
            assert await response.text() == json.dumps(sample)
        invoice = {"Id": "abc", "Balance": 0.1}
        caller.zuora.add_document("invoice", invoice)
        assert await (await caller.get("/v1/object/invoice/abc")).json() == invoice
        with pytest.raises(ConfigurationError, match="'jobId'"):
            caller.zuora.add_document("bulk-pdf", {"id": "1"})


async def test_nonsense_is_refused(calling: Any) -> None:
    async with calling() as caller:
        zuora = caller.zuora
        zuora.add_job("aqua", id="1")
        for options, complaint in (
            ({"kind": "aqau"}, "no kind of job called 'aqau'; there are operation, bulk-pdf"),
            ({"kind": "aqua", "id": "1"}, "already a job aqua:1"),
            ({"kind": "aqua", "life": [Step("a")], "ends": "b"}, "either given"),
            ({"kind": "aqua", "seconds": 1, "polls": 1}, "not both"),
            ({"kind": "aqua", "life": []}, "at least one step"),
        ):
            with pytest.raises(ConfigurationError, match=complaint):
                zuora.add_job(**options)
        assert zuora.job("aqua:1") is zuora.jobs[0]
