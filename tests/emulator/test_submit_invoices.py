"""Deleting and reversing invoices: the job, and what it does when it ends."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

GONE = {"done": True, "records": [], "size": 0}


async def crud(caller: Any, invoice: str) -> Any:
    return await (await caller.get(f"/v1/object/invoice/{invoice}")).json()


@pytest.mark.looptime
async def test_a_deleted_invoice_is_there_until_the_job_completes(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.on_submit("invoice-delete", seconds=4)
        invoice = caller.zuora.add_invoice(InvoiceNumber="INV-1")
        status, made = await caller.send("DELETE", "/v1/invoices/INV-1")
        assert (status, made) == (200, {"success": True, "id": invoice, "jobId": made["jobId"], "jobStatus": "Pending"})
        job = caller.zuora.job(f"operation:{made['jobId']}")
        document = await caller.poll(job)
        assert (document["operationType"], document["objectId"]) == ("Delete", invoice)
        await asyncio.sleep(3.5)
        assert (await crud(caller, invoice))["Id"] == invoice
        await asyncio.sleep(0.5)
        assert await crud(caller, invoice) == GONE
        assert (await caller.send("GET", f"/v1/invoices/{invoice}"))[0] == 404
        assert caller.zuora.invoice("INV-1") is None
        assert job.ended_at == 4
        (submission,) = caller.zuora.submitted
        assert (submission.name, submission.key, submission.body) == ("invoice-delete", "INV-1", None)


@pytest.mark.looptime
async def test_the_other_answer_that_is_documented(calling: Any) -> None:
    async with calling(delete_answer="operation") as caller:
        invoice = caller.zuora.add_invoice()
        _, made = await caller.send("DELETE", f"/v1/invoices/{invoice}")
        (job,) = caller.zuora.jobs
        assert made == {
            "id": job.id, "objectId": invoice, "objectType": "Invoice", "operationType": "Delete", "status": "Pending",
            "success": True,
        }  # fmt: skip


async def test_small_ones_are_done_at_once(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.on_submit("invoice-delete", at_once=True)
        caller.zuora.on_submit("invoice-reverse", at_once=True)
        one, other = caller.zuora.add_invoice(), caller.zuora.add_invoice(Amount=Decimal("12.50"))
        assert (await caller.send("DELETE", f"/v1/invoices/{one}"))[1]["jobStatus"] == "Completed"
        assert await crud(caller, one) == GONE
        _, made = await caller.send("PUT", f"/v1/invoices/{other}/reverse", {})
        assert made["jobStatus"] == "Completed"
        _, memo = await caller.send("GET", f"/v1/credit-memos/{made['creditMemo']['id']}")
        assert (memo["amount"], memo["unappliedAmount"], memo["referredInvoiceId"]) == (12.5, 0, other)
        assert made["creditMemos"] == [made["creditMemo"]]


@pytest.mark.looptime
async def test_a_reversed_invoice_is_changed_when_the_job_completes(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.on_submit("invoice-reverse", seconds=10)
        invoice = caller.zuora.add_invoice(Amount=Decimal("99.90"))
        before = await crud(caller, invoice)
        path = f"/v1/invoices/{invoice}/reverse"
        _, made = await caller.send("PUT", path, {"comment": "wrong address", "memoDate": "2026-01-05"})
        assert made == {"success": True, "id": invoice, "jobId": made["jobId"], "jobStatus": "Pending"}
        await asyncio.sleep(9)
        assert await crud(caller, invoice) == before
        await asyncio.sleep(100)  # it is seen late, and tells when it was
        after = await crud(caller, invoice)
        assert (after["Balance"], after["CreditMemoAmount"], after["Reversed"]) == (0, 99.9, True)
        assert after["UpdatedDate"] == "2026-01-05T09:00:10.000+00:00"
        _, v1 = await caller.send("GET", f"/v1/invoices/{invoice}")
        assert (v1["balance"], v1["reversed"], v1["updatedDate"]) == (0, True, "2026-01-05 09:00:10")
        assert caller.zuora.invoice(invoice)["CreditMemoAmount"] == Decimal("99.90")
        assert len(caller.zuora.stock.credit_memos) == 1


@pytest.mark.looptime
async def test_a_failed_job_changes_nothing(calling: Any) -> None:
    async with calling() as caller:
        for name, method, suffix in (("invoice-delete", "DELETE", ""), ("invoice-reverse", "PUT", "/reverse")):
            caller.zuora.on_submit(name, ends="Failed", seconds=1)
            invoice = caller.zuora.add_invoice()
            before = await crud(caller, invoice)
            _, made = await caller.send(method, f"/v1/invoices/{invoice}{suffix}", {})
            await asyncio.sleep(1)
            assert (await caller.poll(caller.zuora.job(f"operation:{made['jobId']}")))["status"] == "Failed"
            assert await crud(caller, invoice) == before


@pytest.mark.looptime
async def test_no_two_jobs_work_on_one_invoice(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.on_submit("invoice-reverse", seconds=5)
        invoice = caller.zuora.add_invoice()
        reverse: Any = ("PUT", f"/v1/invoices/{invoice}/reverse", {})
        assert (await caller.send(*reverse))[1]["success"] is True
        for again in (reverse, ("DELETE", f"/v1/invoices/{invoice}")):
            status, refusal = await caller.send(*again)
            assert (status, refusal["success"], refusal["reasons"][0]["code"]) == (200, False, 50000050)
        await asyncio.sleep(5)
        assert (await caller.send("DELETE", f"/v1/invoices/{invoice}"))[1]["success"] is True
        assert [submission.name for submission in caller.zuora.submitted] == ["invoice-reverse", "invoice-delete"]


@pytest.mark.looptime
async def test_an_invoice_may_be_taken_away_meanwhile(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.on_submit("invoice-reverse", seconds=5)
        invoice = caller.zuora.add_invoice()
        await caller.send("PUT", f"/v1/invoices/{invoice}/reverse", {})
        caller.zuora.remove_invoice(invoice)
        await asyncio.sleep(5)
        assert caller.zuora.jobs[0].status == "Completed"
        assert caller.zuora.stock.credit_memos == {}


@pytest.mark.parametrize("status", [200, 404])
async def test_unknown_invoices(status: Any, calling: Any) -> None:
    async with calling(unknown_job_status=status) as caller:
        for method, path in (("DELETE", ""), ("PUT", "/reverse"), ("GET", "")):
            answered, refusal = await caller.send(method, f"/v1/invoices/nowhere{path}", {})
            assert (answered, refusal["success"], int(refusal["reasons"][0]["code"])) == (status, False, 50000040)


async def test_a_reversal_needs_a_body(calling: Any) -> None:
    async with calling() as caller:
        path = f"/v1/invoices/{caller.zuora.add_invoice()}/reverse"
        assert (await caller.send("PUT", path))[0] == 415
        assert (await caller.send("PUT", path, {"comment": "x" * 256}))[1]["reasons"][0]["code"] == 50000020
        assert caller.zuora.submitted == []


async def test_v1_shows_the_same_invoice(calling: Any) -> None:
    async with calling() as caller:
        invoice = caller.zuora.add_invoice(Balance=Decimal("0.10"), Odd__c="yes")
        text = await (await caller.get(f"/v1/invoices/{invoice}")).text()
        assert '"balance": 0.10' in text
        _, document = await caller.send("GET", f"/v1/invoices/{invoice}")
        assert (document["success"], document["reversed"], document["Odd__c"]) == (True, False, "yes")
        assert (document["createdDate"], document["postedDate"]) == ("2026-01-05 09:00:00", "2026-01-05")
        assert "body" not in document


@pytest.mark.looptime
async def test_many_jobs_take_effect_each_at_its_own_moment(calling: Any) -> None:
    async with calling() as caller:
        invoices = [caller.zuora.add_invoice() for _ in range(300)]
        for number, invoice in enumerate(invoices):
            caller.zuora.on_submit("invoice-delete", seconds=1 + number, times=1)
            await caller.send("DELETE", f"/v1/invoices/{invoice}")
        await asyncio.sleep(100)
        assert [caller.zuora.invoice(invoice) is None for invoice in invoices] == [True] * 100 + [False] * 200
        caller.zuora.jobs[200].become("Completed")
        caller.zuora.jobs[100].become("Failed")
        assert caller.zuora.invoice(invoices[200]) is None
        await asyncio.sleep(1000)
        assert list(caller.zuora.stock.invoices) == [invoices[100]]


async def test_jobs_that_end_by_being_seen(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.on_submit("invoice-delete", polls=2)
        invoice = caller.zuora.add_invoice()
        await caller.send("DELETE", f"/v1/invoices/{invoice}")
        (job,) = caller.zuora.jobs
        assert (await caller.poll(job))["status"] == "Processing"
        assert (await crud(caller, invoice))["Id"] == invoice
        await caller.poll(job)
        assert await crud(caller, invoice) == GONE
