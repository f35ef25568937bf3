"""Long watches: thousands of jobs for hours, a clock that jumps, a loop that stands still, and a reader who dawdles.

Time is virtual; tasks, blocks, bytes and sockets are counted as they are.
"""

import asyncio
import gc
import json
import sys
import tracemalloc
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from zuora_jobs import (
    AQUA,
    OPERATION,
    Budget,
    Cadence,
    ConnectionFailed,
    Finished,
    JobHandle,
    JobWatcher,
    LostContact,
    Observed,
    Retrying,
    Settings,
    ZuoraClient,
    emulator,
)
from zuora_jobs.emulator import Fault
from zuora_jobs.protocol.messages import Request, Response

pytestmark = pytest.mark.looptime

TENANT = Settings(base_url="https://rest.example.com", access_token="not-a-secret")
BUSY = {"status": "Processing", "success": True, "objectType": "Invoice", "operationType": "Delete", "reasons": []}
HOUR = 3600.0
SPARE, HAIR = 0.02, 1e-4
"""Seconds: of its rate that a budget may spend at once; what sums of floats may differ by."""


def ops(count: int) -> list[JobHandle[Any]]:
    return [OPERATION.handle(f"o{number}") for number in range(count)]


def said(status: int, document: Any, **headers: str) -> Response:
    return Response(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(document).encode()
    )


def most_in_a_second(moments: list[float]) -> int:
    return max(bisect_left(moments, start + 1 - HAIR) - number for number, start in enumerate(moments))


class Script:
    """A Send that asks a function: answer(id, now) gives a status, a Response or an exception."""

    def __init__(self, answer: Callable[[str, float], Any], *, takes: float = 0.0) -> None:
        self.answer, self.takes = answer, takes
        self.began_at = asyncio.get_running_loop().time()
        self.moments: list[float] = []
        self.asked: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time() - self.began_at

    async def __call__(self, request: Request) -> Response:
        identifier = request.path.rsplit("/", 1)[1]
        self.moments.append(self.now)
        self.asked[identifier] += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.at_once -= 1
        answer = self.answer(identifier, self.now)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Response) else said(200, {**BUSY, "id": identifier, "status": answer})


# --- nothing grows

TROUBLES: list[Callable[[], Any]] = [
    lambda: ConnectionFailed("refused", sent=False),
    lambda: said(503, {}),
    lambda: said(500, {"reasons": [{"code": 50000060, "message": "internal"}]}),
    lambda: said(200, {"success": False, "reasons": [{"code": 50000050, "message": "locked"}]}),
    lambda: Response(200, {}, b"<html>maintenance</html>"),
    lambda: said(200, {"id": "x"}),
    lambda: said(401, {"message": "Failed to get user info"}),
    lambda: said(429, {}, retry_after="1"),
    lambda: "Dozing",
]


def troubled(rng: Random, share: float) -> Callable[[str, float], Any]:
    """Jobs that run for ever; a *share* of looks meets trouble, but for the last minutes of each hour."""
    return lambda _, now: rng.choice(TROUBLES)() if now % HOUR < HOUR - 300 and rng.random() < share else "Processing"


@pytest.mark.unmeasured
@pytest.mark.looptime(noop_cycles=1)  # there are no sockets
async def test_six_hours_of_two_thousand_jobs_in_all_sorts_of_trouble_grow_nothing(caplog):
    """Compared are moments in which nobody is in trouble: each job has its entry, its last document, its place in the heap.

    Of troubles that are over a job keeps the moments of an unknown status and of its last move, which are two blocks. A hundred more are chance:
    a twentieth of a block for each job, a five-hundredth for each look.
    """
    caplog.set_level("CRITICAL")  # whatever is captured is kept
    trouble = troubled(Random(7), 0.05)
    unknown = bytearray(2000)  # a block in all

    def answer(name: str, now: float) -> Any:
        told = trouble(name, now)
        unknown[int(name[1:])] |= told == "Dozing"
        return told

    send = Script(answer)
    tasks, blocks, heap, dozed = [], [], [], []
    async with (
        ZuoraClient(TENANT, Budget(rate=1e6), send=send, rng=Random(1)) as client,
        JobWatcher(client, cadence=Cadence.constant(720)) as watcher,
    ):
        watch = asyncio.create_task(watcher.watch_all(ops(2000)))
        for hour in range(1, 7):
            await asyncio.sleep(hour * HOUR - 10 - send.now)
            send.moments.clear()
            gc.collect()
            blocks.append(sys.getallocatedblocks())
            dozed.append(sum(unknown))
            tasks.append(len(asyncio.all_tasks()))
            heap.append(len(watcher._opened()._schedule._appointments))
        figures = watcher.statistics()
        watch.cancel()
        await asyncio.wait([watch])
        assert (watcher.statistics().watching, client.limiter.gate.in_flight) == (0, 0)
    assert (figures.watching, figures.looking, figures.lost) == (2000, 0, 0)
    assert (figures.polls, min(send.asked.values())) == (60_000, 30), "a good look every twelve minutes"
    assert figures.retries > 2000
    assert max(tasks) <= 3 + 20, "this one, the caller's, the driver, and no more than may be under way"
    assert set(heap) == {2000}
    assert dozed[5] - dozed[1] > 100
    assert blocks[5] - blocks[1] - 2 * (dozed[5] - dozed[1]) < 100, (
        "from the second hour on all are known to stand still"
    )


