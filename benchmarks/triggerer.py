"""A fleet of deferred tasks in one of Airflow's triggerers: ours, and the trigger that its providers have.

    python benchmarks/triggerer.py [--jobs 2000] [--interval 10] [--seed 1]

Runs where Airflow is installed (README, "When one machine is not enough"). A real triggerer process on SQLite, real sockets,
real time; the emulator and the measuring are another process. Jobs last 40 s in the median (lognormal, sigma 0.5, 100 s at
most), and begin when half of the tasks are watched.
"""

# ruff: noqa: PLC0415 - Airflow reads its environment when it is imported

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import _airflow_lab as lab
from attrs import define

from zuora_jobs import emulator
from zuora_jobs.emulator import Step

PATIENCE: Final = 240.0
"""Seconds after which those that have not been woken are not waited for."""


@define
class Found:
    """What came of one contender."""

    name: str
    woken: int
    requests: int
    tokens: int
    seconds: float
    late: list[float]
    """Seconds from each job's end until a look saw it."""
    woke: list[float]
    """Seconds from each job's end until its task was to go on."""
    spent: lab.Spent


Trigger = tuple[str, Mapping[str, Any]]


def ours(handles: Sequence[str]) -> list[Trigger]:
    """One trigger a job, as `ZuoraWatchOperator.partial(...).expand(handles=...)` makes them."""
    from zuora_jobs.integrations.airflow import ZuoraJobsTrigger

    return [ZuoraJobsTrigger(handle).serialize() for handle in handles]


def ours_together(handles: Sequence[str]) -> list[Trigger]:
    """One trigger for all jobs, as `ZuoraWatchOperator(handles=[...])` makes it."""
    from zuora_jobs.integrations.airflow import ZuoraJobsTrigger

    return [ZuoraJobsTrigger(list(handles)).serialize()]


def usual(url: str, token: str, interval: float) -> Callable[[Sequence[str]], list[Trigger]]:
    """What providers have."""

    def make(handles: Sequence[str]) -> list[Trigger]:
        return [
            (
                "_airflow_usual.UsualTrigger",
                {"url": url, "token": token, "job": handle.partition(":")[2], "interval": interval},
            )
            for handle in handles
        ]

    return make


async def contend(
    name: str,
    make: Callable[[Sequence[str]], list[Trigger]],
    zuora: emulator.Emulator,
    home: Path,
    args: argparse.Namespace,
) -> Found:
    """Have a triggerer watch jobs by the triggers that *make* gives."""
    rng = random.Random(args.seed)
    jobs = []
    for _ in range(args.jobs):
        seconds = min(100.0, rng.lognormvariate(3.69, 0.5))
        jobs.append(
            zuora.add_job("operation", life=[Step("Processing", seconds=args.head_start + seconds), Step("Completed")])
        )
    before = len(zuora.requests)
    run_id = "".join(character for character in name if character.isalnum())
    triggers = make([job.handle for job in jobs])
    await asyncio.to_thread(lab.defer, run_id, triggers)
    loop = asyncio.get_running_loop()
    started, wall = loop.time(), time.time() - loop.time()  # noqa: TID251 - Airflow's clock is the wall's
    with lab.triggerer(home) as triggerer:
        woken: dict[int, float] = {}
        while len(woken) < len(triggers) and loop.time() - started < PATIENCE:
            await asyncio.sleep(2)
            triggerer.measure()
            woken = await asyncio.to_thread(lab.woken, run_id)
        seconds = loop.time() - started
    asked = zuora.requests[before:]
    ended = {job.handle: (number, job.ended_at) for number, job in enumerate(jobs) if job.ended_at is not None}
    late: dict[str, float] = {}
    for request in asked:
        if request.handle in ended and request.at >= ended[request.handle][1]:
            late.setdefault(request.handle, request.at - ended[request.handle][1])
    ends = dict(ended.values())
    return Found(
        name=name,
        woken=len(woken),
        requests=sum("/jobs/" in request.path for request in asked),
        tokens=sum("token" in request.path for request in asked),
        seconds=seconds,
        late=list(late.values()),
        woke=[moment - wall - ends[number] for number, moment in woken.items() if len(triggers) == len(jobs)],
        spent=triggerer.spent,
    )


def show(found: Sequence[Found], jobs: int) -> None:
    """Print the table."""
    print(
        f"| {jobs} jobs | woken | looks | tokens | runner's CPU s | us a look | supervisor's CPU s | MiB | descriptors | late, mean s | p99 |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for one in found:
        late = sorted(one.late) or [float("nan")]
        print(
            f"| {one.name} | {one.woken} | {one.requests} | {one.tokens} | {one.spent.runner:.1f} |"
            f" {one.spent.runner / max(1, one.requests) * 1e6:.0f} | {one.spent.supervisor:.1f} | {one.spent.memory / 2**20:.0f} |"
            f" {one.spent.descriptors} | {statistics.fmean(late):.2f} | {late[int(len(late) * 0.99) - 1]:.2f} |"
        )
        if one.woke:
            print(
                f"<!-- {one.name}: its task was to go on {statistics.fmean(one.woke):.2f} s after the end, on average -->"
            )


async def main() -> int:
    """Run all contenders, one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between the usual trigger's looks")
    parser.add_argument(
        "--head-start", type=float, default=30.0, help="seconds that jobs last longer, for tasks to be taken in"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="of the contenders, whose names have this in them")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        async with emulator.running(request_log=None, concurrency_limit=None) as zuora:
            settings = zuora.settings()
            home = Path(folder)
            await asyncio.to_thread(lab.prepare, home, zuora.url, settings.client_id, settings.client_secret)
            token = zuora.issue_token()
            contenders = {
                "zuora_jobs, a task a job": ours,
                "zuora_jobs, one task": ours_together,
                f"usual, every {args.interval:g} s": usual(zuora.url, token, args.interval),
            }
            found = [
                await contend(name, make, zuora, home, args) for name, make in contenders.items() if args.only in name
            ]
    show(found, args.jobs)
    return 0 if all(one.woken for one in found) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
