"""How a watch ended: four values, of which only unwrap() raises, and Lost is never Failed."""

from __future__ import annotations

import traceback
from typing import Any, get_args

import attrs
import pytest

from zuora_jobs.errors import (
    JobCancelled,
    JobError,
    JobFailed,
    JobLost,
    Reason,
    ServerError,
    UnknownStatus,
    WatchTimedOut,
)
from zuora_jobs.protocol import wire
from zuora_jobs.protocol.kinds import AQUA, BULK_PDF, CREDIT_MEMO_APPLY, KINDS, OPERATION, JobKind, Phase
from zuora_jobs.protocol.models import AquaJob, BulkPdfJob, OperationJob
from zuora_jobs.watching.outcome import Cancelled, Failed, Lost, Outcome, Succeeded, outcome_of

ID = "e20b07474688ad5001468daf10e501de"


def ended(kind: JobKind[Any], **document: Any) -> Succeeded[Any] | Failed[Any] | Cancelled[Any]:
    outcome = outcome_of(kind.handle(ID), wire.structure(kind.model, document), polls=3, elapsed=12.5)
    assert isinstance(outcome, Succeeded | Failed | Cancelled)
    return outcome


ENDS: list[tuple[JobKind[Any], str, type[Any]]] = [
    (OPERATION, "Completed", Succeeded),
    (OPERATION, "Failed", Failed),
    (BULK_PDF, "Completed", Succeeded),
    (BULK_PDF, "PartialComplete", Succeeded),
    (BULK_PDF, "Error", Failed),
    (BULK_PDF, "Aborted", Failed),
    (BULK_PDF, "Cancelled", Cancelled),
    (AQUA, "completed", Succeeded),
    (AQUA, "error", Failed),
    (AQUA, "aborted", Failed),
    (AQUA, "failed", Failed),
    (AQUA, "cancelled", Cancelled),
    (CREDIT_MEMO_APPLY, "Processed", Succeeded),
    (CREDIT_MEMO_APPLY, "Error", Failed),
]


@pytest.mark.parametrize(("kind", "status", "expected"), ENDS)
def test_a_job_ends_as_its_kinds_row_says(kind: JobKind[Any], status: str, expected: type[Any]) -> None:
    for written in (status, status.upper()):
        outcome = ended(kind, status=written)
        assert type(outcome) is expected
        assert outcome.status == written
        assert outcome.phase is kind.phase(status)
        assert (outcome.polls, outcome.elapsed, outcome.handle) == (3, 12.5, kind.handle(ID))
        assert outcome.name == expected.__name__.lower()


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_job_on_its_way_or_of_unknown_status_has_not_ended(kind: JobKind[Any]) -> None:
    for status in (*kind.pending, *kind.running, "Brand New", ""):
        job = kind.model(status=status)
        assert outcome_of(kind.handle(ID), job, polls=1, elapsed=0.0) is None


@pytest.mark.parametrize(("kind", "status", "expected"), ENDS)
def test_only_a_partial_success_is_partial(kind: JobKind[Any], status: str, expected: type[Any]) -> None:
    outcome = ended(kind, status=status)
    assert (isinstance(outcome, Succeeded) and outcome.partial) is (status == "PartialComplete")


def test_a_success_unwraps_to_its_document() -> None:
    outcome = ended(BULK_PDF, status="PartialComplete", failedDocuments=[{"docType": "Invoice", "objectIds": ["i"]}])
    job = outcome.unwrap()
    assert isinstance(job, BulkPdfJob)
    assert job is outcome.job
    assert job.failed_documents[0].object_ids == ("i",)


def test_a_failure_unwraps_to_job_failed_with_zuoras_reasons() -> None:
    outcome = ended(
        OPERATION, status="Failed", reasons=[{"code": 53100320, "message": "posted"}, {"message": "locked"}]
    )
    assert isinstance(outcome, Failed)
    assert outcome.reasons == (Reason("53100320", "posted"), Reason(None, "locked"))
    with pytest.raises(JobFailed, match=rf"operation:{ID} failed \(Failed\): 53100320: posted; locked") as caught:
        outcome.unwrap()
    assert caught.value.outcome is outcome


