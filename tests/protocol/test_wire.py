"""Bytes to documents and back: tolerant where Zuora is loose, strict where a wrong reading would mislead."""

from __future__ import annotations

import json
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import fields
from hypothesis import given, settings
from hypothesis import strategies as st

from zuora_jobs.errors import MalformedResponse, Reason, ZuoraJobsError
from zuora_jobs.protocol import wire
from zuora_jobs.protocol.models import (
    AquaBatch,
    AquaJob,
    BulkPdfJob,
    CreditMemoApplyJob,
    DeletedRecords,
    DocumentIds,
    Invoice,
    OperationJob,
)

SAMPLES = Path(__file__).parents[1] / "samples"
JOBS = [OperationJob, BulkPdfJob, AquaJob, CreditMemoApplyJob]
MODEL_OF: dict[str, type[Any]] = {
    "bulk-pdf": BulkPdfJob,
    "aqua-cancelled": AquaJob,
    "credit-memo-apply": CreditMemoApplyJob,
    "operation": OperationJob,
    "invoice": Invoice,
}


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


# --- back again


@pytest.mark.parametrize("name", MODEL_OF)
def test_the_vendors_samples_come_back_key_for_key(name: str) -> None:
    back = wire.to_json(wire.read(sample(name), MODEL_OF[name]))
    sent = json.loads(sample(name), parse_float=Decimal)
    assert back == sent
    assert list(back) == list(sent)


@pytest.mark.parametrize("model", [*JOBS, Invoice])
def test_what_zuora_adds_is_kept_and_given_back_unchanged(model: type[Any]) -> None:
    document = {
        "status": "Pending",
        "snake_case": 1,
        "brandNew": {"deep": [None, {"deeper": "x"}], "no": None},
        "": [],
        "nothing": None,
        "Größe": "ß",
        "raw": "a field that is called raw",
        "self": 1,
    }
    body = json.dumps(document).encode()
    assert wire.to_json(wire.read(body, model)) == document


def test_an_added_field_within_a_batch_is_given_back_too() -> None:
    document = {"status": "completed", "batches": [{"status": "completed", "tier": {"gold": True}, "segments": None}]}
    assert wire.to_json(wire.structure(AquaJob, document)) == document


def test_the_invoices_numbers_come_back_with_just_their_digits() -> None:
    back = wire.to_json(wire.read(b'{"Amount": 10.10, "Rate__c": 0.1, "Count__c": 3, "Big__c": 1e3}', Invoice))
    assert {name: str(value) for name, value in back.items()} == {
        "Amount": "10.10",
        "Rate__c": "0.1",
        "Count__c": "3",
        "Big__c": "1E+3",
    }


def test_what_is_given_back_can_be_changed_without_changing_the_document() -> None:
    job = wire.structure(OperationJob, {"status": "Pending"})
    wire.to_json(job)["status"] = "Completed"
    assert wire.to_json(job) == {"status": "Pending"}


def test_a_document_made_by_hand_is_written_with_zuoras_names_and_reads_back() -> None:
    job = AquaJob(
        status="completed",
        id="e20b",
        localized_status="fertig",
        batches=(
            AquaBatch(
                status="completed",
                file_id="f",
                record_count=3,
                segments=("a", "b"),
                deleted=DeletedRecords(column="D"),
            ),
        ),
    )
    written = json.loads(json.dumps(wire.to_json(job)))
    assert written == {
        "status": "completed",
        "id": "e20b",
        "localizedStatus": "fertig",
        "batches": [
            {
                "status": "completed",
                "fileId": "f",
                "recordCount": 3,
                "segments": ["a", "b"],
                "deleted": {"column": "D"},
            }
        ],
    }
    again = wire.structure(AquaJob, written)
    assert (again.status, again.id, again.batches) == (job.status, job.id, job.batches)


def test_a_bulk_pdf_job_made_by_hand_is_written_with_zuoras_names() -> None:
    job = BulkPdfJob(
        status="PartialComplete",
        file_urls=("https://a",),
        failed_documents=(DocumentIds(doc_type="Invoice", object_ids=("i",)),),
        reasons=(Reason("50000040", "gone"),),
        success=True,
    )
    assert json.loads(json.dumps(wire.to_json(job))) == {
        "status": "PartialComplete",
        "fileUrls": ["https://a"],
        "failedDocuments": [{"docType": "Invoice", "objectIds": ["i"]}],
        "reasons": [{"code": "50000040", "message": "gone"}],
        "success": True,
    }


