"""What a job's document says at one moment: two small functions per family.

- `<family>_birth` draws what never changes: ids, names, queries. `<family>_now` adds what its status implies.
- Every field of the vendor's pages is there once it has something to say; plausible, and drawn from the job's own
  random numbers.
  https://developer.zuora.com/v1-api-reference/api/operation/Get_BulkPDFToZIPGeneration/
  https://developer.zuora.com/v1-api-reference/api/operation/getApplyCreditMemoAsyncJob/
- AQuA, whose batches have lives of their own, is in `aqua.py`. Nothing here knows routes or HTTP.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from attrs import frozen

from zuora_jobs.emulator.archives import names_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from zuora_jobs.emulator.replies import Document
    from zuora_jobs.emulator.store import Store

BLANK_SEPARATED = "%Y-%m-%d %H:%M:%S"
"""How v1 writes moments: a blank in the middle and no zone at the end."""


@frozen
class Birth:
    """What a birth may draw on."""

    job_id: str
    rng: random.Random
    created: datetime
    fields: Mapping[str, object]
    """What the caller asked for; laid over the result afterwards."""
    asked: Mapping[str, Any]
    """What the request that submitted it asked for; empty for a job that a script made."""


@frozen
class View:
    """A job at one moment."""

    born: Document
    """What its birth drew, with the caller's fields."""
    status: str
    progress: float
    """How much of a running job is done, or was done when it was stopped: 0 to 1."""
    now: datetime
    ended: datetime | None
    store: Store
    asked: Mapping[str, Any]


def zuora_id(rng: random.Random) -> str:
    """An id like Zuora's: 32 hexadecimal digits, of which most share the first."""
    return f"2c92c8{rng.getrandbits(104):026x}"


def operation_birth(birth: Birth) -> Document:
    """An invoice to delete or to reverse."""
    return {
        "id": birth.job_id,
        "objectId": zuora_id(birth.rng),
        "objectType": "Invoice",
        "operationType": birth.rng.choice(["Delete", "Reverse"]),
    }


def operation_now(view: View) -> Document:
    """Its status, and the reasons if it failed. `success` tells of the call, hence is always true."""
    why = [{"code": "50000030", "message": f"The invoice {view.born['objectId']} is being used by another process."}]
    return {"status": view.status, "reasons": why if view.status == "Failed" else [], "success": True}


def bulk_pdf_birth(birth: Birth) -> Document:
    """A named job of one user."""
    return {
        "jobId": birth.job_id,
        "jobName": f"BulkPDFGenerationJob-{birth.job_id[-6:]}",
        "createdOn": birth.created.strftime(BLANK_SEPARATED),
        "createdBy": f"caf630704a6f4100{birth.rng.getrandbits(64):016x}",
    }


BULK_PDF_STEPS = ("TasksCreated", "GenerateMissPDF", "PdfToZip", "PostProcessing")
BULK_PDF_STEP_AT_END = {
    "Submitted": "JobCreated",
    "Completed": "PostProcessing",
    "PartialComplete": "PostProcessing",
    "Error": "GenerateMissPDF",
    "Aborted": "PdfToZip",
    "Cancelled": "TasksCreated",
}
BULK_PDF_REASONS = {
    "Error": {"code": "50000030", "message": "The files of some documents are archived."},
    "Aborted": {"code": "50000060", "message": "The job was aborted by the system."},
}


def bulk_pdf_now(view: View) -> Document:
    """Its step, then the presigned URLs, and which documents are not in them."""
    job_id = view.born["jobId"]
    passing = BULK_PDF_STEPS[min(int(view.progress * len(BULK_PDF_STEPS)), len(BULK_PDF_STEPS) - 1)]
    document: Document = {
        "status": view.status,
        "stepStatus": BULK_PDF_STEP_AT_END.get(view.status, passing),
        "fileUrls": [],
        "success": True,
    }
    if view.status in {"Completed", "PartialComplete"} and view.ended is not None:
        document["fileUrls"] = view.store.urls(job_id, names_of(job_id, view.asked), view.ended, view.now)
    if view.status == "PartialComplete":
        document |= _left_out(job_id, view.asked)
    if view.status in BULK_PDF_REASONS:
        document["reasons"] = [BULK_PDF_REASONS[view.status]]
    return document


def _left_out(job_id: str, asked: Mapping[str, Any]) -> Document:
    """Which documents have failed or were skipped: of those that were asked for, the last."""
    if "documents" in asked:
        last = asked["documents"][-1]
        return {"failedDocuments": [{"docType": last["docType"], "objectIds": last["objectIds"][-1:]}]}
    rng = random.Random(job_id)  # noqa: S311 - plausible, not secret
    return {
        "failedDocuments": [{"docType": "Invoice", "objectIds": [zuora_id(rng), zuora_id(rng)]}],
        "skippedDocuments": [{"docType": "CreditMemo", "objectIds": [zuora_id(rng)]}],
    }


def credit_memo_apply_birth(birth: Birth) -> Document:
    """A credit memo to apply."""
    return {
        "id": birth.job_id,
        "operationType": "AsyncCreditMemoApply",
        "referenceId": zuora_id(birth.rng),
        "referenceType": "CreditMemo",
    }


def credit_memo_unapply_birth(birth: Birth) -> Document:
    """A credit memo to unapply."""
    return {**credit_memo_apply_birth(birth), "operationType": "AsyncCreditMemoUnapply"}


def credit_memo_apply_now(view: View) -> Document:
    """Its status, and `error`: a sentence if it failed, null otherwise."""
    why = f"The credit memo {view.born['referenceId']} has an unapplied amount smaller than the amount to apply."
    return {"status": view.status, "error": why if view.status == "Error" else None, "success": True}


def credit_memo_unapply_now(view: View) -> Document:
    """Its status, and `error`."""
    why = f"The credit memo {view.born['referenceId']} has an applied amount smaller than the amount to unapply."
    return {"status": view.status, "error": why if view.status == "Error" else None, "success": True}
