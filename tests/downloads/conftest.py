"""A tenant with files, a folder for them, and a server that lies as it is told."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import web
from attrs import define, field

from zuora_jobs import AQUA, AquaBatch, AquaJob, Settings, ZuoraClient, emulator
from zuora_jobs.downloads import Downloader
from zuora_jobs.protocol.models import ResultFile
from zuora_jobs.transport import express, pouring

HANDLE = AQUA.handle("2c92c8fd8e4b2a1c018e4b3f4a5d0001")


class Inline(Executor):
    """Does everything at once, on the loop's own thread: for virtual time, which would run on while a thread works."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
            future.set_exception(error)
        return future


@pytest.fixture
def inline() -> Inline:
    return Inline()


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """The folder for files; it is not there yet, and nothing else is beside it."""
    return tmp_path / "nest" / "results"


@pytest.fixture
async def zuora() -> AsyncIterator[emulator.Emulator]:
    """An emulator in the test's own loop."""
    async with emulator.running() as running:
        yield running


@pytest.fixture(params=["taken over", "as usual"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a body is read, nobody outside can tell."""
    if request.param == "as usual":
        monkeypatch.setattr(express, "KNOWN", frozenset())
    else:
        monkeypatch.setattr(pouring, "LONG", 1)


@pytest.fixture
def downloading(into: Path, inline: Inline, nothing_open: None) -> Callable[..., Any]:
    """Open a client and a downloader into the folder."""

    @asynccontextmanager
    async def open_both(where: Any, *, patience: Any = None, **options: Any) -> AsyncIterator[Downloader]:
        settings = where if isinstance(where, Settings) else where.settings()
        options.setdefault("executor", inline)
        async with (
            ZuoraClient(settings, rng=Random(1), patience=patience) as client,
            Downloader(client, options.pop("into", into), **options) as downloader,
        ):
            yield downloader
        assert client.limiter.gate.in_flight == 0, "a permit was not given back"

    return open_both


@pytest.fixture
def nothing_open(into: Path) -> Iterator[None]:
    """No file stays open, and none is written but in the folder."""
    yield
    for link in Path("/proc/self/fd").glob("*") if Path("/proc/self/fd").exists() else ():
        try:
            assert not str(link.readlink()).startswith(str(into))
        except OSError:
            continue
    assert {path.name for path in into.parent.parent.iterdir()} <= {"nest", "outside"}
    if into.parent.is_dir():
        assert {path.name for path in into.parent.iterdir()} <= {"results", "link"}


def table(rows: int, seed: int = 1) -> bytes:
    """A CSV file whose bytes are never the same twice."""
    rng = Random(seed)
    lines = [f'{number},"a ""quoted"", {rng.random()}",{rng.getrandbits(64):x}\r\n' for number in range(rows)]
    return b"Id,Text,Number\r\n" + "".join(lines).encode()


@pytest.fixture(name="table")
def _table() -> Callable[..., bytes]:
    return table


@pytest.fixture
def names_in() -> Callable[[Path], set[str]]:
    """Give what stands in a folder."""
    return lambda folder: {path.name for path in folder.iterdir()}


def one_file(records: int | None = None, suffix: str = ".csv", file_id: str = "f1", name: str = "batch") -> ResultFile:
    return ResultFile(name=name, file_id=file_id, records=records, suffix=suffix)


@pytest.fixture(name="one_file")
def _one_file() -> Callable[..., ResultFile]:
    return one_file


def a_job(*batches: Any, **fields: Any) -> tuple[Any, AquaJob]:
    """A finished AQuA job: batches as (name, file id, records)."""
    made = tuple(AquaBatch(name=name, file_id=file_id, record_count=count) for name, file_id, count in batches)
    return HANDLE, AquaJob(status="completed", batches=made, **fields)


@pytest.fixture(name="a_job")
def _a_job() -> Callable[..., Any]:
    return a_job


@define(eq=False)
class Liar:
    """A server of files, which are as they should be unless `answer` is told to be otherwise.

    `answer(request, content, from)` gives a response, or None to answer honestly; `cuts` are bytes after which a good
    answer is cut, in turn.
    """

    content: bytes = b""
    headers: dict[str, str] = field(factory=lambda: {"ETag": '"one"'})
    cuts: list[int] = field(factory=list)
    lies: list[Any] = field(factory=list)
    """Functions of the request, in turn; each gives a response to be sent, or None for an honest one."""
    heard: list[Any] = field(factory=list)
    url: str = ""

    @property
    def ranges(self) -> list[str | None]:
        return [request.headers.get("Range") for request in self.heard]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.heard.append(request)
        lie = self.lies.pop(0) if self.lies else None
        told: Any = lie(request) if lie is not None else None
        if asyncio.iscoroutine(told):
            told = await told
        if isinstance(told, web.StreamResponse):
            return told
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        matches = request.headers.get("If-Range") in {self.headers.get("ETag"), self.headers.get("Last-Modified")}
        start = int(asked[1]) if asked and matches else 0
        headers = dict(self.headers)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        return await self.send(request, self.content[start:], 206 if start else 200, headers)

    async def send(self, request: Any, body: bytes, status: int, headers: dict[str, str]) -> web.StreamResponse:
        cut = self.cuts.pop(0) if self.cuts else len(body)
        response = web.StreamResponse(status=status, headers={"Content-Type": "text/csv", **headers})
        response.content_length = len(body)
        await response.prepare(request)
        with_pauses = body[:cut]
        for at in range(0, len(with_pauses), 65536):
            await response.write(with_pauses[at : at + 65536])
        if cut < len(body):
            request.transport.close()
        return response


@pytest.fixture
async def liar() -> AsyncIterator[Liar]:
    liar = Liar()
    server = web.Server(liar.handle, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    liar.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield liar
    await runner.cleanup()


@pytest.fixture
def settings_of() -> Callable[[Liar], Settings]:
    return lambda liar: Settings(base_url=liar.url, access_token="canary-token-5f1d")
