"""The table of kinds, row by row, and the handles of jobs."""

from __future__ import annotations

import copy
import pickle
import sys
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zuora_jobs.errors import ConfigurationError, InvalidHandle, Reason
from zuora_jobs.protocol import wire
from zuora_jobs.protocol.kinds import (
    AQUA,
    BULK_PDF,
    CREDIT_MEMO_APPLY,
    CREDIT_MEMO_UNAPPLY,
    KINDS,
    OPERATION,
    JobHandle,
    JobKind,
    Phase,
)
from zuora_jobs.protocol.models import AquaJob, BulkPdfJob, CreditMemoApplyJob, OperationJob, ResultFile

ID = "e20b07474688ad5001468daf10e501de"

STATUSES: list[tuple[JobKind[Any], str, Phase]] = [
    (OPERATION, "Pending", Phase.PENDING),
    (OPERATION, "Processing", Phase.RUNNING),
    (OPERATION, "Completed", Phase.SUCCEEDED),
    (OPERATION, "Failed", Phase.FAILED),
    (BULK_PDF, "Submitted", Phase.PENDING),
    (BULK_PDF, "Executing", Phase.RUNNING),
    (BULK_PDF, "Completed", Phase.SUCCEEDED),
    (BULK_PDF, "PartialComplete", Phase.SUCCEEDED),
    (BULK_PDF, "Error", Phase.FAILED),
    (BULK_PDF, "Aborted", Phase.FAILED),
    (BULK_PDF, "Cancelled", Phase.CANCELLED),
    (AQUA, "submitted", Phase.PENDING),
    (AQUA, "pending", Phase.PENDING),
    (AQUA, "executing", Phase.RUNNING),
    (AQUA, "completed", Phase.SUCCEEDED),
    (AQUA, "error", Phase.FAILED),
    (AQUA, "aborted", Phase.FAILED),
    (AQUA, "failed", Phase.FAILED),
    (AQUA, "cancelled", Phase.CANCELLED),
    (CREDIT_MEMO_APPLY, "Pending", Phase.PENDING),
    (CREDIT_MEMO_APPLY, "Processing", Phase.RUNNING),
    (CREDIT_MEMO_APPLY, "Processed", Phase.SUCCEEDED),
    (CREDIT_MEMO_APPLY, "Error", Phase.FAILED),
    (CREDIT_MEMO_UNAPPLY, "Pending", Phase.PENDING),
    (CREDIT_MEMO_UNAPPLY, "Processing", Phase.RUNNING),
    (CREDIT_MEMO_UNAPPLY, "Processed", Phase.SUCCEEDED),
    (CREDIT_MEMO_UNAPPLY, "Error", Phase.FAILED),
]


@pytest.mark.parametrize(("kind", "status", "phase"), STATUSES)
def test_a_status_means_what_its_kinds_own_row_says_in_whatever_case(
    kind: JobKind[Any], status: str, phase: Phase
) -> None:
    for written in (status, status.lower(), status.upper(), status.swapcase(), status.title()):
        assert kind.phase(written) is phase


def test_the_rows_hold_no_other_status() -> None:
    listed = {
        (kind.name, word)
        for kind in KINDS.values()
        for word in kind.pending + kind.running + kind.succeeded + kind.partial + kind.failed + kind.cancelled
    }
    assert listed == {(kind.name, status) for kind, status, _ in STATUSES}


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (OPERATION, "Processed"),
        (OPERATION, "Error"),
        (OPERATION, "Cancelled"),
        (OPERATION, "Canceled"),
        (OPERATION, ""),
        (BULK_PDF, "Failed"),
        (BULK_PDF, "PostProcessing"),
        (BULK_PDF, "Canceled"),
        (AQUA, "deleted_notallowed"),
        (AQUA, "canceled"),
        (AQUA, "processed"),
        (CREDIT_MEMO_APPLY, "Completed"),
        (CREDIT_MEMO_APPLY, "Failed"),
        (CREDIT_MEMO_APPLY, "Cancelled"),
        (CREDIT_MEMO_APPLY, "Retrying\ud800"),
    ],
)
def test_a_status_of_another_family_has_no_phase(kind: JobKind[Any], status: str) -> None:
    assert kind.phase(status) is None


