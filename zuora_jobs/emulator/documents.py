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
from typing import TYPE_CHECKING

from attrs import frozen

from zuora_jobs.emulator.files import presigned_urls

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from zuora_jobs.emulator.replies import Document

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


@frozen
class View:
    """A job at one moment."""

    born: Document
    """What its birth drew, with the caller's fields."""
    status: str
    progress: float
    """How much of a running job is done, or was done when it was stopped: 0 to 1."""
    ended: datetime | None
    base_url: str


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
        document["fileUrls"] = presigned_urls(view.base_url, job_id, view.ended)
    if view.status == "PartialComplete":
        rng = random.Random(job_id)  # noqa: S311 - plausible, not secret
        document["failedDocuments"] = [{"docType": "Invoice", "objectIds": [zuora_id(rng), zuora_id(rng)]}]
        document["skippedDocuments"] = [{"docType": "CreditMemo", "objectIds": [zuora_id(rng)]}]
    if view.status in BULK_PDF_REASONS:
        document["reasons"] = [BULK_PDF_REASONS[view.status]]
    return document


def credit_memo_apply_birth(birth: Birth) -> Document:
    """A credit memo to apply."""
    return {
        "id": birth.job_id,
        "operationType": "AsyncCreditMemoApply",
        "referenceId": zuora_id(birth.rng),
        "referenceType": "CreditMemo",
    }


def credit_memo_apply_now(view: View) -> Document:
    """Its status, and `error`: a sentence if it failed, null otherwise."""
    why = f"The credit memo {view.born['referenceId']} has an unapplied amount smaller than the amount to apply."
    return {"status": view.status, "error": why if view.status == "Error" else None, "success": True}
