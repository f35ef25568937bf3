"""Commands about jobs that there are, and about nothing at all: their options, checked before any request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zuora_jobs.cli.cancel import cancel_jobs
from zuora_jobs.cli.demo import run_demo
from zuora_jobs.cli.emulate import check_loopback, run_emulator
from zuora_jobs.cli.handles import gather
from zuora_jobs.cli.invoice import show_invoice
from zuora_jobs.cli.kinds import show_kinds
from zuora_jobs.cli.options import (
    check_timeout,
    common,
    in_a_loop,
    jobs,
    opened,
    settings,
    settings_of,
    spending,
    writable,
)
from zuora_jobs.cli.watch import watch_jobs
from zuora_jobs.client import check_cancellable
from zuora_jobs.protocol.messages import invoice_request
from zuora_jobs.transport.limits import Budget

if TYPE_CHECKING:
    from rich.console import Console

EXIT_STATUS = """\b
Exit status: 0 every job succeeded; 1 some job failed or was cancelled;
2 wrong usage or settings, or a journal that cannot be opened; 3 some job
was lost, or the journal or stdout could not be written; 130 interrupted.
With --journal and no handles: for all jobs of the journal."""


CANCEL_STATUS = """\b
Exit status: 0 every job ended cancelled; 1 some had ended another way;
2 wrong usage or settings; 3 some job was lost; 130 interrupted."""


@click.command(epilog="Example: zuora-jobs demo")
@common
@click.pass_obj
def demo(console: Console) -> int:
    """Watch jobs of all kinds against a built-in Zuora; offline, no account needed."""
    return in_a_loop(run_demo(console))


@click.command(
    epilog=f"Example: zuora-jobs watch aqua:e20b07474688ad5001468daf10e501de --timeout 3600\n\n{EXIT_STATUS}"
)
@jobs
@spending
@click.option(
    "--journal",
    metavar="PATH",
    help="Keep a record in this file, and go on from it: ended jobs are told without a request."
    " Without handles: all that has not ended, or was not told.",
)
@click.option("--download", metavar="DIR", help="Fetch the files of each job into this folder, as it ends.")
@click.option("--cancel-on-interrupt", is_flag=True, help="On Ctrl-C cancel those jobs that can be cancelled.")
@settings
@common
@click.pass_obj
def watch(
    console: Console,
    *,
    handles: tuple[str, ...],
    source: str | None,
    output: str,
    timeout: float | None,
    rate: float | None,
    concurrency: int | None,
    journal: str | None,
    download: str | None,
    cancel_on_interrupt: bool,
    base_url: str | None,
    environment: str | None,
) -> int:
    """Watch jobs until every one has ended.

    A HANDLE is kind:id; `zuora-jobs kinds` lists the kinds. With --journal the
    same command again goes on where it was, and needs no handles for that.
    """
    wanted = gather(handles, source, journal=journal)
    tenant = settings_of(base_url, environment)
    budget = Budget.for_tenant(tenant.base_url, rate=rate, concurrency=concurrency)
    check_timeout(timeout)
    return in_a_loop(
        watch_jobs(
            wanted,
            tenant,
            budget,
            console,
            output=output,
            timeout=timeout,
            cancel_on_interrupt=cancel_on_interrupt,
            journal=opened(journal, is_resumed=not wanted) if journal is not None else None,
            download=writable(download) if download is not None else None,
        )
    )


@click.command(epilog=f"Example: zuora-jobs cancel aqua:e20b07474688ad5001468daf10e501de\n\n{CANCEL_STATUS}")
@jobs
@settings
@common
@click.pass_obj
def cancel(
    console: Console,
    *,
    handles: tuple[str, ...],
    source: str | None,
    output: str,
    timeout: float | None,
    base_url: str | None,
    environment: str | None,
) -> int:
    """Cancel jobs, and report how each really ended."""
    wanted = gather(handles, source)
    for handle in wanted:
        check_cancellable(handle)
    tenant = settings_of(base_url, environment)
    check_timeout(timeout)
    return in_a_loop(cancel_jobs(wanted, tenant, console, output=output, timeout=timeout))


@click.command(epilog="Example: zuora-jobs invoice 2c92c8955bd63cc1015bd7c151af02ab --fields Id,Balance")
@click.argument("invoice_id", metavar="ID")
@click.option("--fields", metavar="A,B", help="Only these fields, by Zuora's names.")
@click.option("--timeout", type=float, default=60.0, metavar="S", help="Seconds to keep trying; 60 by default.")
@settings
@common
def invoice(
    *, invoice_id: str, fields: str | None, timeout: float, base_url: str | None, environment: str | None
) -> int:
    """Print an invoice, as JSON."""
    names = [name.strip() for name in fields.split(",")] if fields is not None else None
    tenant = settings_of(base_url, environment)
    invoice_request(tenant, invoice_id, names)  # complains before anything is opened
    check_timeout(timeout)
    return in_a_loop(show_invoice(invoice_id, names, tenant, timeout))


@click.command(epilog="Example: zuora-jobs kinds")
@common
def kinds() -> int:
    """Print the table of kinds of jobs, and what their statuses mean."""
    return show_kinds()


@click.command(epilog="Example: zuora-jobs report run.db -o report.html")
@click.argument("journal", metavar="JOURNAL")
@click.option("-o", "--output", metavar="FILE.html", help="Write a page with charts and a table to this file instead.")
@common
@click.pass_obj
def report(console: Console, *, journal: str, output: str | None) -> int:
    """Print a run in figures, from its journal, or draw it; also while it goes on.

    JOURNAL is the file that was given to `watch --journal`. Nothing is sent anywhere.
    """
    from zuora_jobs.cli.report import show_report  # noqa: PLC0415 - templates take a while, and only this needs them

    return show_report(journal, output, console)


@click.command(epilog="Example: zuora-jobs emulate --port 8080")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0: any that is free.")
@click.option("--scenario", metavar="FILE", help="Jobs, invoices and faults, in TOML or JSON.")
@common
def emulate(host: str, port: int, scenario: str | None) -> int:
    """Run a local Zuora until interrupted."""
    check_loopback(host)
    return in_a_loop(run_emulator(host, port, scenario))
