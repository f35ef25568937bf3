"""Hostile answers: whatever a server sends about one job, it costs that job's watch, and no other's, and an end of it.

Bodies without end, bombs, nonsense and silence strike one job for ever, or for a while, next to twenty that go their way.
Time is virtual; sockets, bytes and the memory that they take are real.
"""

import asyncio
import gc
import json
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

import pytest
from attrs import frozen

from zuora_jobs import AQUA, OPERATION, Budget, Cadence, Finished, JobWatcher, Lost, Outcome, ZuoraClient, emulator
from zuora_jobs.emulator import Answer, Bomb, EndlessHeaders, Fault, Flood
from zuora_jobs.errors import ConnectionFailed, MalformedResponse, ResponseTimeout, ZuoraJobsError
from zuora_jobs.protocol.messages import QUICK, Request, Response
from zuora_jobs.settings import Settings
from zuora_jobs.transport.bodies import LARGEST
from zuora_jobs.watching.events import LostContact, Retrying

pytestmark = pytest.mark.looptime

EVERY_SECOND = Cadence.constant(1)
UNLIMITED = Budget(rate=1e6, concurrency=20)
LONGEST_PAUSE = 20.0
"""Seconds between two tries of one look: `Patience.longest`."""
MIB = 1 << 20
NEIGHBOURS = [*range(10, 28), 120, 150]
"""Seconds that they take: some end while the sick job is sick, and some outlast it."""


@frozen
class Run:
    """One sick job and its neighbours, watched to their ends."""

    sick: Outcome[Any]
    neighbours: list[tuple[str, str, int, float]]
    looks: list[tuple[str, float]]  # which neighbour was looked at, and when
    told: list[Any]
    struck: int
    began: list[float]  # when the sick job was looked at
    ended: list[float]  # when the looks that told nothing of it were over


async def run(effect: Any = None, *, lasts: float | None = None, contact_timeout: float = 60.0) -> Run:
    told: list[Any] = []
    ended: list[float] = []
    loop = asyncio.get_running_loop()
    async with emulator.running(rate_limits=()) as zuora:
        jobs = [zuora.add_job("aqua", ends="completed", seconds=seconds) for seconds in NEIGHBOURS]
        handle = AQUA.handle(zuora.add_job("aqua", ends="completed", seconds=15).id)
        began_at = loop.time()

        def observe(event: Any) -> None:
            told.append(event)
            lost = isinstance(event, Finished) and event.handle == handle and isinstance(event.outcome, Lost)
            if isinstance(event, Retrying) or lost:
                ended.append(round(loop.time() - began_at, 3))

        fault = zuora.fault(Fault(effect, path=handle.id, lasts=lasts)) if effect is not None else None
        async with (
            ZuoraClient(zuora.settings(), UNLIMITED, rng=Random(1)) as client,
            JobWatcher(client, cadence=EVERY_SECOND, observers=[observe], contact_timeout=contact_timeout) as watcher,
        ):
            outcomes = await watcher.watch_all([handle, *(AQUA.handle(job.id) for job in jobs)])
            assert client.limiter.gate.in_flight == 0
        sick = outcomes.pop(handle)
        looks = [(record.path, round(record.at - began_at, 3)) for record in zuora.requests if "jobs" in record.path]
    return Run(
        sick,
        [(str(name), end.name, end.polls, round(end.elapsed, 3)) for name, end in outcomes.items()],
        sorted(look for look in looks if not look[0].endswith(handle.id)),
        told,
        fault.struck if fault is not None else 0,
        [at for path, at in looks if path.endswith(handle.id)],
        ended,
    )


_calm: list[Run] = []


async def calm_run() -> Run:
    """The same without trouble. It is always the same, so once is enough."""
    if not _calm:
        _calm.append(await run())
        assert len(_calm[0].looks) == sum(NEIGHBOURS) + 20
        assert _calm[0].sick.elapsed == pytest.approx(15, abs=1e-3)
    return _calm[0]


