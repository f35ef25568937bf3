"""`zuora-jobs submit`: begin a job, print its handle, and watch it where that is wanted."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.text import Text

from zuora_jobs.cli import exits
from zuora_jobs.cli.handles import text_of
from zuora_jobs.cli.options import opened
from zuora_jobs.cli.results import Results
from zuora_jobs.cli.watch import watch_jobs
from zuora_jobs.client import ZuoraClient
from zuora_jobs.errors import ConfigurationError, MalformedResponse
from zuora_jobs.protocol import jsontext, wire
from zuora_jobs.protocol.submits import Submitted, submit_row
from zuora_jobs.watching.watcher import JobWatcher

if TYPE_CHECKING:
    from rich.console import Console

    from zuora_jobs.cli.options import How


def request_of(name: str, source: str | None, key: str | None) -> Any:
    """Read what is to be submitted.

    Args:
        name: of its row in the table of submits.
        source: a file with its JSON under Zuora's names, or `-`.
        key: the id or number of what it is about; it may stand in the JSON as well.

    Raises:
        ConfigurationError: there is no such row, or Zuora would refuse it.
    """
    row = submit_row(name)
    document: Any = {}
    if source is not None:
        where = "standard input" if source == "-" else source
        try:
            document = jsontext.parse(text_of(source).encode(), exact=True)
        except MalformedResponse as error:
            message = f"{where} {str(error).removeprefix('the answer ')}"
            raise ConfigurationError(message) from None
    if isinstance(document, dict) and key is not None:
        if row.key_name is None:
            message = f"{name} is about no business object, so it takes no --key"
            raise ConfigurationError(message)
        document = {**document, row.key_name: key}
    try:
        return wire.request_from(row.request, document)
    except ConfigurationError as error:
        lacks_key = isinstance(document, dict) and row.key_name is not None and row.key_name not in document
        advice = f" (--key gives {row.key_name})" if lacks_key else ""
        advice = advice if source is not None or row.key_name else " (--body FILE gives the request)"
        message = f"{name}: {error}{advice}"
        raise ConfigurationError(message) from None


async def submit_job(
    request: Any,
    how: How,
    console: Console,
    *,
    watch: bool,
    download: str | None,
    again: bool,
    idempotency_key: str | None,
) -> int:
    """Submit *request*, print its handle, and give the exit status."""
    journal = opened(how.journal) if how.journal is not None else None
    async with (
        ZuoraClient(how.settings, how.budget) as client,
        JobWatcher(client, journal=journal) as watcher,
    ):
        try:
            with exits.interruptible():
                submitted = await watcher.submit(request, again=again, idempotency_key=idempotency_key)
        except exits.Interrupted:
            say_what_is_in_doubt(watcher, console)
            raise
    _tell(submitted, how, console)
    if submitted.handle is None or not (watch or download is not None):
        return exits.ALL_SUCCEEDED
    return await watch_jobs(
        [submitted.handle],
        how.settings,
        how.budget,
        console,
        output=how.output,
        timeout=how.timeout,
        cancel_on_interrupt=False,
        journal=opened(how.journal) if how.journal is not None else None,
        download=download,
    )


def say_what_is_in_doubt(watcher: JobWatcher, console: Console) -> None:
    """Say of which requests it is not known whether they were carried out, since they were interrupted on their way."""
    for uncertain in watcher.left_in_doubt:
        console.print(Text(str(uncertain)))


def _tell(submitted: Submitted[Any], how: How, console: Console) -> None:
    invalid = list(getattr(submitted.answer, "invalid_ids", ()))
    if how.output == "jsonl":
        Results(how.output).line(
            "submitted", submitted.handle, from_journal=submitted.from_journal, invalid_ids=invalid
        )
        return
    if submitted.handle is not None:
        try:
            sys.stdout.write(f"{submitted.handle}\n")
            sys.stdout.flush()
        except OSError:  # then it must be told elsewhere
            console.print(Text(f"begun: {submitted.handle}"))
            raise
    notes = {
        "done at once, without a job": submitted.handle is None,
        "it was submitted in an earlier run": submitted.from_journal,
        f"without a PDF, or unknown, and so not in it: {', '.join(invalid)}": bool(invalid),
    }
    for note in (note for note, is_so in notes.items() if is_so):
        console.print(Text(note))
