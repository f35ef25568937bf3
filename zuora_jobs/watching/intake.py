"""Takes handles in, of which there may be a hundred thousand or no end, without holding up the loop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.watching.subscription import Subscription

T = TypeVar("T")

SLICE: Final = 200
"""Handles taken in before others get their turn: about two milliseconds."""

_NEVER: Final = 2**31 - 1


async def in_slices(items: Iterable[T]) -> AsyncIterator[T]:
    """Give *items*, of which there may be many, and others their turn now and then."""
    with no_full_collection():
        for number, item in enumerate(items, start=1):
            yield item
            if number % (10 * SLICE) == 0:
                await asyncio.sleep(0)


async def feed(
    subscription: Subscription, handles: Iterable[JobHandle[Any]] | AsyncIterable[JobHandle[Any]], at_once: int
) -> None:
    """Take *handles* in as a task of its own, at most so many *at once*; what they raise goes to the reader."""
    try:
        await take_in(subscription, handles, at_once)
    except Exception as error:  # noqa: BLE001 - the reader's to handle: it is his iterable
        subscription.fail(error)


async def take_in(
    subscription: Subscription, handles: Iterable[JobHandle[Any]] | AsyncIterable[JobHandle[Any]], at_once: int
) -> None:
    """Take *handles* in, at most so many *at once*, until there are no more."""
    if isinstance(handles, AsyncIterable):
        async for handle in handles:
            await subscription.room(at_once)
            subscription.accept(handle)
    else:
        source = iter(handles)
        while await _take_in_what_has_room(subscription, source, at_once):
            await subscription.room(at_once)
    subscription.end_of_handles()


async def _take_in_what_has_room(subscription: Subscription, source: Iterator[JobHandle[Any]], at_once: int) -> bool:
    """Take in until there is no more room; False: until there are no more handles."""
    with no_full_collection():
        for number, handle in enumerate(source, start=1):
            subscription.accept(handle)
            if not subscription.has_room(at_once):
                return True
            if number % SLICE == 0:
                await asyncio.sleep(0)
    return False


_deferred = 0
"""How many intakes are under way."""

_restored: tuple[int, int, int] = gc.get_threshold()


@contextmanager
def no_full_collection() -> Iterator[None]:
    """Put the garbage collector's full passes off.

    All that is taken in is going to live, but each quarter of it would have the collector walk over everything, for 60
    milliseconds at a time. Young objects are collected as always.
    """
    global _deferred, _restored  # noqa: PLW0603 - the collector is one for the process as well
    if not _deferred:
        _restored = gc.get_threshold()
        gc.set_threshold(*_restored[:2], _NEVER)
    _deferred += 1
    try:
        yield
    finally:
        _deferred -= 1
        if not _deferred and gc.get_threshold()[2] == _NEVER:  # nobody has set it to his liking in between
            gc.set_threshold(*_restored)
