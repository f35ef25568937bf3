"""`zuora-jobs demo`: everything at work against the built-in Zuora; offline, in about ten seconds."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from zuora_jobs import emulator
from zuora_jobs.cli import exits
from zuora_jobs.cli.jsonl import dumps
from zuora_jobs.cli.view import print_outcomes, result_console, summary, view_of
from zuora_jobs.cli.watch import Outcomes, teller
from zuora_jobs.client import ZuoraClient
from zuora_jobs.protocol import wire
from zuora_jobs.protocol.kinds import JobHandle
from zuora_jobs.watching.cadence import Cadence
from zuora_jobs.watching.watcher import JobWatcher

if TYPE_CHECKING:
    from rich.console import Console

FLEET: Final = {
    "operation": {"Completed": 5, "Failed": 1},
    "bulk-pdf": {"Completed": 3, "PartialComplete": 1},
    "aqua": {"completed": 6, "aborted": 1},
    "credit-memo-apply": {"Processed": 4, "Error": 1},
}
"""How many jobs of each kind end how."""

SHORTEST, LONGEST = 2.0, 9.0
"""Seconds a job of the demo takes."""

CANCEL_AFTER: Final = 3.0


async def run_demo(console: Console) -> int:
    """Watch a fleet of all kinds to its end, cancel one job, fetch an invoice; 0 when all went as it should."""
    rng = Random(7)  # noqa: S311 - the same show for everybody
    async with emulator.running(latency=0.02) as zuora:
        jobs = [
            zuora.add_job(kind, ends=end, seconds=rng.uniform(SHORTEST, LONGEST))
            for kind, ends in FLEET.items()
            for end, count in ends.items()
            for _ in range(count)
        ]
        doomed: JobHandle[Any] = JobHandle.parse(zuora.add_job("aqua", ends="completed", seconds=3600).handle)
        handles: list[JobHandle[Any]] = [JobHandle.parse(job.handle) for job in jobs] + [doomed]
        invoice_id = zuora.add_invoice()
        console.print(Text(f"A local Zuora at {zuora.url}: {len(handles)} jobs of {len(FLEET)} kinds."))
        with exits.interruptible():
            return await _show(zuora, handles, doomed, invoice_id, console)


async def _show(
    zuora: emulator.Emulator, handles: list[JobHandle[Any]], doomed: JobHandle[Any], invoice_id: str, console: Console
) -> int:
    outcomes: Outcomes = {}
    async with (
        ZuoraClient(zuora.settings()) as client,
        JobWatcher(client, cadence=Cadence.exponential(0.5, maximum=2)) as watcher,
        watcher.stream(handles) as events,
    ):
        with view_of(handles, console, watcher.statistics) as view:
            tell = teller(outcomes, view, "table")
            async with asyncio.TaskGroup() as group:
                group.create_task(_cancel_later(watcher, doomed, console))
                async for event in events:
                    tell(event)
        invoice = await client.invoice(invoice_id, fields=["Id", "InvoiceNumber", "Status", "Amount", "Balance"])
        spent = watcher.statistics()
    results = result_console()
    print_outcomes((outcomes[handle] for handle in handles), results)
    results.print(Text(summary(outcomes.values(), spent)))
    results.print(Text(f"invoice: {dumps(wire.to_json(invoice))}"))
    results.print(Text("The same against a tenant of yours: zuora-jobs watch --help"))
    return exits.ALL_SUCCEEDED if outcomes[doomed].name == "cancelled" else exits.SOME_DID_NOT


async def _cancel_later(watcher: JobWatcher, handle: JobHandle[Any], console: Console) -> None:
    await asyncio.sleep(CANCEL_AFTER)
    console.print(Text(f"cancelling {handle}"))
    outcome = await watcher.cancel(handle)
    console.print(Text(f"{handle} was {outcome.name}"))
