"""The documents Zuora sends: one frozen class a job family, and the invoice.

Rules of this file:
1. A job's document is its status: one without, or with a `success` that is neither true nor false, is none. Any other
   field that cannot be read is left out, since no job may be lost over a caption. A `Text` is text, or a number as text.
2. `raw` is the JSON object as it was received; the fields are a reading of it. What Zuora adds is kept there and
   given back unchanged.
3. null and absent are the same; a list is never None.
4. No wire names here: `wire.py` turns `file_id` into `fileId`, and `Wire` beside a field is the exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Protocol, TypeAlias, runtime_checkable

from attrs import field, frozen

from zuora_jobs.errors import Reason

Text: TypeAlias = Annotated[str, "text"]
"""Descriptive text; whatever is not text or a number is read as None."""

Count: TypeAlias = Annotated[int, "count"]
"""A whole number that Zuora writes as 1580 or as "1580"; a blank text is none."""

Amount: TypeAlias = Annotated[Decimal, "amount"]
"""Money, exactly as written: 0.1 is Decimal("0.1"). Its currency is the account's; the document does not name it."""

Raw: TypeAlias = Annotated[Mapping[str, Any], "raw"]
"""The JSON object as received."""

SECRET = {"secret": True}


@runtime_checkable
class JobDocument(Protocol):
    """What the documents of all job families have in common."""

    @property
    def status(self) -> str:
        """Zuora's own word, as received; its kind says what it means."""

    @property
    def raw(self) -> Raw:
        """The JSON object as received."""


def _raw() -> Any:
    return field(factory=dict, repr=False)


@frozen(kw_only=True)
class OperationJob:
    """An invoice (or memo) being deleted, reversed, posted or cancelled in the background.

    Wire: GET /v1/operations/jobs/{jobId}, "Retrieve an operation job", version 2026-02-20
    https://developer.zuora.com/v1-api-reference/api/operation/Get_OperationJob/
    """

    status: str
    id: Text | None = None
    """Of the job."""
    object_id: Text | None = None
    """Of the business object that is operated on."""
    object_type: Text | None = None
    """Invoice; newer tenants also CreditMemo, DebitMemo."""
    operation_type: Text | None = None
    """Delete, Reverse; newer tenants also Cancel, Post, Split, Unpost."""
    reasons: tuple[Reason, ...] = ()
    success: bool | None = None
    """Whether the *call* worked. The job's fate is in `status`."""
    process_id: Text | None = None
    request_id: Text | None = None
    raw: Raw = _raw()


@frozen(kw_only=True)
class DocumentIds:
    """Billing documents of one type, by id."""

    doc_type: Text | None = None
    object_ids: tuple[str, ...] = ()


@frozen(kw_only=True)
class BulkPdfJob:
    """The PDF files of many billing documents being packed into ZIP files.

    Wire: GET /v1/operations/bulk-pdf/{jobId}
    https://developer.zuora.com/v1-api-reference/api/operation/Get_BulkPDFToZIPGeneration/
    """

    status: str
    job_id: Text | None = None
    job_name: Text | None = None
    step_status: Text | None = None
    """JobCreated, TasksCreated, GenerateMissPDF, PdfToZip, PostProcessing. Never decides whether the job has ended."""
    file_urls: tuple[str, ...] = field(default=(), repr=False, metadata=SECRET)
    """Presigned: whoever has one can fetch the file, so they are secrets. To be fetched without a token."""
    failed_documents: tuple[DocumentIds, ...] = ()
    skipped_documents: tuple[DocumentIds, ...] = ()
    """Archived files left out, when the request had ignoreArchivedFiles."""
    created_on: Text | None = None
    """`2024-01-08 12:52:05`, in a time zone that Zuora does not name."""
    created_by: Text | None = None
    reasons: tuple[Reason, ...] = ()
    success: bool | None = None
    """Whether the *call* worked. The job's fate is in `status`."""
    process_id: Text | None = None
    request_id: Text | None = None
    raw: Raw = _raw()


@frozen(kw_only=True)
class DeletedRecords:
    """How an AQuA query reports deleted records."""

    column: Text | None = None
    format: Text | None = None


