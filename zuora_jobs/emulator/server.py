"""Where the emulator meets the network: the only importer of aiohttp here.

- It serves on the running loop, so that client and emulator share one time, virtual or not.
- Leaving `running()` takes no time: handlers that still sleep or send are cancelled, and nothing outlives the block,
  not even what a client was slow to read.
- Bodies over 1000 bytes are compressed for those who accept gzip, as every page of the vendor's says.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import struct
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web
from multidict import CIMultiDict

from zuora_jobs.emulator.clock import EPOCH
from zuora_jobs.emulator.gateway import take
from zuora_jobs.emulator.limits import PRODUCTION, Window
from zuora_jobs.emulator.options import Options
from zuora_jobs.emulator.replies import CSV, HTML, JSON, XML, Reply
from zuora_jobs.emulator.routes import Call
from zuora_jobs.emulator.tenant import Emulator
from zuora_jobs.emulator.tokens import FAKE_CLIENT_ID, FAKE_CLIENT_SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from datetime import datetime
    from os import PathLike

BACKLOG = 16_384
"""Connections that may wait to be accepted: with the usual 128, a thousand watchers starting at once meet timeouts."""
COMPRESSED_ABOVE = 1000
COMPRESSED = frozenset({JSON, XML, HTML, CSV, "text/plain"})
COMPRESSION_LEVEL = 1
LINGER_NOT = struct.pack("ii", 1, 0)
"""SO_LINGER: closing throws away what was not sent, and says RST instead of FIN."""


@contextlib.asynccontextmanager
async def running(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    seed: int = 0,
    latency: float = 0.0,
    token_lifetime: float = 3600.0,
    client_id: str = FAKE_CLIENT_ID,
    client_secret: str = FAKE_CLIENT_SECRET,
    rate_limits: Iterable[Window | tuple[int, float]] = PRODUCTION,
    concurrency_limit: int | None = 40,
    retry_after: float = 120.0,
    unknown_job_status: Literal[200, 404] = 404,
    aqua_refusal_status: Literal[200, 400] = 400,
    file_ranges: bool = False,
    request_log: int | None = 100_000,
    epoch: datetime = EPOCH,
    scenario: str | PathLike[str] | Mapping[str, Any] | None = None,
) -> AsyncIterator[Emulator]:
    """Run a local Zuora on the running loop, until the block is left.

    Args:
        host: The address to listen on.
        port: The port; 0: any free one.
        scenario: A scenario file, or a mapping of the same form, to load at once.
        seed: See `Options` for this and all others.
        latency: Seconds.
        token_lifetime: Seconds.
        client_id: The only one that gets a token.
        client_secret: The one that goes with it.
        rate_limits: `Window(limit, seconds)` values or such pairs; none: no limit.
        concurrency_limit: Requests at one time.
        retry_after: Seconds.
        unknown_job_status: HTTP status.
        aqua_refusal_status: HTTP status.
        file_ranges: Whether AQuA result files honour Range.
        request_log: How many requests are remembered.
        epoch: When documents' dates start.

    Raises:
        ConfigurationError: An option or the scenario makes no sense.
    """
    options = Options(
        seed=seed,
        latency=latency,
        token_lifetime=token_lifetime,
        client_id=client_id,
        client_secret=client_secret,
        rate_limits=rate_limits,
        concurrency_limit=concurrency_limit,
        retry_after=retry_after,
        unknown_job_status=unknown_job_status,
        aqua_refusal_status=aqua_refusal_status,
        file_ranges=file_ranges,
        request_log=request_log,
        epoch=epoch,
    )
    handler = _Handler()
    server = web.Server(handler, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
        handler.zuora = Emulator(_url(runner.addresses[0]), options)
        if scenario is not None:
            handler.zuora.load_scenario(scenario)
        yield handler.zuora
    finally:
        lines = [connection.transport for connection in server.connections]
        await handler.stop()
        await runner.cleanup()
        for line in filter(None, lines):
            line.abort()  # cleanup() closes it, but then it would wait for the client to read what was sent so far


def _url(address: Any) -> str:
    host, port = address[:2]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


class _Handler:
    """Turns aiohttp's requests into replies, and replies into bytes on the wire."""

    zuora: Emulator

    def __init__(self) -> None:
        self._busy: set[asyncio.Task[Any]] = set()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - aiohttp runs every handler in a task
        self._busy.add(task)
        try:
            body = await request.read() if request.body_exists else b""
            ids = self.zuora.fresh_ids()
            call = Call(request.method, request.path, request.query, request.headers, body, ids)
            return await _send(request, await take(self.zuora, call))
        finally:
            self._busy.discard(task)

    async def stop(self) -> None:
        """Cancel what is still being answered, also for clients that hung up long ago."""
        tasks = list(self._busy)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _send(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    headers = CIMultiDict(reply.headers)
    headers["Content-Type"] = reply.content_type
    content = reply.content()
    accepts_gzip = "gzip" in request.headers.get("Accept-Encoding", "").lower()
    worthwhile = len(content) > COMPRESSED_ABOVE and reply.content_type in COMPRESSED
    if worthwhile and accepts_gzip and "Content-Encoding" not in headers:
        content = gzip.compress(content, COMPRESSION_LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
    delivery = reply.delivery
    options: dict[str, Any] = {"status": reply.status, "headers": headers}
    response = web.StreamResponse(**options) if delivery else web.Response(**options, body=content)
    with contextlib.suppress(ConnectionError):  # the client hung up
        if delivery:
            await delivery(_Line(request, response), content)
        else:  # from here, not by aiohttp afterwards, so that stop() also ends an answer that nobody reads
            await response.prepare(request)
            await response.write_eof()
    return response


class _Line:
    """The connection of one request, for a delivery to play with."""

    def __init__(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        self._request = request
        self._response = response

    async def begin(self, length: int | None) -> None:
        if length is None:
            self._response.enable_chunked_encoding()
        else:
            self._response.content_length = length
        await self._response.prepare(self._request)

    async def send(self, piece: bytes) -> None:
        await self._request.writer.write(piece)

    def hang_up(self) -> None:
        if self._request.transport is not None:
            self._request.transport.close()

    def reset(self) -> None:
        if self._request.transport is not None:
            line = self._request.transport.get_extra_info("socket")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            self._request.transport.abort()
