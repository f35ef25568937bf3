"""What the emulator answers, before it is HTTP: a status, a document, some headers.

- One function per shape of refusal that Zuora's pages know; a shape is never built anywhere else.
  https://developer.zuora.com/docs/guides/error-handling  https://developer.zuora.com/docs/guides/error-codes
- Codes are text where the status tells of the error, and numbers in bodies under HTTP 200, as they have been seen.
- Money is exact: a Decimal is written digit for digit.
- An answer goes out at once and whole, unless it brings a `Delivery` of its own, which is given the line to play with.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, Protocol

from attrs import field, frozen

from zuora_jobs.emulator.contents import Content, FilePart

JSON = "application/json"
HTML = "text/html"
XML = "application/xml"
CSV = "text/csv"
ZIP = "application/zip"

Document = dict[str, Any]

OK = 200
PARTIAL_CONTENT = 206
BAD_REQUEST = 400
UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
METHOD_NOT_ALLOWED = 405
CONFLICT = 409
UNSUPPORTED_MEDIA_TYPE = 415
RANGE_NOT_SATISFIABLE = 416
UNPROCESSABLE = 422
TOO_MANY_REQUESTS = 429
BAD_GATEWAY = 502

CODE_RATE = 70
CODE_CONCURRENCY = 50000070
CODE_BAD_VALUE = "50000020"
CODE_MISSING_FIELD = 50000022
CODE_BUSINESS_RULE = 50000030
CODE_NOT_FOUND = 50000040
CODE_METHOD = "50000045"
CODE_LOCKED = 50000050
CODE_MALFORMED = 50000090


class Line(Protocol):
    """The connection that an answer goes out on."""

    async def begin(self, length: int | None) -> None:
        """Announce status and headers, and a body of *length* bytes; None: of a length that its end will tell."""
        ...

    async def send(self, piece: bytes) -> None:
        """Send a piece of the body, or raw bytes if nothing was begun; wait here while the client is slow to read."""
        ...

    def hang_up(self) -> None:
        """Close the connection once everything sent has left."""
        ...

    async def flush(self) -> None:
        """Wait, but not for ever, until what was sent has reached the client's machine."""
        ...

    def reset(self) -> None:
        """Break the connection off (RST)."""
        ...


Delivery = Callable[[Line, Any], Awaitable[None]]
"""Sends an answer, given the line and the body as it would go out (compressed, perhaps): bytes, or, if it is a file on
disk, a `FilePart`, which has a length and gives bytes when sliced."""


@frozen
class Reply:
    """An answer on its way out."""

    status: int = OK
    body: Content | Document = b""
    """Bytes and files go out as they are, a document as JSON."""
    headers: Mapping[str, str] = field(factory=dict)
    content_type: str = JSON
    handle: str | None = None
    """The job it is about, for the log."""
    delivery: Delivery | None = None
    """How it goes out, if not at once and whole."""
    dropped: bool = False
    """No status is ever heard, whatever the delivery does; the log has none then."""
    bare: bool = False
    """It is said by something in front of Zuora, and has none of the headers that every answer of Zuora's bears."""

    def content(self) -> Content:
        """The body as it goes out."""
        return self.body if isinstance(self.body, bytes | FilePart) else to_json(self.body)


def to_json(value: object) -> bytes:
    """*value* as JSON, every Decimal digit for digit."""
    try:
        return json.dumps(value).encode()
    except TypeError:  # the C encoder knows no Decimal; only invoices have them
        return _exactly(value).encode()


def _exactly(value: object) -> str:
    match value:
        case Decimal() if not value.is_finite():
            msg = f"{value} cannot be written as a JSON number"
            raise ValueError(msg)
        case Decimal():
            return format(value, "f")
        case Mapping():
            return "{" + ", ".join(f"{json.dumps(str(key))}: {_exactly(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_exactly, value)) + "]"
        case _:
            return json.dumps(value)


def overlay(base: Any, patch: Any) -> Any:
    """*patch* laid over *base*: objects key by key, lists of objects item by item, all else replaced."""
    if isinstance(base, Mapping) and isinstance(patch, Mapping):
        return {**base, **{key: overlay(base[key], item) if key in base else item for key, item in patch.items()}}
    if _is_objects(base) and _is_objects(patch):
        return [*map(overlay, base, patch), *base[len(patch) :], *patch[len(base) :]]
    return patch


def _is_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def refused(status: int, code: str | int, message: str, **ids: str) -> Reply:
    """Refuse as v1 does: `{"success": false, "processId", "requestId", "reasons": [{code, message}]}`."""
    return Reply(status, {"success": False, **ids, "reasons": [{"code": code, "message": message}]})


def throttled(code: int, message: str, **headers: str) -> Reply:
    """Refuse as the gateway does when there are too many requests: `{"reasons": [{code, message}]}`.

    https://developer.zuora.com/docs/guides/rate-limits
    """
    body = {"reasons": [{"code": code, "message": message}]}
    return Reply(TOO_MANY_REQUESTS, body, {name.replace("_", "-"): value for name, value in headers.items()})


def unauthorized(message: str = "Authentication error") -> Reply:
    """Refuse for want of a valid token: `{"message"}`, the shape that the generated client types for every route."""
    realms = 'Bearer realm="Zuora REST API", Basic realm="Zuora REST API", ZSession realm="Zuora REST API"'
    return Reply(UNAUTHORIZED, {"message": message}, {"WWW-Authenticate": realms})


def refused_flatly(status: int, code: int, message: str) -> Reply:
    """Refuse as the token endpoint and AQuA do: `{"code": int, "message"}`."""
    return Reply(status, {"code": code, "message": message})


def refused_by_crud(code: str, message: str) -> Reply:
    """Refuse as the CRUD calls do, in capitals: `{"Errors": [{Code, Message}], "Success": false}`."""
    return Reply(BAD_REQUEST, {"Errors": [{"Code": code, "Message": message}], "Success": False})


def nothing_by_crud() -> Reply:
    """Say that a CRUD object does not exist: `{"done", "records", "size"}`."""
    return Reply(NOT_FOUND, {"done": True, "records": [], "size": 0})
