"""Deadlines of many tasks on one timer, to the second, and what is left of a task that was cut off."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import looptime
import pytest

from zuora_jobs.transport.deadlines import Deadlines

pytestmark = pytest.mark.looptime


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    deadlines = Deadlines()
    yield deadlines
    deadlines.close()


async def test_what_is_done_in_time_is_not_disturbed(deadlines: Deadlines, looptime: looptime.Chronometer) -> None:
    with deadlines.within(5):
        await asyncio.sleep(4)
    await asyncio.sleep(10)
    assert looptime == 14


async def test_what_is_not_is_cut_off_at_the_moment(deadlines: Deadlines, looptime: looptime.Chronometer) -> None:
    with pytest.raises(TimeoutError):
        with deadlines.within(5):
            await asyncio.sleep(100)
    assert looptime == 5
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "nobody else takes it for cancelled"
    await asyncio.sleep(1)


@pytest.mark.parametrize("order", [[1, 2, 3], [3, 2, 1], [2, 2, 1], [30, 1, 30], [5, 1, 5]])
async def test_each_has_a_deadline_of_its_own(order: list[int], deadlines: Deadlines) -> None:
    loop = asyncio.get_running_loop()

    async def work(seconds: int) -> float:
        with pytest.raises(TimeoutError):
            with deadlines.within(seconds):
                await asyncio.sleep(1000)
        return loop.time()

    start = loop.time()
    ends = await asyncio.gather(*map(work, order))
    assert [end - start for end in ends] == pytest.approx(order, abs=1e-4)


async def test_one_that_begins_later_ends_later(deadlines: Deadlines, looptime: looptime.Chronometer) -> None:
    with deadlines.within(10):
        await asyncio.sleep(6)
    with pytest.raises(TimeoutError):
        with deadlines.within(10):
            await asyncio.sleep(100)
    assert looptime == 16


async def test_a_thousand_share_one_timer_and_leave_none_when_closed(
    deadlines: Deadlines, live_timers: Callable[[], list[Any]]
) -> None:
    most = 0

    async def work() -> None:
        nonlocal most
        for _ in range(5):
            with deadlines.within(30):
                await asyncio.sleep(0)
                most = max(most, len(live_timers()))

    await asyncio.gather(*(work() for _ in range(200)))
    assert most == 1
    deadlines.close()
    assert live_timers() == []


async def test_the_timer_goes_when_nobody_is_left(deadlines: Deadlines, live_timers: Callable[[], list[Any]]) -> None:
    with deadlines.within(5):
        await asyncio.sleep(1)
    await asyncio.sleep(10)
    assert live_timers() == []


async def test_who_is_cancelled_by_somebody_else_is_cancelled(deadlines: Deadlines) -> None:
    async def work() -> None:
        with deadlines.within(5):
            await asyncio.sleep(100)

    task = asyncio.create_task(work())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_so_is_who_is_cancelled_in_the_very_moment(deadlines: Deadlines) -> None:
    async def work() -> None:
        with deadlines.within(5):
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                task.cancel()  # somebody else, before we are through with it
                raise

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_outer_timeout_that_comes_first_is_told_by_its_own(
    deadlines: Deadlines, looptime: looptime.Chronometer
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            with deadlines.within(5):
                await asyncio.sleep(100)
    assert looptime == 2
    async with asyncio.timeout(20):
        with pytest.raises(TimeoutError):
            with deadlines.within(5):
                await asyncio.sleep(100)
    assert looptime == 7


async def test_an_error_of_the_blocks_own_is_not_hidden(deadlines: Deadlines) -> None:
    with pytest.raises(KeyError):
        with deadlines.within(5):
            raise KeyError


async def test_a_deadline_that_has_passed_already_leaves_no_time(deadlines: Deadlines) -> None:
    with pytest.raises(TimeoutError):
        with deadlines.within(-1):
            await asyncio.sleep(0.001)


async def test_without_a_task_there_is_nobody_to_cut_off(deadlines: Deadlines) -> None:
    caught: list[BaseException] = []

    def enter() -> None:
        try:
            with deadlines.within(1):
                pass
        except RuntimeError as error:
            caught.append(error)

    asyncio.get_running_loop().call_soon(enter)
    await asyncio.sleep(0)
    assert len(caught) == 1
