"""Jobs watched to their ends, against the emulator, in virtual time."""

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest
from attrs import evolve

from zuora_jobs import (
    AQUA,
    BULK_PDF,
    CREDIT_MEMO_APPLY,
    KINDS,
    OPERATION,
    Budget,
    Cadence,
    Cancelled,
    ConfigurationError,
    Failed,
    Finished,
    InvalidHandle,
    JobCancelled,
    JobFailed,
    JobHandle,
    JobLost,
    JobWatcher,
    Lost,
    NotFound,
    Observed,
    Phase,
    StatusChanged,
    Succeeded,
    Unauthorized,
    UnknownStatus,
    UnknownStatusSeen,
    WatchTimedOut,
    ZuoraClient,
    emulator,
)
from zuora_jobs.emulator import Fault, Step

pytestmark = pytest.mark.looptime


def handle_of(job: emulator.Job) -> JobHandle[Any]:
    return JobHandle.parse(job.handle)


def looks_at(zuora: emulator.Emulator, handle: JobHandle[Any], method: str = "GET") -> int:
    return sum(1 for record in zuora.requests if record.handle == str(handle) and record.method == method)


# --- a fleet of all kinds

ENDS = {
    "operation": {"Completed": 35, "Failed": 5},
    "bulk-pdf": {"Completed": 30, "PartialComplete": 1, "Error": 4, "Aborted": 3, "Cancelled": 2},
    "aqua": {"completed": 30, "aborted": 5, "error": 4, "cancelled": 1},
    "credit-memo-apply": {"Processed": 37, "Error": 5},
}
OUTCOME = {
    "Completed": "succeeded",
    "completed": "succeeded",
    "PartialComplete": "succeeded",
    "Processed": "succeeded",
    "Cancelled": "cancelled",
    "cancelled": "cancelled",
}


@pytest.mark.unmeasured
async def test_a_mixed_fleet_of_162_jobs_ends_as_it_should(zuora, watching):
    wanted, dice = {}, Random(162)
    for kind, ends in ENDS.items():
        for end, count in ends.items():
            for _ in range(count):
                wanted[handle_of(zuora.add_job(kind, ends=end, seconds=dice.uniform(0, 20)))] = end
    assert len(wanted) == 162

    told: Counter[JobHandle[Any]] = Counter()
    last_told_at = {}
    loop = asyncio.get_running_loop()
    async with (
        watching(zuora, budget=Budget(rate=200, concurrency=20)) as watcher,
        watcher.stream(wanted) as events,
    ):
        async for event in events:
            if isinstance(event, Finished):
                told[event.handle] += 1
                last_told_at[event.handle] = loop.time()
                outcome = event.outcome
                assert outcome.name == OUTCOME.get(wanted[event.handle], "failed")
                assert outcome.status == wanted[event.handle]
                assert getattr(outcome, "partial", False) == (outcome.status == "PartialComplete")
                if isinstance(outcome, Failed):
                    assert outcome.reasons
                    assert all(reason.message for reason in outcome.reasons)
        await asyncio.sleep(3600)

    assert told == Counter(dict.fromkeys(wanted, 1))
    for record in zuora.requests:
        if record.handle:
            assert record.at <= last_told_at[JobHandle.parse(record.handle)], "polled after its end was told"
    assert zuora.peak_concurrency <= 20
    assert zuora.token_requests == 1


@pytest.mark.parametrize(
    ("kind", "status", "name", "phase"),
    [
        (kind, status, name, phase)
        for kind in KINDS.values()
        for statuses, name, phase in (
            (kind.succeeded, "succeeded", Phase.SUCCEEDED),
            (kind.partial, "succeeded", Phase.SUCCEEDED),
            (kind.failed, "failed", Phase.FAILED),
            (kind.cancelled, "cancelled", Phase.CANCELLED),
        )
        for word in statuses
        for status in (word, word.upper(), word.lower())
    ],
)
async def test_each_terminal_status_ends_the_watch_whatever_its_case(zuora, watching, kind, status, name, phase):
    job = zuora.add_job(kind.name, life=[Step(status)])
    async with watching(zuora) as watcher:
        outcome = await watcher.watch(handle_of(job))
    assert (outcome.name, outcome.status, outcome.phase, outcome.polls) == (name, status, phase, 1)


@pytest.mark.parametrize(
    ("kind", "status"), [(kind, status) for kind in KINDS.values() for status in kind.pending + kind.running]
)
async def test_no_running_status_ends_the_watch(zuora, watching, kind, status):
    job = zuora.add_job(kind.name, life=[Step(status, seconds=30), Step(kind.succeeded[0])])
    async with watching(zuora) as watcher:
        outcome = await watcher.watch(handle_of(job))
    assert outcome.name == "succeeded"
    assert outcome.polls == 31


