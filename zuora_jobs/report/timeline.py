"""The timeline's geometry: a bar a job, in rows, and one path for all bars of a phase. Pure: values in, values out.

A job takes the first row of its kind that is free: so a kind is as high as it had jobs under way at once, and bars are
as thick as that allows. Jobs that begin together get a row each, the shortest first.

Across, the units are PLOT_WIDTH to the whole span; down, one unit is one row. What is drawn is stretched to fit, so a
path of ten thousand jobs costs one element, and zooming is a matter of the view box.
"""

from __future__ import annotations

import math
from collections import defaultdict
from heapq import heappop, heappush
from itertools import groupby
from typing import TYPE_CHECKING, Final

from attrs import frozen

from zuora_jobs.report.axes import Mark, time_marks
from zuora_jobs.report.moments import Span, drawable
from zuora_jobs.report.moments import gaps as gaps_of
from zuora_jobs.report.summary import OUTCOMES, outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from zuora_jobs.journal.history import History, JobRecord

PLOT_WIDTH: Final = 100_000
PHASES: Final = ("unseen", "pending", "running", "unknown")
"""What a job can be doing before it ends: not looked at yet, then by its phase; unknown: its kind lists no such status."""
ENDED: Final = {"succeeded", "failed", "cancelled"}
"""Phases in which nothing is left to draw."""

ROW, TALLEST, HEADING = 18, 560, 26
"""Pixels: of a row at most, of all rows together at most, and of a kind's heading."""
DENSE: Final = 4
"""Pixels of a row beneath which no space is left between two."""
BETWEEN: Final = PLOT_WIDTH // 500
"""Room between two bars in a row, for the mark of an end."""
MANY: Final = 14
"""From this many kinds on there is no room for a heading each, but for one free row."""
TALLEST_OF_MANY, LABEL = 900, 16
"""Pixels: of many kinds at most, and of a row with the free one above it that has room for a name."""


@frozen(kw_only=True)
class Band:
    """The rows of one kind."""

    kind: str
    top: int
    """Its first row."""
    rows: int
    first: int
    """Its first job, by number."""
    count: int
    labelled: bool
    """There is room for its name."""


@frozen(kw_only=True)
class Gap:
    """A stretch in which no process was at work."""

    span: Span
    left: float
    """As shares of the axis."""
    width: float


@frozen(kw_only=True)
class Timeline:
    """A bar for each job."""

    jobs: tuple[JobRecord, ...]
    """By kind, then by beginning, then by end."""
    row_of: tuple[int, ...]
    bands: tuple[Band, ...]
    rows: int
    """Headings included."""
    height: int
    """Pixels."""
    mark: float
    """Pixels of the mark of an end that is not a success: smaller where many jobs share a line of pixels."""
    dense: bool
    """Rows are too thin for a space between them."""
    phases: dict[str, str]
    """A path for each of PHASES that occurs."""
    ends: dict[str, str]
    """A path for each outcome that occurs."""
    span: Span
    marks: tuple[Mark, ...]
    gaps: tuple[Gap, ...]

    @property
    def nameless(self) -> bool:
        """Whether some kinds have no room for their name."""
        return not all(band.labelled for band in self.bands)


def timeline_of(history: History, span: Span) -> Timeline:
    """Lay out a bar for each job."""
    span = drawable(span)
    jobs = sorted(history.jobs, key=lambda job: (job.kind, job.accepted, job.ended or span.ended, job.id))
    bands, row_of, rows, row = _bands(jobs, span)
    phases: dict[str, list[str]] = defaultdict(list)
    ends: dict[str, list[str]] = defaultdict(list)
    for job, y in zip(jobs, row_of, strict=True):
        for phase, left, right in _segments(job, span):
            phases[phase].append(f"M{left} {y}.5h{max(right - left, 1)}")
        if job.ended is not None:
            ends[outcome_of(job)].append(f"M{_end(job, span)} {_end_mark(outcome_of(job), y)}")
    return Timeline(
        jobs=tuple(jobs),
        row_of=tuple(row_of),
        bands=tuple(bands),
        rows=rows,
        height=max(round(rows * row), ROW),
        dense=row < DENSE,
        mark=round(min(0.3 * row + 3, 8), 1),
        phases={phase: "".join(phases[phase]) for phase in PHASES if phase in phases},
        ends={outcome: "".join(ends[outcome]) for outcome in OUTCOMES if outcome in ends},
        span=span,
        marks=time_marks(span),
        gaps=tuple(
            Gap(span=gap, left=span.share(gap.began), width=span.share(gap.ended) - span.share(gap.began))
            for gap in gaps_of(history)
        ),
    )


def _bands(jobs: Sequence[JobRecord], span: Span) -> tuple[list[Band], list[int], int, float]:
    """Give the bands, the row of each job, how many rows there are with the headings, and the pixels of one."""
    packed = {kind: _packed(list(group), span) for kind, group in groupby(jobs, key=lambda job: job.kind)}
    heights = {kind: max(places) + 1 for kind, places in packed.items()}
    lanes, roomy = sum(heights.values()), len(packed) < MANY
    row = min(float(ROW), TALLEST / max(lanes, 1) if roomy else TALLEST_OF_MANY / (lanes + len(packed)))
    heading = math.ceil(HEADING / row) if roomy else 1
    bands: list[Band] = []
    row_of: list[int] = []
    top = 0
    for kind, places in packed.items():
        top += heading
        labelled = roomy or (heights[kind] + heading) * row >= LABEL
        bands.append(
            Band(kind=kind, top=top, rows=heights[kind], first=len(row_of), count=len(places), labelled=labelled)
        )
        row_of += (top + place for place in places)
        top += heights[kind]
    return bands, row_of, top, row


def _packed(jobs: Sequence[JobRecord], span: Span) -> list[int]:
    """Give each of *jobs*, which are in the order of their beginnings, the first row that is free."""
    taken: list[tuple[int, int]] = []  # until where, and which: a heap, as is the next
    free: list[int] = []
    rows = []
    for job in jobs:
        left = _place(span, job.accepted)
        while taken and taken[0][0] <= left:
            heappush(free, heappop(taken)[1])
        row = heappop(free) if free else len(taken)
        heappush(taken, (_end(job, span) + BETWEEN, row))
        rows.append(row)
    return rows


def _segments(job: JobRecord, span: Span) -> Iterator[tuple[str, int, int]]:
    """Give what *job* did, from where to where. Where a clock went backwards, time stands still."""
    left, does = _place(span, job.accepted), "unseen"
    finish = _end(job, span)
    for change in job.changes:
        then = doing(change.phase)
        if then == does:
            continue
        turn = min(max(_place(span, change.at), left), finish)
        if turn > left or does != "unseen":
            yield does, left, turn
        if then is None:
            return
        left, does = turn, then
    yield does, left, finish


def doing(phase: str | None) -> str | None:
    """Name what is drawn for *phase*; None: the job is over."""
    if phase in ENDED:
        return None
    return phase if phase in PHASES else "unknown"


def _end(job: JobRecord, span: Span) -> int:
    return max(_place(span, job.ended or span.ended), _place(span, job.accepted))


def _end_mark(outcome: str, row: int) -> str:
    """A bar as high as the row, or a point, for others to be drawn around."""
    return f"{row}.1v.8" if outcome == "succeeded" else f"{row}.5h0"


def _place(span: Span, at: datetime) -> int:
    return round(span.share(at) * PLOT_WIDTH)
