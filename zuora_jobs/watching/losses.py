"""Why we stopped knowing about a job, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zuora_jobs.errors import UnknownStatus, WatchTimedOut, ZuoraJobsError
from zuora_jobs.protocol.messages import one_line

if TYPE_CHECKING:
    from zuora_jobs.protocol.kinds import JobHandle


def kept(error: ZuoraJobsError) -> ZuoraJobsError:
    """Free an error that is kept as a value of the frames it was raised through: they hold whole answers."""
    return error.with_traceback(None)


def timed_out(handle: JobHandle[Any], timeout: float | None, last: ZuoraJobsError | None) -> WatchTimedOut:
    """Say that the caller's *timeout* (seconds) has passed, and the *last* trouble there was at that moment."""
    message = f"the watch of {handle} ran out of its {timeout:g} s"
    if last is None:
        return WatchTimedOut(f"{message}; the job may well end yet")
    error = WatchTimedOut(f"{message}, and the last look failed: {type(last).__name__}: {last}")
    error.__cause__ = kept(last)
    return error


def unknown_for_too_long(handle: JobHandle[Any], status: str, seconds: float) -> UnknownStatus:
    """Say that a job has had no *status* that its kind lists for so many *seconds*."""
    message = (
        f"{handle} has the status {one_line(status, 60)!r}, and for {seconds:.0f} s has had none that its kind lists"
    )
    return UnknownStatus(message, status=status)
