"""The way of a request through the emulator, from arrival to answer. Knows no socket.

In this order, as far as the vendor's pages let one guess:
  count it (rate, crowd) -> 429 | think (latency) | faults | track id -> 400 | bearer token -> 401 | its route
  https://developer.zuora.com/docs/guides/rate-limits
Then the headers that every answer of Zuora's bears. The file store behind presigned URLs is no part of Zuora: of all
this it knows latency and faults only. A request with an idempotency key holds the key from its arrival until its answer.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from attrs import evolve

from zuora_jobs.emulator.idempotency import Ticket
from zuora_jobs.emulator.log import Entry
from zuora_jobs.emulator.replies import BAD_REQUEST, CODE_BAD_VALUE, Reply, refused, unauthorized
from zuora_jobs.emulator.routes import Door, find_route

if TYPE_CHECKING:
    from zuora_jobs.emulator.calls import Call
    from zuora_jobs.emulator.limits import Reading
    from zuora_jobs.emulator.routes import Route
    from zuora_jobs.emulator.tenant import Emulator

TRACK_ID = "Zuora-Track-Id"
TRACK_ID_LENGTH = 64
TRACK_ID_FORBIDDEN = frozenset(":;\"'")


async def take(zuora: Emulator, call: Call) -> Reply:
    """Take one request all the way."""
    now = zuora.clock.now()
    route, key = find_route(call)
    authorized = zuora.tokens.accepts(call.headers.get("Authorization", ""), now)
    door = route.door.name.lower()
    entry = zuora.log.open(
        Entry(zuora.clock.on_loop(now), call.method, call.path, call.query, call.headers, authorized, door)
    )
    reply = Reply(dropped=True)
    crowded = zuora.crowd.enter() if route.door is Door.API else None
    try:
        readings = [*_rates(zuora, route, now), *([crowded] if crowded else [])]
        refusal = next((reading.refusal for reading in readings if reading.refusal), None)
        reply = refusal or await _strike(zuora, route, key, call)
        return reply if reply.bare else evolve(reply, headers={**_headers(route, call, readings), **reply.headers})
    finally:
        if crowded:
            zuora.crowd.leave()
        zuora.log.close(entry, None if reply.dropped else reply.status, reply.handle)


def _rates(zuora: Emulator, route: Route, now: float) -> list[Reading]:
    limiter = zuora.limiters.get(route.door)
    return [limiter.count(now)] if limiter else []


async def _strike(zuora: Emulator, route: Route, key: str, call: Call) -> Reply:
    """Let the faults in force have the request, the oldest first, and then its route."""
    now = zuora.clock.now()
    ticket = zuora.idempotency.arrive(call, now) if route.door is Door.API else Ticket()
    proceed = partial(_answer, zuora, route, key, call, ticket)
    for effect in reversed(zuora.faults.effects_on(call.method, call.path, now)):
        proceed = partial(effect.strike, proceed)
    try:
        if zuora.options.latency:
            await asyncio.sleep(zuora.options.latency)
        return await proceed()
    finally:
        zuora.idempotency.leave(call, ticket)


async def _answer(zuora: Emulator, route: Route, key: str, call: Call, ticket: Ticket) -> Reply:
    if route.door is not Door.STORE and not _good_track_id(call.headers.get(TRACK_ID, "")):
        message = f"{TRACK_ID} must be US-ASCII, at most {TRACK_ID_LENGTH} characters, without : ; \" and '"
        return refused(BAD_REQUEST, CODE_BAD_VALUE, message, **call.ids)
    if route.door is Door.API and not zuora.tokens.accepts(call.headers.get("Authorization", ""), zuora.clock.now()):
        return unauthorized()
    if ticket.ready is not None:
        return ticket.ready
    zuora.ledger.settle()
    reply = route.answer(zuora, call, key)
    ticket.keep(reply, call.ids["requestId"], zuora.clock.now())
    return reply


def _good_track_id(text: str) -> bool:
    return len(text) <= TRACK_ID_LENGTH and text.isascii() and not TRACK_ID_FORBIDDEN & set(text)


def _headers(route: Route, call: Call, readings: list[Reading]) -> dict[str, str]:
    """What every answer of Zuora's bears."""
    if route.door is Door.STORE:
        return {}
    headers = {"Zuora-Request-Id": call.ids["requestId"]}
    track_id = call.headers.get(TRACK_ID)
    if track_id is not None and track_id.isascii():
        headers[TRACK_ID] = track_id
    for reading in readings:
        headers |= reading.headers
    return headers
