"""What goes over the wire when the line itself is the trouble. Most of it is read by a bare socket."""

import asyncio
import gzip
import json
import logging
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from zuora_jobs import emulator
from zuora_jobs.emulator import Answer, Bomb, CutAfter, EndlessHeaders, Fault, Flood, LoseReply, Step, Trickle, Truncate
from zuora_jobs.emulator.deliveries import MIB
from zuora_jobs.emulator.replies import Line, Reply
from zuora_jobs.errors import ConfigurationError

REQUEST = b"GET /v1/files/1 HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No delivery may make the server complain in its log, whichever side hangs up."""
    with caplog.at_level(logging.WARNING):
        yield
    assert not caplog.records


@asynccontextmanager
async def socket_to(zuora: emulator.Emulator) -> AsyncIterator[asyncio.StreamReader]:
    """A connection on which one request has been sent. It reads nothing unless told to."""
    host, _, port = zuora.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2000)
    writer.write(REQUEST)
    try:
        yield reader
    finally:
        writer.close()


@asynccontextmanager
async def struck(effect: Any) -> AsyncIterator[tuple[emulator.Emulator, asyncio.StreamReader]]:
    async with emulator.running() as zuora, socket_to(zuora) as reader:
        zuora.fault(effect)
        yield zuora, reader


def open_sockets() -> set[int]:
    """The sockets that the loop watches, by number."""
    loop: Any = asyncio.get_running_loop()
    return {key.fd for key in loop._selector.get_map().values()}


