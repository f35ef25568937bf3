"""POST /v1/batch-query/: what becomes a job, and what is refused."""

import asyncio
from typing import Any

import pytest

from zuora_jobs.emulator import Step
from zuora_jobs.errors import ConfigurationError

PATH = "/v1/batch-query/"
QUERY = {"name": "Invoices", "query": "select Id, Balance from Invoice", "type": "zoqlexport", "apiVersion": "137.0"}
PAIR = {"version": "1.1", "partner": "acme", "project": "sales"}


def job_of(**fields: Any) -> dict[str, Any]:
    return {"format": "csv", "version": "1.0", "name": "June", "queries": [QUERY], **fields}


@pytest.mark.looptime
async def test_it_becomes_a_job_that_lives_and_has_files(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.on_submit("aqua", seconds=8, fields={"batches": [{"recordCount": 3}]})
        wanted = job_of(notifyUrl="https://x.invalid/${JOBID}", sourceData="WAREHOUSE", encrypted="none")
        status, made = await caller.send("POST", PATH, wanted)
        (batch,) = made["batches"]
        assert (status, made["status"], batch["status"]) == (200, "submitted", "pending")
        assert (made["name"], made["format"], made["sourceData"]) == ("June", "CSV", "WAREHOUSE")
        assert made["notifyUrl"] == "https://x.invalid/${JOBID}"
        assert {batch[name] for name in ("name", "query", "batchType", "apiVersion")} == set(QUERY.values())
        assert batch["full"] is True
        assert not {"fileId", "recordCount"} & set(batch)

        job = caller.zuora.job(f"aqua:{made['id']}")
        seen, document = [], made
        for _ in range(5):
            document = await caller.poll(job)
            seen.append((document["status"], document["batches"][0]["status"]))
            await asyncio.sleep(2)
        assert seen == [("submitted", "pending"), *[("executing", "executing")] * 3, ("completed", "completed")]
        assert job.ended_at == 8
        (batch,) = document["batches"]
        rows = (await caller.read(f"/v1/files/{batch['fileId']}")).decode().splitlines()
        assert rows == ["Invoices.Id,Invoices.Balance", *(f"Id-{n},Balance-{n}" for n in (1, 2, 3))]
        assert batch["recordCount"] == 3
        assert "notifyUrl" not in document


async def test_it_is_recorded(calling: Any) -> None:
    async with calling() as caller:
        _, made = await caller.send("POST", "/v1/batch-query", job_of(), Idempotency_Key="mine")
        await caller.send("POST", PATH, job_of(queries=[]))
        (submission,) = caller.zuora.submitted
        assert (submission.name, submission.key, submission.idempotency_key) == ("aqua", None, "mine")
        assert (submission.handle, submission.body) == (f"aqua:{made['id']}", job_of())
        assert [record.handle for record in caller.zuora.requests] == [submission.handle, None]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (job_of(queries=[QUERY] * 51), "90004"),
        (job_of(queries=[]), "90016"),
        (job_of(queries=[QUERY, {"name": "b", "query": ""}]), "90005"),
        (job_of(queries=[{"query": "delete from Invoice"}]), "90005"),
        (job_of(queries=[{**QUERY, "type": "sql"}]), "90005"),
        (job_of(queries=[{**QUERY, "deleted": {"column": "d", "format": "Boolean"}}]), "90012"),
        (job_of(notifyUrl="x" * 5000), "90014"),
        (job_of(incrementalTime="2026-01-05T09:00:00"), "90015"),
    ],
)
async def test_what_makes_no_sense_is_refused_without_an_id(body: Any, code: Any, calling: Any) -> None:
    async with calling() as caller:
        status, refusal = await caller.send("POST", PATH, body)
        assert (status, refusal["status"], refusal["errorCode"]) == (200, "error", code)
        assert "id" not in refusal
        assert (caller.zuora.jobs, caller.zuora.submitted) == ([], [])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"queries": [', 50000090),
        (b"[]", 50000090),
        (job_of(format="json"), 50000020),
        (job_of(name="x" * 33), 50000020),
        (job_of(offset=3601), 50000020),
        (job_of(version="2.0"), 50000020),
        (job_of(encrypted="rot13"), 50000020),
        (job_of(queries=["select 1"]), 50000020),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
async def test_what_cannot_be_read_is_refused_flatly(body: Any, code: Any, status: Any, calling: Any) -> None:
    async with calling(aqua_refusal_status=status) as caller:
        answered, refusal = await caller.send("POST", PATH, body)
        assert (answered, refusal.keys()) == (status, {"success", "code", "message"})
        assert (refusal["success"], refusal["code"]) == (False, code)
        assert refusal["message"].startswith("Oops, request is malformed")


@pytest.mark.looptime
async def test_limits_within_bounds(calling: Any) -> None:
    async with calling() as caller:
        bounds = job_of(
            queries=[QUERY] * 50, name="x" * 32, notifyUrl="x" * 4999, format="GziP", **{**PAIR, "offset": 3600}
        )
        assert (await caller.send("POST", PATH, bounds))[1]["format"] == "GZIP"


@pytest.mark.looptime
async def test_jobs_of_a_project_run_one_after_another(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.on_submit("aqua", life=[Step("submitted", 1), Step("executing", 9), Step("completed")])
        jobs = []
        for pair in (PAIR, PAIR, PAIR, {**PAIR, "project": "other"}, {**PAIR, "version": "1.0"}):
            _, made = await caller.send("POST", PATH, job_of(**pair))
            jobs.append(caller.zuora.job(f"aqua:{made['id']}"))
        await asyncio.sleep(5)
        assert [job.status for job in jobs] == ["executing", "submitted", "submitted", "executing", "executing"]
        assert (await caller.poll(jobs[1]))["batches"][0]["full"] is False
        await caller.cancel(jobs[1])
        await asyncio.sleep(4)
        assert [job.status for job in jobs[:3]] == ["executing", "cancelled", "submitted"]
        await asyncio.sleep(100)
        assert [job.ended_at for job in jobs] == [10, 5, 20, 10, 10]
        assert jobs[2].status == "completed"


@pytest.mark.looptime
async def test_loads_are_full_when_queries_change(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.on_submit("aqua", at_once=True)
        other = {**QUERY, "name": "Payments", "query": "select Id from Payment"}
        full = []
        for queries in ([QUERY], [QUERY], [other], [other]):
            _, made = await caller.send("POST", PATH, job_of(**PAIR, queries=queries))
            full.append(made["batches"][0]["full"])
        assert full == [True, False, True, False]
        again = job_of(**PAIR, queries=[QUERY], useLastCompletedJobQueries=True)
        _, made = await caller.send("POST", PATH, again)
        assert [batch["name"] for batch in made["batches"]] == ["Payments", "Invoices"]
        deleted = job_of(**PAIR, queries=[{**QUERY, "deleted": {"column": "d", "format": "Boolean"}}])
        _, made = await caller.send("POST", PATH, deleted)
        assert made["batches"][0]["deleted"] == {"column": "d", "format": "Boolean"}


@pytest.mark.looptime
async def test_so_many_jobs_at_once(calling: Any) -> None:
    async with calling(aqua_jobs_at_once=2) as caller:
        caller.zuora.on_submit("aqua", seconds=10)
        answers = [await caller.send("POST", PATH, job_of()) for _ in range(3)]
        assert ["id" in answer for _, answer in answers] == [True, True, False]
        status, refusal = answers[2]
        assert (status, refusal["success"], refusal["reasons"][0]["code"]) == (200, False, 50000070)
        assert "id" in (await caller.send("POST", PATH, job_of(**PAIR)))[1]  # the modes are counted apart
        await asyncio.sleep(10)
        assert "id" in (await caller.send("POST", PATH, job_of()))[1]
    async with calling(aqua_jobs_at_once=None) as caller:
        for _ in range(60):
            assert "id" in (await caller.send("POST", PATH, job_of()))[1]


@pytest.mark.looptime
async def test_what_the_next_submits_become(calling: Any) -> None:
    async with calling() as caller:
        zuora = caller.zuora
        zuora.on_submit("aqua", ends="aborted", seconds=1)
        zuora.on_submit("aqua", at_once=True, times=2)
        zuora.on_submit("aqua", ends="cancelled", polls=1, times=1)
        statuses = []
        for _ in range(4):
            _, made = await caller.send("POST", PATH, job_of())
            await caller.poll(zuora.job(f"aqua:{made['id']}"))
            statuses.append((made["status"], zuora.jobs[-1].status))
        assert statuses == [("completed", "completed")] * 2 + [("executing", "cancelled"), ("submitted", "submitted")]
        await asyncio.sleep(1)
        assert zuora.jobs[-1].status == "aborted"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": "aqau"}, "no submit called 'aqau'; there are aqua, bulk-pdf, invoice-delete"),
        ({"name": "aqua", "seconds": 1, "polls": 1}, "not both"),
        ({"name": "aqua", "life": [Step("a")], "ends": "b"}, "either given"),
        ({"name": "aqua", "at_once": True, "seconds": 1}, "at once"),
        ({"name": "aqua", "times": 0}, "at least"),
    ],
)
async def test_nonsense_is_refused(options: Any, complaint: Any, calling: Any) -> None:
    async with calling() as caller:
        with pytest.raises(ConfigurationError, match=complaint):
            caller.zuora.on_submit(**options)


@pytest.mark.looptime
async def test_without_a_word_it_ends_well_in_a_plausible_time(calling: Any) -> None:
    async with calling() as caller:
        for _ in range(20):
            await caller.send("POST", PATH, job_of())
        await asyncio.sleep(900)
        assert {job.status for job in caller.zuora.jobs} == {"completed"}
        assert len({job.ended_at for job in caller.zuora.jobs}) > 10
