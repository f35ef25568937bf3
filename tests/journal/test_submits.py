"""Submits with a journal: the intent before the request, the handle after it, and what the next run makes of them."""

import asyncio
import json
import sqlite3
from contextlib import closing, suppress
from typing import Any

import pytest

from zuora_jobs import (
    AQUA,
    OPERATION,
    ApplyCreditMemo,
    ConfigurationError,
    DeleteInvoice,
    DocumentIds,
    InvoiceAmount,
    JournalError,
    Query,
    Rejected,
    ReverseInvoice,
    RunQueries,
    SubmitUncertain,
    Succeeded,
    ZipPdfs,
)
from zuora_jobs.errors import ConnectionFailed, RateLimited
from zuora_jobs.journal import schema
from zuora_jobs.protocol.messages import Request, Response

pytestmark = pytest.mark.looptime

INVOICE = "2c92c8955bd63cc1015bd7c151af02ab"
QUERIES = RunQueries([Query("Invoices", "select Id from Invoice where Name = 'Ada Lovelace'")])
PDFS = ZipPdfs(documents=[DocumentIds(doc_type="Invoice", object_ids=(INVOICE,))], file_name="invoices")
DELETE = DeleteInvoice(INVOICE)
REVERSE = ReverseInvoice(INVOICE)
APPLY = ApplyCreditMemo("CM00000007", [InvoiceAmount(invoice_id=INVOICE, amount="12.50")])
POSTS, OTHERS = [QUERIES, PDFS], [DELETE, REVERSE, APPLY]
FOREVER = 100_000
HANG = "hang"
NOBODY = ConnectionFailed("nobody there", sent=False)
THROTTLED = (429, {"reasons": [{"code": 70, "message": "slow down"}]})
NO = (200, {"success": False, "reasons": [{"code": 50000020, "message": "no such field"}]})


def name_of(request: object) -> str:
    return type(request).__name__


def rows(path: Any) -> list[sqlite3.Row]:
    """What another reader sees of submits at this moment."""
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        return database.execute("SELECT * FROM submits ORDER BY row").fetchall()


class Tenant:
    """An in-memory Zuora: jobs j1, j2 … for what is submitted, unless its steps say otherwise; jobs end at the first look."""

    def __init__(self, path: Any, *steps: Any, at_once: bool = False, **more: Any) -> None:
        self.path = path
        self.steps = list(steps)
        self.more = more
        self.at_once = at_once
        self.jobs = 0
        self.sent: list[tuple[float, str, str | None]] = []
        self.looks: list[str] = []
        self.before: list[list[sqlite3.Row]] = []
        """What was in the journal when each submit came."""

    async def __call__(self, request: Request) -> Response:
        if not request.submits:
            self.looks.append(request.path.rsplit("/", 1)[1])
            status = "completed" if "batch-query" in request.path else "Completed"
            return self._answer(200, {"id": self.looks[-1], "status": status, "success": True})
        now = asyncio.get_running_loop().time()
        self.sent.append((now, request.method, request.headers.get("Idempotency-Key")))
        self.before.append(rows(self.path))
        step = self.steps.pop(0) if self.steps else None
        step = step() if callable(step) else step
        if step == HANG:
            await asyncio.sleep(FOREVER)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, tuple):
            return self._answer(*step)
        self.jobs += 1
        job = f"j{self.jobs}"
        if "/v1/invoices/" in request.path:
            status = "Completed" if self.at_once else "Pending"
            return self._answer(200, {"success": True, "id": INVOICE, "jobId": job, "jobStatus": status, **self.more})
        if "bulk-pdf" in request.path:
            return self._answer(200, {"success": True, "jobId": job, "invalidIds": ["x"], **self.more})
        status = "submitted" if "batch-query" in request.path else "Pending"
        return self._answer(200, {"id": job, "status": status, **self.more})

    @property
    def keys(self) -> list[str | None]:
        return [key for _, _, key in self.sent]

    @staticmethod
    def _answer(status: int, document: Any) -> Response:
        return Response(status, {}, json.dumps(document).encode())


