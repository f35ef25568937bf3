"""How soon an end is noticed: seconds from a job's end until its watcher knew, at an equal budget of requests.

    python benchmarks/delay.py [--seeds 3] [--only NAME] [--processes 2] [--plot benchmarks/delay.svg]

Nothing here takes real time: jobs are a few numbers each, and a policy says which is looked at next (`_delay_traces.py`).
Jobs that share a budget: each policy may spend so many requests a second, evenly spread. Single jobs: the waits of each
policy are stretched until it needs as many requests a job as google-api-core's default does. The exit status is 1 when a
goal is missed.
"""

import argparse
import math
import os
import random
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import Final

from _delay_policies import (
    AT_WORK,
    BY_STATUS,
    COLD,
    GOOGLE,
    OTHERS,
    OURS,
    ROUND_ROBIN,
    TOLD,
    UNTIL_NOW,
    WITH_HISTORY,
    Candidate,
    Scene,
    Stay,
)
from _delay_traces import FLEETS, PENDING, PROCESSING, SINGLE, Draw, Job, Result, Trace, least_product, run, run_each
from attrs import frozen

ALL: Final = (*OTHERS, UNTIL_NOW, *OURS, *TOLD)

NAMED: Final = {candidate.name: candidate for candidate in ALL}
TRACES: Final = {trace.name: trace for trace in (*FLEETS, *SINGLE)}

AT_BEST: Final = "told the law, at best"
ROWS: Final = (*NAMED, AT_BEST)

TRIES: Final = 30
"""What is enough to halve the doubt about a scale until nothing is left of it."""
COLUMNS_A_TABLE: Final = 7


@frozen
class Figures:
    """What is kept of a run, or the mean of several."""

    mean: float
    p95: float
    requests: float
    """A job."""
    gap: float
    """The longest time that a job went without a look."""

    @classmethod
    def of(cls, result: Result) -> "Figures":
        """Read them off."""
        return cls(result.mean, result.p95, result.requests_a_job, result.longest_gap)

    @classmethod
    def average(cls, several: Sequence["Figures"]) -> "Figures":
        """Take the mean of each."""
        return cls(
            statistics.fmean(one.mean for one in several),
            statistics.fmean(one.p95 for one in several),
            statistics.fmean(one.requests for one in several),
            statistics.fmean(one.gap for one in several),
        )


Column = Mapping[str, Figures]
"""By the name of the candidate."""

Map = Callable[..., Iterable[Column]]


def stays(jobs: Iterable[Job]) -> tuple[Stay, ...]:
    """Tell what a history would say of jobs."""
    return tuple(
        (job.kind, *((PENDING, job.ended - job.submitted) if job.is_mute else (PROCESSING, job.ended - job.started)))
        for job in jobs
    )


# --- jobs that share a budget


def watch_fleet(name: str, rate: float, seed: int) -> Column:
    """Have each candidate watch the same jobs."""
    trace = TRACES[name]
    jobs, past = trace.draw(Random(f"{seed}/jobs")), stays(trace.draw(Random(f"{seed}/past")))
    column = {}
    for candidate in (one for one in ALL if one.is_shared):
        random.seed(seed)  # which google-api-core and backoff draw from
        policy = candidate.make(Scene(jobs, rate, Random(f"{seed}/policy"), past=past))
        column[candidate.name] = Figures.of(run(jobs, policy, rate))
    return column


def looks_at_work(trace: Trace, rate: float) -> float:
    """Tell how often a job could be looked at while it is worked, if none other were looked at than those at work."""
    jobs = trace.draw(Random(1))
    return rate * (max(job.ended for job in jobs) - min(job.started for job in jobs)) / len(jobs)


# --- single jobs


def watch_single(name: str, seeds: int) -> Column:
    """Have each candidate that can be tuned watch the same jobs, with as many requests as google-api-core needs."""
    draw = TRACES[name].draw
    jobs = [job for seed in range(seeds) for job in draw(Random(f"{seed}/jobs"))]
    past = stays(draw(Random("past")))
    target = watch_alone(GOOGLE, jobs, past, 1.0)
    column = {GOOGLE.name: Figures.of(target)}
    others = [candidate for candidate in ALL if candidate.is_alone and candidate is not GOOGLE]
    column |= {one.name: tuned(one, jobs, past, target.requests) for one in others}
    return column | {AT_BEST: at_best(draw, target.requests_a_job)}


