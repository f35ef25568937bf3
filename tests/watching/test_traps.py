"""Traps that other pollers of remote jobs have been seen to fall into, one section each.

Each docstring says who fell. Time is virtual; what is asked of Zuora is read from its own log, or from that of a script.
"""

import asyncio
import gc
import json
import sys
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from attrs import evolve, fields

from zuora_jobs import (
    AQUA,
    BULK_PDF,
    CREDIT_MEMO_APPLY,
    OPERATION,
    Budget,
    Cadence,
    Cancelled,
    ConnectionFailed,
    Event,
    Finished,
    JobHandle,
    JobKind,
    JobLost,
    JobWatcher,
    Lost,
    MalformedResponse,
    NotFound,
    Observed,
    Patience,
    Phase,
    Retrying,
    ServerError,
    Settings,
    StatusChanged,
    UnknownStatus,
    WatchTimedOut,
    ZuoraClient,
    emulator,
)
from zuora_jobs.protocol.messages import Request, Response

pytestmark = pytest.mark.looptime

EVERY_SECOND = Cadence.constant(1)
HAIR = 1e-4
"""Seconds: what sums of floats, and a clock of microseconds, may differ by."""
SPARE = 0.02
"""Seconds of its rate that a budget may spend at once."""

TENANT = Settings(base_url="https://rest.example.com", access_token="not-a-secret")
TENANT_WITH_TOKENS = Settings(base_url="https://rest.example.com", client_id="us", client_secret="not-a-secret")
TOKEN = {"access_token": "not-a-secret-either", "token_type": "bearer", "expires_in": 3600}

BUSY = {"id": "x", "status": "Processing", "success": True}
DONE = {"id": "x", "status": "Completed", "success": True}
AT_WORK = {"id": "x", "status": "executing"}
LOCKED = {"success": False, "reasons": [{"code": 50000050, "message": "locked"}]}
THROTTLED = {"reasons": [{"code": 70, "message": "too many requests"}]}


def said(status: int, document: Any = None, **headers: str) -> Response:
    body = document if isinstance(document, bytes) else json.dumps(document or {}).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def throttled(**headers: str) -> Response:
    return said(429, THROTTLED, **headers)


class Script:
    """A Send that asks a function: `answer(id, how often asked, now)` gives a document, a Response or an exception."""

    def __init__(self, answer: Callable[[str, int, float], Any], *, takes: float = 0.0) -> None:
        self.answer = answer
        self.takes = takes
        self.began_at = asyncio.get_running_loop().time()
        self.asked: dict[str, list[float]] = {}
        """Seconds from the beginning at which each id was asked for."""
        self.deleted: list[str] = []
        self.tokens: list[float] = []
        self.at_once = self.most_at_once = 0

    async def __call__(self, request: Request) -> Response:
        now = asyncio.get_running_loop().time() - self.began_at
        if request.path == "/oauth/token":
            self.tokens.append(now)
            return said(200, TOKEN)
        identifier = request.path.rsplit("/", 1)[1]
        if request.method == "DELETE":
            self.deleted.append(identifier)
            answer = self.answer("DELETE " + identifier, len(self.deleted), now)
        else:
            self.asked.setdefault(identifier, []).append(now)
            assert len(self.asked[identifier]) <= 5000, "whoever asks so often has no pauses"
            answer = None  # what it tells is how things stand when it has taken its time
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.at_once -= 1
        if answer is None:
            now = asyncio.get_running_loop().time() - self.began_at
            answer = self.answer(identifier, len(self.asked[identifier]), now)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Response) else said(200, answer)

    @property
    def moments(self) -> list[float]:
        return sorted(moment for moments in self.asked.values() for moment in moments)


@asynccontextmanager
async def opened(
    send: Any, *, budget: Budget | None = None, settings: Settings = TENANT, **options: Any
) -> AsyncIterator[JobWatcher]:
    options.setdefault("cadence", EVERY_SECOND)
    async with (
        ZuoraClient(settings, budget, send=send, rng=Random(1)) as client,
        JobWatcher(client, **options) as watcher,
    ):
        yield watcher


def op(name: object) -> JobHandle[Any]:
    return OPERATION.handle(f"o{name}")


def gaps(moments: list[float]) -> list[float]:
    return [round(later - earlier, 3) for earlier, later in pairwise(moments)]


def most_in_a_second(moments: list[float]) -> int:
    return max(bisect_left(moments, start + 1 - HAIR) - number for number, start in enumerate(moments))


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# --- 1. `done()` without a driver


async def test_done_turns_true_without_a_driver(zuora, watching):
    """azure-core's poller does nothing until it is awaited, so that a loop over `done()` never ends."""
    one, *others = zuora.add_jobs("aqua", 3, ends="completed", seconds=10)
    async with watching(zuora) as watcher:
        task = asyncio.create_task(watcher.watch(AQUA.handle(one.id)))
        async with watcher.stream([AQUA.handle(job.id) for job in others]) as events:
            await asyncio.sleep(9.5)
            assert not task.done()
            await asyncio.sleep(1)
            assert task.done()
            assert watcher.statistics().succeeded == 3, "an unread stream is watched all the same"
            assert [event.name async for event in events].count("finished") == 2
    assert [job.polls for job in (one, *others)] == [11, 11, 11]


# --- 2. a timeout that gives half a result


@pytest.mark.parametrize(
    ("answer", "options", "error", "elapsed"),
    [
        (BUSY, {}, WatchTimedOut, 30),
        (LOCKED, {}, WatchTimedOut, 30),
        (said(200, b"<html>"), {}, WatchTimedOut, 30),
        ({"status": "Done?"}, {}, WatchTimedOut, 30),
        ({"status": "Done?"}, {"unknown_status_timeout": 20}, UnknownStatus, 21),
    ],
    ids=["running", "locked", "html", "unknown", "unknown-for-too-long"],
)
async def test_a_timeout_gives_lost_and_never_half_a_result(answer, options, error, elapsed):
    """azure-core's sync `result(timeout)` returns the unfinished body, and backoff's `on_predicate` the last value."""
    async with opened(Script(lambda _, asked, __: BUSY if asked == 1 else answer), **options) as watcher:
        outcome = await watcher.watch(op(1), timeout=30)
    assert type(outcome) is Lost
    assert type(outcome.error) is error
    assert outcome.phase in {Phase.RUNNING, None}
    assert outcome.elapsed == pytest.approx(elapsed, abs=HAIR)
    with pytest.raises(JobLost) as raised:
        outcome.unwrap()
    assert raised.value.outcome is outcome


