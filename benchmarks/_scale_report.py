"""What was measured, as tables and curves; and what was to be reached, as yes or no."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from statistics import median
from typing import TYPE_CHECKING, Final

from _cost_report import Goal
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _scale_lab import Figures, Results

FLAT: Final = 1.2
"""The largest of the medians, of the smallest."""
MANY: Final = 10_000
"""Jobs from which on their memory shows among the pages of everything else."""
NOTHING: Final = "-"


@frozen
class Point:
    """What was measured of one thing at one number of jobs: the median of all rounds, and their range."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Point | None:
        """Put the rounds together, if there are any."""
        return cls(median(values), min(values), max(values)) if values else None

    def __str__(self) -> str:
        return f"{self.middle:.0f} ({self.least:.0f} to {self.most:.0f})"


Curve = dict[int, Point]


def decisions(results: Results, figure: str) -> Curve:
    """Give the microseconds of a decision by the number of jobs."""
    return _curve(
        {jobs: [one[figure] * 1e6 for one in rounds if figure in one] for jobs, rounds in results.decisions.items()}
    )


def polls(results: Results, figure: str) -> Curve:
    """Give the microseconds of a poll, of *first* or *later* looks, by the number of jobs."""
    return _part(results, figure, lambda one: one["cpu"] / one["polls"] * 1e6)


def _part(results: Results, part: str, value: Callable[[Figures], float]) -> Curve:
    return _curve({jobs: [value(one[part]) for one in rounds if part in one] for jobs, rounds in results.polls.items()})


def _curve(values: dict[int, list[float]]) -> Curve:
    return {jobs: point for jobs, some in sorted(values.items()) if (point := Point.of(some)) is not None}


def spread(*curves: Curve) -> float | None:
    """Give the largest of all medians, of the smallest; None where there are no two."""
    medians = [point.middle for curve in curves for point in curve.values()]
    return max(medians) / min(medians) if len(medians) > 1 else None


# --- tables


def tables(results: Results) -> Iterator[str]:
    """Give the lines of all tables, of what has been measured."""
    if results.decisions:
        yield from _decision_table(results)
    if results.polls:
        yield from _poll_table(results)
        yield from _intake_table(results)
    where = f"Python {platform.python_version()}, aiohttp {metadata.version('aiohttp')}, {os.cpu_count()} shared cores"
    yield from ("", f"{where}; medians of {results.plan.rounds} rounds.{_shares(results)}")


def _shares(results: Results) -> str:
    """Tell how many of what stands under first looks were such: others are looked at again already."""
    shares = {
        "polls": [
            one["first"]["first"] / one["first"]["polls"]
            for rounds in results.polls.values()
            for one in rounds
            if "first" in one
        ],
        "decisions": [one["share"] for rounds in results.decisions.values() for one in rounds if "share" in one],
    }
    said = [f"{median(some):.0%} of the {name}" for name, some in shares.items() if some]
    return f" Of what stands under *first looks*, {' and '.join(said)} were first ones." if said else ""


def _decision_table(results: Results) -> Iterator[str]:
    yield from (
        "",
        "| decision alone, us CPU | a handle taken in | at work: first looks | later looks | worked in order |",
    )
    yield "|---|---|---|---|---|"
    curves = [decisions(results, figure) for figure in ("handle", "first", "later", "in_order")]
    for jobs in results.plan.sizes:
        yield _row(f"{jobs:,} jobs", *(_shown(curve, jobs, "{:.1f}") for curve in curves))
    yield _row("largest of smallest", *(_ratio(spread(curve)) for curve in curves))


def _poll_table(results: Results) -> Iterator[str]:
    yield from (
        "",
        "| whole poll, us CPU | first looks | later looks | polls/s | bytes a job |",
        "|---|---|---|---|---|",
    )
    first, later = polls(results, "first"), polls(results, "later")
    pace = _part(results, "later", lambda one: one["polls"] / one["wall"])
    memory = _part(results, "memory", lambda one: one["bytes"])
    for jobs in results.plan.sizes:
        size = f"{memory[jobs].middle / jobs:.0f}" if jobs in memory and jobs >= MANY else NOTHING
        costs = (str(curve.get(jobs, NOTHING)) for curve in (first, later))
        yield _row(f"{jobs:,} jobs", *costs, _shown(pace, jobs, "{:.0f}"), size)
    yield _row("largest of smallest", _ratio(spread(first)), _ratio(spread(later)), "", "")


def _intake_table(results: Results) -> Iterator[str]:
    yield from (
        "",
        "| taking in | s until all are in | longest stall, CPU ms | by the clock, ms |",
        "|---|---|---|---|",
    )
    seconds = _part(results, "taken_in", lambda one: one["seconds"])
    stalls = [_part(results, "taken_in", lambda one, name=name: one[name] * 1e3) for name in ("stall_cpu", "stall")]  # type: ignore[misc]
    for jobs in results.plan.sizes:
        yield _row(f"{jobs:,} jobs", _shown(seconds, jobs, "{:.2f}"), *(_shown(one, jobs, "{:.1f}") for one in stalls))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(curve: Curve, jobs: int, how: str) -> str:
    return how.format(curve[jobs].middle) if jobs in curve else NOTHING


def _ratio(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


# --- goals


def goals(results: Results) -> Iterator[Goal]:
    """Hold a poll's cost against what was to be reached, if it has been measured."""
    if not results.polls:
        return
    plan, first, later = results.plan, polls(results, "first"), polls(results, "later")
    beginning = {jobs for jobs in plan.sizes if plan.has_first_looks(jobs)}
    is_complete = set(later) == set(plan.sizes)
    yield Goal("CPU a poll, later looks: largest of smallest", spread(later) if is_complete else None, FLAT)
    if beginning:
        is_complete = is_complete and set(first) == beginning
        yield Goal("first and later looks: largest of smallest", spread(first, later) if is_complete else None, FLAT)
