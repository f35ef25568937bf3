"""Commands that have Zuora do something, and fetch what comes of it: their options, checked before any request."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from zuora_jobs.cli import asked
from zuora_jobs.cli.download import files_of_finished
from zuora_jobs.cli.handles import gather, read_all
from zuora_jobs.cli.options import check_again, how, in_a_loop, writable
from zuora_jobs.cli.ready import run_pipeline
from zuora_jobs.cli.submit import request_of, submit_job
from zuora_jobs.errors import ConfigurationError
from zuora_jobs.pipelines import ready
from zuora_jobs.protocol.models import DocumentIds
from zuora_jobs.protocol.requests import ApplyCreditMemo, DeleteInvoice, ReverseInvoice, RunQueries, ZipPdfs
from zuora_jobs.protocol.submits import SUBMITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from zuora_jobs.cli.options import How

WORK_STATUS = """\b
Exit status: 0 all of it succeeded; 1 some was refused or failed; 2 wrong
usage or settings; 3 of some it is not known what became of it, or its
files could not be fetched yet; 130 interrupted. The same again with the
same --journal goes on, and submits nothing twice."""

_into = click.option("--into", required=True, metavar="DIR", help="The folder for the files; made where there is none.")
_at_once = click.option(
    "--files", "at_once", type=click.IntRange(min=1), default=4, help="Files at a time; 4 by default."
)


_again = click.option(
    "--again",
    is_flag=True,
    help="Submit also what an earlier run of the --journal left uncertain: it was not carried out.",
)


def _from(what: str) -> Callable[[Any], Any]:
    return click.option("--from", "source", metavar="FILE|-", help=f"Read {what} from a file, one a line.")


@click.command(
    epilog="Example: zuora-jobs export --query 'select Id, Balance from Invoice' --into exports\n\n" + WORK_STATUS  # noqa: S608
)
@click.option(
    "--query",
    "queries",
    multiple=True,
    metavar="[NAME=]SELECT",
    help="A query; may be given many times. Its file is named so.",
)
@click.option("--queries", "source", metavar="FILE|-", help='Read queries from a file: {"NAME": "select …"} in JSON.')
@click.option(
    "--file-format", type=click.Choice(["csv", "gzip", "zip"]), default="csv", help="Of the files; csv by default."
)
@click.option("--warehouse", is_flag=True, help="Ask Zuora's warehouse instead of the live data.")
@_into
@_at_once
@how
@click.pass_obj
def export(
    console: Console,
    *,
    queries: tuple[str, ...],
    source: str | None,
    file_format: str,
    warehouse: bool,
    into: str,
    at_once: int,
    how: How,
) -> int:
    """Run queries and fetch their files, whole and with as many records as Zuora counted.

    The path of each is printed as it is there. More than 50 queries are
    split over several jobs.
    """
    listed = asked.queries(queries, source)
    options: dict[str, Any] = {"format": file_format} | ({"source_data": "WAREHOUSE"} if warehouse else {})
    RunQueries(listed[:1], **options)  # complains before anything is opened
    writable(into)

    def make(watcher: Any, moved: Any) -> Any:
        return ready.export(
            watcher, listed, into=into, concurrency=at_once, timeout=how.timeout, on_progress=moved, **options
        )

    return in_a_loop(run_pipeline(make, how, console, into=into))


@click.command(
    name="bulk-pdfs",
    epilog="Example: zuora-jobs bulk-pdfs --from ids.txt --into pdfs --file-name january\n\n" + WORK_STATUS,
)
@click.argument("ids", nargs=-1, metavar="[ID]…")
@_from("ids")
@click.option("--doc-type", default="Invoice", help="Invoice (by default), CreditMemo, DebitMemo.")
@click.option("--file-name", default="documents", metavar="PREFIX", help="What the names of the ZIP files begin with.")
@click.option("--generate-missing", is_flag=True, help="Make PDFs that are missing, which takes long.")
@click.option("--ignore-archived", is_flag=True, help="Leave archived ones out, instead of failing.")
@_into
@_at_once
@how
@click.pass_obj
def bulk_pdfs(
    console: Console,
    *,
    ids: tuple[str, ...],
    source: str | None,
    doc_type: str,
    file_name: str,
    generate_missing: bool,
    ignore_archived: bool,
    into: str,
    at_once: int,
    how: How,
) -> int:
    """Have the PDFs of billing documents zipped, and fetch the ZIP files.

    Documents that are not in them are told: unknown, without a PDF, failed
    or archived.
    """
    documents = _some(read_all(ids, source, str), "ids of documents")
    chosen = {"generate_missing_pdf": generate_missing, "ignore_archived_files": ignore_archived}
    options: dict[str, Any] = {"doc_type": doc_type, "file_name": file_name} | {
        name: True for name, is_so in chosen.items() if is_so
    }
    ZipPdfs(documents=[DocumentIds(doc_type=doc_type, object_ids=tuple(documents))], file_name=file_name)
    writable(into)

    def make(watcher: Any, moved: Any) -> Any:
        return ready.bulk_pdfs(
            watcher, documents, into=into, concurrency=at_once, timeout=how.timeout, on_progress=moved, **options
        )

    return in_a_loop(run_pipeline(make, how, console, into=into))


@click.command(
    name="delete-invoices",
    epilog="Example: zuora-jobs delete-invoices --from ids.txt --journal run.db\n\n" + WORK_STATUS,
)
@click.argument("invoices", nargs=-1, metavar="[INVOICE]…")
@_from("ids or numbers of invoices")
@_again
@how
@click.pass_obj
def delete_invoices(console: Console, *, invoices: tuple[str, ...], source: str | None, again: bool, how: How) -> int:
    """Delete invoices, and ask for each to prove that it is gone."""
    check_again(how, again=again)
    wanted = _some(read_all(invoices, source, lambda text: DeleteInvoice(text).invoice), "invoices")
    return in_a_loop(
        run_pipeline(
            lambda watcher, _: ready.delete_invoices(watcher, wanted, timeout=how.timeout, again=again), how, console
        )
    )


@click.command(
    name="reverse-invoices",
    epilog="Example: zuora-jobs reverse-invoices INV00000123 --memo-date 2026-11-24\n\n" + WORK_STATUS,
)
@click.argument("invoices", nargs=-1, metavar="[INVOICE]…")
@_from("ids or numbers of invoices")
@click.option("--memo-date", metavar="DATE", help="Of the credit memo; today by default.")
@click.option("--apply-date", metavar="DATE", help="On which it is applied; today by default.")
@click.option("--reason-code", metavar="CODE", help="One of the tenant's.")
@click.option("--comment", metavar="TEXT", help="Goes to the credit memo.")
@_again
@how
@click.pass_obj
def reverse_invoices(
    console: Console,
    *,
    invoices: tuple[str, ...],
    source: str | None,
    memo_date: str | None,
    apply_date: str | None,
    reason_code: str | None,
    comment: str | None,
    again: bool,
    how: How,
) -> int:
    """Reverse invoices, and fetch each to prove that it is reversed."""
    given = {
        "memo_date": memo_date,
        "apply_effective_date": apply_date,
        "reason_code": reason_code,
        "comment": comment,
    }
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    check_again(how, again=again)
    ReverseInvoice("any", **options)  # complains of the options before it is the invoices' turn
    wanted = _some(read_all(invoices, source, lambda text: ReverseInvoice(text).invoice), "invoices")

    def make(watcher: Any, _: Any) -> Any:
        return ready.reverse_invoices(watcher, wanted, timeout=how.timeout, again=again, **options)

    return in_a_loop(run_pipeline(make, how, console))


@click.command(
    name="apply-credit",
    epilog="Example: zuora-jobs apply-credit CM00000017 2c92c8955bd63cc1015bd7c151af02ab=12.50\n\n" + WORK_STATUS,
)
@click.argument("credit_memo", metavar="MEMO")
@click.argument("invoices", nargs=-1, metavar="[INVOICE=AMOUNT]…")
@_from("INVOICE=AMOUNT")
@click.option("--date", metavar="DATE", help="On which it is applied; today by default.")
@_again
@how
@click.pass_obj
def apply_credit(
    console: Console,
    *,
    credit_memo: str,
    invoices: tuple[str, ...],
    source: str | None,
    date: str | None,
    again: bool,
    how: How,
) -> int:
    """Apply a credit memo to invoices, and tell the balances before and after."""
    check_again(how, again=again)
    amounts = _some(read_all(invoices, source, asked.invoice_amount), "invoices with their amounts")
    options: dict[str, Any] = {"effective_date": date} if date is not None else {}
    ApplyCreditMemo(credit_memo, amounts[:1], **options)

    def make(watcher: Any, _: Any) -> Any:
        return ready.apply_credit(watcher, credit_memo, amounts, timeout=how.timeout, again=again, **options)

    return in_a_loop(run_pipeline(make, how, console))


@click.command(
    epilog=f"KIND is one of {', '.join(SUBMITS)}.\n\nExample: zuora-jobs submit aqua --body queries.json --watch --download exports"
)
@click.argument("kind", metavar="KIND")
@click.option("--body", metavar="FILE|-", help="The request in JSON, with Zuora's names.")
@click.option("--key", metavar="ID", help="The id or number of the invoice or credit memo that it is about.")
@click.option("--watch", is_flag=True, help="Watch the job until it ends.")
@click.option("--download", metavar="DIR", help="Watch it, and fetch its files into this folder.")
@click.option("--again", is_flag=True, help="With --journal: what was uncertain was not carried out, submit it anew.")
@click.option("--idempotency-key", metavar="KEY", help="Of an earlier try of the same, at most 24 hours ago.")
@how
@click.pass_obj
def submit(
    console: Console,
    *,
    kind: str,
    body: str | None,
    key: str | None,
    watch: bool,
    download: str | None,
    again: bool,
    idempotency_key: str | None,
    how: How,
) -> int:
    """Begin a job, and print its handle."""
    request = request_of(kind, body, key)
    if idempotency_key is not None and not SUBMITS[kind].has_idempotency_key:
        message = f"Zuora takes no Idempotency-Key for {kind}"
        raise ConfigurationError(message)
    check_again(how, again=again)
    into = writable(download) if download is not None else None
    return in_a_loop(
        submit_job(request, how, console, watch=watch, download=into, again=again, idempotency_key=idempotency_key)
    )


@click.command(
    epilog="Example: zuora-jobs download aqua:e20b07474688ad5001468daf10e501de --into exports\n\n" + WORK_STATUS
)
@click.argument("handles", nargs=-1, metavar="[HANDLE]…")
@_from("handles")
@_into
@_at_once
@how
@click.pass_obj
def download(
    console: Console, *, handles: tuple[str, ...], source: str | None, into: str, at_once: int, how: How
) -> int:
    """Fetch the result files of finished jobs; what is there already is not fetched again."""
    wanted = gather(handles, source)
    return in_a_loop(run_pipeline(partial(files_of_finished, wanted, writable(into), at_once), how, console))


def _some(found: list[Any], what: str) -> list[Any]:
    if not found:
        message = f"no {what}: give some, or a file of them with --from"
        raise ConfigurationError(message)
    return found
