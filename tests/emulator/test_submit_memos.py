"""Applying and unapplying credit memos: the job, and what it does when it ends."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest


@pytest.fixture(name="settling")
def _settling(calling: Any) -> Any:
    """A caller with a memo of 100, and an invoice of which 50.05 are open."""

    async def begin(caller: Any, **memo: Any) -> tuple[str, str]:
        for name in ("credit-memo-apply", "credit-memo-unapply"):
            caller.zuora.on_submit(name, seconds=4)
        invoice = caller.zuora.add_invoice(Balance=Decimal("50.05"), CreditMemoAmount=Decimal("1.10"))
        return caller.zuora.add_credit_memo(amount=Decimal("100.00"), number="CM-1", **memo), invoice

    return begin


def body_of(*amounts: tuple[str, float], **fields: Any) -> dict[str, Any]:
    invoices = [{"invoiceId": invoice, "amount": amount} for invoice, amount in amounts]
    return {"effectiveDate": "2026-01-05", "invoices": invoices, **fields}


def left(zuora: Any, memo: str, invoice: str) -> tuple[str, ...]:
    of_memo, of_invoice = zuora.credit_memo(memo), zuora.invoice(invoice)
    names = (
        ("appliedAmount", of_memo),
        ("unappliedAmount", of_memo),
        ("Balance", of_invoice),
        ("CreditMemoAmount", of_invoice),
    )
    return tuple(str(document[name]) for name, document in names)


@pytest.mark.looptime
async def test_amounts_move_when_the_job_is_processed(calling: Any, settling: Any) -> None:
    async with calling() as caller:
        memo, invoice = await settling(caller)
        status, made = await caller.send(
            "PUT", "/v1/credit-memos/CM-1/apply-async", body_of((invoice, 10.1), (invoice, 0.2))
        )
        (job,) = caller.zuora.jobs
        assert status == 200
        assert made == {
            "id": job.id, "status": "Pending", "operationType": "AsyncCreditMemoApply", "referenceId": memo,
            "referenceType": "CreditMemo", "error": None, "success": True,
        }  # fmt: skip
        await asyncio.sleep(3)
        assert left(caller.zuora, memo, invoice) == ("0", "100.00", "50.05", "1.10")
        await asyncio.sleep(1)
        assert (await caller.poll(job))["status"] == "Processed"
        assert left(caller.zuora, memo, invoice) == ("10.3", "89.70", "39.75", "11.40")
        _, document = await caller.send("GET", f"/v1/credit-memos/{memo}")
        assert (document["updatedDate"], document["success"]) == ("2026-01-05 09:00:04", True)

        back = {"invoices": [{"invoiceNumber": caller.zuora.invoice(invoice)["InvoiceNumber"], "amount": 10.3}]}
        _, made = await caller.send("PUT", f"/v1/credit-memos/{memo}/unapply-async", back)
        assert made["operationType"] == "AsyncCreditMemoUnapply"
        await asyncio.sleep(4)
        path = f"/v1/credit-memos/unapply-async-jobs/{made['id']}"
        assert (await caller.send("GET", path))[1]["status"] == "Processed"
        assert left(caller.zuora, memo, invoice) == ("0.0", "100.00", "50.05", "1.10")
        assert [s.name for s in caller.zuora.submitted] == ["credit-memo-apply", "credit-memo-unapply"]


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("way", "amount", "why"),
    [
        ("apply", 100.01, "has 100.00 left to apply, less than 100.01"),
        ("apply", 50.06, "has 50.05 to apply, less than 50.06"),
        ("unapply", 0.01, "has 0 left to unapply, less than 0.01"),
    ],
)
async def test_amounts_that_do_not_fit_end_in_an_error(
    way: Any, amount: Any, why: Any, calling: Any, settling: Any
) -> None:
    async with calling() as caller:
        memo, invoice = await settling(caller)
        before = left(caller.zuora, memo, invoice)
        _, made = await caller.send("PUT", f"/v1/credit-memos/{memo}/{way}-async", body_of((invoice, amount)))
        assert made["status"] == "Pending"
        await asyncio.sleep(4)
        (job,) = caller.zuora.jobs
        assert (job.status, job.ended_at) == ("Error", 4)
        document = await caller.poll(job)
        assert (document["status"], document["success"]) == ("Error", True)
        assert why in document["error"]
        assert left(caller.zuora, memo, invoice) == before


@pytest.mark.looptime
async def test_the_first_to_end_is_served_first(calling: Any, settling: Any) -> None:
    async with calling() as caller:
        memo, invoice = await settling(caller)
        for seconds in (9, 3):
            caller.zuora.on_submit("credit-memo-apply", seconds=seconds, times=1)
            await caller.send("PUT", f"/v1/credit-memos/{memo}/apply-async", body_of((invoice, 30)))
        await asyncio.sleep(100)  # nobody has looked meanwhile
        slow, fast = caller.zuora.jobs
        assert (slow.status, fast.status) == ("Error", "Processed")
        assert left(caller.zuora, memo, invoice) == ("30", "70.00", "20.05", "31.10")


@pytest.mark.looptime
async def test_a_job_that_fails_or_whose_invoice_is_gone_changes_nothing(calling: Any, settling: Any) -> None:
    async with calling() as caller:
        memo, invoice = await settling(caller)
        caller.zuora.on_submit("credit-memo-apply", ends="Error", seconds=1, times=1)
        for _ in range(2):
            await caller.send("PUT", f"/v1/credit-memos/{memo}/apply-async", body_of((invoice, 1)))
        caller.zuora.remove_invoice(invoice)
        await asyncio.sleep(4)
        assert [job.status for job in caller.zuora.jobs] == ["Error", "Error"]
        assert "does not exist any more" in caller.zuora.jobs[1].document()["error"]
        assert str(caller.zuora.credit_memo(memo)["unappliedAmount"]) == "100.00"


async def test_small_ones_are_done_at_once(calling: Any, settling: Any) -> None:
    async with calling() as caller:
        memo, invoice = await settling(caller)
        caller.zuora.on_submit("credit-memo-apply", at_once=True)
        path = f"/v1/credit-memos/{memo}/apply-async"
        assert (await caller.send("PUT", path, body_of((invoice, 50))))[1]["status"] == "Processed"
        assert (await caller.send("PUT", path, body_of((invoice, 50))))[1]["status"] == "Error"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{]", 50000090),
        ({}, 50000022),
        (body_of(invoices=[]), 50000022),
        (body_of(invoices="all"), 50000020),
        (body_of(*[("x", 1)] * 1001), 50000020),
        (body_of(("INV-1", 1), effectiveDate="tomorrow"), 50000020),
        (body_of(("INV-1", 0)), 50000020),
        (body_of(("INV-1", "5")), 50000020),  # type: ignore[arg-type]
        (body_of(("nowhere", 5)), 50000040),
    ],
    ids=str,
)
async def test_what_makes_no_sense_is_refused(body: Any, code: Any, calling: Any) -> None:
    async with calling(unknown_job_status=200) as caller:
        caller.zuora.add_invoice(InvoiceNumber="INV-1")
        memo = caller.zuora.add_credit_memo()
        status, refusal = await caller.send("PUT", f"/v1/credit-memos/{memo}/apply-async", body)
        assert (status, refusal["success"], refusal["reasons"][0]["code"]) == (200, False, code)
        assert caller.zuora.submitted == []


async def test_memos_that_cannot_be_applied(calling: Any) -> None:
    async with calling() as caller:
        invoice = caller.zuora.add_invoice()
        draft = caller.zuora.add_credit_memo(status="Draft")
        _, refusal = await caller.send("PUT", f"/v1/credit-memos/{draft}/apply-async", body_of((invoice, 1)))
        assert refusal["reasons"][0]["code"] == 50000030
        for method, path in (("PUT", "/apply-async"), ("PUT", "/unapply-async"), ("GET", "")):
            assert (await caller.send(method, f"/v1/credit-memos/nowhere{path}", {}))[0] == 404


async def test_memos(calling: Any) -> None:
    async with calling() as caller:
        memo = caller.zuora.add_credit_memo(amount=Decimal("10.00"), appliedAmount=Decimal("2.50"), Odd__c=1)
        text = await (await caller.get(f"/v1/credit-memos/{memo}")).text()
        assert '"unappliedAmount": 7.50' in text
        _, document = await caller.send("GET", f"/v1/credit-memos/{caller.zuora.credit_memo(memo)['number']}")
        assert (document["id"], document["status"], document["Odd__c"]) == (memo, "Posted", 1)
        assert caller.zuora.add_credit_memo(id="m-1") == "m-1"
