"""The table of submits: how each kind of request is sent, and how its answer becomes the handle of a job.

Rules of this file:
1. A further way to begin a job is one more row here, and a class in `requests.py`. There is no `if` on a name anywhere.
2. `id` is the job in some answers and the business object in others, so each row knows its own.
3. What may not be done twice is not sent twice: POST bears an Idempotency-Key (kept by Zuora for 24 hours); PUT and DELETE,
   on which Zuora refuses one, are sent once.

Sources: the pages named in `requests.py`; https://developer.zuora.com/docs/guides/idempotent-requests
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic

from attrs import Attribute, field, fields, frozen

from zuora_jobs.errors import ConfigurationError, InvalidHandle, MalformedResponse, Rejected, SubmitUncertain
from zuora_jobs.protocol import jsontext, messages, refusals, requests, wire
from zuora_jobs.protocol.kinds import (
    AQUA,
    BULK_PDF,
    CREDIT_MEMO_APPLY,
    CREDIT_MEMO_UNAPPLY,
    KINDS,
    OPERATION,
    JobHandle,
    JobKind,
    JobT_co,
    Phase,
)
from zuora_jobs.protocol.messages import Request, Response
from zuora_jobs.protocol.models import (
    AquaJob,
    BulkPdfSubmitted,
    CreditMemoApplyJob,
    InvoiceOperationSubmitted,
    JobDocument,
    OperationJob,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEY_HEADER: Final = "Idempotency-Key"

KEY_LASTS: Final = 86_400.0 - 600.0
"""Seconds for which Zuora is relied on to know an Idempotency-Key again: a day, less what clocks may differ."""

_CONFLICT = 409
"""The same request is still being worked on; or, some pages say, it has been, and this is its answer."""


def _no_document(_: Any) -> None:
    return None


def _everybody(_: Any) -> str:
    return ""


@frozen(kw_only=True, eq=False)
class SubmitKind(Generic[JobT_co]):
    """One row of the table."""

    name: str
    """On the command line: `zuora-jobs submit invoice-delete`."""
    request: type
    """What is submitted, of `requests.py`."""
    kind: JobKind[JobT_co]
    """Of the job that it begins."""
    method: str
    path: str
    """With `{key}` where the request's own key goes."""
    answer: type
    job_id: Callable[[Any], str | None]
    """The job's id, from the answer."""
    job: Callable[[Any], JobDocument | None] = field(default=_no_document, repr=False)
    """What the answer says of the job, as its document; None where it says nothing."""
    find_out: str = field(repr=False)
    """How to find out whether it was carried out, when no answer came."""
    at_once: int | None = None
    """How many such jobs a tenant may have that have not ended; None: no limit is known."""
    shares: Callable[[Any], str] = field(default=_everybody, repr=False)
    """Which of several such limits a request counts against."""

    def __repr__(self) -> str:
        return f"<SubmitKind {self.name}>"

    @property
    def has_idempotency_key(self) -> bool:
        """Whether Zuora takes one; it refuses them on PUT and DELETE."""
        return self.method == "POST"

    @property
    def key_field(self) -> Attribute[Any] | None:
        """The request's field that becomes part of the path."""
        return next((one for one in fields(self.request) if one.metadata.get("path")), None)

    @property
    def key_name(self) -> str | None:
        """Zuora's name of that."""
        return self.key_field.metadata["wire"] if self.key_field is not None else None


@frozen(kw_only=True)
class Submitted(Generic[JobT_co]):
    """What became of a request: the job that it began."""

    request: Any
    handle: JobHandle[JobT_co] | None
    """Of the job; None: it was done at once, and there is none."""
    answer: Any
    """The whole answer, typed; None where it is known from a journal that a version with other models wrote."""
    job: JobDocument | None = None
    """What the answer tells of the job, which may have ended already: small documents are done at once."""
    note: str | None = None
    """What was to be found again beside it."""
    from_journal: bool = False
    """Whether it was submitted in an earlier run."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to be watched."""
        if self.handle is None:
            return True
        phase = self.handle.kind.phase(self.job.status) if self.job is not None else None
        return phase is not None and phase.is_terminal


# --- where the answers have the job


def _own_id(answer: AquaJob | CreditMemoApplyJob) -> str | None:
    return answer.id


def _bulk_pdf_id(answer: BulkPdfSubmitted) -> str | None:
    return answer.job_id


def _operation_id(answer: InvoiceOperationSubmitted) -> str | None:
    """Zuora's examples have `jobId`, and `id` is the invoice; its client types the answer as the job, and `id` is the job."""
    return answer.job_id or (answer.id if answer.object_id or answer.operation_type else None)