def test_a_failure_without_reasons_says_so() -> None:
    outcome = ended(CREDIT_MEMO_APPLY, status="Error", error=None)
    assert isinstance(outcome, Failed)
    assert outcome.reasons == ()
    with pytest.raises(JobFailed, match="Zuora gives no reason"):
        outcome.unwrap()


def test_a_cancellation_unwraps_to_job_cancelled_and_keeps_what_was_done() -> None:
    outcome = ended(AQUA, status="cancelled", batches=[{"name": "n", "fileId": "f", "status": "completed"}])
    assert [file.file_id for file in outcome.files] == ["f"]
    with pytest.raises(JobCancelled, match=r"was cancelled \(cancelled\)") as caught:
        outcome.unwrap()
    assert caught.value.outcome is outcome


def test_a_lost_job_unwraps_to_job_lost_from_its_error() -> None:
    error = WatchTimedOut("no end within 60 s")
    outcome = Lost(handle=AQUA.handle(ID), job=AquaJob(status="executing"), polls=2, elapsed=60.0, error=error)
    assert (outcome.status, outcome.phase, outcome.name) == ("executing", Phase.RUNNING, "lost")
    with pytest.raises(JobLost, match="is lost, last seen executing: no end within 60 s") as caught:
        outcome.unwrap()
    assert caught.value.outcome is outcome
    assert caught.value.__cause__ is error


def test_a_job_never_seen_is_lost_without_a_document() -> None:
    error = ServerError("HTTP 503", status=503)
    outcome: Lost[AquaJob] = Lost(handle=AQUA.handle(ID), job=None, polls=0, elapsed=1.0, error=error)
    assert (outcome.job, outcome.status, outcome.phase, outcome.files) == (None, None, None, ())
    with pytest.raises(JobLost, match="never seen: HTTP 503"):
        outcome.unwrap()


def test_a_job_of_unknown_status_is_lost_without_a_phase() -> None:
    error = UnknownStatus("Paused for too long", status="Paused")
    outcome = Lost(handle=OPERATION.handle(ID), job=OperationJob(status="Paused"), polls=9, elapsed=1.0, error=error)
    assert (outcome.status, outcome.phase) == ("Paused", None)


def test_lost_is_never_failed_and_the_four_are_apart() -> None:
    four = (Succeeded, Failed, Cancelled, Lost)
    assert all(not issubclass(one, other) for one in four for other in four if one is not other)
    assert {one.name for one in four} == {"succeeded", "failed", "cancelled", "lost"}
    assert {getattr(one, "__origin__", one) for one in get_args(Outcome)} == set(four)


def test_a_lost_has_no_reasons_and_a_failed_no_error() -> None:
    assert not hasattr(Lost, "reasons")
    assert "error" not in {field.name for field in attrs.fields(Failed)}


def test_outcomes_are_frozen_values() -> None:
    assert ended(OPERATION, status="Completed") == ended(OPERATION, status="Completed")
    assert ended(OPERATION, status="Completed") != ended(OPERATION, status="COMPLETED")
    outcome = ended(OPERATION, status="Completed")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        outcome.polls = 4  # type: ignore[misc]


@pytest.mark.parametrize("status", ["Completed", "PartialComplete", "Error", "Cancelled"])
def test_no_outcome_and_no_error_of_one_shows_a_presigned_url(status: str) -> None:
    url = "https://s3.us-west-2.amazonaws.com/x_1.zip?X-Amz-Signature=canary"
    outcome = ended(BULK_PDF, status=status, fileUrls=[url], other=url)
    assert outcome.files[0].url == url
    texts = [repr(outcome), str(outcome), repr(outcome.files)]
    try:
        outcome.unwrap()
    except JobError as error:
        texts += [str(error), repr(error), "".join(traceback.format_exception(error))]
    assert all("canary" not in text for text in texts)


@pytest.mark.parametrize(
    "message",
    ["first line\nsecond line\x1b[31m", "x" * 2048],
    ids=["lines", "length"],
)
def test_a_job_error_fits_a_log_line_whatever_zuora_writes(message: str) -> None:
    batches = [{"name": f"q{number}", "status": "aborted", "message": message} for number in range(50)]
    outcome = ended(AQUA, status="aborted", batches=batches)
    with pytest.raises(JobFailed) as caught:
        outcome.unwrap()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 2_000
