"""Requests as values, and decipher(): whatever Zuora answers becomes a document or one of our exceptions."""

from __future__ import annotations

import json
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from zuora_jobs.errors import (
    ApiError,
    ConfigurationError,
    Forbidden,
    MalformedResponse,
    NotFound,
    RateLimited,
    Reason,
    Rejected,
    ServerError,
    Unauthorized,
    ZuoraJobsError,
)
from zuora_jobs.protocol.kinds import AQUA, BULK_PDF, CREDIT_MEMO_APPLY, KINDS, OPERATION, JobKind, Phase
from zuora_jobs.protocol.messages import (
    Request,
    Response,
    cancel_request,
    decipher,
    fault,
    invoice_request,
    job_headers,
    job_request,
    retry_after,
    token_request,
)
from zuora_jobs.protocol.models import Invoice
from zuora_jobs.settings import Settings

SAMPLES = Path(__file__).parents[1] / "samples"
ID = "2c92c8955bd63cc1015bd7c151af02ab"
TENANT = Settings(base_url="https://rest.test.zuora.com", access_token="canary-token")
EVERYTHING = Settings(
    base_url="https://rest.test.zuora.com",
    client_id="client",
    client_secret="canary-secret",
    entity_id="entity-1",
    org_ids=("org-1", "org-2"),
    zuora_version="2025-08-12",
    wsdl_version="127",
    track_id="batch 7",
)


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(status, headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def ask(kind: JobKind[Any], response: Response) -> Any:
    return decipher(job_request(kind.handle(ID), {}), response, kind.model)


def refusal(kind: JobKind[Any], status: int, body: Any, headers: dict[str, str] | None = None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        ask(kind, answer(status, body, headers))
    return caught.value


# --- what is asked


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (OPERATION, f"/v1/operations/jobs/{ID}"),
        (BULK_PDF, f"/v1/operations/bulk-pdf/{ID}"),
        (AQUA, f"/v1/batch-query/jobs/{ID}"),
        (CREDIT_MEMO_APPLY, f"/v1/credit-memos/apply-async-jobs/{ID}"),
    ],
)
def test_a_job_is_asked_for_by_its_kinds_path(kind: JobKind[Any], path: str) -> None:
    request = job_request(kind.handle(ID), {"Zuora-Track-Id": "t"})
    assert (request.method, request.path, request.query, request.body) == ("GET", path, "", None)
    assert request.headers == {"Zuora-Track-Id": "t"}
    assert request.kind is kind
    assert request.may_be_repeated


def test_an_aqua_job_is_cancelled_by_delete() -> None:
    request = cancel_request(AQUA.handle(ID), {})
    assert (request.method, request.path) == ("DELETE", f"/v1/batch-query/jobs/{ID}")
    assert request.may_be_repeated


COMMON = {"Zuora-Track-Id": "batch 7", "Zuora-Entity-Ids": "entity-1", "Zuora-Version": "2025-08-12"}


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        (OPERATION, {**COMMON, "Zuora-Org-Ids": "org-1,org-2"}),
        (BULK_PDF, COMMON),
        (AQUA, {**COMMON, "Zuora-Org-Ids": "org-1,org-2"}),
        (CREDIT_MEMO_APPLY, {**COMMON, "Zuora-Org-Ids": "org-1,org-2"}),
    ],
)
def test_each_family_is_sent_the_headers_its_page_offers(kind: JobKind[Any], headers: dict[str, str]) -> None:
    assert job_headers(EVERYTHING, kind) == headers
    assert job_headers(TENANT, kind) == {}


def test_the_invoice_is_sent_the_headers_its_page_offers() -> None:
    assert invoice_request(EVERYTHING, ID, None).headers == {
        "Zuora-Track-Id": "batch 7",
        "Zuora-Entity-Ids": "entity-1",
        "X-Zuora-WSDL-Version": "127",
    }
    assert invoice_request(TENANT, ID, None).headers == {}


