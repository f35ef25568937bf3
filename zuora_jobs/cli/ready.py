"""Runs a pipeline, and tells its results as they come."""

from __future__ import annotations

import asyncio
import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.text import Text

from zuora_jobs.cli import exits, jsonl
from zuora_jobs.cli.options import opened
from zuora_jobs.cli.results import Results
from zuora_jobs.cli.submit import say_what_is_in_doubt
from zuora_jobs.cli.view import plural, view_of
from zuora_jobs.client import ZuoraClient
from zuora_jobs.errors import DownloadError
from zuora_jobs.pipelines import StageFailed
from zuora_jobs.watching.events import Event, Finished, JobSubmitted
from zuora_jobs.watching.watcher import JobWatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from zuora_jobs.cli.options import How
    from zuora_jobs.cli.transfers import Transfers
    from zuora_jobs.cli.view import View
    from zuora_jobs.downloads import Progress
    from zuora_jobs.pipelines import Pipeline
    from zuora_jobs.protocol.kinds import JobHandle


async def run_pipeline(
    make: Callable[[JobWatcher, Callable[[Progress], object]], Pipeline],
    how: How,
    console: Console,
    *,
    into: str | None = None,
) -> int:
    """Run what *make* makes of a watcher, and give the exit status. Progress goes to *console*, results to stdout.

    Files go *into* a folder; that is to be said where they have not come.
    """
    results, told = Results(how.output), _Told(how.output)
    journal = opened(how.journal) if how.journal is not None else None
    async with (
        ZuoraClient(how.settings, how.budget) as client,
        JobWatcher(client, journal=journal, observers=[told]) as watcher,
    ):
        with view_of((), console, watcher.statistics) as view:
            told.view = view
            try:
                with told.or_broken(), exits.interruptible():
                    async with make(watcher, view.moved) as items:
                        async for item in items:
                            _tell(item, results, view)
            except exits.Interrupted:
                console.print(Text("\n".join(_what_is_left(told, results, view.transfers, how, into))))
                say_what_is_in_doubt(watcher, console)
                return exits.INTERRUPTED
        requests = plural(watcher.statistics().requests, "request")
        if how.output == "table":
            console.print(Text(f"{results.summary()}; {requests}"))
    return exits.status_of(results.outcomes)


def _tell(item: Any, results: Results, view: View) -> None:
    if isinstance(item, StageFailed) and isinstance(item.error, DownloadError):
        view.transfers.forget(item.error.path)
    results.tell(item)


class _Told:
    """What happens meanwhile, as it is told to the view and as JSON lines; knows which jobs have not ended.

    It observes a watcher, whose events are not the pipeline's results.
    """

    def __init__(self, output: str) -> None:
        self.view: View | None = None
        self.open_ones: dict[JobHandle[Any], None] = {}
        """The jobs that have been begun and have not ended, as far as is known."""
        self._output = output
        self._task: asyncio.Task[Any] | None = None
        self._failure: OSError | None = None

    def __call__(self, event: Event) -> None:
        """Tell *event*."""
        if isinstance(event, JobSubmitted):
            self.open_ones[event.handle] = None
        elif isinstance(event, Finished):
            self.open_ones.pop(event.handle, None)
        if self.view is not None:
            self.view(event)
        if self._output == "jsonl" and self._failure is None:
            try:
                jsonl.write_event(event)
            except OSError as error:  # which a watcher would take for an observer's own trouble
                self._failure = error
                if self._task is not None:
                    self._task.cancel()

    @contextmanager
    def or_broken(self) -> Iterator[None]:
        """End this block with the error of an event that could not be written."""
        self._task = asyncio.current_task()
        try:
            yield
        except asyncio.CancelledError:
            if self._failure is not None and self._task is not None and not self._task.uncancel():
                raise self._failure from None
            raise


def _what_is_left(told: _Told, results: Results, transfers: Transfers, how: How, into: str | None) -> list[str]:
    """Say what an interrupted run leaves behind, and how to go on with it."""
    handles = [str(handle) for handle in told.open_ones]
    left = f"; {plural(len(handles), 'job')} left running" if handles else ""
    lines = [f"interrupted after {results.summary()}{left}"]
    if how.journal is not None:
        return [*lines, "The same again goes on from there, and submits nothing twice."]
    if handles:
        fetching = ["--download", into] if into is not None else []
        lines.append(f"Watch them with: zuora-jobs watch {shlex.join([*handles, *fetching])}")
    if transfers.unfinished:
        lines.append(transfers.how_to_go_on())
    return lines
