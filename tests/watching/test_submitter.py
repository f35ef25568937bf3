"""What tells requests apart, what the record is told and when, and running a job from its submit to its end."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from random import Random
from typing import Any

import pytest

from zuora_jobs import (
    AQUA,
    ApplyCreditMemo,
    Budget,
    ConfigurationError,
    DeleteInvoice,
    DocumentIds,
    Failed,
    Finished,
    InvoiceAmount,
    JobError,
    JobSubmitted,
    JobWatcher,
    Lost,
    NotFound,
    Query,
    Reason,
    Rejected,
    ReverseInvoice,
    RunQueries,
    Settings,
    SubmitUncertain,
    Succeeded,
    UnapplyCreditMemo,
    WatcherClosed,
    ZipPdfs,
    ZuoraClient,
    emulator,
)
from zuora_jobs.errors import ConnectionFailed, JournalError, ResponseTimeout
from zuora_jobs.journal.entries import Intent
from zuora_jobs.protocol.messages import Response
from zuora_jobs.protocol.submits import Submitted
from zuora_jobs.transport.retry import Patience
from zuora_jobs.watching.submitter import Submitter, fingerprint

pytestmark = pytest.mark.looptime

INVOICE = "2c92c8955bd63cc1015bd7c151af02ab"
QUERIES = RunQueries([Query("Invoices", "select Id from Invoice")])
DELETE = DeleteInvoice(INVOICE)
UNLIMITED = Budget(rate=1e6, concurrency=500)


# --- what tells one request from another


def documents(*ids: str) -> list[DocumentIds]:
    return [DocumentIds(doc_type="Invoice", object_ids=ids)]


ALL_DIFFERENT: list[Any] = [
    QUERIES,
    RunQueries([Query("Invoices", "select Id from Account")]),
    RunQueries([Query("Accounts", "select Id from Invoice")]),
    RunQueries([Query("Invoices", "select Id from Invoice", type="zoql")]),
    RunQueries([Query("Invoices", "select Id from Invoice")], format="gzip"),
    RunQueries([Query("Invoices", "select Id from Invoice")], name="x"),
    RunQueries([Query("Invoices", "select Id from Invoice")], partner="p", project="q"),
    RunQueries([Query("Invoices", "select Id from Invoice")], partner="p", project="r"),
    ZipPdfs(documents=documents("a", "b"), file_name="zip"),
    ZipPdfs(documents=documents("b", "a"), file_name="zip"),
    ZipPdfs(documents=documents("ab"), file_name="zip"),
    ZipPdfs(documents=documents("a") + documents("b"), file_name="zip"),
    ZipPdfs(documents=documents("a", "b"), file_name="zap"),
    DeleteInvoice("I1"),
    DeleteInvoice("I2"),
    ReverseInvoice("I1"),
    ReverseInvoice("I1", memo_date="2026-11-24"),
    ReverseInvoice("I1", apply_effective_date="2026-11-24"),
    ReverseInvoice("I1", comment="2026-11-24"),
    ApplyCreditMemo("C1", [InvoiceAmount(invoice_id="I1", amount="1")]),
    ApplyCreditMemo("C1", [InvoiceAmount(invoice_id="I1", amount="1.5")]),
    ApplyCreditMemo("C1", [InvoiceAmount(invoice_number="I1", amount="1")]),
    ApplyCreditMemo("C2", [InvoiceAmount(invoice_id="I1", amount="1")]),
    UnapplyCreditMemo("C1", [InvoiceAmount(invoice_id="I1", amount="1")]),
]


def test_requests_that_differ_in_anything_are_told_apart() -> None:
    assert len({fingerprint(request) for request in ALL_DIFFERENT}) == len(ALL_DIFFERENT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (QUERIES, RunQueries((Query("Invoices", "select Id from Invoice"),))),
        (ReverseInvoice("I1", memo_date="2026-11-24"), ReverseInvoice("I1", memo_date=date(2026, 11, 24))),
        (
            ApplyCreditMemo("C1", [InvoiceAmount(invoice_id="I1", amount="7")]),
            ApplyCreditMemo("C1", (InvoiceAmount(invoice_id="I1", amount=7),)),
        ),
    ],
    ids=["list or tuple", "date or text", "number or text"],
)
def test_the_same_written_in_another_way_is_the_same(one: Any, other: Any) -> None:
    assert fingerprint(one) == fingerprint(other)


def test_what_tells_a_request_from_others_is_the_same_in_every_process_and_says_nothing_of_it() -> None:
    code = (
        "from zuora_jobs import *; from zuora_jobs.watching.submitter import fingerprint as f\n"
        "print(f(DeleteInvoice('INV00000123')),"
        " f(RunQueries([Query('Invoices', 'select Id from Invoice')], name='n', use_query_labels=True)),"
        " f(ApplyCreditMemo('CM1', [InvoiceAmount(invoice_id='a', amount='12.50')], effective_date='2026-11-24')))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout.decode()
        for seed in ("1", "2")
    }
    assert len(told) == 1
    (words,) = told
    assert all(len(word) == 32 and int(word, 16) for word in words.split())


@pytest.mark.parametrize(
    "make",
    [
        lambda some: RunQueries(some([Query("a", "select"), Query("b", "select")])),
        lambda some: ApplyCreditMemo("C1", some([InvoiceAmount(invoice_id="I1", amount=1)])),
        lambda some: UnapplyCreditMemo("C1", some([InvoiceAmount(invoice_id="I1", amount=1)])),
        lambda some: ZipPdfs(documents=some(documents("a")), file_name="zip"),
        lambda some: ZipPdfs(documents=[DocumentIds(doc_type="Invoice", object_ids=some("a"))], file_name="zip"),
    ],
    ids=["queries", "applied", "unapplied", "documents", "ids"],
)
def test_sets_whose_order_is_another_in_each_process_are_refused(make: Any) -> None:
    assert make(tuple) is not None
    for some in (set, frozenset):
        with pytest.raises(ConfigurationError):
            make(some)


# --- the order of things


class Notes:
    """A record that notes what it is told, in order with what is sent."""

    def __init__(self, known: Intent | None = None) -> None:
        self.noted: list[Any] = []
        self.known = known
        self.fails: set[str] = set()

    def _note(self, what: str, answer: Any, *more: Any) -> asyncio.Future[Any]:
        self.noted.append((what, *more))
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if what in self.fails:
            future.set_exception(JournalError("the disk is full"))
        else:
            future.set_result(answer)
        return future

    async def intent(self, request: str) -> Intent | None:
        return self.known

    def intend(self, request: str, name: str, key: str | None, note: str | None = None) -> asyncio.Future[None]:
        return self._note("intend", None, request, name, key, note)

    def settle(self, request: str, submitted: Submitted[Any], outcome: Any) -> asyncio.Future[None]:
        return self._note("settle", None, request, submitted.handle, outcome)

    def withdraw(self, request: str) -> asyncio.Future[None]:
        return self._note("withdraw", None, request)


@asynccontextmanager
async def submitter_of(notes: Notes, *steps: Any, patience: Patience | None = None) -> AsyncIterator[Any]:
    """A submitter's `submit`, to whose requests a tenant answers with *steps*: ids of jobs, or errors."""
    left = list(steps)

    async def send(request: Any) -> Response:
        notes.noted.append(("send", request.headers.get("Idempotency-Key")))
        step = left.pop(0)
        if step == "for ever":
            await asyncio.sleep(100_000)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, Response):
            return step
        document = {"success": True, "id": step, "status": "submitted", "jobId": step, "jobStatus": "Pending"}
        return Response(200, {}, json.dumps(document).encode())

    local = Settings(base_url="https://rest.example.com", access_token="not-a-secret")
    async with ZuoraClient(local, UNLIMITED, send=send, rng=Random(1)) as client:
        record: Any = notes
        submitter = Submitter(client, record, patience or Patience(again=0))

        async def submit(request: Any, *, again: bool = False, note: Any = None) -> Submitted[Any]:
            return await submitter.submit(request, again=again, idempotency_key=None, note=note)

        yield submit