@pytest.mark.parametrize(("kind", "status", "phase"), STATUSES)
def test_only_a_partial_success_is_partial(kind: JobKind[Any], status: str, phase: Phase) -> None:
    assert kind.is_partial(status) is (status == "PartialComplete")
    assert kind.is_partial(status.upper()) is (status == "PartialComplete")


@pytest.mark.parametrize(
    ("phase", "terminal"),
    [
        (Phase.PENDING, False),
        (Phase.RUNNING, False),
        (Phase.SUCCEEDED, True),
        (Phase.FAILED, True),
        (Phase.CANCELLED, True),
    ],
)
def test_a_phase_tells_whether_the_job_has_ended(phase: Phase, terminal: bool) -> None:
    assert phase.is_terminal is terminal


def test_there_are_five_phases() -> None:
    assert len(Phase) == 5


@pytest.mark.parametrize(
    ("kind", "name", "watch", "cancel", "model", "org_scoped"),
    [
        (OPERATION, "operation", "/v1/operations/jobs/{id}", None, OperationJob, True),
        (BULK_PDF, "bulk-pdf", "/v1/operations/bulk-pdf/{id}", None, BulkPdfJob, False),
        (AQUA, "aqua", "/v1/batch-query/jobs/{id}", "/v1/batch-query/jobs/{id}", AquaJob, True),
        (
            CREDIT_MEMO_APPLY,
            "credit-memo-apply",
            "/v1/credit-memos/apply-async-jobs/{id}",
            None,
            CreditMemoApplyJob,
            True,
        ),
        (
            CREDIT_MEMO_UNAPPLY,
            "credit-memo-unapply",
            "/v1/credit-memos/unapply-async-jobs/{id}",
            None,
            CreditMemoApplyJob,
            True,
        ),
    ],
)
def test_a_kind_has_its_routes(
    kind: JobKind[Any], name: str, watch: str, cancel: str | None, model: type[Any], org_scoped: bool
) -> None:
    assert (kind.name, kind.watch, kind.cancel) == (name, watch, cancel)
    assert kind.model is model
    assert kind.org_scoped is org_scoped
    assert KINDS[name] is kind


def test_the_table_has_these_five_in_this_order() -> None:
    assert list(KINDS) == ["operation", "bulk-pdf", "aqua", "credit-memo-apply", "credit-memo-unapply"]


def test_a_further_family_is_one_more_row() -> None:
    unapply = attrs.evolve(
        CREDIT_MEMO_APPLY,
        name="credit-memo-unapply",
        watch="/v1/credit-memos/unapply-async-jobs/{id}",
        succeeded=("Processed", "Unapplied"),
    )
    assert unapply.phase("UNAPPLIED") is Phase.SUCCEEDED
    assert CREDIT_MEMO_APPLY.phase("Unapplied") is None
    assert unapply != CREDIT_MEMO_APPLY
    assert str(unapply.handle(ID)) == f"credit-memo-unapply:{ID}"


# --- why, and what is left behind


def test_an_operations_reasons_are_its_listed_ones() -> None:
    job = wire.structure(OperationJob, {"status": "Failed", "reasons": [{"code": 53100320, "message": "no"}]})
    assert OPERATION.reasons(job) == (Reason("53100320", "no"),)
    assert OPERATION.files(job) == ()


def test_a_credit_memos_failure_is_told_in_one_text() -> None:
    job = wire.structure(CreditMemoApplyJob, {"status": "Error", "error": "The balance is too low"})
    assert CREDIT_MEMO_APPLY.reasons(job) == (Reason(None, "The balance is too low"),)
    assert CREDIT_MEMO_APPLY.reasons(CreditMemoApplyJob(status="Processed")) == ()
    assert CREDIT_MEMO_APPLY.files(job) == ()


