"""A watcher with a journal, in virtual time: what comes before what, and what is told again."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from zuora_jobs import (
    AQUA,
    BULK_PDF,
    OPERATION,
    Budget,
    Cadence,
    Finished,
    JobWatcher,
    Journal,
    JournalError,
    JournalInUse,
    Lost,
    NotFound,
    OperationJob,
    Settings,
    StatusChanged,
    Succeeded,
    WatcherClosed,
    WatchTimedOut,
    ZuoraClient,
)
from zuora_jobs.journal import journal as journal_module
from zuora_jobs.journal.entries import Accepted, Ended
from zuora_jobs.journal.reading import read_history
from zuora_jobs.journal.store import Store
from zuora_jobs.journal.writer import LARGEST_BATCH
from zuora_jobs.watching.clock import WallClock

pytestmark = pytest.mark.looptime

A, B = OPERATION.handle("a"), OPERATION.handle("b")
Q = AQUA.handle("q")
RUNNING, DONE = {"status": "Processing"}, {"status": "Completed"}
MISSING = (404, {"success": False, "reasons": [{"code": 50000040, "message": "Cannot find entity"}]})
FOREVER = 10_000.0


async def ends_of(events):
    return {event.handle: event async for event in events if isinstance(event, Finished)}


def record_of(path, handle=A):
    return next(job for job in read_history(path).jobs if job.handle == str(handle))


async def run_to_the_end(watching, script, *handles, **options):
    """Watch *handles* in a stream, acknowledge nothing, and give their ends."""
    async with watching(script, **options) as (watcher, _), watcher.stream(handles) as events:
        return await ends_of(events)


# --- what comes before what


async def test_no_job_is_asked_about_before_it_is_on_the_disk(watching, script, slow_disk):
    handles = [OPERATION.handle(f"j{number}") for number in range(50)]
    async with watching(script, executor=slow_disk(3.0)) as (watcher, _):
        await watcher.watch_all(handles)
        await watcher.watch_all([AQUA.handle("late")], timeout=50)
    assert len(script.asked) >= 100
    assert script.unknown_to_the_journal == []


async def test_no_end_is_told_before_it_is_on_the_disk(watching, script, path, slow_disk):
    told: list[str] = []
    failures: list[str] = []

    def check(event: Any, who: str) -> None:
        if isinstance(event, Finished):
            record = record_of(path, event.handle)
            told.append(who)
            if (record.outcome, record.polls) != (event.outcome.name, event.outcome.polls):
                failures.append(f"{who}: {event.handle}")

    script.answers["gone"] = [MISSING]
    handles = [OPERATION.handle(f"j{number}") for number in range(20)] + [OPERATION.handle("gone")]
    async with watching(script, executor=slow_disk(0.7), observers=[lambda event: check(event, "observer")]) as opened:
        watcher, _ = opened

        async def stream() -> None:
            async with watcher.stream(handles) as events:
                async for event in events:
                    check(event, "stream")

        async def all_of_them() -> None:
            outcomes = await watcher.watch_all(handles)
            for handle, outcome in outcomes.items():
                assert record_of(path, handle).outcome == outcome.name
                told.append("watch_all")

        await asyncio.gather(stream(), all_of_them())
    assert failures == []
    assert {who: told.count(who) for who in set(told)} == {"observer": 21, "stream": 21, "watch_all": 21}


async def test_while_the_disk_takes_its_time_nothing_is_told_and_nothing_hangs(watching, script, slow_disk):
    disk = slow_disk()
    async with watching(script, executor=disk) as (watcher, _):
        watch = asyncio.create_task(watcher.watch(A))
        await asyncio.sleep(0.5)
        assert script.asked_about("a") == 1
        disk.hold()
        await asyncio.sleep(100)
        assert script.asked_about("a") == 2
        assert not watch.done()
        disk.release()
        assert (await watch).name == "succeeded"


# --- going on


async def test_an_ended_job_is_told_from_the_journal_without_a_request(watching, script):
    first = await run_to_the_end(watching, script, A, B)
    assert [event.from_journal for event in first.values()] == [False, False]
    asked = len(script.asked)
    again = await run_to_the_end(watching, script, A, B)
    assert len(script.asked) == asked
    assert [event.from_journal for event in again.values()] == [True, True]
    for handle in (A, B):
        before, after = first[handle].outcome, again[handle].outcome
        assert (after.job, after.polls) == (before.job, before.polls)
        assert after.elapsed == pytest.approx(before.elapsed, abs=0.1)


async def test_observers_and_watch_all_are_told_from_the_journal_too(watching, script):
    await run_to_the_end(watching, script, A)
    seen: list[Any] = []
    async with watching(script, observers=[seen.append]) as (watcher, _):
        outcomes = await watcher.watch_all([A])
        assert watcher.statistics().succeeded == 1
    assert outcomes[A].name == "succeeded"
    assert [event.from_journal for event in seen if isinstance(event, Finished)] == [True]


async def test_a_job_that_had_not_ended_is_watched_on_with_its_age_and_its_looks(watching, script, later, path):
    script.answers["a"] = [RUNNING] * 10 + [DONE]
    async with watching(script) as (watcher, _):
        with suppress(TimeoutError):
            async with asyncio.timeout(4.5):
                await watcher.watch(A)
    assert record_of(path).polls == 5
    with later(1000):
        async with watching(script) as (watcher, _):
            outcome = await watcher.watch(A)
    assert outcome.polls == 11
    assert outcome.elapsed == pytest.approx(1000 + 5, abs=3)
    assert record_of(path).seconds == pytest.approx(outcome.elapsed, abs=0.2)
    assert record_of(path).polls == 11


@pytest.fixture
def later(monkeypatch):
    """Move the journal's clock on."""

    @contextmanager
    def move(seconds):
        class Later(WallClock):
            def __init__(self):
                super().__init__()
                self._started_at += timedelta(seconds=seconds)

        with monkeypatch.context() as inner:
            inner.setattr(journal_module, "WallClock", Later)
            yield

    return move


