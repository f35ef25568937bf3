"""What was measured, as tables; and what was to be reached, as yes or no."""

from __future__ import annotations

import platform
from statistics import median
from typing import TYPE_CHECKING, Final

from _cost_plan import LOOP, MINIMAL, OURS, Candidate, Contest
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from _cost_lab import Figures, Results

CPU_GOAL: Final = 1.0
"""Of the loop's CPU a poll."""
MEMORY_GOAL: Final = 0.6
"""KiB a job."""
STALL_GOAL: Final = 20.0
"""Milliseconds of CPU: by the clock, the neighbours on the machine would be judged."""


def microseconds(figures: Figures) -> float:
    """Give the CPU of one poll."""
    return figures["cpu"] / figures["polls"] * 1e6


def kibibytes(figures: Figures) -> float:
    """Give the memory of one job."""
    return figures["bytes"] / figures["jobs"] / 1024


@frozen
class Standing:
    """How one did in a contest: medians over its rounds."""

    cost: float
    """Microseconds of CPU a poll."""
    ratio: float
    """Of the loop's in the same round."""
    least: float
    most: float
    polls: float
    """A second."""


def standings(rounds: list[dict[Candidate, Figures]]) -> dict[Candidate, Standing]:
    """Put the rounds together, of those that have been measured."""
    return {
        candidate: _standing([one for one in rounds if candidate in one and LOOP in one], candidate)
        for candidate in dict.fromkeys(candidate for one in rounds if LOOP in one for candidate in one)
    }


def _standing(rounds: list[dict[Candidate, Figures]], candidate: Candidate) -> Standing:
    ratios = [microseconds(one[candidate]) / microseconds(one[LOOP]) for one in rounds]
    return Standing(
        cost=median(microseconds(one[candidate]) for one in rounds),
        ratio=median(ratios),
        least=min(ratios),
        most=max(ratios),
        polls=median(one[candidate]["polls"] / one[candidate]["wall"] for one in rounds),
    )


# --- tables


def tables(results: Results, versions: Mapping[str, str]) -> Iterator[str]:
    """Give the lines of all tables, of what has been measured."""
    for contest, rounds in results.cpu.items():
        yield from _cpu_table(contest, rounds)
    if results.memory:
        yield from _memory_table(results.memory)
    if results.intake:
        yield from _intake_table(results.intake)
    if results.imports:
        yield from _import_table(results.imports)
    installed = ", ".join(f"{name} {version}" for name, version in versions.items())
    yield from ("", f"Python {platform.python_version()}, {installed}.")


def _cpu_table(contest: Contest, rounds: list[dict[Candidate, Figures]]) -> Iterator[str]:
    yield from ("", f"**{contest.name}**", "")
    yield from (f"| {len(rounds)} rounds | us CPU a poll | of the loop's | polls/s |", "|---|---|---|---|")
    found = standings(rounds)
    for candidate in contest.candidates:
        if (one := found.get(candidate)) is not None:
            ratio = f"{one.ratio:.2f} ({one.least:.2f} to {one.most:.2f})"
            yield f"| {candidate.name} | {one.cost:.0f} | {ratio} | {one.polls:.0f} |"


def _memory_table(measured: Mapping[tuple[Candidate, int, float | None], Figures]) -> Iterator[str]:
    yield from ("", "| waiting | jobs | next look | KiB a job |", "|---|---|---|---|")
    for (candidate, jobs, interval), figures in measured.items():
        when = "default schedule" if interval is None else "far"
        yield f"| {candidate.name} | {jobs} | {when} | {kibibytes(figures):.2f} |"


def _intake_table(measured: Mapping[Candidate, list[Figures]]) -> Iterator[str]:
    yield from (
        "",
        "| taking in | longest stall, CPU ms | by the clock, ms | s until all are in |",
        "|---|---|---|---|",
    )
    for candidate, several in measured.items():
        stall, cpu, seconds = (median(one[name] for one in several) for name in ("stall", "cpu", "seconds"))
        yield f"| {candidate.name} | {cpu * 1000:.1f} | {stall * 1000:.1f} | {seconds:.1f} |"


def _import_table(measured: Mapping[str, list[float]]) -> Iterator[str]:
    yield from ("", "| import | median CPU ms | of aiohttp's |", "|---|---|---|")
    for name, seconds in measured.items():
        cost, base = median(seconds), median(measured["aiohttp"])
        yield f"| {name} | {cost * 1000:.0f} | {cost / base:.2f} |"


def bars(results: Results) -> dict[str, dict[str, float]]:
    """Give what is drawn: for each panel its title, and the figures by name."""
    panels: dict[str, dict[str, float]] = {}
    for contest, rounds in list(results.cpu.items())[:1]:
        found = standings(rounds).items()
        panels[f"CPU a poll of {contest.name}, microseconds"] = {candidate.name: one.cost for candidate, one in found}
    panels["Memory a waiting job, KiB"] = {
        f"{candidate.name}, {jobs:,} jobs": kibibytes(figures)
        for (candidate, jobs, interval), figures in results.memory.items()
        if interval is not None
    }
    return {title: panel for title, panel in panels.items() if panel}


# --- goals


@frozen
class Goal:
    """What was to be reached."""

    text: str
    value: float | None
    """None: it could not be measured."""
    limit: float
    is_strict: bool = False
    """Whether the limit itself is too much."""

    @property
    def is_met(self) -> bool:
        """Whether it has been."""
        return self.value is not None and (self.value < self.limit if self.is_strict else self.value <= self.limit)

    def __str__(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:.2f}"
        return f"| {self.text} | {'<' if self.is_strict else '<='} {self.limit:.2f} | {value} | {'yes' if self.is_met else 'no'} |"


def goals(results: Results) -> Iterator[Goal]:
    """Hold the results against what was to be reached."""
    for contest, rounds in results.cpu.items():
        found = standings(rounds)
        others = [
            one.ratio for candidate, one in found.items() if not candidate.is_ours and candidate not in {LOOP, MINIMAL}
        ]
        for candidate in OURS:
            ratio = found[candidate].ratio if candidate in found else None
            yield Goal(f"{contest.name}: CPU of {candidate.name}, of the loop's", ratio, CPU_GOAL)
            if others:
                yield Goal(
                    f"{contest.name}: CPU of {candidate.name}, below every other's", ratio, min(others), is_strict=True
                )
    for candidate in OURS if results.memory else ():
        sizes = [kibibytes(figures) for (who, *_), figures in results.memory.items() if who == candidate]
        yield Goal(f"{candidate.name}, KiB a waiting job, at most", max(sizes, default=None), MEMORY_GOAL)
    for candidate in OURS if results.intake else ():
        stalls = [one["cpu"] * 1000 for one in results.intake.get(candidate, [])]
        longest = median(stalls) if stalls else None
        yield Goal(f"{candidate.name}, longest stall while taking in, CPU ms", longest, STALL_GOAL)


def goal_table(judged: list[Goal]) -> Iterator[str]:
    """Give the lines of the table of goals."""
    yield from ("", "| goal | limit | measured | met |", "|---|---|---|---|")
    yield from map(str, judged)
