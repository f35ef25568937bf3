"""Not a test: forks a process a line of its input, lets it watch jobs with a journal, and kills it (-9) in the middle.

Forking spares each of them the imports. Reads JSON lines, writes one for each when that process is gone.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from zuora_jobs import Budget, Cadence, Finished, JobHandle, JobWatcher, Journal, Settings, ZuoraClient

Work = Callable[[dict[str, Any], int], Coroutine[Any, Any, None]]
"""Does what is ordered, and tells of it on a file."""


async def watch(order: dict[str, Any], told: int) -> None:
    """Tell each end, acknowledge it, and tell that this is on the disk."""
    handles: list[JobHandle[Any]] = [JobHandle.parse(text) for text in order["handles"]]
    settings = Settings(base_url=order["url"], access_token=order["token"], track_id=order["track_id"])
    journal = Journal.open(order["journal"])
    async with (
        ZuoraClient(settings, Budget(rate=1e5, concurrency=50), rng=Random(1)) as client,
        JobWatcher(client, journal=journal, cadence=Cadence.constant(0.05)) as watcher,
    ):

        async def acknowledge(handle: JobHandle[Any]) -> None:
            await journal.acknowledge(handle)
            os.write(told, f"acked {handle}\n".encode())

        async with watcher.stream(handles) as events, asyncio.TaskGroup() as group:
            async for event in events:
                if isinstance(event, Finished):
                    os.write(told, f"told {event.handle} {event.outcome.name} {event.from_journal}\n".encode())
                    group.create_task(acknowledge(event.handle))


def obey(order: dict[str, Any], work: Work) -> int:
    """Fork, kill after a while (null: let it end by itself), and give how it ended."""
    child = os.fork()
    if not child:
        status = 99
        try:
            told = os.open(order["told"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            asyncio.run(work(order, told))
            status = 0
        finally:
            os._exit(status)
    if order["after"] is not None:
        time.sleep(order["after"])
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def main(work: Work) -> None:
    """Obey until there is no more input."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps({"status": obey(json.loads(line), work)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(watch)
