"""Requests and answers as values, and the one place where an answer becomes a document or an exception.

What is a refusal, and of which class, `refusals.py` knows. No text of ours quotes a body that is not understood: it may
hold tokens or presigned URLs.

Sources: the seed pages named in `models.py`; https://developer.zuora.com/docs/guides/rate-limits for `retry_after`.
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

from attrs import field, frozen

from zuora_jobs.errors import ApiError, ConfigurationError, MalformedResponse, Reason
from zuora_jobs.protocol import refusals, wire
from zuora_jobs.protocol.jsontext import parse
from zuora_jobs.protocol.kinds import IDENTIFIER, JobHandle, JobKind, JobT
from zuora_jobs.protocol.secrets import without_secrets
from zuora_jobs.protocol.sighting import Sighting
from zuora_jobs.settings import is_secret_on_its_way
from zuora_jobs.timing import LONGEST_HOLD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zuora_jobs.errors import Unauthorized, ZuoraJobsError
    from zuora_jobs.protocol.models import ResultFile
    from zuora_jobs.settings import Settings

T = TypeVar("T")

LONGEST_IDEMPOTENCY_KEY: Final = 255

QUICK: Final = 30.0
"""Seconds for what Zuora only has to look up: how a job stands, a token. Only slow calls get the whole request timeout."""

LONGEST_WINDOW: Final = 86_400.0
"""Seconds of the longest window in which Zuora counts requests."""

_IDEMPOTENCY_KEY: Final = re.compile(rf"[!-~]{{1,{LONGEST_IDEMPOTENCY_KEY}}}", re.ASCII)
_FIELD_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_TITLE: Final = re.compile(rb"<title[^>]*>\s*([^<]{1,80})", re.IGNORECASE)


@frozen(slots=False)  # made for each poll, which takes half as long without
class Request:
    """What is asked of Zuora."""

    method: str
    path: str
    """From the root, already quoted."""
    query: str = ""
    """Already quoted, without the question mark."""
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes | None = field(default=None, repr=False)
    authorization: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False, eq=False)
    """What it bears that is never to be quoted, should an answer send it back."""
    kind: JobKind[Any] | None = None
    """The family whose document is asked for; None where no job is."""
    at_most: float | None = None
    """Seconds for the whole answer, where that is less than the settings allow; None: as they say."""
    submits: bool = False
    """Whether it begins a job, of which there would be two if it were sent twice without an Idempotency-Key."""
    url: str | None = field(default=None, repr=False)
    """Of another host: to be fetched as it is, without a token and outside the budget; *path* is then the URL's. None: Zuora."""
    sink: Any = field(default=None, repr=False, eq=False)
    """Takes the body of a good answer as it comes (`transport/pouring.py`); None: it is kept in memory."""
    permit: Any = field(default=None, repr=False, eq=False)
    """A place in the budget that has been taken for this request (`transport/limits.py`); None: it has still to be."""

    def __attrs_post_init__(self) -> None:
        if self.headers:
            self._check_idempotency_key()

    def _check_idempotency_key(self) -> None:
        key = next((value for name, value in self.headers.items() if name.lower() == "idempotency-key"), None)
        if key is not None and self.method != "POST":
            message = f"Zuora refuses an Idempotency-Key on {self.method}: it is for POST only"
            raise ConfigurationError(message)
        if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
            message = (
                f"an Idempotency-Key has 1 to {LONGEST_IDEMPOTENCY_KEY} visible ASCII characters, not {key[:40]!r}"
            )
            raise ConfigurationError(message)

    def bearing(self, token: str) -> Request:
        """Give the same request with a token. What has been checked is not checked again, as `evolve` would."""
        request = object.__new__(Request)
        request.__dict__.update(self.__dict__, authorization=f"Bearer {token}", secrets=(token,))
        return request

    @property
    def may_be_repeated(self) -> bool:
        """Whether sending it twice has the effect of sending it once."""
        return (self.method in {"GET", "DELETE"} and not self.submits) or "Idempotency-Key" in self.headers