def _operation(answer: InvoiceOperationSubmitted) -> OperationJob | None:
    status = answer.job_status or answer.status
    if status is None:
        return None
    return OperationJob(
        status=status,
        id=_operation_id(answer),
        object_id=answer.object_id or (answer.id if answer.job_id else None),
        object_type=answer.object_type or "Invoice",
        operation_type=answer.operation_type,
        reasons=answer.reasons,
        success=answer.success,
        process_id=answer.process_id,
        request_id=answer.request_id,
    )


def _as_it_is(answer: AquaJob | CreditMemoApplyJob) -> Any:
    return answer


def _stateful_or_not(request: requests.RunQueries) -> str:
    return "stateful" if request.is_stateful else "stateless"


_LOOK_AT_MEMO = "compare what is left of the credit memo with what was: GET /v1/credit-memos/{key}, `unappliedAmount`"

RUN_QUERIES: Final[SubmitKind[AquaJob]] = SubmitKind(
    name="aqua",
    request=requests.RunQueries,
    kind=AQUA,
    method="POST",
    path="/v1/batch-query/",
    answer=AquaJob,
    job_id=_own_id,
    job=_as_it_is,
    find_out="look for the job in Zuora's AQuA job finder",
    at_once=50,
    shares=_stateful_or_not,
)

ZIP_PDFS: Final[SubmitKind[Any]] = SubmitKind(
    name="bulk-pdf",
    request=requests.ZipPdfs,
    kind=BULK_PDF,
    method="POST",
    path="/v1/operations/bulk-pdf",
    answer=BulkPdfSubmitted,
    job_id=_bulk_pdf_id,
    find_out="Zuora lists no such jobs; a second one changes nothing in the tenant, so it may be submitted anew",
)

DELETE_INVOICE: Final[SubmitKind[OperationJob]] = SubmitKind(
    name="invoice-delete",
    request=requests.DeleteInvoice,
    kind=OPERATION,
    method="DELETE",
    path="/v1/invoices/{key}",
    answer=InvoiceOperationSubmitted,
    job_id=_operation_id,
    job=_operation,
    find_out="ask for the invoice, `zuora-jobs invoice {key}`: it is gone if the deletion was carried out",
)

REVERSE_INVOICE: Final[SubmitKind[OperationJob]] = SubmitKind(
    name="invoice-reverse",
    request=requests.ReverseInvoice,
    kind=OPERATION,
    method="PUT",
    path="/v1/invoices/{key}/reverse",
    answer=InvoiceOperationSubmitted,
    job_id=_operation_id,
    job=_operation,
    find_out="ask for the invoice, `zuora-jobs invoice {key}`: its balance is 0 if the reversal was carried out",
)

APPLY_CREDIT_MEMO: Final[SubmitKind[CreditMemoApplyJob]] = SubmitKind(
    name="credit-memo-apply",
    request=requests.ApplyCreditMemo,
    kind=CREDIT_MEMO_APPLY,
    method="PUT",
    path="/v1/credit-memos/{key}/apply-async",
    answer=CreditMemoApplyJob,
    job_id=_own_id,
    job=_as_it_is,
    find_out=_LOOK_AT_MEMO,
)

UNAPPLY_CREDIT_MEMO: Final[SubmitKind[CreditMemoApplyJob]] = SubmitKind(
    name="credit-memo-unapply",
    request=requests.UnapplyCreditMemo,
    kind=CREDIT_MEMO_UNAPPLY,
    method="PUT",
    path="/v1/credit-memos/{key}/unapply-async",
    answer=CreditMemoApplyJob,
    job_id=_own_id,
    job=_as_it_is,
    find_out=_LOOK_AT_MEMO,
)

SUBMITS: Final[dict[str, SubmitKind[Any]]] = {
    row.name: row
    for row in (RUN_QUERIES, ZIP_PDFS, DELETE_INVOICE, REVERSE_INVOICE, APPLY_CREDIT_MEMO, UNAPPLY_CREDIT_MEMO)
}
"""All rows by name. A request of your own: `SUBMITS[mine.name] = mine`."""


def submit_kind(request: object) -> SubmitKind[Any]:
    """Give the row of *request*.

    Raises:
        ConfigurationError: it is none that can be submitted.
    """
    row = next((row for row in SUBMITS.values() if row.request is type(request)), None)
    if row is None:
        known = ", ".join(row.request.__name__ for row in SUBMITS.values())
        message = f"{request!r:.60} cannot be submitted: use one of {known}"
        raise ConfigurationError(message)
    return row


