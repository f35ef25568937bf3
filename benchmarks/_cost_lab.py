"""Measures: each figure in a fresh process, those that are compared in turns."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from _cost_envs import REPOSITORY, Environments
from _cost_plan import AT_ONCE, FAR, IMPORTS, LOOP, OURS, Candidate, Contest, Plan
from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

HERE: Final = REPOSITORY / "benchmarks"
ENVIRONMENT: Final = os.environ | {"PYTHONPATH": str(REPOSITORY)}
PATIENCE: Final = 300
"""Seconds that one figure may take."""
AFTERWARDS: Final = 1.0
"""Seconds after the intake in which a stall still counts."""
PARTS: Final = ("cpu", "memory", "intake", "imports")
Figures = dict[str, float]


@frozen
class Results:
    """What was measured: nothing of those who could not be."""

    cpu: dict[Contest, list[dict[Candidate, Figures]]] = field(factory=dict)
    """Round by round."""
    memory: dict[tuple[Candidate, int, float | None], Figures] = field(factory=dict)
    intake: dict[Candidate, list[Figures]] = field(factory=lambda: defaultdict(list))
    imports: dict[str, list[float]] = field(factory=lambda: defaultdict(list))
    """Seconds of CPU."""


@contextmanager
def serving() -> Iterator[int]:
    """Run the server in a process of its own; gives its port."""
    command = [sys.executable, str(HERE / "_cost_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()


@frozen
class Lab:
    """Where it is measured."""

    environments: Environments
    plan: Plan

    def measure(self, parts: Collection[str] = PARTS) -> Results:
        """Measure everything of these that can be."""
        results = Results()
        with serving() as port:
            if "cpu" in parts:
                self._measure_cpu(port, results)
            if "memory" in parts:
                self._measure_memory(port, results)
            if "intake" in parts:
                self._measure_intake(port, results)
        if "imports" in parts:
            self._measure_imports(results)
        return results

    def _measure_cpu(self, port: int, results: Results) -> None:
        contests = [one for one in self.plan.contests if not one.uvloop or "uvloop" in self.environments]
        results.cpu.update((contest, []) for contest in contests)
        for number in range(max(contest.rounds for contest in contests)):
            for contest in contests:
                if number < contest.rounds:
                    tell(f"CPU a poll, round {number + 1} of {contest.rounds}: {contest.name}")
                    results.cpu[contest].append(self._round(port, contest, number))

    def _round(self, port: int, contest: Contest, number: int) -> dict[Candidate, Figures]:
        here = [one for one in contest.candidates if one.peer in self.environments]
        first = number % len(here)
        measured = {}
        for candidate in (*here[first:], *here[:first]):
            jobs, interval = contest.workload(candidate)
            order = {"jobs": jobs, "interval": interval, "seconds": contest.seconds, "uvloop": contest.uvloop}
            if (figures := _figures(self.environments, candidate, "cpu", port, order)) is not None:
                measured[candidate] = figures
        return measured

    def _measure_memory(self, port: int, results: Results) -> None:
        for candidate, jobs, interval in self.plan.memory:
            if candidate.peer in self.environments:
                tell(f"memory: {candidate.name}, {jobs:,} jobs")
                order = {"jobs": jobs, "interval": interval}
                figures = _figures(self.environments, candidate, "memory", port, order)
                if figures is not None:
                    results.memory[candidate, jobs, interval] = figures

    def _measure_intake(self, port: int, results: Results) -> None:
        for number in range(self.plan.intakes):
            tell(f"taking in {self.plan.intake:,} jobs, round {number + 1} of {self.plan.intakes}")
            for candidate in (LOOP, *OURS):
                order = {"jobs": self.plan.intake, "interval": FAR, "seconds": AFTERWARDS}
                figures = _figures(self.environments, candidate, "intake", port, order)
                if figures is not None:
                    results.intake[candidate].append(figures)

    def _measure_imports(self, results: Results) -> None:
        codes = {name: code for name, (peer, code) in IMPORTS.items() if peer in self.environments}
        for number in range(self.plan.imports + 1):
            tell(f"imports, round {number} of {self.plan.imports}")
            for name, code in codes.items():
                seconds = cpu_of_import(self.environments.python(IMPORTS[name][0]), code)
                if number and seconds is not None:  # the first is there so that everything is compiled
                    results.imports[name].append(seconds)


def _figures(
    environments: Environments, candidate: Candidate, figure: str, port: int, order: dict[str, Any]
) -> Figures | None:
    order = {"seconds": 0.0, "uvloop": False} | order
    order |= {"driver": candidate.driver, "figure": figure, "port": port, "at_once": AT_ONCE}
    command = [str(environments.python(candidate.peer)), str(HERE / "_cost_child.py"), json.dumps(order)]
    said = output(candidate.name, command)
    return None if said is None else dict(json.loads(said))


def cpu_of_import(python: Path, code: str) -> float | None:
    """Give the CPU seconds of a fresh interpreter that runs *code*."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    if output(code, [str(python), "-c", code]) is None:
        return None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def output(name: str, command: Sequence[str], patience: float = PATIENCE) -> str | None:
    """Give what the process prints within *patience* seconds; None, and say why, where it fails: others are still measured."""
    try:
        ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=patience, check=True)
    except subprocess.CalledProcessError as error:
        tell(f"{name} failed:\n{error.stderr}")
    except subprocess.TimeoutExpired:
        tell(f"{name} took more than {patience:g} s, and was stopped")
    else:
        return ran.stdout
    return None


def tell(text: str) -> None:
    """Say how it goes, where it is not in the way of the figures."""
    print(text, file=sys.stderr, flush=True)