def test_a_credit_memos_listed_reasons_go_before_its_text() -> None:
    document = {"status": "Error", "error": "oops", "reasons": [{"code": "50000030", "message": "rule"}]}
    assert CREDIT_MEMO_APPLY.reasons(wire.structure(CreditMemoApplyJob, document)) == (Reason("50000030", "rule"),)


def test_aquas_validation_failure_is_told_at_the_job() -> None:
    document = {"status": "error", "errorCode": "90005", "message": "There is a syntax error"}
    assert AQUA.reasons(wire.structure(AquaJob, document)) == (Reason("90005", "There is a syntax error"),)


def test_aquas_run_time_failure_is_told_at_the_batches_that_failed() -> None:
    document = {
        "status": "aborted",
        "batches": [
            {"name": "one", "status": "completed", "message": "a note about nothing"},
            {"name": "two", "status": "aborted", "message": "java.lang.RuntimeException: You must specify a select."},
            {"status": "aborted", "message": "no name"},
            {"name": "four", "status": "aborted", "message": ""},
        ],
    }
    assert AQUA.reasons(wire.structure(AquaJob, document)) == (
        Reason(None, "two: java.lang.RuntimeException: You must specify a select."),
        Reason(None, "no name"),
    )


def test_a_bulk_pdf_jobs_files_are_urls() -> None:
    job = wire.structure(BulkPdfJob, {"status": "Completed", "fileUrls": ["https://a", "https://b"]})
    assert [file.url for file in BULK_PDF.files(job)] == ["https://a", "https://b"]
    assert [(file.suffix, file.number) for file in BULK_PDF.files(job)] == [(".zip", 1), (".zip", 2)]
    assert "https" not in repr(BULK_PDF.files(job))


def test_an_aqua_jobs_files_are_ids_and_a_cancelled_one_may_have_some() -> None:
    document = {
        "status": "cancelled",
        "batches": [
            {"name": "one", "fileId": "f1", "recordCount": "3", "status": "completed"},
            {"name": "two", "status": "pending"},
            {"name": "three", "segments": ["s1", "s2"], "recordCount": 9, "status": "completed"},
            {"name": "four", "fileId": "", "segments": [], "status": "executing"},
        ],
    }
    assert AQUA.files(wire.structure(AquaJob, document)) == (
        ResultFile(name="one", file_id="f1", records=3, suffix=".csv", number=1),
        ResultFile(name="three", file_id="s1", suffix=".csv", number=2, query=3, records_of_query=9),
        ResultFile(name="three", file_id="s2", suffix=".csv", number=3, query=3, records_of_query=9),
    )


# --- words


@pytest.mark.parametrize("kind", KINDS.values(), ids=repr)
def test_a_listed_status_is_one_and_the_same_text_for_all_jobs(kind: JobKind[Any]) -> None:
    for word in kind.pending + kind.running + kind.succeeded + kind.partial + kind.failed + kind.cancelled:
        received = "".join(list(word))
        assert kind.word(received) is word
        assert kind.word(received) == received


@pytest.mark.parametrize("received", ["PROCESSING", "processing", " Processing", "Paused", "", "Executing"])
def test_a_status_spelled_otherwise_stays_as_it_was_received(received: str) -> None:
    assert OPERATION.word(received) is received


# --- handles


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_handles_text_form_is_read_back(kind: JobKind[Any]) -> None:
    handle = kind.handle(ID)
    assert str(handle) == f"{kind.name}:{ID}"
    assert JobHandle.parse(str(handle)) == handle
    assert JobHandle.parse(f"  {handle}\n") == handle
    assert JobHandle.parse(str(handle)).kind is kind


def test_handles_are_told_apart_by_kind_and_id() -> None:
    assert AQUA.handle("a") == JobHandle(AQUA, "a")
    assert len({AQUA.handle("a"), AQUA.handle("a"), AQUA.handle("b"), OPERATION.handle("a")}) == 3
    assert str(AQUA.handle("a")) == "aqua:a"


