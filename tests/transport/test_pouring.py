"""Bodies that go into a sink: by whichever way, on whichever loop, under TLS or not, they come whole or as far as they came."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from attrs import define, evolve, field

from zuora_jobs import Settings
from zuora_jobs.errors import CannotSave, ConnectionFailed, ResponseTimeout
from zuora_jobs.protocol.messages import Request, fault
from zuora_jobs.transport import express, http, pouring
from zuora_jobs.transport.flow import BLOCK, BLOCKS, Flow
from zuora_jobs.transport.http import HttpTransport

BODY = Random(1).randbytes(5 * BLOCK + 12_345)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: %d\r\n\r\n"
OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"a": "bc"}'


@define
class Sink:
    """Takes all, at its own pace."""

    pause: float = 0.0
    fails_after: float = float("inf")
    status: int | None = None
    got: bytearray = field(factory=bytearray, repr=False)
    pieces: int = 0
    is_under_way: asyncio.Event = field(factory=asyncio.Event)

    async def begin(self, status: int, headers: Any) -> None:
        self.status = status

    async def write(self, data: Any) -> None:
        self.got += data
        self.pieces += 1
        if self.pieces > 1:
            self.is_under_way.set()
        if len(self.got) > self.fails_after:
            raise CannotSave("no room")
        await asyncio.sleep(self.pause)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl to make a certificate with")
    return folder


Serve = Callable[..., Any]


@pytest.fixture(params=["plain", "tls"])
def serve(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Run a server that hands each connection's requests to a function, and a transport that talks to it."""

    @asynccontextmanager
    async def run(play: Callable[..., Any]) -> AsyncIterator[tuple[HttpTransport, list[int]]]:
        context = None
        connections: list[int] = []
        if request.param == "tls":
            folder = request.getfixturevalue("certificate")
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
            trusting = ssl.create_default_context(cafile=folder / "cert.pem")
            connector = aiohttp.TCPConnector
            monkeypatch.setattr(aiohttp, "TCPConnector", lambda **options: connector(ssl=trusting, **options))

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(0)
            try:
                while await reader.readuntil(b"\r\n\r\n"):
                    connections[-1] += 1
                    if await play(reader, writer) == "cut":
                        break
            except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
        scheme = "https" if context else "http"
        url = f"{scheme}://localhost:{server.sockets[0].getsockname()[1]}"
        try:
            async with HttpTransport(Settings(base_url=url, access_token="canary-token")) as transport:
                yield transport, connections
        finally:
            server.close()
            await asyncio.sleep(0.01)

    return run