async def begin(watching: Any, tenant: Tenant, *requests: Any, again: bool = False, **options: Any) -> list[Any]:
    """One run of a program: submit *requests*, and give what came of each."""
    results: list[Any] = []
    async with watching(tenant, **options) as (watcher, _):
        for request in requests:
            try:
                results.append(await watcher.submit(request, again=again))
            except (SubmitUncertain, Rejected, ConnectionFailed, RateLimited) as error:
                results.append(error)
    return results


async def begin_and_die(watching: Any, tenant: Tenant, request: Any) -> None:
    """A run that ends while the answer is on its way: the intent is on the disk, and nothing after it."""
    tenant.steps.insert(0, HANG)
    async with watching(tenant) as (watcher, _):
        submitting = asyncio.create_task(watcher.submit(request))
        await asyncio.sleep(1)
        submitting.cancel()
        with suppress(asyncio.CancelledError):
            await submitting
    assert [row["settled"] for row in rows(tenant.path)][-1] is None


def grow_older(path: Any, seconds: float) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("UPDATE submits SET intended = intended - ?", (seconds,))


# --- what comes before what


@pytest.mark.parametrize("request_", [*POSTS, *OTHERS], ids=name_of)
async def test_the_intent_is_on_the_disk_before_the_request_and_the_handle_after_it(
    request_: Any, watching: Any, path: Any, slow_disk: Any
) -> None:
    tenant = Tenant(path)
    async with watching(tenant, executor=slow_disk(3.0)) as (watcher, _):
        began = asyncio.get_running_loop().time()
        submitted = await watcher.submit(request_)
        (after,) = rows(path)
    ((sent_at, _, key),) = tenant.sent
    assert sent_at >= began + 3
    ((before,),) = tenant.before
    assert (before["settled"], before["id"], before["answer"]) == (None, None, None)
    assert before["idempotency_key"] == key
    assert (key is not None) == (request_ in POSTS)
    assert (after["kind"], after["id"]) == (submitted.handle.kind.name, submitted.handle.id)
    assert after["settled"] >= after["intended"]


@pytest.mark.parametrize("request_", [*POSTS, *OTHERS], ids=name_of)
async def test_the_next_run_has_the_handle_without_a_request(request_: Any, watching: Any, path: Any) -> None:
    tenant = Tenant(path)
    (first,) = await begin(watching, tenant, request_)
    for anew in (False, False, True):  # what is known to be begun is never begun anew
        (again,) = await begin(watching, tenant, request_, again=anew)
        assert (again.handle, again.answer, again.from_journal) == (first.handle, first.answer, True)
    assert len(tenant.sent) == 1


async def test_a_job_that_was_begun_and_never_watched_is_among_those_to_resume(watching: Any, path: Any) -> None:
    tenant = Tenant(path)
    (first,) = await begin(watching, tenant, DELETE)
    async with watching(tenant) as (_, journal):
        assert await journal.to_resume() == [first.handle]


async def test_a_job_that_ended_at_once_is_told_from_the_journal_without_any_request(watching: Any, path: Any) -> None:
    tenant = Tenant(path, at_once=True)
    for number in range(2):
        async with watching(tenant) as (watcher, _):
            ran = await watcher.run(DELETE)
        assert isinstance(ran.outcome, Succeeded)
        assert ran.outcome.handle == OPERATION.handle("j1")
        assert ran.submitted.from_journal == bool(number)
    assert (len(tenant.sent), tenant.looks) == (1, [])


async def test_what_was_done_without_a_job_is_remembered_as_that(watching: Any, path: Any) -> None:
    tenant = Tenant(path, (200, {"success": True, "id": INVOICE}))
    for number in range(2):
        async with watching(tenant) as (watcher, _):
            ran = await watcher.run(DELETE)
        assert (ran.outcome, ran.submitted.handle, ran.submitted.has_ended) == (None, None, True)
        assert ran.submitted.from_journal == bool(number)
    assert len(tenant.sent) == 1


async def test_a_job_of_a_kind_that_this_program_does_not_know_is_not_taken_for_done(watching: Any, path: Any) -> None:
    tenant = Tenant(path)
    await begin(watching, tenant, DELETE)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("UPDATE submits SET kind = 'data-query'")
    async with watching(tenant) as (watcher, _):
        with pytest.raises(ConfigurationError, match="data-query"):
            await watcher.submit(DELETE)
    assert len(tenant.sent) == 1


# --- a run that ended between the two


