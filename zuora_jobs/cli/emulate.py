"""`zuora-jobs emulate`: a local Zuora, until interrupted."""

from __future__ import annotations

import asyncio
import shlex
import sys
from ipaddress import ip_address
from typing import Final

from zuora_jobs import emulator
from zuora_jobs.cli import exits
from zuora_jobs.errors import ConfigurationError

EXAMPLES: Final = {
    "operation": ("Completed", 20.0),
    "bulk-pdf": ("PartialComplete", 40.0),
    "aqua": ("completed", 60.0),
    "credit-memo-apply": ("Processed", 30.0),
    "credit-memo-unapply": ("Processed", 30.0),
}
"""What there is to watch when no scenario is given: how each job ends, and after how many seconds."""


async def run_emulator(host: str, port: int, scenario: str | None) -> int:
    """Serve until interrupted; print the address and the variables that make `zuora-jobs` use it."""
    try:
        async with emulator.running(host=host, port=port) as zuora:
            if scenario is not None:
                zuora.load_scenario(scenario)
            else:
                for kind, (end, seconds) in EXAMPLES.items():
                    zuora.add_job(kind, ends=end, seconds=seconds)
                zuora.add_invoice()
            _introduce(zuora)
            with exits.interruptible():
                await asyncio.Event().wait()
    except OSError as error:
        message = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise ConfigurationError(message) from None
    return exits.ALL_SUCCEEDED


def check_loopback(host: str) -> None:
    """Make sure that *host* is this machine: the emulator speaks http and hands out its secrets.

    Raises:
        ConfigurationError: others on the network could reach it.
    """
    try:
        loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        message = f"--host {host} is no loopback address: the emulator is for this machine only, use 127.0.0.1"
        raise ConfigurationError(message)


def _introduce(zuora: emulator.Emulator) -> None:
    lines = [f"# a local Zuora at {zuora.url}, until you press Ctrl-C; in another terminal:"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in zuora.environment().items()]
    handles = [job.handle for job in zuora.jobs]
    if handles:
        lines.append(f"zuora-jobs watch {' '.join(handles[:8])}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