@frozen(kw_only=True)
class AquaBatch:
    """One query of an AQuA job. Its statuses are its own: also `deleted_notallowed`."""

    status: str | None = None
    batch_id: Text | None = None
    batch_type: Text | None = None
    """zoql or zoqlexport."""
    name: Text | None = None
    query: Text | None = None
    file_id: str | None = None
    segments: tuple[str, ...] = ()
    """Ids of files; present instead of `file_id` for large stateful loads."""
    record_count: Count | None = None
    message: Text | None = None
    """Why the query was aborted; blank when nothing is wrong."""
    localized_status: Text | None = None
    api_version: Text | None = None
    full: bool | None = None
    """True: a full load; False: an incremental one."""
    deleted: DeletedRecords | None = None


@frozen(kw_only=True)
class AquaJob:
    """Aggregate queries (AQuA) being run, each into a file.

    Wire: GET and DELETE /v1/batch-query/jobs/{jobid}
    https://developer.zuora.com/v1-api-reference/api/operation/DELETE_BatchQueryJob/
    """

    status: str
    id: Text | None = None
    """None when the request was refused by validation."""
    name: Text | None = None
    version: Text | None = None
    format: Text | None = None
    encrypted: Text | None = None
    localized_status: Text | None = None
    """A translation of `status`, not to be relied on."""
    source_data: Text | None = None
    """LIVE or WAREHOUSE."""
    start_time: Text | None = None
    """`2014-09-03 08:20:07`, in a time zone that Zuora does not name."""
    partner: Text | None = None
    project: Text | None = None
    offset: Text | None = None
    """Seconds, in stateful mode."""
    incremental_time: Text | None = None
    use_last_completed_job_queries: Text | None = None
    error_code: Text | None = None
    message: Text | None = None
    success: bool | None = None
    """Not in AQuA's pages; where it comes, it speaks of the call."""
    batches: tuple[AquaBatch, ...] = ()
    raw: Raw = _raw()


@frozen(kw_only=True)
class CreditMemoApplyJob:
    """A credit memo being applied to many invoices in the background.

    Wire: GET /v1/credit-memos/apply-async-jobs/{applyAsyncJobId}
    https://developer.zuora.com/v1-api-reference/api/operation/getApplyCreditMemoAsyncJob/
    """

    status: str
    id: Text | None = None
    operation_type: Text | None = None
    """AsyncCreditMemoApply; newer tenants also AsyncCreditMemoUnapply, AsyncInvoiceWriteOff and others."""
    reference_id: Text | None = None
    reference_type: Text | None = None
    error: Text | None = None
    """Why it failed, in one text."""
    reasons: tuple[Reason, ...] = ()
    success: bool | None = None
    """Whether the *call* worked. The job's fate is in `status`."""
    process_id: Text | None = None
    request_id: Text | None = None
    raw: Raw = _raw()


@frozen(kw_only=True)
class InvoiceBalance:
    """What is left to be paid of an invoice, which may be asked for by its id or number.

    Wire: GET /v1/invoices/{invoiceKey}
    https://developer.zuora.com/v1-api-reference/api/operation/GET_Invoice
    """

    id: Text | None = None
    invoice_number: Text | None = None
    status: Text | None = None
    amount: Amount | None = None
    balance: Amount | None = None
    success: bool | None = None
    raw: Raw = _raw()


@frozen(kw_only=True)
class CreatedMemo:
    """A credit or debit memo that Zuora has made."""

    id: Text | None = None


@frozen(kw_only=True)
class BulkPdfSubmitted:
    """The answer to a submitted bulk-PDF job.

    Wire: POST /v1/operations/bulk-pdf; `zuora-sdk` model bulk_pdf_generation_job_response
    """

    job_id: Text | None = None
    invalid_ids: tuple[str, ...] = ()
    """Unknown, or without a PDF where none is to be made. They will not be in the ZIP files."""
    success: bool | None = None
    reasons: tuple[Reason, ...] = ()
    process_id: Text | None = None
    request_id: Text | None = None
    raw: Raw = _raw()


@frozen(kw_only=True)
class InvoiceOperationSubmitted:
    """The answer to the deletion or reversal of an invoice, in either of its documented forms.

    Wire: DELETE /v1/invoices/{invoiceKey}, PUT /v1/invoices/{invoiceKey}/reverse; `zuora-sdk` models
    operation_job_response, reverse_invoice_response
    """

    id: Text | None = None
    """Of the *invoice* where there is a `job_id`; of the job where there is an `object_id`."""
    job_id: Text | None = None
    job_status: Text | None = None
    """Pending, Processing, Completed or Failed: a small invoice is done at once."""
    object_id: Text | None = None
    object_type: Text | None = None
    operation_type: Text | None = None
    status: Text | None = None
    credit_memo: CreatedMemo | None = None
    credit_memos: tuple[CreatedMemo, ...] = ()
    debit_memo: CreatedMemo | None = None
    success: bool | None = None
    reasons: tuple[Reason, ...] = ()
    process_id: Text | None = None
    request_id: Text | None = None
    raw: Raw = _raw()


