"""The table of submits: what goes out, what comes back in all its readings, and what a user writes as JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zuora_jobs import (
    AQUA,
    BULK_PDF,
    CREDIT_MEMO_APPLY,
    CREDIT_MEMO_UNAPPLY,
    OPERATION,
    ApiError,
    ApplyCreditMemo,
    ConfigurationError,
    DeleteInvoice,
    DocumentIds,
    InvoiceAmount,
    NotFound,
    Query,
    RateLimited,
    Rejected,
    ReverseInvoice,
    RunQueries,
    ServerError,
    SubmitUncertain,
    UnapplyCreditMemo,
    ZipPdfs,
)
from zuora_jobs.errors import MalformedResponse
from zuora_jobs.protocol import wire
from zuora_jobs.protocol.messages import Response
from zuora_jobs.protocol.submits import (
    SUBMITS,
    body_of,
    key_of,
    read_answer,
    submit_kind,
    submit_request,
    uncertain,
)

JOB = "2c92c8fb84d2f8f40184d2ff0d6b0001"
INVOICE = "2c92c8955bd63cc1015bd7c151af02ab"
PART = InvoiceAmount(invoice_id=INVOICE, amount="12.50")
QUERIES = RunQueries([Query("Invoices", "select Id from Invoice")])
PDFS = ZipPdfs(documents=[DocumentIds(doc_type="Invoice", object_ids=(INVOICE,))], file_name="zip")
DELETE, REVERSE = DeleteInvoice(INVOICE), ReverseInvoice("INV00000123")
APPLY, UNAPPLY = ApplyCreditMemo("CM1", [PART]), UnapplyCreditMemo("CM1", [PART])
ALL = [QUERIES, PDFS, DELETE, REVERSE, APPLY, UNAPPLY]


def name_of(value: object) -> str | None:
    return type(value).__name__ if value in ALL else None


def read(request: object, document: Any, status: int = 200) -> Any:
    """Give what an answer to *request* becomes: a Submitted, or the error."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    try:
        return read_answer(request, submit_request(request, {}, "key-1"), Response(status, {}, body))
    except (ApiError, MalformedResponse) as error:
        return error


NO_OBJECTS: list[Any] = [[], "Completed", None, 1]
NONSENSE: list[Any] = [*NO_OBJECTS, b"", b"<html></html>", b'{"id']


# --- what goes out


@pytest.mark.parametrize(
    ("request_", "method", "path", "body"),
    [
        (
            QUERIES,
            "POST",
            "/v1/batch-query/",
            {
                "queries": [{"name": "Invoices", "query": "select Id from Invoice", "type": "zoqlexport"}],
                "format": "csv",
                "version": "1.1",
            },
        ),
        (
            PDFS,
            "POST",
            "/v1/operations/bulk-pdf",
            {
                "documents": [{"docType": "Invoice", "objectIds": [INVOICE]}],
                "fileName": "zip",
                "indexFileFormat": "CSV",
            },
        ),
        (DELETE, "DELETE", f"/v1/invoices/{INVOICE}", None),
        (REVERSE, "PUT", "/v1/invoices/INV00000123/reverse", {}),
        (APPLY, "PUT", "/v1/credit-memos/CM1/apply-async", {"invoices": [{"amount": 12.5, "invoiceId": INVOICE}]}),
        (UNAPPLY, "PUT", "/v1/credit-memos/CM1/unapply-async", {"invoices": [{"amount": 12.5, "invoiceId": INVOICE}]}),
    ],
    ids=name_of,
)
def test_each_request_goes_where_its_page_says(request_: Any, method: str, path: str, body: Any) -> None:
    sent = submit_request(request_, {"Zuora-Track-Id": "t"}, "key-1")
    assert (sent.method, sent.path, sent.query) == (method, path, "")
    assert (json.loads(sent.body) if sent.body is not None else None) == body
    keyed = {"Idempotency-Key": "key-1"} if method == "POST" else {}
    assert sent.headers == {"Zuora-Track-Id": "t"} | keyed
    assert sent.kind is submit_kind(request_).kind
    assert sent.submits


@pytest.mark.parametrize("request_", ALL, ids=name_of)
def test_what_may_not_be_done_twice_may_not_be_sent_twice(request_: Any) -> None:
    keyed = submit_kind(request_).has_idempotency_key
    assert submit_request(request_, {}, "key-1").may_be_repeated == keyed
    assert not submit_request(request_, {}, None).may_be_repeated


