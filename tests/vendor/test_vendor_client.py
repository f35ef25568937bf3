"""The emulator against Zuora's own generated client, `zuora-sdk`: two readings of the same pages must agree.

One job of each family in each status of its enum, a cancel, a refused cancel, an invoice and an unknown one. What the
SDK's models decoded must be what the emulator meant, field by field; statuses must be members of the SDK's enums; and a
field that the SDK does not know needs a reason, written below.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from zuora_jobs import emulator
from zuora_jobs.emulator import Step
from zuora_jobs.emulator.aqua import aqua_cancel_answer
from zuora_jobs.emulator.families import FAMILIES

pytestmark = [
    pytest.mark.skipif(
        find_spec("zuora_sdk") is None, reason="the vendor's client is not installed: pip install zuora-sdk"
    ),
    pytest.mark.asyncio(loop_scope="module"),
]

SESSION = Path(__file__).with_name("sdk_session.py")

UNKNOWN_TO_SDK = {
    "sourceData": "the page of DELETE_BatchQueryJob shows it in its sample; the SDK's models have no such field",
}

ENUM_OF = {
    ("operation", "status"): "OperationJobStatus",
    ("operation", "operationType"): "OperationJobType",
    ("operation", "objectType"): "OperationJobObjectType",
    ("bulk-pdf", "status"): "BulkPDFGenerationJobStatus",
    ("bulk-pdf", "stepStatus"): "BulkPDFGenerationStepStatus",
    ("credit-memo-apply", "status"): "InvoiceSettlementAsyncJobStatus",
    ("credit-memo-apply", "operationType"): "InvoiceSettlementAsyncJobOperationType",
    ("credit-memo-apply", "referenceType"): "InvoiceSettlementAsyncJobReferenceType",
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

    def plan(name: str, operation: str, item_id: str, meant: Any = None) -> None:
        run.meant[name] = meant
        calls.append({"name": name, "operation": operation, "id": item_id})

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

        client = {"client_id": zuora.tokens.client_id, "client_secret": zuora.tokens.client_secret}
        script = await asyncio.create_subprocess_exec(
            sys.executable, str(SESSION), zuora.url,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await script.communicate(json.dumps({**client, "calls": calls}).encode())
        assert script.returncode == 0, err.decode()
        run.said = json.loads(out)
        run.meant["cancelled"] = executing.document()
        run.meant["cancel"] = aqua_cancel_answer(executing.document())
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
    assert unknown == set(UNKNOWN_TO_SDK)


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


@pytest.mark.parametrize("kind", ["operation", "bulk-pdf", "credit-memo-apply"])
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
