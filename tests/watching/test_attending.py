"""Observers that attend a watcher: whose events they are told, that every watch has a beginning and one end, and looks."""

import asyncio
from collections import Counter
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from zuora_jobs import (
    AQUA,
    OPERATION,
    Finished,
    JobHandle,
    JobWatcher,
    Journal,
    JournalInUse,
    WatchBegan,
    WatcherClosed,
    WatchLeft,
    ZuoraClient,
)

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")


def handle_of(job):
    return JobHandle.parse(job.handle)


class Attends:
    """Takes down what each watcher tells."""

    def __init__(self):
        self.told = {}
        self.left = []

    @contextmanager
    def attend(self, watcher):
        told = self.told[watcher] = []
        yield told.append
        self.left.append(watcher)  # whatever ended the watcher is not thrown in here


@pytest.mark.looptime
async def test_each_watcher_is_attended_by_itself_from_before_it_opens_until_all_is_told(zuora, watching):
    attendant = Attends()
    jobs = [handle_of(zuora.add_job("aqua", ends="completed", seconds=2)) for _ in range(2)]
    open_job = handle_of(zuora.add_job("aqua", ends="completed", seconds=100))
    async with watching(zuora, observers=[attendant]) as one, watching(zuora, observers=[attendant]) as two:
        await asyncio.gather(one.watch(jobs[0]), two.watch(jobs[1]))
        left_open = asyncio.create_task(two.watch(open_job))
        await asyncio.sleep(2)
    with pytest.raises(WatcherClosed):
        await left_open
    assert {event.handle for event in attendant.told[one]} == {jobs[0]}
    assert {event.handle for event in attendant.told[two]} == {jobs[1], open_job}
    assert isinstance(attendant.told[two][-1], WatchLeft)
    assert attendant.left == [two, one]


@pytest.mark.looptime
async def test_it_is_left_whatever_ends_the_watcher(zuora, watching):
    attendant = Attends()
    with pytest.raises(ZeroDivisionError):
        async with watching(zuora, observers=[attendant]):
            raise ZeroDivisionError
    entered = asyncio.Event()

    async def work():
        async with watching(zuora, observers=[attendant], cancel_remote=True) as watcher:
            entered.set()
            await watcher.watch(handle_of(zuora.add_job("aqua", ends="completed", seconds=100)))

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    await asyncio.wait([task])
    assert len(attendant.left) == 2


async def test_it_is_left_where_the_watcher_does_not_open(zuora, watching, tmp_path):
    attendant = Attends()
    journal = Journal.open(tmp_path / "run.db")
    async with watching(zuora, journal=journal) as first:
        second = JobWatcher(first.client, journal=journal, observers=[attendant, attendant])
        with pytest.raises(JournalInUse):
            await second.__aenter__()
    assert attendant.left == [second, second]


@pytest.mark.looptime
async def test_one_that_fails_when_it_is_left_is_logged_and_the_others_are_left_too(zuora, watching, caplog):
    class Fails(Attends):
        @contextmanager
        def attend(self, watcher):
            yield print
            raise ZeroDivisionError

    attendant = Attends()
    async with watching(zuora, observers=[attendant, Fails(), attendant]):
        pass
    assert len(attendant.left) == 2
    assert "an observer failed when its watcher was closed" in caplog.text


# --- beginnings and ends


def balance(told):
    """How many watches of each job are open after all that was told, which is never fewer than none."""
    open_ones: Counter[JobHandle[Any]] = Counter()
    for event in told:
        if isinstance(event, WatchBegan):
            open_ones[event.handle] += 1
        elif isinstance(event, Finished | WatchLeft):
            open_ones[event.handle] -= 1
            assert open_ones[event.handle] >= 0, event
    return {handle: number for handle, number in open_ones.items() if number}