async def test_a_status_that_was_known_is_no_change(watching, script):
    script.answers["a"] = [RUNNING, RUNNING, RUNNING, DONE]
    async with watching(script) as (watcher, _):
        with suppress(TimeoutError):
            async with asyncio.timeout(1.5):
                await watcher.watch(A)
    async with watching(script) as (watcher, _), watcher.stream([A]) as events:
        changes = [(event.before, event.status) async for event in events if isinstance(event, StatusChanged)]
    assert changes == [("Processing", "Completed")]


async def test_a_life_is_told_and_kept_over_two_runs_as_over_one(watching, script, path):
    script.answers["a"] = [{"status": "Pending"}, RUNNING, RUNNING, DONE]
    changes = []
    for seconds in (0.5, 1.5, 100):
        async with watching(script) as (watcher, _):
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds), watcher.stream([A]) as events:
                    async for event in events:
                        changes += [event.status] if isinstance(event, StatusChanged) else []
    assert changes == ["Processing", "Completed"]
    assert [change.status for change in record_of(path).changes] == ["Pending", "Processing", "Completed"]


@pytest.mark.parametrize(
    "status", [pytest.param("x" * 2001, id="long"), pytest.param("\udcff", id="surrogate"), "see https://a/b?c"]
)
async def test_a_strange_status_that_was_known_is_no_change(status, watching, script):
    script.answers["a"] = [{"status": status}] * 3 + [DONE]
    async with watching(script) as (watcher, _):
        with suppress(TimeoutError):
            async with asyncio.timeout(1.5):
                await watcher.watch(A)
    async with watching(script) as (watcher, _), watcher.stream([A]) as events:
        changes = [event.status async for event in events if isinstance(event, StatusChanged)]
    assert changes == ["Completed"]


async def test_a_lost_job_is_watched_again_until_it_ends(watching, script, path):
    script.answers["a"] = [MISSING]
    first = await run_to_the_end(watching, script, A)
    assert isinstance(first[A].outcome, Lost)
    assert record_of(path).error is not None
    script.answers["a"] = [MISSING, DONE]
    again = await run_to_the_end(watching, script, A)
    assert (again[A].outcome.name, again[A].from_journal) == ("succeeded", False)
    assert (record_of(path).outcome, record_of(path).error) == ("succeeded", None)


async def test_what_had_not_ended_was_lost_or_not_acknowledged_is_to_be_resumed(watching, script):
    handles = {name: OPERATION.handle(name) for name in ("open", "lost", "told", "acked", "lost-acked")}
    script.answers |= {"open": [RUNNING], "lost": [MISSING], "lost-acked": [MISSING]}
    async with watching(script) as (watcher, journal):
        with suppress(TimeoutError):
            async with asyncio.timeout(20), watcher.stream(handles.values()) as events:
                await ends_of(events)
        await journal.acknowledge(handles["acked"], handles["lost-acked"], handles["open"])
    async with watching(script) as (_, journal):
        assert [handle.id for handle in await journal.to_resume()] == ["open", "lost", "told", "lost-acked"]
        assert await journal.outcomes() == {"succeeded": 2, "lost": 2}