@pytest.mark.parametrize(
    ("fields", "query"),
    [
        (None, ""),
        ([], ""),
        (["Id"], "fields=Id"),
        (["Id", "Balance"], "fields=Id,Balance"),
        (("Id", "CostCentre__c", "IntegrationId__NS"), "fields=Id,CostCentre__c,IntegrationId__NS"),
        (iter(["Id", "Status"]), "fields=Id,Status"),
    ],
    ids=["none", "empty", "one", "list", "tuple", "iterator"],
)
def test_the_invoice_is_asked_for_by_its_path_and_fields(fields: Any, query: str) -> None:
    request = invoice_request(TENANT, ID, fields)
    assert (request.method, request.path, request.query) == ("GET", f"/v1/object/invoice/{ID}", query)
    assert request.kind is None


@pytest.mark.parametrize("bad", ["", "..", "a/b", "a?b", "a#b", "a%2fb", "a b", "a\n", "é", "{id}", "a" * 129, None, 7])
def test_an_invoices_id_never_changes_the_path(bad: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the id of an invoice"):
        invoice_request(TENANT, bad, None)


@pytest.mark.parametrize("bad", ["", "Id,Balance", "Id&x=1", "a b", "Id\n", "1st", "é", "a#b", "a%26", None, 7])
def test_a_field_that_cannot_be_one_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of an invoice's field"):
        invoice_request(TENANT, ID, ["Id", bad])


def test_fields_given_as_one_text_are_refused_with_a_hint() -> None:
    with pytest.raises(ConfigurationError, match=r"\['Id', 'Balance'\]"):
        invoice_request(TENANT, ID, "Id,Balance")


def test_the_token_is_asked_for_with_a_form_and_without_authorization() -> None:
    request = token_request(EVERYTHING)
    assert (request.method, request.path, request.authorization) == ("POST", "/oauth/token", None)
    assert request.body == b"client_id=client&client_secret=canary-secret&grant_type=client_credentials"
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "X-Zuora-WSDL-Version" not in request.headers


def test_a_secret_with_signs_in_it_is_quoted_in_the_form() -> None:
    tenant = Settings(base_url="https://rest.zuora.com", client_id="c", client_secret="a&b=c+d%/é"[:-1])
    assert token_request(tenant).body == (
        b"client_id=c&client_secret=a%26b%3Dc%2Bd%25%2F&grant_type=client_credentials"
    )


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "HEAD"])
def test_an_idempotency_key_is_for_post_only(method: str) -> None:
    with pytest.raises(ConfigurationError, match=f"refuses an Idempotency-Key on {method}"):
        Request(method, "/v1/batch-query/", headers={"Idempotency-Key": "k"})


@pytest.mark.parametrize(("length", "fits"), [(0, False), (1, True), (255, True), (256, False)])
def test_an_idempotency_key_has_1_to_255_characters(length: int, fits: bool) -> None:
    headers = {"Idempotency-Key": "k" * length}
    if fits:
        assert Request("POST", "/", headers=headers).may_be_repeated
    else:
        with pytest.raises(ConfigurationError, match="1 to 255 visible ASCII characters"):
            Request("POST", "/", headers=headers)


@pytest.mark.parametrize(("method", "may"), [("GET", True), ("DELETE", True), ("POST", False), ("PUT", False)])
def test_a_post_without_a_key_may_not_be_sent_twice(method: str, may: bool) -> None:
    assert Request(method, "/").may_be_repeated is may


# --- secrets


def test_no_request_shows_a_token_or_a_secret() -> None:
    asked = Request("GET", "/v1/x", authorization="Bearer canary-token")
    for request in (asked, token_request(EVERYTHING), job_request(AQUA.handle(ID), job_headers(EVERYTHING, AQUA))):
        assert "canary" not in repr(request)
        assert "canary" not in str(request)
        assert request.path in repr(request)


def test_no_answer_shows_its_body() -> None:
    response = answer(200, {"access_token": "canary"})
    assert response.json == {"access_token": "canary"}
    assert "canary" not in repr(response)
    assert "canary" not in str(response)


URL = "https://s3.us-west-2.amazonaws.com/x_1.zip?X-Amz-Signature=canary"
WHOLE = json.dumps({"status": "Completed", "fileUrls": [URL, URL], "success": True}).encode()


