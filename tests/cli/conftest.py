"""The command as its user meets it: a process of its own, against an emulator in the test's loop, on real time."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import attrs
import pytest

from zuora_jobs import emulator


@attrs.frozen
class Ran:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        import json

        return [json.loads(line) for line in self.out.splitlines()]

    def of(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == name]


class Command:
    """A running command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ended(self, stdin: str | None = None) -> Ran:
        out, err = await asyncio.wait_for(self.process.communicate(stdin.encode() if stdin else None), 60)
        assert self.process.returncode is not None
        return Ran(self.process.returncode, out.decode(), err.decode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)


Start = Callable[..., Any]


@pytest.fixture
def start(zuora_jobs_command: tuple[str, ...]) -> Start:
    """Start `zuora-jobs` with arguments and ZUORA_ variables; imported anew as `python -m zuora_jobs`, if need be."""

    async def start_command(
        arguments: Sequence[str], environ: Mapping[str, str] | None = None, *, imported_anew: bool = False
    ) -> Command:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("ZUORA_", "COLUMNS"))}
        return Command(
            await asyncio.create_subprocess_exec(
                *((sys.executable, "-m", "zuora_jobs") if imported_anew else zuora_jobs_command),
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**clean, **(environ or {})},
            )
        )

    return start_command


@pytest.fixture
def run(start: Start) -> Start:
    """Run `zuora-jobs` to its end."""

    async def run_command(
        *arguments: str, environ: Mapping[str, str] | None = None, stdin: str | None = None, **how: bool
    ) -> Ran:
        command: Command = await start(arguments, environ, **how)
        return await command.ended(stdin)

    return run_command


@pytest.fixture
async def zuora() -> AsyncIterator[emulator.Emulator]:
    async with emulator.running() as running:
        yield running