# --- acknowledging


async def test_what_was_acknowledged_is_never_told_again_by_a_stream(watching, script):
    async with watching(script) as (watcher, journal):
        await watcher.watch_all([A, B])
        await journal.acknowledge(A)
        async with watcher.stream([A, B]) as events:
            assert list(await ends_of(events)) == [B]
    seen: list[Any] = []
    async with watching(script, observers=[seen.append]) as (watcher, journal):
        async with watcher.stream([A]) as events:
            assert [event async for event in events] == []
        assert [event.name for event in seen] == ["watch_began", "watch_left"]
        async with watcher.stream([A, B], tell_again=True) as events:
            assert set(await ends_of(events)) == {A, B}
        assert (await watcher.watch(A)).name == "succeeded"
    assert script.asked_about("a") == 2


async def test_two_streams_of_which_one_wants_to_hear_it_again(watching, script, slow_disk):
    async with watching(script) as (watcher, journal):
        await watcher.watch_all([A])
        await journal.acknowledge(A)
    async with watching(script, executor=slow_disk(1.0)) as (watcher, _):

        async def told(**options):
            async with watcher.stream([A], **options) as events:
                return len(await ends_of(events))

        everything = await asyncio.gather(told(), told(tell_again=True), told(), watcher.watch(A))
    assert list(everything[:3]) == [0, 1, 0]
    assert everything[3].name == "succeeded"


async def test_what_has_not_ended_cannot_be_acknowledged(watching, script):
    script.answers["a"] = [RUNNING] * 5 + [DONE]
    async with watching(script) as (watcher, journal), watcher.stream([A]) as events:
        async for event in events:
            await journal.acknowledge(A)
            if isinstance(event, Finished):
                break
    assert (await run_to_the_end(watching, script, A)) == {}


async def test_a_lost_job_that_was_acknowledged_is_watched_again_and_told(watching, script):
    script.answers["a"] = [MISSING]
    async with watching(script) as (watcher, journal):
        await watcher.watch(A)
        await journal.acknowledge(A)
    script.answers["a"] = [DONE]
    assert (await run_to_the_end(watching, script, A))[A].outcome.name == "succeeded"


async def test_who_awaits_an_acknowledgement_has_it_on_the_disk(watching, script, path, slow_disk):
    async with watching(script, executor=slow_disk(0.5)) as (watcher, journal):
        await watcher.watch_all([A, B])
        await journal.acknowledge(A, B)
        assert [job.acknowledged for job in read_history(path).jobs] == [True, True]
        await journal.acknowledge()


async def test_an_acknowledgement_that_nobody_awaits_is_written_when_it_is_closed(watching, script, path):
    async with watching(script) as (watcher, journal):
        await watcher.watch(A)
        journal.acknowledge(A)
    assert record_of(path).acknowledged


async def test_many_are_acknowledged_in_one_go(watching, script, path):
    script.default = [DONE]
    handles = [OPERATION.handle(f"j{number}") for number in range(2500)]
    script.journal = None
    async with watching(script) as (watcher, journal):
        await watcher.watch_all(handles)
        await journal.acknowledge(*handles)
        assert all(job.acknowledged for job in read_history(path).jobs)


async def test_a_closed_journal_says_so_and_a_watcher_needs_an_open_one(watching, script, inline, path):
    async with watching(script) as (_, journal):
        pass
    for attempt in (journal.to_resume(), journal.acknowledge(A), journal.saved(A, "/x", 1), journal.outcomes()):
        with pytest.raises(JournalError, match=r"is closed: open it anew with Journal\.open"):
            await attempt
    await journal.close()
    assert "closed" in repr(journal)


# --- leaving, and being left


async def test_an_end_that_is_being_written_is_told_to_who_comes_meanwhile(watching, script, slow_disk):
    disk = slow_disk()
    async with watching(script, executor=disk) as (watcher, _):
        first = asyncio.create_task(watcher.watch(A))
        await asyncio.sleep(0.5)
        disk.hold()
        await asyncio.sleep(1.5)
        second = asyncio.create_task(watcher.watch(A))
        assert watcher.nudge(A) is False
        await asyncio.sleep(5)
        disk.release()
        assert (await first).name == (await second).name == "succeeded"
        assert (await first).job == (await second).job
    assert script.asked_about("a") == 2


