"""When a run was: its first and last moment, when a process was at work, and when none was."""

from __future__ import annotations

from bisect import bisect_left
from datetime import timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from zuora_jobs.journal.history import History


@frozen
class Span:
    """A stretch of time."""

    began: datetime
    ended: datetime

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.ended - self.began).total_seconds()

    def share(self, at: datetime) -> float:
        """Tell where *at* lies: 0 where the span begins, 1 where it ends, never outside."""
        seconds = (at - self.began).total_seconds()
        return min(max(seconds / self.seconds, 0.0), 1.0) if self.seconds > 0 else float(seconds > 0)


def span_of(history: History) -> Span | None:
    """Give the span of all that the journal tells; None where it tells nothing.

    Its end is the latest moment written down, which is what "now" means for a job that is still open.
    """
    moments = _moments(history)
    return Span(min(moments), max(moments)) if moments else None


def _moments(history: History) -> list[datetime]:
    """Give all moments that are written down; those of minutes only as far as they are not before all others."""
    exact = list(_exact_moments(history))
    first = min(exact, default=None)
    whole = (minute.began for minute in history.minutes)
    return [*exact, *(at if first is None else max(at, first) for at in whole)]


def _exact_moments(history: History) -> Iterator[datetime]:
    for job in history.jobs:
        yield job.accepted
        yield from (change.at for change in job.changes)
        if job.ended is not None:
            yield job.ended
    for run in history.runs:
        yield run.began
        if run.ended is not None:
            yield run.ended


def drawable(span: Span) -> Span:
    """Give *span*, or a second from its beginning where it has no length: an axis needs some."""
    return span if span.seconds >= 1 else Span(span.began, span.began + timedelta(seconds=1))


def gaps(history: History) -> tuple[Span, ...]:
    """Give the stretches between two runs in which no process was at work."""
    found: list[Span] = []
    working = _working(history)
    if not working:
        return ()
    latest = working[0].ended
    for stretch in working[1:]:
        if stretch.began > latest:
            found.append(Span(latest, stretch.began))
        latest = max(latest, stretch.ended)
    return tuple(found)


def _working(history: History) -> list[Span]:
    """Give the stretch of each run; one that was killed lasted until the last thing known before the next began."""
    moments = sorted(_moments(history))
    runs = sorted(history.runs, key=lambda run: run.began)
    stretches = []
    for run, following in zip_longest(runs, runs[1:]):
        known = len(moments) if following is None else bisect_left(moments, following.began)
        ended = run.ended or (moments[known - 1] if known else run.began)
        stretches.append(Span(run.began, max(ended, run.began)))
    return stretches