HOSTILE: dict[str, tuple[Any, type[ZuoraJobsError], str]] = {
    "bomb": ("bomb", MalformedResponse, f"more than {LARGEST} bytes"),
    "oversized": ("oversized", MalformedResponse, f"more than {LARGEST} bytes"),
    "a-byte-too-many": (Flood(LARGEST + 1), MalformedResponse, f"more than {LARGEST} bytes"),
    "the-most-that-is-read": (Flood(LARGEST), MalformedResponse, "status"),
    "deep": ("deep", MalformedResponse, "nested too deeply"),
    "nan": ("nan", MalformedResponse, "is not JSON"),
    "duplicate-keys": ("duplicate-keys", MalformedResponse, "has a field twice"),
    "invalid-utf8": ("invalid-utf8", MalformedResponse, "is not JSON"),
    "not-gzip": ("not-gzip", MalformedResponse, "not compressed as it says"),
    "no-status": ("no-status", MalformedResponse, "$.status"),
    "empty": ("empty", MalformedResponse, "an empty body"),
    "endless-headers": ("endless-headers", ConnectionFailed, "the connection failed"),
    "reset": ("reset", ConnectionFailed, "reset"),
    "dropped": ("dropped", ConnectionFailed, "the connection failed"),
    "truncated": ("truncated", ConnectionFailed, "the connection failed"),
    "trickle": ("trickle", ResponseTimeout, f"no whole answer within {QUICK:g} s"),
    "hang": ("hang", ResponseTimeout, f"no whole answer within {QUICK:g} s"),
}
SLOW = {"trickle", "hang"}


def check_looks(name: str, one: Run) -> None:
    """A look at the sick job ends within its time, and one is over before the next begins."""
    begins = sorted(set(one.began))  # aiohttp itself asks once more, at once, where a connection breaks
    took = [round(end - begin, 3) for begin, end in zip(begins, one.ended, strict=False)]
    assert len(one.ended) > 1
    if name in SLOW:
        assert set(took) == {QUICK}
    else:
        assert max(took) < 1
    assert all(end <= begin for end, begin in zip(one.ended, begins[1:], strict=False))


@pytest.mark.unmeasured
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_answer_that_ends_is_ridden_out_and_its_neighbours_notice_nothing(name):
    effect, error, _ = HOSTILE[name]
    calm, stormy = await calm_run(), await run(effect, lasts=40)
    assert stormy.neighbours == calm.neighbours, "they end when they would have ended, after as many looks"
    assert stormy.looks == calm.looks, "and each look is in its place"
    assert stormy.sick.name == "succeeded"
    assert 40 <= stormy.sick.elapsed <= 40 + QUICK + LONGEST_PAUSE
    assert stormy.sick.polls == 1, "none of the answers before was believed"
    assert stormy.struck > 1
    assert {type(event.error) for event in stormy.told if isinstance(event, Retrying)} == {error}
    last = max(
        number
        for number, event in enumerate(stormy.told)
        if isinstance(event, Finished) and event.handle != stormy.sick.handle
    )
    assert not [event for event in stormy.told[:last] if isinstance(event, LostContact)], "others were answered"
    check_looks(name, stormy)


@pytest.mark.unmeasured
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_answer_without_end_loses_its_job_alone_and_says_why(name):
    effect, error, words = HOSTILE[name]
    calm, stormy = await calm_run(), await run(effect, contact_timeout=30)
    assert stormy.neighbours == calm.neighbours
    assert stormy.looks == calm.looks
    assert isinstance(stormy.sick, Lost)
    assert type(stormy.sick.error) is error
    assert words in str(stormy.sick.error)
    assert len(str(stormy.sick.error)) < 1000
    assert (stormy.sick.job, stormy.sick.polls) == (None, 0)
    assert 30 <= stormy.sick.elapsed <= 3 * QUICK + 2 * LONGEST_PAUSE < NEIGHBOURS[-1]
    assert [event.handle for event in stormy.told if isinstance(event, Finished)].count(stormy.sick.handle) == 1
    check_looks(name, stormy)


async def test_a_wrong_content_type_is_no_reason_to_disbelieve_a_document():
    calm, odd = await calm_run(), await run("wrong-type")
    assert odd.struck == 16
    assert (odd.sick.name, odd.sick.polls, round(odd.sick.elapsed, 3)) == ("succeeded", 16, 15.0)
    assert (odd.neighbours, odd.looks) == (calm.neighbours, calm.looks)


# --- memory, and the loop's time


