"""The options that commands share, and what becomes of them before any request."""

from __future__ import annotations

import asyncio
import logging
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import field, frozen
from rich.console import Console
from rich.logging import RichHandler

from zuora_jobs.checks import number
from zuora_jobs.cli import exits
from zuora_jobs.downloads.downloader import prepared
from zuora_jobs.errors import CannotSave, ConfigurationError, JournalError
from zuora_jobs.journal.files import exists as journal_exists
from zuora_jobs.journal.journal import Journal
from zuora_jobs.settings import ENVIRONMENTS, Settings, environment_url
from zuora_jobs.transport.limits import Budget

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

CommandT = TypeVar("CommandT", bound="Callable[..., Any]")


def _set_up_logging(context: click.Context, _: click.Parameter, verbosity: int) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    level = {0: logging.ERROR, 1: logging.INFO}.get(verbosity, logging.DEBUG)
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False)
    logger = logging.getLogger("zuora_jobs")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    context.obj = console


def common(function: CommandT) -> CommandT:
    """Add `--verbose`, and give the command its console."""
    return click.option(
        "-v",
        "--verbose",
        count=True,
        expose_value=False,
        callback=_set_up_logging,
        help="Log to stderr; twice for debug.",
    )(function)


def settings(function: CommandT) -> CommandT:
    """Add what names the tenant."""
    function = click.option("--base-url", help="The tenant's address, instead of ZUORA_BASE_URL.")(function)
    return click.option(
        "--environment", help=f"The data centre, instead of ZUORA_ENVIRONMENT: {', '.join(ENVIRONMENTS)}."
    )(function)


def jobs(function: CommandT) -> CommandT:
    """Add handles, `--from`, `--timeout` and `--format`."""
    function = click.option("--from", "source", metavar="FILE|-", help="Read handles from a file, one a line.")(
        timeout_and_format(function)
    )
    return click.argument("handles", nargs=-1, metavar="[HANDLE]…")(function)


def spending(function: CommandT) -> CommandT:
    """Add what may be spent."""
    function = click.option("--concurrency", type=int, metavar="N", help="Requests at once at most.")(function)
    return click.option("--rate", type=float, metavar="R", help="Requests a second at most.")(function)


@frozen(kw_only=True)
class How:
    """How a command is to go about it: what all those share that submit or fetch something."""

    settings: Settings = field(repr=False)
    budget: Budget
    output: str
    """`table` or `jsonl`."""
    timeout: float | None = None
    """Seconds for each job."""
    journal: str | None = None
    """A path."""


def how(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that `How` is made of, and hand it over as `how`."""

    @wraps(function)
    def with_how(
        *arguments: Any,
        base_url: str | None,
        environment: str | None,
        rate: float | None,
        concurrency: int | None,
        timeout: float | None,
        output: str,
        journal: str | None,
        **others: Any,
    ) -> int:
        tenant = settings_of(base_url, environment)
        check_timeout(timeout)
        made = How(
            settings=tenant,
            budget=Budget.for_tenant(tenant.base_url, rate=rate, concurrency=concurrency),
            output=output,
            timeout=timeout,
            journal=journal,
        )
        return function(*arguments, how=made, **others)

    help_of_journal = "Keep a record in this file: after a crash the same again goes on, and submits nothing twice."
    journal_option = click.option("--journal", metavar="PATH", help=help_of_journal)
    return common(settings(spending(timeout_and_format(journal_option(with_how)))))


def timeout_and_format(function: CommandT) -> CommandT:
    """Add `--timeout` and `--format`."""
    function = click.option("--timeout", type=float, metavar="S", help="Seconds for each job; then it is lost.")(
        function
    )
    return click.option(
        "--format", "output", type=click.Choice(["table", "jsonl"]), default="table", help="What to write to stdout."
    )(function)


def settings_of(base_url: str | None, environment: str | None) -> Settings:
    """Read the settings from the environment and the options."""
    if base_url and environment:
        message = "give --base-url or --environment, not both"
        raise ConfigurationError(message)
    return Settings.from_env(base_url=environment_url(environment) if environment else base_url)


def opened(path: str, *, is_resumed: bool = False) -> Journal:
    """Open the journal at *path*; with *is_resumed*, only one that there is."""
    try:
        if is_resumed and not journal_exists(path):
            message = f"there is no journal {path} to go on from; to begin one, give handles as well"
            raise ConfigurationError(message)
        return Journal.open(path)
    except JournalError as error:  # before any request, so it is as good as a wrong argument
        raise ConfigurationError(str(error)) from error


def writable(folder: str) -> str:
    """Make sure that files can be written into *folder*, which is made where there is none.

    Raises:
        ConfigurationError: they cannot.
    """
    if not folder:
        message = "the folder for the files has no name"
        raise ConfigurationError(message)
    try:
        prepared(Path(folder))
    except CannotSave as error:  # before any request, so it is as good as a wrong argument
        raise ConfigurationError(str(error)) from error
    return folder


def in_a_loop(work: Coroutine[Any, Any, int]) -> int:
    """Run a command's work."""
    try:
        return asyncio.run(work)
    except BrokenPipeError:
        raise exits.ReaderGone from None


def check_again(how: How, *, again: bool) -> None:
    """Make sure that there is a journal where what it left uncertain is to be submitted anew."""
    if again and how.journal is None:
        message = "--again is about what a journal knows: give --journal as well"
        raise ConfigurationError(message)


def check_timeout(timeout: float | None) -> None:
    """Make sure that it can be one."""
    if timeout is not None:
        number("--timeout", timeout, above=0)