def test_a_put_without_anything_to_say_has_a_body_all_the_same() -> None:
    assert body_of(ReverseInvoice("I1")) == b"{}"  # without one Zuora answers 415


def test_amounts_are_numbers_written_digit_for_digit() -> None:
    body = body_of(ApplyCreditMemo("C1", [InvoiceAmount(invoice_id="a", amount="1234567890123456.10")]))
    assert body == b'{"invoices":[{"amount":1234567890123456.10,"invoiceId":"a"}]}'


def test_dates_go_out_as_days() -> None:
    reversal = ReverseInvoice(
        "I1", apply_effective_date="2026-11-24", memo_date="2026-11-25", comment="c", reason_code="r"
    )
    assert json.loads(body_of(reversal) or b"") == {
        "applyEffectiveDate": "2026-11-24",
        "memoDate": "2026-11-25",
        "comment": "c",
        "reasonCode": "r",
    }
    assert json.loads(body_of(ApplyCreditMemo("C1", [PART], effective_date="2026-11-24")) or b"")["effectiveDate"] == (
        "2026-11-24"
    )


def test_a_bulk_pdf_job_goes_out_whole() -> None:
    job = ZipPdfs(
        documents=[DocumentIds(doc_type="CreditMemo", object_ids=("a", "b"))],
        file_name="memos",
        index_file_format="JSON",
        name="nightly",
        generate_missing_pdf=True,
        persist_index_file=False,
        ignore_archived_files=True,
    )
    assert json.loads(body_of(job) or b"") == {
        "documents": [{"docType": "CreditMemo", "objectIds": ["a", "b"]}],
        "fileName": "memos",
        "indexFileFormat": "JSON",
        "name": "nightly",
        "generateMissingPDF": True,
        "persistIndexFile": False,
        "ignoreArchivedFiles": True,
    }


def test_each_request_has_one_row_and_its_own_key() -> None:
    assert [submit_kind(request).name for request in ALL] == list(SUBMITS)
    assert [key_of(request) for request in ALL] == ["", "", INVOICE, "INV00000123", "CM1", "CM1"]
    with pytest.raises(ConfigurationError, match="use one of RunQueries"):
        submit_kind(QUERIES.queries[0])


# --- answers: `id` is the job in some, the business object in others

INVOICE_ANSWER = {"success": True, "id": INVOICE, "jobId": JOB, "jobStatus": "Pending"}


@pytest.mark.parametrize(
    ("request_", "document", "kind"),
    [
        (QUERIES, {"id": JOB, "status": "submitted", "batches": [{"name": "Invoices", "status": "pending"}]}, AQUA),
        (PDFS, {"success": True, "jobId": JOB, "invalidIds": ["x"]}, BULK_PDF),
        (PDFS, {"success": True, "jobId": JOB, "invalidIds": None, "id": "another"}, BULK_PDF),
        (DELETE, INVOICE_ANSWER, OPERATION),
        (DELETE, {"id": JOB, "objectId": INVOICE, "operationType": "Delete", "status": "Pending"}, OPERATION),
        (DELETE, {"id": JOB, "operationType": "Delete", "status": "Pending", "success": True}, OPERATION),
        (REVERSE, {**INVOICE_ANSWER, "creditMemo": {"id": "memo"}, "creditMemos": [{"id": "memo"}]}, OPERATION),
        (APPLY, {"success": True, "id": JOB, "status": "Pending", "referenceId": "memo"}, CREDIT_MEMO_APPLY),
        (UNAPPLY, {"id": JOB, "status": "Processing", "operationType": "AsyncCreditMemoUnapply"}, CREDIT_MEMO_UNAPPLY),
    ],
    ids=name_of,
)
def test_the_job_is_found_wherever_the_answer_has_it(request_: Any, document: Any, kind: Any) -> None:
    submitted = read(request_, document)
    assert submitted.handle == kind.handle(JOB)
    assert not submitted.has_ended
    assert submitted.answer.raw == document


@pytest.mark.parametrize(
    ("document", "object_id"),
    [
        (INVOICE_ANSWER, INVOICE),
        ({"id": JOB, "objectId": INVOICE, "operationType": "Delete", "status": "Pending"}, INVOICE),
        ({"id": JOB, "operationType": "Delete", "status": "Pending"}, None),
    ],
    ids=["job id", "operation", "operation without its object"],
)
def test_the_jobs_id_is_never_taken_for_the_invoices(document: Any, object_id: str | None) -> None:
    job = read(DELETE, document).job
    assert (job.id, job.object_id, job.status) == (JOB, object_id, "Pending")


