"""How many jobs are lost or misreported when a fifth of all answers go wrong, and what it costs.

    python benchmarks/chaos.py [--jobs 1000] [--seed 1] [--only NAME] [--processes 2] [--peers]

Each storm is a run of its own: the same jobs of all four kinds, watched by a JobWatcher with its defaults over real
sockets, in virtual time, by a client and an emulator that share one loop. A run is compared with the one of the same
jobs in which nothing goes wrong. Exit status 1: a goal was missed.

With `--peers`, the same storms over how people write this today; see `_peers.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from itertools import starmap
from random import Random
from statistics import fmean
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

import looptime
from _peers import PEERS, judge_status, sdk_survivors, survivors
from _population import LONGEST, Life, Report, judge, lives, settle
from _storms import CALM, Storm, storms
from attrs import frozen

from zuora_jobs import Finished, JobHandle, JobWatcher, ZuoraClient, emulator

if TYPE_CHECKING:
    from zuora_jobs import Outcome
    from zuora_jobs.emulator import Emulator, Job
    from zuora_jobs.watching.events import Event

T = TypeVar("T")

LATENCY: Final = 0.05
TOKEN_PATH: Final = "/oauth/token"
MOST_REQUESTS: Final = 1.5
"""Times the fault-free run's, for one fault type."""
LONGEST_RUN: Final = 7 * 86_400.0
"""Virtual seconds, after which what has not ended counts as lost."""
OURS: Final = "zuora_jobs"
GRACE: Final = 300.0
"""Virtual seconds that a peer has after the storm and the longest life, before a job counts as still being polled."""
FEWER_FOR_PEERS: Final = 20
"""Jobs are divided by this for peers: a loop that is refused goes on asking every second."""
IDLE_TURNS: Final = 5
"""Turns of the loop in which nothing happens, before its clock jumps. looptime's 42 give the same figures, later."""


@frozen(kw_only=True)
class Result:
    """What one run came to."""

    storm: str
    strikes: str
    is_single: bool
    jobs: int
    struck: int
    lost: int
    misreported: int
    requests: int
    token_requests: int
    refused: int
    """Answers 429."""
    unauthorized: int
    """Answers 401."""
    mean_late: float
    worst_late: float
    virtual: float
    real: float
    complaints: tuple[str, ...]

    def misses(self, calm: Result) -> list[str]:
        """Name the goals that it misses."""
        dear = self.is_single and self.requests > MOST_REQUESTS * calm.requests
        goals = {"jobs lost": self.lost, "jobs misreported": self.misreported, "too many requests": dear}
        return [f"{self.storm}: {goal}" for goal, missed in goals.items() if missed]


class Ends:
    """An observer that keeps each outcome, and the moment it was told."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome[Any]] = {}
        self.moments: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Take note of a job's end."""
        if isinstance(event, Finished):
            self.outcomes[str(event.handle)] = event.outcome
            self.moments[str(event.handle)] = asyncio.get_running_loop().time()

    def report(self, life: Life, job: Job) -> Report:
        """Judge what was told of *job*."""
        return judge(life, job, self.outcomes.get(job.handle), self.moments.get(job.handle, 0.0))

    def lateness(self, job: Job) -> float:
        """How late its end was told."""
        assert job.ended_at is not None  # or it would not have been told rightly
        return self.moments[job.handle] - job.ended_at

    def complaint(self, life: Life, job: Job) -> str:
        """Say what is wrong with what was told of *job*."""
        outcome = self.outcomes.get(job.handle)
        told = "nothing" if outcome is None else f"{outcome.name} ({outcome.status}) after {outcome.elapsed:.0f} s"
        error = getattr(outcome, "error", None)
        why = f", {type(error).__name__}: {error}" if error is not None else ""
        return f"{job.handle} ends after {life.seconds} s as {life.end}, told {told}{why}"