@pytest.mark.unmeasured
async def test_a_watched_job_costs_less_than_four_kilobytes():
    """Its handle, its entry, its place in the heap, and its document, as an object and as it was received."""
    send = Script(lambda *_: "Processing")
    async with (
        ZuoraClient(TENANT, Budget(rate=1e6), send=send) as client,
        JobWatcher(client, cadence=Cadence.constant(600)) as watcher,
    ):
        await watcher.watch_all(ops(50), timeout=1)  # whatever is made once is made
        gc.collect()
        tracemalloc.start()
        try:
            handles = ops(2000)
            watch = asyncio.create_task(watcher.watch_all(handles))
            await asyncio.sleep(300)
            gc.collect()
            each = tracemalloc.get_traced_memory()[0] / 2000
        finally:
            tracemalloc.stop()
        assert watcher.statistics().polls == 2050
        watch.cancel()
        await asyncio.wait([watch])
    assert 500 < each < 4000


def sockets() -> int:
    loop: Any = asyncio.get_running_loop()
    return len(loop._selector.get_map())


@pytest.mark.unmeasured
async def test_six_hours_open_no_more_connections_than_the_budget_lets_go_at_once():
    """Both ends of each are in this loop: what was cut, hung or spoilt must be closed, and nothing is opened for a look."""
    async with emulator.running(rate_limits=()) as zuora:
        bare = sockets()
        jobs = [AQUA.handle(job.id) for job in zuora.add_jobs("aqua", 20, ends="completed", seconds=100_000)]
        counts, tasks = [], []
        async with (
            ZuoraClient(zuora.settings(), Budget(rate=1e6, concurrency=5), rng=Random(1)) as client,
            JobWatcher(client, cadence=Cadence.constant(120)) as watcher,
        ):
            watch = asyncio.create_task(watcher.watch_all(jobs))
            for _ in range(6):
                for effect in (
                    "dropped",
                    "reset",
                    "truncated",
                    "hang",
                    "bad-gateway",
                    "invalid-json",
                    "endless-headers",
                ):
                    zuora.fault(Fault(effect, probability=0.02, lasts=HOUR - 400, path="jobs"))
                await asyncio.sleep(HOUR)
                counts.append(sockets() - bare)
                tasks.append(len(asyncio.all_tasks()))
            assert watcher.statistics().retries > 200
            watch.cancel()
            await asyncio.wait([watch])
        await asyncio.sleep(0.1)
        assert sockets() == bare
    assert all(0 < count <= 2 * 5 for count in counts)
    assert counts[5] <= counts[0]
    assert tasks[5] <= tasks[0]


# --- clocks that jump, a loop that stands still