@pytest.mark.parametrize("hours", [0, 12, 23])
@pytest.mark.parametrize("request_", POSTS, ids=name_of)
async def test_a_post_without_an_answer_is_sent_again_with_its_key_within_a_day(
    request_: Any, hours: int, watching: Any, path: Any
) -> None:
    tenant = Tenant(path)
    await begin_and_die(watching, tenant, request_)
    grow_older(path, hours * 3600)
    (result,) = await begin(watching, tenant, request_)
    assert result.handle.id == "j1"
    assert not result.from_journal
    assert len(tenant.keys) == 2
    assert len(set(tenant.keys)) == 1


@pytest.mark.parametrize("request_", POSTS, ids=name_of)
async def test_a_post_without_an_answer_is_uncertain_after_a_day(request_: Any, watching: Any, path: Any) -> None:
    tenant = Tenant(path)
    await begin_and_die(watching, tenant, request_)
    grow_older(path, 24 * 3600 - 100)  # clocks differ
    (result,) = await begin(watching, tenant, request_)
    assert type(result) is SubmitUncertain
    assert result.idempotency_key is None
    assert len(tenant.sent) == 1


@pytest.mark.parametrize("request_", OTHERS, ids=name_of)
async def test_a_put_or_delete_without_an_answer_is_uncertain_in_every_run(
    request_: Any, watching: Any, path: Any
) -> None:
    tenant = Tenant(path)
    await begin_and_die(watching, tenant, request_)
    for _ in range(3):
        (result,) = await begin(watching, tenant, request_)
        assert type(result) is SubmitUncertain
        assert "no answer is on record" in str(result)
    assert len(tenant.sent) == 1


@pytest.mark.parametrize("request_", [*POSTS, *OTHERS], ids=name_of)
async def test_who_has_found_out_may_submit_it_anew(request_: Any, watching: Any, path: Any) -> None:
    tenant = Tenant(path)
    await begin_and_die(watching, tenant, request_)
    grow_older(path, 25 * 3600)
    (result,) = await begin(watching, tenant, request_, again=True)
    assert result.handle.id == "j1"
    (known,) = await begin(watching, tenant, request_)
    assert known.handle == result.handle
    assert len(tenant.sent) == 2
    assert len(set(tenant.keys)) == (2 if request_ in POSTS else 1)


@pytest.mark.parametrize("then", [THROTTLED, NOBODY, (200, {"success": False, "reasons": [{"code": 50000070}]})])
@pytest.mark.parametrize("request_", POSTS, ids=name_of)
async def test_a_resumed_post_keeps_its_key_though_it_is_refused_meanwhile(
    request_: Any, then: Any, watching: Any, path: Any
) -> None:
    tenant = Tenant(path)
    await begin_and_die(watching, tenant, request_)
    tenant.steps = [then, then]
    (result,) = await begin(watching, tenant, request_)
    assert result.handle.id == "j1"
    assert len(tenant.keys) == 4
    assert len(set(tenant.keys)) == 1


async def test_a_new_key_is_on_the_disk_before_it_is_sent_and_is_the_next_runs(watching: Any, path: Any) -> None:
    full = (200, {"success": False, "reasons": [{"code": 50000070, "message": "no room"}]})
    tenant = Tenant(path, full, HANG)
    async with watching(tenant) as (watcher, _):
        submitting = asyncio.create_task(watcher.submit(QUERIES))
        await asyncio.sleep(30)
        submitting.cancel()
    (result,) = await begin(watching, tenant, QUERIES)
    assert result.handle.id == "j1"
    first, second, third = tenant.keys
    assert first != second == third
    assert [row["idempotency_key"] for (row,) in tenant.before] == tenant.keys


async def noting(watching: Any, tenant: Tenant, text: str, *, again: bool = False) -> Any:
    """One run that submits APPLY, with *text* to be found again."""

    async def note() -> str:
        return text

    async with watching(tenant) as (watcher, _):
        return await watcher.submit(APPLY, note=note, again=again)


async def test_what_was_noted_is_found_again_and_submitted_anew_its_note_is_the_new_one(
    watching: Any, path: Any
) -> None:
    tenant = Tenant(path, HANG)
    with suppress(TimeoutError):
        await asyncio.wait_for(noting(watching, tenant, "first"), 10)
    with suppress(SubmitUncertain):
        await noting(watching, tenant, "not sent, and not noted")
    assert (await noting(watching, tenant, "second", again=True)).note == "second"
    assert (await noting(watching, tenant, "third")).note == "second"