def at_best(draw: Draw, requests: float) -> Figures:
    """Tell what would be had by one who knows how long such jobs take, by a formula."""
    durations = [job.ended - job.started for seed in range(50) for job in draw(Random(f"{seed}/law"))]
    # one look at the begin, and between two looks an end is half way on average
    return Figures(least_product(durations) / (requests - 1.5), math.nan, requests, math.nan)


def watch_alone(candidate: Candidate, jobs: Sequence[Job], past: tuple[Stay, ...], scale: float) -> Result:
    """Watch each job as if it were the only one."""
    random.seed(1)
    rng = Random("policy")
    return run_each(jobs, lambda: candidate.make(Scene(jobs, math.inf, rng, scale, past)))


def tuned(candidate: Candidate, jobs: Sequence[Job], past: tuple[Stay, ...], requests: int) -> Figures:
    """Find the scale at which a candidate needs so many requests, within one in a hundred if there is one."""
    least, scale, most = 0.0, 1.0, math.inf
    result = watch_alone(candidate, jobs, past, scale)
    for _ in range(TRIES):
        off = result.requests / requests
        if abs(off - 1) <= 0.01:
            break
        if off > 1:
            least = scale
        else:
            most = scale
        guess = scale * off  # twice the interval, half the looks
        scale = guess if least < guess < most else math.sqrt(least * most)
        result = watch_alone(candidate, jobs, past, scale)
    return Figures.of(result)


# --- goals


@frozen
class Goal:
    """What was to be reached, and what was."""

    where: str
    column: Column
    ours: str
    other: str
    wanted: float
    """Our mean delay, in those of the other."""
    knowing: str
    """Who knows what we do not: where he is not that much better either, nobody can be asked to."""

    @property
    def is_missed(self) -> bool:
        """Whether it was not reached, though it could be."""
        return self._share(self.ours) > self.wanted >= self._share(self.knowing)

    def __str__(self) -> str:
        reached = self._share(self.ours)
        verdict = "yes" if reached <= self.wanted else "NO " if self.is_missed else "-- "
        known = f"; {self.knowing}: {self._share(self.knowing):.3f}" if reached > self.wanted else ""
        return f"{verdict} {self.where}: {reached:.3f} of {self.other}, wanted {self.wanted:g}{known}"

    def _share(self, name: str) -> float:
        return self.column[name].mean / self.column[self.other].mean


def _best(column: Column, candidates: Iterable[Candidate]) -> str:
    return min((candidate.name for candidate in candidates), key=lambda name: column[name].mean)


def goals_of_fleet(name: str, rate: float, column: Column) -> Iterator[Goal]:
    """Tell what was to be reached where jobs share a budget."""
    where, others = f"{name}, {rate:g} a second", [other for other in OTHERS if other.is_shared]
    unaware = [other for other in others if other is not BY_STATUS]  # which is nobody's default
    if name.startswith("ordered") and "mute" not in name:
        yield Goal(where, column, COLD.name, _best(column, unaware), 0.1, AT_WORK.name)
    if name.startswith("shuffled") and "mute" not in name and looks_at_work(TRACES[name], rate) >= 10:
        yield Goal(where, column, COLD.name, _best(column, unaware), 0.7, AT_WORK.name)
    if name == "memoryless":
        yield Goal(where, column, COLD.name, ROUND_ROBIN.name, 1.1, AT_WORK.name)


def goals_of_single(name: str, column: Column) -> Iterator[Goal]:
    """Tell what was to be reached with jobs that are watched alone."""
    yield Goal(f"{name}, watched alone", column, WITH_HISTORY.name, GOOGLE.name, 0.5, AT_BEST)


# --- what is printed