async def test_a_deadline_while_the_end_is_being_written_does_not_make_a_loss_of_it(watching, script, slow_disk, path):
    disk = slow_disk()
    async with watching(script, executor=disk) as (watcher, _):
        watch = asyncio.create_task(watcher.watch(A, timeout=3))
        await asyncio.sleep(0.5)
        disk.hold()
        await asyncio.sleep(10)
        disk.release()
        assert (await watch).name == "succeeded"
    assert record_of(path).outcome == "succeeded"


async def test_a_deadline_before_the_journal_has_answered_does_not_erase_an_end_that_is_in_it(
    watching, script, slow_disk, path
):
    await run_to_the_end(watching, script, A)
    async with watching(script, executor=slow_disk(2.0)) as (watcher, _):
        outcome = await watcher.watch(A, timeout=1)
    assert record_of(path).outcome == outcome.name == "succeeded"


async def test_a_loss_before_the_journal_has_answered_counts_the_looks_of_earlier_runs(
    watching, script, slow_disk, path
):
    script.answers["a"] = [RUNNING]
    async with watching(script) as (watcher, _):
        await watcher.watch_all([A], timeout=4.5)
    async with watching(script, executor=slow_disk(2.0)) as (watcher, _):
        outcome = await watcher.watch(A, timeout=1)
    assert (outcome.name, outcome.polls) == ("lost", 5)
    assert record_of(path).polls == 5


async def test_a_deadline_before_the_journal_has_answered_is_a_loss_of_its_own(watching, script, slow_disk, path):
    async with watching(script, executor=slow_disk(2.0)) as (watcher, _):
        outcome = await watcher.watch(A, timeout=1)
    assert isinstance(outcome, Lost)
    assert isinstance(outcome.error, WatchTimedOut)
    assert script.asked == []
    assert record_of(path).outcome == "lost"


@pytest.mark.parametrize("ended", [True, False])
async def test_who_leaves_before_the_journal_has_answered_leaves_the_count_of_looks_alone(
    ended, watching, script, slow_disk, path
):
    script.answers["a"] = [RUNNING] * 3 + [DONE if ended else RUNNING]
    async with watching(script) as (watcher, _):
        with suppress(TimeoutError):
            async with asyncio.timeout(10.5):
                await watcher.watch(A)
    polls = record_of(path).polls
    assert polls >= 4
    async with watching(script, executor=slow_disk(2.0)) as (watcher, _):
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await watcher.watch(A)
    assert record_of(path).polls == polls


async def test_who_leaves_before_the_journal_has_answered_sends_nothing(watching, script, slow_disk, path):
    disk = slow_disk(2.0)
    async with watching(script, executor=disk) as (watcher, _):
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await watcher.watch(A)
        await asyncio.sleep(10)
        assert watcher.statistics().watching == 0
    assert script.asked == []
    assert record_of(path).outcome is None


@pytest.mark.parametrize("what", ["watch", "watch_all", "stream", "cancel", "acknowledge", "to_resume"])
async def test_whenever_it_is_left_the_watcher_goes_on_as_if_nothing_had_been(
    what, watching, script, slow_disk, tmp_path
):
    script.answers["q"] = [{"status": "executing"}] * 4 + [{"status": "completed"}]

    async def act(watcher, journal):
        if what == "watch":
            await watcher.watch(Q)
        elif what == "watch_all":
            await watcher.watch_all([Q, A])
        elif what == "stream":
            async with watcher.stream([Q]) as events:
                async for _ in events:
                    pass
        elif what == "cancel":
            await watcher.cancel(Q)
        elif what == "acknowledge":
            await watcher.watch(A)
            await journal.acknowledge(A)
        else:
            await journal.to_resume()

    for steps in range(0, 48, 3):
        script.asked.clear()
        at = tmp_path / f"{what}-{steps}.db"
        script.journal = at
        async with watching(script, at=at, executor=slow_disk(0.0)) as (watcher, journal):
            acting = asyncio.create_task(act(watcher, journal))
            for _ in range(steps):
                await asyncio.sleep(0)
            acting.cancel()
            await asyncio.wait([acting])
            assert watcher.statistics().watching == 0
            await asyncio.sleep(0.2)
            assert (await watcher.watch(A)).name == "succeeded"
        assert script.unknown_to_the_journal == []
        assert record_of(at, A).outcome == "succeeded"


