"""`zuora-jobs watch`: watch jobs until every one has ended, or until interrupted."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from zuora_jobs.cli import exits, jsonl
from zuora_jobs.cli.eta import Eta
from zuora_jobs.cli.view import plural, print_outcomes, summary, view_of
from zuora_jobs.client import ZuoraClient
from zuora_jobs.errors import ConfigurationError, JournalError, ZuoraJobsError
from zuora_jobs.watching.events import Event, Finished
from zuora_jobs.watching.watcher import JobWatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from rich.console import Console

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
) -> int:
    """Watch *handles* and give the exit status. Progress goes to *console*, results to stdout.

    With a *journal* and no handles, go on with whatever it has that is still to be told.
    """
    async with ZuoraClient(settings, budget) as client, JobWatcher(client, journal=journal) as watcher:
        resumed = journal if not handles else None
        if resumed is not None:
            handles = await resumed.to_resume()
            if not handles:
                return await _nothing_left(resumed, console)
        told = _Told(output, journal)
        with view_of(handles, console, watcher.statistics, await _eta_of(handles, journal)) as view:
            stopped = await _follow(
                handles, watcher, told.to(view), timeout, told.outcomes if cancel_on_interrupt else None
            )
        told.sum_up()
        if isinstance(stopped, JournalError):
            raise stopped
        if stopped is not None:
            return say_what_is_left(handles, told.outcomes, console, journal)
        if output == "table":
            console.print(Text(summary(told.outcomes.values(), watcher.statistics()) + told.remark()))
        if resumed is not None:
            return await _status_of_all(resumed)
        return exits.status_of(outcome.name for outcome in told.outcomes.values())


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


async def _status_of_all(journal: Journal) -> int:
    """Give the exit status for all that *journal* has: also what earlier runs told, and what this program does not know."""
    return exits.status_of([*await journal.outcomes(), *(["lost"] if await journal.ages() else [])])


class _Told:
    """What a run has told: to stdout, to the view, and to the journal, so that the next run need not tell it again.

    Args:
        output: `table` or `jsonl`.
        journal: takes note of the ends that have reached stdout.
    """

    def __init__(self, output: str, journal: Journal | None) -> None:
        self.outcomes: Outcomes = {}
        self._output = output
        self._journal = journal
        self._known_before = 0

    def to(self, view: Callable[[Event], None]) -> Callable[[Event], None]:
        """Give what tells an event to all who want it."""
        tell = teller(self.outcomes, view, self._output)

        def tell_and_note(event: Event) -> None:
            tell(event)
            if isinstance(event, Finished):
                self._known_before += event.from_journal
                if self._output == "jsonl" and self._journal is not None:
                    self._journal.acknowledge(event.handle)

        return tell_and_note

    def sum_up(self) -> None:
        """Print how the jobs ended, where that has not been told as they did."""
        if self._output == "table":
            print_outcomes(self.outcomes.values())
            sys.stdout.flush()
            if self._journal is not None:
                self._journal.acknowledge(*self.outcomes)

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
            sys.stdout.write(jsonl.to_line(event) + "\n")
            sys.stdout.flush()

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
    handles: Sequence[JobHandle[Any]], outcomes: Outcomes, console: Console, journal: Journal | None = None
) -> int:
    """Say which jobs were still running when we were interrupted, and how to watch them again."""
    left = [str(handle) for handle in handles if handle not in outcomes]
    if not left:
        console.print(Text("interrupted; every job had ended"))
        return exits.INTERRUPTED
    told = f"interrupted; of {plural(len(handles), 'job')} {len(left)} had not ended, as far as is known: left running."
    console.print(Text(told))
    if journal is not None:
        console.print(Text(f"Watch them again with: zuora-jobs watch --journal {shlex.quote(str(journal.path))}"))
    elif len(left) <= _FIT_A_LINE:
        console.print(Text(f"Watch them again with: zuora-jobs watch {shlex.join(left)}"))
    else:
        console.print(Text("Watch them again with: zuora-jobs watch --from FILE, with these lines in FILE:"))
        for handle in left:
            console.print(Text(handle))
    return exits.INTERRUPTED
