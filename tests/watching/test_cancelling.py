"""Cancelling remote jobs, and what it meets: ends, races, refusals, outages."""

import asyncio
from typing import Any

import pytest

from zuora_jobs import (
    AQUA,
    BULK_PDF,
    CREDIT_MEMO_APPLY,
    OPERATION,
    CancellationNotSupported,
    Cancelled,
    CancelRefused,
    ConnectionFailed,
    Failed,
    Forbidden,
    JobHandle,
    JobWatcher,
    Lost,
    NotFound,
    Patience,
    Succeeded,
    ZuoraClient,
    emulator,
)
from zuora_jobs.emulator import Fault, Step
from zuora_jobs.emulator.effects import Answer

pytestmark = pytest.mark.looptime


def sent(zuora: emulator.Emulator, handle: JobHandle[Any]) -> list[str]:
    return [record.method for record in zuora.requests if record.handle == str(handle)]


async def test_a_running_job_is_cancelled_with_one_request(zuora, watching, looptime):
    handle = AQUA.handle(zuora.add_job("aqua", ends="completed", seconds=100).id)
    async with watching(zuora) as watcher:
        outcome = await watcher.cancel(handle)
        await asyncio.sleep(100)
    assert isinstance(outcome, Cancelled)
    assert outcome.status == "cancelled"
    assert sent(zuora, handle) == ["DELETE"]


async def test_a_cancelled_job_keeps_the_files_of_its_finished_queries(zuora, watching):
    handle = AQUA.handle(zuora.add_job("aqua", ends="completed", seconds=100).id)
    async with watching(zuora) as watcher:
        watch = asyncio.create_task(watcher.watch(handle))
        await asyncio.sleep(70)
        outcome = await watcher.cancel(handle)
        assert await watch is outcome
    assert isinstance(outcome, Cancelled)
    assert [file.file_id for file in outcome.files] == [
        batch["fileId"] for batch in zuora.job(str(handle)).document()["batches"] if batch["status"] == "completed"
    ]
    assert outcome.files


@pytest.mark.parametrize("refusal", [200, 400])
@pytest.mark.parametrize(("end", "expected"), [("completed", Succeeded), ("aborted", Failed), ("cancelled", Cancelled)])
async def test_a_job_that_had_ended_is_answered_with_its_real_end(watching, refusal, end, expected):
    async with emulator.running(aqua_refusal_status=refusal) as zuora:
        handle = AQUA.handle(zuora.add_job("aqua", life=[Step(end)]).id)
        told: list[Any] = []
        async with watching(zuora, observers=[told.append]) as watcher:
            outcome = await watcher.cancel(handle)
        assert isinstance(outcome, expected)
        assert sent(zuora, handle) == ["DELETE", "GET"]
        assert [event.name for event in told] == ["watch_began", "cancel_refused", "observed", "finished"]
        assert isinstance(told[1], CancelRefused)


async def test_a_job_that_ends_in_between_is_answered_with_its_real_end(zuora, watching):
    handle = AQUA.handle(zuora.add_job("aqua", ends="completed", seconds=100, cancel_loses_to="completed").id)
    async with watching(zuora) as watcher:
        watch = asyncio.create_task(watcher.watch(handle))
        await asyncio.sleep(5.5)
        outcome = await watcher.cancel(handle)
        assert await watch is outcome
    assert isinstance(outcome, Succeeded)
    assert sent(zuora, handle) == ["GET"] * 6 + ["DELETE", "GET"]


async def test_a_cancellation_that_takes_its_time_is_watched_to_its_end(zuora, watching, looptime):
    handle = AQUA.handle(zuora.add_job("aqua", ends="completed", seconds=100, cancel_takes=4.5).id)
    async with watching(zuora) as watcher:
        outcome = await watcher.cancel(handle)
    assert isinstance(outcome, Cancelled)
    assert sent(zuora, handle) == ["DELETE"] + ["GET"] * 5
    assert looptime == 5


