"""Pours the body of an answer into a sink, in memory that does not grow with it. Knows aiohttp, as `express.py` does.

Long bodies are taken off their connection by `flow.py`, where this aiohttp is known to let go of it; all others are read in
the usual way, and so are those whose length is not known. A connection that was taken over is never used again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import aiohttp

from zuora_jobs.protocol.messages import Response
from zuora_jobs.transport import express
from zuora_jobs.transport.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LONG: Final = 1024 * 1024
"""Bytes of a body from which it is worth a connection to take it over."""

_GOOD: Final = frozenset({200, 206})
_DOCUMENTS: Final = ("application/json", "text/html")
"""Under whatever status, these are something that Zuora or a gateway has to say, and no file."""


class Sink(Protocol):
    """Takes a body. What it raises ends the exchange, and passes to whoever sent the request."""

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Get ready for the body of an answer that begins like this.

        Raises:
            ZuoraJobsError: it is not to be read.
        """

    async def write(self, data: bytes | bytearray) -> None:
        """Take the next bytes, any number of them, perhaps none; they are overwritten afterwards."""


def is_a_file(answer: aiohttp.ClientResponse) -> bool:
    """Tell whether the body of *answer* is what was asked for, and nothing that is said instead of it."""
    return answer.status in _GOOD and not answer.content_type.startswith(_DOCUMENTS)


class Pouring:
    """One body on its way into a sink.

    Args:
        sink: where it goes.
    """

    def __init__(self, sink: Sink) -> None:
        self.on_bytes: Callable[[], None] = lambda: None
        """Called whenever some bytes have come."""
        self.response: Response | None = None
        """The answer, once it has begun and been found to be a file."""
        self._sink = sink

    async def pour(self, answer: aiohttp.ClientResponse) -> Response:
        """Read the body of *answer*, which has not been touched, to its end.

        Raises:
            aiohttp.ClientError, OSError: it was cut; all that came before is in the sink.
            ZuoraJobsError: what the sink says.
        """
        self.response = Response(answer.status, answer.headers, b"", poured=True)
        await self._sink.begin(answer.status, answer.headers)
        self.on_bytes()
        flow, start = _taken_over(answer, self.on_bytes)
        if flow is None:
            await self._sink.write(start)
            await _pour_as_usual(answer.content, self._sink, self.on_bytes)
            return self.response
        try:
            await self._sink.write(start)
            await flow.pour_into(self._sink.write)
        finally:
            answer.close()
        return self.response


def _taken_over(answer: aiohttp.ClientResponse, on_bytes: Callable[[], None]) -> tuple[Flow | None, bytes]:
    """Take the connection over, where that is possible and worth while; give also what has been read of the body."""
    length, connection, content = answer.content_length, answer.connection, answer.content
    if length is None or length < LONG or "Transfer-Encoding" in answer.headers or not express.is_known():
        return None, b""
    if connection is None or connection.transport is None or connection.protocol is None or content.exception():
        return None, b""
    # nothing is awaited from here on, so nothing comes in between
    start = bytearray()
    while some := content.read_nowait():
        start += some
    if len(start) == length:  # and the connection has been given back
        return None, bytes(start)
    flow = Flow(cast("Any", connection.transport), length - len(start), connection.protocol, on_bytes)
    return flow, bytes(start)


async def _pour_as_usual(content: aiohttp.StreamReader, sink: Sink, on_bytes: Callable[[], None]) -> None:
    while True:
        try:
            some = await content.readany()
        except aiohttp.ClientError:
            await sink.write(_rest_of(content))
            raise
        if not some:
            return
        on_bytes()
        await sink.write(some)


def _rest_of(content: aiohttp.StreamReader) -> bytes:
    """Give what came before a cut; otherwise who is cut every few kilobytes would never be done."""
    content.set_exception(cast("Any", None))
    return content.read_nowait()
