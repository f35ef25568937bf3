"""The command: what its commands are, and how whatever goes wrong is told.

Everything that can be wrong with what was typed is found before any request, and said in one sentence.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from zuora_jobs.cli import commands, exits, work
from zuora_jobs.errors import ApiError, ConfigurationError, ZuoraJobsError

if TYPE_CHECKING:
    from collections.abc import Sequence


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


for _each in (
    commands.demo,
    work.export,
    work.bulk_pdfs,
    work.delete_invoices,
    work.reverse_invoices,
    work.apply_credit,
    work.submit,
    commands.watch,
    work.download,
    commands.cancel,
    commands.invoice,
    commands.kinds,
    commands.report,
    commands.emulate,
):
    command.add_command(_each)