async def test_a_timeout_of_many_gives_lost_for_those_alone_that_have_not_ended():
    """Braket's `_wait_for_completion` returns None on a timeout, whatever is known by then."""
    send = Script(lambda name, _, now: DONE if name == "o1" and now >= 5 else BUSY)
    async with opened(send) as watcher:
        outcomes = await watcher.watch_all([op(1), op(2)], timeout=10)
        async with watcher.stream([op(3)], timeout=10) as events:
            ends = [event.outcome async for event in events if isinstance(event, Finished)]
    assert [outcome.name for outcome in outcomes.values()] == ["succeeded", "lost"]
    assert [outcome.name for outcome in ends] == ["lost"]


async def test_a_timeout_of_a_cancellation_is_no_cancelled():
    """azure-sdk-for-js resolved a poller whose cancellation the service had not agreed to."""
    async with opened(Script(lambda *_: AT_WORK)) as watcher:
        outcome = await watcher.cancel(AQUA.handle("a1"), timeout=10)
    assert (outcome.name, outcome.phase) == ("lost", Phase.RUNNING)


async def test_patience_that_is_at_its_end_raises_and_returns_nothing():
    """backoff's `on_predicate` returns the last value, which is none, when it gives up."""
    send = Script(lambda *_: said(503))
    async with ZuoraClient(TENANT, send=send, patience=Patience(again=20), rng=Random(1)) as client:
        with pytest.raises(ServerError):
            await client.job(op(1))


# --- 3. memory kept for each poll


def _the_same_error() -> Callable[[int], Any]:
    error = ConnectionFailed("refused", sent=False)
    return lambda _: error


POLLS_OF_ALL_SORTS: dict[str, Callable[[int], Any]] = {
    "good": lambda _: BUSY,
    "refused": lambda _: ConnectionFailed("refused", sent=False),
    "the-same-error": _the_same_error(),
    "unavailable": lambda _: said(503),
    "locked": lambda _: LOCKED,
    "throttled": lambda _: throttled(retry_after="2"),
    "html": lambda _: said(200, b"<html>maintenance</html>"),
    "unknown": lambda _: {"id": "x", "status": "Dozing"},
    "now-and-then": lambda number: LOCKED if number % 3 else BUSY,
}


@pytest.mark.unmeasured
@pytest.mark.parametrize("answer", POLLS_OF_ALL_SORTS.values(), ids=POLLS_OF_ALL_SORTS.keys())
async def test_no_memory_is_kept_for_each_poll(answer):
    """google-api-core keeps every poll's exception with its traceback: 412 bytes a poll for as long as one waits."""
    blocks: dict[int, int] = {}
    polls = 0

    async def send(_: Request) -> Response:
        nonlocal polls
        polls += 1
        if polls in {200, 2200}:
            gc.collect()
            blocks[polls] = sys.getallocatedblocks()
        reply = answer(polls) if polls <= 2200 else DONE
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, Response) else said(200, reply)

    async with opened(send, contact_timeout=1e6, unknown_status_timeout=1e6) as watcher:
        async with watcher.stream([op(1)]) as events:
            async for event in events:
                if isinstance(event, Retrying):
                    kept = (event.error.__traceback__, event.error.__context__, event.error.__cause__)
                    assert kept == (None, None, None)
                    assert not getattr(event.error, "__notes__", ())
    assert polls == 2201
    assert blocks[2200] - blocks[200] < 200, "a tenth of a block a poll is chance; one is a leak"


async def test_no_memory_is_kept_for_each_poll_that_has_no_token():
    """google-api-core again: here one error is told to all polls, and must not grow with each."""
    blocks: dict[int, int] = {}
    polls = 0
    enough = asyncio.Event()

    async def send(_: Request) -> Response:
        return said(503)

    def observe(event: Event) -> None:
        nonlocal polls
        if isinstance(event, Retrying):
            polls += 1
            if polls in {200, 2200}:
                assert not getattr(event.error, "__notes__", ())
                gc.collect()
                blocks[polls] = sys.getallocatedblocks()
            if polls == 2200:
                enough.set()

    handles = [op(number) for number in range(20)]
    async with opened(send, settings=TENANT_WITH_TOKENS, contact_timeout=1e6, observers=[observe]) as watcher:
        watch = asyncio.create_task(watcher.watch_all(handles))
        await enough.wait()
        watch.cancel()
        await asyncio.wait([watch])
    assert blocks[2200] - blocks[200] < 200


# --- 4. an error path that skips the pause


@pytest.mark.parametrize(
    "answer",
    [
        ConnectionFailed("refused", sent=False),
        said(500),
        said(503),
        said(503, retry_after="0"),
        said(200, LOCKED),
        throttled(),
        throttled(retry_after="0"),
        said(200, b"<html>"),
        said(200, b""),
        said(401, {"message": "Failed to get user info"}),
    ],
    ids=["refused", "500", "503", "503-at-once", "locked", "429", "429-at-once", "html", "empty", "no-user-info"],
)
async def test_the_path_of_an_error_does_not_skip_the_pause(answer):
    """airbyte-cdk's orchestrator raises before it sleeps: 13,602 rounds in 3 s at a nominal 5 s."""
    send = Script(lambda *_: answer)
    delays: list[float] = []

    def observe(event: Event) -> None:
        if isinstance(event, Retrying):
            delays.append(event.delay)

    async with opened(send, observers=[observe]) as watcher:
        assert (await watcher.watch(op(1), timeout=600)).name == "lost"
    paused = gaps(send.asked["o1"])
    assert all(gap >= round(delay, 3) - 0.001 for gap, delay in zip(paused, delays[:-1], strict=True))
    assert min(paused) >= 0.1
    assert len(paused) < 120


