"""The short way for GETs: whether it is taken, and that what goes out on it is what the session would send."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from zuora_jobs import Settings
from zuora_jobs.protocol.messages import Request
from zuora_jobs.transport import express
from zuora_jobs.transport.http import HttpTransport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def transport_to(url: str) -> HttpTransport:
    return HttpTransport(Settings(base_url=url, access_token="t"))


def test_the_aiohttp_that_is_installed_is_known_to_have_a_short_way() -> None:
    assert express.is_known(), (
        f"aiohttp {aiohttp.__version__} is new: run the tests of this folder with it added to `express.KNOWN`; if they pass"
        " it belongs there, and until then every GET goes by the session, which works, at more than twice the cost"
    )


@pytest.mark.parametrize(
    ("version", "known"), [("3.13.5", True), ("3.14.0", True), ("3.14.5rc1", True), ("4.0.0", False)]
)
def test_a_version_is_known_by_its_first_two_numbers(
    version: str, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp, "__version__", version)
    assert express.is_known() is known


@pytest.fixture
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    def request(*_: Any, **__: Any) -> Any:
        raise ValueError("by the session")

    monkeypatch.setattr(aiohttp.ClientSession, "request", request)


@pytest.mark.usefixtures("no_session")
async def test_a_get_takes_it_and_what_has_a_body_or_changes_something_does_not(raw_server: Callable[..., Any]) -> None:
    async with raw_server(OK) as server, transport_to(server.url) as send:
        assert (await send(Request("GET", "/v1/x"))).json == {}
        for request in (
            Request("POST", "/v1/x", body=b"{}"),
            Request("DELETE", "/v1/x"),
            Request("GET", "/", body=b""),
        ):
            with pytest.raises(Exception, match="ValueError"):
                await send(request)
    assert len(server.heard) == 1


@pytest.mark.usefixtures("no_session")
async def test_with_an_aiohttp_that_is_not_known_nothing_does(
    raw_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp, "__version__", "5.0.0")
    async with raw_server(OK) as server, transport_to(server.url) as send:
        with pytest.raises(Exception, match="ValueError"):
            await send(Request("GET", "/v1/x"))


REQUESTS = [
    Request("GET", "/v1/operations/jobs/x"),
    Request("GET", "/v1/a%2Fb%20c", query="q=%2C,&fields=Id,Balance"),
    Request("GET", "/v1/x", authorization="Bearer b"),
    Request("GET", "/v1/x", headers={"Zuora-Track-Id": "t", "Zuora-Org-Ids": "1,2"}, authorization="Bearer b"),
    Request("GET", "/v1/x", headers={"accept": "text/html"}),
]


@pytest.mark.parametrize("base_path", ["", "/proxy/to/zuora"])
async def test_the_bytes_are_those_that_the_session_would_send(
    base_path: str, raw_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with raw_server(OK) as server:
        for known in (express.KNOWN, frozenset()):
            monkeypatch.setattr(express, "KNOWN", known)
            async with transport_to(server.url + base_path) as send:
                for request in REQUESTS:
                    await send(request)
    short, usual = server.heard[: len(REQUESTS)], server.heard[len(REQUESTS) :]
    for ours, aiohttps in zip(short, usual, strict=True):
        assert ours.split(b"\r\n")[0] == aiohttps.split(b"\r\n")[0]
        assert sorted(ours.lower().split(b"\r\n")) == sorted(aiohttps.lower().split(b"\r\n"))


async def test_each_token_goes_out_and_only_those_of_late_are_kept(raw_server: Callable[..., Any]) -> None:
    async with raw_server(OK) as server, transport_to(server.url) as send:
        tokens = [f"Bearer {number}" for number in range(200)]
        for token in tokens:
            for _ in range(2):
                await send(Request("GET", "/v1/x", authorization=token))
        assert send._express is not None
        assert len(send._express._letterheads) <= 64
    sent = [
        line.partition(b": ")[2].decode() for raw in server.heard for line in raw.split(b"\r\n") if b"uthoriz" in line
    ]
    assert sent == [token for token in tokens for _ in range(2)]


async def test_headers_that_somebody_changes_go_out_as_they_are_now(raw_server: Callable[..., Any]) -> None:
    headers = {"Zuora-Track-Id": "before"}
    async with raw_server(OK) as server, transport_to(server.url) as send:
        await send(Request("GET", "/v1/x", headers=headers))
        headers["Zuora-Track-Id"] = "after"
        await send(Request("GET", "/v1/x", headers=headers))
    assert [b"before" in raw for raw in server.heard] == [True, False]


async def test_many_at_once_each_get_their_own_answer() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path))
                await asyncio.sleep(0)
                writer.write(path)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(echo(reader, writer)))

    tasks: list[asyncio.Task[None]] = []
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        async with transport_to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as send:
            paths = [f"/v1/{number}" for number in range(100)]
            for _ in range(2):
                answers = await asyncio.gather(*(send(Request("GET", path)) for path in paths))
                assert [answer.body.decode() for answer in answers] == paths
        await asyncio.gather(*tasks)
    assert len(tasks) == len(paths), "connections are kept"