@pytest.fixture(params=["taken over", "as usual"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    begun: list[Flow] = []
    real = Flow.pour_into

    async def pour_into(flow: Flow, write: Any) -> None:
        begun.append(flow)
        await real(flow, write)

    monkeypatch.setattr(Flow, "pour_into", pour_into)
    if request.param == "as usual":
        monkeypatch.setattr(express, "KNOWN", frozenset())
    yield str(request.param)
    assert bool(begun) is (request.param == "taken over")


def asking(sink: Sink) -> Request:
    return Request("GET", "/v1/files/f1", sink=sink)


async def whole(_: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD % len(BODY) + BODY)
    await writer.drain()


async def test_a_long_body_is_whole_and_its_connection_is_not_used_again(serve, way):
    async with serve(whole) as (transport, connections):
        for _ in range(2):
            sink = Sink()
            response = await transport(asking(sink))
            assert (response.status, response.body, response.poured, response.cut) == (200, b"", True, None)
            assert fault(asking(sink), response) is None
            assert sha256(sink.got).digest() == sha256(BODY).digest()
            assert sink.status == 200
    assert connections == ([1, 1] if way == "taken over" else [2])


async def test_a_slow_disk_holds_the_server_back(serve, way):
    sent = 0

    async def count(_: Any, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(HEAD % (40 * BLOCK))
        for _ in range(40):
            writer.write(bytes(BLOCK))
            await writer.drain()
            sent += BLOCK

    class Slow(Sink):
        async def write(self, data: Any) -> None:
            self.pieces += 1
            if self.pieces == 1:
                await asyncio.sleep(0.5)
                self.held_at = sent
            self.got += data

    sink = Slow()
    async with serve(count) as (transport, _):
        await transport(asking(sink))
    assert len(sink.got) == 40 * BLOCK
    assert sink.held_at < 30 * BLOCK, "what is not written is not read either"


async def test_what_came_before_a_cut_is_there(serve, way):
    kept = 2 * BLOCK + 777

    async def cut(_: Any, writer: asyncio.StreamWriter) -> str:
        writer.write(HEAD % len(BODY) + BODY[:kept])
        await writer.drain()
        return "cut"

    sink = Sink(pause=0.001)
    async with serve(cut) as (transport, _):
        response = await transport(asking(sink))
    assert isinstance(response.cut, ConnectionFailed)
    assert "/v1/files/f1" in str(response.cut)
    assert fault(asking(sink), response) is None, "somebody is there, and took the token"
    assert sink.got == BODY[:kept]


async def test_what_the_sink_says_ends_it(serve, way):
    sink = Sink(fails_after=BLOCK)
    async with serve(whole) as (transport, _):
        response = await transport(asking(sink))
        assert isinstance(response.cut, CannotSave)
        response = await transport(asking(again := Sink()))
        assert response.cut is None
        assert again.got == BODY
    assert len(sink.got) < len(BODY)


async def test_silence_ends_it(serve, way, monkeypatch):
    monkeypatch.setattr(http, "SILENCE", 0.2)

    async def stall(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD % len(BODY) + BODY[: 2 * BLOCK])
        await writer.drain()
        await asyncio.sleep(0.15)
        writer.write(BODY[2 * BLOCK : 3 * BLOCK])
        await writer.drain()
        await asyncio.sleep(5)

    sink = Sink()
    async with serve(stall) as (transport, _):
        response = await transport(asking(sink))
    assert isinstance(response.cut, ResponseTimeout)
    assert "nothing more" in str(response.cut)
    assert len(sink.got) == 3 * BLOCK


async def test_who_is_cancelled_lets_go_of_the_connection(serve, way):
    async def stall(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD % len(BODY) + BODY[: 2 * BLOCK])
        await asyncio.sleep(5)

    sink = Sink()
    async with serve(stall) as (transport, _):
        task = asyncio.ensure_future(transport(asking(sink)))
        await sink.is_under_way.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not transport._session.connector._acquired


async def test_a_transport_that_is_closed_meanwhile_ends_it(serve):
    async def stall(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD % len(BODY) + BODY[: 2 * BLOCK])
        await asyncio.sleep(5)

    sink = Sink()
    async with serve(stall) as (transport, _):
        task = asyncio.ensure_future(transport(asking(sink)))
        await sink.is_under_way.wait()
        await asyncio.wait_for(transport.__aexit__(None, None, None), 2)
        response = await task
    assert isinstance(response.cut, ConnectionFailed)


async def test_a_document_is_read_as_a_document(serve, monkeypatch):
    async def document(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    sink = Sink()
    async with serve(document) as (transport, _):
        response = await transport(asking(sink))
        elsewhere = evolve(asking(sink), url=f"{transport._base}/v1/files/f1")
        assert await transport(elsewhere) == response
    assert (response.poured, response.json) == (False, {"a": "bc"})
    assert sink.status is None


def test_it_is_the_same_on_uvloop(serve, way):
    uvloop = pytest.importorskip("uvloop")

    async def cut(_: Any, writer: asyncio.StreamWriter) -> str | None:
        writer.write(HEAD % len(BODY) + BODY[: 3 * BLOCK if cuts else None])
        await writer.drain()
        return cuts.pop() if cuts else None

    async def main() -> list[Any]:
        sinks = [Sink(pause=0.01), Sink()]
        async with serve(cut) as (transport, _):
            return [(await transport(asking(sink)), bytes(sink.got)) for sink in sinks]

    cuts = ["cut"]
    (first, some), (second, all_of_it) = uvloop.run(main())
    assert isinstance(first.cut, ConnectionFailed)
    assert BODY.startswith(some)
    assert len(some) == 3 * BLOCK
    assert second.cut is None
    assert all_of_it == BODY


def test_the_memory_of_a_flow_is_bounded():
    assert BLOCKS * BLOCK <= 8 * 1024 * 1024
    assert pouring.LONG <= BLOCK
