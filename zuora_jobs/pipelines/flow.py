"""Items flowing through stages: bounded at every joint, one item's failure never another's.

    async with pipeline(watcher.stream(handles), finished_ok, download(into="exports"), load) as results:
        async for result in results: ...

Rules of this file:
1. A stage is a plain function of one item. What it returns goes on; a generator function passes on what it yields: none,
   one or many. It may be async, or not.
2. What a function raises for an item becomes a `StageFailed` in the item's place, which no later stage gets to see. Only a
   source that fails ends the pipeline: raised to the reader after all that had come before.
3. Nothing is taken from the source before there is room for it, so a source may never end. Between two stages waits one item.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, nullcontext
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from attrs import field, frozen

from zuora_jobs.checks import whole
from zuora_jobs.errors import ConfigurationError, WatcherClosed

if TYPE_CHECKING:
    from types import TracebackType

    from zuora_jobs.watching.watcher import JobWatcher

Function: TypeAlias = Callable[[Any], Any]

Source: TypeAlias = AbstractAsyncContextManager[Any] | AsyncIterable[Any] | Iterable[Any]

_END: Final = object()
_LEFT: Final = object()


@frozen
class StageFailed:
    """An item that got no further than *stage*, and why. Other items go on."""

    stage: str
    item: Any
    """What the stage was given."""
    error: Exception


def _always_open(function: Function) -> Callable[[JobWatcher | None], AbstractAsyncContextManager[Function]]:
    return lambda _: nullcontext(function)


@frozen
class Stage:
    """A function of one item, and how many items it may work on at a time.

    `each` makes one of a plain function.
    """

    name: str
    open: Callable[[JobWatcher | None], AbstractAsyncContextManager[Function]] = field(repr=False)
    """Gives the function for as long as a pipeline runs; told whose watcher is the source, if one is."""
    concurrency: int = 1


def each(function: Function, *, concurrency: int = 1, name: str | None = None, in_thread: bool = False) -> Stage:
    """Make a stage of *function*.

    Args:
        function: of one item; see this file's rules.
        concurrency: how many items at a time; with more than one they may overtake each other.
        name: as a StageFailed gives it; by default the function's.
        in_thread: for a function that blocks: it gets a thread.
    """
    whole("concurrency", concurrency, least=1)
    if not callable(function):
        message = f"a stage is a function of one item, not {function!r:.60}"
        raise ConfigurationError(message)
    named = name or getattr(function, "__name__", None) or type(function).__name__

    return Stage(named, _always_open(_threaded(function, named) if in_thread else function), concurrency)


def _threaded(function: Function, name: str) -> Function:
    """Have *function* run in a thread, to its end."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        message = f"the stage {name} is async, and needs no thread: leave out in_thread"
        raise ConfigurationError(message)
    yields = inspect.isgeneratorfunction(function)

    def call(item: Any) -> Any:
        try:
            return list(function(item)) if yields else function(item)
        except StopIteration as error:  # which cannot come out of a thread
            message = f"the stage {name} raised StopIteration"
            raise RuntimeError(message) from error

    async def one(item: Any) -> Any:
        return await asyncio.to_thread(call, item)

    async def many(item: Any) -> AsyncIterator[Any]:
        for result in await asyncio.to_thread(call, item):
            yield result

    return many if yields else one


class Pipeline:
    """A source and stages, to be used inside `async with`: gives an async iterator of what comes out at the end.

    Leaving the block early stops everything, at whatever item. A pipeline can be another's source.
    """

    def __init__(self, source: Source, *stages: Stage | Function) -> None:
        if not isinstance(source, AbstractAsyncContextManager | AsyncIterable | Iterable) or isinstance(source, str):
            message = f"a source gives items, such as watcher.stream(handles) or a list; {source!r:.60} does not"
            raise ConfigurationError(message)
        self._source = source
        self._stages = [stage if isinstance(stage, Stage) else each(stage) for stage in stages]
        self._stack: AsyncExitStack | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def watcher(self) -> JobWatcher | None:
        """Whose stream the source is, if it is one."""
        return getattr(self._source, "watcher", None)

    async def __aenter__(self) -> AsyncIterator[Any]:
        if self._stack is not None:
            message = "the pipeline is in use: it can be entered once at a time"
            raise ConfigurationError(message)
        async with AsyncExitStack() as stack:
            items = await self._opened(stack)
            functions = [await stack.enter_async_context(stage.open(self.watcher)) for stage in self._stages]
            joints = [_Joint() for _ in range(len(functions) + 1)]
            stack.push_async_callback(self._stop, joints[-1])
            trouble: list[BaseException] = []
            self._start(_feed(items, joints[0], trouble), "source")
            for number, (stage, function) in enumerate(zip(self._stages, functions, strict=True)):
                workers = _Workers(stage, function, joints[number], joints[number + 1])
                for _ in range(stage.concurrency):
                    self._start(workers.work(), stage.name)
            self._stack = stack.pop_all()
        return _results(joints[-1], trouble)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.__aexit__(exc_type, exc, traceback)

    async def _opened(self, stack: AsyncExitStack) -> AsyncIterator[Any]:
        source: Any = self._source
        if isinstance(source, AbstractAsyncContextManager):
            given = await stack.enter_async_context(source)
            items: Any = aiter(given) if isinstance(given, AsyncIterable) else _as_they_come(given)
        elif isinstance(source, AsyncIterable):
            items = aiter(source)
        else:
            items = _as_they_come(source)
        is_ours_to_close = not isinstance(source, AbstractAsyncContextManager) or inspect.isasyncgen(items)
        if is_ours_to_close and hasattr(items, "aclose"):
            await stack.enter_async_context(aclosing(items))
        return cast("AsyncIterator[Any]", items)

    def _start(self, work: Any, name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=f"pipeline {name}"))

    async def _stop(self, last: _Joint) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while not last.empty():
            last.get_nowait()
        last.put_nowait(_LEFT)