@pytest.mark.parametrize("length", [40, 60, 90, len(WHOLE) - 1])
@pytest.mark.parametrize("status", [200, 500, 502, 401, 404, 429])
def test_a_truncated_bulk_pdf_answer_leaks_no_url(length: int, status: int) -> None:
    with pytest.raises(ZuoraJobsError) as caught:
        ask(BULK_PDF, answer(status, WHOLE[:length], {"content-type": "application/json"}))
    assert isinstance(caught.value, MalformedResponse) is (status == 200)
    for text in (str(caught.value), repr(caught.value), "".join(traceback.format_exception(caught.value))):
        assert "canary" not in text
        assert "amazonaws" not in text


@pytest.mark.parametrize(
    "body",
    [
        {"fileUrls": [URL]},
        {"status": "Completed", "fileUrls": [URL], "success": False},
        {"status": "Completed", "fileUrls": [URL], "success": "false"},
        {"status": 5, "fileUrls": [URL]},
        [URL],
        {"access_token": "canary", "status": 5},
        {"refresh_token": "canary"},
    ],
)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_no_refusal_and_no_malformed_answer_leaks_a_url_or_a_token(body: Any, status: int) -> None:
    with pytest.raises(ZuoraJobsError) as caught:
        ask(BULK_PDF, answer(status, body))
    for text in (str(caught.value), repr(caught.value), "".join(traceback.format_exception(caught.value))):
        assert "canary" not in text


# --- the eleven shapes of a no (zuora-api.md 1.7)

CLASSIC = {
    "success": False,
    "processId": "3F7EA3FD706C7E7C",
    "reasons": [{"code": 53100320, "message": "'termType' value should be one of: TERMED, EVERGREEN"}],
}
NEWER = {**CLASSIC, "requestId": "fe4cdbe9-3b62-4e1f-a0a2-2e1c8b9d7b11"}
CLASSIC_READ = (Reason("53100320", "'termType' value should be one of: TERMED, EVERGREEN"),)
RATE = {"reasons": [{"code": 70, "message": "API Rate limit exceeded for the minute, retry after 600 seconds"}]}
TOO_LARGE = b'<?xml version="1.0" encoding="UTF-8"?>\n<security:max-object-size>2047MB</security:max-object-size>'
BAD_GATEWAY = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>canary</body></html>"


@pytest.mark.parametrize("status", [200, 400, 409, 422])
def test_shape_1_and_2_classic_v1_is_a_refusal_under_200_and_under_4xx(status: int) -> None:
    error = refusal(OPERATION, status, NEWER)
    assert type(error) is Rejected
    assert (error.status, error.code, error.reasons) == (status, "53100320", CLASSIC_READ)
    assert error.request_id == "fe4cdbe9-3b62-4e1f-a0a2-2e1c8b9d7b11"
    assert error.retry_after is None
    assert "53100320: 'termType' value" in str(error)
    assert "fe4cdbe9-3b62-4e1f-a0a2-2e1c8b9d7b11" in str(error)
    assert f"GET /v1/operations/jobs/{ID}: HTTP {status}" in str(error)


@pytest.mark.parametrize("code", [50000040, "50000040"], ids=repr)
@pytest.mark.parametrize("status", [200, 400, 404])
def test_not_found_is_not_found_under_200_and_under_404(status: int, code: Any) -> None:
    body = {
        "success": False,
        "processId": "p",
        "reasons": [{"code": code, "message": "Cannot find entity by key: '1'."}],
    }
    error = refusal(OPERATION, status, body)
    assert type(error) is NotFound
    assert error.code == "50000040"


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize(
    ("category", "expected"),
    [
        (10, Forbidden),
        (11, Unauthorized),
        (20, Rejected),
        (21, Rejected),
        (22, Rejected),
        (23, Rejected),
        (27, Rejected),
        (30, Rejected),
        (40, NotFound),
        (45, Rejected),
        (50, ServerError),
        (60, ServerError),
        (61, ServerError),
        (70, RateLimited),
        (90, Rejected),
        (99, ServerError),
    ],
)
def test_the_last_two_digits_of_a_code_say_what_kind_of_no_it_is(
    kind: JobKind[Any], category: int, expected: type[ApiError]
) -> None:
    for code in (50000000 + category, f"531003{category}"):
        body = {"success": False, "reasons": [{"code": code, "message": "m"}]}
        error = refusal(kind, 200, body)
        assert type(error) is expected
        assert error.categories == {category}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("90000011", Unauthorized),
        ("ObjectNotFound", NotFound),
        ("58730222", Rejected),
        ("SomethingNew", ServerError),
    ],
)
def test_shape_3_reasons_without_success_under_500(code: str, expected: type[ApiError]) -> None:
    message = "Notification definition with id 6e569e1e05f040eda51a927b140c0ac1 does not exist"
    error = refusal(OPERATION, 500, {"reasons": [{"code": code, "message": message}]})
    assert type(error) is (ServerError if code == "58730222" else expected)
    assert (error.code, error.status) == (code, 500)
    assert message in str(error)