async def test_a_watcher_that_is_closed_in_the_middle_keeps_what_was_seen(watching, script, path):
    script.answers["a"] = [RUNNING] * 100
    async with watching(script) as (watcher, _):
        watch = asyncio.create_task(watcher.watch_all([A, B]))
        await asyncio.sleep(5.5)
    with pytest.raises(WatcherClosed):
        await watch
    assert (record_of(path, A).outcome, record_of(path, A).polls) == (None, 6)
    assert record_of(path, B).outcome == "succeeded"
    assert read_history(path).runs[0].ended is not None


@pytest.mark.parametrize("turns", range(0, 40, 2))
async def test_a_watcher_whose_closing_is_cancelled_leaves_the_journal_whole_and_free(
    turns, watching, script, slow_disk, path
):
    async def run() -> None:
        async with watching(script, executor=slow_disk(0.0)) as (watcher, _), watcher.stream([A, B, Q]) as events:
            async for _ in events:
                break

    running = asyncio.create_task(run())
    await asyncio.sleep(0.01)
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    running.cancel()
    await asyncio.wait([running])
    await asyncio.sleep(1)
    await run_to_the_end(watching, script, A)
    assert script.unknown_to_the_journal == []
    assert record_of(path).outcome == "succeeded"


async def test_who_awaits_an_acknowledgement_does_not_hang_when_the_closing_is_cancelled(watching, script, slow_disk):
    disk = slow_disk()
    opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def run() -> None:
        async with watching(script, executor=disk) as (watcher, journal):
            await watcher.watch(A)
            opened.set_result(journal)
            await asyncio.sleep(FOREVER)

    running = asyncio.create_task(run())
    journal = await opened
    disk.hold()
    written = journal.acknowledge(B)  # is being written for ever
    await asyncio.sleep(1)
    waiting = journal.acknowledge(A)
    running.cancel()
    await asyncio.sleep(1)
    running.cancel()
    await asyncio.sleep(1)
    disk.release()
    await asyncio.wait([running])
    async with asyncio.timeout(60):
        with suppress(JournalError):
            await written
        with suppress(JournalError):
            await waiting


async def test_an_executor_that_takes_no_more_work_is_an_error_and_no_hang(watching, script):
    executor = ThreadPoolExecutor(1)
    with suppress(RuntimeError, JournalError):
        async with watching(script, executor=executor) as (watcher, _):
            await asyncio.sleep(1)
            executor.shutdown()
            watch = asyncio.create_task(watcher.watch(A))
            done, _ = await asyncio.wait([watch], timeout=600)
    if not done:
        watch.cancel()
        raise TimeoutError
    assert isinstance(watch.exception(), JournalError)


async def test_an_executor_that_drops_its_work_is_an_error_and_no_hang(watching, script, slow_disk):
    disk = slow_disk()
    async with watching(script, executor=disk) as (watcher, _):
        await asyncio.sleep(2)
        disk.hold()
        watch = asyncio.create_task(watcher.watch(A))
        await asyncio.sleep(1)
        for future, _ in disk.works:  # as shutdown(cancel_futures=True) does
            future.cancel()
        disk.works.clear()
        disk.release()
        done, _ = await asyncio.wait([watch], timeout=600)
        if not done:
            watch.cancel()
            raise TimeoutError
    assert isinstance(watch.exception(), JournalError)


async def test_a_question_is_answered_with_all_that_was_said_before(watching, script, path):
    script.journal = None
    handles = [OPERATION.handle(f"j{number}") for number in range(3500)]
    store = Store(path)
    store.write([Accepted(one, 1.0) for one in handles])
    job = OperationJob(status="Completed")
    store.write([Ended(Succeeded(handle=one, job=job, polls=1, elapsed=1.0), 1.0) for one in handles])
    store.close()
    async with watching(script) as (_, journal):
        journal.acknowledge(*handles[:1])
        await asyncio.sleep(0)
        journal.acknowledge(*handles[1:])
        assert await journal.to_resume() == []


# --- cancelling


