"""The aiohttp session, against real sockets: what goes out, what comes in, and what goes wrong in between."""

import asyncio
import gzip
import json
import logging
import socket
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from zuora_jobs import AQUA, OPERATION, Settings, ZuoraClient
from zuora_jobs.errors import (
    ConnectionFailed,
    MalformedResponse,
    Rejected,
    ResponseTimeout,
    TransportError,
    WatcherClosed,
    ZuoraJobsError,
)
from zuora_jobs.protocol.messages import Request
from zuora_jobs.transport import express
from zuora_jobs.transport.auth import Bearer
from zuora_jobs.transport.http import GZIP_FROM, HttpTransport
from zuora_jobs.transport.retry import Patience

HANDLE = OPERATION.handle("2c92c8fd8e4b2a1c018e4b3f4a5d0001")
ASK = Request("GET", "/v1/operations/jobs/x")
DOCUMENT = {"id": HANDLE.id, "status": "Completed", "success": True, "objectType": "Invoice"}
IMPATIENT = Patience(again=0, briefly=0)


def reply(body: bytes = b'{"status": "Completed"}', status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


OK = reply(json.dumps(DOCUMENT).encode(), Content_Type="application/json")


def headers_of(raw: bytes) -> dict[str, str]:
    lines = raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def settings_for(url: str, **options: Any) -> Settings:
    if "client_id" not in options:
        options.setdefault("access_token", "canary-token-5f1d")
    return Settings(base_url=url, **options)


@pytest.fixture(autouse=True, params=["the short way", "by the session"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way a GET goes, nobody outside can tell."""
    if request.param == "by the session":
        monkeypatch.setattr(express, "KNOWN", frozenset())


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


# --- what goes out


async def test_a_request_goes_out_as_the_vendors_pages_have_it(raw_server: Callable[..., Any]) -> None:
    request = Request(
        "GET",
        "/v1/object/invoice/x",
        query="fields=Id,Balance",
        headers={"Zuora-Track-Id": "t"},
        authorization="Bearer b",
    )
    async with raw_server(reply()) as server, HttpTransport(settings_for(server.url)) as send:
        response = await send(request)
    (raw,) = server.heard
    assert raw.startswith(b"GET /v1/object/invoice/x?fields=Id,Balance HTTP/1.1\r\n")
    sent = headers_of(raw)
    assert sent["authorization"] == "Bearer b"
    assert sent["accept-encoding"] == "gzip"
    assert sent["zuora-track-id"] == "t"
    assert sent["host"] == f"127.0.0.1:{server.port}"
    assert {"cookie", "content-encoding", "content-length", "idempotency-key"}.isdisjoint(sent)
    assert response.status == 200


async def test_a_path_goes_out_as_it_is_and_under_the_base_urls_own_path(raw_server: Callable[..., Any]) -> None:
    async with raw_server(reply()) as server, HttpTransport(settings_for(server.url + "/proxy/")) as send:
        await send(Request("GET", "/v1/a%2Fb%20c", query="q=%2C,"))
    assert server.heard[0].startswith(b"GET /proxy/v1/a%2Fb%20c?q=%2C, HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("size", "content_type", "compressed"),
    [
        (GZIP_FROM - 1, None, False),
        (GZIP_FROM, None, True),
        (100_000, "application/json", True),
        (100_000, "application/x-www-form-urlencoded", False),
        (2, None, False),
    ],
)
async def test_a_body_worth_it_is_compressed(
    size: int, content_type: str | None, compressed: bool, raw_server: Callable[..., Any]
) -> None:
    body = b"x" * size
    headers = {"Content-Type": content_type} if content_type else {}
    async with raw_server(reply()) as server, HttpTransport(settings_for(server.url)) as send:
        await send(Request("POST", "/v1/batch-query/", headers=headers, body=body))
    sent = headers_of(server.heard[0])
    received = server.heard[0].partition(b"\r\n\r\n")[2]
    assert sent.get("content-encoding") == ("gzip" if compressed else None)
    assert (gzip.decompress(received) if compressed else received) == body
    assert sent["content-length"] == str(len(received))
    assert sent["content-type"] == (content_type or "application/json")


async def test_the_idempotency_key_of_a_post_is_on_the_wire(raw_server: Callable[..., Any]) -> None:
    async with raw_server(reply()) as server, HttpTransport(settings_for(server.url)) as send:
        await send(Request("POST", "/v1/x", headers={"Idempotency-Key": "abc-1"}, body=b"{}"))
    assert headers_of(server.heard[0])["idempotency-key"] == "abc-1"


async def test_polls_share_connections_and_leave_none_behind(
    raw_server: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    async with raw_server(reply()) as server:
        async with HttpTransport(settings_for(server.url)) as send:
            for _ in range(5):
                await send(ASK)
            assert server.connections == 1
            assert server.open == 1
        await eventually(lambda: not server.open)


async def test_no_pool_stands_in_the_way_of_the_budget(
    raw_server: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    async with raw_server(None) as server, HttpTransport(settings_for(server.url)) as send:
        tasks = [asyncio.create_task(send(ASK)) for _ in range(150)]
        await eventually(lambda: len(server.heard) == 150)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends)


async def test_there_is_no_total_timeout_since_it_would_count_waiting_for_a_connection() -> None:
    async with HttpTransport(settings_for("http://127.0.0.1:1", connect_timeout=3)) as send:
        assert send._session is not None
        timeout = send._session.timeout
        assert timeout.total is None
        assert timeout.connect is None
        assert timeout.sock_connect == 3


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
async def test_a_proxy_in_the_environment_gets_nothing(
    variable: str, raw_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with raw_server(reply()) as server, raw_server(reply()) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        async with HttpTransport(settings_for(server.url)) as send:
            await send(ASK)
    assert len(server.heard) == 1
    assert proxy.heard == []


async def test_cookies_are_not_sent_back(raw_server: Callable[..., Any]) -> None:
    async with raw_server(reply(Set_Cookie="session=1; Path=/")) as server:
        async with HttpTransport(settings_for(server.url.replace("127.0.0.1", "localhost"))) as send:
            await send(ASK)
            await send(ASK)
    assert ["cookie" in headers_of(raw) for raw in server.heard] == [False, False]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_the_token_follows_no_redirect(status: str, raw_server: Callable[..., Any]) -> None:
    async with raw_server(OK) as elsewhere:
        moved = reply(b"", status, Location=f"{elsewhere.url}/v1/operations/jobs/{HANDLE.id}")
        async with raw_server(moved) as server, ZuoraClient(settings_for(server.url), patience=IMPATIENT) as client:
            with pytest.raises(Rejected, match=f"HTTP {status[:3]}"):
                await client.job(HANDLE)
            assert len(server.heard) == 1
    assert elsewhere.heard == []


@pytest.mark.parametrize("status", ["302 Found", "307 Temporary"])
async def test_the_client_secret_follows_no_redirect(status: str, raw_server: Callable[..., Any]) -> None:
    async with raw_server(OK) as elsewhere:
        moved = reply(b"", status, Location=f"{elsewhere.url}/oauth/token")
        async with raw_server(moved) as server:
            settings = settings_for(server.url, client_id="c", client_secret="s")
            async with ZuoraClient(settings, patience=IMPATIENT) as client:
                with pytest.raises(Rejected):
                    await client.job(HANDLE)
    assert elsewhere.heard == []


# --- what comes in


NONSENSE = {
    "Content_Encoding": "string",
    "RateLimit_Limit": "string",
    "RateLimit_Remaining": "string",
    "RateLimit_Reset": "string",
    "Concurrency_Limit_Limit": "string",
    "Retry_After": "string",
    "Date": "string",
    "Zuora_Request_Id": "string",
    "Zuora_Track_Id": "string",
    "Content_Type": "string",
    "Set_Cookie": "string",
    "ETag": "string",
}


async def test_the_nonsense_headers_of_generated_mock_servers_are_no_stumbling_block(
    raw_server: Callable[..., Any],
) -> None:
    body = json.dumps(DOCUMENT).encode()
    async with (
        raw_server(reply(body, **NONSENSE)) as server,
        ZuoraClient(settings_for(server.url), patience=IMPATIENT) as client,
    ):
        for _ in range(3):
            assert (await client.job(HANDLE)).status == "Completed"
        assert client.limiter.held_seconds == 0
    assert len(server.heard) == 3


async def test_an_error_with_nonsense_headers_is_read_as_well(raw_server: Callable[..., Any]) -> None:
    body = b'{"success": false, "reasons": [{"code": 50000020, "message": "bad value"}]}'
    async with (
        raw_server(reply(body, "400 Bad Request", **NONSENSE)) as server,
        ZuoraClient(settings_for(server.url), patience=IMPATIENT) as client,
    ):
        with pytest.raises(Rejected, match="bad value") as caught:
            await client.job(HANDLE)
    assert caught.value.request_id == "string"
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(json.dumps(DOCUMENT).encode(), mtime=0)),
        ("GZIP", gzip.compress(json.dumps(DOCUMENT).encode(), mtime=0)),
        ("deflate", zlib.compress(json.dumps(DOCUMENT).encode())),
        ("identity", json.dumps(DOCUMENT).encode()),
        ("", json.dumps(DOCUMENT).encode()),
    ],
    ids=repr,
)
async def test_a_compressed_answer_is_read(encoding: str, body: bytes, raw_server: Callable[..., Any]) -> None:
    async with (
        raw_server(reply(body, Content_Encoding=encoding)) as server,
        ZuoraClient(settings_for(server.url), patience=IMPATIENT) as client,
    ):
        assert (await client.job(HANDLE)).status == "Completed"


async def test_an_answer_without_a_length_ends_with_its_connection(raw_server: Callable[..., Any]) -> None:
    body = json.dumps(DOCUMENT).encode()
    raw = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body
    async with raw_server(raw) as server, HttpTransport(settings_for(server.url)) as send:
        assert (await send(ASK)).body == body


async def test_an_answer_in_chunks_is_read(raw_server: Callable[..., Any]) -> None:
    raw = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n5\r\n": 1}\r\n0\r\n\r\n'
    async with raw_server(raw) as server, HttpTransport(settings_for(server.url)) as send:
        assert (await send(ASK)).json == {"a": 1}


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_an_answer_that_has_no_body_is_whole(status: str, raw_server: Callable[..., Any]) -> None:
    async with raw_server(f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode()) as server:
        async with HttpTransport(settings_for(server.url)) as send:
            for _ in range(2):
                response = await send(ASK)
                assert (response.status, response.body) == (int(status[:3]), b"")
    assert server.connections == 1


async def test_what_comes_before_the_answer_is_passed_over(raw_server: Callable[..., Any]) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with raw_server(early + early + OK) as server, HttpTransport(settings_for(server.url)) as send:
        assert (await send(ASK)).json == DOCUMENT


async def test_an_answer_that_comes_in_pieces_is_put_together(raw_server: Callable[..., Any]) -> None:
    body = b'{"status": "' + b"x" * 500_000 + b'"}'
    async with raw_server(reply(body)) as server, HttpTransport(settings_for(server.url)) as send:
        for _ in range(2):
            assert (await send(ASK)).body == body
    assert server.connections == 1


async def test_headers_are_found_whatever_their_case(raw_server: Callable[..., Any]) -> None:
    async with raw_server(reply(b"{}", RATELIMIT_RESET="5", zuora_request_id="r")) as server:
        async with HttpTransport(settings_for(server.url)) as send:
            response = await send(ASK)
    assert response.headers["ratelimit-reset"] == "5"
    assert response.headers["Zuora-Request-Id"] == "r"


# --- what goes wrong

HALF_GZIP = gzip.compress(json.dumps(DOCUMENT).encode() * 50)
TROUBLES = {
    "cut in the body": b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\n{"id"',
    "cut in a chunk": b'HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a',
    "cut in the head": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Le",
    "not gzip": reply(b"plain text", Content_Encoding="gzip"),
    "half a gzip": reply(HALF_GZIP[: len(HALF_GZIP) // 2], Content_Encoding="gzip", Connection="close"),
    "gzip of gzip's tail": reply(HALF_GZIP[:10] + b"\xff" * 50, Content_Encoding="gzip"),
    "not deflate": reply(b"plain text", Content_Encoding="deflate"),
    "not HTTP": b"220 smtp.example.com ESMTP canary-body-1\r\nConnection: close\r\n\r\n",
    "bad status": b"HTTP/1.1 ok canary-body-1\r\nConnection: close\r\n\r\n",
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: string\r\nConnection: close\r\n\r\n{}",
    "bad chunk": b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nstring\r\n{}",
    "endless header": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\nConnection: close\r\n\r\n{}",
    "reset": "reset",
}


def everything_told(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    """Whatever a log or a traceback could show, with the whole chain, shown or suppressed."""
    seen: list[str] = [caplog.text, *traceback.format_exception(error), repr(error), str(error), repr(vars(error))]
    link: BaseException | None = error
    while link is not None:
        seen += [repr(link), str(link)]
        link = link.__cause__ or link.__context__
    return "\n".join(seen)


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_broken_answer_is_a_typed_error_that_tells_no_secret(
    trouble: str, raw_server: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        raw_server(TROUBLES[trouble]) as server,
        ZuoraClient(settings_for(server.url), patience=IMPATIENT) as client,
    ):
        with pytest.raises((ConnectionFailed, MalformedResponse)) as caught:
            await client.job(HANDLE)
        assert client.limiter.gate.in_flight == 0
    told = "\n".join([caplog.text, *traceback.format_exception(caught.value), repr(caught.value)])
    assert HANDLE.id in str(caught.value), "it says what was asked"
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "canary" not in told
    assert "aiohttp" not in told, "the library's errors end at the border"


@pytest.mark.parametrize("trouble", ["bad status", "cut in the body", "not gzip", "reset", "refused", "slow"])
async def test_no_link_of_the_exceptions_chain_holds_the_token_even_where_it_is_not_shown(
    trouble: str, raw_server: Callable[..., Any], nobody: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with raw_server(TROUBLES.get(trouble)) as server:
        url = nobody if trouble == "refused" else server.url
        settings = settings_for(url, request_timeout=0.05 if trouble == "slow" else 5)
        async with ZuoraClient(settings, patience=IMPATIENT) as client:
            with pytest.raises((TransportError, MalformedResponse)) as caught:
                await asyncio.wait_for(client.job(HANDLE), 10)
    assert "canary" not in everything_told(caught.value, caplog)


async def test_a_cut_answer_is_asked_for_again(raw_server: Callable[..., Any]) -> None:
    patience = Patience(again=30, longest=0.1)
    async with (
        raw_server(TROUBLES["cut in the body"], "reset", TROUBLES["not gzip"], OK) as server,
        ZuoraClient(settings_for(server.url), patience=patience, rng=Random(1)) as client,
    ):
        assert (await client.job(HANDLE)).status == "Completed"
    assert len(server.heard) == 4


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_on_a_connection_that_has_just_been_closed_it_is_sent_once_more_and_no_oftener(
    method: str, raw_server: Callable[..., Any]
) -> None:
    async with raw_server(reply(), "reset", reply(), "reset", "reset", reply()) as server:
        async with HttpTransport(settings_for(server.url)) as send:
            for _ in range(2):
                assert (await send(Request(method, "/v1/x"))).status == 200
            assert len(server.heard) == 3
            with pytest.raises(ConnectionFailed):
                await send(Request(method, "/v1/x"))
    assert len(server.heard) == 5


async def test_on_a_new_connection_a_poll_is_sent_once(raw_server: Callable[..., Any]) -> None:
    """A server in trouble is to hear no more than the budget says; the session sends twice, which it cannot be told."""
    async with raw_server("reset", reply()) as server, HttpTransport(settings_for(server.url)) as send:
        if send._express is None:
            return
        with pytest.raises(ConnectionFailed):
            await send(Request("GET", "/v1/x"))
    assert len(server.heard) == 1


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/v1/x\r\nHost: elsewhere"),
        Request("GET", "/v1/x", query="a=1\n"),
        Request("GET", "/v1/x", headers={"Zuora-Track-Id": "a\r\nHost: elsewhere"}),
        Request("GET", "/v1/x", authorization="Bearer a\nb"),
    ],
)
async def test_nothing_can_add_a_line_to_a_request(request_: Request, raw_server: Callable[..., Any]) -> None:
    async with raw_server(reply()) as server, HttpTransport(settings_for(server.url)) as send:
        with suppress(ConnectionFailed):  # yarl takes line breaks out of an URL; all else is refused
            await send(request_)
    lines = [line for raw in server.heard for line in raw.split(b"\r\n")]
    assert not any(line.startswith((b"Host: else", b"a", b"b")) for line in lines)


async def test_a_connection_that_does_not_stand_in_time_was_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def too_slow(*_: Any, **__: Any) -> Any:
        raise TimeoutError

    async with HttpTransport(settings_for("http://127.0.0.1:1")) as send:
        monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", too_slow)
        with pytest.raises(ConnectionFailed, match=r"no connection to http://127") as caught:
            await send(ASK)
    assert caught.value.sent is False


async def test_refused_means_never_sent(nobody: str) -> None:
    async with HttpTransport(settings_for(nobody)) as send:
        with pytest.raises(ConnectionFailed, match="no connection to http://127") as caught:
            await send(Request("POST", "/v1/x", body=b"{}"))
    assert caught.value.sent is False


@pytest.mark.parametrize("trouble", ["reset", "cut in the body", "not HTTP"])
async def test_cut_after_it_went_out_means_it_may_have_been_carried_out(
    trouble: str, raw_server: Callable[..., Any]
) -> None:
    async with raw_server(TROUBLES[trouble], OK) as server:
        async with HttpTransport(settings_for(server.url)) as send:
            with pytest.raises(ConnectionFailed) as caught:
                await send(Request("POST", "/v1/x", body=b"{}"))
        assert caught.value.sent is True
        assert len(server.heard) == 1, "a POST is not repeated behind our back"


async def test_a_post_on_a_connection_that_has_just_been_closed_is_not_repeated_behind_our_back(
    raw_server: Callable[..., Any],
) -> None:
    async with raw_server(reply(), "reset", reply()) as server, HttpTransport(settings_for(server.url)) as send:
        await send(ASK)
        with pytest.raises(ConnectionFailed) as caught:
            await send(Request("POST", "/v1/x", body=b"{}"))
        assert caught.value.sent is True
        assert len(server.heard) == 2


async def test_a_host_that_does_not_exist_is_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    async with HttpTransport(settings_for("https://nowhere.invalid")) as send:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
        with pytest.raises(ConnectionFailed, match=r"nowhere\.invalid") as caught:
            await send(ASK)
    assert caught.value.sent is False


@pytest.mark.parametrize("answers", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"], ids=["silence", "half"])
async def test_a_whole_answer_that_does_not_come_in_time_is_a_timeout(
    answers: Any, raw_server: Callable[..., Any]
) -> None:
    async with raw_server(answers) as server, HttpTransport(settings_for(server.url, request_timeout=0.05)) as send:
        with pytest.raises(ResponseTimeout, match=r"no whole answer within 0\.05 s"):
            await asyncio.wait_for(send(ASK), 5)
        assert send._session is not None
        assert send._session.connector is not None
        assert not send._session.connector._acquired, "the connection was given up"


async def test_who_answers_a_byte_at_a_time_is_cut_off_as_well(eventually: Callable[..., Any]) -> None:
    gone = asyncio.Event()

    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            for byte in reply(b"x" * 10_000):
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.002)
        writer.close()
        gone.set()

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, HttpTransport(settings_for(url, request_timeout=0.2)) as send:
        with pytest.raises(ResponseTimeout):
            await asyncio.wait_for(send(ASK), 5)
        await asyncio.wait_for(gone.wait(), 5)


# --- giving up


@pytest.mark.parametrize("answers", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"], ids=["silence", "half"])
async def test_a_request_cancelled_on_the_way_leaves_no_connection(
    answers: Any, raw_server: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    async with raw_server(answers) as server, HttpTransport(settings_for(server.url)) as send:
        task = asyncio.create_task(send(ASK))
        await eventually(lambda: server.heard)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert send._session is not None
        assert send._session.connector is not None
        assert not send._session.connector._acquired
        await eventually(lambda: not server.open)


@pytest.mark.unmeasured
@pytest.mark.parametrize("steps", range(40))
async def test_a_call_cancelled_at_any_step_leaves_nothing_behind_and_the_next_works(
    steps: int, raw_server: Callable[..., Any], nothing_unheard: None
) -> None:
    token = reply(b'{"access_token": "t", "expires_in": 3600}')
    refused = reply(b'{"message": "Authentication error"}', "401 Unauthorized")
    async with raw_server(token, refused, token, OK) as server:
        before = asyncio.all_tasks()
        async with ZuoraClient(settings_for(server.url, client_id="c", client_secret="s")) as client:
            task = asyncio.create_task(client.job(HANDLE))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert client.limiter.gate.in_flight == 0
            server.heard.clear()
            server.replies[:] = [token, OK] if "none yet" in repr(bearer_of(client)) else [OK]
            assert (await client.job(HANDLE)).status == "Completed"
            assert client.limiter.gate.in_flight == 0
        assert {task for task in asyncio.all_tasks() - before if task.get_name() != "raw server"} == set()


def bearer_of(client: ZuoraClient) -> Bearer:
    return client._bearer


# --- open and closed


async def test_outside_of_its_block_a_transport_says_so(raw_server: Callable[..., Any]) -> None:
    async with raw_server(reply()) as server:
        send = HttpTransport(settings_for(server.url))
        with pytest.raises(WatcherClosed):
            await send(ASK)
        async with send:
            await send(ASK)
        with pytest.raises(WatcherClosed):
            await send(ASK)
    assert len(server.heard) == 1


# --- logs


async def test_no_log_at_debug_level_holds_a_secret_or_an_answer(
    raw_server: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    token = reply(b'{"access_token": "canary-token-5f1d", "expires_in": 3600}')
    refused = reply(b'{"message": "Authentication error"}', "401 Unauthorized")
    document = reply(json.dumps(DOCUMENT | {"extra": "canary-body-1"}).encode())
    gone = reply(b'{"success": false, "reasons": [{"code": 50000040, "message": "gone"}]}')
    async with raw_server(token, refused, token, document, gone) as server:
        settings = settings_for(server.url, client_id="c", client_secret="canary-secret-77ab")
        async with ZuoraClient(settings, rng=Random(1)) as client:
            await client.job(HANDLE)
            with pytest.raises(ZuoraJobsError):
                await client.job(AQUA.handle("x"))
    asyncio.get_running_loop().set_debug(False)
    assert "HTTP 200" in caplog.text, "something was logged"
    assert any(b"canary-secret" in raw for raw in server.heard)
    assert any(b"canary-token" in raw for raw in server.heard)
    assert "canary" not in caplog.text