def brief(seconds: float) -> str:
    """Give a figure with about three digits."""
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.1f}" if seconds >= 10 else f"{seconds:.2f}"


def table(corner: str, columns: Mapping[str, Column]) -> list[str]:
    """Give the lines of a table: a row for each candidate."""
    rows = [_row(name, columns, name, lambda one: one.mean) for name in ROWS if name in next(iter(columns.values()))]
    rows += [_row(f"{ours.name}: 95 %", columns, ours.name, lambda one: one.p95) for ours in OURS]
    rows.append(_row(f"{COLD.name}: longest without a look", columns, COLD.name, lambda one: one.gap))
    return [f"| {corner} | {' | '.join(columns)} |", "|---|" + "---|" * len(columns), *rows]


def _row(head: str, columns: Mapping[str, Column], name: str, figure: Callable[[Figures], float]) -> str:
    return f"| {head} | {' | '.join(brief(figure(column[name])) for column in columns.values())} |"


# --- the plot

LEFT, PANEL, GAP, TOP, LINE = 225, 155, 34, 78, 25
"""Pixels: the names of the rows, a panel, what is between panels, the head, a row."""
LEAST, MOST = 0.1, 100.0
"""Seconds at the ends of the axis."""
DRAWN: Final = (("ordered, 1,000", 10.0), ("shuffled, 400", 10.0), ("memoryless", 10.0))
DRAWN_ALONE: Final = ("5 min, peaked",)
FONT: Final = 'font-family="Helvetica, Arial, sans-serif" font-size="13"'
MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "ours": ("#0072b2", '<circle cx="{x:.1f}" cy="{y:.1f}" r="6.5" fill="#0072b2"/>'),
    "bound": (
        "#000000",
        '<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="white" stroke="#000000" stroke-width="1.6"/>',
    ),
    "other": ("#555555", '<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="#8a8a8a"/>'),
}
"""The colour of the text, and the mark; the colours are told apart by those who are colour-blind, and differ in lightness."""


def panels(fleets: Mapping[tuple[str, float], Column], single: Mapping[str, Column]) -> dict[tuple[str, str], Column]:
    """Choose what is drawn."""
    shared = {(name, f"{rate:g} requests/s"): fleets[name, rate] for name, rate in DRAWN if (name, rate) in fleets}
    return shared | {(name, "watched alone"): single[name] for name in DRAWN_ALONE if name in single}


def plot(panels: Mapping[tuple[str, str], Column]) -> str:
    """Draw the mean delays, a panel for each of some columns, which have two lines of title."""
    names = [name for name in ROWS if any(name in column for column in panels.values())]
    width, bottom = LEFT + len(panels) * (PANEL + GAP), TOP + len(names) * LINE
    rows = [
        _text(LEFT - 14, TOP + (place + 0.5) * LINE + 4, name, _sort(name), "end") for place, name in enumerate(names)
    ]
    drawn = [
        part
        for place, (titles, column) in enumerate(panels.items())
        for part in _panel(LEFT + place * (PANEL + GAP), titles, [column.get(name) for name in names], names)
    ]
    middle = LEFT + (width - LEFT - GAP) / 2
    axis = _text(
        middle,
        bottom + 44,
        "mean delay from a job's end until it is known, in seconds (logarithmic)",
        "other",
        "middle",
    )
    height = bottom + 58
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" {FONT}>'
    ground = f'<rect width="{width}" height="{height}" fill="white"/>'
    title = _text(LEFT - 14, 26, "How late an end is noticed", "bound", "end", bold=True)
    return "\n".join((opening, ground, title, *rows, *drawn, axis, "</svg>\n"))


