"""Where the emulator meets the network: the only importer of aiohttp here.

- It serves on the running loop, so that client and emulator share one time, virtual or not.
- Leaving `running()` takes no time: handlers that still sleep or send are cancelled, and nothing outlives the block,
  not even what a client was slow to read.
- Two ports: Zuora's, and that of the store behind presigned URLs.
- Bodies over 1000 bytes are compressed for those who accept gzip, as every page of the vendor's says; parts of files
  are not, nor what is on disk. A file that is compressed on its way cannot be resumed, and its ETag says so by `W/`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web
from multidict import CIMultiDict

from zuora_jobs.emulator.calls import Call
from zuora_jobs.emulator.clock import EPOCH
from zuora_jobs.emulator.deliveries import send_slowly
from zuora_jobs.emulator.gateway import take
from zuora_jobs.emulator.limits import PRODUCTION, Window
from zuora_jobs.emulator.options import Options
from zuora_jobs.emulator.replies import CSV, HTML, JSON, PARTIAL_CONTENT, XML, Line, Reply
from zuora_jobs.emulator.store import LIFETIME
from zuora_jobs.emulator.tenant import Emulator
from zuora_jobs.emulator.tokens import FAKE_CLIENT_ID, FAKE_CLIENT_SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from datetime import datetime
    from os import PathLike

    from zuora_jobs.emulator.contents import Content

try:
    import fcntl
    import termios
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

BACKLOG = 16_384
"""Connections that may wait to be accepted: with the usual 128, a thousand watchers starting at once meet timeouts."""
COMPRESSED_ABOVE = 1000
COMPRESSED = frozenset({JSON, XML, HTML, CSV, "text/plain"})
COMPRESSION_LEVEL = 1
FLUSH_TURNS = 10_000
"""Of the loop, that a client is given to take what was sent to it."""
READING_TURNS = 20
"""Of the loop, that a client on the same loop is given to read it."""
LINGER_NOT = struct.pack("ii", 1, 0)
"""SO_LINGER: closing throws away what was not sent, and says RST instead of FIN."""


@contextlib.asynccontextmanager
async def running(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    store_port: int = 0,
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
    submit_refusal_status: Literal[200, 400] = 200,
    delete_answer: Literal["job-id", "operation"] = "job-id",
    aqua_jobs_at_once: int | None = 50,
    file_ranges: bool = True,
    url_lifetime: float = LIFETIME,
    urls_renewed: bool = True,
    request_log: int | None = 100_000,
    epoch: datetime = EPOCH,
    scenario: str | PathLike[str] | Mapping[str, Any] | None = None,
) -> AsyncIterator[Emulator]:
    """Run a local Zuora on the running loop, until the block is left.

    Args:
        host: The address to listen on.
        port: The port; 0: any free one.
        store_port: The port of the store behind presigned URLs; 0: any free one.
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
        submit_refusal_status: HTTP status.
        delete_answer: Which of the documented answers to DELETE of an invoice.
        aqua_jobs_at_once: AQuA jobs that may be submitted or executing, of either mode.
        file_ranges: Whether AQuA result files honour Range.
        url_lifetime: Seconds that a presigned URL is good for.
        urls_renewed: Whether fresh ones follow those that expire.
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
        submit_refusal_status=submit_refusal_status,
        delete_answer=delete_answer,
        aqua_jobs_at_once=aqua_jobs_at_once,
        file_ranges=file_ranges,
        url_lifetime=url_lifetime,
        urls_renewed=urls_renewed,
        request_log=request_log,
        epoch=epoch,
    )
    handler = _Handler()
    server = web.Server(handler, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
        ours = len(runner.addresses)
        await web.TCPSite(runner, host, store_port, backlog=BACKLOG).start()
        addresses = runner.addresses
        handler.store_ports = {address[1] for address in addresses[ours:]}
        handler.zuora = Emulator(_url(addresses[0]), options, _url(addresses[ours]))
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
    store_ports: set[int]

    def __init__(self) -> None:
        self._busy: set[asyncio.Task[Any]] = set()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - aiohttp runs every handler in a task
        self._busy.add(task)
        try:
            body = await request.read() if request.body_exists else b""
            ids = self.zuora.fresh_ids()
            at_store = self._port_of(request) in self.store_ports
            call = Call(request.method, request.path, request.query, request.headers, body, ids, at_store)
            return await _send(request, await take(self.zuora, call))
        finally:
            self._busy.discard(task)

    @staticmethod
    def _port_of(request: web.BaseRequest) -> int | None:
        """The port that it came in at; None if the client has hung up already."""
        return None if request.transport is None else int(request.transport.get_extra_info("sockname")[1])

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
    if isinstance(content, bytes) and _to_compress(request, reply, content):
        content = gzip.compress(content, COMPRESSION_LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
        if headers.pop("Accept-Ranges", None):
            headers["ETag"] = f"W/{headers['ETag']}"
    delivery = reply.delivery or (None if isinstance(content, bytes) else _all_of_it)
    options: dict[str, Any] = {"status": reply.status, "headers": headers}
    response = web.StreamResponse(**options) if delivery else web.Response(**options, body=content)
    with contextlib.suppress(ConnectionError):  # the client hung up
        if delivery:
            await delivery(_Line(request, response), content)
        else:  # from here, not by aiohttp afterwards, so that stop() also ends an answer that nobody reads
            await response.prepare(request)
            await response.write_eof()
    return response


async def _all_of_it(line: Line, content: Content) -> None:
    await line.begin(len(content))
    await send_slowly(line, content)


def _to_compress(request: web.BaseRequest, reply: Reply, content: bytes) -> bool:
    worthwhile = len(content) > COMPRESSED_ABOVE and reply.content_type in COMPRESSED
    taken = "Content-Encoding" in CIMultiDict(reply.headers) or reply.status == PARTIAL_CONTENT
    return worthwhile and not taken and _accepts_gzip(request.headers.get("Accept-Encoding", ""))


def _accepts_gzip(header: str) -> bool:
    codings = (coding.replace(" ", "").lower().partition(";q=") for coding in header.split(","))
    return any(name == "gzip" and (weight or "1").strip("0.") for name, _, weight in codings)


def _unacknowledged(line: asyncio.Transport) -> int:
    """How many bytes have left the process, and not yet reached the other side, where the system tells."""
    if fcntl is None:
        return 0
    waiting = fcntl.ioctl(line.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(waiting, sys.byteorder)


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

    async def flush(self) -> None:
        line = self._request.transport
        for _ in range(FLUSH_TURNS):
            if line is None or line.is_closing() or not (line.get_write_buffer_size() or _unacknowledged(line)):
                break
            await asyncio.sleep(0)
        for _ in range(READING_TURNS):
            await asyncio.sleep(0)

    def reset(self) -> None:
        if self._request.transport is not None:
            line = self._request.transport.get_extra_info("socket")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            self._request.transport.abort()
