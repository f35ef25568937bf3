"""`zuora-jobs cancel`: cancel jobs, and report how each really ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from rich.text import Text

from zuora_jobs.cli import exits
from zuora_jobs.cli.view import print_outcomes, summary, view_of
from zuora_jobs.cli.watch import Outcomes, say_what_is_left, teller
from zuora_jobs.client import ZuoraClient
from zuora_jobs.errors import ZuoraJobsError
from zuora_jobs.watching.clock import WallClock
from zuora_jobs.watching.events import Finished
from zuora_jobs.watching.outcome import Lost
from zuora_jobs.watching.watcher import JobWatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.settings import Settings
    from zuora_jobs.watching.events import Event


async def cancel_jobs(
    handles: Sequence[JobHandle[Any]], settings: Settings, console: Console, *, output: str, timeout: float | None
) -> int:
    """Cancel *handles* and give the exit status: 0 where every one ended cancelled."""
    outcomes: Outcomes = {}
    interrupted = False
    tellers: list[Callable[[Event], None]] = []
    async with (
        ZuoraClient(settings) as client,
        JobWatcher(client, observers=[lambda event: [tell(event) for tell in tellers]]) as watcher,
    ):
        clock = WallClock()
        with view_of(handles, console, watcher.statistics) as view:
            tellers.append(teller(outcomes, view, output))

            async def cancel(handle: JobHandle[Any]) -> None:
                try:
                    await watcher.cancel(handle, timeout=timeout)
                except ZuoraJobsError as error:  # whether it will end, and how, is not known to us
                    lost: Lost[Any] = Lost(handle=handle, job=None, polls=0, elapsed=0.0, error=error)
                    tellers[0](Finished(at=clock.now(), handle=handle, outcome=lost))

            try:
                with exits.interruptible():
                    async with asyncio.TaskGroup() as group:
                        for handle in handles:
                            group.create_task(cancel(handle))
            except exits.Interrupted:
                interrupted = True
        spent = watcher.statistics()
    if output == "table":
        print_outcomes(outcomes[handle] for handle in handles if handle in outcomes)
    if interrupted:
        return say_what_is_left(handles, outcomes, console)
    if output == "table":
        console.print(Text(summary(outcomes.values(), spent)))
    return exits.status_of((outcome.name for outcome in outcomes.values()), good="cancelled")