@pytest.mark.parametrize("status", ["Dozing", "?", "Completed?", "1"])
async def test_an_unknown_status_does_not_skip_the_pause(status):
    """airbyte-cdk again: it was an unknown status that raised before the sleep."""
    send = Script(lambda *_: {"id": "x", "status": status})
    async with opened(send, cadence=Cadence.constant(5)) as watcher:
        await watcher.watch(op(1), timeout=302)
    assert gaps(send.asked["o1"]) == [5.0] * 60


async def test_neither_a_bad_observer_nor_a_bad_row_skips_the_pause(caplog):
    """airbyte-cdk again, by way of the user's own code."""

    def observe(_: Event) -> None:
        raise LookupError("a bad observer")

    send = Script(lambda *_: BUSY)
    async with opened(send, cadence=Cadence.constant(5), observers=[observe]) as watcher:
        outcomes = await watcher.watch_all([op(1), broken("status").handle("b1")], timeout=302)
    assert {outcome.name for outcome in outcomes.values()} == {"lost"}
    assert gaps(send.asked["o1"]) == [5.0] * 60
    assert len(send.asked["b1"]) == 1


# --- 5. one bad job that fails its neighbours


class _BrokenKind(JobKind[Any]):
    def phase(self, status: str) -> Phase | None:
        raise ZeroDivisionError(status)


class _BrokenDocument:
    """A model that no document can be made into."""


def broken(what: str) -> JobKind[Any]:
    """A kind of the user's own, one function of which raises."""
    if what == "model":
        kind: Any = OPERATION
        return evolve(kind, name="broken-model", model=_BrokenDocument)
    row = {column.name: getattr(OPERATION, column.name) for column in fields(JobKind) if column.init}
    return _BrokenKind(**row | {"name": "broken-status"})


def _no_delay() -> Generator[float, Any, None]:
    yield 1.0
    raise ZeroDivisionError("a bad generator")


SICK: dict[str, tuple[JobHandle[Any], Any, str]] = {
    "phase": (broken("status").handle("sick"), BUSY, "lost"),
    "model": (broken("model").handle("sick"), BUSY, "lost"),
    "malformed": (op("sick"), said(200, {"id": "x"}), "lost"),
    "no-json": (op("sick"), said(200, b"<html>"), "lost"),
    "deep": (op("sick"), said(200, b'{"status":' + b"[" * 100_000), "lost"),
    "long": (op("sick"), said(200, b'{"id": ' + b"9" * 10_000 + b"}"), "lost"),
    "no-text": (op("sick"), said(200, b"\xff\xfe\x00"), "lost"),
    "locked": (op("sick"), LOCKED, "lost"),
    "forbidden": (op("sick"), said(403, {"code": 90009, "message": "no"}), "lost"),
    "missing": (op("sick"), said(404), "lost"),
    "a-bug": (op("sick"), KeyError("in another HTTP library"), "lost"),
    "failed": (op("sick"), {"id": "x", "status": "Failed"}, "failed"),
}


@pytest.mark.parametrize(("handle", "answer", "end"), SICK.values(), ids=SICK.keys())
async def test_one_bad_job_fails_no_neighbour(handle, answer, end, caplog):
    """One bad answer fails all of D-Wave's frame, all who wait in AiiDA, and all futures of more-executors."""
    send = Script(lambda name, _, now: answer if name.endswith("sick") else DONE if now >= 10 else BUSY)
    neighbours = [op(number) for number in range(5)]
    async with opened(send, budget=Budget(rate=10_000)) as watcher:
        outcomes = await watcher.watch_all([neighbours[0], handle, *neighbours[1:]], timeout=600)
    assert outcomes.pop(handle).name == end
    assert {outcome.name for outcome in outcomes.values()} == {"succeeded"}
    assert {round(outcome.elapsed, 2) for outcome in outcomes.values()} == {10.0}
    assert {len(send.asked[neighbour.id]) for neighbour in neighbours} == {11}


@pytest.mark.parametrize("answer", [said(200, {"id": "x"}), said(200, {"status": 7})], ids=["no-status", "no-text"])
async def test_a_job_whose_answers_are_always_malformed_is_lost_and_says_why(answer):
    """AiiDA and more-executors hand the error of one to all; here it is that one's, and after two minutes."""
    async with opened(Script(lambda *_: answer)) as watcher:
        outcome = await watcher.watch(op(1))
    assert isinstance(outcome, Lost)
    assert isinstance(outcome.error, MalformedResponse)
    assert "$.status" in outcome.error.problems[0]
    assert 120 <= outcome.elapsed < 145


async def test_a_cadence_that_raises_loses_its_own_kinds_jobs_alone(caplog):
    """more-executors' one `poll_fn` for all is such a place: what it raises fails every future."""
    send = Script(lambda name, _, now: DONE if now >= 10 else AT_WORK if name == "sick" else BUSY)
    cadence = {AQUA: Cadence.from_wait_gen(_no_delay), OPERATION: EVERY_SECOND}
    async with opened(send, cadence=cadence) as watcher:
        outcomes = await watcher.watch_all([AQUA.handle("sick"), op(1)], timeout=600)
    assert [outcome.name for outcome in outcomes.values()] == ["lost", "succeeded"]
    assert [round(outcome.elapsed, 2) for outcome in outcomes.values()] == [1.0, 10.0]


@pytest.mark.parametrize("where", ["send", "observer"])
async def test_a_look_that_somebody_else_cancels_is_not_the_last(where):
    """AiiDA's futures are shared, so that who cancels his own cancels his neighbours'; here a stray cancellation, from an
    HTTP library or a cancelled future's `result()`, must not end the looking without a word."""
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    script = Script(lambda _, __, now: DONE if now >= 10 else BUSY)

    async def send(request: Request) -> Response:
        response = await script(request)
        if where == "send" and len(script.asked["o1"]) == 3:
            cancelled.result()
        return response

    def observe(event: Event) -> None:
        if where == "observer" and isinstance(event, Observed) and event.polls == 3:
            cancelled.result()

    async with opened(send, observers=[observe]) as watcher:
        outcome = await watcher.watch(op(1), timeout=600)
    assert outcome.name == "succeeded"


