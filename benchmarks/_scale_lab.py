"""Measures: each figure in a fresh process, all numbers of jobs in turns, round by round."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from _cost_lab import HERE, output, serving, tell
from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

PARTS: Final = ("decisions", "polls")
PATIENCE: Final = 900
"""Seconds that one process may take."""
Figures = dict[str, float]


@frozen
class Plan:
    """How much is measured."""

    sizes: tuple[int, ...]
    """Jobs."""
    rounds: int
    looks: int
    """Decisions in each."""
    polls: int
    """In each, of first looks and of later ones."""
    many: int
    """Jobs whose first looks take minutes: every second round goes without their later ones."""

    def has_first_looks(self, jobs: int) -> bool:
        """Tell whether so many jobs are left to be looked at when they have been taken in that first looks can be measured."""
        return jobs >= 5 * self.polls

    def has_later_looks(self, jobs: int, number: int) -> bool:
        """Tell whether it is waited in that round until all have been looked at."""
        return jobs < self.many or number % 2 == 0


FULL: Final = Plan((100, 1000, 10_000, 100_000, 1_000_000), rounds=5, looks=50_000, polls=20_000, many=1_000_000)
QUICK: Final = Plan((100, 1000, 10_000), rounds=2, looks=5000, polls=2000, many=1_000_000)


@frozen
class Results:
    """What was measured: nothing where it failed."""

    plan: Plan
    decisions: dict[int, list[Figures]] = field(factory=lambda: defaultdict(list))
    """By the number of jobs."""
    polls: dict[int, list[dict[str, Figures]]] = field(factory=lambda: defaultdict(list))


def measure(plan: Plan, parts: Collection[str] = PARTS) -> Results:
    """Measure everything of these."""
    results = Results(plan)
    with serving() as port:
        for number in range(plan.rounds):
            for jobs in turned(plan.sizes, number):
                tell(f"round {number + 1} of {plan.rounds}: {jobs:,} jobs")
                if "decisions" in parts:
                    _measure_decisions(jobs, results)
                if "polls" in parts:
                    _measure_polls(jobs, number, port, results)
    return results


def turned(sizes: Sequence[int], number: int) -> tuple[int, ...]:
    """Begin with another in each round."""
    first = number % len(sizes)
    return (*sizes[first:], *sizes[:first])


def _measure_decisions(jobs: int, results: Results) -> None:
    for figure in ("taken_in", "at_work", "in_order"):
        said = _said("_scale_decisions.py", {"figure": figure, "jobs": jobs, "looks": results.plan.looks})
        if said is not None:
            results.decisions[jobs].append(said)


def _measure_polls(jobs: int, number: int, port: int, results: Results) -> None:
    plan = results.plan
    order = {"port": port, "jobs": jobs, "polls": plan.polls}
    order |= {"first": plan.has_first_looks(jobs), "later": plan.has_later_looks(jobs, number)}
    said = _said("_scale_polls.py", order)
    if said is not None:
        results.polls[jobs].append(said)


def _said(script: str, order: dict[str, Any]) -> dict[str, Any] | None:
    printed = output(f"{script} with {order}", [sys.executable, str(HERE / script), json.dumps(order)], PATIENCE)
    return dict(json.loads(printed)) if printed is not None else None
