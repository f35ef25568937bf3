"""What a journal costs: CPU a poll, time to go on with 100,000 jobs, bytes on the disk.

    python benchmarks/journal.py [--jobs 600] [--pairs 9] [--handles 100000]

CPU a poll: jobs of all kinds are watched over real sockets, 20 at once, with and without a journal in turns, each time in a
fresh process against a fresh emulator in another one; what is compared is that process's CPU seconds, its thread's included.
Resuming: a journal of so many jobs is opened in a fresh process by a watcher that is given all handles, until the last
end has been told (where all had ended) or the last job was about to be looked at (where none had).
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from zuora_jobs import (
    KINDS,
    Budget,
    Cadence,
    Finished,
    JobHandle,
    JobWatcher,
    Journal,
    Settings,
    Succeeded,
    ZuoraClient,
)
from zuora_jobs.journal.entries import Accepted, Ended, Seen
from zuora_jobs.journal.store import Store
from zuora_jobs.protocol import wire
from zuora_jobs.protocol.messages import Request, Response

ENDS: Final = {"operation": "Completed", "bulk-pdf": "Completed", "aqua": "completed", "credit-memo-apply": "Processed"}
SAMPLES: Final = Path(__file__).parents[1] / "tests" / "samples"
DOCUMENTS: Final = {
    "operation": "operation.json",
    "bulk-pdf": "bulk-pdf.json",
    "aqua": "aqua-cancelled.json",
    "credit-memo-apply": "credit-memo-apply.json",
}


def handle_of(number: int) -> JobHandle[Any]:
    """Give the handle of one job of many, of all kinds in turn."""
    kinds = [KINDS[name] for name in ENDS]
    return kinds[number % len(kinds)].handle(f"{number:032x}")


# --- CPU a poll


@contextmanager
def emulator_elsewhere(folder: Path, jobs: int) -> Iterator[Settings]:
    """Run an emulator with *jobs* in a process of its own."""
    rng = random.Random(1)
    scenario = {
        "jobs": [
            {
                "kind": handle_of(number).kind.name,
                "id": handle_of(number).id,
                "ends": ENDS[handle_of(number).kind.name],
                "seconds": rng.uniform(2, 12),
            }
            for number in range(jobs)
        ]
    }
    path = folder / "scenario.json"
    path.write_text(json.dumps(scenario))
    command = [sys.executable, "-m", "zuora_jobs", "emulate", "--scenario", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        told = ""
        while "ZUORA_CLIENT_SECRET" not in told:
            told += process.stdout.readline()
        said = dict(re.findall(r"(ZUORA_\w+)=(\S+)", told))
        try:
            yield Settings.from_env(said)
        finally:
            process.terminate()


class Timed(ThreadPoolExecutor):
    """A thread that counts its CPU seconds."""

    spent = 0.0

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Any:
        """Run *function* in the thread."""

        def timed() -> Any:
            before = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                self.spent += time.thread_time() - before

        return super().submit(timed)


async def polls_and_cpu(settings: Settings, jobs: int, journal: Path | None) -> tuple[int, float, float]:
    """Watch all jobs to their ends; give the polls, the CPU seconds, and those of the journal's thread."""
    thread = Timed(1)
    async with ZuoraClient(settings, Budget(rate=100_000, concurrency=20)) as client:
        record = Journal.open(journal, executor=thread) if journal is not None else None
        before = time.process_time()
        async with JobWatcher(client, cadence=Cadence.constant(0.6), journal=record) as watcher:
            outcomes = await watcher.watch_all([handle_of(number) for number in range(jobs)])
            polls = watcher.statistics().polls
        spent = time.process_time() - before
    assert all(isinstance(outcome, Succeeded) for outcome in outcomes.values())
    return polls, spent, thread.spent


def cpu_a_poll(jobs: int, journal: Path | None, folder: Path) -> tuple[float, float, float]:
    """Measure in a fresh process: microseconds of CPU a poll, polls a job, and the share of the journal's thread."""
    with emulator_elsewhere(folder, jobs) as settings:
        environment = {
            **os.environ,
            "ZUORA_BASE_URL": settings.base_url,
            "ZUORA_CLIENT_ID": settings.client_id or "",
            "ZUORA_CLIENT_SECRET": settings.client_secret or "",
        }
        command = [sys.executable, __file__, "--watch", str(jobs), *([str(journal)] if journal is not None else [])]
        told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    polls, seconds, thread = json.loads(told)
    return seconds / polls * 1e6, polls / jobs, thread / seconds


