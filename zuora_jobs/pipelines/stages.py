"""The stages that pipelines of jobs are made of: what has ended well, what is to be run, what is to be fetched."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from zuora_jobs.downloads import Downloader
from zuora_jobs.errors import ConfigurationError, DownloadError
from zuora_jobs.pipelines.flow import Stage, StageFailed, each
from zuora_jobs.watching.events import Event, Finished
from zuora_jobs.watching.outcome import Outcome, Ran, Succeeded

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Iterator

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.downloads import Downloaded, Progress
    from zuora_jobs.pipelines.flow import Function
    from zuora_jobs.watching.watcher import JobWatcher

MANY = 100
"""Jobs that are run at a time where Zuora names no limit."""


def finished_ok(event: Event | Outcome[Any]) -> Iterator[Succeeded[Any]]:
    """Pass on the outcomes of jobs that succeeded; from a watcher's stream all other events end here.

    Raises:
        JobFailed, JobCancelled, JobLost: a job did not end well, which its StageFailed tells.
    """
    outcome = event.outcome if isinstance(event, Finished) else event
    if isinstance(outcome, Event):
        return
    if not isinstance(outcome, Succeeded):
        outcome.unwrap()
    yield outcome


def run(watcher: JobWatcher, *, concurrency: int = MANY, timeout: float | None = None) -> Stage:
    """Make the stage that submits a request and watches its job until it ends; passes on a `Ran`.

    Args:
        watcher: runs them, with its journal.
        concurrency: jobs at a time; of AQuA's never more than a tenant may have.
        timeout: seconds for each.
    """

    async def run_one(request: object) -> Ran[Any]:
        ran = await watcher.run(request, timeout=timeout)
        ran.unwrap()
        return ran

    return each(run_one, concurrency=concurrency, name="run")


def download(
    into: str | os.PathLike[str],
    *,
    concurrency: int = 4,
    watcher: JobWatcher | None = None,
    client: ZuoraClient | None = None,
    on_progress: Callable[[Progress], object] | None = None,
) -> Stage:
    """Make the stage that fetches the result files of jobs; takes outcomes or `Ran`, passes on a `Downloaded` for each file.

    Args:
        into: the directory; files that are there already are not fetched again.
        concurrency: files at a time.
        watcher: whose jobs they are; not needed where the source is its stream. Its journal learns of each file.
        client: the same, where there is no watcher.
        on_progress: told how far each file has come.
    """

    @asynccontextmanager
    async def opened(of_source: JobWatcher | None) -> AsyncIterator[Function]:
        who = watcher or of_source
        whose = client or (who.client if who is not None else None)
        if whose is None:
            message = "download(into=…) does not know whose jobs these are: give it watcher= or client="
            raise ConfigurationError(message)
        journal = who.journal if who is not None and who.client is whose else None
        async with Downloader(
            whose, into, concurrency=concurrency, journal=journal, on_progress=on_progress
        ) as downloader:

            async def fetch(item: Outcome[Any] | Ran[Any]) -> AsyncIterator[Downloaded | StageFailed]:
                outcome = item.outcome if isinstance(item, Ran) else item
                for result in await downloader.files_of(outcome) if outcome is not None else ():
                    yield StageFailed("download", item, result) if isinstance(result, DownloadError) else result

            yield fetch

    return Stage("download", opened, concurrency)
