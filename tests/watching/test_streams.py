"""Streams of handles: of any length, from any source, read at any speed."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from zuora_jobs import (
    AQUA,
    OPERATION,
    Budget,
    Cadence,
    ConfigurationError,
    Finished,
    InvalidHandle,
    JobHandle,
    JobWatcher,
    Observed,
    Throttled,
    ZuoraClient,
)
from zuora_jobs.emulator import Fault
from zuora_jobs.emulator.effects import Answer

pytestmark = pytest.mark.looptime

DONE = {"id": "x", "status": "Completed", "success": True}
BUSY = {"id": "x", "status": "Processing", "success": True}


async def test_a_stream_tells_each_answer_and_each_end_in_order(zuora, watching):
    job = zuora.add_job("aqua", ends="completed", seconds=2)
    async with watching(zuora) as watcher, watcher.stream([JobHandle.parse(job.handle)]) as events:
        told = [event async for event in events]
    assert [event.name for event in told] == [
        "observed",
        "observed",
        "status_changed",
        "observed",
        "status_changed",
        "finished",
    ]
    assert [event.polls for event in told if isinstance(event, Observed)] == [1, 2, 3]
    assert all(event.at.utcoffset() is not None for event in told)
    assert (told[-1].at - told[0].at).total_seconds() == 2


async def test_handles_may_come_while_others_are_watched(zuora, watching, looptime):
    jobs = zuora.add_jobs("aqua", 4, ends="completed", seconds=0)

    async def slowly() -> AsyncIterator[JobHandle[Any]]:
        for job in jobs:
            await asyncio.sleep(10)
            yield JobHandle.parse(job.handle)

    ends = []
    async with watching(zuora) as watcher, watcher.stream(slowly()) as events:
        async for event in events:
            if isinstance(event, Finished):
                ends.append(float(looptime))
    assert ends == [10, 20, 30, 40]


async def test_what_the_source_raises_is_raised_to_the_reader_after_what_was_told(zuora, watching):
    job = zuora.add_job("aqua", ends="completed", seconds=0)

    def source() -> Iterator[JobHandle[Any]]:
        yield JobHandle.parse(job.handle)
        raise LookupError("the database went away")

    async with watching(zuora) as watcher:
        async with watcher.stream(source()) as events:
            with pytest.raises(LookupError, match="went away"):
                async for _ in events:
                    await asyncio.sleep(1)
        assert watcher.statistics().watching == 0


async def test_a_bad_handle_in_the_source_is_raised_to_the_reader(zuora, watching):
    async with watching(zuora) as watcher, watcher.stream(["aqua:abc"]) as events:
        with pytest.raises(InvalidHandle):
            await anext(events)


async def test_a_handle_that_comes_twice_while_watched_counts_once(zuora, watching):
    job = zuora.add_job("aqua", ends="completed", seconds=3)
    async with watching(zuora) as watcher, watcher.stream([JobHandle.parse(job.handle)] * 3) as events:
        ends = [event async for event in events if isinstance(event, Finished)]
    assert len(ends) == 1
    assert job.polls == 4


async def test_leaving_a_stream_stops_its_watches_and_its_source(zuora, watching):
    jobs = zuora.add_jobs("aqua", 3, ends="completed", seconds=1000)
    taken = []

    async def endless() -> AsyncIterator[JobHandle[Any]]:
        for number in itertools.count():
            taken.append(number)
            yield JobHandle.parse(jobs[number % 3].handle)
            await asyncio.sleep(1)

    async with watching(zuora) as watcher:
        async with watcher.stream(endless()) as events:
            async for _ in events:
                break
        asked, was = len(taken), len(zuora.requests)
        await asyncio.sleep(100)
        assert watcher.statistics().watching == 0
    assert (len(taken), len(zuora.requests)) == (asked, was)


async def test_each_job_of_a_stream_has_its_own_timeout_from_when_it_was_taken_in(script, local, looptime):
    async def slowly() -> AsyncIterator[JobHandle[Any]]:
        for number in range(3):
            yield OPERATION.handle(f"job-{number}")
            await asyncio.sleep(4)

    ends = []
    async with (
        ZuoraClient(local, send=script([BUSY])) as client,
        JobWatcher(client, cadence=Cadence.constant(1)) as watcher,
        watcher.stream(slowly(), timeout=10) as events,
    ):
        async for event in events:
            if isinstance(event, Finished):
                ends.append((float(looptime), event.handle.id, event.outcome.name))
    assert ends == [(10, "job-0", "lost"), (14, "job-1", "lost"), (18, "job-2", "lost")]


@pytest.mark.unmeasured
async def test_many_thousand_jobs_need_no_task_each(script, local):
    send = script([BUSY, BUSY, DONE], latency=0.1)
    most_tasks = 0
    async with (
        ZuoraClient(local, Budget(rate=5000, concurrency=20), send=send) as client,
        JobWatcher(client, cadence=Cadence.constant(60)) as watcher,
        watcher.stream(OPERATION.handle(f"job-{n}") for n in range(20_000)) as events,
    ):
        ends = 0
        async for event in events:
            if isinstance(event, Finished):
                ends += 1
            if event.at.microsecond % 97 == 0:
                most_tasks = max(most_tasks, len(asyncio.all_tasks()))
    assert ends == 20_000
    assert most_tasks <= 20 + 5
    assert send.most_at_once == 20
    assert set(send.seen.values()) == {3}


async def test_an_endless_source_is_taken_in_only_as_others_end(script, local):
    taken = 0

    def endless() -> Iterator[JobHandle[Any]]:
        nonlocal taken
        for taken in itertools.count(1):
            yield OPERATION.handle(f"job-{taken}")

    async with (
        ZuoraClient(local, send=script([BUSY, DONE])) as client,
        JobWatcher(client, cadence=Cadence.constant(1)) as watcher,
        watcher.stream(endless(), at_once=50) as events,
    ):
        ends = 0
        async for event in events:
            assert watcher.statistics().watching <= 50
            ends += isinstance(event, Finished)
            if ends == 500:
                break
        assert taken <= 500 + 51


async def test_a_reader_who_does_not_read_bounds_the_memory_and_stops_only_his_own_jobs(script, local):
    send = script([BUSY])
    send.answers["quick"] = [BUSY] * 100 + [DONE]
    async with (
        ZuoraClient(local, send=send) as client,
        JobWatcher(client, cadence=Cadence.constant(1)) as watcher,
        watcher.stream([OPERATION.handle(f"slow-{n}") for n in range(10)], buffer=50) as events,
    ):
        quick = await watcher.watch(OPERATION.handle("quick"))
        assert quick.elapsed == 100
        seen = sum(count for job, count in send.seen.items() if job.startswith("slow"))
        assert 50 <= seen <= 60
        for _ in range(30):
            await anext(events)
        await asyncio.sleep(10)
        assert sum(count for job, count in send.seen.items() if job.startswith("slow")) > seen


async def test_ends_are_kept_for_a_slow_reader_however_many(script, local):
    async with (
        ZuoraClient(local, send=script([DONE])) as client,
        JobWatcher(client) as watcher,
        watcher.stream([OPERATION.handle(f"job-{n}") for n in range(500)], buffer=10) as events,
    ):
        ends = set()
        async for event in events:
            await asyncio.sleep(0.01)
            if isinstance(event, Finished):
                ends.add(event.handle)
    assert len(ends) == 500


async def test_throttling_is_told_to_the_stream_and_waited_for_once(zuora, watching, looptime):
    jobs = zuora.add_jobs("aqua", 30, ends="completed", seconds=0)
    zuora.fault(
        Fault(
            Answer(429, {"reasons": [{"code": 70, "message": "limit"}]}, headers={"Retry-After": "40"}),
            times=1,
            path="batch",
        )
    )
    async with watching(zuora) as watcher, watcher.stream([JobHandle.parse(job.handle) for job in jobs]) as events:
        told = [event async for event in events]
    throttled = [event for event in told if isinstance(event, Throttled)]
    assert [event.seconds for event in throttled] == [40]
    assert len([event for event in told if isinstance(event, Finished)]) == 30
    between = [record.at for record in zuora.requests if 1 < record.at < 40]
    assert between == []
    assert 40 <= float(looptime) < 43


@pytest.mark.parametrize("options", [{"at_once": 0}, {"buffer": 0}, {"timeout": -1}])
async def test_options_that_cannot_work_are_refused_before_any_request(zuora, watching, options):
    async with watching(zuora) as watcher:
        with pytest.raises(ConfigurationError):
            async with watcher.stream([AQUA.handle("a")], **options):
                pass
    assert not zuora.requests