@frozen(slots=False)
class Response:
    """What Zuora answered."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Looked up by lower-case names: of lower case, or ignoring case."""
    body: bytes = field(repr=False)
    poured: bool = False
    """Whether the body went into the request's sink."""
    cut: ZuoraJobsError | None = None
    """Why not all of it did. The answer itself was good: somebody is there, and took the token."""

    @property
    def json(self) -> Any:
        """The body, parsed once.

        Raises:
            MalformedResponse: it is not JSON.
        """
        known = self.__dict__
        if "json" not in known:
            known["json"] = parse(self.body)
        return known["json"]


def job_headers(settings: Settings, kind: JobKind[Any]) -> dict[str, str]:
    """Give the headers that the page of this family offers, where the settings have a value for them."""
    offered = {
        "Zuora-Track-Id": settings.track_id,
        "Zuora-Entity-Ids": settings.entity_id,
        "Zuora-Org-Ids": ",".join(settings.org_ids) if kind.org_scoped else None,
        "Zuora-Version": settings.zuora_version,
    }
    return {name: value for name, value in offered.items() if value}


def job_request(handle: JobHandle[Any], headers: Mapping[str, str], permit: object = None) -> Request:
    """Ask how a job stands. Wire: GET, the path in its kind's row."""
    kind = handle.kind
    path = kind.watch.replace("{id}", handle.id)
    return Request("GET", path, headers=headers, kind=kind, at_most=QUICK, permit=permit)


def cancel_request(handle: JobHandle[Any], headers: Mapping[str, str]) -> Request:
    """Ask for a job to be cancelled.

    Wire: DELETE /v1/batch-query/jobs/{jobid} -> the job's document
    https://developer.zuora.com/v1-api-reference/api/operation/DELETE_BatchQueryJob/
    """
    if handle.kind.cancel is None:
        raise AssertionError(handle)
    return Request("DELETE", handle.kind.cancel.format(id=handle.id), headers=headers, kind=handle.kind)


def invoice_request(settings: Settings, id: str, fields: Iterable[str] | None) -> Request:  # noqa: A002
    """Ask for an invoice.

    Wire: GET /v1/object/invoice/{id}?fields=A,B

    Raises:
        ConfigurationError: the id or a field's name has characters it cannot have.
    """
    if not isinstance(id, str) or not IDENTIFIER.fullmatch(id):
        message = f"{str(id)[:80]!r} cannot be the id of an invoice: it has 1 to 128 letters, digits, - or _"
        raise ConfigurationError(message)
    if isinstance(fields, str):
        message = f"fields must be a list of names, such as ['Id', 'Balance'], not the text {fields[:80]!r}"
        raise ConfigurationError(message)
    names = list(fields or ())
    for name in names:
        if not isinstance(name, str) or not _FIELD_NAME.fullmatch(name):
            message = f"{str(name)[:80]!r} cannot be the name of an invoice's field: use names such as Id or Balance"
            raise ConfigurationError(message)
    offered = {
        "Zuora-Track-Id": settings.track_id,
        "Zuora-Entity-Ids": settings.entity_id,
        "X-Zuora-WSDL-Version": settings.wsdl_version,
    }
    return Request(
        "GET",
        f"/v1/object/invoice/{id}",
        query=urlencode({"fields": ",".join(names)}, safe=",") if names else "",
        headers={name: value for name, value in offered.items() if value},
    )


def credit_memo_request(key: str, headers: Mapping[str, str]) -> Request:
    """Ask for a credit memo, by its id or number.

    Wire: GET /v1/credit-memos/{creditMemoKey}

    Raises:
        ConfigurationError: *key* cannot be one.
    """
    return Request("GET", f"/v1/credit-memos/{_checked_key(key, 'a credit memo')}", headers=headers)