@pytest.mark.parametrize("status", ["Completed", "Failed"])
def test_a_small_invoice_is_done_in_the_answer(status: str) -> None:
    submitted = read(DELETE, {**INVOICE_ANSWER, "jobStatus": status})
    assert submitted.has_ended
    assert submitted.job.status == status
    assert submitted.handle == OPERATION.handle(JOB)


@pytest.mark.parametrize(("request_", "status"), [(QUERIES, "completed"), (APPLY, "Processed"), (UNAPPLY, "Error")])
def test_other_jobs_may_have_ended_in_the_answer_as_well(request_: Any, status: str) -> None:
    assert read(request_, {"id": JOB, "status": status}).has_ended


def test_a_status_that_is_not_known_is_no_end() -> None:
    assert not read(DELETE, {**INVOICE_ANSWER, "jobStatus": "Teleported"}).has_ended


@pytest.mark.parametrize("request_", [DELETE, REVERSE], ids=name_of)
@pytest.mark.parametrize("more", [{}, {"id": INVOICE}, {"id": INVOICE, "jobStatus": "Completed"}], ids=str)
def test_done_without_a_job_is_done(request_: Any, more: Any) -> None:
    submitted = read(request_, {"success": True, **more})
    assert (submitted.handle, submitted.has_ended) == (None, True)


@pytest.mark.parametrize("request_", [DELETE, REVERSE], ids=name_of)
@pytest.mark.parametrize("status", ["Pending", "Processing", "Failed", "Teleported"])
def test_a_job_without_an_id_that_has_not_succeeded_is_not_done(request_: Any, status: str) -> None:
    assert isinstance(read(request_, {"success": True, "id": INVOICE, "jobStatus": status}), MalformedResponse)


@pytest.mark.parametrize(
    ("request_", "document"),
    [
        (QUERIES, {"success": True}),
        (QUERIES, {"status": "submitted"}),
        (QUERIES, {"id": None, "status": "submitted"}),
        (PDFS, {"success": True}),
        (PDFS, {"success": True, "invalidIds": [INVOICE]}),
        (PDFS, {"success": True, "jobId": ""}),
        (DELETE, {"id": INVOICE}),
        (DELETE, {}),
        (APPLY, {"success": True}),
        (APPLY, {"id": JOB}),
        *[(request, document) for request in ALL for document in NONSENSE],
    ],
)  # fmt: skip
def test_an_answer_that_names_no_job_leaves_it_open_whether_there_is_one(request_: Any, document: Any) -> None:
    assert isinstance(read(request_, document), MalformedResponse)


@pytest.mark.parametrize("identifier", ["a b", "../x", "x" * 129, "ü", "-x", "a/b"])
@pytest.mark.parametrize("request_", ALL, ids=name_of)
def test_a_job_whose_id_can_be_none_leaves_it_open_as_well(request_: Any, identifier: str) -> None:
    document = {"success": True, "id": identifier, "jobId": identifier, "status": "submitted", "jobStatus": "Pending"}
    error = read(request_, document)
    assert isinstance(error, MalformedResponse)
    assert error.problems == ("an id of a job that can be none",)


# --- refusals


@pytest.mark.parametrize("request_", ALL, ids=name_of)
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("code", [50000020, "50000020"], ids=["number", "text"])
def test_a_refusal_says_why_under_any_http_status(request_: Any, status: int, code: Any) -> None:
    error = read(request_, {"success": False, "reasons": [{"code": code, "message": "no such field"}]}, status)
    assert type(error) is Rejected
    assert (error.code, error.status) == ("50000020", status)
    assert "no such field" in str(error)


@pytest.mark.parametrize("request_", ALL, ids=name_of)
@pytest.mark.parametrize("document", [{"success": False}, {"success": False, "reasons": []}, {"success": "false"}])
def test_a_refusal_without_a_reason_is_one_too(request_: Any, document: Any) -> None:
    assert type(read(request_, document)) is Rejected


