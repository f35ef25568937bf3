"""A Zuora that plays a script: in memory on the loop's clock, or byte by byte on a real socket."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from attrs import define, field, frozen

from zuora_jobs import Settings
from zuora_jobs.protocol.messages import Request, Response

CANARY_TOKEN = "canary-token-5f1d"
CANARY_SECRET = "canary-secret-77ab"


def answer(status: int = 200, document: Any = None, /, **headers: str) -> Response:
    """An answer of Zuora's; header names are given with underscores."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@frozen
class After:
    """A step of a script that takes its time."""

    seconds: float
    step: Any


@frozen
class Sent:
    """One request that was sent."""

    at: float
    request: Request

    @property
    def authorization(self) -> str | None:
        return self.request.authorization


@define(eq=False)
class ScriptedSend:
    """A `Send` in memory: plays its steps in order, the last for ever, and remembers what it was asked.

    A step is a Response, an exception to raise, `After(seconds, step)`, or a function of the request that gives a step.
    Requests for a token have a script of their own; without one they are answered with token-1, token-2 …
    """

    steps: list[Any]
    tokens: list[Any] = field(factory=list)
    expires_in: Any = 3600
    sent: list[Sent] = field(factory=list)
    token_requests: list[Sent] = field(factory=list)
    at_once: int = 0
    most_at_once: int = 0

    @classmethod
    def of(cls, *steps: Any, **options: Any) -> "ScriptedSend":
        return cls(list(steps), **options)

    @property
    def times(self) -> list[float]:
        return [sent.at for sent in self.sent]

    async def __call__(self, request: Request) -> Response:
        sent = Sent(asyncio.get_running_loop().time(), request)
        if request.path == "/oauth/token":
            self.token_requests.append(sent)
            return await self._play(self.tokens or [self._token], len(self.token_requests), request)
        self.sent.append(sent)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._play(self.steps, len(self.sent), request)
        finally:
            self.at_once -= 1

    async def _play(self, steps: list[Any], number: int, request: Request) -> Response:
        step = steps[min(number, len(steps)) - 1]
        while True:
            if isinstance(step, After):
                await asyncio.sleep(step.seconds)
                step = step.step
            elif isinstance(step, Exception):
                raise step
            elif isinstance(step, Response):
                return step
            else:
                step = step(request)

    def _token(self, _: Request) -> Response:
        number = len(self.token_requests)
        return answer(200, {"access_token": f"token-{number}", "token_type": "bearer", "expires_in": self.expires_in})


@pytest.fixture(name="answer")
def _answer() -> Callable[..., Response]:
    return answer


@pytest.fixture
def done() -> Response:
    """The document of an operation job that has ended well."""
    return answer(200, {"id": "x", "status": "Completed", "success": True})


@pytest.fixture
def scripted() -> Callable[..., ScriptedSend]:
    return ScriptedSend.of


@pytest.fixture
def after() -> type[After]:
    return After


@pytest.fixture
def with_credentials() -> Settings:
    return Settings(base_url="https://rest.example.com", client_id="the-client", client_secret=CANARY_SECRET)


@pytest.fixture
def with_fixed_token() -> Settings:
    return Settings(base_url="https://rest.example.com", access_token=CANARY_TOKEN)


@pytest.fixture
def canaries() -> tuple[str, str]:
    """Secrets that must never be seen: a token, and the secret of `with_credentials`."""
    return CANARY_TOKEN, CANARY_SECRET


@pytest.fixture
def live_timers() -> Callable[[], list[asyncio.TimerHandle]]:
    """The timers that would still go off."""

    def timers() -> list[asyncio.TimerHandle]:
        scheduled: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        return [timer for timer in scheduled if not timer.cancelled()]

    return timers


@pytest.fixture(autouse=True)
async def no_task_left() -> AsyncIterator[None]:
    """No task of ours outlives a test."""
    before = asyncio.all_tasks()
    yield
    left = {task for task in asyncio.all_tasks() - before if "zuora_jobs/transport" in repr(task.get_coro())}
    assert not left


@pytest.fixture
async def nothing_unheard() -> AsyncIterator[None]:
    """Nobody complains to the loop, as in `Task exception was never retrieved`."""
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    yield
    gc.collect()
    await asyncio.sleep(0)
    assert heard == []


class RawServer:
    """Says exactly the bytes it is told to, on a real socket, and keeps the bytes that it hears."""

    def __init__(self, replies: list[Any]) -> None:
        self.replies = replies
        self.heard: list[bytes] = []
        self.connections = 0
        self.open = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    await self._exchange(reader, writer)
        finally:
            self.open -= 1
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"0")
        self.heard.append(head + await reader.readexactly(int(length)))
        reply = self.replies[min(len(self.heard), len(self.replies)) - 1]
        if reply is None:  # never a word
            await reader.read()
            raise ConnectionError
        if reply == "reset":
            writer.transport.abort()
            raise ConnectionError
        writer.write(reply)
        await writer.drain()
        if b"connection: close" in reply.lower():
            raise ConnectionError


@pytest.fixture
def raw_server() -> Callable[..., Any]:
    """Run a server that answers with these bytes in turn, the last for ever; None: silence; "reset": a cut."""

    @asynccontextmanager
    async def run(*replies: Any) -> AsyncIterator[RawServer]:
        raw = RawServer(list(replies))
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.get_running_loop().create_task(raw.serve(reader, writer), name="raw server"))

        server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=1024)
        raw.port = server.sockets[0].getsockname()[1]
        try:
            yield raw
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return run


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Wait for sockets to do what they must, for five seconds at most."""

    async def wait(condition: Callable[[], object]) -> None:
        for _ in range(5000):
            if condition():
                return
            await asyncio.sleep(0.001)
        raise AssertionError(condition)

    return wait
