"""Which request is answered by what: a table, and one small function per row.

- A row says by which door a request comes in: `AUTH` (the token office), `API` (bearer token, limits) or `STORE` (the
  presigned file store, which is no part of Zuora and knows neither).
- No function here awaits or knows a socket: a request is a `Call`, an answer is a `Reply`.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from zuora_jobs.emulator import files
from zuora_jobs.emulator.families import FAMILIES, Family
from zuora_jobs.emulator.invoices import serve_invoice
from zuora_jobs.emulator.replies import (
    CODE_METHOD,
    CODE_NOT_FOUND,
    FORBIDDEN,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    PARTIAL_CONTENT,
    RANGE_NOT_SATISFIABLE,
    ZIP,
    Reply,
    refused,
    refused_by_store,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zuora_jobs.emulator.tenant import Emulator


@frozen
class Call:
    """A request as the emulator sees it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    ids: Mapping[str, str]
    """`processId` and `requestId`, as refusals name them."""


class Door(enum.Enum):
    """By which door a request comes in."""

    AUTH = enum.auto()
    API = enum.auto()
    STORE = enum.auto()


@frozen
class Route:
    """A row of the table."""

    method: str
    path: re.Pattern[str]
    door: Door
    answer: Callable[[Emulator, Call, str], Reply]
    """Given the emulator, the call, and the id in the path."""


def _token(zuora: Emulator, call: Call, _: str) -> Reply:
    return zuora.tokens.answer(call.headers, call.body, zuora.clock.now())


def _retrieve(family: Family) -> Callable[[Emulator, Call, str], Reply]:
    def retrieve(zuora: Emulator, call: Call, job_id: str) -> Reply:
        job = zuora.stock.job(family, job_id)
        if job is None:
            return family.unknown(zuora.options, job_id, call.ids)
        return Reply(body=job.show(), handle=job.handle)

    return retrieve


def _cancel(family: Family) -> Callable[[Emulator, Call, str], Reply]:
    def cancel(zuora: Emulator, call: Call, job_id: str) -> Reply:
        job = zuora.stock.job(family, job_id)
        if job is None or family.cancel is None:
            return family.unknown(zuora.options, job_id, call.ids)
        if not job.cancel():
            reply = family.cancel.too_late(zuora.options, job_id)
            return Reply(reply.status, reply.body, reply.headers, handle=job.handle)
        return Reply(body=family.cancel.show(job.document()), handle=job.handle)

    return cancel


def _invoice(zuora: Emulator, call: Call, invoice_id: str) -> Reply:
    return serve_invoice(zuora.stock.invoices.get(invoice_id), call.query, call.headers)


def _result_file(zuora: Emulator, call: Call, file_id: str) -> Reply:
    found = zuora.stock.file(file_id)
    if found is None:
        return refused(NOT_FOUND, str(CODE_NOT_FOUND), f"Cannot find entity by key: '{file_id}'.", **call.ids)
    job, batch, job_format = found
    name, content_type, content = files.batch_file(batch, job_format)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    reply = Reply(body=content, headers=headers, content_type=content_type, handle=job.handle)
    return _ranged(reply, call) if zuora.options.file_ranges else reply


def _archive(zuora: Emulator, call: Call, job_id: str) -> Reply:
    if "Authorization" in call.headers:
        return refused_by_store(FORBIDDEN, "AccessDenied", "Only one auth mechanism allowed")
    refusal = files.refusal_of_url(call.path, call.query, zuora.clock.wall(zuora.clock.now()))
    job = zuora.stock.job(FAMILIES["bulk-pdf"], job_id)
    if refusal is not None or job is None:
        return refused_by_store(FORBIDDEN, "AccessDenied", refusal or "Access Denied")
    number = int(call.path.rpartition("-")[2].removesuffix(".zip"))
    content = files.pdf_archive(job_id, number)
    return _ranged(Reply(body=content, content_type=ZIP, handle=job.handle), call)


def _ranged(reply: Reply, call: Call) -> Reply:
    """Serve the part of a file that `Range: bytes=N-` asks for, unless `If-Range` names another file."""
    content = reply.content()
    etag = f'"{files.fingerprint(content)}"'
    headers = {**reply.headers, "Accept-Ranges": "bytes", "ETag": etag}
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers.get("Range", ""))
    if asked is None or call.headers.get("If-Range", etag) != etag:
        return Reply(reply.status, content, headers, reply.content_type, reply.handle)
    first, last = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
    if first > last:
        headers["Content-Range"] = f"bytes */{len(content)}"
        return Reply(RANGE_NOT_SATISFIABLE, b"", headers, reply.content_type, reply.handle)
    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    return Reply(PARTIAL_CONTENT, content[first : last + 1], headers, reply.content_type, reply.handle)


def _at(path: str) -> re.Pattern[str]:
    return re.compile(path.replace("{id}", "(?P<id>[^/]+)"))


ROUTES = (
    *(Route("GET", _at(f"{family.route}{{id}}"), Door.API, _retrieve(family)) for family in FAMILIES.values()),
    *(
        Route("DELETE", _at(f"{family.route}{{id}}"), Door.API, _cancel(family))
        for family in FAMILIES.values()
        if family.cancel is not None
    ),
    Route("GET", _at("/v1/object/invoice/{id}"), Door.API, _invoice),
    Route("GET", _at("/v1/files/{id}"), Door.API, _result_file),
    Route("GET", _at(rf"{files.STORE}/{{id}}/invoices-\d+\.zip"), Door.STORE, _archive),
    Route("POST", _at("(?P<id>/oauth/token)"), Door.AUTH, _token),
)


def find_route(method: str, path: str) -> tuple[Route, str]:
    """The row for a request, and the id in its path; for any other request a row that refuses it."""
    allowed = []
    for route in ROUTES:
        match = route.path.fullmatch(path)
        if match and route.method == method:
            return route, match["id"]
        if match:
            allowed.append(route)
    if not allowed:
        return _NOWHERE, path
    return evolve(_NOT_ALLOWED, door=allowed[0].door), ", ".join(route.method for route in allowed)


def _not_allowed(_: Emulator, call: Call, allowed: str) -> Reply:
    reply = refused(METHOD_NOT_ALLOWED, CODE_METHOD, f"The method {call.method} is not supported", **call.ids)
    return Reply(reply.status, reply.body, {"Allow": allowed})


def _nowhere(_: Emulator, call: Call, path: str) -> Reply:
    return refused(NOT_FOUND, str(CODE_NOT_FOUND), f"No such resource: {path}", **call.ids)


_NOT_ALLOWED = Route("*", _at(""), Door.API, _not_allowed)
_NOWHERE = Route("*", _at(""), Door.API, _nowhere)
