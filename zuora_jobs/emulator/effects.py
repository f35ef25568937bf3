"""What can happen to one request on purpose.

- An effect is a small middleware: it may wait, answer itself, cut the line, or spoil the answer that it lets through.
- Effects are frozen values without memory; which request they meet, and how often, is `faults.py`'s business.
- What a gateway says without being told is what the vendor's pages show for that status.
  https://developer.zuora.com/docs/guides/error-handling
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

from attrs import evolve, field, frozen

from zuora_jobs.emulator.replies import HTML, JSON, Document, Reply, overlay
from zuora_jobs.errors import ConfigurationError

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

    async def strike(self, proceed: Proceed) -> Reply:  # noqa: ARG002 - the request goes no further
        """Answer without asking anybody."""
        usual, usual_type = _usual_body(self.status)
        body = usual if self.body is None else self.body
        kind = self.content_type or (usual_type if self.body is None else JSON if isinstance(body, Mapping) else HTML)
        content = body.encode() if isinstance(body, str) else dict(body) if isinstance(body, Mapping) else body
        return Reply(self.status, content, self.headers, kind)


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
class Truncate:
    """Promise the whole body, send a part, cut the connection."""

    keep: float = 0.5
    """The share of the body that is sent, from 0 up to, and without, 1."""

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.keep < 1:
            msg = f"a truncated answer keeps a share from 0 up to, and without, 1, not {self.keep!r}"
            raise ConfigurationError(msg)

    async def strike(self, proceed: Proceed) -> Reply:
        """Shorten the answer."""
        return evolve(await proceed(), sent=self.keep)


@frozen
class Drop:
    """Cut the connection without a word."""

    async def strike(self, proceed: Proceed) -> Reply:  # noqa: ARG002 - the request goes no further
        """Say nothing."""
        return Reply(dropped=True)


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


@frozen
class Patch:
    """Change the JSON document on its way out. An answer that is no JSON document passes unchanged."""

    fields: Mapping[str, Any] = field(factory=dict)
    remove: Sequence[str] = ()
    """Top-level names to leave out."""

    async def strike(self, proceed: Proceed) -> Reply:
        """Edit the answer."""
        reply = await proceed()
        if isinstance(reply.body, bytes):
            return reply
        kept = {name: value for name, value in reply.body.items() if name not in self.remove}
        return evolve(reply, body=overlay(kept, self.fields))


@frozen
class Retype:
    """Send the right body under the wrong content type."""

    content_type: str = "text/plain"

    async def strike(self, proceed: Proceed) -> Reply:
        """Relabel the answer."""
        return evolve(await proceed(), content_type=self.content_type)
