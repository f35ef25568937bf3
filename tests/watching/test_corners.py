"""Where two things happen at once: each of these once went wrong, or was feared to."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

import pytest
from attrs import evolve

from zuora_jobs import (
    AQUA,
    OPERATION,
    Budget,
    Cadence,
    ConfigurationError,
    ConnectionFailed,
    Finished,
    InvalidHandle,
    JobHandle,
    JobWatcher,
    LostContact,
    Settings,
    Throttled,
    UnknownStatus,
    UnknownStatusSeen,
    WatcherClosed,
    ZuoraClient,
    ZuoraJobsError,
)
from zuora_jobs.protocol.messages import Request, Response

pytestmark = pytest.mark.looptime

BUSY = {"id": "x", "status": "Processing", "success": True}
DONE = {"id": "x", "status": "Completed", "success": True}
AT_WORK = {"id": "x", "status": "executing"}
CANCELLED = {"id": "x", "status": "cancelled"}
EVERY_SECOND = Cadence.constant(1)
TENANT = Settings(base_url="https://rest.example.com", access_token="not-a-secret")


class Answers:
    """A Send that asks a function: f(method, id, how often asked, now) gives a document, a Response, an exception, or
    such with the seconds it takes before it."""

    def __init__(self, f: Callable[[str, str, int, float], Any]) -> None:
        self.f = f
        self.log: list[tuple[float, str, str]] = []

    async def __call__(self, request: Request) -> Response:
        now = asyncio.get_running_loop().time()
        identifier = request.path.rsplit("/", 1)[1]
        self.log.append((now, request.method, identifier))
        asked = sum(entry[1:] == (request.method, identifier) for entry in self.log)
        answer = self.f(request.method, identifier, asked, now)
        takes, answer = answer if isinstance(answer, tuple) else (0.01, answer)
        await asyncio.sleep(takes)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Response) else Response(200, {}, json.dumps(answer).encode())

    def deletes(self) -> int:
        return sum(method == "DELETE" for _, method, _ in self.log)


def op(number: int) -> JobHandle[Any]:
    return OPERATION.handle(f"o{number}")


def aqua(number: int) -> JobHandle[Any]:
    return AQUA.handle(f"a{number}")


async def ends_in_time(task: "asyncio.Task[Any]", seconds: float = 5000) -> bool:
    done, _ = await asyncio.wait([task], timeout=seconds)
    if not done:
        task.cancel()
        await asyncio.wait([task], timeout=10)
    return bool(done)


# --- leaving


async def test_a_cancellation_while_the_watcher_says_farewell_ends_it():
    send = Answers(lambda method, *_: (60.0, CANCELLED) if method == "DELETE" else AT_WORK)

    async def program() -> None:
        async with (
            ZuoraClient(TENANT, send=send) as client,
            JobWatcher(client, cadence=EVERY_SECOND, cancel_remote=True) as watcher,
        ):
            watch = asyncio.create_task(watcher.watch(aqua(1)))
            await asyncio.sleep(3)
            watch.cancel()
            await asyncio.sleep(0.5)

    running = asyncio.create_task(program())
    await asyncio.sleep(4.5)
    running.cancel()
    assert await ends_in_time(running)
    assert running.cancelled()


async def test_however_often_the_program_is_cancelled_others_are_told():
    send = Answers(lambda method, *_: (60.0, CANCELLED) if method == "DELETE" else AT_WORK)
    others: list[asyncio.Task[Any]] = []

    async def program() -> None:
        async with (
            ZuoraClient(TENANT, send=send) as client,
            JobWatcher(client, cadence=EVERY_SECOND, cancel_remote=True) as watcher,
        ):
            others.append(asyncio.create_task(watcher.watch(aqua(2))))
            async with watcher.stream([aqua(1)]):
                await asyncio.sleep(1e5)

    running = asyncio.create_task(program())
    for _ in range(3):
        await asyncio.sleep(2)
        running.cancel()
    assert await ends_in_time(running, 100)
    assert await ends_in_time(others[0])


async def test_a_stream_that_waits_for_handles_elsewhere_does_not_keep_the_watcher_open():
    async def slowly() -> AsyncIterator[JobHandle[Any]]:
        yield op(1)
        await asyncio.sleep(1e6)

    async def read(watcher: JobWatcher) -> None:
        async with watcher.stream(slowly()) as events:
            async for _ in events:
                pass

    async def program() -> None:
        async with ZuoraClient(TENANT, send=Answers(lambda *_: DONE)) as client, JobWatcher(client) as watcher:
            reading = asyncio.create_task(read(watcher))
            await asyncio.sleep(5)
        with pytest.raises(WatcherClosed):
            await reading

    running = asyncio.create_task(program())
    assert await ends_in_time(running)
    running.result()


async def test_a_client_that_is_closed_under_a_watcher_is_said_to_those_who_watch():
    client = await ZuoraClient(TENANT, send=Answers(lambda *_: BUSY)).__aenter__()
    async with JobWatcher(client, cadence=EVERY_SECOND) as watcher:
        watch = asyncio.create_task(watcher.watch(op(1)))
        await asyncio.sleep(3.5)
        await client.__aexit__(None, None, None)
        with pytest.raises(WatcherClosed, match=r"client (was|is) closed"):
            await watch


async def test_a_timeout_after_the_end_of_the_watcher_goes_off_without_a_sound():
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def read(watcher: JobWatcher) -> None:
        async with watcher.stream([aqua(1)], timeout=20):
            await asyncio.sleep(100)

    async with ZuoraClient(TENANT, send=Answers(lambda *_: AT_WORK)) as client:
        async with JobWatcher(client, cadence=EVERY_SECOND, cancel_remote=True) as watcher:
            reading = asyncio.create_task(read(watcher))
            await asyncio.sleep(5)
        await reading
    assert not complaints


# --- slow readers


@pytest.mark.parametrize("slow_one", ["stays", "leaves"])
async def test_a_job_parked_for_a_slow_reader_is_looked_at_for_another(slow_one):
    send = Answers(lambda _, __, ___, now: BUSY if now < 20 else DONE)
    async with ZuoraClient(TENANT, send=send) as client, JobWatcher(client, cadence=EVERY_SECOND) as watcher:
        async with watcher.stream([op(1)], buffer=1):
            await asyncio.sleep(5)
            watch = asyncio.create_task(watcher.watch(op(1)))
            await asyncio.sleep(1)
            if slow_one == "stays":
                assert (await watch).name == "succeeded"
        assert await ends_in_time(watch)
        assert watch.result().name == "succeeded"


async def test_parked_jobs_spend_nothing_of_the_budget():
    send = Answers(lambda _, name, __, now: BUSY if name[0] == "o" else AT_WORK if now < 3 else {"status": "completed"})
    async with (
        ZuoraClient(TENANT, Budget(rate=10, concurrency=5), send=send) as client,
        JobWatcher(client, cadence=EVERY_SECOND) as watcher,
        watcher.stream([op(number) for number in range(2000)], buffer=1),
    ):
        await asyncio.sleep(1)
        assert (await watcher.watch(aqua(1))).elapsed < 10
        assert watcher.statistics().requests == len(send.log)


async def test_a_stalled_reader_bounds_what_is_taken_in_even_when_jobs_time_out():
    def endless():
        number = 0
        while True:
            number += 1
            yield op(number)

    send = Answers(lambda *_: BUSY)
    async with (
        ZuoraClient(TENANT, send=send) as client,
        JobWatcher(client, cadence=EVERY_SECOND) as watcher,
        watcher.stream(endless(), at_once=10, buffer=10, timeout=5),
    ):
        await asyncio.sleep(500)
        assert watcher.statistics().lost <= 30


# --- deadlines, patience, nudges


async def test_a_handle_that_comes_again_has_a_new_deadline():
    async def twice() -> AsyncIterator[JobHandle[Any]]:
        yield op(1)
        await asyncio.sleep(8)
        yield op(1)

    send = Answers(lambda _, __, asked, now: DONE if asked == 1 or now > 18 else BUSY)
    async with (
        ZuoraClient(TENANT, send=send) as client,
        JobWatcher(client, cadence=EVERY_SECOND) as watcher,
        watcher.stream(twice(), timeout=11.5) as events,
    ):
        ends = [event.outcome.name async for event in events if isinstance(event, Finished)]
    assert ends == ["succeeded", "succeeded"]


async def test_one_answer_without_sense_after_an_outage_loses_nothing():
    once = iter([{"success": True}])
    send = Answers(lambda _, __, ___, now: ConnectionFailed("down") if now < 300 else next(once, DONE))
    async with ZuoraClient(TENANT, send=send, rng=Random(1)) as client, JobWatcher(client) as watcher:
        assert (await watcher.watch(op(1))).name == "succeeded"


async def test_waiting_for_an_hour_as_asked_is_no_lost_contact():
    answers = {1: Response(503, {"retry-after": "3600"}, b"{}"), 2: ConnectionFailed("cut")}
    send = Answers(lambda _, __, asked, ___: answers.get(asked, DONE))
    async with ZuoraClient(TENANT, send=send, rng=Random(1)) as client, JobWatcher(client) as watcher:
        assert (await watcher.watch(op(1))).name == "succeeded"


async def test_throttling_for_hours_loses_nothing():
    throttled = Response(429, {"retry-after": "600"}, b"{}")
    send = Answers(lambda _, __, ___, now: throttled if now < 10 * 3600 else DONE)
    told: list[Any] = []
    async with (
        ZuoraClient(TENANT, send=send, rng=Random(1)) as client,
        JobWatcher(client, observers=[told.append]) as watcher,
    ):
        assert (await watcher.watch(op(1))).name == "succeeded"
    assert not [event for event in told if isinstance(event, LostContact)]


async def test_a_nudge_while_an_older_answer_is_on_its_way_looks_again():
    send = Answers(lambda _, __, ___, now: (2.0, BUSY if now < 1 else DONE))
    async with ZuoraClient(TENANT, send=send) as client, JobWatcher(client, cadence=Cadence.constant(600)) as watcher:
        watch = asyncio.create_task(watcher.watch(op(1)))
        await asyncio.sleep(1.5)
        assert watcher.nudge(op(1))
        assert (await watch).elapsed == 4


async def test_statuses_that_alternate_are_unknown_all_the_same():
    send = Answers(lambda _, __, asked, ___: {"id": "x", "status": "NewA" if asked % 2 else "NewB"})
    told: list[Any] = []
    async with (
        ZuoraClient(TENANT, send=send) as client,
        JobWatcher(client, cadence=EVERY_SECOND, unknown_status_timeout=60, observers=[told.append]) as watcher,
    ):
        outcome = await watcher.watch(op(1), timeout=600)
    assert isinstance(getattr(outcome, "error", None), UnknownStatus)
    assert sum(isinstance(event, UnknownStatusSeen) for event in told) == 2


async def test_an_old_failure_and_a_new_one_are_no_outage():
    send = Answers(lambda _, name, asked, __: ConnectionFailed("x") if asked == 1 else BUSY if name == "o1" else DONE)
    told: list[Any] = []
    async with (
        ZuoraClient(TENANT, send=send) as client,
        JobWatcher(client, cadence=EVERY_SECOND, observers=[told.append]) as watcher,
    ):
        await watcher.watch(op(1), timeout=0.05)
        await asyncio.sleep(7200)
        await watcher.watch(op(2))
    assert not [event for event in told if isinstance(event, LostContact)]


async def test_refusals_of_many_at_once_are_told_as_one_throttling():
    def answer(_: str, name: str, asked: int, __: float) -> Any:
        throttled = Response(429, {"retry-after": "5"}, b"{}")
        return (0.01 + int(name[1:]) * 0.001, throttled) if asked == 1 else DONE

    told: list[Any] = []
    async with (
        ZuoraClient(TENANT, Budget(rate=1e6, concurrency=20), send=Answers(answer)) as client,
        JobWatcher(client, observers=[told.append]) as watcher,
    ):
        await watcher.watch_all([op(number) for number in range(20)])
    assert sum(isinstance(event, Throttled) for event in told) == 1


# --- cancelling


async def test_a_job_is_never_looked_at_twice_at_once():
    def answer(method: str, _: str, __: int, now: float) -> Any:
        return (0.1, AT_WORK) if method == "DELETE" else (20.0, AT_WORK if now < 60 else CANCELLED)

    send = Answers(answer)
    async with ZuoraClient(TENANT, send=send) as client, JobWatcher(client, cadence=EVERY_SECOND) as watcher:
        watch = asyncio.create_task(watcher.watch(aqua(1)))
        await asyncio.sleep(1)
        cancelling = asyncio.create_task(watcher.cancel(aqua(1)))
        most = 0
        while not watch.done():
            await asyncio.sleep(0.5)
            most = max(most, watcher.statistics().looking)
        assert await watch is await cancelling
    assert most == 1


async def test_who_stops_cancelling_stops_the_tries():
    send = Answers(lambda *_: ConnectionFailed("down"))
    async with ZuoraClient(TENANT, send=send) as client, JobWatcher(client, cadence=EVERY_SECOND) as watcher:
        cancelling = asyncio.create_task(watcher.cancel(aqua(1)))
        await asyncio.sleep(1)
        cancelling.cancel()
        await asyncio.sleep(50)
    assert not [entry for entry in send.log if entry[0] > 1.5]


async def test_a_farewell_and_a_leaving_share_one_request():
    send = Answers(lambda method, *_: (5.0, CANCELLED) if method == "DELETE" else AT_WORK)
    async with (
        ZuoraClient(TENANT, send=send) as client,
        JobWatcher(client, cadence=EVERY_SECOND, cancel_remote=True) as watcher,
    ):
        async with watcher.stream([aqua(1)], timeout=2):
            await asyncio.sleep(3)
        assert send.deletes() == 1


async def test_who_watches_a_job_that_another_fails_to_cancel_sees_its_end():
    def answer(method: str, _: str, __: int, now: float) -> Any:
        return ConnectionFailed("down") if method == "DELETE" else AT_WORK if now < 5 else {"status": "completed"}

    async with ZuoraClient(TENANT, send=Answers(answer)) as client, JobWatcher(client, cadence=EVERY_SECOND) as watcher:
        cancelling = asyncio.create_task(watcher.cancel(aqua(1)))
        await asyncio.sleep(1)
        assert (await watcher.watch(aqua(1))).elapsed < 10
        assert (await cancelling).name == "succeeded"


async def test_what_is_kept_of_a_lost_job_holds_no_answers():
    send = Answers(lambda *_: Response(404, {}, b"{}"))
    async with ZuoraClient(TENANT, send=send) as client, JobWatcher(client) as watcher:
        outcome = await watcher.watch(op(1))
    assert getattr(outcome, "error").__traceback__ is None  # noqa: B009 - only a Lost has one


# --- what cannot work is said before any request


async def test_a_path_without_a_place_for_the_id_is_no_kind():
    for path in ("/v1/x", "/v1/{job_id}", "v1/{id}", "/v1/{id}/{id}"):
        with pytest.raises(ConfigurationError, match="must begin with /"):
            evolve(AQUA, cancel=path)


async def test_what_is_no_cadence_is_refused():
    client = ZuoraClient(TENANT)
    bad: Any
    for bad in (5, {"aqua": EVERY_SECOND}, {AQUA: 5}):
        with pytest.raises(ConfigurationError, match=r"Cadence\.constant"):
            JobWatcher(client, cadence=bad)


async def test_one_bad_handle_among_thousands_is_found_before_any_request():
    send = Answers(lambda *_: BUSY)
    handles: Any = [*(op(number) for number in range(5000)), "aqua:1"]
    async with ZuoraClient(TENANT, send=send) as client, JobWatcher(client) as watcher:
        unhashable: Any = [["unhashable"]]
        for wrong in (handles, unhashable):
            with pytest.raises(InvalidHandle):
                await watcher.watch_all(wrong)
    assert not send.log


async def test_what_is_closed_or_open_already_says_so():
    client = ZuoraClient(TENANT, send=Answers(lambda *_: BUSY))
    with pytest.raises(ZuoraJobsError, match="client is closed"):
        async with JobWatcher(client):
            pass
    async with client, JobWatcher(client) as watcher:
        with pytest.raises(ZuoraJobsError, match="open already"):
            await client.__aenter__()
        with pytest.raises(ZuoraJobsError, match="open already"):
            await watcher.__aenter__()


# --- what a lost job tells, and what is looked at while a DELETE meets trouble


async def test_a_watch_that_ran_out_of_time_in_trouble_says_which():
    send = Answers(lambda *_: ConnectionFailed("refused", sent=False))
    async with ZuoraClient(TENANT, send=send) as client, JobWatcher(client) as watcher:
        outcome = await watcher.watch(op(1), timeout=5)
    error: Any = getattr(outcome, "error", None)
    assert "the last look failed: ConnectionFailed: refused" in str(error)
    assert isinstance(error.__cause__, ConnectionFailed)


async def test_a_delete_that_meets_500s_does_not_keep_us_from_looking():
    refusal = Response(500, {}, b'{"reasons": [{"code": "X", "message": "job complete"}]}')
    send = Answers(lambda method, *_: refusal if method == "DELETE" else {"id": "a1", "status": "completed"})
    async with ZuoraClient(TENANT, send=send, rng=Random(1)) as client, JobWatcher(client) as watcher:
        outcome = await watcher.cancel(aqua(1))
    assert outcome.name == "succeeded"
    assert outcome.elapsed < 5
    assert send.deletes() == 1


async def test_with_cancel_remote_the_end_of_the_watcher_takes_the_jobs_along_that_others_still_watch():
    send = Answers(lambda method, *_: CANCELLED if method == "DELETE" else AT_WORK)
    async with (
        ZuoraClient(TENANT, send=send) as client,
        JobWatcher(client, cadence=EVERY_SECOND, cancel_remote=True) as watcher,
    ):
        watch = asyncio.create_task(watcher.watch(aqua(1)))
        await asyncio.sleep(3)
    assert (await watch).name == "cancelled"
    assert send.deletes() == 1
