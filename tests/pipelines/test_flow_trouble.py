"""What goes wrong in a pipeline: one item's failure is told and others go on, and nothing hangs or is left behind."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import pytest

from zuora_jobs import WatcherClosed
from zuora_jobs.pipelines import Stage, StageFailed, each, pipeline

pytestmark = pytest.mark.looptime


class Odd(BaseException):
    """What is no Exception."""


async def within(seconds: float, awaitable: Any) -> Any:
    """Give what comes, or fail: a pipeline that hangs must not hang the tests."""
    task = asyncio.ensure_future(awaitable)
    done, _ = await asyncio.wait([task], timeout=seconds)
    assert done, "it hangs"
    return await task


def fail_at(*numbers: int, error: Any = ValueError) -> Any:
    def stage(item: int) -> int:
        if item in numbers:
            raise error(f"at {item}")
        return item

    return stage


# --- one item's failure


def plainly(item: int) -> int:
    raise ValueError(item)


async def async_(item: int) -> int:
    await asyncio.sleep(1)
    raise ValueError(item)


def generator(item: int) -> Iterator[int]:
    yield item
    raise ValueError(item)


async def async_generator(item: int) -> AsyncIterator[int]:
    yield item
    raise ValueError(item)


@pytest.mark.parametrize("stage", [plainly, async_, generator, async_generator], ids=lambda stage: stage.__name__)
async def test_what_is_raised_for_an_item_comes_in_its_place(stage: Any, all_of: Any) -> None:
    results = await all_of(pipeline([1, 2], stage, lambda item: item * 10))
    failures = [result for result in results if isinstance(result, StageFailed)]
    assert [(failed.stage, failed.item, failed.error.args) for failed in failures] == [
        (stage.__name__, 1, (1,)),
        (stage.__name__, 2, (2,)),
    ]
    yielded = [10, 20] if "generator" in stage.__name__ else []
    assert [result for result in results if result not in failures] == yielded


async def test_others_go_on_and_no_later_stage_sees_the_failure(all_of: Any) -> None:
    seen: list[Any] = []

    def note(item: Any) -> Any:
        seen.append(item)
        return item

    results = await all_of(pipeline(range(6), fail_at(1, 4), note, fail_at(2), note))
    assert [getattr(result, "item", result) for result in results] == [0, 1, 2, 3, 4, 5]
    assert [type(result) is StageFailed for result in results] == [False, True, True, False, True, False]
    assert sorted(seen) == [0, 0, 2, 3, 3, 5, 5]


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration, TimeoutError, KeyError, ExceptionGroup])
async def test_any_exception_is_the_items_failure(error: Any, all_of: Any) -> None:
    def stage(item: int) -> int:
        if item == 1:
            raise ExceptionGroup("some", [ValueError()]) if error is ExceptionGroup else error("at 1")
        return item

    first, failed, last = await within(10, all_of(pipeline([0, 1, 2], stage)))
    assert (first, failed.item, last) == (0, 1, 2)


async def test_every_item_may_fail_and_the_end_comes_all_the_same(all_of: Any) -> None:
    results = await within(10, all_of(pipeline(range(50), each(plainly, concurrency=7))))
    assert sorted(result.item for result in results) == list(range(50))


async def test_a_stage_that_is_cancelled_from_within_fails_and_others_go_on(all_of: Any) -> None:
    async def stage(item: int) -> int:
        if item == 1:
            raise asyncio.CancelledError
        return item

    first, failed, last = await within(10, all_of(pipeline([0, 1, 2], stage)))
    assert (first, failed.item, last) == (0, 1, 2)
    assert "cancelled from within" in str(failed.error)
    assert isinstance(failed.error.__cause__, asyncio.CancelledError)


# --- what is about more than one item


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("endless", [False, True])
async def test_what_is_no_exception_is_raised_to_the_reader(endless: bool, concurrency: int) -> None:
    source: Any = count() if endless else range(20)
    read: list[Any] = []
    with pytest.raises(Odd):
        async with pipeline(source, each(fail_at(5, error=Odd), concurrency=concurrency), lambda item: item) as results:
            while True:
                read.append(await within(10, anext(results)))
    assert read[:4] == [0, 1, 2, 3]
    assert 5 not in read


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
async def test_so_are_those_that_end_programs(error: Any) -> None:
    with pytest.raises(error):
        async with pipeline(count(), fail_at(2, error=error)) as results:
            async for _ in results:
                pass


@pytest.mark.parametrize("error", [ValueError, Odd, asyncio.CancelledError])
@pytest.mark.parametrize("is_async", [False, True], ids=["iterable", "async"])
async def test_a_source_that_fails_is_told_after_all_that_came_before(error: Any, is_async: bool) -> None:
    def items() -> Iterator[int]:
        yield from (1, 2, 3)
        raise error("no more")

    async def items_async() -> AsyncIterator[int]:
        for item in (1, 2, 3):
            yield item
        raise error("no more")

    read: list[Any] = []

    async def go() -> None:
        async with pipeline(items_async() if is_async else items(), lambda item: item * 10) as results:
            async for result in results:
                read.append(result)

    going = asyncio.ensure_future(go())
    done, _ = await asyncio.wait([going], timeout=10)
    assert done, "it hangs"
    with pytest.raises(error):
        await going
    assert read == [10, 20, 30]


async def test_a_source_that_fails_at_once_is_told(all_of: Any) -> None:
    def items() -> Iterator[int]:
        raise ValueError("nothing at all")
        yield

    with pytest.raises(ValueError, match="nothing at all"):
        await within(10, all_of(pipeline(items(), lambda item: item)))


async def test_what_the_reader_raises_passes_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with pipeline(count()) as results:
            async for result in results:
                1 / result


# --- opening


class Door:
    """A stage's door, which notes when it is opened and closed."""

    def __init__(self, name: str, noted: list[str], error: Exception | None = None) -> None:
        self.name = name
        self.noted = noted
        self.error = error

    @asynccontextmanager
    async def open(self, _: Any) -> AsyncIterator[Any]:
        if self.error is not None:
            raise self.error
        self.noted.append(f"{self.name} opened")
        try:
            yield lambda item: item
        finally:
            self.noted.append(f"{self.name} closed")