def pipeline(source: Source, *stages: Stage | Function) -> Pipeline:
    """Let the items of *source* flow through *stages*.

    `async with pipeline(...) as results: async for result in results: ...`

    Args:
        source: an iterable or async iterable of any length, a context manager that gives one, such as
            `watcher.stream(handles)`, or another pipeline.
        stages: functions of one item; `each(function, concurrency=4)` for several items at a time.

    Returns:
        What is to be entered; the results are what the last stage gives, and a `StageFailed` for each item that failed.

    Raises:
        ConfigurationError: one of them is none.
    """
    return Pipeline(source, *stages)


async def _as_they_come(source: Iterable[Any]) -> AsyncIterator[Any]:
    try:
        for item in source:
            yield item
            await asyncio.sleep(0)
    finally:
        if inspect.isgenerator(source):
            source.close()


@frozen
class _Broken:
    """What ends the whole pipeline, at once."""

    error: BaseException


class _Joint(asyncio.Queue[Any]):
    """Between two stages: where one item waits."""

    def __init__(self) -> None:
        super().__init__(maxsize=1)

    async def get(self) -> Any:
        """Take an item; who is to stop takes none."""
        if _is_to_stop():
            raise asyncio.CancelledError
        return await super().get()

    async def put(self, item: Any) -> None:
        """Hand an item on; who is to stop hands nothing on, though a stage may not have noticed that it is."""
        if _is_to_stop():
            raise asyncio.CancelledError
        await super().put(item)


def _is_to_stop() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _feed(items: AsyncIterator[Any], joint: _Joint, trouble: list[BaseException]) -> None:
    try:
        async for item in items:
            await joint.put(item)
    except BaseException as error:  # the reader's to handle: it is his source
        if _is_to_stop():
            raise
        trouble.append(error)
    await joint.put(_END)


async def _results(joint: _Joint, trouble: list[BaseException]) -> AsyncIterator[Any]:
    while (item := await joint.get()) is not _END:
        if item is _LEFT:
            joint.put_nowait(_LEFT)  # for others who read
            message = "the pipeline has been left: read its results inside its `async with`"
            raise WatcherClosed(message)
        if isinstance(item, _Broken):
            raise item.error
        yield item
    if trouble:
        raise trouble[0]


class _Workers:
    """Those who work on one stage."""

    def __init__(self, stage: Stage, function: Function, before: _Joint, after: _Joint) -> None:
        self._name = stage.name
        self._function = function
        self._before = before
        self._after = after
        self._at_work = stage.concurrency

    async def work(self) -> None:
        while (item := await self._before.get()) is not _END:
            if isinstance(item, StageFailed | _Broken):
                await self._after.put(item)
            else:
                await self._work_on(item)
        self._at_work -= 1
        await (self._before if self._at_work else self._after).put(_END)  # the next of us, or the next stage

    async def _work_on(self, item: Any) -> None:
        try:
            result = self._function(item)
            if inspect.isawaitable(result):
                result = await result
            if inspect.isasyncgen(result):
                async with aclosing(result):
                    async for one in result:
                        await self._after.put(one)
            elif inspect.isgenerator(result):
                for one in result:
                    await self._after.put(one)
            else:
                await self._after.put(result)
        except Exception as error:  # noqa: BLE001 - the item's failure, whatever it is
            await self._after.put(StageFailed(self._name, item, error))
        except BaseException as error:
            if _is_to_stop():
                raise
            if not isinstance(error, asyncio.CancelledError):  # SystemExit and its like are about more than an item
                await self._after.put(_Broken(error))
                return
            failure = RuntimeError(f"the stage {self._name} was cancelled from within")
            failure.__cause__ = error
            await self._after.put(StageFailed(self._name, item, failure))
