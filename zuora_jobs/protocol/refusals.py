"""How Zuora says no: its eleven shapes, some of them under HTTP 200, and what its codes mean.

Two levels of success are told apart: `success` speaks of the call, `status` of the job. Hence a body with
`success: false` is a refusal, unless it is the document of a job that failed; and nothing that says `success: false` is
ever read as a job that succeeded.

Sources: https://developer.zuora.com/docs/guides/error-handling and /docs/guides/error-codes; AQuA's codes
https://docs.zuora.com (Aggregate Query API, error codes).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from zuora_jobs.errors import (
    ApiError,
    Forbidden,
    NotFound,
    RateLimited,
    Reason,
    Rejected,
    ServerError,
    Unauthorized,
)
from zuora_jobs.protocol import wire
from zuora_jobs.protocol.kinds import JobKind, Phase

if TYPE_CHECKING:
    from collections.abc import Callable


def text_at(document: object, key: str) -> str | None:
    """Give a text that is not blank, where *document* has one under *key*."""
    value = document.get(key) if isinstance(document, dict) else None
    return value if isinstance(value, str) and value else None


def _errors_of(document: dict[str, Any]) -> tuple[Reason, ...]:
    return wire.reasons_in(document.get("Errors"))


def _flat(code: str, message: str) -> Callable[[dict[str, Any]], tuple[Reason, ...]]:
    def reason(document: dict[str, Any]) -> tuple[Reason, ...]:
        said = {"code": document.get(code), "message": document.get(message)}
        return wire.reasons_in([said]) if said["code"] is not None else ()

    return reason


def _message_alone(document: dict[str, Any]) -> tuple[Reason, ...]:
    return wire.reasons_in([{"message": message}]) if (message := text_at(document, "message")) else ()


def _no_data(document: dict[str, Any]) -> tuple[Reason, ...]:
    empty = {"done", "records", "size"} <= document.keys() and not document["records"]
    return (Reason(message="no such object"),) if empty else ()


_SHAPES: Final[tuple[Callable[[dict[str, Any]], tuple[Reason, ...]], ...]] = (
    lambda document: wire.reasons_in(document.get("reasons")),  # v1, with or without `success`; the gateway's 429
    _errors_of,  # CRUD and Actions: {Errors: [{Code, Message}], Success: false}
    _flat("errorCode", "message"),  # AQuA's validation, under HTTP 200
    _flat("code", "message"),  # AQuA 400, 403 and malformed requests
    _flat("error", "error_description"),  # RFC 6749, from the token endpoint
    _message_alone,  # 401 of CRUD, AQuA and the gateway
    _no_data,  # CRUD 404: {done, records, size}
)
"""How Zuora gives reasons, most explicit first. What is not JSON (XML of the file store, a gateway's HTML, nothing) has
none of these; see `reasons_of`."""

_XML_CODE: Final = re.compile(rb"<Code>([A-Za-z.]{1,80})</Code>")
_XML_MESSAGE: Final = re.compile(rb"<Message>([^<]{1,400})</Message>")
"""The file store's errors are XML; nothing else of them is read, since some quote what was signed.

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

AQUA_CALL_CODES: Final[dict[str, type[ApiError]]] = {
    "90001": NotFound,
    "90002": NotFound,
    "90003": Rejected,
    "90006": ServerError,
    "90008": ServerError,
    "90009": Forbidden,
    "90010": ServerError,
    "90018": Forbidden,
}
"""AQuA codes that are about the call. The others are about the queries, and belong to the job."""

_CATEGORIES: Final[dict[int, type[ApiError]]] = {
    40: NotFound,
    11: Unauthorized,
    10: Forbidden,
    70: RateLimited,
    50: ServerError,  # lock contention
    60: ServerError,
    61: ServerError,
    99: ServerError,
}
_NAMED_CODES: Final[dict[str, type[ApiError]]] = {
    **AQUA_CALL_CODES,
    "ObjectNotFound": NotFound,  # the example on the operation job's page, under HTTP 500
    "invalid_client": Unauthorized,
    "90000011": Unauthorized,
}
_STATUSES: Final[dict[int, type[ApiError]]] = {401: Unauthorized, 403: Forbidden, 404: NotFound, 429: RateLimited}


def says_no(document: Any, kind: JobKind[Any] | None) -> bool:
    """Tell whether a body under HTTP 200 is a refusal and not a document."""
    if not isinstance(document, dict):
        return False  # no document either: `wire.structure` says so
    status = document.get("status")
    if _is_false(document.get("success")) or _is_false(document.get("Success")):
        if kind is not None and status is None and _names_a_job(document):
            return False
        phase = kind.phase(status) if kind is not None and isinstance(status, str) else None
        return phase not in {Phase.FAILED, Phase.CANCELLED}
    if status is not None:
        code = document.get("errorCode")
        return code is not None and str(code) in AQUA_CALL_CODES and not document.get("id")
    if kind is not None and (document.get("success") is True or _names_a_job(document)):
        return False
    return "access_token" not in document and any(shape(document) for shape in _SHAPES)


def _names_a_job(document: dict[str, Any]) -> bool:
    """Tell a job's document that has lost its status, as `wire.structure` will say, from a refusal."""
    return any(text_at(document, name) for name in ("id", "jobId"))


def _is_false(value: object) -> bool:
    return value is False or (isinstance(value, str) and value.casefold() == "false")


def reasons_of(document: Any, body: bytes) -> tuple[Reason, ...]:
    """Give Zuora's reasons, in whatever shape they came."""
    if isinstance(document, dict):
        return next((reasons for shape in _SHAPES if (reasons := shape(document))), ())
    if b"<Error>" in body[:200] and (code := _XML_CODE.search(body, 0, 4096)):
        told = _XML_MESSAGE.search(body, 0, 4096)
        return (Reason(code[1].decode("ascii", "replace"), told[1].decode("utf-8", "replace") if told else None),)
    if b"max-object-size" in body[:1000]:
        return (
            Reason(
                "security:max-object-size",
                "the file is larger than Zuora hands out (2047 MB): ask for less, in several queries",
            ),
        )
    return ()


def class_of(status: int, document: Any, reasons: tuple[Reason, ...]) -> type[ApiError]:
    """Choose by what Zuora says before what HTTP says: a not-found may come as 200, 404 or 500."""
    for reason in reasons:
        named = _NAMED_CODES.get(reason.code or "") or _CATEGORIES.get(
            -1 if reason.category is None else reason.category
        )
        if named is not None:
            return named
    if isinstance(document, dict) and _no_data(document):
        return NotFound
    return _STATUSES.get(status) or (ServerError if status >= 500 else Rejected)  # noqa: PLR2004