def _text(x: float, y: float, text: str, sort: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold or sort == "ours" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{MARKS[sort][0]}"{weight}>{text}</text>'


def _along(seconds: float) -> float:
    return PANEL * math.log(min(MOST, max(seconds, LEAST)) / LEAST) / math.log(MOST / LEAST)


def _panel(
    left: float, titles: tuple[str, str], column: Sequence[Figures | None], names: Sequence[str]
) -> Iterator[str]:
    bottom = TOP + len(names) * LINE
    yield _text(left, TOP - 52, titles[0], "bound", "start", bold=True)
    yield _text(left, TOP - 34, titles[1], "other", "start")
    for tick in (0.1, 1, 10, 100):
        x = left + _along(tick)
        yield f'<path d="M{x:.1f} {TOP - 12}V{bottom}" stroke="#dddddd"/>'
        yield _text(x, bottom + 17, f"{tick:g}", "other", "middle")
    for place, (name, figures) in enumerate(zip(names, column, strict=True)):
        y = TOP + (place + 0.5) * LINE
        if figures is None:
            continue
        x = left + _along(figures.mean)
        yield MARKS[_sort(name)][1].format(x=x, y=y)
        shown = brief(figures.mean) if figures.mean >= LEAST else f"under {LEAST:g}"
        side, anchor = (-11, "end") if figures.mean > 20 else (11, "start")
        yield _text(x + side, y + 4, shown, _sort(name), anchor)


def _sort(name: str) -> str:
    candidate = NAMED.get(name)
    return "ours" if candidate in OURS else "bound" if candidate is None or candidate in TOLD else "other"


# --- the command


def measure_fleets(traces: Sequence[Trace], seeds: int, mapped: Map) -> dict[tuple[str, float], Column]:
    """Give a column for each trace at each of its budgets."""
    where = [(trace.name, rate) for trace in traces for rate in trace.rates]
    runs = [(*place, seed) for place in where for seed in range(seeds)]
    columns = iter(list(mapped(watch_fleet, *zip(*runs, strict=True)))) if runs else iter(())
    return {place: average([next(columns) for _ in range(seeds)]) for place in where}


def average(columns: Sequence[Column]) -> Column:
    """Take the mean of the columns of several seeds."""
    return {name: Figures.average([column[name] for column in columns]) for name in columns[0]}


def report(fleets: Mapping[tuple[str, float], Column], single: Mapping[str, Column]) -> Iterator[str]:
    """Give the lines of all tables."""
    for rate in sorted({rate for _, rate in fleets}):
        columns = {name: column for (name, at), column in fleets.items() if at == rate}
        for some in batched(columns, COLUMNS_A_TABLE):
            yield from ("", *table(f"{rate:g} requests a second", {name: columns[name] for name in some}))
    if single:
        yield from ("", *table("watched alone", single))
        yield f"| requests a job | {' | '.join(map(spent, single.values()))} |"


def spent(column: Column) -> str:
    """Tell how many requests a job took, which is about the same for all."""
    requests = sorted(figures.requests for figures in column.values())
    return f"{requests[0]:.1f} to {requests[-1]:.1f}"


def batched(names: Iterable[str], size: int) -> Iterator[list[str]]:
    """Give so many at a time."""
    rest = list(names)
    while rest:
        yield rest[:size]
        rest = rest[size:]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print tables and goals, and draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", metavar="NAME", help="the traces whose names begin so")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--plot", type=Path, metavar="SVG", help="where to draw")
    asked = parser.parse_args(argv)
    fleets = [trace for trace in FLEETS if trace.name.startswith(asked.only or "")]
    alone = [trace.name for trace in SINGLE if trace.name.startswith(asked.only or "")]
    with ProcessPoolExecutor(asked.processes) if asked.processes > 1 else nullcontext() as pool:
        mapped: Map = map if pool is None else pool.map
        shared = measure_fleets(fleets, asked.seeds, mapped)
        single = dict(zip(alone, mapped(watch_single, alone, [asked.seeds] * len(alone)), strict=True))
    print("\n".join(report(shared, single)))
    if asked.plot is not None:
        asked.plot.write_text(plot(panels(shared, single)), encoding="utf-8")
    goals = [goal for (name, rate), column in shared.items() for goal in goals_of_fleet(name, rate, column)]
    goals += [goal for name, column in single.items() for goal in goals_of_single(name, column)]
    print("", *goals, sep="\n")
    return 1 if any(goal.is_missed for goal in goals) else 0


if __name__ == "__main__":
    sys.exit(main())