async def test_the_record_is_told_before_and_after_each_request() -> None:
    notes = Notes()
    async with submitter_of(notes, "j1", "j2") as submit:
        await submit(QUERIES)
        await submit(QUERIES, again=True)
    contents = fingerprint(QUERIES)
    keys = [noted[1] for noted in notes.noted if noted[0] == "send"]
    assert notes.noted == [
        ("intend", f"{contents}#1", "aqua", keys[0], None),
        ("send", keys[0]),
        ("settle", f"{contents}#1", AQUA.handle("j1"), None),
        ("intend", f"{contents}#2", "aqua", keys[1], None),
        ("send", keys[1]),
        ("settle", f"{contents}#2", AQUA.handle("j2"), None),
    ]
    assert None not in keys
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    ("step", "raised", "withdrawn"),
    [
        (Rejected("no", status=400, reasons=[Reason("50000020", "bad value")]), Rejected, True),
        (ConnectionFailed("nobody", sent=False), ConnectionFailed, True),
        (ResponseTimeout("no answer"), SubmitUncertain, False),
        ("for ever", asyncio.CancelledError, False),
        (RuntimeError("a bug"), RuntimeError, False),
    ],
    ids=["refused", "nobody there", "lost", "cancelled", "a bug"],
)
async def test_only_what_was_certainly_not_begun_is_withdrawn_and_its_number_is_free_again(
    step: Any, raised: Any, withdrawn: bool
) -> None:
    notes = Notes()
    name = f"{fingerprint(DELETE)}#1"
    async with submitter_of(notes, step, "j1") as submit:
        submitting = asyncio.create_task(submit(DELETE))
        await asyncio.sleep(1)
        submitting.cancel()
        with pytest.raises(raised):
            await submitting
        assert [noted[0] for noted in notes.noted][:2] == ["intend", "send"]
        assert (("withdraw", name) in notes.noted) == withdrawn
        await submit(DELETE)
    assert {noted[1] for noted in notes.noted if noted[0] == "intend"} == {name}


