"""Several processes on one tenant: whole clients with watchers, that know nothing of each other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

import pytest

from zuora_jobs import OPERATION, Budget, Cadence, JobWatcher, ZuoraClient, emulator

pytestmark = pytest.mark.looptime

CLIENTS = 3


@asynccontextmanager
async def watching(zuora: emulator.Emulator, late: float = 0.0, **budget: Any) -> AsyncIterator[list[ZuoraClient]]:
    """Three clients, each on its own 60 jobs that want a look every second and never end; the last comes *late*."""
    async with AsyncExitStack() as stack:
        clients = []
        tasks = []
        for number in range(CLIENTS):
            client = await stack.enter_async_context(
                ZuoraClient(zuora.settings(track_id=f"client-{number}"), Budget(**budget), rng=Random(number))
            )
            watcher = await stack.enter_async_context(JobWatcher(client, cadence=Cadence.constant(1)))
            handles = [OPERATION.handle(job.id) for job in zuora.add_jobs("operation", 60, seconds=1e6)]
            clients.append(client)

            async def watch(watcher: JobWatcher = watcher, handles: Any = handles, number: int = number) -> None:
                await asyncio.sleep(late if number == CLIENTS - 1 else 0.0)
                await watcher.watch_all(handles)

            tasks.append(asyncio.create_task(watch()))
        yield clients
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def looks(zuora: emulator.Emulator, since: float) -> tuple[list[int], int]:
    """How many looks of each client were answered since then, and how many of all were refused."""
    requests = [request for request in zuora.requests if request.at >= since and "/jobs/" in request.path]
    answered = [
        sum(request.status == 200 and request.headers["Zuora-Track-Id"] == f"client-{number}" for request in requests)
        for number in range(CLIENTS)
    ]
    return answered, sum(request.status == 429 for request in requests)


@pytest.mark.unmeasured
async def test_a_tenants_quota_is_shared_evenly_and_never_overrun() -> None:
    async with (
        emulator.running(rate_limits=[(600, 30)], latency=0.1) as zuora,
        watching(zuora, late=3.0, rate=100, opening=50) as clients,
    ):
        await asyncio.sleep(62)
        answered, refused = looks(zuora, since=0.0)
        assert [client.limiter.refusals for client in clients] == [0, 0, 0]
    assert refused == 0
    assert sum(answered) >= 0.85 * 2 * 600
    assert max(answered) <= 1.3 * min(answered)


@pytest.mark.unmeasured
async def test_so_is_a_number_of_requests_at_once() -> None:
    async with (
        emulator.running(rate_limits=[], concurrency_limit=40, latency=1.0, retry_after=2) as zuora,
        watching(zuora, late=5.0, rate=400, concurrency=40) as clients,
    ):
        await asyncio.sleep(120)
        answered, refused = looks(zuora, since=60.0)
        assert max(int(client.limiter.gate.congestion.at_once) for client in clients) <= 30, "three quarters of forty"
    assert sum(answered) >= 0.6 * 60 * 40
    assert refused <= 0.03 * sum(answered)
    assert max(answered) <= 2.5 * min(answered)


@pytest.mark.unmeasured
async def test_so_is_a_rate_that_the_tenant_does_not_name() -> None:
    """A window so short that it is no window; without headers, refusals alone tell."""
    async with (
        emulator.running(rate_limits=[(20, 1)], latency=0.1) as zuora,
        watching(zuora, late=10.0, rate=400, opening=50) as clients,
    ):
        _without_figures(zuora)
        await asyncio.sleep(100)
        answered, refused = looks(zuora, since=50.0)
        assert sum(client.limiter.refusals for client in clients) >= refused
    assert sum(answered) >= 0.6 * 50 * 20
    assert 0 < refused <= 0.06 * sum(answered)
    assert max(answered) <= 2.0 * min(answered)


def _without_figures(zuora: emulator.Emulator) -> None:
    """Have the tenant count, and not tell."""
    for limiter in zuora.limiters.values():
        count = limiter.count

        def counted(now: float, count: Any = count) -> Any:
            reading = count(now)
            return type(reading)({}, reading.refusal)

        limiter.count = counted  # type: ignore[method-assign]