def file_request(file: ResultFile, headers: Mapping[str, str]) -> Request:
    """Ask for a result file; the caller says from where on, and into which sink.

    Wire: GET /v1/files/{fileId}, or GET the presigned URL as it is
    https://developer.zuora.com/v1-api-reference/api/operation/GET_Files/

    Raises:
        MalformedResponse: what Zuora gave as an id or an URL can be none, or the URL is not secret on its way.
    """
    if file.url is None and file.file_id is not None and IDENTIFIER.fullmatch(file.file_id):
        return Request("GET", f"/v1/files/{file.file_id}", headers=headers)
    if file.url is None or not is_secret_on_its_way(file.url):
        what = "the id of a result file" if file.url is None else "the URL of a result file"
        problem = f"{what} that can be none"
        message = f"the job's document has {problem}"
        raise MalformedResponse(message, problems=[problem])
    return Request("GET", urlsplit(file.url).path or "/", url=file.url)


def check_poured(request: Request, response: Response) -> None:
    """Make sure that the answer to *request* was a file, and is in its sink.

    Raises:
        ApiError, MalformedResponse: as `decipher`; what comes instead of a file may be a document.
        ZuoraJobsError: why not all of it is there.
    """
    if error := fault(request, response) or response.cut:
        raise error
    if not response.poured:
        problem = "a document came instead of a file"
        message = f"{request.method} {request.path}: {problem}"
        raise MalformedResponse(message, problems=[problem])


def invoice_balance_request(key: str, headers: Mapping[str, str]) -> Request:
    """Ask what is left to be paid of an invoice, by its id or number.

    Wire: GET /v1/invoices/{invoiceKey}

    Raises:
        ConfigurationError: *key* cannot be one.
    """
    return Request("GET", f"/v1/invoices/{_checked_key(key, 'an invoice')}", headers=headers)


def _checked_key(key: object, of_what: str) -> str:
    if not isinstance(key, str) or not IDENTIFIER.fullmatch(key):
        message = f"{str(key)[:80]!r} cannot be the id or number of {of_what}: it has 1 to 128 letters, digits, - or _"
        raise ConfigurationError(message)
    return key


def token_request(settings: Settings) -> Request:
    """Ask for a bearer token.

    Wire: POST /oauth/token, form-encoded -> {"access_token": str, "token_type": "bearer", "expires_in": int, …}
    https://developer.zuora.com/docs/guides/authentication
    """
    form = {
        "client_id": settings.client_id,
        "client_secret": settings.client_secret,
        "grant_type": "client_credentials",
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if settings.track_id:
        headers["Zuora-Track-Id"] = settings.track_id
    return Request(
        "POST",
        "/oauth/token",
        headers=headers,
        body=urlencode(form).encode(),
        secrets=(settings.client_secret or "",),
        at_most=QUICK,
    )


def decipher(request: Request, response: Response, model: type[T]) -> T:
    """Turn an answer into a document, or into the exception that says what is wrong with it.

    Raises:
        ApiError: Zuora says no, in whatever shape.
        MalformedResponse: the answer makes no sense.
    """
    if error := fault(request, response):
        raise error
    if model in wire.EXACT:
        return wire.read(response.body, model)
    return wire.structure(model, response.json)


def sighting(request: Request, response: Response, model: type[JobT]) -> Sighting[JobT]:
    """Turn an answer into what it tells of a job, refusing what `decipher` does; the document is made when asked for.

    Raises:
        ApiError, MalformedResponse: as `decipher`.
    """
    if error := fault(request, response):
        raise error
    return Sighting(model, response.body, response.json)


def fault(request: Request, response: Response) -> ZuoraJobsError | None:
    """Tell what is wrong with an answer to *request*, or None when it is a document."""
    known = response.__dict__
    if "fault" not in known:  # each layer asks, and the answer is read once
        known["fault"] = _fault(request, response)
    error: ZuoraJobsError | None = known["fault"]
    return error


def _fault(request: Request, response: Response) -> ZuoraJobsError | None:
    if response.poured:
        return None
    try:
        document = response.json
    except MalformedResponse as error:
        if 200 <= response.status < 300:  # noqa: PLR2004
            what = f"{request.method} {request.path}: {error}{_kind_of_body(response, request)}"
            return MalformedResponse(what, problems=error.problems)
        document = None
    if 200 <= response.status < 300 and not refusals.says_no(document, request.kind):  # noqa: PLR2004
        return None
    reasons = tuple(
        Reason(code=_quoted(reason.code, request), message=_quoted(reason.message, request))
        for reason in refusals.reasons_of(document, response.body)
    )
    error_class = refusals.class_of(response.status, document, reasons)
    request_id = (
        response.headers.get("zuora-request-id")
        or refusals.text_at(document, "requestId")
        or refusals.text_at(document, "processId")
    )
    request_id = one_line(_quoted(request_id, request), 64) if request_id else None
    told = one_line("; ".join(map(str, reasons)))
    told = told or "no reason given" + _kind_of_body(response, request)
    message = f"{request.method} {request.path}: HTTP {response.status}: {told}"
    if request_id:
        message += f" (request id {request_id})"
    return error_class(
        message,
        status=response.status,
        reasons=reasons,
        request_id=request_id,
        retry_after=retry_after(response),
    )


TextT = TypeVar("TextT", str, str | None)


def _quoted(text: TextT, request: Request) -> TextT:
    """Take out of Zuora's own words what is secret, what *request* itself bore among it."""
    return without_secrets(text, request.secrets) if text is not None else text


def one_line(text: str, longest: int = 400) -> str:
    """Make text from outside fit for a log: one line, printable, unsigned, at most *longest* characters."""
    text = without_secrets(text[: 8 * longest])  # the rest would be blanks at most, and may be megabytes
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:longest]