async def watch(zuora: Emulator, jobs: Sequence[Job], seed: int, seconds: float = LONGEST_RUN) -> Ends:
    """Watch *jobs* with the defaults for so long; only jitter is drawn from *seed*, so that a run can be repeated."""
    ends = Ends()
    handles: list[JobHandle[Any]] = [JobHandle.parse(job.handle) for job in jobs]
    async with (
        ZuoraClient(zuora.settings(), rng=Random(seed)) as client,
        JobWatcher(client, observers=[ends]) as watcher,
    ):
        try:
            async with asyncio.timeout(seconds):
                await watcher.watch_all(handles)
        except TimeoutError:
            pass  # what has no outcome is lost
    return ends


async def weather(storm: Storm, count: int, seed: int) -> Result:
    """Watch so many jobs through *storm*."""
    began = perf_counter()
    async with emulator.running(seed=seed, latency=LATENCY, request_log=None, **storm.options) as zuora:
        population = lives(count, seed)
        jobs = settle(zuora, population)
        storm.begin(zuora)
        ends = await watch(zuora, jobs, seed)
        reports = [(ends.report(life, job), life, job) for life, job in zip(population, jobs, strict=True)]
        tally = Counter(report for report, _, _ in reports)
        figures = zuora.statistics()
        late = [ends.lateness(job) for report, _, job in reports if report is Report.RIGHT] or [0.0]
        complaints = [ends.complaint(life, job) for report, life, job in reports if report is not Report.RIGHT]
        return Result(
            storm=storm.name,
            strikes=storm.strikes,
            is_single=storm.is_single,
            jobs=count,
            struck=figures.faults_struck,
            lost=tally[Report.LOST],
            misreported=tally[Report.WRONG],
            requests=figures.requests,
            token_requests=sum(request.path == TOKEN_PATH for request in zuora.requests),
            refused=figures.statuses.get(429, 0),
            unauthorized=figures.statuses.get(401, 0),
            mean_late=fmean(late),
            worst_late=max(late),
            virtual=asyncio.get_running_loop().time(),
            real=perf_counter() - began,
            complaints=tuple(complaints),
        )


def in_virtual_time(main: Any) -> Any:
    """Run a coroutine on a loop of its own, whose clock jumps from one timer to the next."""
    loop = partial(looptime.new_event_loop, start=0, noop_cycles=IDLE_TURNS, _enabled=True)
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(main)


def ride_out(name: str, count: int, seed: int) -> Result:
    """Run the storm of that name in virtual time: what a worker process does."""
    result: Result = in_virtual_time(weather(named(name, seed), count, seed))
    return result


def named(name: str, seed: int) -> Storm:
    """Give the storm of that name."""
    return next(storm for storm in storms(seed) if storm.name == name)


def chosen(only: str | None, seed: int) -> list[Storm]:
    """Give the storms in whose names *only* occurs, and the calm."""
    return [storm for storm in storms(seed) if storm is CALM or only is None or only in storm.name]


