"""POST /v1/operations/bulk-pdf, and what its archives hold."""

import asyncio
import io
import json
import zipfile
from typing import Any

import pytest

PATH = "/v1/operations/bulk-pdf"


def job_of(*ids: str, **fields: Any) -> dict[str, Any]:
    documents = [{"docType": "Invoice", "objectIds": list(ids)}]
    return {"documents": documents, "fileName": "may 2026", "indexFileFormat": "CSV", **fields}


async def submit(caller: Any, *ids: str, **fields: Any) -> tuple[Any, Any]:
    _, made = await caller.send("POST", PATH, job_of(*ids, **fields))
    return made, caller.zuora.job(f"bulk-pdf:{made['jobId']}")


async def members(caller: Any, job: Any) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for url in (await caller.poll(job))["fileUrls"]:
        async with caller.session.get(url) as response:
            archive = zipfile.ZipFile(io.BytesIO(await response.read()))
        found |= {name: archive.read(name) for name in archive.namelist()}
    return found


@pytest.mark.looptime
async def test_it_becomes_a_job_whose_archives_hold_the_documents(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.on_submit("bulk-pdf", seconds=6)
        gone, known = caller.zuora.add_invoice(), caller.zuora.add_invoice(InvoiceNumber="INV-7")
        caller.zuora.remove_invoice(gone)
        made, job = await submit(caller, known, gone, "b-2", "no id", "c3", "d4", name="All of May")
        assert made == {"jobId": job.id, "invalidIds": [gone, "no id"], "success": True}
        assert [record.status for record in caller.zuora.requests] == [200]
        assert (await caller.poll(job))["status"] == "Submitted"
        await asyncio.sleep(6)
        document = await caller.poll(job)
        assert (document["status"], document["jobName"], job.ended_at) == ("Completed", "All of May", 6)
        for number, url in enumerate(document["fileUrls"], 1):
            assert f"/may%202026_{number}.zip?" in url
        pdfs = {name for name in await members(caller, job) if name.endswith(".pdf")}
        assert pdfs == {"INV-7.pdf", "b-2.pdf", "c3.pdf", "d4.pdf"}


async def test_indexes(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.on_submit("bulk-pdf", at_once=True)
        _, job = await submit(caller, "a", indexFileFormat="JSON")
        assert json.loads((await members(caller, job))["index.json"]) == [{"DocumentNumber": "a", "FileName": "a.pdf"}]
        _, job = await submit(caller, "a")
        assert (await members(caller, job))["index.csv"] == b"DocumentNumber,FileName\na,a.pdf\n"
        _, job = await submit(caller, "a", persistIndexFile=False)
        assert set(await members(caller, job)) == {"a.pdf"}


async def test_documents_that_failed_are_in_no_archive(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.on_submit("bulk-pdf", ends="PartialComplete", at_once=True)
        _, job = await submit(caller, "a", "b", "c")
        assert (await caller.poll(job))["failedDocuments"] == [{"docType": "Invoice", "objectIds": ["c"]}]
        assert {"a.pdf", "b.pdf", "c.pdf"} & set(await members(caller, job)) == {"a.pdf", "b.pdf"}


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        (job_of(), 50000020, "objectIds"),
        (job_of("a", documents=[]), 50000022, "documents"),
        (job_of("a", fileName=""), 50000022, "fileName"),
        (job_of("a", indexFileFormat=None), 50000022, "indexFileFormat"),
        (job_of("a", fileName="x" * 33), 50000020, "fileName"),
        (job_of("a", name="x" * 33), 50000020, "name"),
        (job_of("a", indexFileFormat="XML"), 50000020, "JSON or CSV"),
        (job_of("a", generateMissingPDF="yes"), 50000020, "true or false"),
        (job_of("a", documents=[{"docType": "Payment", "objectIds": ["a"]}]), 50000020, "docType"),
        (job_of("not an id", "x" * 65), 50000040, "None"),
        (b"{", 50000090, "malformed"),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
async def test_what_makes_no_sense_is_refused(body: Any, code: Any, word: Any, status: Any, calling: Any) -> None:
    async with calling(submit_refusal_status=status) as caller:
        answered, refusal = await caller.send("POST", PATH, body)
        assert (answered, refusal["success"]) == (status, False)
        assert refusal["reasons"][0]["code"] == (code if status == 200 else str(code))
        assert word in refusal["reasons"][0]["message"]
        assert refusal.get("invalidIds") == (["not an id", "x" * 65] if code == 50000040 else None)
        assert (caller.zuora.jobs, caller.zuora.submitted) == ([], [])


async def test_without_a_body(calling: Any) -> None:
    async with calling() as caller:
        assert (await caller.send("POST", PATH))[0] == 415