@pytest.mark.parametrize(
    ("code", "error"),
    [(50000040, NotFound), (50000050, ServerError), (50000061, ServerError), (50000070, RateLimited)],
)
@pytest.mark.parametrize("request_", ALL, ids=name_of)
def test_the_code_says_what_kind_of_refusal_it_is(request_: Any, code: int, error: Any) -> None:
    assert type(read(request_, {"success": False, "reasons": [{"code": code, "message": "no"}]})) is error


def test_a_refusal_that_names_the_invoice_is_no_job() -> None:
    document = {"success": False, "id": INVOICE, "reasons": [{"code": 50000050, "message": "locked"}]}
    error = read(DELETE, document)
    assert isinstance(error, ApiError)
    assert error.categories == {50}


@pytest.mark.parametrize(
    "document",
    [
        {"status": "error", "errorCode": "90005", "message": "There is a syntax error in one of the queries"},
        {"status": "error", "errorCode": 90005, "message": "There is a syntax error in one of the queries", "id": None},
        {"success": False, "code": 50000020, "message": "There is a syntax error in one of the queries"},
    ],
    ids=["text", "number", "flat"],
)
def test_aqua_refuses_queries_under_200_without_an_id(document: Any) -> None:
    error = read(QUERIES, document)
    assert type(error) is Rejected
    assert "syntax error" in str(error)
    assert error.code in {"90005", "50000020"}


# --- the answer that comes again under 409


@pytest.mark.parametrize(
    ("request_", "document"),
    [(QUERIES, {"id": JOB, "status": "submitted"}), (PDFS, {"success": True, "jobId": JOB, "invalidIds": []})],
    ids=name_of,
)
def test_the_first_answer_again_under_409_is_the_answer(request_: Any, document: Any) -> None:
    assert read(request_, document, 409).handle.id == JOB


@pytest.mark.parametrize("request_", [DELETE, REVERSE, APPLY], ids=name_of)
def test_what_bears_no_key_has_no_first_answer(request_: Any) -> None:
    document = {"success": True, "id": JOB, "jobId": JOB, "status": "Pending", "jobStatus": "Pending"}
    assert isinstance(read(request_, document, 409), ApiError)


@pytest.mark.parametrize("document", [{}, {"message": "in progress"}, {"success": False}, [], b"", b"<html>"])
@pytest.mark.parametrize("request_", [QUERIES, PDFS], ids=name_of)
def test_a_conflict_that_names_no_job_is_a_refusal(request_: Any, document: Any) -> None:
    error = read(request_, document, 409)
    assert isinstance(error, ApiError)
    assert error.status == 409


# --- anything at all