def plan(weathers: Iterable[Storm], count: int) -> list[tuple[str, int]]:
    """Give each storm's name and number of jobs, and first the calm for each number."""
    runs = [(storm.name, max(1, count // storm.fewer)) for storm in weathers]
    calm = [(CALM.name, number) for number in sorted({number for _, number in runs}, reverse=True)]
    return list(dict.fromkeys([*calm, *runs]))


def carry_out(work: Callable[..., T], runs: Iterable[tuple[Any, ...]], processes: int) -> Iterator[T]:
    """Do all runs, and give their results in order, each as soon as it is there."""
    if processes == 1:
        yield from starmap(work, runs)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(work, *zip(*runs, strict=True))


HEAD: Final = (
    "storm", "strikes", "jobs", "faults injected", "lost", "misreported", "requests", "of fault-free",
    "token requests", "401", "429", "late, mean s", "late, worst s", "virtual s", "real s",
)  # fmt: skip


def row(result: Result, calm: Result) -> tuple[str, ...]:
    """Give the cells of one run."""
    return (
        result.storm, result.strikes, f"{result.jobs}", f"{result.struck}", f"{result.lost}", f"{result.misreported}",
        f"{result.requests}", f"{result.requests / calm.requests:.2f}", f"{result.token_requests}",
        f"{result.unauthorized}", f"{result.refused}", f"{result.mean_late:.1f}", f"{result.worst_late:.0f}",
        f"{result.virtual:.0f}", f"{result.real:.1f}",
    )  # fmt: skip


def print_row(cells: Iterable[str]) -> None:
    """Print one line of a markdown table."""
    print("| " + " | ".join(cells) + " |", flush=True)


def print_head(head: Sequence[str]) -> None:
    """Print the first two lines of a markdown table."""
    print_row(head)
    print("|" + "---|" * len(head))


def compare(runs: Sequence[tuple[str, int]], seed: int, processes: int) -> list[str]:
    """Do all runs, print the table, and name the goals that were missed."""
    calm: dict[int, Result] = {}
    missed: list[str] = []
    print_head(HEAD)
    for result in carry_out(ride_out, [(*run, seed) for run in runs], processes):
        calm.setdefault(result.jobs, result)
        print_row(row(result, calm[result.jobs]))
        missed += [*result.misses(calm[result.jobs]), *(f"  {text}" for text in result.complaints[:3])]
    return missed


async def outlive(storm: Storm, who: str, count: int, seed: int) -> Counter[Report]:
    """Tell what becomes of so many jobs in *storm* that are watched by one of `_peers.py`, or by us."""
    seconds = storm.over_at + LONGEST + GRACE
    async with emulator.running(seed=seed, latency=LATENCY, request_log=0, **storm.options) as zuora:
        population = lives(count, seed)
        jobs = settle(zuora, population)
        if who in PEERS:
            said = await survivors(PEERS[who], zuora, jobs, storm, seconds)
            return Counter(map(judge_status, population, said))
        storm.begin(zuora)
        ends = await watch(zuora, jobs, seed, seconds)
        return Counter(map(ends.report, population, jobs))


def live_through(name: str, who: str, count: int, seed: int) -> Counter[Report]:
    """Run one storm over one of those who watch, in virtual time: what a worker process does."""
    tally: Counter[Report] = in_virtual_time(outlive(named(name, seed), who, count, seed))
    return tally


PEERS_STORMS: Final = (
    CALM.name, "unavailable", "dropped", "html", "lock-contention", "duplicate-keys", "slow", "throttled",
    "outage: 503", "tokens revoked", "12 at a time, no. 1", "everything",
)  # fmt: skip
SDK: Final = "zuora-sdk in a loop"


def compare_peers(count: int, seed: int, processes: int) -> None:
    """Print how many jobs of each survive which storm."""
    watchers = (OURS, *PEERS)
    runs = [(name, who, count, seed) for name in PEERS_STORMS for who in watchers]
    tallies = iter(list(carry_out(live_through, runs, processes)))
    brief = [named(name, seed) for name in PEERS_STORMS if named(name, seed).is_brief]
    of_sdk = asyncio.run(sdk_survivors(brief, seed)) if find_spec("zuora_sdk") else {}
    print_head(("storm", "strikes", *watchers, SDK))
    for name in PEERS_STORMS:
        cells = [in_words(next(tallies)) for _ in watchers]
        print_row((name, named(name, seed).strikes, *cells, in_words(of_sdk.get(name, Counter()))))


def in_words(tally: Counter[Report]) -> str:
    """Say what became of some jobs: the share that was right, and what the others were."""
    if not tally:
        return "not run"
    others = [f"{tally[report]} {report.value}" for report in Report if report is not Report.RIGHT and tally[report]]
    return f"{tally[Report.RIGHT] / tally.total():.0%}" + (f" ({', '.join(others)})" if others else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Ride out the storms, print what came of it, and tell whether the goals were reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", metavar="NAME", help="storms in whose names this occurs")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--peers", action="store_true", help="compare with how people write this today")
    asked = parser.parse_args(arguments)
    if asked.peers:
        compare_peers(max(1, asked.jobs // FEWER_FOR_PEERS), asked.seed, asked.processes)
        return 0
    missed = compare(plan(chosen(asked.only, asked.seed), asked.jobs), asked.seed, asked.processes)
    for goal in missed:
        print(goal, file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
