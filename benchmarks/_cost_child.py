"""One figure of one candidate, in a process of its own: prints it as JSON.

python _cost_child.py '{"driver": "_cost_aiohttp:loop", "figure": "cpu", "port": 8080, "jobs": 20, …}'
"""

import asyncio
import gc
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from _cost_server import looks
from _cost_work import Watching, Work

WARM_UP: Final = 20
"""Jobs looked at before memory or a stall is measured, so that what is needed once is not counted as the jobs'."""
TICK: Final = 0.001
"""Seconds of the timer whose lateness is measured."""
SETTLED: Final = 0.5
"""Seconds of polling before CPU is measured."""
PATIENCE: Final = 15
"""Seconds without a look after which it is given up."""


def ids(count: int, first: int = 0) -> Iterator[str]:
    """Give so many ids of jobs, each made when it is asked for."""
    return (f"{number:032x}" for number in range(first, first + count))


def resident() -> int:
    """Give the bytes of this process that are in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


async def _until_looked_at(watching: Watching, port: int, count: int) -> None:
    before, quiet_since = -1, time.perf_counter()
    while (now := looks(port)) < count:
        watching.check()
        if now != before:
            before, quiet_since = now, time.perf_counter()
        elif time.perf_counter() > quiet_since + PATIENCE:
            message = f"no job has been looked at for {PATIENCE} s; {count - now} have not been yet"
            raise TimeoutError(message)
        await asyncio.sleep(0.05)


async def cpu(watching: Watching, port: int, jobs: int, seconds: float) -> dict[str, float]:
    """Poll for so many seconds; give what it took, and how often the server was asked."""
    before = looks(port)
    watching.start(ids(jobs))
    await _until_looked_at(watching, port, before + jobs)
    await asyncio.sleep(SETTLED)
    before = looks(port)
    wall, spent = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    wall, spent = time.perf_counter() - wall, time.process_time() - spent
    return {"polls": looks(port) - before, "cpu": spent, "wall": wall}


async def _warm_up(watching: Watching, port: int) -> None:
    before = looks(port)
    watching.start(ids(WARM_UP))
    await _until_looked_at(watching, port, before + WARM_UP)
    await asyncio.sleep(SETTLED)


async def memory(watching: Watching, port: int, jobs: int, _: float) -> dict[str, float]:
    """Look at each job once, and give what they take while they wait."""
    await _warm_up(watching, port)
    empty = resident()
    before = looks(port)
    watching.start(ids(jobs, first=WARM_UP))
    await _until_looked_at(watching, port, before + jobs)
    await asyncio.sleep(SETTLED)
    return {"bytes": resident() - empty, "jobs": jobs}


async def intake(watching: Watching, port: int, jobs: int, seconds: float) -> dict[str, float]:
    """Take jobs in, and give by how much a timer was late at worst, and the most CPU between two of its ticks."""
    await _warm_up(watching, port)
    loop = asyncio.get_running_loop()
    wanted = watching.taken() + jobs
    worst = worst_cpu = ended = 0.0
    began = loop.time()
    watching.start(ids(jobs, first=WARM_UP))
    while not ended or loop.time() < ended + seconds:
        before, spent = loop.time(), time.process_time()
        await asyncio.sleep(TICK)
        worst = max(worst, loop.time() - before - TICK)
        worst_cpu = max(worst_cpu, time.process_time() - spent)
        if not ended and watching.taken() >= wanted:
            ended = loop.time()
    return {"stall": worst, "cpu": worst_cpu, "seconds": ended - began}


FIGURES: Final = {"cpu": cpu, "memory": memory, "intake": intake}


async def measure(plan: dict[str, Any]) -> None:
    """Measure what *plan* says, print it, and leave without tidying up: that is not what is measured."""
    module, _, name = plan["driver"].partition(":")
    opened = getattr(importlib.import_module(module), name)
    work = Work(f"http://127.0.0.1:{plan['port']}", plan["interval"], plan["at_once"])
    async with opened(work) as watching:
        result = await FIGURES[plan["figure"]](watching, plan["port"], plan["jobs"], plan["seconds"])
        watching.check()
        print(json.dumps(result), flush=True)
        os._exit(0)


def main() -> None:
    """Measure, on the loop that is asked for."""
    plan = json.loads(sys.argv[1])
    factory = importlib.import_module("uvloop").new_event_loop if plan["uvloop"] else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(measure(plan))


if __name__ == "__main__":
    main()
