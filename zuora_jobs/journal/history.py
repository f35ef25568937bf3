"""What a journal tells afterwards, as frozen values: every job's life, and what was spent on it. No SQL, no clock.

Names of kinds, phases and outcomes are text here: a journal may hold kinds of jobs that this program does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from datetime import datetime

    from zuora_jobs.errors import Reason


@frozen(kw_only=True)
class Change:
    """A status that was seen for the first time, or anew after another."""

    at: datetime
    status: str
    """Zuora's own word."""
    phase: str | None
    """pending, running, succeeded, failed or cancelled; None: the kind does not list this status."""


@frozen(kw_only=True)
class SavedFile:
    """A result file that was downloaded."""

    at: datetime
    path: str
    size: int
    """Bytes."""


@frozen(kw_only=True)
class JobRecord:
    """One job's life, as far as it was seen."""

    kind: str
    id: str
    accepted: datetime
    """When its watch began; not when Zuora began to work on it, which is not known."""
    changes: tuple[Change, ...] = ()
    """In the order in which they were seen."""
    polls: int = 0
    """Looks that were answered, over all runs; those just before a crash may be missing."""
    ended: datetime | None = None
    """When its end was seen, or it was lost; None: it was still being watched when the journal was last written."""
    outcome: str | None = None
    """succeeded, failed, cancelled or lost; None: as `ended`."""
    partial: bool = False
    """Succeeded, but something was left out."""
    reasons: tuple[Reason, ...] = ()
    """Why it failed, in Zuora's words."""
    error: tuple[str, str] | None = None
    """Why it was lost: the error's type, such as NotFound, and its message."""
    acknowledged: bool = False
    """Whether its end reached the consumer, who said so."""
    files: tuple[SavedFile, ...] = ()

    @property
    def handle(self) -> str:
        """The job's name, `kind:id`."""
        return f"{self.kind}:{self.id}"

    @property
    def status(self) -> str | None:
        """Zuora's last word."""
        return self.changes[-1].status if self.changes else None

    @property
    def seconds(self) -> float | None:
        """How long its watch took; None while it goes on."""
        return (self.ended - self.accepted).total_seconds() if self.ended is not None else None


@frozen(kw_only=True)
class Minute:
    """What was spent in one minute of the clock."""

    began: datetime
    """A whole minute."""
    requests: int
    refused: int
    """Of those, by the tenant, for want of quota."""
    held_seconds: float
    """How long the tenant made everybody wait."""
    allowed: float
    """Requests that the budget would have allowed in this minute, as it stood: never more than the run's ceiling."""


@frozen(kw_only=True)
class Run:
    """One process that wrote to the journal."""

    began: datetime
    ended: datetime | None
    """None: it is still running, or was killed."""
    rate: float
    """Requests a second at most: the ceiling of its budget."""
    concurrency: int
    """Requests at once at most."""


@frozen(kw_only=True)
class History:
    """All that a journal tells."""

    jobs: tuple[JobRecord, ...]
    """In the order in which they were accepted."""
    minutes: tuple[Minute, ...]
    """In order of time; a minute in which nothing was sent may be missing."""
    runs: tuple[Run, ...]
    """In the order in which they came, whatever their clocks said."""