def test_an_invoice_made_by_hand_is_written_with_zuoras_names() -> None:
    invoice = Invoice(
        id="2c93",
        tax_exempt_amount=Decimal("0.10"),
        integration_id="8",
        sync_date="2026-01-07",
    )
    assert wire.to_json(invoice) == {
        "Id": "2c93",
        "TaxExemptAmount": Decimal("0.10"),
        "IntegrationId__NS": "8",
        "SyncDate__NS": "2026-01-07",
    }


# --- tolerant


@pytest.mark.parametrize("model", JOBS)
def test_null_and_absent_are_the_same(model: type[Any]) -> None:
    bare = wire.structure(model, {"status": "Pending"})
    keys = [
        "id",
        "jobId",
        "reasons",
        "fileUrls",
        "batches",
        "error",
        "success",
        "failedDocuments",
        "version",
        "message",
    ]
    nulls = wire.structure(model, {"status": "Pending", **dict.fromkeys(keys)})
    for name in (field.name for field in bare.__attrs_attrs__ if field.name != "raw"):
        assert getattr(nulls, name) == getattr(bare, name), name


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (53100320, "53100320"),
        ("58730222", "58730222"),
        (70, "70"),
        ("ObjectNotFound", "ObjectNotFound"),
        (None, None),
        ("", ""),
        (0, "0"),
        ([], None),
        ({"a": 1}, None),
    ],
)
def test_a_reasons_code_is_text_however_it_was_sent(sent: Any, read: str | None) -> None:
    job = wire.structure(OperationJob, {"status": "Failed", "reasons": [{"code": sent, "message": "m"}]})
    assert job.reasons == (Reason(read, "m"),)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (None, ()),
        ([], ()),
        ("just text", (Reason(None, "just text"),)),
        (["text", {"message": "m"}], (Reason(None, "text"), Reason(None, "m"))),
        ([{"Code": "1", "Message": "m"}], (Reason("1", "m"),)),
        ({"code": 1, "message": "m"}, (Reason("1", "m"),)),
        ([None, 7, {}], (Reason(), Reason(None, "7"), Reason())),
        ([{"code": 1, "message": {"no": "text"}, "extra": 1}], (Reason("1", None),)),
    ],
)
def test_no_job_is_lost_over_the_form_of_its_reasons(sent: Any, read: tuple[Reason, ...]) -> None:
    assert wire.reasons_in(sent) == read
    assert wire.structure(OperationJob, {"status": "Failed", "reasons": sent}).reasons == read


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("1.1", "1.1"),
        (1.1, "1.1"),
        (1.0, "1.0"),
        (1, "1"),
        (True, "true"),
        (False, "false"),
        ("", ""),
        (["no"], None),
        ({"no": 1}, None),
    ],
    ids=repr,
)
def test_no_job_is_lost_over_a_caption(sent: Any, read: str | None) -> None:
    job = wire.structure(AquaJob, {"status": "completed", "version": sent, "useLastCompletedJobQueries": sent})
    assert job.version == read
    assert job.use_last_completed_job_queries == read


@pytest.mark.parametrize(
    ("sent", "read"), [(1580, 1580), ("1580", 1580), (1580.0, 1580), (" 7 ", 7), ("0", 0)], ids=repr
)
def test_a_count_may_be_a_number_or_digits(sent: Any, read: int) -> None:
    count = wire.structure(AquaJob, {"status": "x", "batches": [{"recordCount": sent}]}).batches[0].record_count
    assert count == read
    assert type(count) is int


def test_a_byte_order_mark_does_no_harm() -> None:
    assert wire.read(b"\xef\xbb\xbf" + sample("operation"), OperationJob).status == "Completed"


def test_long_integers_are_exact() -> None:
    assert (
        wire.read(b'{"status":"x","id":123456789012345678901234567890}', AquaJob).id == "123456789012345678901234567890"
    )


# --- strict


@pytest.mark.parametrize("model", JOBS)
@pytest.mark.parametrize("status", [None, 1, True, ["Completed"], {"value": "Completed"}])
def test_a_status_that_is_no_text_is_malformed(model: type[Any], status: Any) -> None:
    with pytest.raises(MalformedResponse) as caught:
        wire.structure(model, {"status": status, "success": True})
    assert any("$.status" in problem for problem in caught.value.problems)


