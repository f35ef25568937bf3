"""asyncio cancellation at every await point leaves no task, no connection, no permit and no half state behind."""

import asyncio
import gc
from random import Random
from typing import Any
from weakref import WeakSet

import aiohttp
import pytest

from zuora_jobs import AQUA, OPERATION, Budget, Cadence, JobWatcher, ZuoraClient, emulator
from zuora_jobs.emulator import Answer, Fault

pytestmark = pytest.mark.looptime


@pytest.fixture
def connectors(monkeypatch: pytest.MonkeyPatch) -> WeakSet[aiohttp.TCPConnector]:
    """Know every connector that is made; to look for them among all objects takes as long as the rest of a test."""
    known: WeakSet[aiohttp.TCPConnector] = WeakSet()
    make = aiohttp.TCPConnector.__init__

    def make_and_tell(self: aiohttp.TCPConnector, **options: Any) -> None:
        make(self, **options)
        known.add(self)

    monkeypatch.setattr(aiohttp.TCPConnector, "__init__", make_and_tell)
    return known


def connections(connectors: WeakSet[aiohttp.TCPConnector]) -> int:
    """Count the connections that a client's connector holds, by the transports the loop still knows."""
    return sum(len(connector._acquired) for connector in connectors if not connector.closed)


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.unmeasured
@pytest.mark.parametrize("what", ["watch", "watch_all", "stream", "cancel", "client.job", "client.invoice"])
async def test_whenever_it_strikes_the_watcher_goes_on_as_if_nothing_had_been(zuora, connectors, what):
    job = zuora.add_job("aqua", ends="completed", seconds=1000)
    invoice = zuora.add_invoice()
    handle = AQUA.handle(job.id)

    async def act(client: ZuoraClient, watcher: JobWatcher) -> None:
        if what == "watch":
            await watcher.watch(handle)
        elif what == "watch_all":
            await watcher.watch_all([handle, AQUA.handle("nobody")])
        elif what == "stream":
            async with watcher.stream([handle]) as events:
                async for _ in events:
                    pass
        elif what == "cancel":
            await watcher.cancel(handle)
        elif what == "client.job":
            await client.job(handle)
        else:
            await client.invoice(invoice)

    for steps in range(60):
        before = asyncio.all_tasks()
        async with ZuoraClient(zuora.settings(), rng=Random(1)) as client, JobWatcher(client) as watcher:
            its_own = asyncio.all_tasks()
            acting = asyncio.create_task(act(client, watcher))
            await turns(steps)
            acting.cancel()
            await asyncio.wait([acting])
            assert watcher.statistics().watching == 0
            await turns(5)
            if what != "cancel":  # a DELETE on its way is seen through, for others may wait for it
                assert client.limiter.gate.in_flight == 0
                assert connections(connectors) == 0
                its_own |= {task for task in asyncio.all_tasks() if "Driver._work" in repr(task)}  # and they do nothing
                assert asyncio.all_tasks() - its_own <= server_tasks()
            assert not client.limiter._waiters
        assert client.limiter.gate.in_flight == 0
        assert asyncio.all_tasks() - before <= server_tasks()


def server_tasks() -> set["asyncio.Task[object]"]:
    return {task for task in asyncio.all_tasks() if "RequestHandler" in repr(task.get_coro())}


@pytest.mark.unmeasured
@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_whenever_the_whole_program_is_cancelled_nothing_is_left(zuora, connectors, steps):
    jobs = zuora.add_jobs("aqua", 30, ends="completed", seconds=3)
    before = asyncio.all_tasks()

    async def program() -> None:
        async with (
            ZuoraClient(zuora.settings(), Budget(rate=50, concurrency=5)) as client,
            JobWatcher(client) as watcher,
        ):
            await watcher.watch_all([AQUA.handle(job.id) for job in jobs])

    running = asyncio.create_task(program())
    await turns(steps)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await turns(5)
    assert asyncio.all_tasks() - before <= server_tasks()
    assert connections(connectors) == 0


async def test_jobs_that_wait_for_their_turn_can_be_left(zuora):
    """With one request at a time and one that hangs, the others are queued behind it."""
    zuora.fault(Fault("hang", path="batch-query"))
    jobs = zuora.add_jobs("aqua", 10)
    async with ZuoraClient(zuora.settings(), Budget(concurrency=1)) as client, JobWatcher(client) as watcher:
        watches = [asyncio.create_task(watcher.watch(AQUA.handle(job.id))) for job in jobs]
        await asyncio.sleep(5)
        assert client.limiter.gate.in_flight == 1
        for watch in watches:
            watch.cancel()
        await asyncio.wait(watches)
        await turns(5)
        assert client.limiter.gate.in_flight == 0
        assert watcher.statistics().watching == 0


async def test_an_error_in_the_body_ends_the_watches_and_is_raised_as_it_is(zuora):
    job = zuora.add_job("aqua", ends="completed", seconds=1000)
    with pytest.raises(LookupError, match="mine"):
        async with ZuoraClient(zuora.settings()) as client, JobWatcher(client) as watcher:
            async with watcher.stream([AQUA.handle(job.id)]) as events:
                await anext(events)
                raise LookupError("mine")
    polls = job.polls
    await asyncio.sleep(1000)
    assert job.polls == polls


async def test_a_client_may_outlive_its_watchers_and_be_watched_again(zuora):
    job = zuora.add_job("operation", ends="Completed", seconds=5)
    async with ZuoraClient(zuora.settings()) as client:
        for _ in range(3):
            async with JobWatcher(client, cadence=Cadence.constant(1)) as watcher:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await watcher.watch(OPERATION.handle(job.id))
        assert client.limiter.on_hold == []
        async with JobWatcher(client) as watcher:
            assert (await watcher.watch(OPERATION.handle(job.id))).name == "succeeded"
    assert zuora.token_requests == 1


async def test_an_emulator_closes_while_a_watch_is_on():
    async with emulator.running() as zuora:
        job = zuora.add_job("aqua")
        settings = zuora.settings()
    async with ZuoraClient(settings) as client, JobWatcher(client) as watcher:
        outcome = await watcher.watch(AQUA.handle(job.id), timeout=30)
    assert outcome.name == "lost"


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    "effect",
    [
        *(Answer(status, {"reasons": [{"code": "x", "message": "m"}]}) for status in (400, 403, 404, 409, 418, 500)),
        Answer(302, b"", headers={"Location": "https://elsewhere.example.com/"}),
        Answer(404, b"x" * 1_000_000),  # more than comes along with the headers
        *("unauthorized", "throttled", "html", "empty", "invalid-json", "truncated", "dropped", "no-status"),
    ],
    ids=lambda effect: f"{effect!r:.40}",
)
async def test_every_answer_gives_its_connection_back(zuora, connectors, effect):
    job = zuora.add_job("aqua", ends="completed", seconds=0)
    zuora.fault(Fault(effect, times=3, path="batch-query"))
    gc.disable()  # a response that is only collected is a response that was leaked
    try:
        async with ZuoraClient(zuora.settings(), rng=Random(1)) as client, JobWatcher(client) as watcher:
            for _ in range(5):
                await watcher.watch(AQUA.handle(job.id), timeout=60)
                assert connections(connectors) == 0
    finally:
        gc.enable()
