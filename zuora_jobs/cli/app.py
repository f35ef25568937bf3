"""The command and its options; each command's work is in a file of its own.

Everything that can be wrong with what was typed is found here, before any request, and said in one sentence.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import evolve
from rich.console import Console
from rich.logging import RichHandler

from zuora_jobs.checks import number
from zuora_jobs.cli import exits
from zuora_jobs.cli.cancel import cancel_jobs
from zuora_jobs.cli.demo import run_demo
from zuora_jobs.cli.emulate import check_loopback, run_emulator
from zuora_jobs.cli.handles import gather
from zuora_jobs.cli.invoice import show_invoice
from zuora_jobs.cli.kinds import show_kinds
from zuora_jobs.cli.watch import watch_jobs
from zuora_jobs.client import check_cancellable
from zuora_jobs.errors import ApiError, ConfigurationError, JournalError, ZuoraJobsError
from zuora_jobs.journal.files import exists as journal_exists
from zuora_jobs.journal.journal import Journal
from zuora_jobs.protocol.messages import invoice_request
from zuora_jobs.settings import ENVIRONMENTS, Settings, environment_url
from zuora_jobs.transport.limits import Budget

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

CommandT = TypeVar("CommandT", bound="Callable[..., Any]")

EXIT_STATUS = """\b
Exit status: 0 every job succeeded; 1 some job failed or was cancelled;
2 wrong usage or settings, or a journal that cannot be opened; 3 some job
was lost, or the journal or stdout could not be written; 130 interrupted.
With --journal and no handles: for all jobs of the journal."""


CANCEL_STATUS = """\b
Exit status: 0 every job ended cancelled; 1 some had ended another way;
2 wrong usage or settings; 3 some job was lost; 130 interrupted."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit status; errors are told on stderr, in a sentence."""
    if sys.stdout is None:
        return _say("there is no stdout to write to: it was closed", exits.USAGE)
    try:
        status = command.main(arguments, prog_name="zuora-jobs", standalone_mode=False)
    except click.UsageError as error:
        hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        return _say(error.format_message() + hint, exits.USAGE)
    except (ConfigurationError, click.ClickException) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        return _say(text, exits.USAGE)
    except ApiError as error:
        return _say(str(error), exits.SOME_DID_NOT)
    except ZuoraJobsError as error:
        return _say(str(error), exits.SOME_LOST)
    except (exits.Interrupted, KeyboardInterrupt, click.Abort):
        return _say("interrupted", exits.INTERRUPTED)
    except exits.ReaderGone:
        _give_stdout_up()
        return exits.INTERRUPTED
    except OSError as error:  # of a disk that is full, say: what had to be told could not be
        _give_stdout_up()
        told = "what is in a journal will be told when the same is run again"
        return _say(f"cannot write the results: {error.strerror or error}; {told}", exits.SOME_LOST)
    return status if isinstance(status, int) else exits.ALL_SUCCEEDED