async def test_a_delete_that_somebody_else_cancels_is_not_waited_for_for_ever():
    """As before: whoever asked for the DELETE must hear of it."""
    script = Script(lambda _, __, now: {"id": "a1", "status": "completed" if now >= 10 else "executing"})

    async def send(request: Request) -> Response:
        if request.method == "DELETE":
            raise asyncio.CancelledError
        return await script(request)

    async with opened(send) as watcher:
        cancelling = asyncio.create_task(watcher.cancel(AQUA.handle("a1")))
        done, _ = await asyncio.wait([cancelling], timeout=600)
        cancelling.cancel()
        await asyncio.wait([cancelling])
    assert done


# --- 6. a hint that is read once


async def test_retry_after_is_read_each_time():
    """openai reads its server's poll-after once, and goes on with the first value for ever."""
    hints = ["5", "20", "11", "40"]
    send = Script(lambda _, asked, __: throttled(retry_after=hints[asked - 1]) if asked <= 4 else DONE)
    async with opened(send) as watcher:
        assert (await watcher.watch(op(1))).name == "succeeded"
    assert gaps(send.asked["o1"]) == [5.0, 20.0, 11.0, 40.0]


async def test_ratelimit_reset_is_read_each_time():
    """openai again; Zuora's own hint comes with good answers too."""
    hints: list[dict[str, str]] = [
        {"ratelimit_remaining": "0", "ratelimit_reset": "7"},
        {},
        {"ratelimit_remaining": "0", "ratelimit_reset": "30"},
        {"ratelimit_remaining": "0", "ratelimit_reset": "3"},
        {},
    ]
    send = Script(lambda _, asked, __: said(200, BUSY, **hints[asked - 1]) if asked <= 5 else DONE)
    async with opened(send) as watcher:
        assert (await watcher.watch(op(1))).name == "succeeded"
    assert gaps(send.asked["o1"]) == [7.0, 1.0, 30.0, 3.0, 1.0]


# --- 7. `done` by counting


QUERIES_ENDED = [{"batchId": "b", "status": "completed", "fileId": "f", "recordCount": 0, "message": ""}]
QUERIES_AT_WORK = [{"batchId": "b", "status": "executing"}, {"batchId": "c", "status": "pending"}]
COUNTS: dict[str, tuple[JobKind[Any], dict[str, Any], str]] = {
    "no-batches": (AQUA, {"batches": []}, "executing"),
    "batches-ended": (AQUA, {"batches": QUERIES_ENDED}, "executing"),
    "last-step": (BULK_PDF, {"stepStatus": "PostProcessing", "fileUrls": ["https://files.example.com/1"]}, "Executing"),
    "no-documents": (BULK_PDF, {"failedDocuments": [], "skippedDocuments": [], "fileUrls": []}, "Submitted"),
    "called-well": (OPERATION, {"success": True, "reasons": []}, "Pending"),
    "no-error": (CREDIT_MEMO_APPLY, {"success": True, "error": None}, "Processing"),
}


@pytest.mark.parametrize(("kind", "fields", "status"), COUNTS.values(), ids=COUNTS.keys())
async def test_counts_that_look_done_are_no_end(kind, fields, status):
    """openai's batches are done when no file is in progress, so that they are when none has begun."""
    last = {"id": "x", "status": kind.succeeded[0], "batches": QUERIES_AT_WORK}
    send = Script(lambda _, __, now: {"id": "x", "status": status, **fields} if now < 10 else last)
    async with opened(send) as watcher:
        outcome = await watcher.watch(kind.handle("x1"))
    assert (outcome.name, outcome.status, outcome.polls) == ("succeeded", kind.succeeded[0], 11)
    assert outcome.elapsed == pytest.approx(10, abs=HAIR)


# --- 8. a call that blocks the loop


@pytest.mark.unmeasured
async def test_nothing_blocks_the_loop_while_a_thousand_jobs_are_watched(zuora, watching, monkeypatch):
    """Braket, replicate and some of Airflow's triggers call blocking HTTP, or `time.sleep`, in an `async def`.

    The emulator lives in this same loop: an HTTP call that blocks would wait for it for ever. Time is virtual, so what a
    turn takes is told by the thread's own processor time, which others on this machine do not add to.
    """
    longest = 0.0
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        nonlocal longest
        began = time.thread_time()
        run(handle)
        longest = max(longest, time.thread_time() - began)

    def sleep(seconds: float) -> None:
        pytest.fail(f"somebody slept for {seconds} s")

    jobs = [AQUA.handle(job.id) for job in zuora.add_jobs("aqua", 1000, ends="completed", polls=1)]
    async with watching(zuora, budget=Budget(rate=1000)) as watcher:
        monkeypatch.setattr(asyncio.Handle, "_run", timed)
        monkeypatch.setattr(time, "sleep", sleep)
        gc.disable()  # its pauses are the whole test run's doing
        try:
            outcomes = await watcher.watch_all(jobs)
        finally:
            gc.enable()
    assert {outcome.name for outcome in outcomes.values()} == {"succeeded"}
    assert 0 < longest < asyncio.get_running_loop().slow_callback_duration


async def test_others_get_their_turn_while_ten_thousand_jobs_are_taken_in():
    """A triggerer of Airflow's stands still while one of its triggers works."""
    seen = [0]
    async with opened(Script(lambda *_: DONE)) as watcher:
        watch = asyncio.create_task(watcher.watch_all([op(number) for number in range(10_000)]))
        while seen[-1] < 9_900 and not watch.done():
            await asyncio.sleep(0)
            seen.append(watcher.statistics().watching)
        watch.cancel()
        await asyncio.wait([watch])
    assert max(later - earlier for earlier, later in pairwise(seen)) <= 250


# --- 9. a limiter whose memory dies with the last watcher


