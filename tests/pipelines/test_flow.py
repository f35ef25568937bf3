"""Items flowing through stages: bounded at every joint, in order, however the stages are written."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import pytest
from attrs import define

from zuora_jobs import ConfigurationError
from zuora_jobs.pipelines import Stage, StageFailed, each, pipeline

pytestmark = pytest.mark.looptime


@define
class Endless:
    """Gives 0, 1, 2 … and counts how many were taken."""

    taken: int = 0

    def __iter__(self) -> Iterator[int]:
        for number in count():
            self.taken += 1
            yield number

    async def items(self) -> AsyncIterator[int]:
        for number in self:
            yield number


async def wait_a_second(item: Any) -> Any:
    await asyncio.sleep(1)
    return item


# --- what a stage may be


def plain(item: int) -> int:
    return item * 10


async def in_async(item: int) -> int:
    await asyncio.sleep(0)
    return item * 10


def generator(item: int) -> Iterator[int]:
    yield item * 10


async def async_generator(item: int) -> AsyncIterator[int]:
    await asyncio.sleep(0)
    yield item * 10


class Callee:
    def __call__(self, item: int) -> int:
        return item * 10


@pytest.mark.parametrize(
    "stage",
    [plain, in_async, generator, async_generator, Callee(), partial(lambda factor, item: factor * item, 10), each(plain)],
    ids=lambda stage: getattr(stage, "__name__", type(stage).__name__),
)  # fmt: skip
async def test_a_stage_may_be_written_in_any_way(stage: Any, all_of: Any) -> None:
    assert await all_of(pipeline([1, 2, 3], stage)) == [10, 20, 30]


async def test_a_class_is_a_stage_that_makes_one_of_each_item(all_of: Any) -> None:
    assert await all_of(pipeline(["1", "2"], int, float)) == [1.0, 2.0]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_generator_passes_on_none_one_or_many(is_async: bool, all_of: Any) -> None:
    def as_many(item: int) -> Iterator[int]:
        yield from [item] * item

    async def as_many_async(item: int) -> AsyncIterator[int]:
        for one in as_many(item):
            yield one

    assert await all_of(pipeline([0, 1, 3, 0], as_many_async if is_async else as_many, plain)) == [10, 30, 30, 30]


@pytest.mark.parametrize("item", [None, False, 0, "", (), b"", Ellipsis, [1, 2], {"a": 1}], ids=repr)
async def test_whatever_is_returned_goes_on_as_it_is(item: Any, all_of: Any) -> None:
    assert await all_of(pipeline([1], lambda _: item)) == [item]


async def test_an_awaitable_that_gives_a_generator_is_gone_through(all_of: Any) -> None:
    async def two(item: int) -> Iterator[int]:
        return iter_of(item)

    def iter_of(item: int) -> Iterator[int]:
        yield item
        yield item

    assert await all_of(pipeline([1, 2], two)) == [1, 1, 2, 2]


async def test_without_stages_it_is_its_source(all_of: Any) -> None:
    assert await all_of(pipeline(range(5))) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("source", [[], (), {}, iter([]), range(0)], ids=lambda source: type(source).__name__)
async def test_from_nothing_comes_nothing(source: Any, all_of: Any) -> None:
    assert await all_of(pipeline(source, plain)) == []


@pytest.mark.parametrize(
    "source", [None, 5, "INV00000001", object(), len], ids=["none", "number", "text", "object", "function"]
)
def test_what_gives_no_items_is_no_source(source: Any) -> None:
    with pytest.raises(ConfigurationError, match="a source gives items"):
        pipeline(source, plain)


@pytest.mark.parametrize("stage", [None, 5, "load", []])
def test_what_cannot_be_called_is_no_stage(stage: Any) -> None:
    with pytest.raises(ConfigurationError, match="a stage is a function of one item"):
        pipeline([1], stage)


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, True, "4"])
def test_how_many_at_a_time_is_a_whole_number(concurrency: Any) -> None:
    with pytest.raises(ConfigurationError, match="concurrency"):
        each(plain, concurrency=concurrency)


# --- sources


@asynccontextmanager
async def entered(items: Any, closed: list[str]) -> AsyncIterator[Any]:
    try:
        yield items
    finally:
        closed.append("left")


@pytest.mark.parametrize(
    "is_async",
    [
        pytest.param(False, id="list"),
        pytest.param(True, id="async"),
    ],
)
async def test_a_context_manager_is_entered_for_its_items_and_left(is_async: bool, all_of: Any) -> None:
    async def items() -> AsyncIterator[int]:
        for item in (1, 2):
            yield item

    closed: list[str] = []
    source = entered(items() if is_async else [1, 2], closed)
    assert await all_of(pipeline(source, plain)) == [10, 20]
    assert closed == ["left"]


async def test_a_pipeline_may_be_anothers_source(all_of: Any) -> None:
    inner = pipeline([1, 2, 3], wait_a_second, plain)
    outer = pipeline(pipeline(inner, plain), plain, wait_a_second)
    assert await all_of(outer) == [1000, 2000, 3000]
    assert asyncio.get_running_loop().time() == 4


async def test_failures_of_an_inner_pipeline_pass_through_the_outer(all_of: Any) -> None:
    def odd(item: int) -> int:
        if item % 2:
            raise ValueError(item)
        return item

    first, second, third = await all_of(pipeline(pipeline([1, 2, 3], odd), plain))
    assert (first.stage, first.item, second, third.item) == ("odd", 1, 20, 3)


async def test_a_pipeline_over_a_list_may_be_entered_again_but_not_twice_at_once(all_of: Any) -> None:
    one = pipeline([1, 2], plain)
    assert await all_of(one) == [10, 20]
    assert await all_of(one) == [10, 20]
    async with one:
        with pytest.raises(ConfigurationError, match="once at a time"):
            async with one:
                pass
    assert await all_of(one) == [10, 20]


# --- bounds


def most_ahead(*concurrencies: int) -> int:
    """Items that may be under way: one in the source's hand, one at each joint, and those that stages work on."""
    return 1 + (len(concurrencies) + 1) + sum(concurrencies)


