"""The emulator against Zuora's own generated client, `zuora-sdk`: two readings of the same pages must agree.

One job of each family in each status of its enum, a cancel, a refused cancel, an invoice and an unknown one; every way to
submit, by a body that the SDK's own model has made, and a look at the job and at what it has changed. What the SDK's models
decoded must be what the emulator meant, field by field; statuses must be members of the SDK's enums; and a
field that the SDK does not know needs a reason, written below.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from zuora_jobs import emulator
from zuora_jobs.emulator import Step
from zuora_jobs.emulator.aqua import aqua_cancel_answer
from zuora_jobs.emulator.families import FAMILIES
from zuora_jobs.emulator.invoices import as_v1

pytestmark = [
    pytest.mark.skipif(
        find_spec("zuora_sdk") is None, reason="the vendor's client is not installed: pip install zuora-sdk"
    ),
    pytest.mark.asyncio(loop_scope="module"),
]

SESSION = Path(__file__).with_name("sdk_session.py")

UNKNOWN_TO_SDK = {
    "sourceData": "the page of DELETE_BatchQueryJob shows it in its sample; the SDK's models have no such field",
    "incrementalTime": "the page on queries with a retrieval time (AQuA) has it; the SDK's models have no such field",
}

UNKNOWN_TO_ONE_MODEL = {
    "reversed": "of an invoice: the SDK's ExpandedInvoice has it, its InvoiceResponse has not",
    "jobId": "of a delete: the published example has it, the SDK takes the answer for the operation job itself",
    "jobStatus": "the same",
}

AQUA_BODY = {
    "format": "csv",
    "version": "1.1",
    "name": "June",
    "partner": "acme",
    "project": "sales",
    "offset": 60,
    "incrementalTime": "2026-01-05 09:00:00",
    "notifyUrl": "https://x.invalid/${JOBID}/${STATUS}",
    "queries": [
        {"name": "A", "query": "select Id from Invoice", "type": "zoqlexport", "apiVersion": "137.0"},
        {
            "name": "B",
            "query": "select Id from Payment",
            "type": "zoql",
            "deleted": {"column": "gone", "format": "Boolean"},
        },
    ],
}
PDF_BODY = {
    "documents": [{"docType": "Invoice", "objectIds": ["2c92c8955bd63cc1015bd7c151af02ab", "no id"]}],
    "fileName": "may",
    "indexFileFormat": "JSON",
    "name": "All of May",
    "generateMissingPDF": True,
}
SUBMITS = ("aqua", "bulk-pdf", "invoice-delete", "invoice-reverse", "credit-memo-apply", "credit-memo-unapply")

ENUM_OF = {
    ("operation", "status"): "OperationJobStatus",
    ("operation", "operationType"): "OperationJobType",
    ("operation", "objectType"): "OperationJobObjectType",
    ("bulk-pdf", "status"): "BulkPDFGenerationJobStatus",
    ("bulk-pdf", "stepStatus"): "BulkPDFGenerationStepStatus",
    ("credit-memo-apply", "status"): "InvoiceSettlementAsyncJobStatus",
    ("credit-memo-apply", "operationType"): "InvoiceSettlementAsyncJobOperationType",
    ("credit-memo-apply", "referenceType"): "InvoiceSettlementAsyncJobReferenceType",
    ("credit-memo-unapply", "status"): "InvoiceSettlementAsyncJobStatus",
    ("credit-memo-unapply", "operationType"): "InvoiceSettlementAsyncJobOperationType",
    ("credit-memo-unapply", "referenceType"): "InvoiceSettlementAsyncJobReferenceType",
    ("aqua", "format"): "BatchQueryFormat",
    ("aqua", "encrypted"): "BatchQueryEncrypted",
}

AQUA_STATUSES = {"submitted", "executing", "completed", "error", "aborted", "cancelled"}
"""The SDK has an enum for the batches but none for the job: these are the words of its model's description."""