def doors(noted: list[str], broken: bool = False) -> list[Stage]:
    error = ValueError("jammed") if broken else None
    return [Stage("a", Door("a", noted).open), Stage("b", Door("b", noted, error).open)]


async def test_stages_are_opened_in_their_order_and_closed_when_it_is_over(all_of: Any) -> None:
    noted: list[str] = []
    assert await all_of(pipeline([1], *doors(noted))) == [1]
    assert noted == ["a opened", "b opened", "b closed", "a closed"]


async def test_a_stage_that_cannot_be_opened_is_told_and_what_was_opened_is_closed(all_of: Any) -> None:
    noted: list[str] = []

    @asynccontextmanager
    async def source() -> AsyncIterator[Any]:
        noted.append("source opened")
        try:
            yield generated_async([])
        finally:
            noted.append("source closed")

    with pytest.raises(ValueError, match="jammed"):
        await all_of(pipeline(source(), *doors(noted, broken=True)))
    assert noted == ["source opened", "a opened", "a closed", "source closed"]


# --- leaving


async def test_leaving_early_stops_everything_and_closes_the_stages() -> None:
    noted: list[str] = []
    at_work: list[int] = []

    async def work(item: int) -> int:
        at_work.append(item)
        try:
            await asyncio.sleep(5)
        finally:
            at_work.remove(item)
        return item

    async with pipeline(count(), each(work, concurrency=4), *doors(noted)) as results:
        await anext(results)
        await asyncio.sleep(1)
        assert len(at_work) > 1
    assert at_work == []
    assert noted[-2:] == ["b closed", "a closed"]
    assert asyncio.get_running_loop().time() == 6


class Closing:
    """Gives 0, 1, 2 … and notes that it was closed."""

    def __init__(self, closed: list[str]) -> None:
        self.closed = closed
        self.number = 0

    def __aiter__(self) -> "Closing":
        return self

    async def __anext__(self) -> int:
        self.number += 1
        return self.number

    async def aclose(self) -> None:
        self.closed.append("closed")


def generated(closed: list[str]) -> Iterator[int]:
    try:
        yield from count()
    finally:
        closed.append("closed")


async def generated_async(closed: list[str]) -> AsyncIterator[int]:
    try:
        for number in count():
            yield number
    finally:
        await asyncio.sleep(1)
        closed.append("closed")


