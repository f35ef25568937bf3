"""Pipelines that are ready to be used, each a few lines over the parts.

    async with export(watcher, {"Invoices": "select Id, Balance from Invoice"}, into="exports") as files:
        async for file in files: ...

What comes out is one result for each thing that was asked for, or a `StageFailed` in its place. With a journal, the same
again after a crash goes on where it was, and submits nothing twice. What one job cannot hold is split over several.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from zuora_jobs.pipelines import proofs
from zuora_jobs.pipelines.flow import Pipeline, Stage, StageFailed, each, pipeline
from zuora_jobs.pipelines.stages import MANY, download, run
from zuora_jobs.protocol.models import DocumentIds
from zuora_jobs.protocol.requests import (
    MOST_INVOICES,
    MOST_QUERIES,
    ApplyCreditMemo,
    DeleteInvoice,
    InvoiceAmount,
    Query,
    ReverseInvoice,
    RunQueries,
    ZipPdfs,
    in_parts,
)

if TYPE_CHECKING:
    import os
    from decimal import Decimal

    from zuora_jobs.downloads import Downloaded, Progress
    from zuora_jobs.pipelines.flow import Function
    from zuora_jobs.watching.outcome import Ran
    from zuora_jobs.watching.watcher import JobWatcher

DOCUMENTS_A_JOB = 1000
"""Zuora names no limit of a bulk-PDF job; smaller ones end sooner, and a failed one costs less."""


def export(
    watcher: JobWatcher,
    queries: Iterable[Query] | Mapping[str, str],
    *,
    into: str | os.PathLike[str],
    a_job: int = MOST_QUERIES,
    concurrency: int = 4,
    timeout: float | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    **options: Any,
) -> Pipeline:
    """Run queries by AQuA and fetch their files, whole and with as many records as Zuora counted.

    Args:
        watcher: runs them, with its journal.
        queries: of type `Query`, or a mapping of names to texts.
        into: the directory.
        a_job: queries a job at most. Those of one job see one state of the data, one after another.
        concurrency: files at a time.
        timeout: seconds for each job.
        on_progress: told how far each file has come.
        **options: of `RunQueries`, such as `format="gzip"`. By default headers have API names, and moments their offset.

    Returns:
        A pipeline of `Downloaded`: one a query, or for each of its segments.

    Raises:
        ConfigurationError: Zuora would refuse it.
    """
    fetch = download(into, concurrency=concurrency, watcher=watcher, on_progress=on_progress)
    return pipeline(export_requests(queries, a_job, **options), run(watcher, timeout=timeout), fetch)


def export_requests(
    queries: Iterable[Query] | Mapping[str, str], a_job: int = MOST_QUERIES, **options: Any
) -> list[RunQueries]:
    """Give the jobs that `export` begins.

    Raises:
        ConfigurationError: Zuora would refuse one.
    """
    listed = [Query(*pair) for pair in queries.items()] if isinstance(queries, Mapping) else list(queries)
    usual = {"use_query_labels": True, "date_time_utc": True}
    return [RunQueries(part, **(usual | options)) for part in in_parts(listed, min(a_job, MOST_QUERIES))]


@frozen(kw_only=True)
class Zipped:
    """The ZIP files of one bulk-PDF job, and what is not in them."""

    files: tuple[Downloaded, ...]
    invalid_ids: tuple[str, ...]
    """Unknown to Zuora, or without a PDF."""
    failed_documents: tuple[DocumentIds, ...]
    skipped_documents: tuple[DocumentIds, ...]
    ran: Ran[Any]


def _zipped(fetch: Stage) -> Stage:
    """Gather what *fetch* gives for one job; a file that cannot be fetched comes by itself, as its failure."""

    @asynccontextmanager
    async def opened(watcher: JobWatcher | None) -> AsyncIterator[Function]:
        async with fetch.open(watcher) as files_of:

            async def gathered(ran: Ran[Any]) -> AsyncIterator[StageFailed | Zipped]:
                files = []
                async for result in files_of(ran):
                    if isinstance(result, StageFailed):
                        yield result
                    else:
                        files.append(result)
                job, answer = ran.unwrap(), ran.submitted.answer
                yield Zipped(
                    files=tuple(files),
                    invalid_ids=answer.invalid_ids if answer is not None else (),
                    failed_documents=job.failed_documents if job is not None else (),
                    skipped_documents=job.skipped_documents if job is not None else (),
                    ran=ran,
                )

            yield gathered

    return evolve(fetch, open=opened)


def bulk_pdfs(
    watcher: JobWatcher,
    ids: Iterable[str],
    *,
    into: str | os.PathLike[str],
    doc_type: str = "Invoice",
    file_name: str = "documents",
    a_job: int = DOCUMENTS_A_JOB,
    concurrency: int = 4,
    timeout: float | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    **options: Any,
) -> Pipeline:
    """Have the PDF files of billing documents packed into ZIP files, fetch these, and tell which documents are not in them.

    Args:
        watcher: runs them, with its journal.
        ids: of the documents.
        into: the directory.
        doc_type: Invoice, CreditMemo, DebitMemo.
        file_name: what the names of the ZIP files begin with.
        a_job: documents a job at most.
        concurrency: files at a time.
        timeout: seconds for each job.
        on_progress: told how far each file has come.
        **options: of `ZipPdfs`, such as `generate_missing_pdf=True`.

    Returns:
        A pipeline of `Zipped`, one a job.

    Raises:
        ConfigurationError: Zuora would refuse it.
    """
    requests = [
        ZipPdfs(documents=[DocumentIds(doc_type=doc_type, object_ids=part)], file_name=file_name, **options)
        for part in in_parts(ids, a_job)
    ]
    fetch = download(into, concurrency=concurrency, watcher=watcher, on_progress=on_progress)
    return pipeline(requests, run(watcher, timeout=timeout), _zipped(fetch))


def delete_invoices(
    watcher: JobWatcher,
    invoices: Iterable[str],
    *,
    concurrency: int = MANY,
    timeout: float | None = None,
    again: bool = False,
) -> Pipeline:
    """Delete invoices, by id or number, and ask for each to prove that it is gone.

    Args:
        watcher: runs them, with its journal.
        invoices: which.
        concurrency: at a time.
        timeout: seconds for each job.
        again: submit also those of which an earlier run left it uncertain, since you have found out that they were not
            carried out.

    Returns:
        A pipeline of `Deleted`.
    """
    return pipeline(
        invoices,
        DeleteInvoice,
        each(partial(proofs.delete, watcher, timeout=timeout, again=again), concurrency=concurrency, name="delete"),
    )


def reverse_invoices(
    watcher: JobWatcher,
    invoices: Iterable[str],
    *,
    concurrency: int = MANY,
    timeout: float | None = None,
    again: bool = False,
    **options: Any,
) -> Pipeline:
    """Reverse invoices, by id or number, and fetch each to prove that it is reversed.

    Args:
        watcher: runs them, with its journal.
        invoices: which.
        concurrency: at a time.
        timeout: seconds for each job.
        again: submit also those of which an earlier run left it uncertain, since you have found out that they were not
            carried out.
        **options: of `ReverseInvoice`, such as `memo_date="2026-11-24"`.

    Returns:
        A pipeline of `Reversed`.
    """
    reversal = partial(ReverseInvoice, **options)
    return pipeline(
        invoices,
        each(reversal, name="ReverseInvoice"),
        each(partial(proofs.reverse, watcher, timeout=timeout, again=again), concurrency=concurrency, name="reverse"),
    )


def apply_credit(
    watcher: JobWatcher,
    credit_memo: str,
    invoices: Iterable[InvoiceAmount] | Mapping[str, Decimal | int | str],
    *,
    timeout: float | None = None,
    again: bool = False,
    **options: Any,
) -> Pipeline:
    """Apply a credit memo to invoices, and tell the balances before and after.

    Args:
        watcher: runs it, with its journal.
        credit_memo: its id or number.
        invoices: how much goes to which: `InvoiceAmount`, or a mapping of invoices' ids to amounts.
        timeout: seconds for each job.
        again: submit also those of which an earlier run left it uncertain, since you have found out that they were not
            carried out.
        **options: of `ApplyCreditMemo`, such as `effective_date="2026-11-24"`.

    Returns:
        A pipeline of `Applied`, one for each 1,000 invoices, one after another.

    Raises:
        ConfigurationError: Zuora would refuse it.
    """
    if isinstance(invoices, Mapping):
        invoices = [InvoiceAmount(invoice_id=name, amount=amount) for name, amount in invoices.items()]
    requests = [ApplyCreditMemo(credit_memo, part, **options) for part in in_parts(invoices, MOST_INVOICES)]
    return pipeline(requests, each(partial(proofs.apply, watcher, timeout=timeout, again=again), name="apply"))
