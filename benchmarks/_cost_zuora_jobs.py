"""zuora_jobs: one stream, or one `watch_all`, for all jobs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from _cost_work import TOKEN, Work

from zuora_jobs import OPERATION, Budget, Cadence, JobWatcher, Settings, ZuoraClient


class Watcher:
    """One task for any number of jobs."""

    def __init__(self, watcher: JobWatcher, watch: Callable[[JobWatcher, Iterable[str]], Awaitable[None]]) -> None:
        self._watcher = watcher
        self._watch = watch
        self._tasks: list[asyncio.Future[None]] = []

    def start(self, jobs: Iterable[str]) -> None:
        """Watch these too."""
        self._tasks.append(asyncio.ensure_future(self._watch(self._watcher, jobs)))

    def taken(self) -> int:
        """Tell how many jobs are being watched."""
        return self._watcher.statistics().watching

    def check(self) -> None:
        """Raise what has ended a watch."""
        for task in self._tasks:
            if task.done():
                task.result()
        said = self._watcher.statistics()
        ended = said.succeeded + said.failed + said.cancelled + said.lost
        assert not ended, f"{ended} jobs that never end have ended"
        assert not said.refused + said.retries, f"{said.refused} looks refused, {said.retries} tried again"


@asynccontextmanager
async def _open(work: Work, watch: Callable[[JobWatcher, Iterable[str]], Awaitable[None]]) -> AsyncIterator[Watcher]:
    settings = Settings(base_url=work.base_url, access_token=TOKEN)
    cadence = None if work.interval is None else Cadence.constant(work.interval)
    async with (
        ZuoraClient(settings, Budget(rate=1e6, concurrency=work.at_once)) as client,
        JobWatcher(client, cadence=cadence) as watcher,
    ):
        yield Watcher(watcher, watch)


async def _read_all(watcher: JobWatcher, jobs: Iterable[str]) -> None:
    async with watcher.stream(map(OPERATION.handle, jobs)) as events:
        async for _ in events:
            pass


async def _await_all(watcher: JobWatcher, jobs: Iterable[str]) -> None:
    await watcher.watch_all(map(OPERATION.handle, jobs))


@asynccontextmanager
async def stream(work: Work) -> AsyncIterator[Watcher]:
    """Read every event."""
    async with _open(work, _read_all) as watching:
        yield watching


@asynccontextmanager
async def watch_all(work: Work) -> AsyncIterator[Watcher]:
    """Await all outcomes."""
    async with _open(work, _await_all) as watching:
        yield watching
