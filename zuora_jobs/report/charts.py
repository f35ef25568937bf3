"""The geometry of the smaller charts: how long jobs took, and what was asked of Zuora. Pure: values in, values out."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from attrs import frozen

from zuora_jobs.report.axes import Mark, Scale, count_marks, length_marks, nice, scale_of, time_marks, whole_minutes
from zuora_jobs.report.moments import Span, gaps
from zuora_jobs.report.summary import durations_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from zuora_jobs.journal.history import History, JobRecord, Minute
    from zuora_jobs.report.summary import Durations, KindSummary

BINS: Final = 28
"""Of a histogram, from edge to edge of its axis."""
MOST_HISTOGRAMS: Final = 12
MOST_BARS: Final = 480
"""Of requests; where there are more minutes, a bar stands for the busiest of several."""
MOST_LINES: Final = 24
_FAR: Final = 3
"""Times the busiest minute that an allowance may be, to be drawn on the same scale."""


@frozen(kw_only=True)
class Histogram:
    """How long the jobs of one kind took."""

    kind: str
    durations: Durations
    counts: tuple[int, ...]
    """A bin each."""
    path: str
    """Bars: across, BINS units; down, 100 to the fullest bin."""
    p50: float
    """As shares of the axis."""
    p90: float


@frozen(kw_only=True)
class Distribution:
    """How long jobs took, a histogram a kind, on one axis."""

    scale: Scale
    marks: tuple[Mark, ...]
    histograms: tuple[Histogram, ...]
    omitted: int
    """Kinds with jobs that ended, and no room."""


def distribution_of(jobs: Iterable[JobRecord], kinds: Iterable[KindSummary]) -> Distribution:
    """Sort the durations of the jobs that ended into bins, which are the same for all kinds."""
    of_kind: dict[str, list[JobRecord]] = defaultdict(list)
    for job in jobs:
        of_kind[job.kind].append(job)
    ended = [(kind.name, kind.durations, durations_of(of_kind[kind.name])) for kind in kinds if kind.durations]
    scale = scale_of(sorted(seconds for _, _, ordered in ended for seconds in ordered))
    return Distribution(
        scale=scale,
        marks=length_marks(scale),
        histograms=tuple(_histogram(*kind, scale) for kind in ended[:MOST_HISTOGRAMS]),
        omitted=max(len(ended) - MOST_HISTOGRAMS, 0),
    )


def _histogram(kind: str, durations: Durations, ordered: Sequence[float], scale: Scale) -> Histogram:
    edges = [scale.at(number / BINS) for number in range(1, BINS)]
    cuts = [0, *(bisect_left(ordered, edge) for edge in edges), len(ordered)]
    counts = tuple(after - before for before, after in pairwise(cuts))
    top = max(counts)
    bars = (_bar(number, 100, 100 * count / top) for number, count in enumerate(counts) if count)
    return Histogram(
        kind=kind,
        durations=durations,
        counts=counts,
        path="".join(bars),
        p50=scale.share(durations.p50),
        p90=scale.share(durations.p90),
    )


def _bar(number: int, bottom: float, height: float, width: float = 0.9) -> str:
    left = number + (1 - width) / 2
    return f"M{left:.2f} {bottom:.6g}v{-height:.6g}h{width}V{bottom:.6g}z"


@frozen(kw_only=True)
class Bar:
    """What a bar of the requests stands for: one minute, or of several the most, and the least allowance."""

    requests: int
    refused: int
    held: float
    allowed: float


@frozen(kw_only=True)
class Line:
    """What was spent in a stretch of time, for those who read rather than look."""

    began: datetime
    requests: int
    refused: int
    held: float
    least_allowed: float
    """In a minute."""


@frozen(kw_only=True)
class Spending:
    """Requests in each minute, on the scale of the requests; of what was allowed, as much as that scale can show."""

    bars: int
    minutes_a_bar: int
    top: int
    """Requests at the upper edge. Down, the unit is one request; across, one bar."""
    answered: str
    refused: str
    held: str
    """How much of each minute everybody had to wait: down, 60 units to a minute."""
    allowed: str
    """A line in steps, which leaves the scale where more was allowed."""
    busiest: Minute
    least_allowed: float
    most_allowed: float
    marks: tuple[Mark, ...]
    counts: tuple[Mark, ...]
    span: Span
    lines: tuple[Line, ...]
    """The same in figures, in stretches of equal length."""
    minutes_a_line: int

    @property
    def off_the_scale(self) -> bool:
        """Whether anywhere more was allowed than the scale shows."""
        return self.most_allowed > self.top

    @property
    def nowhere(self) -> bool:
        """Whether everywhere more was allowed than the scale shows."""
        return self.least_allowed > self.top


def spending_of(history: History, span: Span) -> Spending | None:
    """Lay out the requests of each minute; None where there are none to lay out."""
    if not history.minutes:
        return None
    began, number = whole_minutes(span)
    size = -(-number // MOST_BARS)
    stretch = Span(began, began + timedelta(minutes=-(-number // size) * size))
    bars = _bars(history.minutes, began, size)
    busiest = max(history.minutes, key=lambda minute: minute.requests)
    allowances = [minute.allowed for minute in history.minutes]
    top = _top([busiest.requests, *(allowed for allowed in allowances if allowed <= _FAR * max(busiest.requests, 1))])
    breaks = [stretch.share(gap.began) * stretch.seconds / 60 / size for gap in gaps(history)]
    return Spending(
        bars=-(-number // size),
        minutes_a_bar=size,
        top=top,
        answered="".join(_bar(at, top, bar.requests - bar.refused) for at, bar in bars.items()),
        refused="".join(_bar(at, top - bar.requests + bar.refused, bar.refused) for at, bar in bars.items()),
        held="".join(_bar(at, 60, min(bar.held, 60)) for at, bar in bars.items() if bar.held),
        allowed=_steps(bars, breaks, top),
        busiest=busiest,
        least_allowed=min(allowances),
        most_allowed=max(allowances),
        marks=time_marks(stretch),
        counts=count_marks(top),
        span=stretch,
        lines=_lines(history.minutes, began, each := -(-number // MOST_LINES)),
        minutes_a_line=each,
    )


def _top(numbers: Iterable[float]) -> int:
    """Give a round number no less than any of *numbers*, and more than 0."""
    most = math.ceil(max(1, *numbers))
    step = nice(most / 4)
    return -(-most // step) * step


def _bars(minutes: Iterable[Minute], began: datetime, size: int) -> dict[int, Bar]:
    """Put each minute into its bar, in order."""
    return {
        at: Bar(
            requests=max(minute.requests for minute in group),
            refused=max(minute.refused for minute in group),
            held=max(minute.held_seconds for minute in group),
            allowed=min(minute.allowed for minute in group),
        )
        for at, group in _grouped(minutes, began, size)
    }


def _lines(minutes: Iterable[Minute], began: datetime, size: int) -> tuple[Line, ...]:
    """Sum up the minutes of each stretch in which there is one."""
    return tuple(
        Line(
            began=began + timedelta(minutes=number * size),
            requests=sum(minute.requests for minute in group),
            refused=sum(minute.refused for minute in group),
            held=sum(minute.held_seconds for minute in group),
            least_allowed=min(minute.allowed for minute in group),
        )
        for number, group in _grouped(minutes, began, size)
    )


def _grouped(minutes: Iterable[Minute], began: datetime, size: int) -> list[tuple[int, list[Minute]]]:
    """Put *size* minutes together from *began* on, in order, and number the groups; those without any are left out."""
    groups: dict[int, list[Minute]] = defaultdict(list)
    for minute in minutes:
        groups[(minute.began - began) // timedelta(minutes=size)].append(minute)
    return sorted(groups.items())


def _steps(bars: Mapping[int, Bar], breaks: Sequence[float], top: int) -> str:
    """Draw the allowance from bar to bar, across minutes in which nothing was sent, but not where no process ran."""
    path, before = "", None
    for at, bar in bars.items():
        level = f"{top - min(bar.allowed, 2 * top):.6g}"
        broken = before is None or any(before <= place < at for place in breaks)
        path += f"M{at} {level}H{at + 1}" if broken else f"H{at}V{level}H{at + 1}"
        before = at
    return path