async def test_where_the_record_cannot_take_down_the_intent_nothing_is_sent() -> None:
    notes = Notes()
    notes.fails = {"intend"}
    async with submitter_of(notes, "j1") as submit:
        with pytest.raises(JournalError):
            await submit(DELETE)
    assert [noted[0] for noted in notes.noted if noted[0] != "withdraw"] == ["intend"]


async def test_a_handle_that_cannot_be_taken_down_is_told() -> None:
    notes = Notes()
    notes.fails = {"settle"}
    async with submitter_of(notes, "j1") as submit:
        with pytest.raises(JournalError, match=r"the disk is full; Zuora has begun operation:j1, note that down"):
            await submit(DELETE)


async def test_a_refusal_is_not_hidden_by_a_disk_that_is_full() -> None:
    notes = Notes()
    notes.fails = {"withdraw"}
    async with submitter_of(notes, Rejected("no such invoice", status=409, reasons=[Reason("50000030")])) as submit:
        with pytest.raises((JournalError, Rejected)) as caught:
            await submit(DELETE)
    told = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert any(isinstance(error, Rejected) for error in told)


async def test_doubt_is_told_before_anything_is_asked_for() -> None:
    async def note() -> str:
        raise NotFound("an invoice that is gone", status=404)

    notes = Notes(Intent(idempotency_key=None, age=60.0))
    async with submitter_of(notes, "j1") as submit:
        with pytest.raises(SubmitUncertain):
            await submit(DELETE, note=note)
    assert notes.noted == []