def compare(jobs: int, pairs: int) -> None:
    """Print what a poll costs with a journal and without."""
    costs: dict[bool, list[float]] = {False: [], True: []}
    looks, shares = 0.0, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for pair in range(pairs):
            for kept in (False, True) if pair % 2 else (True, False):
                cost, looks, share = cpu_a_poll(jobs, folder / f"{pair}.db" if kept else None, folder)
                costs[kept].append(cost)
                shares += [share] if kept else []
        size = (folder / "0.db").stat().st_size / jobs
    without, with_it = (statistics.median(costs[kept]) for kept in (False, True))
    ratios = sorted(kept / bare for bare, kept in zip(costs[False], costs[True], strict=True))
    print(
        f"| {jobs} jobs, {looks:.1f} polls a job, {pairs} pairs | median us a poll | of that without, median of pairs |"
    )
    print("|---|---|---|")
    print(f"| without a journal | {without:.0f} | 1.00 |")
    print(f"| with a journal | {with_it:.0f} | {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |")
    print(f"\nThe journal's thread took {statistics.median(shares):.1%} of the CPU of its process (median).")
    print(f"\nOn the disk afterwards: {size:.0f} bytes a job, with its document.")


# --- resuming


def document_of(handle: JobHandle[Any]) -> Any:
    """Give a document such as the vendor shows."""
    raw = json.loads((SAMPLES / DOCUMENTS[handle.kind.name]).read_bytes())
    return wire.structure(handle.kind.model, raw | {"status": ENDS[handle.kind.name]})


def write_journal(path: Path, handles: int, *, ended: bool, documents: bool = True) -> None:
    """Make a journal of so many jobs."""
    store = Store(path)
    known = {kind: document_of(handle_of(number)) for number, kind in enumerate(ENDS)}
    bare = {name: wire.structure(KINDS[name].model, {"status": end}) for name, end in ENDS.items()}
    for start in range(0, handles, 1000):
        entries: list[Any] = []
        for number in range(start, min(start + 1000, handles)):
            handle = handle_of(number)
            entries.append(Accepted(handle, 1.0))
            entries.extend(Seen(handle, 2.0 + step, "Processing", "running", 5) for step in range(3))
            if ended:
                job = (known if documents else bare)[handle.kind.name]
                entries.append(Ended(Succeeded(handle=handle, job=job, polls=9, elapsed=9.0), 10.0))
        store.write(entries)
    store.close()


async def seconds_to_resume(path: Path, handles: int, *, ended: bool) -> float:
    """Give all handles to a watcher with the journal at *path*, and time what comes."""
    asked = 0
    everybody = asyncio.Event()

    async def send(_: Request) -> Response:
        await everybody.wait()
        raise AssertionError

    wanted = [handle_of(number) for number in range(handles)]
    began = time.perf_counter()
    settings = Settings(base_url="https://rest.example.com", access_token="none")
    async with (
        ZuoraClient(settings, send=send) as client,
        JobWatcher(client, journal=Journal.open(path)) as watcher,
        watcher.stream(wanted, at_once=handles + 1) as events,
    ):
        if ended:
            async for event in events:
                asked += isinstance(event, Finished)
            assert asked == handles
        else:
            fleet = watcher._opened()  # noqa: SLF001 - nothing is told of jobs that are merely to be watched
            while sum(watch.accepted for watch in fleet._watches.values()) < handles:  # noqa: SLF001, ASYNC110 - the same
                await asyncio.sleep(0.02)
        return time.perf_counter() - began


def resume(handles: int) -> None:
    """Print how long it takes to go on with many jobs, and how large their journal is."""
    print(f"\n| {handles} jobs, of all kinds | seconds to resume | bytes a job |")
    print("|---|---|---|")
    for name, options in {
        "none had ended": {"ended": False},
        "all had ended": {"ended": True},
        "all had ended, without documents": {"ended": True, "documents": False},
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.db"
            write_journal(path, handles, **options)
            size = path.stat().st_size / handles
            command = [sys.executable, __file__, "--resume", str(path), str(handles), str(options["ended"])]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(f"| {name} | {float(told):.2f} | {size:.0f} |")


def main() -> None:
    """Measure, and print tables; with a first argument of its own, be one of the processes that are measured."""
    match sys.argv[1:]:
        case ["--watch", jobs, *journal]:
            path = Path(journal[0]) if journal else None
            print(json.dumps(asyncio.run(polls_and_cpu(Settings.from_env(), int(jobs), path))))
        case ["--resume", path, handles, ended]:
            print(asyncio.run(seconds_to_resume(Path(path), int(handles), ended=ended == "True")))
        case _:
            parser = argparse.ArgumentParser()
            parser.add_argument("--jobs", type=int, default=600)
            parser.add_argument("--pairs", type=int, default=9)
            parser.add_argument("--handles", type=int, default=100_000)
            options = parser.parse_args()
            compare(options.jobs, options.pairs)
            resume(options.handles)


if __name__ == "__main__":
    main()