# --- one job


async def test_a_job_is_looked_at_once_each_interval_and_not_after_its_end(zuora, watching, looptime):
    job = zuora.add_job("aqua", life=[Step("submitted", seconds=1.5), Step("executing", seconds=3), Step("completed")])
    async with watching(zuora) as watcher:
        outcome = await watcher.watch(AQUA.handle(job.id))
        assert looptime == 5
        await asyncio.sleep(100)
    assert isinstance(outcome, Succeeded)
    assert outcome.polls == job.polls == 6
    assert outcome.elapsed == 5
    assert outcome.unwrap().batches[0].status == "completed"
    assert not outcome.partial


async def test_outcomes_unwrap_to_the_document_or_raise_what_they_are(zuora, watching):
    failed, cancelled = zuora.add_job("operation", ends="Failed"), zuora.add_job("bulk-pdf", ends="Cancelled")
    async with watching(zuora) as watcher:
        outcomes = await watcher.watch_all([handle_of(failed), handle_of(cancelled), AQUA.handle("nobody")])
    with pytest.raises(JobFailed, match=f"operation:{failed.id} failed"):
        outcomes[handle_of(failed)].unwrap()
    with pytest.raises(JobCancelled) as caught:
        outcomes[handle_of(cancelled)].unwrap()
    assert isinstance(caught.value.outcome, Cancelled)
    with pytest.raises(JobLost) as lost:
        outcomes[AQUA.handle("nobody")].unwrap()
    assert isinstance(lost.value.__cause__, NotFound)


async def test_a_job_that_is_not_there_is_lost_at_once_with_the_code(zuora, watching, looptime):
    async with watching(zuora) as watcher:
        outcome = await watcher.watch(OPERATION.handle("nobody"))
    assert isinstance(outcome, Lost)
    assert isinstance(outcome.error, NotFound)
    assert outcome.error.code == "50000040"
    assert (outcome.job, outcome.status, outcome.phase, outcome.polls) == (None, None, None, 0)
    assert looptime < 1
    assert len(zuora.requests) == 2  # the token's and one look


async def test_wrong_credentials_lose_every_job_after_one_request(zuora, watching):
    jobs = [handle_of(job) for job in zuora.add_jobs("aqua", 50)]
    wrong = zuora.settings(client_secret="wrong")
    async with ZuoraClient(wrong) as client, JobWatcher(client) as watcher:
        outcomes = await watcher.watch_all(jobs)
    assert all(isinstance(outcome, Lost) and isinstance(outcome.error, Unauthorized) for outcome in outcomes.values())
    assert len(zuora.requests) == zuora.token_requests == 1


async def test_the_order_of_watch_all_is_the_order_asked_and_doubles_count_once(zuora, watching):
    slow, fast = zuora.add_job("aqua", ends="completed", seconds=9), zuora.add_job("aqua", ends="completed", seconds=2)
    async with watching(zuora) as watcher:
        outcomes = await watcher.watch_all([handle_of(slow), handle_of(fast), handle_of(slow)])
        assert await watcher.watch_all([]) == {}
    assert list(outcomes) == [handle_of(slow), handle_of(fast)]


async def test_two_watches_of_one_job_share_its_looks(zuora, watching, looptime):
    job = zuora.add_job("aqua", ends="completed", seconds=10)
    handle = handle_of(job)
    async with watching(zuora) as watcher:
        first = asyncio.create_task(watcher.watch(handle))
        await asyncio.sleep(4.5)
        second = asyncio.create_task(watcher.watch(handle))
        assert await second is await first
    assert looptime == 10
    assert job.polls == 11


async def test_when_one_of_two_watches_leaves_the_other_goes_on(zuora, watching):
    job = zuora.add_job("aqua", ends="completed", seconds=10)
    async with watching(zuora) as watcher:
        leaving = asyncio.create_task(watcher.watch(handle_of(job)))
        staying = asyncio.create_task(watcher.watch(handle_of(job)))
        await asyncio.sleep(3)
        leaving.cancel()
        assert (await staying).name == "succeeded"
    assert job.polls == 11


# --- time


async def test_a_timeout_ends_the_watch_as_lost_and_leaves_the_job_alone(zuora, watching, looptime):
    job = zuora.add_job("aqua", ends="completed", seconds=100)
    async with watching(zuora) as watcher:
        outcome = await watcher.watch(handle_of(job), timeout=7.25)
        assert looptime == 7.25
        assert watcher.statistics().watching == 0
        await asyncio.sleep(50)
    assert isinstance(outcome, Lost)
    assert isinstance(outcome.error, WatchTimedOut)
    assert (outcome.status, outcome.phase, outcome.elapsed) == ("submitted", Phase.PENDING, 7.25)
    assert job.polls == 8
    assert looks_at(zuora, handle_of(job), "DELETE") == 0


