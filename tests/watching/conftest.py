"""A tenant, a client and what they leave behind."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from zuora_jobs import Budget, Cadence, JobWatcher, Settings, ZuoraClient, emulator
from zuora_jobs.protocol.messages import Request, Response

EVERY_SECOND = Cadence.constant(1)


@pytest.fixture
async def zuora() -> AsyncIterator[emulator.Emulator]:
    """An emulator in the test's own loop."""
    async with emulator.running() as running:
        yield running


@pytest.fixture
def every_second() -> Cadence:
    return EVERY_SECOND


@pytest.fixture
def watching() -> Callable[..., Any]:
    """Open a client and a watcher that looks every second."""

    @asynccontextmanager
    async def open_both(
        zuora: emulator.Emulator, *, budget: Budget | None = None, **options: Any
    ) -> AsyncIterator[JobWatcher]:
        options.setdefault("cadence", EVERY_SECOND)
        async with (
            ZuoraClient(zuora.settings(), budget, rng=Random(1)) as client,
            JobWatcher(client, **options) as watcher,
        ):
            yield watcher
            assert client.limiter.gate.in_flight <= client.budget.concurrency
        assert client.limiter.gate.in_flight == 0, "a permit was not given back"

    return open_both


def is_ours(task: asyncio.Task[Any]) -> bool:
    """Tell a task of the watchers'; a coroutine's repr does not say where it is written."""
    return "/zuora_jobs/watching/" in getattr(getattr(task.get_coro(), "cr_code", None), "co_filename", "")


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    """No task outlives the test's own."""
    before = asyncio.all_tasks()
    yield
    for _ in range(20):  # the emulator's connections close in the next few turns of the loop
        await asyncio.sleep(0)
    assert [task for task in asyncio.all_tasks() - before if is_ours(task)] == []


class Script:
    """An in-memory Send: each job answers the next of its documents, the last for ever."""

    def __init__(self, default: list[dict[str, Any]] | None = None, latency: float = 0.0) -> None:
        self.default = default or [{"id": "x", "status": "Completed", "success": True}]
        self.answers: dict[str, list[Any]] = {}
        self.seen: dict[str, int] = {}
        self.latency = latency
        self.at_once = self.most_at_once = 0

    async def __call__(self, request: Request) -> Response:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.latency)
        finally:
            self.at_once -= 1
        identifier = request.path.rsplit("/", 1)[1]
        number = self.seen[identifier] = self.seen.get(identifier, 0) + 1
        answers = self.answers.get(identifier, self.default)
        answer = answers[min(number, len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return Response(200, {}, json.dumps(answer).encode())


@pytest.fixture
def script() -> type[Script]:
    return Script


@pytest.fixture
def local() -> Settings:
    return Settings(base_url="https://rest.example.com", access_token="not-a-secret")