async def test_cancelling_a_job_whose_end_is_in_the_journal_sends_nothing(watching, script):
    script.default = [{"status": "completed"}]
    await run_to_the_end(watching, script, Q)
    asked = len(script.asked)
    async with watching(script) as (watcher, journal):
        assert (await watcher.cancel(Q)).name == "succeeded"
        await journal.acknowledge(Q)
        assert (await watcher.cancel(Q)).name == "succeeded"
        await asyncio.sleep(10)
    assert len(script.asked) == asked


async def test_a_cancellation_waits_for_the_disk_and_is_then_sent_once(watching, script, slow_disk, path):
    script.default = [{"status": "cancelled"}]
    async with watching(script, executor=slow_disk(2.0)) as (watcher, _):
        ends = await asyncio.gather(watcher.cancel(Q), watcher.cancel(Q), watcher.watch(Q))
    assert {end.name for end in ends} == {"cancelled"}
    assert script.unknown_to_the_journal == []
    assert script.asked.count(("DELETE", "q")) == 1
    assert record_of(path, Q).outcome == "cancelled"


async def test_a_cancellation_that_is_left_before_the_disk_answers_is_not_sent(watching, script, slow_disk):
    script.default = [{"status": "executing"}]
    async with watching(script, executor=slow_disk(2.0)) as (watcher, _):
        cancelling = asyncio.create_task(watcher.cancel(Q))
        watch = asyncio.create_task(watcher.watch(Q))
        await asyncio.sleep(1)
        cancelling.cancel()
        await asyncio.sleep(20)
        assert ("DELETE", "q") not in script.asked
        assert script.asked_about("q") > 5
        watch.cancel()
        await asyncio.wait([watch])


@pytest.mark.parametrize("how", ["left", "timed out", "closed"])
async def test_no_remote_job_is_cancelled_before_it_is_on_the_disk(how, watching, script, slow_disk):
    script.default = [{"status": "cancelled"}]
    async with watching(script, executor=slow_disk(2.0), cancel_remote=True) as (watcher, _):
        watch = asyncio.create_task(watcher.watch(Q, timeout=1 if how == "timed out" else None))
        await asyncio.sleep(1)
        if how == "left":
            watch.cancel()
        if how != "closed":
            await asyncio.wait([watch])
    await asyncio.wait([watch])
    assert script.unknown_to_the_journal == []


async def test_no_remote_job_is_cancelled_whose_end_is_in_the_journal(watching, script, slow_disk, path):
    script.default = [{"status": "completed"}]
    await run_to_the_end(watching, script, Q)
    async with watching(script, executor=slow_disk(2.0), cancel_remote=True) as (watcher, _):
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await watcher.watch(Q)
    assert ("DELETE", "q") not in script.asked


async def test_a_remote_job_whose_deadline_passed_before_it_was_on_the_disk_is_cancelled_when_it_is(
    watching, script, slow_disk, path
):
    script.default = [{"status": "executing"}, {"status": "cancelled"}]
    async with watching(script, executor=slow_disk(2.0), cancel_remote=True) as (watcher, _):
        await watcher.watch(Q, timeout=1)
        await asyncio.sleep(5)
    assert ("DELETE", "q") in script.asked
    assert script.unknown_to_the_journal == []


async def test_a_remote_job_is_cancelled_when_its_watch_is_left_and_its_end_is_kept(watching, script, path):
    script.default = [{"status": "executing"}, {"status": "executing"}, {"status": "cancelled"}]
    async with watching(script, cancel_remote=True) as (watcher, _):
        with suppress(TimeoutError):
            async with asyncio.timeout(1.5):
                await watcher.watch(Q)
        assert script.asked[-1] == ("DELETE", "q")
        await asyncio.sleep(1)
    assert record_of(path, Q).outcome == "cancelled"


# --- nudging


async def test_a_nudge_before_the_disk_answers_is_a_look_when_it_has(watching, script, slow_disk):
    script.default = [RUNNING]
    async with watching(script, executor=slow_disk(2.0), cadence=Cadence.constant(1000)) as (watcher, _):
        watch = asyncio.create_task(watcher.watch(A))
        await asyncio.sleep(1)
        assert watcher.nudge(A) is True
        await asyncio.sleep(100)
        assert script.asked_about("a") == 1
        watch.cancel()
        await asyncio.wait([watch])
    assert script.unknown_to_the_journal == []


# --- deadlines of one of two