NOT_IN_EXPANDED_INVOICE = {
    "Body": "the PDF itself: only the CRUD call has it",
}

CASES = [(kind, status) for kind, family in FAMILIES.items() for status in family.statuses]


class Run:
    """One session of the SDK's with one emulator."""

    def __init__(self) -> None:
        self.meant: dict[str, Any] = {}
        """What the emulator meant to say, by the call's name."""
        self.said: dict[str, Any] = {}
        """The script's whole output."""

    def answer(self, name: str) -> Any:
        return self.said["answers"][name]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run() -> Run:
    """The whole session, in one subprocess; the loop stays free to serve it."""
    run = Run()
    calls = []

    def plan(name: str, operation: str, item_id: str | None, meant: Any = None, body: Any = None) -> None:
        run.meant[name] = meant
        calls.append({"name": name, "operation": operation, "id": item_id, "body": body})

    async with emulator.running() as zuora:
        for kind, status in CASES:
            job = zuora.add_job(kind, life=[Step(status)])
            plan(f"{kind} {status}", kind, job.id, job.document())
        executing = zuora.add_job("aqua", life=[Step("executing")])
        plan("cancel", "cancel", executing.id)
        plan("cancelled", "aqua", executing.id)
        plan("too late", "cancel", zuora.add_job("aqua", life=[Step("completed")]).id)
        for kind in FAMILIES:
            plan(f"unknown {kind}", kind, "2c92c8955bd63cc1015bd7c151af02ab")
        invoice_id = zuora.add_invoice()
        plan("invoice", "invoice", invoice_id, json.loads(json.dumps(zuora.stock.invoices[invoice_id], default=float)))
        plan("unknown invoice", "invoice", "2c92c8955bd63cc1015bd7c151af02ab")

        for name in SUBMITS:
            zuora.on_submit(name, at_once=name != "aqua", seconds=3600 if name == "aqua" else None)
        memo = zuora.add_credit_memo(amount=Decimal("100.00"))
        doomed, reversed_, settled = zuora.add_invoice(), zuora.add_invoice(), zuora.add_invoice(Balance=Decimal(50))
        plan("submit aqua", "submit aqua", None, body=AQUA_BODY)
        plan("submitted aqua", "aqua", "submit aqua.id")
        plan("submit bulk-pdf", "submit bulk-pdf", None, body=PDF_BODY)
        plan("submitted bulk-pdf", "bulk-pdf", "submit bulk-pdf.jobId")
        plan("submit invoice-delete", "submit invoice-delete", doomed)
        plan("deleted invoice", "v1 invoice", doomed)
        plan("submit invoice-reverse", "submit invoice-reverse", reversed_, body={"comment": "wrong address"})
        plan("submitted invoice-reverse", "operation", "submit invoice-reverse.jobId")
        plan("reversed invoice", "v1 invoice", reversed_)
        for name, amount in (("credit-memo-apply", 30.25), ("credit-memo-unapply", 10)):
            body = {"effectiveDate": "2026-01-05", "invoices": [{"invoiceId": settled, "amount": amount}]}
            plan(f"submit {name}", f"submit {name}", memo, body=body)
            plan(f"submitted {name}", name, f"submit {name}.id")
        plan("credit memo", "credit memo", memo)
        plan("settled invoice", "v1 invoice", settled)

        client = {"client_id": zuora.tokens.client_id, "client_secret": zuora.tokens.client_secret}
        script = await asyncio.create_subprocess_exec(
            sys.executable, str(SESSION), zuora.url,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            # nothing of ours runs there, and to measure nothing takes a third longer
            env={name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"},
        )  # fmt: skip
        out, err = await script.communicate(json.dumps({**client, "calls": calls}).encode())
        assert script.returncode == 0, err.decode()
        run.said = json.loads(out)
        run.meant["cancelled"] = executing.document()
        run.meant["cancel"] = aqua_cancel_answer(executing.document())
        run.meant["submissions"] = zuora.submitted
        run.meant["credit memo"] = {"success": True, **(zuora.credit_memo(memo) or {})}
        for name, invoice in (("reversed invoice", reversed_), ("settled invoice", settled)):
            run.meant[name] = as_v1(zuora.invoice(invoice) or {})
        assert zuora.token_requests == 1
        assert zuora.statistics().statuses.keys() == {200, 400, 404}
    return run


def as_the_sdk_sees(document: dict[str, Any]) -> dict[str, Any]:
    """Without what the SDK has no field for; to its models null and absent are the same."""
    return {name: value for name, value in document.items() if name not in UNKNOWN_TO_SDK and value is not None}


async def test_it_authenticates(run: Any) -> None:
    assert run.said["token"] == {"expires": True, "expired": False}


@pytest.mark.parametrize("name", [*(f"{kind} {status}" for kind, status in CASES), "cancel", "cancelled"])
async def test_the_sdk_decodes_what_the_emulator_means(name: Any, run: Any) -> None:
    answer = run.answer(name)
    assert answer["status"] == 200
    assert answer["decoded"] == as_the_sdk_sees(run.meant[name])


@pytest.mark.parametrize("name", [*(f"{kind} {status}" for kind, status in CASES), "cancel", "cancelled"])
async def test_the_sdk_knows_every_field(name: Any, run: Any) -> None:
    assert set(run.answer(name)["unknown"]) <= set(UNKNOWN_TO_SDK)


async def test_every_reason_for_an_unknown_field_is_needed(run: Any) -> None:
    unknown = {path for answer in run.said["answers"].values() for path in answer.get("unknown", [])}
    assert unknown == set(UNKNOWN_TO_SDK) | set(UNKNOWN_TO_ONE_MODEL)


@pytest.mark.parametrize(("kind", "status"), CASES)
async def test_values_are_members_of_the_sdks_enums(kind: Any, status: Any, run: Any) -> None:
    decoded = run.answer(f"{kind} {status}")["decoded"]
    for (of_kind, name), enum in ENUM_OF.items():
        if of_kind == kind:
            assert decoded[name] in run.said["enums"][enum]
    for batch in decoded.get("batches", []):
        assert batch["status"] in run.said["enums"]["BatchQueryStatus"]
        assert batch["batchType"] in run.said["enums"]["BatchQueryType"]


@pytest.mark.parametrize(
    ("kind", "enum"),
    [(kind, enum) for (kind, name), enum in ENUM_OF.items() if name == "status"],
)
async def test_the_statuses_of_a_family_are_the_sdks(kind: Any, enum: Any, run: Any) -> None:
    assert set(FAMILIES[kind].statuses) == set(run.said["enums"][enum])


async def test_the_statuses_of_aqua_jobs_are_those_of_the_reference() -> None:
    assert set(FAMILIES["aqua"].statuses) == AQUA_STATUSES


async def test_a_cancel_stops_the_job(run: Any) -> None:
    assert run.answer("cancel")["decoded"]["status"] == "cancelled"
    assert run.answer("cancelled")["decoded"]["status"] == "cancelled"


@pytest.mark.parametrize(("name", "code"), [("too late", 90003), ("unknown aqua", 90002)])
async def test_aquas_refusals_have_the_shape_that_the_sdk_types(name: Any, code: Any, run: Any) -> None:
    answer = run.answer(name)
    assert (answer["status"], answer["error"]) == (400, "BadRequestException")
    assert answer["decoded"].keys() == {"code", "message"}
    assert answer["decoded"]["code"] == code


@pytest.mark.parametrize("kind", ["operation", "bulk-pdf", "credit-memo-apply", "credit-memo-unapply"])
async def test_unknown_jobs_are_not_found(kind: Any, run: Any) -> None:
    assert run.answer(f"unknown {kind}")["error"] == "NotFoundException"


async def test_the_invoice(run: Any) -> None:
    assert run.answer("invoice")["decoded"] == run.meant["invoice"]
    camel = {name: name[0].lower() + name[1:] for name in run.meant["invoice"]}
    strangers = {name for name, alias in camel.items() if alias not in run.said["models"]["ExpandedInvoice"]}
    assert strangers == set(NOT_IN_EXPANDED_INVOICE)


async def test_an_unknown_invoice(run: Any) -> None:
    answer = run.answer("unknown invoice")
    assert (answer["status"], answer["error"]) == (404, "NotFoundException")
    assert answer["decoded"] == {"done": True, "records": [], "size": 0}


async def test_every_submit_was_carried_out_once(run: Any) -> None:
    assert [submission.name for submission in run.meant["submissions"]] == list(SUBMITS)
    for submission in run.meant["submissions"]:
        assert run.answer(f"submit {submission.name}")["status"] == 200


async def test_a_submitted_aqua_job(run: Any) -> None:
    answer = run.answer("submit aqua")["decoded"]
    for name in ("name", "partner", "project", "offset", "notifyUrl", "version"):
        assert answer[name] == AQUA_BODY[name]
    assert (answer["status"], answer["format"], len(answer["batches"])) == ("submitted", "CSV", 2)
    for batch, query in zip(answer["batches"], AQUA_BODY["queries"], strict=True):  # type: ignore[call-overload]
        assert (batch["name"], batch["query"], batch["batchType"]) == (query["name"], query["query"], query["type"])
        assert (batch["status"], batch.get("deleted")) == ("pending", query.get("deleted"))
    looked = run.answer("submitted aqua")["decoded"]
    assert (looked["id"], looked["project"], looked["status"]) == (answer["id"], "sales", "submitted")


async def test_a_submitted_bulk_pdf_job(run: Any) -> None:
    answer = run.answer("submit bulk-pdf")["decoded"]
    assert (answer["success"], answer["invalidIds"]) == (True, ["no id"])
    looked = run.answer("submitted bulk-pdf")["decoded"]
    assert (looked["jobId"], looked["jobName"], looked["status"]) == (answer["jobId"], "All of May", "Completed")
    assert "/may_1.zip?" in looked["fileUrls"][0]


async def test_a_deleted_invoice(run: Any) -> None:
    assert set(run.answer("submit invoice-delete")["unknown"]) == {"jobId", "jobStatus"}
    assert run.answer("deleted invoice")["error"] == "NotFoundException"


async def test_a_reversed_invoice(run: Any) -> None:
    answer = run.answer("submit invoice-reverse")["decoded"]
    assert answer["jobStatus"] == "Completed"
    assert answer["creditMemos"] == [answer["creditMemo"]]
    looked = run.answer("submitted invoice-reverse")["decoded"]
    assert (looked["operationType"], looked["objectId"]) == ("Reverse", answer["id"])


@pytest.mark.parametrize("name", ["credit-memo-apply", "credit-memo-unapply"])
async def test_a_submitted_settlement(name: Any, run: Any) -> None:
    assert run.answer(f"submit {name}")["decoded"] == run.answer(f"submitted {name}")["decoded"]
    assert run.answer(f"submit {name}")["decoded"]["status"] == "Processed"


@pytest.mark.parametrize("name", ["credit memo", "reversed invoice", "settled invoice"])
async def test_what_the_jobs_have_changed(name: Any, run: Any) -> None:
    answer = run.answer(name)
    assert set(answer["unknown"]) <= {"reversed"}
    meant = json.loads(json.dumps(as_the_sdk_sees(run.meant[name]), default=float))
    assert answer["decoded"] == {field: value for field, value in meant.items() if field not in answer["unknown"]}


async def test_sums_are_right(run: Any) -> None:
    memo, invoice = run.answer("credit memo")["decoded"], run.answer("settled invoice")["decoded"]
    assert (memo["appliedAmount"], memo["unappliedAmount"]) == (20.25, 79.75)
    assert (invoice["balance"], invoice["creditMemoAmount"]) == (29.75, 20.25)