def test_shape_3_reasons_without_success_from_the_gateway_under_429() -> None:
    error = refusal(AQUA, 429, RATE, {"ratelimit-reset": "37"})
    assert type(error) is RateLimited
    assert (error.code, error.retry_after) == ("70", 37.0)
    assert error.categories == {70}


def test_shape_3_too_many_at_once_under_429() -> None:
    body = {"reasons": [{"code": 50000070, "message": "Request exceeded limit"}]}
    error = refusal(AQUA, 429, body, {"retry-after": "120", "ratelimit-reset": "3"})
    assert type(error) is RateLimited
    assert (error.code, error.retry_after) == ("50000070", 120.0)


def test_reasons_without_success_are_a_refusal_under_200_too() -> None:
    assert type(refusal(AQUA, 200, RATE)) is RateLimited


@pytest.mark.parametrize("message", ["Authentication error", "Failed to get user info"])
@pytest.mark.parametrize("kind", KINDS.values())
def test_shape_4_a_message_alone_under_401(kind: JobKind[Any], message: str) -> None:
    error = refusal(kind, 401, {"message": message}, {"zuora-request-id": "r-1"})
    assert type(error) is Unauthorized
    assert (error.code, error.reasons, error.request_id) == (None, (Reason(None, message),), "r-1")
    assert message in str(error)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, 90002, NotFound),
        (400, 90003, Rejected),
        (400, 90009, Forbidden),
        (403, 90018, Forbidden),
        (403, 12345, Forbidden),
        (400, 12345, Rejected),
        (400, 90005, Rejected),
    ],
)
def test_shape_5_code_and_message_of_aqua(status: int, code: int, expected: type[ApiError]) -> None:
    error = refusal(AQUA, status, {"code": code, "message": "no"})
    assert type(error) is expected
    assert (error.code, error.reasons) == (str(code), (Reason(str(code), "no"),))


@pytest.mark.parametrize("status", [200, 400])
def test_shape_6_success_false_with_a_flat_code(status: int) -> None:
    body = {"success": False, "code": 50000090, "message": "Oops, request is malformed"}
    error = refusal(AQUA, status, body)
    assert type(error) is Rejected
    assert error.reasons == (Reason("50000090", "Oops, request is malformed"),)


@pytest.mark.parametrize("code", ["90004", "90005", "90014", "90017"])
def test_shape_7_aquas_validation_under_200_is_a_job_that_failed(code: str) -> None:
    job = ask(AQUA, answer(200, {"status": "error", "errorCode": code, "message": "There is a syntax error"}))
    assert AQUA.phase(job.status) is Phase.FAILED
    assert job.id is None
    assert AQUA.reasons(job) == (Reason(code, "There is a syntax error"),)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "90000011", Unauthorized),  # invalid credential
        (404, 50000050, ServerError),  # lock contention passes; a not-found would end the watch
        (401, 50000010, Forbidden),
        (400, 50000070, RateLimited),
        (500, 50000040, NotFound),
    ],
)
def test_what_zuora_says_goes_before_what_http_says(status: int, code: Any, expected: type[ApiError]) -> None:
    error = refusal(OPERATION, status, {"success": False, "reasons": [{"code": code, "message": "m"}]})
    assert type(error) is expected
    assert error.status == status


@pytest.mark.parametrize("spelt", [str, int])
@pytest.mark.parametrize(
    ("code", "expected"),
    [(90001, NotFound), (90002, NotFound), (90003, Rejected), (90009, Forbidden), (90010, ServerError)],
)
def test_shape_7_with_a_code_about_the_call_is_a_refusal(code: int, spelt: type, expected: type[ApiError]) -> None:
    error = refusal(AQUA, 200, {"id": None, "status": "error", "errorCode": spelt(code), "message": "Invalid job id"})
    assert type(error) is expected
    assert error.reasons == (Reason(str(code), "Invalid job id"),)