@pytest.mark.parametrize("concurrencies", [(), (1,), (4,), (1, 1, 1), (3, 1, 5)], ids=str)
@pytest.mark.parametrize("is_async", [False, True], ids=["iterable", "async"])
async def test_from_an_endless_source_no_more_is_taken_than_there_is_room_for(
    concurrencies: tuple[int, ...], is_async: bool
) -> None:
    source = Endless()
    stages = [each(wait_a_second, concurrency=number) for number in concurrencies]
    async with pipeline(source.items() if is_async else source, *stages) as results:
        await asyncio.sleep(1000)  # nobody reads
        assert source.taken == most_ahead(*concurrencies)
        for read in range(1, 20):
            await anext(results)
            await asyncio.sleep(1000)
            assert source.taken == most_ahead(*concurrencies) + read


async def test_a_generator_of_many_waits_for_each_to_be_taken() -> None:
    made = 0

    def many(_: int) -> Iterator[int]:
        nonlocal made
        for number in count():
            made += 1
            yield number

    async with pipeline([1], many, plain) as results:
        await asyncio.sleep(10)
        assert made == most_ahead(1)
        assert [await anext(results) for _ in range(5)] == [0, 10, 20, 30, 40]
        await asyncio.sleep(10)
        assert made == most_ahead(1) + 5


@pytest.mark.parametrize("concurrency", [1, 3, 10, 100])
async def test_a_stage_works_on_so_many_at_a_time_and_never_on_more(concurrency: int, all_of: Any) -> None:
    at_work = most = 0

    async def work(item: int) -> int:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(1)
        at_work -= 1
        return item

    results = await all_of(pipeline(range(100), each(work, concurrency=concurrency)))
    assert sorted(results) == list(range(100))
    assert most == concurrency
    assert asyncio.get_running_loop().time() == -(-100 // concurrency)


async def test_stages_work_at_the_same_time(all_of: Any) -> None:
    await all_of(pipeline(range(10), wait_a_second, wait_a_second, wait_a_second))
    assert asyncio.get_running_loop().time() == 12


async def test_a_slow_stage_holds_up_those_before_it(all_of: Any) -> None:
    began: list[float] = []

    async def first(item: int) -> int:
        began.append(asyncio.get_running_loop().time())
        return item

    async def slow(item: int) -> int:
        await asyncio.sleep(10)
        return item

    await all_of(pipeline(range(6), first, slow))
    assert began == [0, 0, 0, 10, 20, 30]


async def test_one_at_a_time_keeps_the_order_and_several_may_overtake(all_of: Any) -> None:
    async def longer_first(item: int) -> int:
        await asyncio.sleep(10 - item)
        return item

    assert await all_of(pipeline(range(10), longer_first, longer_first)) == list(range(10))
    assert await all_of(pipeline(range(10), each(longer_first, concurrency=10))) == list(range(9, -1, -1))


async def test_a_stage_that_never_waits_does_not_keep_the_loop_from_others() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    read = 0
    async with pipeline(Endless(), plain, plain) as results:
        async for _ in results:
            read += 1
            if read == 1000:
                break
    ticking.cancel()
    assert ticks >= 1000


# --- threads


async def test_what_blocks_may_have_a_thread(all_of: Any) -> None:
    def name_of_thread(item: int) -> tuple[int, bool]:
        return item, threading.current_thread() is threading.main_thread()

    assert await all_of(pipeline([1, 2], each(name_of_thread, in_thread=True))) == [(1, False), (2, False)]


async def test_a_generator_in_a_thread_runs_there_as_a_whole(all_of: Any) -> None:
    def twice(item: int) -> Iterator[tuple[int, bool]]:
        for _ in range(item):
            yield item, threading.current_thread() is threading.main_thread()

    assert await all_of(pipeline([2, 0, 1], each(twice, in_thread=True))) == [(2, False), (2, False), (1, False)]


@pytest.mark.parametrize("stage", [in_async, async_generator])
def test_what_is_async_needs_no_thread(stage: Any) -> None:
    with pytest.raises(ConfigurationError, match="leave out in_thread"):
        each(stage, in_thread=True)


@pytest.mark.parametrize("error", [ValueError, StopIteration, RuntimeError])
async def test_what_fails_in_a_thread_is_its_items_failure(error: type[Exception], all_of: Any) -> None:
    def fail(item: int) -> int:
        if item == 2:
            raise error("in the thread")
        return item

    first, failed, last = await asyncio.wait_for(all_of(pipeline([1, 2, 3], each(fail, in_thread=True))), 1000)
    assert (first, last) == (1, 3)
    assert isinstance(failed, StageFailed)
    assert error.__name__ in repr(failed.error) + repr(failed.error.__cause__)


# --- names


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: each(plain), "plain"),
        (lambda: each(plain, name="load"), "load"),
        (lambda: each(Callee()), "Callee"),
        (lambda: each(partial(plain)), "partial"),
        (lambda: each(lambda item: item), "<lambda>"),
    ],
)
def test_a_stage_has_a_name(make: Callable[[], Stage], name: str) -> None:
    assert make().name == name
