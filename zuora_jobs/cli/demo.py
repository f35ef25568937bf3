"""`zuora-jobs demo`: everything at work against the built-in Zuora; offline, in under half a minute."""

from __future__ import annotations

import asyncio
import tempfile
from random import Random
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from zuora_jobs import emulator
from zuora_jobs.cli import exits
from zuora_jobs.cli.download import fetching
from zuora_jobs.cli.jsonl import dumps
from zuora_jobs.cli.results import Results
from zuora_jobs.cli.view import plural, print_outcomes, result_console, summary, view_of
from zuora_jobs.cli.watch import Outcomes, teller
from zuora_jobs.client import ZuoraClient
from zuora_jobs.pipelines import export
from zuora_jobs.protocol import wire
from zuora_jobs.protocol.models import DocumentIds
from zuora_jobs.protocol.requests import (
    ApplyCreditMemo,
    DeleteInvoice,
    InvoiceAmount,
    Query,
    ReverseInvoice,
    RunQueries,
    ZipPdfs,
)
from zuora_jobs.watching.cadence import Cadence
from zuora_jobs.watching.events import Finished
from zuora_jobs.watching.watcher import JobWatcher

if TYPE_CHECKING:
    from rich.console import Console

    from zuora_jobs.protocol.kinds import JobHandle

FLEET: Final = {
    "invoice-delete": {"Completed": 3, "Failed": 1},
    "invoice-reverse": {"Completed": 2},
    "bulk-pdf": {"Completed": 3, "PartialComplete": 1},
    "aqua": {"completed": 5, "aborted": 1},
    "credit-memo-apply": {"Processed": 4, "Error": 1},
}
"""How many jobs of each submit end how."""

SHORTEST, LONGEST = 2.0, 8.0
"""Seconds a job of the demo takes."""

CANCEL_AFTER: Final = 3.0

QUERIES: Final = {
    "Invoices": "select Id, InvoiceNumber, Balance from Invoice where Balance > 0",
    "Payments": "select Id, Amount, Status from Payment",
}


async def run_demo(console: Console) -> int:
    """Submit a fleet of all kinds, watch it to its end, fetch its files, cancel one job; 0 when all went as it should."""
    async with emulator.running(latency=0.02) as zuora:
        rng = Random(7)  # noqa: S311 - the same show for everybody
        for name, ends in FLEET.items():
            for end, count in ends.items():
                for _ in range(count):
                    zuora.on_submit(name, ends=end, seconds=rng.uniform(SHORTEST, LONGEST), times=1)
        console.print(Text(f"A local Zuora at {zuora.url}. Nothing leaves your machine."))
        with tempfile.TemporaryDirectory(prefix="zuora-jobs-demo-") as folder, exits.interruptible():
            async with (
                ZuoraClient(zuora.settings()) as client,
                JobWatcher(client, cadence=Cadence.exponential(0.5, maximum=2)) as watcher,
            ):
                went_well = await _watch_a_fleet(zuora, watcher, folder, console)
                zuora.on_submit("aqua", ends="completed", seconds=SHORTEST)
                return await _run_a_pipeline(watcher, folder, console) if went_well else exits.SOME_DID_NOT


def _requests(zuora: emulator.Emulator) -> list[Any]:
    """Give what is submitted, in the order of the fleet."""
    invoices = [zuora.add_invoice() for _ in range(20)]
    memo = zuora.add_credit_memo()
    counts = {name: sum(ends.values()) for name, ends in FLEET.items()}
    pdfs = [DocumentIds(doc_type="Invoice", object_ids=tuple(invoices[:5]))]
    return [
        *(DeleteInvoice(invoice) for invoice in invoices[5 : 5 + counts["invoice-delete"]]),
        *(ReverseInvoice(invoice) for invoice in invoices[10 : 10 + counts["invoice-reverse"]]),
        *(ZipPdfs(documents=pdfs, file_name=f"pdfs-{number}") for number in range(counts["bulk-pdf"])),
        *(RunQueries([Query(*pair) for pair in QUERIES.items()], name=f"{n}") for n in range(counts["aqua"])),
        *(
            ApplyCreditMemo(memo, [InvoiceAmount(invoice_id=invoices[19], amount=f"1.0{number}")])
            for number in range(counts["credit-memo-apply"])
        ),
    ]


async def _watch_a_fleet(zuora: emulator.Emulator, watcher: JobWatcher, folder: str, console: Console) -> bool:
    """Submit jobs of all kinds, watch them, fetch what they leave; tell whether the one that was cancelled was."""
    requests = _requests(zuora)
    handles = [handle for request in requests if (handle := (await watcher.submit(request)).handle) is not None]
    zuora.on_submit("aqua", ends="completed", seconds=3600)
    doomed = (await watcher.submit(RunQueries([Query("Everything", "select Id from InvoiceItem")]))).handle
    if doomed is None:
        raise AssertionError(requests)
    console.print(Text(f"Submitted {plural(len(handles) + 1, 'job')}, and watching them:"))
    outcomes: Outcomes = {}
    files = Results("nowhere")
    async with watcher.stream([*handles, doomed]) as events:
        with view_of([*handles, doomed], console, watcher.statistics) as view:
            tell = teller(outcomes, view, "table")
            async with (
                fetching(watcher, folder, files, view, lambda _: None) as fetch,
                asyncio.TaskGroup() as group,
            ):
                group.create_task(_cancel_later(watcher, doomed, console))
                async for event in events:
                    tell(event)
                    if isinstance(event, Finished):
                        fetch.fetch(event.outcome)
                await fetch.wait()
    results = result_console()
    print_outcomes((outcomes[handle] for handle in [*handles, doomed]), results)
    results.print(Text(summary(outcomes.values(), watcher.statistics())))
    results.print(Text(f"fetched, and found whole: {files.summary('file')}"))
    invoice = await watcher.client.invoice(
        requests[-1].invoices[0].invoice_id, fields=["Id", "InvoiceNumber", "Amount", "Balance"]
    )
    results.print(Text(f"what is left to be paid of an invoice: {dumps(wire.to_json(invoice))}"))
    return outcomes[doomed].name == "cancelled"


async def _run_a_pipeline(watcher: JobWatcher, folder: str, console: Console) -> int:
    """Export by queries, from submit to checked files."""
    console.print(
        Text("\nA whole pipeline: two queries submitted, watched, their files fetched, their records counted.")
    )
    results = Results("table")
    async with export(watcher, QUERIES, into=folder) as files:
        async for file in files:
            results.tell(file)
    result_console().print(Text("The same against a tenant of yours: zuora-jobs export --help"))
    return exits.status_of(results.outcomes)


async def _cancel_later(watcher: JobWatcher, handle: JobHandle[Any], console: Console) -> None:
    await asyncio.sleep(CANCEL_AFTER)
    console.print(Text(f"cancelling {handle}"))
    outcome = await watcher.cancel(handle)
    console.print(Text(f"{handle} was {outcome.name}"))