def test_a_refused_cancel_is_a_refusal() -> None:
    request = cancel_request(AQUA.handle(ID), {})
    body = {"status": "error", "errorCode": "90003", "message": "The job has ended"}
    with pytest.raises(Rejected, match=f"DELETE /v1/batch-query/jobs/{ID}: HTTP 200: 90003: The job has ended"):
        decipher(request, answer(200, body), AQUA.model)


@pytest.mark.parametrize("status", [200, 400])
def test_shape_8_capital_errors_of_crud(status: int) -> None:
    body = {"Errors": [{"Code": "INVALID_VALUE", "Message": "SourceType needs 118"}, {"Code": "B"}], "Success": False}
    with pytest.raises(Rejected) as caught:
        decipher(invoice_request(TENANT, ID, None), answer(status, body), Invoice)
    assert caught.value.reasons == (Reason("INVALID_VALUE", "SourceType needs 118"), Reason("B", None))
    assert caught.value.code == "INVALID_VALUE"


@pytest.mark.parametrize("status", [200, 404])
def test_shape_9_done_records_size_is_not_found(status: int) -> None:
    with pytest.raises(NotFound) as caught:
        decipher(invoice_request(TENANT, ID, None), answer(status, {"done": True, "records": [], "size": 0}), Invoice)
    assert caught.value.status == status
    assert caught.value.code is None


def test_shape_10_xml_of_a_file_too_large_under_403() -> None:
    error = refusal(AQUA, 403, TOO_LARGE, {"content-type": "application/xml"})
    assert type(error) is Forbidden
    assert error.code == "security:max-object-size"
    assert "2047 MB" in str(error)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize("body", [BAD_GATEWAY, b"", b"upstream timed out", b"\xff\xfe\x00", b"[]", b"null", b'"down"'])
def test_shape_11_html_text_or_nothing_from_a_gateway(status: int, body: bytes) -> None:
    error = refusal(OPERATION, status, body, {"content-type": "text/html; charset=utf-8", "zuora-request-id": "r-9"})
    assert type(error) is ServerError
    assert (error.status, error.reasons, error.code, error.request_id) == (status, (), None, "r-9")
    assert f"HTTP {status}: no reason given" in str(error)
    assert "canary" not in str(error)


def test_a_gateways_page_is_told_by_its_title() -> None:
    assert "'502 Bad Gateway'" in str(refusal(OPERATION, 502, BAD_GATEWAY))
    assert "an empty body" in str(refusal(OPERATION, 504, b""))
    assert "(text/plain)" in str(refusal(OPERATION, 504, b"x", {"content-type": "text/plain;charset=utf-8"}))


@pytest.mark.parametrize("body", [BAD_GATEWAY, b"", b"OK", TOO_LARGE])
@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_no_json_under_2xx_is_malformed(status: int, body: bytes) -> None:
    with pytest.raises(MalformedResponse, match=f"GET /v1/operations/jobs/{ID}: the answer is not JSON"):
        ask(OPERATION, answer(status, body))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, Rejected),
        (304, Rejected),
        (400, Rejected),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (405, Rejected),
        (409, Rejected),
        (422, Rejected),
        (429, RateLimited),
        (500, ServerError),
        (503, ServerError),
    ],
)
@pytest.mark.parametrize("body", [b"{}", b"", b"<p>no</p>", b'{"status": "Completed", "success": true}'])
def test_without_a_reason_http_decides(status: int, expected: type[ApiError], body: bytes) -> None:
    assert type(refusal(OPERATION, status, body)) is expected


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": "invalid_client", "error_description": "Bad credentials"}, "invalid_client"),
        ({"code": "invalid_client", "message": "Bad credentials"}, "invalid_client"),
    ],
)
@pytest.mark.parametrize("status", [400, 401])
def test_the_token_endpoints_errors_are_read_in_either_form(body: Any, code: str, status: int) -> None:
    error = fault(token_request(EVERYTHING), answer(status, body))
    assert isinstance(error, Unauthorized)
    assert error.reasons == (Reason(code, "Bad credentials"),)
    assert "canary" not in str(error)