async def test_the_deadline_of_one_of_two_is_no_loss_on_the_disk(watching, script, path):
    script.answers["a"] = [RUNNING] * 20 + [DONE]
    async with watching(script) as (watcher, journal):
        patient = asyncio.create_task(watcher.watch(A))
        hasty = await watcher.watch(A, timeout=5)
        await journal.acknowledge(A)
        assert isinstance(hasty, Lost)
        assert record_of(path).outcome is None
        assert (await patient).name == "succeeded"
        await journal.flush()
    record = record_of(path)
    assert (record.outcome, record.acknowledged) == ("succeeded", False)


# --- one writer


async def test_a_second_watcher_is_refused_the_journal_of_the_first(watching, script):
    settings = Settings(base_url="https://rest.example.com", access_token="not-a-secret")
    async with watching(script) as (watcher, journal):
        async with ZuoraClient(settings, send=script) as client:
            with pytest.raises(JournalInUse, match="in use by another watcher: give each a journal of its own"):
                async with JobWatcher(client, journal=journal):
                    pass
        with pytest.raises(JournalInUse):
            Journal.open(journal.path)
        assert (await watcher.watch(A)).name == "succeeded"


async def test_a_journal_without_a_watcher_can_be_asked(watching, script, path, inline):
    await run_to_the_end(watching, script, A)
    async with Journal.open(path, executor=inline) as journal:
        assert await journal.to_resume() == [A]
        await journal.acknowledge(A)
        assert await journal.to_resume() == []
        assert list(await journal.durations()) == ["operation"]
        assert await journal.ages() == {}
        await journal.saved(A, path, 5)
        assert record_of(path).files[0].path == str(path)


# --- what is spent


@pytest.fixture
def at_time(monkeypatch):
    """Have the journal's clock begin so many seconds after noon."""

    def begin(second):
        class Clock(WallClock):
            def __init__(self):
                super().__init__()
                self._started_at = datetime(2026, 11, 24, 12, tzinfo=UTC) + timedelta(seconds=second)

        monkeypatch.setattr(journal_module, "WallClock", Clock)

    return begin


@pytest.mark.unmeasured
@pytest.mark.parametrize("second", [0.0, 7.0, 59.5])
@pytest.mark.parametrize("minutes", [0.01, 0.5, 3.3])
async def test_what_was_spent_adds_up_to_what_was_sent(second, minutes, at_time, watching, script, path):
    at_time(second)
    script.default = [RUNNING, (429, {}), RUNNING]
    script.journal = None
    async with watching(script, budget=Budget(rate=7, concurrency=5)) as (watcher, _):
        with suppress(TimeoutError):
            async with asyncio.timeout(60 * minutes), watcher.stream([A, B, Q]) as events:
                async for _ in events:
                    pass
        spent = watcher.statistics()
    history = read_history(path)
    assert sum(minute.requests for minute in history.minutes) == spent.requests > 0
    assert sum(minute.refused for minute in history.minutes) == spent.refused
    assert sum(minute.held_seconds for minute in history.minutes) == pytest.approx(spent.held_seconds)
    assert all(minute.began.second == 0 for minute in history.minutes)
    assert all(0 < minute.allowed <= 7 * 60 for minute in history.minutes)
    (run,) = history.runs
    assert (run.rate, run.concurrency) == (7, 5)
    assert run.ended is not None
    assert (run.ended - run.began).total_seconds() == pytest.approx(60 * minutes, abs=1)


async def test_each_request_counts_in_the_minute_in_which_it_was_sent(at_time, watching, script, path):
    at_time(30.0)
    script.default = [RUNNING]
    script.journal = None
    async with watching(script) as (watcher, _):
        with suppress(TimeoutError):
            async with asyncio.timeout(119.5):
                await watcher.watch(A)
    minutes = {minute.began.minute: minute.requests for minute in read_history(path).minutes}
    assert minutes == {0: pytest.approx(30, abs=1), 1: 60, 2: pytest.approx(30, abs=1)}


async def test_a_short_run_is_counted_in_its_own_minute(at_time, watching, script, path):
    at_time(61.0)
    await run_to_the_end(watching, script, A)
    history = read_history(path)
    assert [minute.began.minute for minute in history.minutes] == [1]
    assert history.runs[0].began.minute == 1


# --- strange answers


