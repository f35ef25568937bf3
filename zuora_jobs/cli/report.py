"""`zuora-jobs report`: a picture of a run, from its journal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from zuora_jobs.cli import exits
from zuora_jobs.cli.view import result_console
from zuora_jobs.errors import ConfigurationError, JournalError
from zuora_jobs.journal.reading import read_history
from zuora_jobs.report.page import render
from zuora_jobs.report.summary import summarize
from zuora_jobs.report.text import print_summary

if TYPE_CHECKING:
    from rich.console import Console


def show_report(journal: str, output: str | None, console: Console) -> int:
    """Print what *journal* tells in figures, or write a page to *output*, and say so on *console*."""
    try:
        history = read_history(journal)
    except JournalError as error:  # what was named cannot be reported on: as good as a wrong argument
        raise ConfigurationError(str(error)) from error
    if output is None:
        print_summary(summarize(history), result_console())
        return exits.ALL_SUCCEEDED
    page = render(history, title=Path(journal).name)
    _write(Path(output), page)
    console.print(Text(f"wrote {output}: {len(history.jobs)} jobs, {len(page.encode()) / 1000:.0f} kB"))
    return exits.ALL_SUCCEEDED


def _write(path: Path, page: str) -> None:
    """Write *page* whole or not at all: whoever looks at it meanwhile sees the one before."""
    if path.is_dir():
        message = f"{path} is a folder: name a file for the page, such as {path / 'report.html'}"
        raise ConfigurationError(message)
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        beside.write_text(page, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        message = f"cannot write {path}: {error.strerror or error}"
        raise ConfigurationError(message) from None
