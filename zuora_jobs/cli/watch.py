"""`zuora-jobs watch`: watch jobs until every one has ended, or until interrupted."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from zuora_jobs.cli import exits, jsonl
from zuora_jobs.cli.download import Files, fetching
from zuora_jobs.cli.eta import Eta
from zuora_jobs.cli.results import Results
from zuora_jobs.cli.view import plural, print_outcomes, summary, view_of
from zuora_jobs.client import ZuoraClient
from zuora_jobs.errors import ConfigurationError, JournalError, ZuoraJobsError
from zuora_jobs.watching.events import Event, Finished
from zuora_jobs.watching.watcher import JobWatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from rich.console import Console

    from zuora_jobs.cli.view import View
    from zuora_jobs.journal.journal import Journal
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.settings import Settings
    from zuora_jobs.transport.limits import Budget
    from zuora_jobs.watching.outcome import Outcome

CANCELLING: Final = 15.0
"""Seconds that cancelling may take after Ctrl-C."""

_FIT_A_LINE: Final = 8
"""Handles that are named in a command to copy; more are listed one a line."""

Outcomes = dict["JobHandle[Any]", "Outcome[Any]"]


async def watch_jobs(
    handles: Sequence[JobHandle[Any]],
    settings: Settings,
    budget: Budget,
    console: Console,
    *,
    output: str,
    timeout: float | None,
    cancel_on_interrupt: bool,
    journal: Journal | None = None,
    download: str | None = None,
) -> int:
    """Watch *handles* and give the exit status. Progress goes to *console*, results to stdout.

    With a *journal* and no handles, go on with whatever it has that is still to be told. With *download*, fetch the files
    of jobs into that folder as they end.
    """
    async with ZuoraClient(settings, budget) as client, JobWatcher(client, journal=journal) as watcher:
        resumed = journal if not handles else None
        if resumed is not None:
            handles = await resumed.to_resume()
            if not handles:
                return await _nothing_left(resumed, console)
        told = _Told(output, journal)
        to_cancel = told.outcomes if cancel_on_interrupt else None
        with view_of(handles, console, watcher.statistics, await _eta_of(handles, journal)) as view:
            async with _fetching(watcher, download, told, view) as files:
                stopped = await _follow(handles, watcher, told.to(view), timeout, to_cancel)
                if stopped is None and files is not None:
                    stopped = await files.wait()
        told.sum_up()
        if isinstance(stopped, JournalError):
            raise stopped
        if stopped is not None:
            if view.transfers.unfinished:
                console.print(Text(view.transfers.how_to_go_on()))
            return say_what_is_left(handles, told.outcomes, console, journal, download)
        if output == "table":
            console.print(Text(summary(told.outcomes.values(), watcher.statistics()) + told.remark()))
        if resumed is not None:
            return await _status_of_all(resumed, told.files.outcomes)
        return exits.status_of([*(outcome.name for outcome in told.outcomes.values()), *told.files.outcomes])


@asynccontextmanager
async def _fetching(watcher: JobWatcher, into: str | None, told: _Told, view: View) -> AsyncIterator[Files | None]:
    """Have the files of jobs fetched *into* a folder as they end; None: they are not wanted."""
    if into is None:
        yield None
        return
    async with fetching(watcher, into, told.files, view, told.settled) as files:
        told.fetch = files.fetch
        yield files


async def _follow(
    handles: Sequence[JobHandle[Any]],
    watcher: JobWatcher,
    tell: Callable[[Event], None],
    timeout: float | None,
    to_cancel: Outcomes | None,
) -> exits.Interrupted | JournalError | None:
    """Tell what happens to *handles*; give what stopped that before all had ended.

    Interrupted, the jobs are cancelled whose ends are not in *to_cancel*, if there is such a thing.
    """
    async with watcher.stream(handles, timeout=timeout, at_once=len(handles), tell_again=True) as events:
        try:
            with exits.interruptible():
                async for event in events:
                    tell(event)
        except exits.Interrupted as interrupted:
            if to_cancel is not None:
                await _cancel_open(handles, to_cancel, watcher, events, tell)
            return interrupted
        except JournalError as error:  # what has been told is summed up all the same
            return error
    return None


async def _eta_of(handles: Iterable[JobHandle[Any]], journal: Journal | None) -> Eta | None:
    if journal is None:
        return None
    now, ages = time.perf_counter(), await journal.ages()
    began = {handle: now - ages.get((handle.kind.name, handle.id), 0.0) for handle in handles}
    return Eta(await journal.durations(), began)


async def _nothing_left(journal: Journal, console: Console) -> int:
    """Say so, and give the exit status for what there was."""
    ended = await journal.outcomes()
    if not ended:
        message = f"the journal {journal.path} has no jobs yet: give their handles as well"
        raise ConfigurationError(message)
    told = f"{journal.path}: nothing is left to watch; {plural(sum(ended.values()), 'job')} had ended, and been told"
    console.print(Text(told))
    return await _status_of_all(journal)


async def _status_of_all(journal: Journal, files: Iterable[str] = ()) -> int:
    """Give the exit status for all that *journal* has: also what earlier runs told, and what this program does not know.

    And for the *files* that this run was to fetch.
    """
    return exits.status_of([*await journal.outcomes(), *(["lost"] if await journal.ages() else []), *files])


class _Told:
    """What a run has told: to stdout, to the view, and to the journal, so that the next run need not tell it again.

    Args:
        output: `table` or `jsonl`.
        journal: takes note of the ends that have reached stdout.
    """

    def __init__(self, output: str, journal: Journal | None) -> None:
        self.outcomes: Outcomes = {}
        self.files = Results(output)
        self.fetch: Callable[[Outcome[Any]], None] | None = None
        """Fetches the files of a job that has ended, if that is wanted."""
        self._output = output
        self._journal = journal
        self._known_before = 0
        self._unsettled: set[JobHandle[Any]] = set()
        """Whose files have still to be fetched: until then a job's end is to be told again."""

    def to(self, view: Callable[[Event], None]) -> Callable[[Event], None]:
        """Give what tells an event to all who want it."""
        tell = teller(self.outcomes, view, self._output)

        def tell_and_note(event: Event) -> None:
            tell(event)
            if isinstance(event, Finished):
                self._known_before += event.from_journal
                if self.fetch is not None and event.outcome.files:
                    self._unsettled.add(event.handle)
                    self.fetch(event.outcome)
                elif self._output == "jsonl":
                    self._acknowledge(event.handle)

        return tell_and_note

    def settled(self, handle: JobHandle[Any]) -> None:
        """Take note that the files of a job are there, or never will be."""
        self._unsettled.discard(handle)
        if self._output == "jsonl":
            self._acknowledge(handle)

    def _acknowledge(self, *handles: JobHandle[Any]) -> None:
        if self._journal is not None:
            self._journal.acknowledge(*handles)

    def sum_up(self) -> None:
        """Print how the jobs ended, where that has not been told as they did."""
        if self._output == "table":
            print_outcomes(self.outcomes.values())
            sys.stdout.flush()
            self._acknowledge(*(handle for handle in self.outcomes if handle not in self._unsettled))

    def remark(self) -> str:
        """Say how many ends were known before."""
        return f"; {self._known_before} had ended before this run" if self._known_before else ""


