"""`zuora-jobs report`: a picture of a run, from its journal."""

from __future__ import annotations

import os
import sys
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
    if output == "-":
        sys.stdout.write(page)
        sys.stdout.flush()
        return exits.ALL_SUCCEEDED
    _write(Path(output), page, Path(journal))
    console.print(Text(f"wrote {output}: {len(history.jobs)} jobs, {len(page.encode()) / 1000:.0f} kB"))
    return exits.ALL_SUCCEEDED


def _write(path: Path, page: str, journal: Path) -> None:
    """Write *page* whole or not at all: whoever looks at it meanwhile sees the one before."""
    beside = path.absolute().with_name(f".{path.name}-{os.getpid()}")
    try:
        if path.is_dir():
            message = f"{path} is a folder: name a file for the page, such as {path / 'report.html'}"
            raise ConfigurationError(message)
        if path.exists() and not path.is_file():
            message = f"{path} is a device or a pipe: name a file for the page, or - for stdout"
            raise ConfigurationError(message)
        if _belongs_to(journal, path):
            message = f"{path} is the journal itself, or a file of it: name another file for the page"
            raise ConfigurationError(message)
        beside.write_text(page, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        message = f"cannot write {path}: {error.strerror or error}"
        raise ConfigurationError(message) from None


def _belongs_to(journal: Path, path: Path) -> bool:
    whole = journal.expanduser().resolve()
    return path.resolve() in {whole.with_name(whole.name + ending) for ending in ("", "-wal", "-shm", "-lock")}