async def head_of(reader: asyncio.StreamReader) -> list[bytes]:
    return (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[:-2]


async def test_not_gzip(calling: Any) -> None:
    async with calling() as caller, aiohttp.ClientSession(caller.zuora.url, auto_decompress=False) as session:
        job = caller.zuora.add_job("aqua", life=[Step("completed")])
        caller.zuora.fault("not-gzip")
        for encodings in ("gzip", "identity"):
            headers = {**caller.authorization, "Accept-Encoding": encodings}
            async with session.get(job.family.route + job.id, headers=headers) as response:
                assert response.headers.getall("Content-Encoding") == ["gzip"]
                assert (await response.json())["status"] == "completed"
        with pytest.raises(aiohttp.ClientPayloadError, match="Can not decode content-encoding: gzip"):
            await caller.poll(job)


async def test_bomb() -> None:
    async with struck("bomb") as (_, reader):
        head = await head_of(reader)
        assert head[0] == b"HTTP/1.1 200 OK"
        assert b"Content-Encoding: gzip" in head
        length = next(int(line.split()[1]) for line in head if line.startswith(b"Content-Length"))
        assert length < 300_000
        body = await reader.readexactly(length)
    unpacker, inflated = zlib.decompressobj(31), 0
    while body:
        inflated += len(unpacker.decompress(body, MIB))
        body = unpacker.unconsumed_tail
    assert unpacker.eof
    assert inflated == 200 * MIB


async def test_a_bomb_is_made_once_and_holds_json() -> None:
    first, second = [await Bomb(MIB).strike(pytest.fail) for _ in range(2)]
    assert first.body is second.body
    assert isinstance(first.body, bytes)
    document = gzip.decompress(first.body)
    assert (len(document), document.count(b" "), list(json.loads(document))) == (MIB, MIB - 14, ["padding"])


async def test_oversized(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.fault("oversized")
        async with caller.session.get("/v1/files/1") as response:
            assert (response.status, response.content_type, response.content_length) == (200, "application/json", None)
            ends = first = await response.content.readexactly(20)
            read = len(first)
            async for piece in response.content.iter_any():
                read += len(piece)
                ends = (ends + piece)[-3:]
        assert first.startswith(b'{"padding": "  ')
        assert ends == b' "}'
        assert read == 64 * MIB
        assert caller.zuora.requests[0].status == 200


async def test_a_flood_is_json(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.fault(Flood(100_000))
        body = await caller.read("/v1/files/1")
        assert len(body) == 100_000
        assert json.loads(body)["padding"].isspace()


@pytest.mark.looptime
@pytest.mark.parametrize("effect", ["oversized", "endless-headers"])
async def test_a_client_that_does_not_read_costs_little_memory_and_no_time(effect: Any, looptime: Any) -> None:
    tracemalloc.start()
    try:
        async with emulator.running() as zuora:
            zuora.fault(effect)
            async with socket_to(zuora) as reader:
                await reader.readexactly(1)
                await asyncio.sleep(1000)
                assert tracemalloc.get_traced_memory()[1] < 4 * MIB
                assert [record.status for record in zuora.requests] == [200 if effect == "oversized" else None]
    finally:
        tracemalloc.stop()
    assert looptime == 1000


@pytest.mark.looptime
@pytest.mark.parametrize(
    "effect",
    ["oversized", "endless-headers", "trickle", "bomb", Answer(200, b"x" * 20 * MIB, content_type="image/png")],
    ids=lambda effect: effect if isinstance(effect, str) else "large",
)
async def test_nothing_outlives_the_block(effect: Any, looptime: Any) -> None:
    open_before = open_sockets()
    async with AsyncExitStack() as later:
        async with emulator.running() as zuora:
            zuora.fault(effect)
            reader: Any = await later.enter_async_context(socket_to(zuora))
            await asyncio.sleep(1.5)
            theirs = open_sockets() - open_before - {reader._transport.get_extra_info("socket").fileno()}
            assert len(theirs) == 3  # the two that listen, and its end of the line
        assert looptime == 1.5
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not open_sockets() & theirs  # although nobody has read what was sent


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("effect", "taken"),
    [
        ("oversized", 100),
        ("oversized", 8 * MIB),
        ("endless-headers", 100),
        (EndlessHeaders(0), 8 * MIB),
        ("trickle", 80),
    ],
    ids=str,
)
async def test_it_stops_when_the_client_hangs_up(effect: Any, taken: Any, looptime: Any) -> None:
    async with emulator.running() as zuora:
        zuora.fault(effect)
        async with socket_to(zuora) as reader:
            while taken > 0:
                taken -= len(await reader.read(min(taken, MIB)))
            assert len(asyncio.all_tasks()) > 1
        for _ in range(10):
            await asyncio.sleep(0)
        await asyncio.sleep(1)
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert looptime < 2


@pytest.mark.looptime
async def test_trickle(looptime: Any) -> None:
    async with struck("trickle") as (_, reader):
        head = await head_of(reader)
        length = next(int(line.split()[1]) for line in head if line.startswith(b"Content-Length"))
        body = await reader.readexactly(1)
        assert looptime == 0
        for second in range(1, length):
            body += await reader.readexactly(1)
            assert looptime == second
    assert json.loads(body) == {"message": "Authentication error"}


@pytest.mark.looptime
async def test_a_trickle_is_as_fast_as_it_is_told_and_keeps_the_connection(calling: Any, looptime: Any) -> None:
    async with calling() as caller:
        caller.zuora.fault(Fault(Trickle(0.5), times=1))
        caller.zuora.fault(Fault(emulator.Answer(200, b"12345"), times=1))
        assert await caller.read("/v1/files/1") == b"12345"
        assert looptime == 2
        caller.zuora.fault(Fault("trickle", times=1))
        caller.zuora.fault(Fault("empty", times=1))
        assert await caller.read("/v1/files/1") == b""
        assert looptime == 2


async def test_endless_headers() -> None:
    async with struck("endless-headers") as (_, reader):
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        assert await reader.readline() == b"Content-Type: application/json\r\n"
        async with asyncio.timeout(20):
            for _ in range(5000):
                name, _, value = (await reader.readuntil(b"\r\n")).partition(b": ")
                assert (name, value) == (b"X-Filler", b"x" * 1000 + b"\r\n")


@pytest.mark.looptime
async def test_virtual_time_goes_on_while_headers_do_not_end(looptime: Any) -> None:
    async with struck("endless-headers") as (_, reader):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                while True:
                    await reader.read(1000)
    assert looptime == 1


async def test_reset() -> None:
    async with struck("reset") as (zuora, reader):
        with pytest.raises(ConnectionResetError):  # with FIN in place of RST it would be an empty read
            await reader.read()
        assert [record.status for record in zuora.requests] == [None]
    async with struck("dropped") as (_, reader):
        assert await reader.read() == b""


class Talkative:
    """An effect of a user's own: sends on a line that is closed."""

    async def strike(self, proceed: Any) -> Reply:
        return Reply(delivery=self.deliver)

    async def deliver(self, line: Line, content: bytes) -> None:
        line.hang_up()
        await line.send(b"x")
        raise AssertionError


async def test_a_delivery_ends_where_the_line_does() -> None:
    async with struck(Talkative()) as (_, reader):
        assert await reader.read() == b""


async def test_truncated_on_the_wire() -> None:
    async with struck(Truncate(0.5)) as (_, reader):
        head = await head_of(reader)
        assert b"Content-Length: 35" in head
        assert await reader.read() == b'{"message": "Auth'


async def test_cut_after_on_the_wire() -> None:
    async with struck(CutAfter(bytes=7)) as (_, reader):
        head = await head_of(reader)
        assert b"Content-Length: 35" in head
        assert await reader.readexactly(7) == b'{"messa'
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_an_answer_that_is_short_enough_is_not_cut() -> None:
    async with struck(CutAfter(bytes=35)) as (_, reader):
        await head_of(reader)
        assert await reader.readexactly(35) == b'{"message": "Authentication error"}'


@pytest.mark.looptime
async def test_a_cut_may_come_later(looptime: Any) -> None:
    async with struck(CutAfter(bytes=7, seconds=3)) as (_, reader):
        await head_of(reader)
        await reader.readexactly(7)
        assert looptime == 0
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert looptime == 3


@pytest.mark.looptime
async def test_a_cut_does_not_wait_for_ever_for_a_client_that_does_not_read(looptime: Any) -> None:
    async with emulator.running() as zuora:
        zuora.fault(CutAfter(bytes=100_000))
        zuora.fault(Answer(200, b"x" * MIB, content_type="image/png"))
        async with socket_to(zuora):
            await asyncio.sleep(1)
            for _ in range(20_000):
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}
    assert looptime == 1


async def test_the_effects_that_end_each_other() -> None:
    """What is cut by two effects is cut by the outermost."""
    async with emulator.running() as zuora:
        zuora.fault(CutAfter(bytes=3))
        zuora.fault(LoseReply())
        async with socket_to(zuora) as reader:
            await head_of(reader)
            assert await reader.readexactly(3) == b'{"m'


async def test_lose_reply_on_the_wire() -> None:
    async with struck("lose-reply") as (zuora, reader):
        assert await reader.read() == b""
        assert [record.status for record in zuora.requests] == [None]


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: CutAfter(bytes=-1), "after some bytes, not -1"),
        (lambda: CutAfter(seconds=-1), "its last byte, not -1"),
        (lambda: Trickle(-1), "seconds apart, not -1"),
        (lambda: EndlessHeaders(-0.5), "seconds apart, not -0.5"),
        (lambda: Flood(10), "at least 65536 bytes, not 10"),
        (lambda: Bomb(0), "at least 65536 bytes, not 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nonsense_is_refused(make: Any, complaint: Any) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        make()
