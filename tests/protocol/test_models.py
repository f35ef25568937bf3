"""The documents: every field of the vendor's pages is there, under its name in our style, and tells no secrets."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from zuora_jobs.errors import Reason
from zuora_jobs.protocol import wire
from zuora_jobs.protocol.models import (
    AquaBatch,
    AquaJob,
    BulkPdfJob,
    CreditMemoApplyJob,
    DocumentIds,
    Invoice,
    JobDocument,
    OperationJob,
    ResultFile,
)

SAMPLES = Path(__file__).parents[1] / "samples"
CANARY = "X-Amz-Signature=canary"
PRESIGNED = f"https://s3.us-west-2.amazonaws.com/repository/january_1.zip?{CANARY}"


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


REASONS = [{"code": "ObjectNotFound", "message": "gone"}]
READ_REASONS = (Reason("ObjectNotFound", "gone"),)

EVERY_FIELD: list[tuple[type[Any], str, Any, str, Any]] = [
    # model, Zuora's name, as sent, our name, as read
    (OperationJob, "id", "2c92c8955bd63cc1015bd7c151af02ab", "id", "2c92c8955bd63cc1015bd7c151af02ab"),
    (OperationJob, "objectId", "2c92", "object_id", "2c92"),
    (OperationJob, "objectType", "Invoice", "object_type", "Invoice"),
    (OperationJob, "operationType", "Reverse", "operation_type", "Reverse"),
    (OperationJob, "reasons", REASONS, "reasons", READ_REASONS),
    (OperationJob, "status", "Processing", "status", "Processing"),
    (OperationJob, "success", True, "success", True),
    (OperationJob, "processId", "p-1", "process_id", "p-1"),
    (OperationJob, "requestId", "r-1", "request_id", "r-1"),
    (BulkPdfJob, "jobId", "2c92", "job_id", "2c92"),
    (BulkPdfJob, "jobName", "BulkPDFGenerationJobV1", "job_name", "BulkPDFGenerationJobV1"),
    (BulkPdfJob, "status", "PartialComplete", "status", "PartialComplete"),
    (BulkPdfJob, "stepStatus", "PdfToZip", "step_status", "PdfToZip"),
    (BulkPdfJob, "fileUrls", [PRESIGNED, "https://b"], "file_urls", (PRESIGNED, "https://b")),
    (BulkPdfJob, "createdOn", "2024-01-08 12:52:05", "created_on", "2024-01-08 12:52:05"),
    (BulkPdfJob, "createdBy", "caf6", "created_by", "caf6"),
    (BulkPdfJob, "success", True, "success", True),
    (
        BulkPdfJob,
        "failedDocuments",
        [{"docType": "Invoice", "objectIds": ["a", "b"]}],
        "failed_documents",
        (DocumentIds(doc_type="Invoice", object_ids=("a", "b")),),
    ),
    (
        BulkPdfJob,
        "skippedDocuments",
        [{"docType": "CreditMemo", "objectIds": []}, {"docType": "Invoice", "objectIds": None}],
        "skipped_documents",
        (DocumentIds(doc_type="CreditMemo"), DocumentIds(doc_type="Invoice")),
    ),
    (BulkPdfJob, "processId", "p-1", "process_id", "p-1"),
    (BulkPdfJob, "requestId", "r-1", "request_id", "r-1"),
    (BulkPdfJob, "reasons", REASONS, "reasons", READ_REASONS),
    (AquaJob, "id", "e20b", "id", "e20b"),
    (AquaJob, "id", None, "id", None),
    (AquaJob, "name", "June10", "name", "June10"),
    (AquaJob, "version", "1.1", "version", "1.1"),
    (AquaJob, "version", 1.1, "version", "1.1"),
    (AquaJob, "format", "CSV", "format", "CSV"),
    (AquaJob, "encrypted", "none", "encrypted", "none"),
    (AquaJob, "status", "submitted", "status", "submitted"),
    (AquaJob, "localizedStatus", "eingereicht", "localized_status", "eingereicht"),
    (AquaJob, "sourceData", "LIVE", "source_data", "LIVE"),
    (AquaJob, "startTime", "2014-09-03 08:20:07", "start_time", "2014-09-03 08:20:07"),
    (AquaJob, "partner", "acme", "partner", "acme"),
    (AquaJob, "project", "daily", "project", "daily"),
    (AquaJob, "offset", 3600, "offset", "3600"),
    (AquaJob, "incrementalTime", "2014-09-03 08:20:07", "incremental_time", "2014-09-03 08:20:07"),
    (AquaJob, "errorCode", "90005", "error_code", "90005"),
    (AquaJob, "errorCode", 90005, "error_code", "90005"),
    (AquaJob, "message", "There is a syntax error", "message", "There is a syntax error"),
    (CreditMemoApplyJob, "id", "8a92", "id", "8a92"),
    (CreditMemoApplyJob, "status", "Processed", "status", "Processed"),
    (CreditMemoApplyJob, "operationType", "AsyncCreditMemoApply", "operation_type", "AsyncCreditMemoApply"),
    (CreditMemoApplyJob, "referenceId", "4028", "reference_id", "4028"),
    (CreditMemoApplyJob, "referenceType", "CreditMemo", "reference_type", "CreditMemo"),
    (CreditMemoApplyJob, "error", None, "error", None),
    (CreditMemoApplyJob, "error", "The balance is too low", "error", "The balance is too low"),
    (CreditMemoApplyJob, "success", True, "success", True),
    (CreditMemoApplyJob, "processId", "p-1", "process_id", "p-1"),
    (CreditMemoApplyJob, "requestId", "r-1", "request_id", "r-1"),
    (CreditMemoApplyJob, "reasons", REASONS, "reasons", READ_REASONS),
]


@pytest.mark.parametrize(("model", "theirs", "sent", "ours", "read"), EVERY_FIELD, ids=repr)
def test_every_field_of_the_vendors_pages_is_read(
    model: type[Any], theirs: str, sent: Any, ours: str, read: Any
) -> None:
    document = wire.structure(model, {"status": "Pending", theirs: sent})
    assert getattr(document, ours) == read


BATCH_FIELDS: list[tuple[str, Any, str, Any]] = [
    ("batchId", "e20b07474688ad5001468daf10ea01df", "batch_id", "e20b07474688ad5001468daf10ea01df"),
    ("batchType", "zoqlexport", "batch_type", "zoqlexport"),
    ("name", "InvoiceItemAdjustment", "name", "InvoiceItemAdjustment"),
    ("query", "select Id from Invoice", "query", "select Id from Invoice"),
    ("status", "deleted_notallowed", "status", "deleted_notallowed"),
    ("localizedStatus", "fertig", "localized_status", "fertig"),
    ("message", "", "message", ""),
    ("recordCount", 1580, "record_count", 1580),
    ("recordCount", "1580", "record_count", 1580),
    ("recordCount", 0, "record_count", 0),
    ("recordCount", None, "record_count", None),
    ("apiVersion", "69.0", "api_version", "69.0"),
    ("apiVersion", 69.0, "api_version", "69.0"),
    ("fileId", "e20b07474688ad5001468daf155f01f5", "file_id", "e20b07474688ad5001468daf155f01f5"),
    ("fileId", None, "file_id", None),
    ("segments", ["a", "b"], "segments", ("a", "b")),
    ("segments", None, "segments", ()),
    ("full", False, "full", False),
]


@pytest.mark.parametrize(("theirs", "sent", "ours", "read"), BATCH_FIELDS, ids=repr)
def test_every_field_of_an_aqua_batch_is_read(theirs: str, sent: Any, ours: str, read: Any) -> None:
    (batch,) = wire.structure(AquaJob, {"status": "completed", "batches": [{theirs: sent}]}).batches
    value = getattr(batch, ours)
    assert value == read
    assert type(value) is type(read)


def test_an_aqua_batch_tells_how_deleted_records_are_reported() -> None:
    document = {"status": "completed", "batches": [{"deleted": {"column": "IsDeleted", "format": "Boolean"}}]}
    deleted = wire.structure(AquaJob, document).batches[0].deleted
    assert deleted is not None
    assert (deleted.column, deleted.format) == ("IsDeleted", "Boolean")


INVOICE_TEXTS = {
    "Id": "id",
    "AccountId": "account_id",
    "BillToContactId": "bill_to_contact_id",
    "Body": "body",
    "Comments": "comments",
    "CreatedById": "created_by_id",
    "CreatedDate": "created_date",
    "DueDate": "due_date",
    "InvoiceDate": "invoice_date",
    "InvoiceNumber": "invoice_number",
    "LastEmailSentDate": "last_email_sent_date",
    "PaymentTerm": "payment_term",
    "PostedBy": "posted_by",
    "PostedDate": "posted_date",
    "SequenceSetId": "sequence_set_id",
    "Status": "status",
    "SourceType": "source_type",
    "TargetDate": "target_date",
    "TransferredToAccounting": "transferred_to_accounting",
    "UpdatedById": "updated_by_id",
    "UpdatedDate": "updated_date",
    "IntegrationId__NS": "integration_id",
    "IntegrationStatus__NS": "integration_status",
    "SyncDate__NS": "sync_date",
}
INVOICE_AMOUNTS = {
    "AdjustmentAmount": "adjustment_amount",
    "Amount": "amount",
    "AmountWithoutTax": "amount_without_tax",
    "Balance": "balance",
    "CreditBalanceAdjustmentAmount": "credit_balance_adjustment_amount",
    "CreditMemoAmount": "credit_memo_amount",
    "PaymentAmount": "payment_amount",
    "RefundAmount": "refund_amount",
    "TaxAmount": "tax_amount",
    "TaxExemptAmount": "tax_exempt_amount",
}
INVOICE_FLAGS = {
    "IncludesOneTime": "includes_one_time",
    "IncludesRecurring": "includes_recurring",
    "IncludesUsage": "includes_usage",
}


@pytest.mark.parametrize(("theirs", "ours"), INVOICE_TEXTS.items())
def test_every_text_of_the_invoice_is_read(theirs: str, ours: str) -> None:
    assert getattr(wire.structure(Invoice, {theirs: "just text"}), ours) == "just text"
    assert getattr(wire.structure(Invoice, {theirs: None}), ours) is None


@pytest.mark.parametrize(("theirs", "ours"), INVOICE_AMOUNTS.items())
@pytest.mark.parametrize("digits", ["0.1", "10.10", "-3", "0", "9999999999.999999999", "123456789012345678901.23"])
def test_every_amount_of_the_invoice_is_a_decimal_of_just_the_digits_sent(theirs: str, ours: str, digits: str) -> None:
    for body in (f'{{"{theirs}": {digits}}}', f'{{"{theirs}": "{digits}"}}'):
        amount = getattr(wire.read(body.encode(), Invoice), ours)
        assert type(amount) is Decimal
        assert str(amount) == digits


@pytest.mark.parametrize(("theirs", "ours"), INVOICE_FLAGS.items())
@pytest.mark.parametrize("value", [True, False])
def test_every_flag_of_the_invoice_is_read(theirs: str, ours: str, value: bool) -> None:
    assert getattr(wire.structure(Invoice, {theirs: value}), ours) is value


def test_the_invoice_has_the_37_fields_of_its_page_and_no_other() -> None:
    named = {*INVOICE_TEXTS.values(), *INVOICE_AMOUNTS.values(), *INVOICE_FLAGS.values()}
    assert len(named) == 37
    assert {field.name for field in attrs.fields(Invoice)} - {"raw"} == named


def test_the_invoices_custom_fields_are_kept_by_their_own_names() -> None:
    invoice = wire.read(sample("invoice"), Invoice)
    assert invoice.custom_fields == {"CostCentre__c": "4711", "Discount__c": Decimal("0.30")}
    assert str(invoice.custom_fields["Discount__c"]) == "0.30"
    assert "IntegrationId__NS" not in invoice.custom_fields


def test_the_bulk_pdf_sample_is_read() -> None:
    job = wire.read(sample("bulk-pdf"), BulkPdfJob)
    assert (job.status, job.step_status, job.success) == ("Completed", "PostProcessing", True)
    assert [url.rpartition("?")[0].rpartition("/")[2] for url in job.file_urls] == [
        "all-invoices-posted-jan-2024_1.zip",
        "all-invoices-posted-jan-2024_2.zip",
    ]
    assert (job.failed_documents, job.skipped_documents, job.reasons) == ((), (), ())


def test_the_sample_of_a_cancelled_aqua_job_is_read_with_what_its_batches_had_done() -> None:
    job = wire.read(sample("aqua-cancelled"), AquaJob)
    assert (job.status, job.id, job.version) == ("cancelled", "e20b07474688ad5001468daf10e501de", "1.1")
    assert [(batch.status, batch.file_id, batch.record_count) for batch in job.batches] == [
        ("completed", "e20b07474688ad5001468daf155f01f5", 1580),
        ("completed", "e20b07474688ad5001468daf166601f6", 411),
    ]


def test_the_credit_memo_sample_is_read() -> None:
    job = wire.read(sample("credit-memo-apply"), CreditMemoApplyJob)
    assert (job.status, job.error, job.reference_id) == ("Processed", None, "4028905f5a890526015a8d73f73d0015")


def test_the_operation_sample_is_read() -> None:
    job = wire.read(sample("operation"), OperationJob)
    assert (job.status, job.object_type, job.operation_type) == ("Completed", "Invoice", "Delete")


@pytest.mark.parametrize("model", [OperationJob, BulkPdfJob, AquaJob, CreditMemoApplyJob])
def test_every_job_has_the_face_of_a_job_document(model: type[Any]) -> None:
    job = wire.structure(model, {"status": "Odd", "new": [1]})
    assert isinstance(job, JobDocument)
    assert job.status == "Odd"
    assert job.raw == {"status": "Odd", "new": [1]}


@pytest.mark.parametrize("model", [OperationJob, BulkPdfJob, AquaJob, CreditMemoApplyJob, Invoice, AquaBatch])
def test_documents_are_frozen(model: type[Any]) -> None:
    document = model(status="Pending")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        document.status = "Completed"


def test_presigned_urls_are_in_no_text_form_of_a_document() -> None:
    job = wire.structure(BulkPdfJob, {"status": "Completed", "fileUrls": [PRESIGNED], "extra": PRESIGNED})
    file = ResultFile(url=PRESIGNED)
    assert job.file_urls == (PRESIGNED,)
    for text in (repr(job), str(job), f"{job}", repr(file), str(file), repr([job]), repr({"job": job})):
        assert "canary" not in text
    assert "Completed" in repr(job)


def test_the_secret_fields_are_marked_for_whoever_writes_documents_out() -> None:
    secret = {
        (model.__name__, field.name)
        for model in (OperationJob, BulkPdfJob, AquaJob, AquaBatch, CreditMemoApplyJob, ResultFile, Invoice)
        for field in attrs.fields(model)
        if field.metadata.get("secret")
    }
    assert secret == {("BulkPdfJob", "file_urls"), ("ResultFile", "url")}


@pytest.mark.parametrize("name", ["bulk-pdf", "aqua-cancelled", "credit-memo-apply", "operation", "invoice"])
def test_no_sample_shows_its_raw_form_in_repr(name: str) -> None:
    models: dict[str, type[Any]] = {
        "bulk-pdf": BulkPdfJob,
        "aqua-cancelled": AquaJob,
        "credit-memo-apply": CreditMemoApplyJob,
        "operation": OperationJob,
        "invoice": Invoice,
    }
    document = wire.read(sample(name), models[name])
    assert "raw=" not in repr(document)
    assert document.raw.keys() == json.loads(sample(name)).keys()
    assert "JVBERi0" not in repr(document)