texts = st.text(max_size=12) | st.sampled_from(
    [JOB, INVOICE, "Completed", "Pending", "submitted", "error", "90005", ""]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
wire_names = ["id", "jobId", "status", "jobStatus", "success", "reasons", "errorCode", "message", "objectId", "operationType",
         "code", "batches", "invalidIds", "creditMemo", "requestId", "processId"]  # fmt: skip
documents = st.dictionaries(st.sampled_from(wire_names), values, max_size=7)


@given(st.sampled_from(ALL), documents | values, st.sampled_from([200, 201, 202, 400, 404, 409, 422, 429, 500, 503]))
def test_whatever_comes_is_a_job_a_refusal_or_makes_no_sense(request_: Any, document: Any, status: int) -> None:
    result = read(request_, document, status)  # lets nothing else pass
    if not isinstance(result, Exception):
        assert status < 300 or (status == 409 and request_ in (QUERIES, PDFS))
        if result.handle is None:
            assert request_ in (DELETE, REVERSE)
            assert document["success"] in {True, "true"} or document["success"].casefold() == "true"
        else:
            assert result.handle.id in {str(document.get("id")), str(document.get("jobId"))}
            assert request_ is not PDFS or result.handle.id == str(document["jobId"])


# --- what is uncertain


@pytest.mark.parametrize("request_", ALL, ids=name_of)
def test_what_is_uncertain_says_so_in_whole_sentences(request_: Any) -> None:
    error = uncertain("no answer within 30 s", request_, "key-1" if request_ in (QUERIES, PDFS) else None)
    assert type(error) is SubmitUncertain
    assert "no answer within 30 s" in str(error)
    assert error.find_out in str(error)
    assert ("key-1" in str(error)) == (request_ in (QUERIES, PDFS))
    assert error.request is request_
    assert "{key}" not in str(error)
    if key_of(request_):
        assert key_of(request_) in error.find_out


# --- what users write as JSON


def written(model: Any, document: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        wire.request_from(model, document)
    return str(caught.value)


@pytest.mark.parametrize("request_", ALL, ids=name_of)
def test_what_is_sent_can_be_read_back_from_json(request_: Any) -> None:
    row = submit_kind(request_)
    key = {name: key_of(request_) for name in ("invoiceKey", "creditMemoKey") if row.key_field and key_of(request_)}
    key = {name: value for name, value in key.items() if name in wire._wire_names(type(request_)).values()}
    document = {**wire.request_fields(request_), **key}
    assert wire.request_from(type(request_), document) == request_


QUERY = {"name": "q", "query": "select Id from Account"}
DOCUMENT = {"docType": "Invoice", "objectIds": ["a"]}
AMOUNT = {"invoiceId": "a", "amount": 1}


@pytest.mark.parametrize(
    ("model", "document", "told"),
    [
        (RunQueries, {}, "the field 'queries' is missing"),
        (RunQueries, {"queries": [QUERY], "nam": "x"}, "there is no field nam; there are queries, name, format"),
        (RunQueries, {"queries": [QUERY], "useQueryLabels": 1}, "expected true or false, got a number"),
        (RunQueries, {"queries": [QUERY], "use_query_labels": True}, "there is no field use_query_labels"),
        (RunQueries, {"queries": [{"name": "q"}]}, "the field 'query' is missing"),
        (RunQueries, {"queries": [{**QUERY, "typ": "zoql"}]}, "there is no field typ; there are name, query, type"),
        (RunQueries, {"queries": QUERY}, "expected a list, got an object"),
        (RunQueries, {"queries": None}, "expected a list, got null"),
        (RunQueries, {"queries": "select"}, "expected a list, got text"),
        (RunQueries, {"queries": ["select"]}, "expected an object, got text"),
        (RunQueries, {"queries": [QUERY], "offset": "60", "partner": "p", "project": "q"}, "expected a whole number"),
        (RunQueries, {"queries": [QUERY], "name": 5}, "expected text, got a number"),
        (RunQueries, {"queries": [QUERY], "format": "json"}, "format must be one of csv, zip, gzip"),
        (ZipPdfs, {"documents": [DOCUMENT]}, "the field 'fileName' is missing"),
        (ZipPdfs, {"documents": [{"docType": "Invoice", "objectIds": "2c92"}], "fileName": "z"}, "expected a list"),
        (ZipPdfs, {"documents": [{"docType": "Invoice", "objectIds": [1]}], "fileName": "z"}, "expected text"),
        (ZipPdfs, {"documents": [DOCUMENT], "fileName": "z", "generateMissingPdf": True}, "generateMissingPDF"),
        (DeleteInvoice, {}, "the field 'invoiceKey' is missing"),
        (DeleteInvoice, {"invoiceKey": "a/b"}, "cannot be the id or number"),
        (ReverseInvoice, {"invoiceKey": "a", "memoDate": 5}, "memo_date must be a date"),
        (ReverseInvoice, {"invoiceKey": "a", "memoDate": "tomorrow"}, "'tomorrow' is no date"),
        (ApplyCreditMemo, {"creditMemoKey": "C", "invoices": [{"amount": 1}]}, "an amount needs an invoice"),
        (ApplyCreditMemo, {"creditMemoKey": "C", "invoices": [{"invoiceId": "a", "amount": 1.5}]}, "is a float"),
        (ApplyCreditMemo, {"creditMemoKey": "C", "invoices": [{"invoiceId": "a", "amount": None}]}, "more than nothing"),
        (ApplyCreditMemo, {"creditMemoKey": "C", "invoices": [5]}, "expected an object, got a number"),
        (UnapplyCreditMemo, {"invoices": [AMOUNT]}, "the field 'creditMemoKey' is missing"),
        *[(model, odd, "expected an object") for model in (RunQueries, DeleteInvoice) for odd in NO_OBJECTS],
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_zuoras_own_names(model: Any, document: Any, told: str) -> None:
    message = written(model, document)
    assert told in message
    assert "object has no attribute" not in message
    assert "not iterable" not in message


def test_a_missing_field_is_told_with_all_others_that_are_wrong() -> None:
    message = written(RunQueries, {"queries": [{"nam": "q"}], "name": 5})
    assert "expected text, got a number" in message
    assert "name" in message
