"""`zuora-jobs watch`: watch jobs until every one has ended, or until interrupted."""

from __future__ import annotations

import asyncio
import shlex
import sys
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from zuora_jobs.cli import exits, jsonl
from zuora_jobs.cli.view import plural, print_outcomes, summary, view_of
from zuora_jobs.client import ZuoraClient
from zuora_jobs.errors import ZuoraJobsError
from zuora_jobs.watching.events import Event, Finished
from zuora_jobs.watching.watcher import JobWatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from rich.console import Console

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
) -> int:
    """Watch *handles* and give the exit status. Progress goes to *console*, results to stdout."""
    outcomes: Outcomes = {}
    interrupted = False
    async with (
        ZuoraClient(settings, budget) as client,
        JobWatcher(client) as watcher,
        watcher.stream(handles, timeout=timeout, at_once=len(handles)) as events,
    ):
        with view_of(handles, console, watcher.statistics) as view:
            tell = teller(outcomes, view, output)
            try:
                with exits.interruptible():
                    async for event in events:
                        tell(event)
            except exits.Interrupted:
                interrupted = True
                if cancel_on_interrupt:
                    await _cancel_open(handles, outcomes, watcher, events, tell)
        spent = watcher.statistics()
    if output == "table":
        print_outcomes(outcomes.values())
    if interrupted:
        return say_what_is_left(handles, outcomes, console)
    if output == "table":
        console.print(Text(summary(outcomes.values(), spent)))
    return exits.status_of(outcomes.values())


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


def say_what_is_left(handles: Sequence[JobHandle[Any]], outcomes: Outcomes, console: Console) -> int:
    """Say which jobs were still running when we were interrupted, and how to watch them again."""
    left = [str(handle) for handle in handles if handle not in outcomes]
    if not left:
        console.print(Text("interrupted; every job had ended"))
        return exits.INTERRUPTED
    told = f"interrupted; of {plural(len(handles), 'job')} {len(left)} had not ended, as far as is known: left running."
    console.print(Text(told))
    if len(left) <= _FIT_A_LINE:
        console.print(Text(f"Watch them again with: zuora-jobs watch {shlex.join(left)}"))
    else:
        console.print(Text("Watch them again with: zuora-jobs watch --from FILE, with these lines in FILE:"))
        for handle in left:
            console.print(Text(handle))
    return exits.INTERRUPTED
