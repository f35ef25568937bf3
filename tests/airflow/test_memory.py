"""What a task remembers of its submits: with a store as Airflow's, and no Airflow."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from attrs import define, field

from zuora_jobs import DocumentIds, RunQueries, ZipPdfs, emulator
from zuora_jobs.emulator import Answer, Fault, Step
from zuora_jobs.errors import Rejected, SubmitUncertain
from zuora_jobs.integrations.airflow import memory, work
from zuora_jobs.integrations.airflow.connections import Tenant
from zuora_jobs.protocol.requests import Query

TRIES = 3
QUERIES = [RunQueries(queries=[Query(name=name, query="select Id from Invoice")]) for name in ("A", "B", "C")]
PDFS = ZipPdfs(
    documents=[DocumentIds(doc_type="Invoice", object_ids=("2c92c8955bd63cc1015bd7c151af02ad",))], file_name="x"
)
OTHER = ZipPdfs(documents=PDFS.documents, file_name="y")
REFUSED = Answer(200, {"success": False, "reasons": [{"code": 50000020, "message": "No such field"}]})


@define
class Store:
    """Keeps JSON by text keys, and nothing that is no JSON; None is no value."""

    kept: dict[str, str] = field(factory=dict)
    dies_at: int | None = None
    """Before which `set` a worker is killed."""
    sets: int = 0

    def get(self, key: str) -> Any:
        return json.loads(self.kept[key]) if key in self.kept else None

    def set(self, key: str, value: Any) -> None:
        assert value is not None
        self.sets += 1
        if self.sets == self.dies_at:
            raise SystemError("killed")
        self.kept[key] = json.dumps(value, allow_nan=False)

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


async def submit(zuora: emulator.Emulator, store: Store, *requests: Any, tries: int = TRIES) -> list[str]:
    submitted, _ = await work.submit(Tenant(settings=zuora.settings()), requests, store, tries)
    return [str(one.handle) for one in submitted]


def posts(zuora: emulator.Emulator) -> list[str]:
    return [
        request.headers["Idempotency-Key"]
        for request in zuora.requests
        if request.method == "POST" and request.door == "api"
    ]


async def test_the_intent_is_kept_before_a_request_is_sent() -> None:
    async with emulator.running() as zuora:
        store = Store(dies_at=1)
        with pytest.raises(SystemError):
            await submit(zuora, store, PDFS)
        assert (posts(zuora), zuora.submitted) == ([], [])


async def test_a_later_try_goes_on_with_the_handle_whatever_it_is_asked_for() -> None:
    async with emulator.running() as zuora:
        store = Store()
        first = await submit(zuora, store, PDFS)
        assert await submit(zuora, store, PDFS) == await submit(zuora, store, OTHER) == first
        assert len(posts(zuora)) == len(zuora.submitted) == 1


async def test_a_try_that_follows_a_kill_sends_the_same_key() -> None:
    async with emulator.running() as zuora:
        store = Store(dies_at=2)
        with pytest.raises(SystemError):
            await submit(zuora, store, PDFS)
        handles = await submit(zuora, store, PDFS)
        assert handles == [submission.handle for submission in zuora.submitted]
        assert len(set(posts(zuora))) == 1


async def test_a_try_that_follows_a_kill_with_another_request_does_not_guess() -> None:
    async with emulator.running() as zuora:
        store = Store(dies_at=2)
        with pytest.raises(SystemError):
            await submit(zuora, store, PDFS)
        for tries in (TRIES, TRIES + 4):  # cleared or not
            with pytest.raises(SubmitUncertain):
                await submit(zuora, store, OTHER, tries=tries)
        assert len(posts(zuora)) == len(zuora.submitted) == 1


async def test_of_several_requests_those_that_were_begun_are_kept_and_a_refused_one_is_not() -> None:
    async with emulator.running() as zuora:
        store = Store()
        refusing = zuora.fault(Fault(REFUSED, path="batch-query", method="POST", after=2))
        with pytest.raises(Rejected):
            await submit(zuora, store, *QUERIES)
        assert sorted(store.kept) == [memory.key_of(0), memory.key_of(1)]
        refusing.remove()
        handles = await submit(zuora, store, *QUERIES)
        assert handles == [submission.handle for submission in zuora.submitted]
        assert len(handles) == 3


@pytest.mark.parametrize(
    ("is_done", "is_cleared", "end", "begins_anew"),
    [
        (True, True, "Completed", True),
        (True, False, "Completed", False),
        (False, True, "Executing", False),
        (False, True, "Completed", False),
        (False, True, "Error", True),
        (False, False, "Error", False),
    ],
)
async def test_who_clears_a_task_begins_anew_unless_its_job_may_serve(
    is_done: bool, is_cleared: bool, end: str, begins_anew: bool
) -> None:
    async with emulator.running() as zuora:
        zuora.on_submit("bulk-pdf", life=[Step(end)])
        store = Store()
        first = await submit(zuora, store, PDFS)
        if is_done:
            memory.end(store, 0, TRIES)
        again = await submit(zuora, store, PDFS, tries=TRIES + is_cleared)
        assert (again != first) is begins_anew
        assert len(set(posts(zuora))) == len(zuora.submitted) == 1 + begins_anew
        if begins_anew:
            assert await submit(zuora, store, PDFS, tries=TRIES + is_cleared) == again


@pytest.mark.looptime
async def test_a_retry_of_a_cleared_task_is_no_decision_of_anybodys() -> None:
    async with emulator.running() as zuora:
        zuora.on_submit("bulk-pdf", life=[Step("Executing", seconds=10), Step("Error")])
        store = Store()
        first = await submit(zuora, store, PDFS)
        assert await submit(zuora, store, PDFS, tries=TRIES + 4) == first  # cleared, and the job still runs
        await asyncio.sleep(11)
        assert await submit(zuora, store, PDFS, tries=TRIES + 4) == first  # tried again by Airflow
        assert len(posts(zuora)) == 1


async def test_no_secret_is_kept_and_little_at_all() -> None:
    async with emulator.running() as zuora:
        zuora.on_submit("bulk-pdf", at_once=True)
        store = Store()
        await submit(zuora, store, PDFS)
        (kept,) = store.kept.values()
        assert "Signature" not in kept
        assert len(kept) < 2000