@frozen(kw_only=True)
class CreditMemo:
    """A credit memo, and how much of it is left.

    Wire: GET /v1/credit-memos/{creditMemoKey}
    https://developer.zuora.com/v1-api-reference/api/operation/GET_CreditMemo
    """

    id: Text | None = None
    number: Text | None = None
    account_id: Text | None = None
    status: Text | None = None
    """Draft, Posted, Canceled and others: of the memo, not of its use."""
    currency: Text | None = None
    amount: Amount | None = None
    applied_amount: Amount | None = None
    unapplied_amount: Amount | None = None
    """What is left to be applied."""
    refund_amount: Amount | None = None
    credit_memo_date: Text | None = None
    success: bool | None = None
    raw: Raw = _raw()


@frozen(kw_only=True)
class ResultFile:
    """A file that a job has left behind: an id to be asked for with the token, or an URL to be fetched without one."""

    name: str | None = None
    file_id: str | None = None
    url: str | None = field(default=None, repr=False, metadata=SECRET)
    records: int | None = None
    """How many records it must hold, where Zuora says."""
    suffix: str = ""
    """What its content is, as the end of a file's name: `.csv`, `.csv.gz`, `.zip`, or one of these and `.pgp`."""
    number: int = 1
    """Its place among the job's files, from 1 on."""
    query: int | None = None
    """Of a segment: the place of its query in the job, from 1 on; other segments of the same have the same."""
    records_of_query: int | None = None
    """How many records all segments of its query must hold together, where Zuora says."""


@frozen(kw_only=True)
class Invoice:
    """An invoice, as the CRUD interface gives it. Which fields come depends on `fields` and on the WSDL version.

    Wire: GET /v1/object/invoice/{id}, "CRUD: Retrieve an invoice", version 2025-12-17
    https://developer.zuora.com/v1-api-reference/api/operation/Object_GETInvoice/
    """

    id: Text | None = None
    account_id: Text | None = None
    adjustment_amount: Amount | None = None
    amount: Amount | None = None
    amount_without_tax: Amount | None = None
    balance: Amount | None = None
    bill_to_contact_id: Text | None = None
    """From WSDL version 118 on."""
    body: Text | None = field(default=None, repr=False)
    """The PDF, in base64."""
    comments: Text | None = None
    created_by_id: Text | None = None
    created_date: Text | None = None
    credit_balance_adjustment_amount: Amount | None = None
    credit_memo_amount: Amount | None = None
    due_date: Text | None = None
    includes_one_time: bool | None = None
    includes_recurring: bool | None = None
    includes_usage: bool | None = None
    invoice_date: Text | None = None
    invoice_number: Text | None = None
    last_email_sent_date: Text | None = None
    payment_amount: Amount | None = None
    payment_term: Text | None = None
    """From WSDL version 118 on."""
    posted_by: Text | None = None
    posted_date: Text | None = None
    refund_amount: Amount | None = None
    sequence_set_id: Text | None = None
    """From WSDL version 127 on."""
    status: Text | None = None
    """Draft, Posted or Canceled: of the invoice, not of its payment."""
    source_type: Text | None = None
    """Subscription, Standalone, Order or Consolidation; from WSDL version 118 on."""
    target_date: Text | None = None
    tax_amount: Amount | None = None
    tax_exempt_amount: Amount | None = None
    transferred_to_accounting: Text | None = None
    """Processing, Yes, Error or Ignore."""
    updated_by_id: Text | None = None
    updated_date: Text | None = None
    integration_id: Text | None = field(default=None, metadata={"wire": "IntegrationId__NS"})
    integration_status: Text | None = field(default=None, metadata={"wire": "IntegrationStatus__NS"})
    sync_date: Text | None = field(default=None, metadata={"wire": "SyncDate__NS"})
    raw: Raw = _raw()

    @property
    def custom_fields(self) -> Mapping[str, Any]:
        """The tenant's own fields (`…__c`), by their wire names."""
        return {name: value for name, value in self.raw.items() if name.endswith("__c")}