async def test_what_is_to_be_found_again_is_taken_down_with_the_intent_and_told() -> None:
    asked = 0

    async def note() -> str:
        nonlocal asked
        asked += 1
        return "so it was"

    notes = Notes()
    async with submitter_of(notes, ConnectionFailed("nobody", sent=False), "j1", patience=Patience()) as submit:
        submitted = await submit(DELETE, note=note)
    assert submitted.note == "so it was"
    assert asked == 1
    assert {noted[4] for noted in notes.noted if noted[0] == "intend"} == {"so it was"}


async def test_where_that_fails_nothing_is_sent() -> None:
    async def note() -> str:
        raise NotFound("no such credit memo", status=404)

    notes = Notes()
    async with submitter_of(notes, "j1") as submit:
        with pytest.raises(NotFound):
            await submit(DELETE, note=note)
    assert notes.noted == []


@pytest.mark.parametrize("age", [None, 6 * 3600], ids=["lost in this run", "lost in an earlier run"])
async def test_no_key_is_relied_on_for_longer_than_zuora_knows_it(age: float | None) -> None:
    hour = Response(429, {"retry-after": "1200"}, b'{"reasons":[{"code":70,"message":"the day is used up"}]}')
    notes = Notes(Intent(idempotency_key="old", age=age) if age is not None else None)
    steps = [hour] * 1000 if age is not None else [ResponseTimeout("lost"), *[hour] * 1000]
    async with submitter_of(notes, *steps, patience=Patience(again=3600, throttled=None)) as submit:
        with pytest.raises(SubmitUncertain):
            await submit(QUERIES)
    passed = asyncio.get_running_loop().time()
    assert 23 * 3600 < passed + (age or 0) < 24 * 3600 + 1200
    assert len({key for what, key, *_ in notes.noted if what == "send"}) == 1
    assert "withdraw" not in {noted[0] for noted in notes.noted}


# --- from the submit to the end


async def test_a_job_is_run_to_its_end(zuora: emulator.Emulator, watching: Any) -> None:
    zuora.on_submit("aqua", ends="completed", seconds=7)
    async with watching(zuora) as watcher:
        ran = await watcher.run(QUERIES)
    assert isinstance(ran.outcome, Succeeded)
    assert ran.outcome.handle == ran.submitted.handle
    assert ran.request is QUERIES
    assert ran.unwrap().status == "completed"
    assert asyncio.get_running_loop().time() == pytest.approx(7)


@pytest.mark.parametrize("end", ["aborted", "error", "cancelled"])
async def test_a_job_that_ends_badly_is_a_value_that_raises_when_unwrapped(
    end: str, zuora: emulator.Emulator, watching: Any
) -> None:
    zuora.on_submit("aqua", ends=end, seconds=1)
    async with watching(zuora) as watcher:
        ran = await watcher.run(QUERIES)
    with pytest.raises(JobError):
        ran.unwrap()


@pytest.mark.parametrize(("status", "end"), [("Completed", Succeeded), ("Failed", Failed)])
async def test_a_job_that_has_ended_in_its_answer_is_not_looked_at(
    status: str, end: Any, zuora: emulator.Emulator, watching: Any
) -> None:
    zuora.on_submit("invoice-delete", ends=status, at_once=True)
    events: list[Any] = []
    async with watching(zuora, observers=[events.append]) as watcher:
        ran = await watcher.run(DeleteInvoice(zuora.add_invoice()))
    assert type(ran.outcome) is end
    assert [record.path for record in zuora.requests if record.method == "GET"] == []
    assert [type(event) for event in events] == [JobSubmitted, Finished]