@asynccontextmanager
async def entered(closed: list[str]) -> AsyncIterator[Any]:
    async def items() -> AsyncIterator[int]:
        for number in count():
            yield number

    try:
        yield items()
    finally:
        closed.append("closed")


@pytest.mark.parametrize("make", [generated, generated_async, entered, Closing], ids=lambda make: make.__name__)
@pytest.mark.parametrize("how", ["at once", "in the middle", "by an error", "by cancellation"])
async def test_the_source_is_closed_when_the_block_is_left(make: Any, how: str) -> None:
    closed: list[str] = []

    async def go() -> None:
        async with pipeline(make(closed), lambda item: item) as results:
            await asyncio.sleep(0.1)
            assert closed == []
            if how == "at once":
                return
            await anext(results)
            if how == "by an error":
                raise ZeroDivisionError
            if how == "by cancellation":
                await asyncio.sleep(1000)

    going = asyncio.create_task(go())
    await asyncio.sleep(0.5)
    if how == "by cancellation":
        going.cancel()
    with suppress(ZeroDivisionError, asyncio.CancelledError):
        await within(10, going)
    assert closed == ["closed"]


async def stubborn(item: int) -> int:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(100)
    return item


async def stubborn_and_silent(_: int) -> AsyncIterator[int]:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(100)
    for number in range(0):
        yield number


async def stubborn_and_cross(item: int) -> int:
    try:
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        raise ValueError(item) from None
    return item


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param(stubborn, id="goes on"),
        pytest.param(stubborn_and_cross, id="fails"),
        pytest.param(stubborn_and_silent, id="hands nothing on"),
    ],
)
@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_stage_that_takes_no_notice_of_its_cancellation_does_not_hold_up_who_leaves(
    stage: Any, concurrency: int
) -> None:
    async def go() -> None:
        async with pipeline(count(), each(stage, concurrency=concurrency), lambda item: item):
            await asyncio.sleep(1)

    going = asyncio.create_task(go())
    done, _ = await asyncio.wait([going], timeout=1000)
    hangs = not done
    for task in asyncio.all_tasks() if hangs else ():
        if "pipeline" in task.get_name():  # so that it is this test that fails, and no other hangs
            for _ in range(20):
                task.cancel()
                await asyncio.sleep(0)
    assert not hangs
    assert asyncio.get_running_loop().time() == 1


async def test_cancelling_the_reader_stops_everything() -> None:
    at_work = 0

    async def work(item: int) -> int:
        nonlocal at_work
        at_work += 1
        try:
            await asyncio.sleep(100)
        finally:
            at_work -= 1
        return item

    async def read() -> None:
        async with pipeline(count(), each(work, concurrency=3)) as results:
            async for _ in results:
                pass

    reading = asyncio.create_task(read())
    await asyncio.sleep(50)
    assert at_work == 3
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(10, reading)
    assert at_work == 0


async def test_a_reader_that_runs_out_of_time_may_go_on_reading() -> None:
    async def slow(item: int) -> int:
        await asyncio.sleep(10)
        return item

    async with pipeline(range(3), slow) as results:
        first = asyncio.ensure_future(anext(results))
        await asyncio.wait([first], timeout=1)
        assert not first.done()
        assert await first == 0
        assert [item async for item in results] == [1, 2]


async def test_after_the_end_there_is_nothing_more(all_of: Any) -> None:
    async with pipeline([1], lambda item: item) as results:
        assert [item async for item in results] == [1]
        assert await within(1, anext(results, "nothing")) == "nothing"


@pytest.mark.parametrize("read", [0, 1, 3])
async def test_who_reads_on_after_the_block_is_told_so(read: int) -> None:
    async with pipeline(range(100), lambda item: item) as results:
        for _ in range(read):
            await anext(results)
    with pytest.raises(WatcherClosed, match="read its results inside"):
        await within(10, anext(results))


async def test_two_who_wait_for_one_pipeline_that_is_left_are_both_told() -> None:
    async def never(item: int) -> int:
        await asyncio.sleep(10_000)
        return item

    async with pipeline(count(), never) as results:
        waiting = asyncio.ensure_future(anext(results))
        await asyncio.sleep(1)
    with pytest.raises(WatcherClosed):
        await within(10, waiting)