@pytest.mark.parametrize("model", JOBS)
@pytest.mark.parametrize("document", [{}, {"success": True}, {"Status": "Completed"}, {"jobStatus": "Completed"}])
def test_no_status_is_malformed_and_never_a_success(model: type[Any], document: dict[str, Any]) -> None:
    with pytest.raises(MalformedResponse) as caught:
        wire.structure(model, document)
    assert caught.value.problems == ("required field missing @ $.status",)


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        (OperationJob, "success", "yes"),
        (OperationJob, "success", 1),
        (BulkPdfJob, "success", "no"),
        (CreditMemoApplyJob, "success", 0),
        (AquaJob, "success", []),
        (Invoice, "Amount", "ten"),
        (Invoice, "Amount", True),
        (Invoice, "Amount", [1]),
        (Invoice, "Balance", "NaN"),
        (Invoice, "Balance", "Infinity"),
        (Invoice, "Balance", ""),
        (Invoice, "IncludesUsage", "perhaps"),
    ],
)
def test_what_would_mislead_if_read_wrongly_is_malformed(model: type[Any], field: str, value: Any) -> None:
    with pytest.raises(MalformedResponse) as caught:
        wire.structure(model, {"status": "completed", field: value})
    assert len(caught.value.problems) == 1
    assert "@ $." in caught.value.problems[0]


@pytest.mark.parametrize(
    ("model", "field", "value", "name", "read"),
    [
        (OperationJob, "success", "true", "success", True),
        (BulkPdfJob, "success", "False", "success", False),
        (OperationJob, "reasons", "none", "reasons", (Reason(message="none"),)),
        (BulkPdfJob, "fileUrls", "https://one", "file_urls", ("https://one",)),
        (BulkPdfJob, "fileUrls", ["https://one", None, 5], "file_urls", ("https://one",)),
        (BulkPdfJob, "fileUrls", {"0": "https://one"}, "file_urls", ()),
        (BulkPdfJob, "failedDocuments", {"docType": "Invoice"}, "failed_documents", (DocumentIds(doc_type="Invoice"),)),
        (BulkPdfJob, "failedDocuments", ["Invoice"], "failed_documents", ()),
        (BulkPdfJob, "skippedDocuments", [{"objectIds": "x"}], "skipped_documents", (DocumentIds(object_ids=("x",)),)),
        (AquaJob, "batches", {"fileId": "f"}, "batches", (AquaBatch(file_id="f"),)),
        (AquaJob, "batches", ["f", None, 1], "batches", ()),
        (AquaJob, "batches", [{"fileId": 7, "name": "n"}], "batches", (AquaBatch(name="n"),)),
        (AquaJob, "batches", [{"segments": "f"}], "batches", (AquaBatch(segments=("f",)),)),
        (AquaJob, "batches", [{"segments": [7, "f"]}], "batches", (AquaBatch(segments=("f",)),)),
        (AquaJob, "batches", [{"status": 7}], "batches", (AquaBatch(),)),
        (AquaJob, "batches", [{"full": "true"}], "batches", (AquaBatch(full=True),)),
        (AquaJob, "batches", [{"deleted": False}], "batches", (AquaBatch(),)),
        *(
            (AquaJob, "batches", [{"recordCount": count, "fileId": "f"}], "batches", (AquaBatch(file_id="f"),))
            for count in ("many", "", "1,580", 1.5, True, float("inf"), "9" * 5000, Decimal("1e999999999"), [1])
        ),
    ],
)
def test_no_job_is_lost_over_anything_but_its_status(
    model: type[Any], field: str, value: Any, name: str, read: Any
) -> None:
    document = {"status": "completed", field: value, "id": "kept", "jobId": "kept"}
    job = wire.structure(model, document)
    assert job.status == "completed"
    assert getattr(job, name) == read
    assert getattr(job, "id", None) or job.job_id == "kept"
    assert wire.to_json(job) == document


def test_an_amount_that_has_been_a_float_is_refused() -> None:
    with pytest.raises(MalformedResponse):
        wire.structure(Invoice, {"Amount": 0.1})


def test_all_faults_that_matter_are_named_at_once_with_their_paths() -> None:
    with pytest.raises(MalformedResponse) as caught:
        wire.structure(AquaJob, {"status": 1, "success": "yes", "batches": [{"fileId": 1}]})
    problems = caught.value.problems
    assert sorted(problems) == [
        "expected text, got a number @ $.status",
        "expected true or false, got text @ $.success",
    ]
    assert all(problem in str(caught.value) for problem in problems)


