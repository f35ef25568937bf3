"""Pipelines and what they leave behind; tenants that play whole jobs, and disks that cost no virtual time."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from zuora_jobs import Budget, Cadence, JobWatcher, Journal, Settings, ZuoraClient, emulator

UNLIMITED = Budget(rate=1e6, concurrency=500)
ENDS = {
    "aqua": "completed",
    "bulk-pdf": "Completed",
    "invoice-delete": "Completed",
    "invoice-reverse": "Completed",
    "credit-memo-apply": "Processed",
    "credit-memo-unapply": "Processed",
}


class Inline(ThreadPoolExecutor):
    """Does everything at once, on the loop's own thread: virtual time would run on while another works."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
            future.set_exception(error)
        return future


@pytest.fixture
async def inline(monkeypatch: pytest.MonkeyPatch) -> Inline:
    """Have the disk's work done at once."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "run_in_executor", asyncio.BaseEventLoop.run_in_executor.__get__(loop))
    executor = Inline()
    loop.set_default_executor(executor)
    return executor


def is_ours(task: asyncio.Task[Any]) -> bool:
    """Tell a task of the package's, the emulator apart; a coroutine's repr does not say where it is written."""
    where = getattr(getattr(task.get_coro(), "cr_code", None), "co_filename", "")
    return "/zuora_jobs/" in where and "/emulator/" not in where


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    """No task of ours outlives the test's own, and no thread does."""
    before = asyncio.all_tasks()
    yield
    for _ in range(20):  # the emulator's connections close in the next few turns of the loop
        await asyncio.sleep(0)
    assert [task for task in asyncio.all_tasks() - before if is_ours(task)] == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("zuora-jobs")]


@pytest.fixture
async def zuora() -> AsyncIterator[emulator.Emulator]:
    """A tenant without limits, whose jobs end well after three seconds."""
    async with emulator.running(rate_limits=(), concurrency_limit=None) as running:
        for name, end in ENDS.items():
            running.on_submit(name, ends=end, seconds=3)
        yield running


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """The folder for files; it is not there yet."""
    return tmp_path / "results"


@pytest.fixture
def watching(tmp_path: Path, inline: Inline) -> Callable[..., Any]:
    """Open a client and a watcher that looks every second; with a journal if one is named."""

    @asynccontextmanager
    async def open_both(
        zuora: emulator.Emulator, journal: str | None = None, **options: Any
    ) -> AsyncIterator[JobWatcher]:
        options.setdefault("cadence", Cadence.constant(1))
        # a token of its own, so that every run begins with the same request
        settings = Settings(base_url=zuora.url, access_token=zuora.issue_token(10**6))
        kept = Journal.open(tmp_path / journal, executor=inline) if journal else None
        async with (
            ZuoraClient(settings, options.pop("budget", UNLIMITED), rng=Random(1)) as client,
            JobWatcher(client, journal=kept, **options) as watcher,
        ):
            yield watcher
        assert client.limiter.gate.in_flight == 0, "a permit was not given back"

    return open_both


async def all_of(entered: Any) -> list[Any]:
    """Everything that comes out of a pipeline."""
    async with entered as results:
        return [result async for result in results]


@pytest.fixture(name="all_of")
def _all_of() -> Callable[..., Any]:
    return all_of


@pytest.fixture
def owed() -> dict[str, Any]:
    """Fields of an invoice of which all is to be paid."""
    return {
        "Amount": Decimal(100),
        "Balance": Decimal(100),
        "PaymentAmount": Decimal(0),
        "CreditMemoAmount": Decimal(0),
    }
