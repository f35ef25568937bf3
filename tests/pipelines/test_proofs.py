"""What a job did is seen at the business object itself: each good case, and each that only looks like one."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from zuora_jobs import (
    OPERATION,
    ApplyCreditMemo,
    Budget,
    Cadence,
    DeleteInvoice,
    Forbidden,
    InvoiceAmount,
    JobFailed,
    JobLost,
    JobWatcher,
    NotFound,
    NotProved,
    Rejected,
    ReverseInvoice,
    Settings,
    SubmitUncertain,
    Succeeded,
    ZuoraClient,
    ZuoraJobsError,
)
from zuora_jobs.errors import ResponseTimeout
from zuora_jobs.pipelines import proofs
from zuora_jobs.protocol.messages import Request, Response

pytestmark = pytest.mark.looptime

INVOICE = "2c92c8955bd63cc1015bd7c151af02ab"
OTHER = "2c92c8955bd63cc1015bd7c151af0fff"
NUMBER = "INV00000123"
JOB = "2c92c8fb84d2f8f40184d2ff0d6b0001"
GONE = (404, {"done": True, "records": [], "size": 0})
THERE = (200, {"Id": INVOICE, "Balance": 100, "Amount": 100, "CreditMemoAmount": 0})
PAID = (200, {"Id": INVOICE, "Balance": 0, "Amount": 100, "CreditMemoAmount": 0, "PaymentAmount": 100})
CREDITED = (200, {"Id": INVOICE, "Balance": 0, "Amount": 100, "CreditMemoAmount": 100})
HALF = (200, {"Id": INVOICE, "Balance": 50, "Amount": 100, "CreditMemoAmount": 50})
FLAGGED = (200, {"Id": INVOICE, "Balance": 0, "Amount": 100, "CreditMemoAmount": 0, "Reversed": True})
LOST = ResponseTimeout("no whole answer")
NO = (200, {"success": False, "reasons": [{"code": 50000030, "message": "it is posted"}]})
MISSING = (404, {"success": False, "reasons": [{"code": 50000040, "message": "Cannot find entity"}]})
BEGUN = (200, {"success": True, "id": INVOICE, "jobId": JOB, "jobStatus": "Pending"})
BEGUN_WITH_MEMO = (200, {**BEGUN[1], "creditMemos": [{"id": "memo-1"}, {"id": "memo-2"}]})


class Tenant:
    """An in-memory Zuora: answers submits, jobs, invoices and memos each from its own list, the last for ever."""

    def __init__(self, submit: Any = BEGUN, job: Any = None, invoices: Any = (GONE,), memos: Any = ()) -> None:
        done = {"id": JOB, "status": "Completed", "objectId": INVOICE, "objectType": "Invoice", "success": True}
        self.lists = {"submit": [submit], "job": [job or (200, done)], "invoice": [*invoices], "memo": [*memos]}
        self.asked: list[tuple[float, str, str]] = []

    async def __call__(self, request: Request) -> Response:
        what = "job" if "/jobs/" in request.path or "-jobs/" in request.path else "memo"
        is_invoice = "/object/invoice/" in request.path or request.path.startswith("/v1/invoices/")
        what = "submit" if request.submits else "invoice" if is_invoice else what
        self.asked.append((asyncio.get_running_loop().time(), what, request.path.rsplit("/", 1)[1]))
        answers = self.lists[what]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Response):
            return answer
        status, document = answer
        return Response(status, {}, json.dumps(document).encode())

    def times(self, what: str) -> list[float]:
        return [at for at, asked, _ in self.asked if asked == what]

    def names(self, what: str) -> list[str]:
        return [name for _, asked, name in self.asked if asked == what]


@asynccontextmanager
async def watching(tenant: Tenant) -> AsyncIterator[JobWatcher]:
    settings = Settings(base_url="https://rest.example.com", access_token="not-a-secret")
    async with (
        ZuoraClient(settings, Budget(rate=1e6, concurrency=50), send=tenant, rng=Random(1)) as client,
        JobWatcher(client, cadence=Cadence.constant(1)) as watcher,
    ):
        yield watcher


async def result_of(tenant: Tenant, request: Any, **options: Any) -> Any:
    """Run *request* and look: give what is proved, or the error."""
    prove: Any = {DeleteInvoice: proofs.delete, ReverseInvoice: proofs.reverse, ApplyCreditMemo: proofs.apply}
    async with watching(tenant) as watcher:
        try:
            return await prove[type(request)](watcher, request, **options)
        except ZuoraJobsError as error:
            return error


# --- deletions


@pytest.mark.parametrize("looks", [1, 2, 3, 4])
async def test_an_invoice_is_deleted_when_it_is_not_found_any_more(looks: int) -> None:
    tenant = Tenant(invoices=[*[THERE] * (looks - 1), GONE])
    deleted = await result_of(tenant, DeleteInvoice(INVOICE))
    assert deleted.invoice == INVOICE
    assert isinstance(deleted.outcome, Succeeded)
    assert deleted.outcome.handle == OPERATION.handle(JOB)
    assert tenant.names("invoice") == [INVOICE] * looks
    began = tenant.times("invoice")[0]
    assert [at - began for at in tenant.times("invoice")] == pytest.approx([0, 1, 3, 7][:looks])


async def test_an_invoice_that_is_still_there_is_not_proved_to_be_deleted() -> None:
    tenant = Tenant(invoices=[THERE])
    error = await result_of(tenant, DeleteInvoice(INVOICE))
    assert type(error) is NotProved
    assert f"the invoice {INVOICE} is still there" in str(error)
    assert isinstance(error.outcome, Succeeded)
    assert len(tenant.times("invoice")) == len(proofs.LOOKS)


async def test_a_deletion_that_failed_is_told_and_nothing_is_looked_at() -> None:
    failed = {"id": JOB, "status": "Failed", "reasons": [{"code": 50000030, "message": "it is posted"}]}
    tenant = Tenant(job=(200, failed))
    error = await result_of(tenant, DeleteInvoice(INVOICE))
    assert type(error) is JobFailed
    assert "it is posted" in str(error)
    assert tenant.times("invoice") == []


async def test_a_deletion_whose_job_is_lost_is_told_as_lost_though_the_invoice_is_gone() -> None:
    tenant = Tenant(job=MISSING)
    assert type(await result_of(tenant, DeleteInvoice(INVOICE))) is JobLost
    assert tenant.times("invoice") == []


@pytest.mark.parametrize(("no", "error"), [(NO, Rejected), (MISSING, NotFound)])
async def test_a_deletion_that_was_refused_is_told(no: Any, error: Any) -> None:
    tenant = Tenant(submit=no)
    assert type(await result_of(tenant, DeleteInvoice(INVOICE))) is error
    assert tenant.times("invoice") == []


async def test_a_deletion_in_doubt_whose_invoice_is_gone_was_carried_out() -> None:
    tenant = Tenant(submit=LOST)
    deleted = await result_of(tenant, DeleteInvoice(INVOICE))
    assert (deleted.invoice, deleted.outcome) == (INVOICE, None)
    assert len(tenant.times("submit")) == 1


@pytest.mark.parametrize(
    ("timeout", "looks"),
    [(None, [0, 1, 3, 7, 15, 31, 60]), (5, [0, 1, 3, 5]), (1000, [0, 1, 3, 7, 15, 31, 60])],
    ids=["a minute", "less", "no more than that"],
)
async def test_a_deletion_in_doubt_whose_invoice_stays_is_in_doubt_after_a_minute(
    timeout: float | None, looks: list[float]
) -> None:
    tenant = Tenant(submit=LOST, invoices=[THERE])
    error = await result_of(tenant, DeleteInvoice(INVOICE), timeout=timeout)
    assert type(error) is SubmitUncertain
    assert f"zuora-jobs invoice {INVOICE}" in error.find_out
    assert tenant.times("invoice") == pytest.approx(looks)
    assert len(tenant.times("submit")) == 1


async def test_a_deletion_in_doubt_whose_invoice_goes_within_a_minute_was_carried_out() -> None:
    tenant = Tenant(submit=LOST, invoices=[*[THERE] * 5, GONE])
    deleted = await result_of(tenant, DeleteInvoice(INVOICE))
    assert (deleted.asked_for, deleted.invoice, deleted.outcome) == (INVOICE, INVOICE, None)
    assert tenant.times("invoice")[-1] == 31


@pytest.mark.parametrize(
    "request_", [DeleteInvoice(INVOICE), ReverseInvoice(INVOICE)], ids=lambda one: type(one).__name__
)
async def test_again_is_about_earlier_runs_and_not_about_an_answer_that_is_lost_now(request_: Any) -> None:
    tenant = Tenant(submit=LOST, invoices=[THERE])
    error = await result_of(tenant, request_, again=True)
    assert len(tenant.times("submit")) == 1
    assert type(error) is SubmitUncertain


async def test_in_doubt_about_a_number_nothing_is_proved_by_not_finding_it() -> None:
    tenant = Tenant(submit=LOST)
    assert type(await result_of(tenant, DeleteInvoice(NUMBER))) is SubmitUncertain
    assert tenant.times("invoice") == []


async def test_an_invoice_named_by_its_number_is_looked_at_by_the_id_that_the_answers_name() -> None:
    tenant = Tenant()
    deleted = await result_of(tenant, DeleteInvoice(NUMBER))
    assert deleted.invoice == INVOICE
    assert tenant.names("submit") == [NUMBER]
    assert tenant.names("invoice") == [INVOICE]


@pytest.mark.parametrize(
    ("submit", "job"),
    [
        ((200, {"id": JOB, "operationType": "Delete", "status": "Pending"}), (200, {"id": JOB, "status": "Completed"})),
        ((200, {"id": JOB, "operationType": "Delete", "status": "Completed", "success": True}), None),
        ((200, {"success": True, "jobId": JOB, "jobStatus": "Pending"}), (200, {"id": JOB, "status": "Completed"})),
    ],
    ids=["operation", "operation at once", "job id only"],
)
async def test_the_jobs_own_id_is_never_looked_for_as_an_invoice(submit: Any, job: Any) -> None:
    tenant = Tenant(submit=submit, job=job)
    error = await result_of(tenant, DeleteInvoice(NUMBER))
    assert type(error) is NotProved
    assert "name it by id, not by number" in str(error)
    assert JOB not in tenant.names("invoice")


async def test_what_the_caller_named_is_looked_at_whatever_the_job_says() -> None:
    job = (200, {"id": JOB, "status": "Completed", "objectId": OTHER})
    tenant = Tenant(job=job, invoices=[THERE])
    assert type(await result_of(tenant, DeleteInvoice(INVOICE))) is NotProved
    assert set(tenant.names("invoice")) == {INVOICE}


async def test_done_without_a_job_is_proved_as_well() -> None:
    tenant = Tenant(submit=(200, {"success": True, "id": INVOICE}))
    deleted = await result_of(tenant, DeleteInvoice(INVOICE))
    assert (deleted.invoice, deleted.outcome) == (INVOICE, None)
    assert tenant.times("job") == []
    tenant = Tenant(submit=(200, {"success": True, "id": INVOICE}), invoices=[THERE])
    assert type(await result_of(tenant, DeleteInvoice(INVOICE))) is NotProved


async def test_who_may_not_look_at_the_invoice_is_told_so_and_it_is_not_taken_for_gone() -> None:
    forbidden = (403, {"success": False, "reasons": [{"code": "50000010", "message": "no permission"}]})
    assert type(await result_of(Tenant(invoices=[forbidden]), DeleteInvoice(INVOICE))) is Forbidden


# --- reversals


@pytest.mark.parametrize("seen", [CREDITED, FLAGGED], ids=["credited", "flagged"])
async def test_an_invoice_is_reversed_when_a_credit_memo_stands_against_all_of_it(seen: Any) -> None:
    reversed_ = await result_of(Tenant(submit=BEGUN_WITH_MEMO, invoices=[THERE, seen]), ReverseInvoice(INVOICE))
    assert reversed_.invoice.id == INVOICE
    assert reversed_.invoice.balance == 0
    assert reversed_.credit_memos == ("memo-1", "memo-2")
    assert isinstance(reversed_.outcome, Succeeded)


async def test_a_single_credit_memo_is_told_as_well() -> None:
    submit = (200, {**BEGUN[1], "creditMemo": {"id": "memo-1"}})
    assert (await result_of(Tenant(submit=submit, invoices=[CREDITED]), ReverseInvoice(INVOICE))).credit_memos == (
        "memo-1",
    )


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (PAID, "no credit memo stands against all of it"),
        (THERE, "100 is left to be paid"),
        (HALF, "50 is left to be paid"),
        ((200, {"Id": INVOICE, "Balance": 0}), "no credit memo stands"),
        ((200, {"Id": INVOICE, "Balance": 0, "Amount": 100, "CreditMemoAmount": 99.99}), "no credit memo stands"),
        (
            (200, {"Id": INVOICE, "Balance": 0, "Amount": 100, "CreditMemoAmount": 0, "Reversed": "no"}),
            "no credit memo",
        ),
    ],
    ids=["paid", "untouched", "half", "bare", "a cent less", "flag of another kind"],
)
async def test_what_is_paid_or_half_credited_is_not_reversed(seen: Any, told: str) -> None:
    error = await result_of(Tenant(invoices=[seen]), ReverseInvoice(INVOICE))
    assert type(error) is NotProved
    assert told in str(error)


async def test_an_invoice_that_is_gone_is_not_reversed() -> None:
    assert type(await result_of(Tenant(invoices=[GONE]), ReverseInvoice(INVOICE))) is NotFound


async def test_a_reversal_in_doubt_that_can_be_seen_was_carried_out() -> None:
    tenant = Tenant(submit=LOST, invoices=[CREDITED])
    reversed_ = await result_of(tenant, ReverseInvoice(INVOICE))
    assert (reversed_.outcome, reversed_.credit_memos, reversed_.invoice.id) == (None, (), INVOICE)


@pytest.mark.parametrize("seen", [PAID, THERE, HALF])
async def test_a_reversal_in_doubt_that_cannot_be_seen_stays_in_doubt(seen: Any) -> None:
    assert type(await result_of(Tenant(submit=LOST, invoices=[seen]), ReverseInvoice(INVOICE))) is SubmitUncertain


# --- credit memos

APPLY = ApplyCreditMemo("CM1", [InvoiceAmount(invoice_id=INVOICE, amount="12.50")])
MEMO = {"success": True, "id": "memo", "number": "CM1", "amount": 100, "appliedAmount": 0, "unappliedAmount": 100}
MEMO_AFTER = {**MEMO, "appliedAmount": 12.5, "unappliedAmount": 87.5}
APPLYING = (200, {"success": True, "id": JOB, "status": "Pending"})


def owing(balance: Any) -> tuple[int, Any]:
    return 200, {"success": True, "id": INVOICE, "balance": balance}


def memo_tenant(**changes: Any) -> Tenant:
    usual: dict[str, Any] = {
        "submit": APPLYING,
        "job": (200, {"id": JOB, "status": "Processed"}),
        "invoices": [owing(100), owing(87.5)],
        "memos": [(200, MEMO), (200, MEMO_AFTER)],
    }
    return Tenant(**{**usual, **changes})


async def test_what_is_left_is_told_before_and_after() -> None:
    tenant = memo_tenant()
    applied = await result_of(tenant, APPLY)
    assert (applied.before.unapplied_amount, applied.after.unapplied_amount) == (100, Decimal("87.5"))
    balance = applied.balances[INVOICE]
    assert (balance.before, balance.after) == (100, Decimal("87.5"))
    assert isinstance(applied.outcome, Succeeded)
    order = [what for _, what, _ in tenant.asked]
    assert order.index("submit") == 2
    assert order[-2:] in (["memo", "invoice"], ["invoice", "memo"])


async def test_balances_of_invoices_named_by_number_are_told_by_that() -> None:
    request = ApplyCreditMemo("CM1", [InvoiceAmount(invoice_number=NUMBER, amount=1)])
    tenant = memo_tenant()
    applied = await result_of(tenant, request)
    assert {name: (one.before, one.after) for name, one in applied.balances.items()} == {NUMBER: (100, Decimal("87.5"))}
    assert tenant.names("invoice") == [NUMBER] * 2


@pytest.mark.parametrize("balance", [Decimal("12345678901234567.89"), Decimal("0.10"), 0, None])
async def test_no_digit_of_what_was_before_is_lost_in_the_note(balance: Any) -> None:
    text = "null" if balance is None else str(balance)
    raw = Response(200, {}, f'{{"success":true,"id":"{INVOICE}","balance":{text}}}'.encode())
    tenant = memo_tenant(invoices=[raw, owing(1)])
    applied = await result_of(tenant, APPLY)
    assert repr(applied.balances[INVOICE].before) == repr(None if balance is None else Decimal(balance))


async def test_a_memo_that_could_not_be_applied_is_told() -> None:
    tenant = memo_tenant(job=(200, {"id": JOB, "status": "Error", "error": "less is left of it"}))
    error = await result_of(tenant, APPLY)
    assert type(error) is JobFailed
    assert "less is left of it" in str(error)


async def test_in_doubt_a_memo_is_never_applied_again_and_nothing_is_taken_for_proof() -> None:
    tenant = memo_tenant(submit=LOST)
    error = await result_of(tenant, APPLY)
    assert type(error) is SubmitUncertain
    assert "unappliedAmount" in error.find_out
    assert len(tenant.times("submit")) == 1


@pytest.mark.parametrize("missing", ["memo", "invoice"])
async def test_where_the_memo_or_an_invoice_is_unknown_nothing_is_applied(missing: str) -> None:
    tenant = memo_tenant(**({"memos": [MISSING]} if missing == "memo" else {"invoices": [GONE]}))
    assert type(await result_of(tenant, APPLY)) is NotFound
    assert tenant.times("submit") == []


async def test_when_one_look_fails_the_others_are_not_left_running() -> None:
    request = ApplyCreditMemo("CM1", [InvoiceAmount(invoice_number=f"INV{number}", amount=1) for number in range(20)])
    tenant = memo_tenant(invoices=[MISSING, owing(1)])
    async with watching(tenant) as watcher:

        async def slowly(key: str) -> Any:
            await asyncio.sleep(0 if key == "INV0" else 50)
            return await balance_of(key)

        balance_of = watcher.client.invoice_balance
        watcher.client.invoice_balance = slowly  # type: ignore[method-assign]
        with pytest.raises(NotFound):
            await proofs.apply(watcher, request)
        count = len(tenant.asked)
        await asyncio.sleep(1000)
        assert len(tenant.asked) == count