HOLDS: dict[str, Response] = {
    "429": throttled(retry_after="40"),
    "429-reset": throttled(ratelimit_remaining="0", ratelimit_reset="40"),
    "503": said(503, retry_after="40"),
    "200-none-left": said(200, BUSY, ratelimit_remaining="0", ratelimit_reset="40"),
}


@pytest.mark.parametrize("answer", HOLDS.values(), ids=HOLDS.keys())
async def test_what_the_limiter_knows_outlives_the_last_watcher(answer):
    """AiiDA's minimum interval was not kept, since the object that knew of it died between two requests."""
    send = Script(lambda _, __, now: DONE if now >= 40 - HAIR else answer)
    async with ZuoraClient(TENANT, send=send) as client:
        async with JobWatcher(client) as watcher:
            assert (await watcher.watch(op(1), timeout=2)).name == "lost"
        async with JobWatcher(client) as watcher:
            assert (await watcher.watch(op(2))).name == "succeeded"
        await client.job(op(3))
        assert client.limiter.requests == 3
    assert send.asked["o1"] == [0.0]
    assert send.asked["o2"] == [pytest.approx(40, abs=HAIR)]


async def test_the_rate_is_kept_from_one_watcher_to_the_next():
    """AiiDA again: a new object for each call makes each call the first."""
    send = Script(lambda *_: DONE)
    async with ZuoraClient(TENANT, Budget(rate=2), send=send) as client:
        for number in range(5):
            async with JobWatcher(client) as watcher:
                assert (await watcher.watch(op(number))).name == "succeeded"
    assert gaps(send.moments) == [0.5] * 4


# --- 10. sleeping while holding work


async def test_a_job_that_waits_holds_nothing_that_another_needs():
    """D-Wave's workers sleep with their frame in hand, so that five slow jobs keep a fresh one from being looked at."""
    send = Script(lambda name, _, now: LOCKED if name.startswith("oslow") else DONE if now >= 60 else BUSY)
    async with opened(send, budget=Budget(rate=10_000, concurrency=1)) as watcher:
        slow = asyncio.create_task(watcher.watch_all([op(f"slow{number}") for number in range(20)], timeout=200))
        await asyncio.sleep(50)
        fresh = await watcher.watch(op("fresh"))
        assert fresh.name == "succeeded"
        assert fresh.elapsed == pytest.approx(10, abs=0.01)
        assert len(send.asked["ofresh"]) == 11
        await slow


async def test_a_long_cadence_holds_nothing_that_another_needs():
    """D-Wave again, with 60 s between two looks of the one and a second of the other."""
    send = Script(lambda name, _, now: AT_WORK if name == "slow" else DONE if now >= 60 else BUSY)
    cadence = {AQUA: Cadence.constant(60), OPERATION: EVERY_SECOND}
    async with opened(send, budget=Budget(rate=10_000, concurrency=1), cadence=cadence) as watcher:
        slow = asyncio.create_task(watcher.watch(AQUA.handle("slow"), timeout=200))
        await asyncio.sleep(50)
        assert (await watcher.watch(op(1))).elapsed == pytest.approx(10, abs=0.01)
        await slow
    assert gaps(send.asked["slow"]) == [60.0, 60.0, 60.0]


async def test_a_cancellation_that_waits_for_another_try_holds_nothing_that_another_needs():
    """D-Wave again, by way of the DELETE."""
    send = Script(
        lambda name, _, now: (
            LOCKED if name.startswith("DELETE") else AT_WORK if name == "a1" else DONE if now >= 40 else BUSY
        )
    )
    async with opened(send, budget=Budget(rate=10_000, concurrency=1)) as watcher:
        cancelling = asyncio.create_task(watcher.cancel(AQUA.handle("a1"), timeout=50))
        await asyncio.sleep(30)
        assert (await watcher.watch(op(1))).elapsed == pytest.approx(10, abs=0.01)
        assert (await cancelling).name == "lost"
    assert len(send.deleted) > 3


# --- 11. Retry-After in all its shapes


NOON = "Mon, 05 Jan 2026 12:00:00 GMT"
RETRY_AFTER: dict[str, tuple[dict[str, str], float | str]] = {
    "whole": ({"retry_after": "7"}, 7),
    "float": ({"retry_after": "7.5"}, 7.5),
    "spaces": ({"retry_after": " 7 "}, 7),
    "date": ({"retry_after": "Mon, 05 Jan 2026 12:00:30 GMT", "date": NOON}, 30),
    "date-elsewhere": ({"retry_after": "Mon, 05 Jan 2026 13:00:30 +0100", "date": NOON}, 30),
    "date-of-old": ({"retry_after": "Monday, 05-Jan-26 12:00:30 GMT", "date": NOON}, 30),
    "date-of-asctime": ({"retry_after": "Mon Jan  5 12:00:30 2026", "date": NOON}, 30),
    "date-gone-by": ({"retry_after": "Mon, 05 Jan 2026 11:00:00 GMT", "date": NOON}, "soon"),
    "date-alone": ({"retry_after": "Mon, 05 Jan 2026 12:00:30 GMT"}, "soon"),
    "date-alone-and-reset": ({"retry_after": "Mon, 05 Jan 2026 12:00:30 GMT", "ratelimit_reset": "12"}, 12),
    "zero": ({"retry_after": "0"}, "soon"),
    "negative": ({"retry_after": "-5"}, "soon"),
    "absent": ({}, "soon"),
    "absent-and-reset": ({"ratelimit_reset": "12"}, 12),
    "empty": ({"retry_after": ""}, "soon"),
    "garbled": ({"retry_after": "soon"}, "soon"),
    "garbled-and-reset": ({"retry_after": "soon", "ratelimit_reset": "12"}, 12),
    "nan": ({"retry_after": "nan"}, "soon"),
    "infinite": ({"retry_after": "inf"}, "soon"),
    "beyond-bounds": ({"retry_after": "1e999"}, "soon"),
    "a-day": ({"retry_after": "86400"}, 3600),
    "a-year": ({"retry_after": "31536000"}, "within the hour"),
    "a-year-by-date": ({"retry_after": "Tue, 05 Jan 2027 12:00:00 GMT", "date": NOON}, "within the hour"),
    "the-end-of-time": ({"retry_after": "Fri, 31 Dec 9999 23:59:59 GMT", "date": NOON}, "within the hour"),
}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("headers", "waits"), RETRY_AFTER.values(), ids=RETRY_AFTER.keys())
async def test_retry_after_is_understood_in_all_its_shapes(headers, waits, status):
    """replicate knows digits and ISO dates only, openai heeds none above 120 s, most peers read none at all."""
    if status == 503 and "ratelimit_reset" in headers:
        waits = "soon"  # which speaks of the rate, and a 503 does not
    send = Script(
        lambda _, asked, __: said(status, THROTTLED if status == 429 else None, **headers) if asked == 1 else DONE
    )
    async with opened(send) as watcher:
        outcome = await watcher.watch(op(1))
    assert (outcome.name, outcome.polls) == ("succeeded", 1)
    (waited,) = gaps(send.asked["o1"])
    if waits == "soon":
        assert 0.1 <= waited <= 1, "nothing is asked for: the first of our own pauses"
    elif waits == "within the hour":
        assert 0.1 <= waited <= 3600, "whether it is cut short, or taken for nonsense"
    else:
        assert waited == waits