async def test_a_timeout_of_one_watch_is_not_another_watchs(zuora, watching):
    job = zuora.add_job("aqua", ends="completed", seconds=20)
    async with watching(zuora) as watcher:
        short, long = await asyncio.gather(
            watcher.watch(handle_of(job), timeout=5), watcher.watch(handle_of(job), timeout=50)
        )
    assert isinstance(short, Lost)
    assert isinstance(long, Succeeded)


async def test_a_timeout_holds_even_while_the_answer_does_not_come(zuora, watching, looptime):
    job = zuora.add_job("aqua")
    zuora.fault(Fault("hang", path="batch-query"))
    async with watching(zuora) as watcher:
        outcome = await watcher.watch(handle_of(job), timeout=5)
    assert isinstance(outcome, Lost)
    assert looptime == 5


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), True, "5"])
async def test_a_timeout_that_is_none_is_refused_before_any_request(zuora, watching, timeout):
    async with watching(zuora) as watcher:
        with pytest.raises(ConfigurationError, match="timeout"):
            await watcher.watch(AQUA.handle("a"), timeout=timeout)
    assert not zuora.requests


async def test_a_text_is_no_handle(zuora, watching):
    async with watching(zuora) as watcher:
        with pytest.raises(InvalidHandle, match=r"JobHandle\.parse"):
            await watcher.watch("aqua:abc")
    assert not zuora.requests


# --- statuses nobody knows


async def test_an_unknown_status_is_told_once_and_watched_on(zuora, watching, looptime):
    job = zuora.add_job("operation", life=[Step("Pending", seconds=2), Step("Queued", seconds=600), Step("Completed")])
    told: list[Any] = []
    async with watching(zuora, observers=[told.append]) as watcher:
        outcome = await watcher.watch(handle_of(job))
    assert outcome.name == "succeeded"
    assert looptime == 602
    assert [event.status for event in told if isinstance(event, UnknownStatusSeen)] == ["Queued"]
    assert [(event.before, event.status) for event in told if isinstance(event, StatusChanged)] == [
        ("Pending", "Queued"),
        ("Queued", "Completed"),
    ]
    assert {event.phase for event in told if isinstance(event, Observed) and event.status == "Queued"} == {None}


async def test_an_unknown_status_that_lasts_ends_as_lost(zuora, watching, looptime):
    job = zuora.add_job("bulk-pdf", life=[Step("Executing", seconds=10), Step("Exploded")])
    async with watching(zuora, unknown_status_timeout=60) as watcher:
        outcome = await watcher.watch(handle_of(job))
    assert isinstance(outcome, Lost)
    assert isinstance(outcome.error, UnknownStatus)
    assert outcome.error.status == outcome.status == "Exploded"
    assert outcome.phase is None
    assert looptime == 70


async def test_an_unknown_status_never_is_a_success_even_if_it_says_success(zuora, watching):
    job = zuora.add_job("credit-memo-apply", life=[Step("Completed")])  # the word of another family
    async with watching(zuora, unknown_status_timeout=5) as watcher:
        outcome = await watcher.watch(handle_of(job))
    assert isinstance(outcome, Lost)


# --- the watcher itself


async def test_a_watch_left_by_the_watchers_end_is_told_so(zuora, watching):
    job = zuora.add_job("aqua", ends="completed", seconds=100)
    async with watching(zuora) as watcher:
        watch = asyncio.create_task(watcher.watch(handle_of(job)))
        await asyncio.sleep(3)
    with pytest.raises(Exception, match="the watcher was closed while this job was being watched"):
        await watch


async def test_a_watcher_outside_its_block_says_how_to_use_it(zuora):
    async with ZuoraClient(zuora.settings()) as client:
        watcher = JobWatcher(client)
        assert "closed" in repr(watcher)
        with pytest.raises(Exception, match="async with JobWatcher"):
            await watcher.watch(AQUA.handle("a"))
        with pytest.raises(Exception, match="async with JobWatcher"):
            watcher.statistics()