def retry_after(response: Response) -> float | None:
    """Tell how many seconds the server asks to wait; None where it does not, or what it says makes no sense.

    `Retry-After` in seconds or as a date (taken against the answer's own `Date`, so no clock is needed), or on a 429
    `RateLimit-Reset`, in seconds, unless that window has requests left and so is not what refused this one. No window of
    Zuora's is longer than a day, so what is longer makes no sense.
    """
    asked = response.headers.get("retry-after")
    if asked is not None:
        seconds = as_seconds(asked)
        seconds = seconds if seconds is not None else _until(asked, response.headers.get("date"))
        if seconds is not None and seconds <= LONGEST_WINDOW:
            return seconds
    if response.status != 429 or as_seconds(response.headers.get("ratelimit-remaining")):  # noqa: PLR2004
        return None
    return window_ends_in(response.headers)


def window_ends_in(headers: Mapping[str, str]) -> float | None:
    """Give the seconds of `RateLimit-Reset`; None where it has none, or too many: a moment instead of a span, say."""
    seconds = as_seconds(headers.get("ratelimit-reset"))
    return seconds if seconds is not None and seconds <= LONGEST_WINDOW else None


def asked_to_wait(error: ZuoraJobsError) -> float:
    """Give the seconds that the server asked to wait, within reason; 0 where it did not."""
    return min((isinstance(error, ApiError) and error.retry_after) or 0.0, LONGEST_HOLD)


def passes_by_itself(error: Unauthorized) -> bool:
    """Tell whether a 401 says nothing about the token, so that the request is just to be sent again.

    Source: seed "CRUD: Retrieve an invoice", response 401.
    """
    return "failed to get user info" in str(error).lower()


def as_seconds(text: str | None) -> float | None:
    """Read a header that should be a number of seconds, or any count; None where it is not a finite one."""
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    if 0 <= number < inf:
        return number
    return 0.0 if -inf < number < 0 else None


def _until(moment: str, now: str | None) -> float | None:
    try:
        until, since = (
            date if date.tzinfo else date.replace(tzinfo=UTC)  # the old form has no zone, and means UTC (RFC 9110)
            for date in (parsedate_to_datetime(moment), parsedate_to_datetime(now or ""))
        )
        return max(0.0, (until - since).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def _kind_of_body(response: Response, request: Request) -> str:
    """Describe a body that is not JSON, quoting no more of it than a page's title: the rest may hold secrets."""
    if not response.body:
        return ", an empty body"
    if title := _TITLE.search(response.body[:4096]):
        return f", a page titled {_quoted(title[1].decode('ascii', 'replace').strip(), request)!r}"
    kind = _quoted(response.headers.get("content-type", "no content type").partition(";")[0], request)
    return f", a body of {len(response.body)} bytes ({kind[:60]})"