@pytest.fixture
def stand_still(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    """Let time pass in which nothing runs: the machine sleeps, or somebody holds up the loop."""
    ahead = 0.0
    with monkeypatch.context() as patch:

        def skip(seconds: float) -> None:
            nonlocal ahead
            if not ahead:
                loop = asyncio.get_running_loop()
                real = loop.time
                patch.setattr(loop, "time", lambda: real() + ahead)
            ahead += seconds

        yield skip


ENDS = ["Completed", "Failed", "Processing", "Completed"]


@pytest.mark.unmeasured
@pytest.mark.looptime(noop_cycles=1)
@pytest.mark.parametrize("seconds", [90.0, HOUR])
async def test_two_thousand_jobs_come_back_from_a_standstill_within_the_budget_and_as_they_are(stand_still, seconds):
    """All are due at once, in the middle of trouble, with requests under way; many ended while nobody looked."""
    rng = Random(3)

    def answer(name: str, now: float) -> Any:
        if (60 < now < 80 or 60 + seconds < now < 90 + seconds) and rng.random() < 0.4:
            return rng.choice(TROUBLES[:6])()
        number = int(name[1:])
        return ENDS[number % 4] if now >= 100 + number % 100 else "Processing"

    send = Script(answer, takes=0.05)
    told: list[Any] = []
    async with (
        ZuoraClient(TENANT, Budget(rate=100, concurrency=10), send=send, rng=Random(1)) as client,
        JobWatcher(client, cadence=Cadence.constant(20), observers=[told.append], contact_timeout=1000) as watcher,
    ):
        watch = asyncio.create_task(watcher.watch_all(ops(2000), timeout=seconds + 300))
        await asyncio.sleep(71.234)
        before = len(send.moments)
        assert send.at_once
        stand_still(seconds)
        outcomes = await watch
    after = send.moments[before:]
    for number, outcome in enumerate(outcomes.values()):
        assert outcome.name == ["succeeded", "failed", "lost", "succeeded"][number % 4]
        assert outcome.name != "lost" or outcome.status == "Processing"
    assert most_in_a_second(after) <= 100 * (1 + SPARE) + 1
    assert send.most_at_once <= 10
    assert not [event for event in told if isinstance(event, LostContact)]
    assert sum(isinstance(event, Finished) for event in told) == 2000


async def test_a_loop_held_up_for_longer_than_a_request_may_take_costs_one_try_of_those_under_way(stand_still):
    """Their answers came, and nobody was there to read them in time; those that can be read all the same are."""
    told: list[Any] = []
    async with emulator.running(rate_limits=(), latency=0.5) as zuora:
        jobs = [AQUA.handle(job.id) for job in zuora.add_jobs("aqua", 200, ends="completed", seconds=130)]
        async with (
            ZuoraClient(zuora.settings(), Budget(rate=50, concurrency=10), rng=Random(1)) as client,
            JobWatcher(client, cadence=Cadence.constant(20), observers=[told.append]) as watcher,
        ):
            watch = asyncio.create_task(watcher.watch_all(jobs))
            await asyncio.sleep(24.8)
            under_way, before = zuora.in_flight, len(zuora.requests)
            stand_still(90)
            outcomes = await watch
        after = [record.at for record in zuora.requests[before:]]
    assert 0 < under_way <= 10
    assert {outcome.name for outcome in outcomes.values()} == {"succeeded"}
    assert most_in_a_second(after) <= 50 * (1 + SPARE) + 1
    assert 0 < sum(isinstance(event, Retrying) for event in told) <= under_way
    assert not [event for event in told if isinstance(event, LostContact)]


# --- slow readers


@pytest.mark.unmeasured
async def test_a_reader_who_dawdles_for_an_hour_slows_his_own_jobs_and_no_others():
    """He reads an event in 2 s where his ten jobs tell ten a second; others' jobs are looked at each second."""
    send = Script(lambda name, now: "Completed" if now >= HOUR else "Processing")
    waiting, read = 0, 0
    async with (
        ZuoraClient(TENANT, Budget(rate=1e6), send=send) as client,
        JobWatcher(client, cadence=Cadence.constant(1)) as watcher,
        watcher.stream(ops(10), buffer=20) as events,
    ):
        others = asyncio.create_task(watcher.watch_all([OPERATION.handle(f"x{number}") for number in range(3)]))
        async for event in events:
            read += isinstance(event, Observed)
            waiting = max(waiting, len(events._events))  # type: ignore[attr-defined]
            await asyncio.sleep(2)
        outcomes = await others
    assert waiting < 2 * 20
    his = [send.asked[handle.id] for handle in ops(10)]
    assert sum(his) == read, "nothing that was asked for his sake is kept from him"
    assert HOUR / 2 <= read <= HOUR / 2 + 2 * 20, "and no more is asked than he reads"
    assert max(his) - min(his) <= 1, "of all his jobs alike"
    assert {(round(outcome.elapsed, 3), outcome.polls) for outcome in outcomes.values()} == {(HOUR, 3601)}


async def test_an_observer_that_always_raises_changes_no_look_of_an_hour_and_is_reported_each_time(caplog):
    told: list[Any] = []

    def raising(event: Any) -> None:
        told.append(event)
        raise LookupError("a bad observer")

    async def looks(*observers: Any) -> list[float]:
        trouble = troubled(Random(7), 0.2)
        send = Script(lambda name, now: "Completed" if now >= HOUR else trouble(name, now))
        async with (
            ZuoraClient(TENANT, Budget(rate=1e6), send=send, rng=Random(1)) as client,
            JobWatcher(client, cadence=Cadence.constant(60), observers=observers) as watcher,
        ):
            outcomes = await watcher.watch_all(ops(5))
        assert {outcome.name for outcome in outcomes.values()} == {"succeeded"}
        return [round(moment, 3) for moment in send.moments]

    assert await looks() == await looks(raising)
    assert len(told) > 300
    assert sum("an observer failed" in record.message for record in caplog.records) == len(told)