@pytest.mark.parametrize(
    "answer",
    [
        b'{"status": "Failed", "n": ' + b"9" * 4000 + b"}",
        b'{"status": "Failed", "n": "\\ud800\\u0000"}',
        b'{"status": "\\ud800"}',
        b'{"status": "Failed", "reasons": [{"code": 1, "message": "' + b"x" * 1_000_000 + b'"}]}',
        pytest.param(
            b'{"status": "Failed", "n": 1e400}',
            id="a number too large for a float",
        ),
        pytest.param(
            b'{"status": "Failed", "https://a/b?c": 1, "https://a/b?d": 2}',
            id="keys that are the same without their secrets",
        ),
    ],
)
async def test_one_strange_answer_is_no_trouble_of_its_neighbours_and_is_told_again(answer, watching, script):
    script.answers["a"] = [answer]
    async with watching(script, unknown_status_timeout=5) as (watcher, _):
        outcomes = await watcher.watch_all([A, B], timeout=60)
    assert outcomes[B].name == "succeeded"
    async with watching(script, unknown_status_timeout=5) as (watcher, _):
        again = await watcher.watch_all([A, B], timeout=60)
    if isinstance(outcomes[A], Succeeded) or outcomes[A].name == "failed":
        assert again[A].status == outcomes[A].status
        assert script.asked_about("a") == 1


async def test_the_deepest_answer_that_is_read_can_be_kept(watching, script, path):
    script.journal = None
    depths = [*range(20, 200, 20), *range(190, 210, 2), 300, 900]
    for depth in depths:
        script.answers[f"d{depth}"] = [b'{"status": "Completed", "x": ' + b"[" * depth + b"]" * depth + b"}"]
    async with watching(script) as (watcher, _):
        outcomes = await watcher.watch_all([OPERATION.handle(f"d{depth}") for depth in depths], timeout=300)
    assert [outcome.name for outcome in outcomes.values()].count("succeeded") > 8
    for handle, outcome in outcomes.items():
        assert record_of(path, handle).outcome == outcome.name


# --- many


@pytest.mark.unmeasured
async def test_twenty_thousand_handles_are_written_and_told_in_pieces_that_let_the_loop_turn(
    watching, script, path, pieces
):
    handles = [OPERATION.handle(f"j{number}") for number in range(20_000)]
    with ThreadPoolExecutor(1) as executor:
        async with watching(script, executor=executor, budget=Budget(rate=0.001)) as (watcher, journal):
            with suppress(TimeoutError):
                async with asyncio.timeout(1), watcher.stream(handles) as events:
                    async for _ in events:
                        pass
    assert len(script.asked) <= 1
    store = Store(path)
    assert store.to_resume() == handles
    job = OperationJob(status="Completed")
    store.write([Ended(Succeeded(handle=one, job=job, polls=1, elapsed=1.0), 1.0) for one in handles])
    store.close()
    pieces.clear()
    with ThreadPoolExecutor(1) as executor:
        async with watching(script, executor=executor) as (watcher, journal):
            outcomes = await watcher.watch_all(handles)
            await journal.acknowledge(*handles)
    assert list(outcomes) == handles
    assert sum(pieces) >= 2 * len(handles)
    assert max(pieces) <= LARGEST_BATCH


@pytest.fixture
def pieces(monkeypatch):
    """How many entries were written, and told about, at a time."""
    sizes = []
    write = Store.write

    def counting(store, entries):
        sizes.append(len(entries))
        return write(store, entries)

    monkeypatch.setattr(Store, "write", counting)
    return sizes


async def test_a_not_found_is_kept_with_its_words(watching, script, path):
    script.answers["a"] = [MISSING]
    outcome = (await run_to_the_end(watching, script, A))[A].outcome
    assert isinstance(outcome.error, NotFound)
    assert record_of(path).error == ("NotFound", str(outcome.error))


async def test_other_kinds_are_kept_by_their_names(watching, script, path):
    script.default = [{"status": "PartialComplete", "fileUrls": ["https://a.example.com/x.zip?X-Amz-Signature=1"]}]
    handle = BULK_PDF.handle("b")
    outcome = (await run_to_the_end(watching, script, handle))[handle].outcome
    assert [file.url for file in outcome.files] == ["https://a.example.com/x.zip?X-Amz-Signature=1"]
    again = (await run_to_the_end(watching, script, handle))[handle].outcome
    assert [file.url for file in again.files] == ["https://a.example.com/x.zip?(hidden)"]
    assert again.partial
    assert json.dumps(dict(again.job.raw))