def test_a_token_is_no_fault() -> None:
    body = {"access_token": "t", "token_type": "bearer", "expires_in": 3598, "scope": "x", "jti": "y"}
    assert fault(token_request(EVERYTHING), answer(200, body)) is None


# --- a document, or a refusal: two levels of success


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (OPERATION, "operation"),
        (BULK_PDF, "bulk-pdf"),
        (AQUA, "aqua-cancelled"),
        (CREDIT_MEMO_APPLY, "credit-memo-apply"),
    ],
)
def test_the_vendors_samples_are_documents(kind: JobKind[Any], name: str) -> None:
    body = (SAMPLES / f"{name}.json").read_bytes()
    job = ask(kind, answer(200, body))
    assert type(job) is kind.model
    assert job.raw == json.loads(body)


def test_the_invoice_is_read_without_rounding() -> None:
    body = (SAMPLES / "invoice.json").read_bytes()
    invoice = decipher(invoice_request(TENANT, ID, None), answer(200, body), Invoice)
    assert invoice.balance == Decimal("0.1")
    assert str(invoice.credit_memo_amount) == "9999999999.999999999"
    assert str(invoice.raw["Amount"]) == "10.10"
    assert invoice.custom_fields["CostCentre__c"] == "4711"


@pytest.mark.parametrize(
    ("kind", "status"), [(OPERATION, "Failed"), (BULK_PDF, "Aborted"), (CREDIT_MEMO_APPLY, "Error"), (AQUA, "aborted")]
)
@pytest.mark.parametrize("success", [True, False])
def test_a_failed_job_is_a_document_whatever_success_says(kind: JobKind[Any], status: str, success: bool) -> None:
    job = ask(kind, answer(200, {"id": ID, "status": status, "success": success, "reasons": [{"code": 1}]}))
    assert kind.phase(job.status) is Phase.FAILED


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (kind, status)
        for kind in KINDS.values()
        for status in (*kind.succeeded, *kind.partial, *kind.running, *kind.pending, "Brand New")
    ],
)
def test_success_false_is_a_refusal_and_never_a_success_or_a_job_on_its_way(kind: JobKind[Any], status: str) -> None:
    for key in ("success", "Success"):
        with pytest.raises(ApiError):
            ask(kind, answer(200, {"id": ID, "status": status, key: False}))


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize("status", ["Brand New", "Paused"])
def test_an_invented_status_is_still_a_document(kind: JobKind[Any], status: str) -> None:
    assert ask(kind, answer(200, {"id": ID, "status": status, "success": True})).status == status


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"success": True},
        {"id": ID, "success": True},
        {"id": ID, "status": None},
        {"id": ID, "status": 1},
        {"success": True, "reasons": []},
        [],
        None,
        "Completed",
        {"jobStatus": "Completed", "id": ID},
    ],
    ids=json.dumps,
)
def test_no_status_is_malformed_and_never_a_success(kind: JobKind[Any], body: Any) -> None:
    with pytest.raises(MalformedResponse) as caught:
        ask(kind, answer(200, body))
    assert caught.value.problems


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_job_whose_captions_are_null_is_a_document(kind: JobKind[Any]) -> None:
    body = {
        "id": ID,
        "status": "Error",
        "error": None,
        "message": None,
        "errorCode": None,
        "code": None,
        "reasons": None,
    }
    assert ask(kind, answer(200, body)).status == "Error"


def test_a_running_job_may_carry_a_message() -> None:
    assert ask(AQUA, answer(200, {"id": ID, "status": "executing", "message": "on its way"})).message == "on its way"


def test_an_empty_message_is_no_refusal() -> None:
    with pytest.raises(MalformedResponse):
        ask(AQUA, answer(200, {"id": ID, "message": "", "batches": []}))