# --- 12. the status right after submitting


@pytest.mark.parametrize("kind", [OPERATION, BULK_PDF, CREDIT_MEMO_APPLY], ids=str)
@pytest.mark.parametrize("status", [200, 404])
async def test_a_job_that_is_not_there_is_lost_within_seconds_with_its_code_and_may_be_watched_again(
    kind, status, looptime
):
    """submitit and BigQuery: a record may come late, so that a job just submitted is "not found", which is not "failed"."""
    async with emulator.running(unknown_job_status=status) as zuora:
        handle = kind.handle("2c92c8fb7f000001")
        async with ZuoraClient(zuora.settings(), rng=Random(1)) as client, JobWatcher(client) as watcher:
            began = float(looptime)
            outcome = await watcher.watch(handle)
            assert float(looptime) - began < 10
            assert isinstance(outcome, Lost)
            assert isinstance(outcome.error, NotFound)
            assert outcome.error.code == "50000040"
            assert "50000040" in str(outcome.error)
            assert (outcome.status, outcome.polls) == (None, 0)
            zuora.add_job(kind.name, id=handle.id, ends=kind.succeeded[0], seconds=2)
            assert (await watcher.watch(handle)).name == "succeeded"


async def test_a_job_that_is_gone_is_lost_and_its_last_document_is_kept():
    """BigQuery's 404 in mid-job: nothing already learnt is lost by it."""
    gone = said(404, {"success": False, "reasons": [{"code": 50000040, "message": "Cannot find entity"}]})
    async with opened(Script(lambda _, asked, __: BUSY if asked <= 3 else gone)) as watcher:
        outcome = await watcher.watch(op(1))
    assert isinstance(outcome, Lost)
    assert isinstance(outcome.error, NotFound)
    assert (outcome.status, outcome.polls, outcome.error.code) == ("Processing", 3, "50000040")
    assert outcome.elapsed < 10


async def test_an_older_status_is_no_end_and_hides_none():
    """submitit reports an older job's status right after submit; from a replica that lags, a status may go back."""
    answers = ["Processing", "Pending", "Processing", "Pending", "Completed", "Pending"]
    told: list[Event] = []
    send = Script(lambda _, asked, __: {"id": "x", "status": answers[asked - 1]})
    async with opened(send, observers=[told.append]) as watcher:
        outcome = await watcher.watch(op(1))
        await asyncio.sleep(100)
    assert (outcome.name, outcome.polls) == ("succeeded", 5)
    assert [event.status for event in told if isinstance(event, StatusChanged)] == answers[1:5]
    assert isinstance(told[-1], Finished)


async def test_an_answer_that_is_older_than_a_nudge_is_not_the_last_word():
    """submitit again: who is told that the job has ended must not be content with what was asked before."""
    began = asyncio.get_running_loop().time()
    asked: list[float] = []

    async def send(_: Request) -> Response:
        asked.append(now := asyncio.get_running_loop().time() - began)
        await asyncio.sleep(5)
        return said(200, DONE if now >= 2 else BUSY)  # as things stood when it was asked

    async with opened(send, cadence=Cadence.constant(60)) as watcher:
        watch = asyncio.create_task(watcher.watch(op(1)))
        await asyncio.sleep(2)
        assert watcher.nudge(op(1))
        assert (await watch).elapsed == pytest.approx(10, abs=HAIR)
    assert asked == [0.0, pytest.approx(5, abs=HAIR)]


# --- 13. a watcher that is cancelled during a DELETE


def _a_delete_that_takes(seconds: float) -> tuple[Callable[[Request], Any], list[tuple[str, float]]]:
    """A Send of one AQuA job, which is cancelled when its DELETE is answered, and not before."""
    began = asyncio.get_running_loop().time()
    asked: list[tuple[str, float]] = []
    status = "executing"

    async def send(request: Request) -> Response:
        nonlocal status
        asked.append((request.method, round(asyncio.get_running_loop().time() - began, 3)))
        if request.method == "DELETE":
            await asyncio.sleep(seconds)
            status = "cancelled"
        return said(200, {"id": "a1", "status": status})

    return send, asked


async def test_who_cancels_and_is_cancelled_during_the_delete_leaves_nothing_held():
    """Airflow's triggers were cancelled, or killed, in the middle of cancelling the remote job, and nobody knew which."""
    send, asked = _a_delete_that_takes(60)
    budget = Budget(concurrency=1)
    async with (
        ZuoraClient(TENANT, budget, send=send) as client,
        JobWatcher(client, cadence=EVERY_SECOND) as watcher,
    ):
        cancelling = asyncio.create_task(watcher.cancel(AQUA.handle("a1")))
        await asyncio.sleep(5)
        cancelling.cancel()
        await asyncio.wait([cancelling])
        assert cancelling.cancelled()
        assert watcher.statistics().watching == 0
        assert (await watcher.watch(AQUA.handle("a1"), timeout=2.5)).status == "executing"
    assert asked == [("DELETE", 0.0), ("GET", 5.0), ("GET", 6.0), ("GET", 7.0)]