@pytest.mark.parametrize("kind", [OPERATION, BULK_PDF, CREDIT_MEMO_APPLY])
async def test_a_kind_that_cannot_be_cancelled_is_refused_before_any_request(zuora, watching, kind):
    job = zuora.add_job(kind.name)
    async with watching(zuora) as watcher:
        with pytest.raises(CancellationNotSupported, match="Zuora offers no way"):
            await watcher.cancel(kind.handle(job.id))
        async with ZuoraClient(zuora.settings()) as client:
            with pytest.raises(CancellationNotSupported):
                await client.cancel_job(kind.handle(job.id))
    assert not zuora.requests


async def test_two_who_cancel_share_one_request(zuora, watching):
    handle = AQUA.handle(zuora.add_job("aqua", ends="completed", seconds=100).id)
    zuora.fault(Fault("slow", method="DELETE"))
    async with watching(zuora) as watcher:
        first, second = await asyncio.gather(watcher.cancel(handle), watcher.cancel(handle))
    assert first is second
    assert sent(zuora, handle) == ["DELETE"]


async def test_an_unknown_job_cannot_be_cancelled_and_is_lost(zuora, watching):
    async with watching(zuora) as watcher:
        outcome = await watcher.cancel(AQUA.handle("nobody"))
    assert isinstance(outcome, Lost)
    assert isinstance(outcome.error, NotFound)


async def test_who_may_not_cancel_is_told_and_the_job_is_left_alone(zuora, watching):
    job = zuora.add_job("aqua", ends="completed", seconds=10)
    zuora.fault(Fault(Answer(403, {"code": 90009, "message": "user not authorised"}), method="DELETE"))
    async with watching(zuora) as watcher:
        with pytest.raises(Forbidden):
            await watcher.cancel(AQUA.handle(job.id))
        assert watcher.statistics().watching == 0
        assert (await watcher.watch(AQUA.handle(job.id))).name == "succeeded"


async def test_a_refused_cancellation_does_not_disturb_who_watches(zuora, watching):
    job = zuora.add_job("aqua", ends="completed", seconds=10)
    zuora.fault(Fault(Answer(403, {"code": 90009, "message": "user not authorised"}), method="DELETE"))
    async with watching(zuora) as watcher:
        watch = asyncio.create_task(watcher.watch(AQUA.handle(job.id)))
        await asyncio.sleep(2.5)
        with pytest.raises(Forbidden):
            await watcher.cancel(AQUA.handle(job.id))
        assert (await watch).name == "succeeded"
    assert job.polls == 11


async def test_a_cancellation_is_tried_again_over_an_outage(zuora, watching):
    handle = AQUA.handle(zuora.add_job("aqua", ends="completed", seconds=1000).id)
    zuora.fault(Fault("unavailable", method="DELETE", times=3))
    async with watching(zuora) as watcher:
        assert isinstance(await watcher.cancel(handle), Cancelled)
    assert [record.method for record in zuora.requests].count("DELETE") == 4


async def test_a_cancellation_whose_answer_was_cut_finds_the_job_cancelled(zuora, watching):
    handle = AQUA.handle(zuora.add_job("aqua", ends="completed", seconds=1000).id)
    zuora.fault(Fault("truncated", method="DELETE", times=1))
    async with watching(zuora) as watcher:
        assert isinstance(await watcher.cancel(handle), Cancelled)
    assert sent(zuora, handle).count("DELETE") <= 3


async def test_when_nobody_answers_the_canceller_is_told_in_time(script, local, looptime):
    send = script([ConnectionFailed("refused", sent=False)])
    async with (
        ZuoraClient(local, send=send, patience=Patience(again=20, longest=5)) as client,
        JobWatcher(client) as watcher,
    ):
        with pytest.raises(ConnectionFailed):
            await watcher.cancel(AQUA.handle("a"))
        assert watcher.statistics().watching == 0
    assert 20 <= float(looptime) < 26


async def test_cancelling_has_a_timeout_of_its_own(zuora, watching, looptime):
    handle = AQUA.handle(zuora.add_job("aqua", ends="completed", seconds=1000).id)
    zuora.fault(Fault("hang", method="DELETE"))
    async with watching(zuora) as watcher:
        outcome = await watcher.cancel(handle, timeout=3)
    assert isinstance(outcome, Lost)
    assert looptime == 3


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 2.0, 4.9])
async def test_who_gives_up_cancelling_leaves_nothing_behind(zuora, watching, seconds):
    handle = AQUA.handle(zuora.add_job("aqua", ends="completed", seconds=1000).id)
    zuora.fault(Fault("slow", method="DELETE"))
    async with watching(zuora) as watcher:
        cancelling = asyncio.create_task(watcher.cancel(handle))
        await asyncio.sleep(seconds)
        cancelling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelling
        assert watcher.statistics().watching == 0