@pytest.mark.parametrize("hours", [1, 9])
async def test_each_further_try_does_not_make_the_key_younger(hours: int, watching: Any, path: Any) -> None:
    """Zuora forgets it a day after the first try, however often it has been sent since."""
    tenant = Tenant(path)
    await begin_and_die(watching, tenant, QUERIES)
    for _ in range(2):
        grow_older(path, hours * 3600)
        await begin_and_die(watching, tenant, QUERIES)
    grow_older(path, hours * 3600)
    (result,) = await begin(watching, tenant, QUERIES)
    assert isinstance(result, SubmitUncertain) == (3 * hours >= 24)
    assert len(set(tenant.keys)) == 1


# --- the same contents twice


@pytest.mark.parametrize("request_", [*POSTS, *OTHERS], ids=name_of)
async def test_the_same_twice_in_one_run_is_two_and_both_are_known_in_the_next(
    request_: Any, watching: Any, path: Any
) -> None:
    tenant = Tenant(path)
    first, second = await begin(watching, tenant, request_, request_)
    assert (first.handle.id, second.handle.id) == ("j1", "j2")
    known = await begin(watching, tenant, request_, request_, request_)
    assert [(one.handle.id, one.from_journal) for one in known] == [("j1", True), ("j2", True), ("j3", False)]
    assert len(tenant.sent) == 3
    assert len({key for key in tenant.keys if key}) == (3 if request_ in POSTS else 0)


async def test_the_same_many_times_at_once_is_as_many(watching: Any, path: Any) -> None:
    tenant = Tenant(path)
    for _ in range(2):
        async with watching(tenant) as (watcher, _):
            results = await asyncio.gather(*(watcher.submit(QUERIES) for _ in range(40)))
        assert len({result.handle for result in results}) == 40
    assert len(tenant.sent) == len(set(tenant.keys)) == 40


# --- what came to nothing


@pytest.mark.parametrize("request_", [*POSTS, *OTHERS], ids=name_of)
@pytest.mark.parametrize("why", [NO, (400, NO[1])], ids=["200", "400"])
async def test_what_was_refused_is_forgotten_and_may_be_tried_again(
    request_: Any, why: Any, watching: Any, path: Any
) -> None:
    tenant = Tenant(path, why)
    refused, begun = await begin(watching, tenant, request_, request_)
    assert type(refused) is Rejected
    assert begun.handle.id == "j1"
    assert [row["id"] for row in rows(path)] == ["j1"]


@pytest.mark.parametrize("request_", [*POSTS, *OTHERS], ids=name_of)
async def test_what_never_left_is_forgotten(request_: Any, watching: Any, path: Any) -> None:
    tenant = Tenant(path, *[NOBODY] * 10_000)
    (result,) = await begin(watching, tenant, request_, contact_timeout=30)
    assert type(result) is ConnectionFailed
    assert rows(path) == []
    tenant.steps = []
    (begun,) = await begin(watching, tenant, request_)
    assert begun.handle.id == "j1"


async def test_zuoras_own_refusal_of_what_was_in_doubt_settles_it(watching: Any, path: Any) -> None:
    tenant = Tenant(path)
    await begin_and_die(watching, tenant, QUERIES)
    tenant.steps = [NO]
    (refused,) = await begin(watching, tenant, QUERIES)
    assert type(refused) is Rejected
    assert rows(path) == []


async def test_nobodys_silence_settles_nothing_of_what_was_in_doubt(watching: Any, path: Any) -> None:
    tenant = Tenant(path)
    await begin_and_die(watching, tenant, QUERIES)
    tenant.steps = [NOBODY] * 10_000
    (result,) = await begin(watching, tenant, QUERIES, contact_timeout=30)
    assert type(result) is SubmitUncertain
    (row,) = rows(path)
    assert row["idempotency_key"] == tenant.keys[0]


