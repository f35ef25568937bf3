"""What the page's script works from: the jobs in columns, each text once, in the order of the timeline's rows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from zuora_jobs.report.summary import OUTCOMES, outcome_of, reasons_of, took, trouble_key
from zuora_jobs.report.timeline import PLOT_WIDTH, doing
from zuora_jobs.report.words import clean

if TYPE_CHECKING:
    from collections.abc import Hashable

    from zuora_jobs.journal.history import JobRecord
    from zuora_jobs.report.summary import Summary
    from zuora_jobs.report.timeline import Timeline

T = TypeVar("T", bound="Hashable")

MOST_CHOICES: Final = 50
"""Troubles that can be filtered by."""
_LONG: Final = 600
"""Seconds of a run from which tenths of them do."""


class _Numbers(Generic[T]):
    """Values by number, each once."""

    def __init__(self) -> None:
        self.numbers: dict[T, int] = {}

    def __call__(self, value: T) -> int:
        return self.numbers.setdefault(value, len(self.numbers))


def data_of(timeline: Timeline, summary: Summary) -> dict[str, Any]:
    """Give the jobs of *timeline* as JSON can hold them."""
    statuses: _Numbers[tuple[str, str | None]] = _Numbers()
    reasons: _Numbers[str] = _Numbers()
    choices = {trouble.key: number for number, trouble in enumerate(summary.troubles[:MOST_CHOICES])}
    zero = timeline.span.began
    rounded = partial(round, ndigits=1 if timeline.span.seconds > _LONG else 3)
    return {
        "zero": zero.timestamp(),
        "seconds": timeline.span.seconds,
        "width": PLOT_WIDTH,
        "rows": timeline.rows,
        "bands": [[clean(band.kind), band.top, band.rows, band.first, band.count] for band in timeline.bands],
        "row": timeline.row_of,
        "outcomes": OUTCOMES,
        "id": [clean(job.id) for job in timeline.jobs],
        "outcome": [OUTCOMES.index(outcome_of(job)) for job in timeline.jobs],
        "began": [rounded((job.accepted - zero).total_seconds()) for job in timeline.jobs],
        "took": [None if (seconds := took(job)) is None else rounded(seconds) for job in timeline.jobs],
        "polls": [job.polls for job in timeline.jobs],
        "changes": [
            [
                item
                for change in job.changes
                for item in (rounded((change.at - zero).total_seconds()), statuses((change.status, change.phase)))
            ]
            for job in timeline.jobs
        ],
        "reasons": {number: [reasons(reason) for reason in reasons_of(job)] for number, job in _troubled(timeline)},
        "troubles": {
            number: [
                choices[key] for reason in reasons_of(job) if (key := trouble_key(outcome_of(job), reason)) in choices
            ]
            for number, job in _troubled(timeline)
        },
        "statusTexts": [clean(status, 200) for status, _ in statuses.numbers],
        "statusDoes": [doing(phase) for _, phase in statuses.numbers],
        "reasonTexts": list(reasons.numbers),
    }


def _troubled(timeline: Timeline) -> list[tuple[int, JobRecord]]:
    return [(number, job) for number, job in enumerate(timeline.jobs) if reasons_of(job)]