async def test_statistics_count_what_happened(zuora, watching):
    jobs = [
        zuora.add_job("aqua", ends="completed", seconds=2.5),
        zuora.add_job("operation", ends="Failed", seconds=2.5),
        zuora.add_job("bulk-pdf", ends="Cancelled", seconds=2.5),
    ]
    running = zuora.add_job("aqua", ends="completed", seconds=1000)
    async with watching(zuora) as watcher:
        await watcher.watch_all([*map(handle_of, jobs), AQUA.handle("nobody")])
        asyncio.create_task(watcher.watch(handle_of(running)))  # noqa: RUF006
        await asyncio.sleep(0.5)
        figures = watcher.statistics()
        assert "watching 1" in repr(watcher)
        with pytest.raises(AttributeError):
            figures.polls = 0
    assert (figures.succeeded, figures.failed, figures.cancelled, figures.lost) == (1, 1, 1, 1)
    assert (figures.watching, figures.looking) == (1, 0)
    assert figures.polls == 3 * 4 + 1
    assert figures.requests == 3 * 4 + 2
    assert figures.retries == 0


async def test_a_nudge_looks_now(zuora, watching, looptime):
    job = zuora.add_job("aqua", ends="completed", seconds=5)
    async with watching(zuora, cadence=Cadence.constant(1000)) as watcher:
        watch = asyncio.create_task(watcher.watch(handle_of(job)))
        await asyncio.sleep(5)
        assert watcher.nudge(handle_of(job)) is True
        assert watcher.nudge(AQUA.handle("nobody")) is False
        assert (await watch).name == "succeeded"
    assert looptime == 5
    assert job.polls == 2


async def test_each_kind_may_have_its_own_cadence(zuora, watching):
    quick, slow = (
        zuora.add_job("operation", ends="Completed", seconds=10),
        zuora.add_job("aqua", ends="completed", seconds=10),
    )
    async with watching(zuora, cadence={OPERATION: Cadence.constant(1), AQUA: Cadence.constant(5)}) as watcher:
        await watcher.watch_all([handle_of(quick), handle_of(slow)])
    assert (quick.polls, slow.polls) == (11, 3)


async def test_the_rate_holds_for_all_watches_together(zuora, watching, looptime):
    jobs = zuora.add_jobs("aqua", 50, ends="completed", seconds=0)
    async with watching(zuora, budget=Budget(rate=2, concurrency=5)) as watcher:
        await watcher.watch_all(map(handle_of, jobs))
    looks = [record.at for record in zuora.requests if record.handle]
    assert [later - earlier for earlier, later in zip(looks, looks[1:], strict=False)] == pytest.approx([0.5] * 49)
    assert looptime == 24.5


async def test_an_observer_that_raises_is_logged_and_hurts_nobody(zuora, watching, caplog):
    job = zuora.add_job("aqua", ends="completed", seconds=2)
    told: list[Any] = []

    def broken(_: object) -> None:
        raise RuntimeError("not my day")

    async with watching(zuora, observers=[broken, told.append]) as watcher:
        outcome = await watcher.watch(handle_of(job))
    assert outcome.name == "succeeded"
    assert [event.name for event in told].count("finished") == 1
    assert "an observer failed on finished" in caplog.text


async def test_a_further_kind_is_one_more_row(zuora, watching, script, local):
    """A fifth family: its own words, its own path; nothing else knows."""
    unapply = evolve(
        CREDIT_MEMO_APPLY,
        name="credit-memo-unapply",
        watch="/v1/credit-memos/unapply-async-jobs/{id}",
        succeeded=("Fertig",),
        running=("Processing", "Läuft"),
    )
    send = script([{"status": "Läuft"}, {"status": "FERTIG", "success": True}])
    async with ZuoraClient(local, send=send) as client, JobWatcher(client, cadence=Cadence.constant(1)) as watcher:
        outcome = await watcher.watch(unapply.handle("u1"))
    assert (outcome.name, outcome.polls, str(outcome.handle)) == ("succeeded", 2, "credit-memo-unapply:u1")


async def test_a_kind_whose_row_is_broken_loses_its_own_jobs_only(script, local, caplog):
    def explode(_: str) -> Phase:
        raise RuntimeError("no such thing")

    class Broken(type(BULK_PDF)):  # type: ignore[misc]
        phase = staticmethod(explode)

    broken = Broken(**{a.name.lstrip("_"): getattr(BULK_PDF, a.name) for a in BULK_PDF.__attrs_attrs__ if a.init})
    async with ZuoraClient(local, send=script()) as client, JobWatcher(client) as watcher:
        outcomes = await watcher.watch_all([broken.handle("a"), OPERATION.handle("b")])
    assert [outcome.name for outcome in outcomes.values()] == ["lost", "succeeded"]
    assert "RuntimeError" in str(outcomes[broken.handle("a")])
    assert "looking at bulk-pdf:a went wrong" in caplog.text