async def cost_of(effect: Any, *, jobs: int = 1, at_once: int = 1) -> tuple[int, float, list[Outcome[Any]]]:
    """Bytes that looks at *jobs*, each struck by *effect*, take at most, and the longest turn of the loop among them."""
    longest = 0.0
    turn = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        nonlocal longest
        began = time.thread_time()  # which others on this machine do not add to
        turn(handle)
        longest = max(longest, time.thread_time() - began)

    async with emulator.running(rate_limits=()) as zuora:
        handles = [AQUA.handle(job.id) for job in zuora.add_jobs("aqua", jobs, ends="completed", seconds=1000)]
        async with (
            ZuoraClient(zuora.settings(), Budget(rate=1e6, concurrency=at_once), rng=Random(1)) as client,
            JobWatcher(client, cadence=EVERY_SECOND, contact_timeout=10) as watcher,
        ):
            await watcher.watch(handles[0], timeout=3)  # whatever is made once is made
            fault = zuora.fault(Fault(effect, path="jobs"))
            gc.collect()
            gc.disable()  # whatever is left to it may stay for as long as it likes
            tracemalloc.start()
            try:
                outcomes = await watcher.watch_all(handles, timeout=20)
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(asyncio.Handle, "_run", timed)
                    await watcher.watch(handles[0], timeout=0.5)
            finally:
                tracemalloc.stop()
                gc.enable()
        assert fault.struck >= 2
    return peak, longest, list(outcomes.values())


@pytest.mark.parametrize("effect", [Bomb(), Flood(), EndlessHeaders()], ids=["bomb", "flood", "headers"])
async def test_reading_takes_no_more_memory_than_the_largest_answer_for_each_request_under_way(effect):
    peak, _, outcomes = await cost_of(effect, jobs=9, at_once=3)
    assert {outcome.name for outcome in outcomes} == {"lost"}
    assert peak < (3 + 1) * LARGEST + 2 * MIB, "each has read so much at most, and one is being put together"


async def test_the_largest_answer_that_is_read_leaves_nothing_behind_when_it_makes_no_sense():
    """In pieces, as one, as text and as a value: four times as much for a moment, whatever came before it."""
    peak, _, outcomes = await cost_of(Flood(LARGEST))
    assert isinstance(outcomes[0], Lost)
    assert peak < 4 * LARGEST + 2 * MIB


