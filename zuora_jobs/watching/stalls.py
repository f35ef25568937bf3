"""Which jobs do not move any more: pure.

A job moves when its status does, or what its kind calls progress within one: a step, a count. One that has stood still for
far longer than its like is told of, once. It may end yet, so the watch goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from zuora_jobs.protocol.kinds import Phase

if TYPE_CHECKING:
    from zuora_jobs.protocol.kinds import JobKind
    from zuora_jobs.protocol.models import JobDocument
    from zuora_jobs.watching.stays import Stays
    from zuora_jobs.watching.watch import Watch

_ENOUGH: Final = 8
"""Stays that must have come to their end before they are a measure for others."""

_FAR_LONGER: Final = 5.0
"""Times the longest stay that did."""

SOONEST: Final = 10.0
"""Seconds that are never long: a worker may have been busy elsewhere."""


def usual(stays: Stays) -> float | None:
    """Give the seconds of the longest stay that others have had in a status; None: too few to be a measure."""
    return stays.longest if stays.events >= _ENOUGH else None


def too_long(kind: JobKind[Any], stays: Stays) -> float:
    """Give the seconds without a move that are far too long, from how long others have stayed in a status."""
    if usual(stays) is None:
        return kind.overlong
    return max(SOONEST, min(kind.ended_by_zuora_after, _FAR_LONGER * stays.longest))


def standstill(watch: Watch, job: JobDocument, limit: float, moved: float, now: float) -> float | None:
    """Tell for how many seconds a job has stood still, if that is to be told now.

    Args:
        watch: the job's; what it had come to is kept there.
        job: its document.
        limit: seconds that are too long; it has been in its status for longer.
        moved: when others of its kind that stand before it have last moved, for one that has not begun.
        now: the moment.
    """
    kind, aside = watch.handle.kind, watch.set_aside()
    waits = kind.phase(job.status) is Phase.PENDING
    if waits and kind.waits_for_another(job):
        return None
    come = progress(kind, job)
    if come != watch.progress:
        watch.progress, aside.moved_at, aside.stalled = come, now, False
    elif aside.moved_at is None or aside.moved_at < watch.since:
        aside.moved_at, aside.stalled = watch.since, False
    since = max(aside.moved_at, moved) if waits else aside.moved_at
    if aside.stalled or now - since < limit:
        return None
    aside.stalled = True
    return now - since


def progress(kind: JobKind[Any], job: JobDocument) -> int | None:
    """Give how far a job has come within its status, in little memory; None where its kind does not tell."""
    return hash(kind.progress(job)) if kind.progress is not None else None