@pytest.mark.looptime
async def test_every_watch_begins_once_and_ends_once(zuora, watching):
    told: list[Any] = []
    short = [handle_of(zuora.add_job("operation", ends="Completed", seconds=3)) for _ in range(3)]
    long = [handle_of(zuora.add_job("aqua", ends="completed", seconds=100)) for _ in range(4)]
    async with watching(zuora, observers=[told.append]) as watcher:
        watches = [
            asyncio.create_task(watcher.watch_all(short)),
            asyncio.create_task(watcher.watch_all(short[:2])),
            asyncio.create_task(watcher.watch(long[0])),
            asyncio.create_task(watcher.watch(long[0], timeout=2)),
            asyncio.create_task(watcher.watch(long[1], timeout=2)),
            asyncio.create_task(watcher.watch(long[2])),
            asyncio.create_task(watcher.watch(long[3])),
            asyncio.create_task(watcher.watch(OPERATION.handle("nobody"))),
        ]
        await asyncio.sleep(5.5)
        watches[2].cancel()
        assert balance(told) == {long[0]: 1, long[2]: 1, long[3]: 1}
        await watcher.cancel(long[2])
        await watches[5]
        assert balance(told) == {long[3]: 1}
    await asyncio.gather(*watches, return_exceptions=True)
    assert balance(told) == {}
    counts = Counter(event.name for event in told)
    assert counts["watch_began"] == 8
    assert counts["watch_left"] == 2
    (left,) = (event for event in told if isinstance(event, WatchLeft) and event.handle == long[0])
    assert left.polls == 6


@pytest.mark.looptime
async def test_who_leaves_before_anything_was_sent_has_begun_and_left(zuora, watching):
    told: list[Any] = []
    began = asyncio.Event()
    async with watching(zuora, observers=[told.append, lambda _: began.set()]) as watcher:
        watch = asyncio.create_task(watcher.watch(AQUA.handle("j1")))
        await began.wait()
        watch.cancel()
        await asyncio.wait([watch])
    assert [event.name for event in told] == ["watch_began", "watch_left"]


@pytest.mark.looptime
async def test_a_beginning_is_told_in_the_context_of_who_asked(zuora, watching):
    seen = {}

    def observe(event):
        if isinstance(event, WatchBegan):
            seen[event.handle] = WHO.get()

    async def ask(name, watcher, *handles):
        WHO.set(name)
        async with watcher.stream(handles) as events:
            async for _ in events:
                pass

    one, two, three = (handle_of(zuora.add_job("aqua", ends="completed", seconds=3)) for _ in range(3))
    async with watching(zuora, observers=[observe]) as watcher:
        await asyncio.gather(ask("a", watcher, one), ask("b", watcher, one, two), ask("c", watcher, three))
    assert seen == {one: "a", two: "b", three: "c"}


# --- looks


class Accompanies:
    """Is there during each look, in the task that looks."""

    def __init__(self):
        self.now = []

    def __call__(self, event):
        pass

    @contextmanager
    def looking(self, handle):
        token = WHO.set(str(handle))
        yield
        WHO.reset(token)
        self.now.append(handle)


@pytest.mark.looptime
async def test_an_observer_may_be_there_during_each_look(local, script):
    seen = []
    plain = script(
        [{"id": "x", "status": "Processing", "success": True}] * 2
        + [{"id": "x", "status": "Completed", "success": True}]
    )

    async def send(request):
        seen.append((request.path.rsplit("/", 1)[1], WHO.get()))
        return await plain(request)

    companion = Accompanies()
    handles = [OPERATION.handle(name) for name in "abc"]
    async with ZuoraClient(local, send=send) as client, JobWatcher(client, observers=[companion]) as watcher:
        await watcher.watch_all(handles)
    assert len(seen) == 9
    assert {who == f"operation:{name}" for name, who in seen} == {True}
    assert Counter(companion.now) == dict.fromkeys(handles, 3)


@pytest.mark.looptime
@pytest.mark.parametrize("when", ["asked", "entered", "left"])
async def test_one_that_fails_around_a_look_is_logged_and_hurts_nobody(when, local, script, caplog):
    class Fails(Accompanies):
        @contextmanager
        def looking(self, handle):
            if when == "entered":
                raise ZeroDivisionError(handle)
            yield
            if when == "left":
                raise ZeroDivisionError(handle)

    class FailsAtOnce(Accompanies):
        def looking(self, handle):
            raise ZeroDivisionError(handle)

    other = Accompanies()
    observers = [FailsAtOnce() if when == "asked" else Fails(), other]
    async with ZuoraClient(local, send=script()) as client, JobWatcher(client, observers=observers) as watcher:
        assert (await watcher.watch(OPERATION.handle("a"))).name == "succeeded"
    assert other.now == [OPERATION.handle("a")]
    assert "an observer failed on a look" in caplog.text