@pytest.mark.parametrize("cancel_remote", [False, True])
async def test_a_watcher_cancelled_during_a_delete_ends_and_the_next_tells_the_jobs_end(cancel_remote):
    """Airflow again: the triggerer was stopped, and the job it was cancelling went on, or did not."""
    send, asked = _a_delete_that_takes(3)

    async def program(client: ZuoraClient) -> None:
        async with JobWatcher(client, cadence=EVERY_SECOND, cancel_remote=cancel_remote) as watcher:
            await watcher.cancel(AQUA.handle("a1"))

    async with ZuoraClient(TENANT, Budget(concurrency=1), send=send) as client:
        running = asyncio.create_task(program(client))
        await asyncio.sleep(1)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=15)
        assert done, "it ends in bounded time"
        assert running.cancelled()
        async with JobWatcher(client, cadence=EVERY_SECOND, cancel_remote=cancel_remote) as watcher:
            outcome = await watcher.cancel(AQUA.handle("a1"))
    assert isinstance(outcome, Cancelled)
    assert [method for method, _ in asked].count("DELETE") <= 2


async def test_who_watches_sees_the_end_though_the_canceller_was_cancelled_during_the_delete():
    """azure-sdk-for-js stopped polling when it had asked for the cancellation, and told of an end that was none."""
    send, asked = _a_delete_that_takes(3)
    async with opened(send) as watcher:
        watch = asyncio.create_task(watcher.watch(AQUA.handle("a1")))
        await asyncio.sleep(0.5)
        cancelling = asyncio.create_task(watcher.cancel(AQUA.handle("a1")))
        await asyncio.sleep(1)
        cancelling.cancel()
        await asyncio.sleep(10)
        assert not watch.done(), "the DELETE was given up, so the job goes on"
        assert (await watcher.cancel(AQUA.handle("a1"))).name == "cancelled"
        assert (await watch).name == "cancelled"
    assert [method for method, _ in asked].count("DELETE") == 2


# --- 14. all watchers start in the same tick


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("takes", "thousandth"),
    [(0.05, (1000 - 1) / 100 - SPARE), (0.5, (1000 / 10 - 1) * 0.5)],
    ids=["bound-by-rate", "bound-by-concurrency"],
)
async def test_a_thousand_watches_that_start_in_one_tick_are_spread_by_the_budget(takes, thousandth):
    """botocore's adaptive mode lost 71 % of 1000 waiters that started at once, a naive loop 92 %."""
    send = Script(lambda _, asked, __: BUSY if asked == 1 else DONE, takes=takes)
    async with (
        ZuoraClient(TENANT_WITH_TOKENS, Budget(rate=100, concurrency=10), send=send) as client,
        JobWatcher(client, cadence=EVERY_SECOND) as first,
        JobWatcher(client, cadence=EVERY_SECOND) as second,
    ):
        watches = [asyncio.create_task((first, second)[number % 2].watch(op(number))) for number in range(1000)]
        outcomes = await asyncio.gather(*watches)
        assert client.limiter.requests == 2000
    assert {outcome.name for outcome in outcomes} == {"succeeded"}
    assert {len(moments) for moments in send.asked.values()} == {2}
    assert len(send.tokens) == 1
    assert send.most_at_once <= 10
    assert most_in_a_second(send.moments) <= 100 * (1 + SPARE) + 1
    assert send.moments[999] >= thousandth - HAIR


@pytest.mark.unmeasured
async def test_a_thousand_watches_that_start_in_one_tick_are_refused_nothing(zuora, watching):
    """google-api-core drew 14,100 refusals, and aiobotocore 4,200, from a server with such limits."""
    zuora.limit_concurrency(10)
    zuora.limit_rate([(100, 1.0)])
    handles = [AQUA.handle(job.id) for job in zuora.add_jobs("aqua", 1000, ends="completed", seconds=0)]
    async with watching(zuora, budget=Budget(rate=80, concurrency=10)) as watcher:
        watches = [asyncio.create_task(watcher.watch(handle)) for handle in handles]
        outcomes = await asyncio.gather(*watches)
    assert {outcome.name for outcome in outcomes} == {"succeeded"}
    assert zuora.statistics().statuses == {200: 1001}
    assert zuora.peak_concurrency <= 10
    assert zuora.token_requests == 1


@pytest.mark.unmeasured
async def test_a_thousand_watches_that_fail_in_one_tick_come_back_within_the_budget():
    """botocore's waiters have no jitter: those who were refused together return together."""
    send = Script(lambda _, __, now: LOCKED if now < 60 else DONE)
    async with opened(send, budget=Budget(rate=50, concurrency=10)) as watcher:
        outcomes = await watcher.watch_all([op(number) for number in range(1000)])
    assert {outcome.name for outcome in outcomes.values()} == {"succeeded"}
    assert send.most_at_once <= 10
    assert most_in_a_second(send.moments) <= 50 * (1 + SPARE) + 1


# --- 15. clocks that jump


class _JumpingClock(datetime):
    """A wall clock that is set back and forth by years, each time somebody looks at it."""

    looks = 0

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        cls.looks += 1
        return datetime(2026, 1, 5, tzinfo=UTC) + timedelta(days=(-4000, 9000, 0, -1)[cls.looks % 4])


@contextmanager
def _wall_clock_that_jumps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        wild = Random(5)
        patch.setattr("zuora_jobs.watching.clock.datetime", _JumpingClock)
        patch.setattr("time.time", lambda: wild.uniform(0, 4e9))
        yield