@pytest.mark.parametrize(
    ("body", "got"),
    [(b"[]", "a list"), (b"null", "null"), (b'"text"', "text"), (b"7", "a number"), (b"true", "true or false")],
)
@pytest.mark.parametrize("model", [*JOBS, Invoice])
def test_json_that_is_no_object_is_malformed(model: type[Any], body: bytes, got: str) -> None:
    with pytest.raises(MalformedResponse, match=f"expected an object, got {got}"):
        wire.read(body, model)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<html></html>",
        b'{"status": "Comp',
        b'{"status": "Completed"} trailing',
        b"{'status': 'Completed'}",
        b'{"status": "Completed", "x": NaN}',
        b'{"status": "Completed", "x": Infinity}',
        b'{"status": "Completed", "x": -Infinity}',
        b'{"status": "Completed", "x": "\xff"}',
        b"\x00" * 7,
        b"\x1f\x8b\x08\x00garbled gzip",
        b'{"x": ' + b"9" * 5000 + b"}",
    ],
)
@pytest.mark.parametrize("model", [OperationJob, Invoice])
def test_what_is_no_json_is_malformed(model: type[Any], body: bytes) -> None:
    with pytest.raises(MalformedResponse, match="is not JSON") as caught:
        wire.read(body, model)
    assert caught.value.problems == ()


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a":' * 200_000])
def test_endless_nesting_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedResponse, match="nested too deeply"):
        wire.read(body, OperationJob)


@pytest.mark.parametrize(
    "number", ["1e99999999999999999999", "-1.5E+9999999999999999999", "1e-99999999999999999999999"]
)
def test_a_number_with_an_absurd_exponent_is_malformed_and_nothing_worse(number: str) -> None:
    with pytest.raises(ZuoraJobsError):
        wire.read(f'{{"Id": "2c93", "Amount": {number}}}'.encode(), Invoice)


def test_a_number_too_large_for_a_float_is_not_turned_into_infinity() -> None:
    try:
        back = wire.to_json(wire.read(b'{"status": "Completed", "new": 1e999}', OperationJob))
    except MalformedResponse:
        return
    assert json.dumps(back, allow_nan=False, default=str)


# --- secrets and logs


@pytest.mark.parametrize(
    "body",
    [
        b'{"status": "Completed", "fileUrls": ["https://s3/x.zip?X-Amz-Signature=canary", "https://s3/y.zip?X-Amz-Si',
        b'{"fileUrls": ["https://s3/x.zip?X-Amz-Signature=canary"]}',
        b'{"status": ["https://s3/x.zip?X-Amz-Signature=canary"]}',
        b'{"status": "Completed", "success": "https://s3/x.zip?X-Amz-Signature=canary"}',
        b'"https://s3/x.zip?X-Amz-Signature=canary"',
        b'["https://s3/x.zip?X-Amz-Signature=canary"]',
        b'"\xffhttps://s3/x.zip?X-Amz-Signature=canary"',
    ],
)
def test_a_malformed_answer_quotes_nothing_of_the_body(body: bytes) -> None:
    with pytest.raises(MalformedResponse) as caught:
        wire.read(body, BulkPdfJob)
    error = caught.value
    for text in (str(error), repr(error), repr(error.problems), "".join(traceback.format_exception(error))):
        assert "canary" not in text


def test_a_malformed_answer_fits_a_log_line_however_many_its_faults() -> None:
    amounts = [field.name for field in fields(Invoice) if field.name.endswith("amount")]
    with pytest.raises(MalformedResponse) as caught:
        wire.structure(Invoice, {"".join(map(str.capitalize, name.split("_"))): "x" for name in amounts})
    assert len(caught.value.problems) == len(amounts) > 5
    assert len(str(caught.value)) <= 500
    assert "\n" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@pytest.mark.unmeasured
@settings(max_examples=150, deadline=None)
@given(extra=st.dictionaries(st.from_regex(r"[A-Za-z_]{9,15}__new", fullmatch=True), JSON, max_size=5))
def test_whatever_zuora_adds_is_given_back(extra: dict[str, Any]) -> None:
    document = {"status": "Pending", **extra}
    for model in JOBS:
        assert wire.to_json(wire.read(json.dumps(document).encode(), model)) == document


@settings(max_examples=150, deadline=None)
@given(amount=st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**16), max_value=10**16))
def test_no_amount_is_ever_rounded(amount: Decimal) -> None:
    invoice = wire.read(f'{{"Amount": {amount:f}, "Balance": "{amount:f}"}}'.encode(), Invoice)
    assert invoice.amount == amount
    assert invoice.balance == amount


def test_of_more_objects_than_anyone_sends_the_first_thousand_are_read_and_all_are_kept() -> None:
    sent = {"status": "executing", "batches": [{"name": str(number)} for number in range(5000)]}
    job = wire.structure(AquaJob, sent)
    assert [batch.name for batch in job.batches] == [str(number) for number in range(1000)]
    assert wire.to_json(job) == sent
    assert len(wire.reasons_in([{"code": number} for number in range(5000)])) == 1000