NO = b'{"success": false, "reasons": [{"code": 50000090, "message": "%s"}]}'
COSTLY: dict[str, tuple[bytes, int]] = {
    "questions": (NO % (b"?" * 20_000), 400),
    "blanks": (NO % (b" " * 20_000), 400),
    "titles": (b"<title" * 4_000, 502),
    "reasons": (b'{"success": false, "reasons": [' + b"{}," * (MIB // 24) + b"{}]}", 200),
    "a-status": (b'{"status": "%s"}' % (b"x" * MIB), 200),
    "fields": (b'{"status": "executing"' + b"".join(b', "%d": 0' % n for n in range(10_000)) + b"}", 200),
}


@pytest.mark.unmeasured
@pytest.mark.parametrize(("body", "status"), COSTLY.values(), ids=COSTLY.keys())
async def test_no_answer_however_it_is_made_holds_up_the_loop_or_swells(body, status, caplog):
    """An empty object takes three bytes on the wire and 72 in memory; what is made of it may take as much again."""
    peak, longest, _ = await cost_of(Answer(status, body, content_type="application/json"))
    assert longest < asyncio.get_running_loop().slow_callback_duration
    assert peak < 48 * len(body) + MIB
    assert max((len(record.getMessage()) for record in caplog.records), default=0) < 2000


# --- hostile headers


@asynccontextmanager
async def server_saying(sick: dict[str, str], ends: dict[str, float]) -> AsyncIterator[str]:
    """A server of operation jobs that end at the moments of *ends*; answers about the job `sick` bear headers more."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    lines = "".join(f"{name}: {value}\r\n" for name, value in sick.items()).encode("latin-1")
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(ConnectionError):
            while request := await reader.read(10_000):  # all of it, and nobody sends another before the answer
                name = request.split(b" ", 2)[1].rpartition(b"/")[2].decode()
                status = "Completed" if loop.time() - began >= ends[name] - 1e-3 else "Processing"
                body = json.dumps({"id": name, "status": status}).encode()
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(body)
                writer.write(head + (lines if name == "sick" else b"") + b"\r\n" + body)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.1)


async def run_with(headers: dict[str, str], **options: Any) -> tuple[dict[str, tuple[str, float]], Any, ZuoraClient]:
    ends = {"sick": 15.0, **{f"o{number}": 10.0 + number for number in range(20)}}
    async with (
        server_saying(headers, ends) as url,
        ZuoraClient(Settings(base_url=url, access_token="none"), UNLIMITED, rng=Random(1)) as client,
        JobWatcher(client, cadence=EVERY_SECOND, **options) as watcher,
    ):
        outcomes = await watcher.watch_all([OPERATION.handle(name) for name in ends], timeout=90_000)
    told = {handle.id: (outcome.name, round(outcome.elapsed, 3)) for handle, outcome in outcomes.items()}
    return told, getattr(outcomes[OPERATION.handle("sick")], "error", None), client


WINDOWS = ", ".join(f"{10**9 + number};w={number}" for number in range(1, 400))
HEADERS: dict[str, dict[str, str]] = {
    "windows": {"RateLimit-Limit": WINDOWS, "RateLimit-Remaining": "1000000000", "RateLimit-Reset": "1"},
    "negative": {"RateLimit-Limit": "-5;w=-3", "RateLimit-Remaining": "-1", "Concurrency-Limit-Limit": "-1"},
    "nan": dict.fromkeys(("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"), "nan"),
    "infinite": {"RateLimit-Limit": "inf;w=60, 5;w=inf", "RateLimit-Remaining": "inf", "RateLimit-Reset": "inf"},
    "huge": {"RateLimit-Limit": "1e308;w=1e-300", "RateLimit-Remaining": "1e308", "RateLimit-Reset": "1e308"},
    "digits": {"RateLimit-Limit": "9" * 8000, "RateLimit-Remaining": "9" * 8000, "Concurrency-Limit-Limit": "9" * 8000},
    "no-ascii": {"RateLimit-Limit": "\xb9\xb2;w=\xb3", "RateLimit-Reset": "\xbd", "Zuora-Request-Id": "\xe9" * 500},
    "a-date-for-a-span": {"RateLimit-Limit": "100", "RateLimit-Remaining": "99", "RateLimit-Reset": "1790000000"},
    "a-date-and-none-left": {"RateLimit-Limit": "99", "RateLimit-Remaining": "0", "RateLimit-Reset": "1790000000"},
    "windows-of-ages": {"RateLimit-Limit": "1;w=1e300, 10;w=31536000"},
    "a-year": {"RateLimit-Limit": "9;w=31536000", "RateLimit-Remaining": "0", "RateLimit-Reset": "31536000"},
}


@pytest.mark.unmeasured
@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS.keys())
async def test_headers_that_make_no_sense_change_nothing_for_anybody(headers):
    """Zuora has no window longer than a day: what speaks of one must not stop everybody for ever."""
    told, _, client = await run_with(headers)
    assert told == {"sick": ("succeeded", 15.0), **{f"o{n}": ("succeeded", 10.0 + n) for n in range(20)}}
    assert client.limiter.held_seconds == 0
    assert len(client.limiter.gate.quota._accounts) <= 9, "of thousands of windows a few are kept"


@pytest.mark.parametrize(
    "headers",
    [{"X-Filler": "x" * 100_000}, {f"X-Filler-{number}": "x" * 1000 for number in range(1000)}],
    ids=["one-of-100-kB", "a-thousand"],
)
async def test_headers_that_are_too_large_lose_their_job_alone(headers):
    told, error, _ = await run_with(headers, contact_timeout=20)
    (end, elapsed) = told.pop("sick")
    assert (end, type(error)) == ("lost", ConnectionFailed)
    assert 20 <= elapsed < 20 + 2 * LONGEST_PAUSE
    assert "filler" not in str(error).lower()
    assert told == {f"o{number}": ("succeeded", 10.0 + number) for number in range(20)}


async def test_a_refusal_of_the_token_that_another_answer_contradicts_loses_nobody_else():
    """Two first looks: the one is refused, new token and all; the other takes its time, and is accepted."""
    loop = asyncio.get_running_loop()

    async def send(request: Request) -> Response:
        if request.path == "/oauth/token":
            return Response(200, {}, b'{"access_token": "none", "token_type": "bearer", "expires_in": 3600}')
        if request.path.endswith("sick"):
            return Response(401, {}, b'{"message": "Authentication error"}')
        await asyncio.sleep(5)
        return Response(200, {}, b'{"status": "%s"}' % (b"Completed" if loop.time() > 20 else b"Pending"))

    tenant = Settings(base_url="https://rest.example.com", client_id="us", client_secret="not-a-secret")
    async with ZuoraClient(tenant, send=send) as client, JobWatcher(client, cadence=EVERY_SECOND) as watcher:
        well = asyncio.create_task(watcher.watch(OPERATION.handle("well")))
        await asyncio.sleep(1)
        assert (await watcher.watch(OPERATION.handle("sick"))).name == "lost"
        assert (await well).name == "succeeded"