def submit_row(name: str) -> SubmitKind[Any]:
    """Give the row of this name.

    Raises:
        ConfigurationError: there is none.
    """
    if name in SUBMITS:
        return SUBMITS[name]
    which = [row.name for row in SUBMITS.values() if name in KINDS and row.kind is KINDS[name]] or list(SUBMITS)
    message = f"{name!r} is nothing to submit: use one of {', '.join(which)}"
    raise ConfigurationError(message)


def key_of(request: object) -> str:
    """Give the key of the business object that *request* is about; "" where it is about none."""
    key = submit_kind(request).key_field
    return getattr(request, key.name) if key is not None else ""


def body_of(request: object) -> bytes | None:
    """Give the body that *request* is sent with; None: without one."""
    row = submit_kind(request)
    return jsontext.write(wire.request_fields(request)) if row.method != "DELETE" else None


def submit_request(request: object, headers: Mapping[str, str], idempotency_key: str | None) -> Request:
    """Write *request* for the wire.

    Args:
        request: one of `requests.py`.
        headers: the tenant's, as for the job that it begins.
        idempotency_key: for a POST; it is left out of all others, on which Zuora refuses it.
    """
    row = submit_kind(request)
    keyed = {KEY_HEADER: idempotency_key} if row.has_idempotency_key and idempotency_key is not None else {}
    return Request(
        row.method,
        row.path.replace("{key}", key_of(request)),
        headers={**headers, **keyed},
        body=body_of(request),
        kind=row.kind,
        submits=True,
    )


def read_answer(request: object, sent: Request, response: Response) -> Submitted[Any]:
    """Read the answer to a submitted *request*.

    Raises:
        ApiError: Zuora says no; Rejected where it does by leaving out the job, as AQuA does under HTTP 200.
        MalformedResponse: the answer makes no sense, so whether there is a job is not known.
    """
    row = submit_kind(request)
    answer: Any = messages.decipher(sent, _settled(sent, response), row.answer)
    identifier, job = row.job_id(answer), row.job(answer)
    if identifier:
        return Submitted(request=request, handle=_handle(row, identifier, sent), answer=answer, job=job)
    reasons = refusals.reasons_of(response.json, response.body) or getattr(answer, "reasons", ())
    what = f"{sent.method} {sent.path}"
    if reasons:
        told = messages.one_line("; ".join(map(str, reasons)))
        message = f"{what}: HTTP {response.status}: {told}"
        raise Rejected(message, status=response.status, reasons=reasons)
    phase = row.kind.phase(job.status) if job is not None else Phase.SUCCEEDED
    if getattr(answer, "success", None) is True and not row.has_idempotency_key and phase is Phase.SUCCEEDED:
        return Submitted(request=request, handle=None, answer=answer)
    message = f"{what}: the answer names no job"
    raise MalformedResponse(message, problems=["no id of a job"])


def _handle(row: SubmitKind[Any], identifier: str, sent: Request) -> JobHandle[Any]:
    try:
        return row.kind.handle(identifier)
    except InvalidHandle:
        problem = "an id of a job that can be none"
    message = f"{sent.method} {sent.path}: the answer has {problem}"
    raise MalformedResponse(message, problems=[problem])


def _settled(sent: Request, response: Response) -> Response:
    """Take the answer that comes again, under 409, for what it is: not an error, the error-handling page says."""
    if response.status != _CONFLICT or KEY_HEADER not in sent.headers:
        return response
    try:
        document = response.json
    except MalformedResponse:
        return response
    named = isinstance(document, dict) and any(refusals.text_at(document, name) for name in ("id", "jobId"))
    refused = named and refusals.says_no(document, sent.kind)
    return Response(200, response.headers, response.body) if named and not refused else response


def uncertain(
    why: object, request: object, idempotency_key: str | None, *, from_journal: bool = False
) -> SubmitUncertain:
    """Say that it is not known whether *request* was carried out, and how to find out."""
    row, key = submit_kind(request), key_of(request)
    find_out = row.find_out.replace("{key}", key)
    doubt = (
        f"{row.method} {row.path.replace('{key}', key)}: whether Zuora has begun this job is not known, so it is not"
        f" submitted again: {why}. To find out: {find_out}"
    )
    if idempotency_key:
        doubt += f"; or submit it within 24 hours with the idempotency key {idempotency_key}, which does nothing twice"
    doubt += ". That may take as long as such a job does"
    return SubmitUncertain(
        f"{doubt}; if it was not carried out, submit it anew: with a journal by again=True, or --again",
        request=request,
        find_out=find_out,
        idempotency_key=idempotency_key,
        from_journal=from_journal,
        doubt=doubt,
    )