@pytest.mark.parametrize("success", ["false", 0, "no", []])
@pytest.mark.parametrize("kind", KINDS.values())
def test_success_that_is_no_boolean_never_gives_a_success(kind: JobKind[Any], success: Any) -> None:
    with pytest.raises(ZuoraJobsError):
        ask(kind, answer(200, {"id": ID, "status": kind.succeeded[0], "success": success}))


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ({"message": "Authentication error"}, 401, Unauthorized),
        ({"message": "Failed to get user info"}, 401, Unauthorized),
        ({"done": True, "records": [], "size": 0}, 404, NotFound),
        ({"done": True, "records": None, "size": 0}, 404, NotFound),
    ],
)
def test_the_invoices_401_and_404_are_told_apart(body: Any, status: int, expected: type[ApiError]) -> None:
    with pytest.raises(expected) as caught:
        decipher(invoice_request(TENANT, ID, None), answer(status, body), Invoice)
    assert type(caught.value) is expected


def test_nothing_is_not_read_as_an_empty_invoice() -> None:
    with pytest.raises(MalformedResponse):
        decipher(invoice_request(TENANT, ID, None), answer(200, {}), Invoice)


# --- request ids and log lines


@pytest.mark.parametrize(
    ("headers", "body", "request_id"),
    [
        ({"zuora-request-id": "h"}, {"requestId": "b"}, "h"),
        ({}, {"requestId": "b"}, "b"),
        ({}, {"requestId": 7}, None),
        ({}, {"requestId": ""}, None),
        ({}, {}, None),
        ({}, [], None),
    ],
)
def test_the_request_id_is_the_headers_or_the_bodys(headers: dict[str, str], body: Any, request_id: str | None) -> None:
    error = refusal(OPERATION, 500, body, headers)
    assert error.request_id == request_id
    assert ("request id" in str(error)) is (request_id is not None)


def test_headers_are_found_whatever_their_case() -> None:
    headers = CIMultiDict({"Zuora-Request-Id": "r", "Retry-After": "7"})
    with pytest.raises(ServerError) as caught:
        decipher(job_request(AQUA.handle(ID), {}), Response(503, headers, b""), AQUA.model)
    assert (caught.value.request_id, caught.value.retry_after) == ("r", 7.0)


NASTY = "first\nsecond\r\x1b[31mred\x00\u2028end " + "x" * 3000


@pytest.mark.parametrize(
    "body",
    [
        {"success": False, "reasons": [{"code": NASTY, "message": NASTY}] * 9},
        {"message": NASTY},
        {"Errors": [{"Code": NASTY}], "Success": False},
        {"error": NASTY, "error_description": NASTY},
        b"<title>" + NASTY.encode() + b"</title>",
    ],
)
def test_an_error_fits_one_log_line_whatever_zuora_writes(body: Any) -> None:
    text = str(refusal(OPERATION, 400, body))
    assert len(text) < 700
    assert text.isprintable()


def test_a_request_id_cannot_break_a_log_line() -> None:
    text = str(refusal(OPERATION, 400, {"requestId": "r-1\n2026-01-01 ERROR forged\x1b[31m"}))
    assert text.isprintable()


# --- when to come back

NOW = "Wed, 21 Oct 2026 07:27:00 GMT"


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (" 7 ", 7.0),
        ("-5", 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 60.0),
        ("Wed, 21 Oct 2026 07:26:00 GMT", 0.0),
        ("Wed, 21 Oct 2026 09:27:00 +0200", 0.0),
        ("Wed, 21 Oct 2026 08:28:30 +0100", 90.0),
        ("string", None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("NaN", None),
        ("inf", None),
        ("-inf", None),
        ("1e999", None),
        ("9" * 5000, None),
        ("0x10", None),
        ("5 seconds", None),
        ("Wed, 21 Oct 2026 07:28:00 -0000", 60.0),  # UTC, as is the old form without a zone
        ("Wed Oct 21 07:28:00 2026", 60.0),
        ("Wed, 99 Foo 2026 07:28:00 GMT", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        ("\x00", None),
    ],
)
def test_what_the_server_asks_is_read_or_left_alone(asked: str, seconds: float | None) -> None:
    for status in (429, 503, 200):
        assert retry_after(answer(status, b"", {"retry-after": asked, "date": NOW})) == seconds


