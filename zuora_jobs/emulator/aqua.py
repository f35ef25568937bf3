"""AQuA jobs: one job, several queries, one after another in one transaction.

- Batches advance with the job: while it executes, a share of them is completed, one executes, the others wait.
- A batch has its file from the moment it completes, and keeps it when the job is cancelled or aborted later.
- What becomes of the unfinished batches of a cancelled job is not documented; they are shown as `aborted`, the only
  word for it among the batch statuses of the newest reference.
  https://developer.zuora.com/v1-api-reference/api/operation/DELETE_BatchQueryJob/
  https://docs.zuora.com/en/zuora-platform/data/aggregate-query-api-aqua/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from zuora_jobs.emulator.documents import BLANK_SEPARATED

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from zuora_jobs.emulator.documents import Birth, View
    from zuora_jobs.emulator.replies import Document

OBJECTS: Mapping[str, str] = {
    "InvoiceItemAdjustment": "AccountingCode,CreatedDate,Id,InvoiceId,AdjustmentNumber,Amount,Status",
    "InvoiceAdjustment": "AccountingCode,CreatedDate,Id,ImpactAmount,InvoiceNumber,Amount,Status",
    "InvoiceItem": "Id,ChargeAmount,ChargeName,InvoiceId,ServiceStartDate,ServiceEndDate",
    "Payment": "Id,AccountId,Amount,EffectiveDate,Status",
}
DEFAULT_BATCHES = 2


def aqua_birth(birth: Birth) -> Document:
    """A job of two queries, or of as many as the caller's `batches` has."""
    asked = birth.fields.get("batches")
    count = len(asked) if isinstance(asked, list) else DEFAULT_BATCHES
    return {
        "batches": [_batch(number, birth.rng) for number in range(count)],
        "encrypted": "none",
        "format": "CSV",
        "id": birth.job_id,
        "name": f"Export-{birth.job_id[-6:]}",
        "sourceData": "LIVE",
        "startTime": birth.created.strftime(BLANK_SEPARATED),
        "version": "1.1",
    }


def _batch(number: int, rng: random.Random) -> Document:
    name = list(OBJECTS)[number % len(OBJECTS)]
    return {
        "apiVersion": "142.0",
        "batchId": _aqua_id(rng),
        "batchType": "zoqlexport",
        "fileId": _aqua_id(rng),
        "full": True,
        "name": name,
        "query": f"select {OBJECTS[name]} from {name}",  # noqa: S608 - shown, never run
        "recordCount": rng.randint(5, 2000),
    }


def _aqua_id(rng: random.Random) -> str:
    return f"e20b0747{rng.getrandbits(96):024x}"


@frozen
class _Scene:
    """How the batches of a job stand, given its status."""

    current: str
    """The status of the batch whose turn it is."""
    later: str
    """The status of those after it."""
    message: str = ""
    """What the batch whose turn it is has to say."""


_RUNNING = _Scene("executing", "pending")
_SCENES: Mapping[str, _Scene] = {
    "submitted": _Scene("pending", "pending"),
    "pending": _Scene("pending", "pending"),
    "executing": _RUNNING,
    "cancelled": _Scene("aborted", "aborted"),
    "aborted": _Scene("aborted", "aborted", "java.lang.RuntimeException: You must specify a select."),
    "failed": _Scene("aborted", "aborted", "java.lang.RuntimeException: Query execution failed."),
}


def aqua_now(view: View) -> Document:
    """The job's status and each batch's."""
    batches: list[dict[str, Any]] = view.born["batches"]
    if view.status == "error":  # refused before any query was looked at
        message = "There is a syntax error in one of the queries in the AQuA input"
        return {**_status(view.status), "errorCode": "90005", "message": message, "batches": []}
    done = len(batches) if view.status == "completed" else int(view.progress * len(batches))
    scene = _SCENES.get(view.status, _RUNNING)
    if view.status in {"aborted", "failed"}:
        done = min(done, len(batches) - 1)  # at least one query failed, or it would not be so
    if scene.current == "pending":
        done = 0
    states = [
        _done(batch) if number < done else _undone(batch, scene, turn=number == done)
        for number, batch in enumerate(batches)
    ]
    return {**_status(view.status), "batches": states}


def _status(status: str) -> Document:
    return {"status": status, "localizedStatus": status}


def _done(batch: Mapping[str, Any]) -> Document:
    return {**batch, **_status("completed"), "message": ""}


def _undone(batch: Mapping[str, Any], scene: _Scene, *, turn: bool) -> Document:
    kept = {name: value for name, value in batch.items() if name not in {"fileId", "recordCount"}}
    status, message = (scene.current, scene.message) if turn else (scene.later, "")
    return {**kept, **_status(status), "message": message}


CANCEL_JOB_FIELDS = ("batches", "encrypted", "format", "id", "name", "sourceData", "status", "version")
CANCEL_BATCH_FIELDS = ("batchId", "batchType", "fileId", "message", "name", "query", "recordCount", "status")


def aqua_cancel_answer(document: Document) -> Document:
    """The document as DELETE shows it: the fields of that page's sample, and no more."""
    batches = [
        {name: batch[name] for name in CANCEL_BATCH_FIELDS if name in batch} for batch in document.get("batches", [])
    ]
    return {name: batches if name == "batches" else document[name] for name in CANCEL_JOB_FIELDS if name in document}
