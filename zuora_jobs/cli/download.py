"""The files of jobs: of finished ones for `zuora-jobs download`, of others as they end for `watch --download`."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from zuora_jobs.cli import exits
from zuora_jobs.downloads import Downloaded, Downloader
from zuora_jobs.errors import DownloadError, FileGone, JournalError
from zuora_jobs.pipelines import StageFailed, download, each, pipeline
from zuora_jobs.watching.outcome import Outcome, Succeeded, outcome_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from zuora_jobs.cli.results import Results
    from zuora_jobs.cli.view import View
    from zuora_jobs.downloads import Progress
    from zuora_jobs.pipelines import Pipeline
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.watching.watcher import JobWatcher

ASKED_AT_ONCE = 20
"""Jobs; the client's budget is what really bounds them."""


def files_of_finished(
    handles: Sequence[JobHandle[Any]], into: str, at_once: int, watcher: JobWatcher, moved: Callable[[Progress], object]
) -> Pipeline:
    """Ask for jobs, and fetch the files that they have left."""

    async def finished(handle: JobHandle[Any]) -> AsyncIterator[Outcome[Any] | StageFailed]:
        job = await watcher.client.job(handle)
        outcome = outcome_of(handle, job, polls=1, elapsed=0.0)
        if outcome is None:
            message = f"{handle} has not ended: `zuora-jobs watch {handle} --download DIR` waits for it"
            raise DownloadError(message, handle=handle)
        if outcome.files:
            yield outcome
        elif isinstance(outcome, Succeeded):
            message = f"{handle} has left no files"
            raise FileGone(message, handle=handle)
        if not isinstance(outcome, Succeeded):  # what it has left is not all that was asked for
            outcome.unwrap()

    fetch = download(into, concurrency=at_once, watcher=watcher, on_progress=moved)
    return pipeline(handles, each(finished, concurrency=ASKED_AT_ONCE), fetch)


class Files:
    """Fetches the files of jobs that have ended, and tells of each.

    Args:
        downloader: fetches them.
        results: tells of them.
        view: shows them.
        settled: told each job whose files need not be asked for again, since they are there or never will be.
    """

    def __init__(
        self, downloader: Downloader, results: Results, view: View, settled: Callable[[JobHandle[Any]], object]
    ) -> None:
        self._downloader = downloader
        self._results = results
        self._view = view
        self._settled = settled
        self._tasks: set[asyncio.Task[None]] = set()

    def fetch(self, outcome: Outcome[Any]) -> None:
        """Begin to fetch the files of a job."""
        self._tasks.add(asyncio.create_task(self._fetch(outcome)))

    async def wait(self) -> exits.Interrupted | JournalError | None:
        """Wait until all that was begun has been fetched; give what stopped that before."""
        try:
            with exits.interruptible():
                await asyncio.gather(*self._tasks)
        except (exits.Interrupted, JournalError) as stopped:
            return stopped
        return None

    async def stop(self) -> None:
        """Leave what is still being fetched for the next time."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _fetch(self, outcome: Outcome[Any]) -> None:
        found = await self._downloader.files_of(outcome)
        for one in found:
            if isinstance(one, DownloadError):
                self._view.transfers.forget(one.path)
            self._results.tell(StageFailed("download", outcome, one) if isinstance(one, DownloadError) else one)
        if all(isinstance(one, Downloaded | FileGone) for one in found):
            self._settled(outcome.handle)


@asynccontextmanager
async def fetching(
    watcher: JobWatcher,
    into: str,
    results: Results,
    view: View,
    settled: Callable[[JobHandle[Any]], object],
) -> AsyncIterator[Files]:
    """Give what fetches files for as long as the block is not left."""
    async with Downloader(watcher.client, into, journal=watcher.journal, on_progress=view.moved) as downloader:
        files = Files(downloader, results, view, settled)
        try:
            yield files
        finally:
            await files.stop()
