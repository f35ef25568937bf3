"""What can happen to one request on purpose.

- An effect is a small middleware: it may wait, answer itself, cut the line, or spoil the answer that it lets through.
- Effects are frozen values without memory; which request they meet, and how often, is `faults.py`'s business.
- Here they change what is said, and when; those that change how it goes out are in `deliveries.py`.
- What a gateway says without being told is what the vendor's pages show for that status.
  https://developer.zuora.com/docs/guides/error-handling
"""

from __future__ import annotations

import asyncio
import reprlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from email.utils import format_datetime, formatdate, parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Protocol

from attrs import evolve, field, frozen

from zuora_jobs.emulator.replies import HTML, JSON, TOO_MANY_REQUESTS, Document, Reply, overlay, to_json

Proceed = Callable[[], Awaitable[Reply]]


class Effect(Protocol):
    """What a fault does to one request."""

    async def strike(self, proceed: Proceed) -> Reply:
        """Answer in place of *proceed*, or spoil what it answers."""
        ...


@frozen
class Answer:
    """Answer with this instead: a gateway in the way, a throttle, a maintenance page."""

    status: int = 503
    body: str | bytes | Mapping[str, Any] | None = None
    """None: what Zuora or its gateway would say with such a status."""
    headers: Mapping[str, str] = field(factory=dict)
    content_type: str | None = None
    bare: bool = False
    """Without the headers that every answer of Zuora's bears: limits, request id."""

    async def strike(self, proceed: Proceed) -> Reply:  # noqa: ARG002 - the request goes no further
        """Answer without asking anybody."""
        usual, usual_type = _usual_body(self.status)
        body = usual if self.body is None else self.body
        kind = self.content_type or (usual_type if self.body is None else JSON if isinstance(body, Mapping) else HTML)
        content = body.encode() if isinstance(body, str) else dict(body) if isinstance(body, Mapping) else body
        return Reply(self.status, content, self.headers, kind, bare=self.bare)


_PHRASES: Mapping[int, str] = {status.value: status.phrase for status in HTTPStatus}
_USUAL_CODES: Mapping[int, int] = {429: 70, 503: 50000061}


def _usual_body(status: int) -> tuple[str | Document, str]:
    phrase = _PHRASES.get(status, "Unknown")
    if status == HTTPStatus.UNAUTHORIZED:
        return {"message": "Authentication error"}, JSON
    if status in {HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}:
        return f"<html><head><title>{status} {phrase}</title></head><body><h1>{phrase}</h1></body></html>", HTML
    return {"reasons": [{"code": _USUAL_CODES.get(status, 50000060), "message": phrase}]}, JSON


@frozen
class RetryAt:
    """Refuse as a throttle that names a moment: Retry-After is an HTTP date, *seconds* after the answer's own Date.

    Both are set here, so that they differ by just that, however long the answer is on its way. Wall-clock time, like
    the Date of any other answer.
    """

    seconds: float = 2.0

    async def strike(self, proceed: Proceed) -> Reply:
        """Answer without asking anybody."""
        now = parsedate_to_datetime(formatdate(usegmt=True))
        moments = {"Date": now, "Retry-After": now + timedelta(seconds=self.seconds)}
        headers = {name: format_datetime(moment, usegmt=True) for name, moment in moments.items()}
        return await Answer(TOO_MANY_REQUESTS, headers=headers).strike(proceed)


@frozen
class Delay:
    """Answer *seconds* later."""

    seconds: float

    async def strike(self, proceed: Proceed) -> Reply:
        """Sleep, then go on: the answer tells the state after the sleep."""
        await asyncio.sleep(self.seconds)
        return await proceed()


@frozen
class Hang:
    """Never answer, and never hang up."""

    async def strike(self, proceed: Proceed) -> Reply:
        """Wait until the connection or the emulator is closed."""
        await asyncio.get_running_loop().create_future()
        return await proceed()


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


@frozen
class Patch:
    """Change the JSON document on its way out. An answer that is no JSON document passes unchanged."""

    fields: Mapping[str, Any] = field(factory=dict)
    remove: Sequence[str] = ()
    """Top-level names to leave out."""
    raw: bytes = field(default=b"", converter=_as_bytes, repr=reprlib.repr)
    """Members to write after all others as they stand: for what no document can hold, such as one name twice."""

    async def strike(self, proceed: Proceed) -> Reply:
        """Edit the answer."""
        reply = await proceed()
        if not isinstance(reply.body, dict):
            return reply
        kept = {name: value for name, value in reply.body.items() if name not in self.remove}
        document = overlay(kept, self.fields)
        if not self.raw:
            return evolve(reply, body=document)
        return evolve(reply, body=to_json(document)[:-1] + (b", " if document else b"") + self.raw + b"}")


@frozen
class Retype:
    """Send the right body under the wrong content type."""

    content_type: str = "text/plain"

    async def strike(self, proceed: Proceed) -> Reply:
        """Relabel the answer."""
        return evolve(await proceed(), content_type=self.content_type)


@frozen
class Relabel:
    """Send the right body under other headers."""

    headers: Mapping[str, str]
    """Laid over the answer's own. A body that is given a Content-Encoding here is sent as it is, and not encoded."""

    async def strike(self, proceed: Proceed) -> Reply:
        """Relabel the answer."""
        reply = await proceed()
        return evolve(reply, headers={**reply.headers, **self.headers})