async def _a_run_of_two_hours() -> dict[str, Any]:
    """Jobs, a timeout, trouble, a throttle, tokens: and when, by the loop's clock, what came of it."""

    def answer(name: str, asked: int, now: float) -> Any:
        if name == "o1":
            return DONE if now >= 7200 else BUSY
        if name == "o2" and 100 < now < 900:
            return said(503)
        if name == "o3" and asked == 5:
            return throttled(retry_after="Mon, 05 Jan 2026 12:00:30 GMT", date=NOON)
        return BUSY

    send = Script(answer)
    told: list[Event] = []
    async with opened(
        send, settings=TENANT_WITH_TOKENS, cadence=Cadence.constant(20), observers=[told.append]
    ) as watcher:
        watch = asyncio.create_task(watcher.watch(op(1)))
        outcomes = await watcher.watch_all([op(2), op(3)], timeout=3000)
        outcomes[op(1)] = await watch
        statistics = watcher.statistics()
    return {
        "asked": {name: [round(moment, 3) for moment in moments] for name, moments in send.asked.items()},
        "tokens": [round(moment, 3) for moment in send.tokens],
        "outcomes": [(str(handle), end.name, end.polls, round(end.elapsed, 3)) for handle, end in outcomes.items()],
        "told": [(event.name, round((event.at - told[0].at).total_seconds(), 3)) for event in told],
        "retries": statistics.retries,
        "held": round(statistics.held_seconds, 3),
    }


async def test_a_wall_clock_that_jumps_changes_nothing(monkeypatch):
    """backoff takes `datetime.now()` for a clock, so that a clock set back makes it wait on, and forward give up."""
    as_ever = await _a_run_of_two_hours()
    with _wall_clock_that_jumps(monkeypatch):
        with_jumps = await _a_run_of_two_hours()
    assert with_jumps == as_ever
    assert _JumpingClock.looks
    assert [end[:2] for end in as_ever["outcomes"]] == [
        ("operation:o2", "lost"),
        ("operation:o3", "lost"),
        ("operation:o1", "succeeded"),
    ]
    assert [end[3] for end in as_ever["outcomes"][:2]] == [3000, 3000]
    assert 7200 <= as_ever["outcomes"][2][3] < 7221
    assert len(as_ever["tokens"]) == 3


class Suspension:
    """Stops the process, as the loop's clock sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        loop = asyncio.get_running_loop()
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self.ahead)

    def __call__(self, seconds: float) -> None:
        self.ahead += seconds


@pytest.fixture
async def suspend(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Suspension]:
    with monkeypatch.context() as patch:
        yield Suspension(patch)


@pytest.mark.unmeasured
async def test_after_an_hour_of_suspension_there_is_no_burst_and_no_job_is_lost(suspend):
    """Airflow's triggerer takes an hour's sleep of its host for the end of its jobs; naive pollers are all due at once."""
    send = Script(lambda _, __, now: DONE if now >= 3000 else BUSY, takes=0.05)
    budget = Budget(rate=50, concurrency=5)
    async with opened(send, budget=budget, settings=TENANT_WITH_TOKENS, cadence=Cadence.constant(10)) as watcher:
        watch = asyncio.create_task(watcher.watch_all([op(number) for number in range(300)]))
        await asyncio.sleep(33)
        in_flight = send.at_once
        suspend(3600)
        outcomes = await watch
    assert {outcome.name for outcome in outcomes.values()} == {"succeeded"}
    after = [moment for moment in send.moments if moment > 3000]
    assert len(after) == 300 - in_flight, "one look each"
    assert after[-1] - after[0] >= (len(after) - 1) / 50 - SPARE - HAIR
    assert most_in_a_second(after) <= 50 * (1 + SPARE) + 1
    assert send.most_at_once <= 5
    assert len(send.tokens) == 2, "the token had run out in the meantime"


async def test_an_hour_of_suspension_while_answers_are_awaited_loses_no_job(suspend):
    """As before, with requests in flight: what they were told is an hour old, or never comes."""
    async with emulator.running(latency=0.5) as zuora:
        jobs = zuora.add_jobs("aqua", 40, ends="completed", seconds=1800)
        async with (
            ZuoraClient(zuora.settings(), Budget(rate=100, concurrency=10), rng=Random(1)) as client,
            JobWatcher(client, cadence=EVERY_SECOND) as watcher,
        ):
            watch = asyncio.create_task(watcher.watch_all([AQUA.handle(job.id) for job in jobs]))
            await asyncio.sleep(10.25)
            assert zuora.in_flight > 0
            suspend(3600)
            outcomes = await watch
        assert {outcome.name for outcome in outcomes.values()} == {"succeeded"}
        assert {outcome.elapsed < 3640 for outcome in outcomes.values()} == {True}
        assert zuora.peak_concurrency <= 20, "those that were given up may still be answered"


async def test_an_hour_of_suspension_in_the_middle_of_an_outage_is_no_hour_of_outage(suspend):
    """As before, in trouble: who wakes up, and finds the network not yet there, has not been trying for an hour."""
    down = ConnectionFailed("the network is down", sent=False)
    send = Script(lambda _, __, now: BUSY if now < 5 else down if now < 3700 else DONE)
    async with opened(send) as watcher:
        watch = asyncio.create_task(watcher.watch(op(1)))
        await asyncio.sleep(40)  # several tries have failed by now
        suspend(3600)
        outcome = await watch
    assert outcome.name == "succeeded"


async def test_a_suspension_ends_a_timeout_that_passed_in_it_as_lost_and_nothing_else(suspend):
    """As before, with a deadline: it is a moment, and the moment has passed."""
    send = Script(lambda *_: BUSY)
    async with opened(send) as watcher:
        watch = asyncio.create_task(watcher.watch_all([op(1)], timeout=1000))
        patient = asyncio.create_task(watcher.watch_all([op(2)], timeout=5000))
        await asyncio.sleep(10.5)
        suspend(3600)
        await turns()
        await asyncio.sleep(0.1)
        assert watch.done()
        assert isinstance(getattr((await watch)[op(1)], "error"), WatchTimedOut)  # noqa: B009 - only a Lost has one
        assert not patient.done()
        assert (await patient)[op(2)].elapsed == pytest.approx(5000, abs=HAIR)
    assert isinstance((await patient)[op(2)], Lost)