@pytest.mark.parametrize("date", [None, "", "string", "yesterday"])
def test_a_date_without_the_answers_own_date_says_nothing(date: str | None) -> None:
    headers = {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"} | ({"date": date} if date is not None else {})
    assert retry_after(answer(503, b"", headers)) is None


@pytest.mark.parametrize(
    ("status", "reset", "seconds"),
    [
        (429, "37", 37.0),
        (429, "string", None),
        (429, "nan", None),
        (429, "-1", 0.0),
        (503, "37", None),
        (200, "3", None),
    ],
)
def test_the_rate_limits_reset_counts_on_a_429_only(status: int, reset: str, seconds: float | None) -> None:
    assert retry_after(answer(status, b"", {"ratelimit-reset": reset})) == seconds


def test_where_retry_after_is_garbled_the_reset_still_counts() -> None:
    assert retry_after(answer(429, b"", {"retry-after": "string", "ratelimit-reset": "37"})) == 37.0


NONSENSE = dict.fromkeys(
    (
        "ratelimit-limit",
        "ratelimit-remaining",
        "ratelimit-reset",
        "retry-after",
        "content-encoding",
        "content-type",
        "content-length",
        "date",
        "zuora-request-id",
        "zuora-track-id",
        "concurrency-limit-type",
        "concurrency-limit-limit",
        "concurrency-limit-remaining",
        "www-authenticate",
    ),
    "string",
)


@pytest.mark.parametrize("status", [200, 401, 429, 503])
def test_the_mock_servers_nonsense_headers_do_no_harm(status: int) -> None:
    response = answer(status, {"id": ID, "status": "Completed", "success": True}, NONSENSE)
    if status == 200:
        assert ask(OPERATION, response).status == "Completed"
    else:
        error = fault(job_request(OPERATION.handle(ID), {}), response)
        assert isinstance(error, ApiError)
        assert (error.retry_after, error.request_id) == (None, "string")


# --- anything at all

KEYS = st.sampled_from(
    [
        "status",
        "success",
        "Success",
        "reasons",
        "Errors",
        "code",
        "message",
        "errorCode",
        "error",
        "error_description",
        "id",
        "jobId",
        "requestId",
        "batches",
        "fileUrls",
        "failedDocuments",
        "recordCount",
        "done",
        "records",
        "size",
        "Id",
        "Amount",
        "Balance",
        "access_token",
        "version",
    ]
)
WORDS = st.sampled_from(
    [word for kind in KINDS.values() for word in (*kind.succeeded, *kind.partial, *kind.failed, *kind.running)]
    + ["90002", "50000040", "90000011", "", "\ud800", "Ω"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
BODIES = st.one_of(
    st.binary(max_size=60),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(KEYS, VALUES, max_size=6).map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {"status": WORDS | VALUES}, optional={"success": st.booleans() | VALUES, "id": SCALARS, "reasons": VALUES}
    ).map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries({"Id": SCALARS}, optional={"Amount": SCALARS}).map(lambda value: json.dumps(value).encode()),
)
HEADERS = st.dictionaries(
    st.sampled_from(sorted(NONSENSE)),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.datetimes().map(lambda moment: f"{moment:%a, %d %b %Y %H:%M:%S} GMT"),
    max_size=4,
)


@pytest.mark.unmeasured
@settings(max_examples=700, deadline=None)
@given(
    kind=st.sampled_from([*KINDS.values(), None]),
    status=st.sampled_from([200, 200, 200, 200, 201, 401, 404, 429, 500]) | st.integers(100, 599),
    headers=HEADERS,
    body=BODIES,
)
def test_any_answer_is_a_document_or_one_of_our_errors(
    kind: JobKind[Any] | None, status: int, headers: dict[str, str], body: bytes
) -> None:
    response = Response(status, headers, body)
    request = invoice_request(TENANT, ID, None) if kind is None else job_request(kind.handle(ID), {})
    model: type[Any] = Invoice if kind is None else kind.model
    try:
        document = decipher(request, response, model)
    except ApiError as refused:
        hint = refused.retry_after
        told = refused.status == status and (hint is None or 0 <= hint < float("inf"))
    except MalformedResponse:
        told = 200 <= status < 300
    else:
        told = type(document) is model and 200 <= status < 300
        if kind is not None:
            sent = json.loads(body)
            told &= isinstance(sent["status"], str) and document.status == sent["status"]
            if sent.get("success") is False or sent.get("Success") is False:
                told &= kind.phase(document.status) in {Phase.FAILED, Phase.CANCELLED}
    assert told
