"""The whole poll, for one number of jobs, in a process of its own. Prints its figures as JSON.

python _scale_polls.py '{"port": 8080, "jobs": 100000, "polls": 20000, "first": true, "later": true}'
"""

import asyncio
import json
import os
import sys
import time
from typing import Any, Final

from _cost_child import TICK, WARM_UP, ids, resident
from _cost_plan import AT_ONCE, SHORT
from _cost_work import TOKEN

from zuora_jobs import OPERATION, Budget, Cadence, JobWatcher, Observed, Settings, ZuoraClient

WARM_UP_POLLS: Final = 2000
"""Before anything is measured, so that what is needed once is not counted as the jobs'."""
AFTERWARDS: Final = 1.0
"""Seconds after the intake in which a stall still counts."""
PATIENCE: Final = 15
"""Seconds without a poll after which it is given up."""
Figures = dict[str, float]


class Watching:
    """One stream of so many jobs, which a task of its own reads."""

    def __init__(self, watcher: JobWatcher, jobs: int, first: int = 0) -> None:
        self.jobs = jobs
        self.looked_at = 0
        """Jobs that have been, at least once."""
        self._watcher = watcher
        self._task = asyncio.ensure_future(self._read(first))

    async def _read(self, first: int) -> None:
        handles = map(OPERATION.handle, ids(self.jobs, first))
        async with self._watcher.stream(handles, at_once=self.jobs + 1) as events:
            async for event in events:
                if isinstance(event, Observed) and event.polls == 1:
                    self.looked_at += 1

    @property
    def polls(self) -> int:
        """How many looks have been answered, by the watcher's own count."""
        return self._watcher.statistics().polls

    @property
    def is_taken_in(self) -> bool:
        """Whether all jobs are being watched."""
        return self._watcher.statistics().watching >= self.jobs

    def check(self) -> None:
        """Raise what has ended the stream, and what went wrong with a look: here nothing does."""
        if self._task.done():
            self._task.result()
        said = self._watcher.statistics()
        troubles = said.refused + said.retries + said.succeeded + said.failed + said.cancelled + said.lost
        assert not troubles, f"looks at jobs that never end have failed, or found an end: {said}"

    async def until(self, *, polls: int = 0, looked_at: int = 0) -> None:
        """Wait until there have been so many polls, and so many jobs have been looked at."""
        before, quiet_since = -1, time.perf_counter()
        while (now := self.polls) < polls or self.looked_at < looked_at:
            self.check()
            if now != before:
                before, quiet_since = now, time.perf_counter()
            elif time.perf_counter() > quiet_since + PATIENCE:
                message = f"no poll for {PATIENCE} s; {self.looked_at:,} of {self.jobs:,} jobs have been looked at"
                raise TimeoutError(message)
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Leave the jobs alone."""
        self._task.cancel()
        await asyncio.wait([self._task])


async def taken_in(watching: Watching) -> Figures:
    """Give the seconds until all are taken in, and the worst that a timer meets with until then and for a while after."""
    loop = asyncio.get_running_loop()
    worst = worst_cpu = ended = 0.0
    began = loop.time()
    while not ended or loop.time() < ended + AFTERWARDS:
        before, spent = loop.time(), time.process_time()
        await asyncio.sleep(TICK)
        worst = max(worst, loop.time() - before - TICK)
        worst_cpu = max(worst_cpu, time.process_time() - spent)
        if not ended and watching.is_taken_in:
            ended = loop.time()
        watching.check()
    return {"seconds": ended - began, "stall": worst, "stall_cpu": worst_cpu}


async def polled(watching: Watching, polls: int) -> Figures:
    """Give what so many polls cost, and how many of them were first looks."""
    begun, looked_at = watching.polls, watching.looked_at
    wall, spent = time.perf_counter(), time.process_time()
    await watching.until(polls=begun + polls)
    spent, wall = time.process_time() - spent, time.perf_counter() - wall
    return {"cpu": spent, "wall": wall, "polls": watching.polls - begun, "first": watching.looked_at - looked_at}


async def warm_up(client: ZuoraClient) -> None:
    """Poll a few jobs, with a watcher that nobody has anything to do with afterwards."""
    async with JobWatcher(client, cadence=Cadence.adaptive(min_interval=SHORT)) as watcher:
        watching = Watching(watcher, WARM_UP)
        await watching.until(polls=WARM_UP_POLLS)
        await watching.stop()


async def measure(order: dict[str, Any]) -> None:
    """Take the jobs in, poll, and print what it took."""
    settings = Settings(base_url=f"http://127.0.0.1:{order['port']}", access_token=TOKEN)
    async with ZuoraClient(settings, Budget(rate=1e6, concurrency=AT_ONCE)) as client:
        await warm_up(client)
        empty = resident()
        async with JobWatcher(client, cadence=Cadence.adaptive(min_interval=SHORT)) as watcher:
            watching = Watching(watcher, order["jobs"], first=WARM_UP)
            said = {"taken_in": await taken_in(watching)}
            if order["first"]:
                said["first"] = await polled(watching, order["polls"])
            if order["later"]:
                await watching.until(looked_at=order["jobs"])
                said["later"] = await polled(watching, order["polls"])
                said["memory"] = {"bytes": resident() - empty}
            watching.check()
            print(json.dumps(said), flush=True)
            os._exit(0)  # tidying up is not what is measured


if __name__ == "__main__":
    asyncio.run(measure(json.loads(sys.argv[1])))