def _give_stdout_up() -> None:
    """Have what is still buffered for stdout go nowhere, so that it does not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str, status: int) -> int:
    print(f"zuora-jobs: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201
    return status


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


def _common(function: CommandT) -> CommandT:
    return click.option(
        "-v",
        "--verbose",
        count=True,
        expose_value=False,
        callback=_set_up_logging,
        help="Log to stderr; twice for debug.",
    )(function)


def _settings(function: CommandT) -> CommandT:
    function = click.option("--base-url", help="The tenant's address, instead of ZUORA_BASE_URL.")(function)
    return click.option(
        "--environment", help=f"The data centre, instead of ZUORA_ENVIRONMENT: {', '.join(ENVIRONMENTS)}."
    )(function)


def _jobs(function: CommandT) -> CommandT:
    function = click.option("--timeout", type=float, metavar="S", help="Seconds for each job; then it is lost.")(
        function
    )
    function = click.option(
        "--format", "output", type=click.Choice(["table", "jsonl"]), default="table", help="What to write to stdout."
    )(function)
    function = click.option("--from", "source", metavar="FILE|-", help="Read handles from a file, one a line.")(
        function
    )
    return click.argument("handles", nargs=-1, metavar="[HANDLE]…")(function)


def _spending(function: CommandT) -> CommandT:
    function = click.option("--concurrency", type=int, metavar="N", help="Requests at once at most.")(function)
    return click.option("--rate", type=float, metavar="R", help="Requests a second at most.")(function)


def _settings_of(base_url: str | None, environment: str | None) -> Settings:
    if base_url and environment:
        message = "give --base-url or --environment, not both"
        raise ConfigurationError(message)
    return Settings.from_env(base_url=environment_url(environment) if environment else base_url)


def _budget_of(settings: Settings, rate: float | None, concurrency: int | None) -> Budget:
    budget = Budget.for_tenant(settings.base_url)
    if rate is not None:
        budget = evolve(budget, rate=rate)
    return evolve(budget, concurrency=concurrency) if concurrency is not None else budget


def _opened(path: str, *, is_resumed: bool) -> Journal:
    try:
        if is_resumed and not journal_exists(path):
            message = f"there is no journal {path} to go on from; to begin one, give handles as well"
            raise ConfigurationError(message)
        return Journal.open(path)
    except JournalError as error:  # before any request, so it is as good as a wrong argument
        raise ConfigurationError(str(error)) from error


def _in_a_loop(work: Coroutine[Any, Any, int]) -> int:
    try:
        return asyncio.run(work)
    except BrokenPipeError:
        raise exits.ReaderGone from None


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog="Example: zuora-jobs demo")
@click.version_option(package_name="zuora_jobs")
def command() -> None:
    """Watch Zuora's slow jobs until they end.

    \b
    Settings come from the environment:
      ZUORA_BASE_URL, or ZUORA_ENVIRONMENT (prod, prod-eu, csbx, ...)
      ZUORA_CLIENT_ID and ZUORA_CLIENT_SECRET, or ZUORA_ACCESS_TOKEN
      ZUORA_ENTITY_ID, ZUORA_ORG_IDS, ZUORA_VERSION, ZUORA_WSDL_VERSION,
      ZUORA_TRACK_ID
    """  # noqa: D301 - \b is for click, and must be the character itself


@command.command(epilog="Example: zuora-jobs demo")
@_common
@click.pass_obj
def demo(console: Console) -> int:
    """Watch jobs of all kinds against a built-in Zuora; offline, no account needed."""
    return _in_a_loop(run_demo(console))


@command.command(
    epilog=f"Example: zuora-jobs watch aqua:e20b07474688ad5001468daf10e501de --timeout 3600\n\n{EXIT_STATUS}"
)
@_jobs
@_spending
@click.option(
    "--journal",
    metavar="PATH",
    help="Keep a record in this file, and go on from it: ended jobs are told without a request."
    " Without handles: all that has not ended, or was not told.",
)
@click.option("--cancel-on-interrupt", is_flag=True, help="On Ctrl-C cancel those jobs that can be cancelled.")
@_settings
@_common
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
    cancel_on_interrupt: bool,
    base_url: str | None,
    environment: str | None,
) -> int:
    """Watch jobs until every one has ended.

    A HANDLE is kind:id; `zuora-jobs kinds` lists the kinds. With --journal the
    same command again goes on where it was, and needs no handles for that.
    """
    wanted = gather(handles, source, journal=journal)
    settings = _settings_of(base_url, environment)
    budget = _budget_of(settings, rate, concurrency)
    _check_timeout(timeout)
    return _in_a_loop(
        watch_jobs(
            wanted,
            settings,
            budget,
            console,
            output=output,
            timeout=timeout,
            cancel_on_interrupt=cancel_on_interrupt,
            journal=_opened(journal, is_resumed=not wanted) if journal is not None else None,
        )
    )


@command.command(epilog=f"Example: zuora-jobs cancel aqua:e20b07474688ad5001468daf10e501de\n\n{CANCEL_STATUS}")
@_jobs
@_settings
@_common
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
    settings = _settings_of(base_url, environment)
    _check_timeout(timeout)
    return _in_a_loop(cancel_jobs(wanted, settings, console, output=output, timeout=timeout))


@command.command(epilog="Example: zuora-jobs invoice 2c92c8955bd63cc1015bd7c151af02ab --fields Id,Balance")
@click.argument("invoice_id", metavar="ID")
@click.option("--fields", metavar="A,B", help="Only these fields, by Zuora's names.")
@click.option("--timeout", type=float, default=60.0, metavar="S", help="Seconds to keep trying; 60 by default.")
@_settings
@_common
def invoice(
    *, invoice_id: str, fields: str | None, timeout: float, base_url: str | None, environment: str | None
) -> int:
    """Print an invoice, as JSON."""
    names = [name.strip() for name in fields.split(",")] if fields is not None else None
    settings = _settings_of(base_url, environment)
    invoice_request(settings, invoice_id, names)  # complains before anything is opened
    _check_timeout(timeout)
    return _in_a_loop(show_invoice(invoice_id, names, settings, timeout))


@command.command(epilog="Example: zuora-jobs kinds")
@_common
def kinds() -> int:
    """Print the table of kinds of jobs, and what their statuses mean."""
    return show_kinds()


@command.command(epilog="Example: zuora-jobs report run.db -o report.html")
@click.argument("journal", metavar="JOURNAL")
@click.option("-o", "--output", metavar="FILE.html", help="Write a page with charts and a table to this file instead.")
@_common
@click.pass_obj
def report(console: Console, *, journal: str, output: str | None) -> int:
    """Print a run in figures, from its journal, or draw it; also while it goes on.

    JOURNAL is the file that was given to `watch --journal`. Nothing is sent anywhere.
    """
    from zuora_jobs.cli.report import show_report  # noqa: PLC0415 - templates take a while, and only this needs them

    return show_report(journal, output, console)


@command.command(epilog="Example: zuora-jobs emulate --port 8080")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0: any that is free.")
@click.option("--scenario", metavar="FILE", help="Jobs, invoices and faults, in TOML or JSON.")
@_common
def emulate(host: str, port: int, scenario: str | None) -> int:
    """Run a local Zuora until interrupted."""
    check_loopback(host)
    return _in_a_loop(run_emulator(host, port, scenario))


def _check_timeout(timeout: float | None) -> None:
    if timeout is not None:
        number("--timeout", timeout, above=0)
