"""Disks of all tempers, a tenant made of a script, and files to look into."""

import asyncio
import json
import os
import sqlite3
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from shutil import copyfile
from typing import Any

import pytest
from attrs import define

from zuora_jobs import Budget, Cadence, JobWatcher, Journal, Settings, ZuoraClient, emulator
from zuora_jobs.journal import files
from zuora_jobs.journal.reading import read_history
from zuora_jobs.protocol.messages import Request, Response

SAMPLES = Path(__file__).parents[1] / "samples"
UNLIMITED = Budget(rate=1e6, concurrency=50)


@pytest.fixture
async def killed(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[dict[str, Any]], Any]]:
    """Run a process of the test module's script, `KILLED`, as ordered, and give the signal that ended it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name(request.module.KILLED)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    async def run(order: dict[str, Any]) -> int:
        stdin.write(json.dumps(order).encode() + b"\n")
        line = await asyncio.wait_for(stdout.readline(), 60)
        return os.waitstatus_to_exitcode(json.loads(line)["status"])

    yield run
    stdin.close()
    assert await asyncio.wait_for(process.wait(), 30) == 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal may be."""
    return tmp_path / "run.db"


@pytest.fixture
def version_1(path: Path) -> Path:
    """A journal that version 1 wrote: nine jobs, of which seven ended, one was lost, one is open."""
    copyfile(SAMPLES / "journal-v1.db", path)
    return path


def beside(path: Path) -> list[Path]:
    """The files of a journal that are there."""
    return [one for one in (path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-lock")) if one.exists()]


@pytest.fixture
def files_of() -> Callable[[Path], list[Path]]:
    return beside


@pytest.fixture
def after_a_power_cut(tmp_path: Path) -> Callable[[Path], Path]:
    """Give what a power cut now would leave of a journal: its files as they are, in a folder of their own."""
    cuts = 0

    def cut(path: Path) -> Path:
        nonlocal cuts
        cuts += 1
        elsewhere = tmp_path / f"cut-{cuts}"
        elsewhere.mkdir()
        for one in beside(path):
            if not one.name.endswith(("-lock", "-shm")):  # these are of no use without the processes that had them
                copyfile(one, elsewhere / one.name)
        return elsewhere / path.name

    return cut


# --- executors


class Inline(Executor):
    """Does at once what it is given, so that virtual time stands still meanwhile."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
            future.set_exception(error)
        return future


class SlowDisk(Executor):
    """Takes some seconds of the loop's time for each thing, one after another; held, it takes for ever."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.held = False
        self.works: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._busy = False

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.works.append((future, lambda: work(*args, **kwargs)))
        self._go_on()
        return future

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False
        self._go_on()

    def _go_on(self) -> None:
        if self.works and not self._busy:
            self._busy = True
            asyncio.get_running_loop().call_later(self.seconds, self._do)

    def _do(self) -> None:
        self._busy = False
        if self.held:
            return
        future, work = self.works.popleft()
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001 - as above
                future.set_exception(error)
        self._go_on()


@pytest.fixture
async def slow_disk(monkeypatch: pytest.MonkeyPatch) -> type[SlowDisk]:
    """Make slow disks; virtual time need not wait for them as it would for a thread."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "run_in_executor", asyncio.BaseEventLoop.run_in_executor.__get__(loop))
    return SlowDisk


@pytest.fixture
def inline() -> Inline:
    return Inline()


# --- a disk that says no


@define
class Faults:
    """Which of SQLite's calls fail, and how; counted from when `after` was set."""

    after: int | None = None
    """So many calls work; None: all."""
    message: str = "database or disk is full"
    code: int = sqlite3.SQLITE_FULL
    at_close: bool = False
    once: bool = False
    calls: int = 0
    struck: int = 0

    def call(self) -> None:
        if self.after is None:
            return
        self.calls += 1
        if self.calls == self.after + 1 or (self.calls > self.after and not self.once):
            self.struck += 1
            self.fail()

    def fail(self) -> None:
        error = sqlite3.OperationalError(self.message)
        error.sqlite_errorcode = self.code
        raise error


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Have SQLite's calls on journals fail as this says, from now on."""
    told = Faults()

    class Faulty(sqlite3.Connection):
        def execute(self, *args: Any, **kwargs: Any) -> sqlite3.Cursor:
            told.call()
            return super().execute(*args, **kwargs)

        def close(self) -> None:
            super().close()
            if told.at_close:
                told.fail()

    connect = sqlite3.connect

    def connect_faultily(database: Any, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        if str(database).endswith(".db"):
            kwargs["factory"] = Faulty
        opened: sqlite3.Connection = connect(database, *args, **kwargs)
        return opened

    monkeypatch.setattr(sqlite3, "connect", connect_faultily)
    return told


# --- a tenant


class Script:
    """An in-memory Send: each job answers the next of its documents, the last for ever.

    Before each answer it makes sure that the job asked about is in the journal, as far as another reader can see.
    """

    def __init__(self, default: list[Any] | None = None, *, journal: Path | None = None, latency: float = 0.0) -> None:
        self.default = default or [{"status": "Processing"}, {"status": "Completed"}]
        self.answers: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.journal = journal
        self.latency = latency
        self.unknown_to_the_journal: list[str] = []

    async def __call__(self, request: Request) -> Response:
        identifier = request.path.rsplit("/", 1)[1]
        self.asked.append((request.method, identifier))
        if self.journal is not None and identifier not in {job.id for job in read_history(self.journal).jobs}:
            self.unknown_to_the_journal.append(identifier)
        await asyncio.sleep(self.latency)
        answers = self.answers.get(identifier, self.default)
        number = sum(1 for _, other in self.asked if other == identifier)
        answer = answers[min(number, len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, tuple):
            status, document = answer
            return Response(status, {}, json.dumps(document).encode())
        return Response(200, {}, answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    def asked_about(self, identifier: str) -> int:
        return sum(1 for _, other in self.asked if other == identifier)


@pytest.fixture
def script(path: Path) -> Script:
    """A tenant whose jobs all take two looks."""
    return Script(journal=path)


@pytest.fixture
def watching(path: Path, inline: Inline) -> Callable[..., Any]:
    """Open a journal, a client and a watcher that looks every second."""

    @asynccontextmanager
    async def open_all(send: Any, *, executor: Executor | None = None, **options: Any) -> AsyncIterator[Any]:
        options.setdefault("cadence", Cadence.constant(1))
        local = Settings(base_url="https://rest.example.com", access_token=options.pop("token", "not-a-secret"))
        budget = options.pop("budget", UNLIMITED)
        journal = Journal.open(options.pop("at", path), executor=executor or inline)
        async with (
            ZuoraClient(local, budget, send=send, rng=Random(1)) as client,
            JobWatcher(client, journal=journal, **options) as watcher,
        ):
            yield watcher, journal

    return open_all


@pytest.fixture
async def zuora() -> AsyncIterator[emulator.Emulator]:
    """An emulator without limits, in the test's own loop."""
    async with emulator.running(rate_limits=(), concurrency_limit=None) as running:
        yield running


@pytest.fixture
def quiet_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for long for one who has locked a journal."""
    monkeypatch.setattr(files, "BUSY", 0.05)