# --- cancel_remote: leaving a watch takes the remote job along


async def test_leaving_a_watch_leaves_the_job_alone_unless_asked_otherwise(zuora, watching):
    job = zuora.add_job("aqua", ends="completed", seconds=1000)
    async with watching(zuora) as watcher:
        watch = asyncio.create_task(watcher.watch(AQUA.handle(job.id)))
        await asyncio.sleep(2)
        watch.cancel()
    assert job.status != "cancelled"


async def test_with_cancel_remote_a_cancelled_watch_takes_its_job_along(zuora, watching):
    jobs = zuora.add_jobs("aqua", 3, ends="completed", seconds=1000)
    other = zuora.add_job("operation", ends="Completed", seconds=1000)
    async with watching(zuora, cancel_remote=True) as watcher:
        handles: list[JobHandle[Any]] = [JobHandle.parse(job.handle) for job in [*jobs, other]]
        watch = asyncio.create_task(watcher.watch_all(handles))
        await asyncio.sleep(2)
        watch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watch
        assert {job.status for job in jobs} == {"cancelled"}
        assert watcher.statistics().watching == 0
    assert "DELETE" not in sent(zuora, JobHandle.parse(other.handle))


async def test_with_cancel_remote_a_timeout_tells_the_jobs_real_end(zuora, watching, looptime):
    job = zuora.add_job("aqua", ends="completed", seconds=1000)
    async with watching(zuora, cancel_remote=True) as watcher:
        outcome = await watcher.watch(AQUA.handle(job.id), timeout=3)
    assert isinstance(outcome, Cancelled)
    assert looptime == 3


async def test_with_cancel_remote_a_job_that_others_watch_is_left_to_them(zuora, watching):
    job = zuora.add_job("aqua", ends="completed", seconds=20)
    async with watching(zuora, cancel_remote=True) as watcher:
        leaving = asyncio.create_task(watcher.watch(AQUA.handle(job.id)))
        staying = asyncio.create_task(watcher.watch(AQUA.handle(job.id)))
        await asyncio.sleep(2)
        leaving.cancel()
        assert (await staying).name == "succeeded"
    assert "DELETE" not in sent(zuora, AQUA.handle(job.id))


async def test_with_cancel_remote_leaving_takes_bounded_time(zuora, watching, looptime, caplog):
    job = zuora.add_job("aqua", ends="completed", seconds=1000)
    zuora.fault(Fault("hang", method="DELETE"))
    async with watching(zuora, cancel_remote=True) as watcher:
        watch = asyncio.create_task(watcher.watch(AQUA.handle(job.id)))
        await asyncio.sleep(2)
        watch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watch
    assert looptime == 12
    assert "could be cancelled within 10 s" in caplog.text


async def test_with_cancel_remote_leaving_a_stream_early_takes_its_jobs_along(zuora, watching):
    jobs = zuora.add_jobs("aqua", 5, ends="completed", seconds=1000)
    async with watching(zuora, cancel_remote=True) as watcher:
        async with watcher.stream([JobHandle.parse(job.handle) for job in jobs]) as events:
            await anext(events)
            await asyncio.sleep(1)
    assert {job.status for job in jobs} == {"cancelled"}


async def test_with_cancel_remote_the_end_of_the_watcher_waits_for_the_farewell(zuora):
    job = zuora.add_job("aqua", ends="completed", seconds=1000)
    zuora.fault(Fault("slow", method="DELETE"))

    async def run() -> None:
        async with ZuoraClient(zuora.settings()) as client, JobWatcher(client, cancel_remote=True) as watcher:
            await watcher.watch(AQUA.handle(job.id))

    running = asyncio.create_task(run())
    await asyncio.sleep(2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert job.status == "cancelled"