def teller(outcomes: Outcomes, view: Callable[[Event], None], output: str) -> Callable[[Event], None]:
    """Give what tells an event to all who want it: the record of *outcomes*, the *view*, and stdout as JSON lines."""

    def tell(event: Event) -> None:
        if isinstance(event, Finished):
            outcomes[event.handle] = event.outcome
        view(event)
        if output == "jsonl":
            jsonl.write_event(event)

    return tell


async def _cancel_open(
    handles: Sequence[JobHandle[Any]],
    outcomes: Outcomes,
    watcher: JobWatcher,
    events: AsyncIterator[Event],
    tell: Callable[[Event], None],
) -> None:
    """Cancel what can be cancelled and tell the ends; a second Ctrl-C, or the clock, cuts it short."""
    open_ones = {handle for handle in handles if handle not in outcomes and handle.kind.cancel is not None}
    refused: list[str] = []

    async def cancel(handle: JobHandle[Any]) -> None:
        try:
            await watcher.cancel(handle)
        except ZuoraJobsError as error:
            open_ones.discard(handle)
            refused.append(f"{handle} could not be cancelled: {error}")

    try:
        with exits.interruptible():
            async with asyncio.timeout(CANCELLING), asyncio.TaskGroup() as group:
                for handle in open_ones:
                    group.create_task(cancel(handle))
                while open_ones - outcomes.keys():
                    tell(await anext(events))
    except (exits.Interrupted, TimeoutError, StopAsyncIteration):
        pass
    for line in refused:
        print(line, file=sys.stderr)  # noqa: T201


def say_what_is_left(
    handles: Sequence[JobHandle[Any]],
    outcomes: Outcomes,
    console: Console,
    journal: Journal | None = None,
    download: str | None = None,
) -> int:
    """Say which jobs were still running when we were interrupted, and how to watch them again."""
    left = [str(handle) for handle in handles if handle not in outcomes]
    if not left:
        console.print(Text("interrupted; every job had ended"))
        return exits.INTERRUPTED
    fetching = ["--download", download] if download is not None else []
    told = f"interrupted; of {plural(len(handles), 'job')} {len(left)} had not ended, as far as is known: left running."
    console.print(Text(told))
    if journal is not None:
        options = shlex.join(["--journal", str(journal.path), *fetching])
        console.print(Text(f"Watch them again with: zuora-jobs watch {options}"))
    elif len(left) <= _FIT_A_LINE:
        console.print(Text(f"Watch them again with: zuora-jobs watch {shlex.join([*left, *fetching])}"))
    else:
        options = shlex.join(["--from", "FILE", *fetching])
        console.print(Text(f"Watch them again with: zuora-jobs watch {options}, with these lines in FILE:"))
        for handle in left:
            console.print(Text(handle))
    return exits.INTERRUPTED