async def test_observers_hear_of_a_submit_before_anything_else_of_the_job(
    zuora: emulator.Emulator, watching: Any
) -> None:
    zuora.on_submit("aqua", ends="completed", seconds=2)
    events: list[Any] = []
    async with watching(zuora, observers=[events.append]) as watcher:
        ran = await watcher.run(QUERIES)
    first, *_, last = [event for event in events if getattr(event, "handle", None) == ran.submitted.handle]
    assert (type(first), first.from_journal) == (JobSubmitted, False)
    assert type(last) is Finished


async def test_a_run_that_takes_too_long_is_lost_and_its_job_is_left_alone(
    zuora: emulator.Emulator, watching: Any
) -> None:
    zuora.on_submit("aqua", ends="completed", seconds=1000)
    async with watching(zuora) as watcher:
        ran = await watcher.run(QUERIES, timeout=20)
    assert isinstance(ran.outcome, Lost)
    assert asyncio.get_running_loop().time() == pytest.approx(20)
    assert next(record.method for record in zuora.requests if record.path != "/oauth/token") == "POST"
    assert "DELETE" not in {record.method for record in zuora.requests}


@pytest.mark.unmeasured
async def test_never_are_there_more_aqua_jobs_than_a_tenant_may_have_and_none_is_refused(
    zuora: emulator.Emulator, watching: Any
) -> None:
    zuora.limit_rate(())
    zuora.limit_concurrency(None)
    zuora.on_submit("aqua", ends="completed", seconds=10)
    most = 0

    async def count() -> None:
        nonlocal most
        while True:
            most = max(most, sum(not job.ended for job in zuora.jobs))
            await asyncio.sleep(0.5)

    counting = asyncio.create_task(count())
    async with watching(zuora, budget=UNLIMITED) as watcher:
        runs = await asyncio.gather(*(watcher.run(QUERIES) for _ in range(120)))
    counting.cancel()
    assert len({ran.submitted.handle for ran in runs}) == 120
    assert most == 50
    assert sum(record.method == "POST" and "batch-query" in record.path for record in zuora.requests) == 120
    assert asyncio.get_running_loop().time() == pytest.approx(30, abs=3)


@pytest.mark.parametrize("way", ["refused", "uncertain", "cancelled"])
async def test_a_place_for_a_job_is_free_again_when_it_was_not_begun(way: str) -> None:
    async def send(_: Any) -> Any:
        if way == "cancelled":
            await asyncio.sleep(1000)
        raise Rejected("no", status=400) if way == "refused" else ResponseTimeout("lost")

    settings = Settings(base_url="https://rest.example.com", access_token="not-a-secret")
    async with ZuoraClient(settings, UNLIMITED, send=send, rng=Random(1)) as client:
        async with JobWatcher(client, contact_timeout=1) as watcher:
            for _ in range(60):
                with pytest.raises((Rejected, SubmitUncertain, TimeoutError)):
                    await asyncio.wait_for(watcher.run(QUERIES), 100)
        place = client.place_for(QUERIES)
        await asyncio.wait_for(place.__aenter__(), 1)
        assert place._value == 49  # type: ignore[attr-defined]


async def test_submitting_outside_the_block_is_refused(zuora: emulator.Emulator) -> None:
    async with ZuoraClient(zuora.settings()) as client:
        watcher = JobWatcher(client)
        with pytest.raises(WatcherClosed):
            await watcher.submit(QUERIES)
        with pytest.raises(WatcherClosed):
            await watcher.run(QUERIES)
    assert zuora.submitted == []


async def test_without_a_journal_what_was_lost_is_uncertain_and_the_same_again_is_a_new_request() -> None:
    sent: list[str] = []

    async def send(request: Any) -> Any:
        sent.append(request.method)
        raise ResponseTimeout("lost")

    settings = Settings(base_url="https://rest.example.com", access_token="not-a-secret")
    async with ZuoraClient(settings, UNLIMITED, send=send, rng=Random(1)) as client, JobWatcher(client) as watcher:
        for _ in range(2):
            with pytest.raises(SubmitUncertain):
                await watcher.submit(DELETE)
    assert sent == ["DELETE"] * 2