@pytest.mark.parametrize("request_", OTHERS, ids=name_of)
async def test_what_was_given_up_before_it_was_sent_is_not_uncertain(
    request_: Any, watching: Any, path: Any, slow_disk: Any
) -> None:
    tenant = Tenant(path)
    async with watching(tenant, executor=slow_disk(3.0)) as (watcher, _):
        submitting = asyncio.create_task(watcher.submit(request_))
        await asyncio.sleep(1)
        submitting.cancel()
        with suppress(asyncio.CancelledError):
            await submitting
    assert tenant.sent == []
    (result,) = await begin(watching, tenant, request_)
    assert not isinstance(result, SubmitUncertain)


@pytest.mark.parametrize("after", [0.5, 1, 2.9, 3.1])
async def test_giving_up_early_does_not_forget_what_an_earlier_run_left_in_doubt(
    after: float, watching: Any, path: Any, slow_disk: Any
) -> None:
    tenant = Tenant(path)
    await begin_and_die(watching, tenant, APPLY)
    async with watching(tenant, executor=slow_disk(3.0)) as (watcher, _):
        submitting = asyncio.create_task(watcher.submit(APPLY))
        await asyncio.sleep(after)
        submitting.cancel()
        with suppress(asyncio.CancelledError, SubmitUncertain):
            await submitting
    (result,) = await begin(watching, tenant, APPLY)
    assert type(result) is SubmitUncertain
    assert len(tenant.sent) == 1


async def test_given_up_between_two_refusals_it_is_not_uncertain(watching: Any, path: Any) -> None:
    tenant = Tenant(path, *[NOBODY] * 1000)
    async with watching(tenant) as (watcher, _):
        submitting = asyncio.create_task(watcher.submit(APPLY))
        await asyncio.sleep(30)
        submitting.cancel()
        with suppress(asyncio.CancelledError):
            await submitting
    tenant.steps = []
    (result,) = await begin(watching, tenant, APPLY)
    assert result.handle.id == "j1"


# --- what the disk says, and what is on it


@pytest.mark.parametrize("request_", [*POSTS, *OTHERS], ids=name_of)
async def test_a_job_that_cannot_be_taken_down_is_told_in_the_error(
    request_: Any, watching: Any, path: Any, faults: Any
) -> None:
    tenant = Tenant(path)

    def break_the_disk() -> None:
        faults.after = 0

    tenant.steps = [break_the_disk]
    with suppress(JournalError):
        async with watching(tenant) as (watcher, _):
            with pytest.raises(JournalError, match=r"Zuora has begun [a-z-]+:j1, note that down"):
                await watcher.submit(request_)
    assert len(tenant.sent) == 1


async def test_secrets_of_an_answer_are_not_in_the_file(watching: Any, path: Any, files_of: Any) -> None:
    url = "https://s3.amazonaws.com/zip/1.zip?X-Amz-Signature=0123456789abcdef&X-Amz-Credential=canary"
    tenant = Tenant(path, at_once=True, fileUrls=[url], echo="Bearer canary-token-5f1d", note=f"see {url}")
    async with watching(tenant, token="canary-token-5f1d") as (watcher, _):
        for request in (*POSTS, *OTHERS):
            await watcher.submit(request)
        content = b"".join(one.read_bytes() for one in files_of(path))
    content += b"".join(one.read_bytes() for one in files_of(path))
    for secret in (b"canary-token-5f1d", b"0123456789abcdef", b"X-Amz-Credential=canary"):
        assert secret not in content
    assert content.count(b"j1") > 0


async def test_the_intent_says_nothing_of_what_is_asked_for(watching: Any, path: Any, files_of: Any) -> None:
    tenant = Tenant(path)
    await begin_and_die(watching, tenant, QUERIES)
    assert b"Lovelace" not in b"".join(one.read_bytes() for one in files_of(path))


@pytest.mark.parametrize("version", [1, 2])
async def test_a_journal_of_an_older_version_takes_submits_and_keeps_what_it_has(
    version: int, watching: Any, path: Any
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for step in schema._STEPS[:version]:
            database.executescript(step)
        database.execute("INSERT INTO jobs (kind, id, accepted) VALUES ('aqua', 'old', 1790000000)")
        database.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {version}")
    tenant = Tenant(path)
    await begin(watching, tenant, DELETE)
    (again,) = await begin(watching, tenant, DELETE)
    assert again.from_journal
    async with watching(tenant) as (_, journal):
        assert await journal.to_resume() == [AQUA.handle("old"), OPERATION.handle("j1")]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