def test_a_handle_takes_no_more_memory_than_its_two_parts() -> None:
    handle = AQUA.handle(ID)
    assert sys.getsizeof(handle) <= sys.getsizeof((AQUA, ID))
    assert not hasattr(handle, "__dict__")
    assert hash(handle) == hash(AQUA.handle(ID))
    others: list[Any] = [ID, (AQUA, ID), str(handle), None]
    assert not any(handle == other for other in others)


def test_a_handle_survives_being_copied_and_pickled() -> None:
    handle = AQUA.handle(ID)
    for twin in (pickle.loads(pickle.dumps(handle)), copy.copy(handle), copy.deepcopy(handle)):
        assert twin == handle
        assert hash(twin) == hash(handle)
        assert twin.kind is AQUA


def test_a_handle_is_frozen() -> None:
    handle = AQUA.handle(ID)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        handle.id = "../other"  # type: ignore[misc]


BAD_IDS = [
    "",
    " ",
    ".",
    "..",
    "../../v1/accounts/1",
    "a/b",
    "a\\b",
    "a?fields=x",
    "a#b",
    "a%2Fb",
    "a%2e%2e",
    "a b",
    "a\n",
    "a\r\nX-Header: 1",
    "a\x00",
    "a:b",
    "a;b",
    "a,b",
    "{id}",
    "-rf",
    "_x",
    "é",
    "\uff11\uff12",
    "\uff41",
    "\u212a",
    "a\u200b",
    "a" * 129,
    "https://evil.example",
]


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize("kind", KINDS.values())
def test_an_id_that_could_change_the_path_is_refused_by_name(kind: JobKind[Any], bad: str) -> None:
    with pytest.raises(InvalidHandle, match=f"cannot be the id of a {kind.name} job") as caught:
        kind.handle(bad)
    assert "such as e20b07474688ad5001468daf10e501de" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [None, 5, b"abc", ["a"], object()])
def test_an_id_that_is_no_text_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidHandle):
        AQUA.handle(bad)


@pytest.mark.parametrize("good", ["a", "0", ID, ID.upper(), "8a92ade496140e830196141f6cfa0001", "a-b_c", "a" * 128])
def test_an_id_that_may_be_one_is_taken_as_it_is(good: str) -> None:
    assert AQUA.handle(good).id == good


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (ID, "is no handle: write kind:id, such as aqua:e20b"),
        ("", "is no handle"),
        ("x" * 500, "is no handle"),
        (f"journal-run:{ID}", "use one of operation, bulk-pdf, aqua, credit-memo-apply"),
        (f":{ID}", "names no kind of job"),
        ("aqua:", "cannot be the id of a aqua job"),
        ("aqua:../x", "cannot be the id of a aqua job"),
        ("aqua: a", "cannot be the id of a aqua job"),
        ("aqua:a:b", "cannot be the id of a aqua job"),
        ("aqua :a", "names no kind of job"),
    ],
)
def test_text_that_is_no_handle_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InvalidHandle, match=sentence) as caught:
        JobHandle.parse(text)
    assert isinstance(caught.value, ConfigurationError)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [None, 5, b"aqua:a"])
def test_a_handle_that_is_no_text_is_refused_with_a_sentence(value: Any) -> None:
    with pytest.raises(InvalidHandle):
        JobHandle.parse(value)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=40) | st.from_regex(r"(aqua|operation):.{0,20}"))
def test_any_text_is_a_handle_or_refused_and_a_path_never_changes(text: str) -> None:
    try:
        handle: JobHandle[Any] = JobHandle.parse(text)
    except InvalidHandle:
        return
    prefix, _, rest = handle.kind.watch.format(id=handle.id).rpartition("/")
    assert prefix == handle.kind.watch.rpartition("/")[0]
    assert rest == handle.id
    assert rest.isascii()
    assert rest.replace("-", "").replace("_", "").isalnum()
    assert JobHandle.parse(str(handle)) == handle
