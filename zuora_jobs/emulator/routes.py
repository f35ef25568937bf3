"""Which request is answered by what: a table, and one small function per row.

- A row says by which door a request comes in: `AUTH` (the token office), `API` (bearer token, limits) or `STORE` (the
  presigned file store, which is no part of Zuora, has a port of its own, and knows neither).
- No function here awaits or knows a socket: a request is a `Call`, an answer is a `Reply`.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from zuora_jobs.emulator import downloads, store
from zuora_jobs.emulator.calls import Call
from zuora_jobs.emulator.families import FAMILIES, Family
from zuora_jobs.emulator.invoices import as_v1, serve_invoice
from zuora_jobs.emulator.orders import unknown
from zuora_jobs.emulator.replies import CODE_METHOD, CODE_NOT_FOUND, METHOD_NOT_ALLOWED, NOT_FOUND, Reply, refused
from zuora_jobs.emulator.submits import SUBMITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from zuora_jobs.emulator.tenant import Emulator


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


def _v1_invoice(zuora: Emulator, call: Call, key: str) -> Reply:
    invoice = zuora.stock.invoice(key)
    return unknown(zuora, call, key) if invoice is None else Reply(body=as_v1(invoice))


def _credit_memo(zuora: Emulator, call: Call, key: str) -> Reply:
    memo = zuora.stock.credit_memo(key)
    return unknown(zuora, call, key) if memo is None else Reply(body={"success": True, **memo})


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
    *(Route(row.method, _at(row.path), Door.API, row.answer) for row in SUBMITS.values()),
    Route("GET", _at("/v1/invoices/{id}"), Door.API, _v1_invoice),
    Route("GET", _at("/v1/credit-memos/{id}"), Door.API, _credit_memo),
    Route("GET", _at("/v1/files/{id}"), Door.API, downloads.result_file),
    Route("POST", _at("/oauth/token"), Door.AUTH, _token),
)
AT_STORE = (Route("GET", _at(f"{store.ROOM}/{{id}}/[^/]+"), Door.STORE, downloads.archive),)


def find_route(call: Call) -> tuple[Route, str]:
    """The row for a request, and the id in its path, if any; for any other request a row that refuses it."""
    allowed = []
    for route in AT_STORE if call.at_store else ROUTES:
        match = route.path.fullmatch(call.path)
        if match and route.method == call.method:
            return route, match.groupdict().get("id", "")
        if match:
            allowed.append(route)
    if call.at_store:
        return _NOT_STORED, call.path
    if not allowed:
        return _NOWHERE, call.path
    return evolve(_NOT_ALLOWED, door=allowed[0].door), ", ".join(route.method for route in allowed)


def _not_allowed(_: Emulator, call: Call, allowed: str) -> Reply:
    reply = refused(METHOD_NOT_ALLOWED, CODE_METHOD, f"The method {call.method} is not supported", **call.ids)
    return Reply(reply.status, reply.body, {"Allow": allowed})


def _nowhere(_: Emulator, call: Call, path: str) -> Reply:
    return refused(NOT_FOUND, str(CODE_NOT_FOUND), f"No such resource: {path}", **call.ids)


_NOT_ALLOWED = Route("*", _at(""), Door.API, _not_allowed)
_NOWHERE = Route("*", _at(""), Door.API, _nowhere)
_NOT_STORED = Route("*", _at(""), Door.STORE, lambda *_: store.denied())
