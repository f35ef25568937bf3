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
from zuora_jobs.emulator.files import files_of

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

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
    """A job of the queries that were asked for; else of two, or of as many as the caller's `batches` has."""
    wanted = birth.fields.get("batches")
    count = len(wanted) if isinstance(wanted, list) else DEFAULT_BATCHES
    asked = birth.asked.get("batches", [{}] * count)
    return {
        "batches": [{**_batch(number, birth.rng), **batch} for number, batch in enumerate(asked)],
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
    status, message = (scene.current, scene.message) if turn else (scene.later, "")
    return {**batch, **_status(status), "message": message}


RESULTS = frozenset({"fileId", "segments", "recordCount"})
"""What a batch has from the moment it is completed."""


def aqua_hide(document: Document) -> Document:
    """The document without the results that batches do not have yet; segments stand in place of a file."""
    return {**document, "batches": [_visible(batch) for batch in document.get("batches", [])]}


def _visible(batch: Mapping[str, Any]) -> Document:
    hidden = RESULTS if batch.get("status") != "completed" else {"fileId"} if batch.get("segments") else frozenset()
    return {name: value for name, value in batch.items() if name not in hidden}


def aqua_files(document: Document) -> list[str]:
    """The ids of all files that the batches may come to have."""
    return [file_id for batch in document.get("batches", []) for file_id in files_of(batch)]


CANCEL_JOB_FIELDS = ("batches", "encrypted", "format", "id", "name", "sourceData", "status", "version")
CANCEL_BATCH_FIELDS = ("batchId", "batchType", "fileId", "message", "name", "query", "recordCount", "status")


def aqua_cancel_answer(document: Document) -> Document:
    """The document as DELETE shows it: the fields of that page's sample, and no more."""
    return only(document, CANCEL_JOB_FIELDS, CANCEL_BATCH_FIELDS)


def only(document: Document, job_fields: Sequence[str], batch_fields: Sequence[str]) -> Document:
    """Of a job's document and its batches just those fields."""
    batches = [{name: batch[name] for name in batch_fields if name in batch} for batch in document.get("batches", [])]
    return {name: batches if name == "batches" else document[name] for name in job_fields if name in document}
