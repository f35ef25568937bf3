"""What the fleet works with: the rules it was given, what it knows of each job, and the figures it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from zuora_jobs.watching.rank import Entry

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from zuora_jobs.errors import ZuoraJobsError
    from zuora_jobs.protocol.kinds import JobHandle, JobKind
    from zuora_jobs.transport.retry import Patience
    from zuora_jobs.watching.cadence import Cadence
    from zuora_jobs.watching.subscription import Subscription
    from zuora_jobs.watching.troubles import Troubles


@frozen(kw_only=True)
class Statistics:
    """A moment's figures of a watcher."""

    watching: int
    """Jobs being watched."""
    looking: int
    """Looks whose answers are awaited."""
    polls: int
    """Looks that were answered."""
    retries: int
    """Looks that were not, and were tried again."""
    requests: int
    """Sent by the watcher's client in all, others' included; without those for tokens."""
    refused: int
    """Of those requests, by the tenant, for want of quota."""
    succeeded: int
    failed: int
    cancelled: int
    lost: int
    held_seconds: float
    """How long the server made us wait, in all."""


@frozen(kw_only=True)
class Rules:
    """What a watcher was told about how to watch."""

    cadence: Callable[[JobHandle[Any]], Cadence]
    durations: tuple[tuple[JobKind[Any], float], ...] = ()
    """Kinds, and seconds that jobs of theirs took."""
    patience: Patience
    unknown_status_timeout: float
    cancel_remote: bool


class Watch(Entry):
    """One job being watched, whoever asks. There may be a hundred thousand: what few of them need is kept `aside`."""

    __slots__ = (
        "accepted",
        "aside",
        "began",
        "handle",
        "looking",
        "nudged",
        "parked",
        "polls",
        "progress",
        "seen",
        "status",
        "subscriptions",
    )

    def __init__(self, handle: JobHandle[Any], began: float) -> None:
        self.handle = handle
        self.began = began
        self.accepted = False
        """Whether the record has it; before that nothing is sent."""
        self.seen: bytes | None = None
        """The last answer, as `Keepsakes` keeps it."""
        self.status: str | None = None
        """Last seen, perhaps in an earlier run."""
        self.polls = 0
        self.progress: int | None = None
        """How far it had come within its status when that began, as a hash."""
        self.subscriptions: tuple[Subscription, ...] = ()
        self.looking: asyncio.Task[None] | None = None
        """Who looks at it at this moment."""
        self.nudged = False
        """To be looked at as soon as this is accepted, or what is under way has come back."""
        self.parked = False
        """Left alone until somebody who watches it has read on."""
        self.aside: Aside | None = None

    def set_aside(self) -> Aside:
        """Give what is kept aside, to be written to."""
        if self.aside is None:
            self.aside = Aside()
        return self.aside

    def is_well(self) -> None:
        """Take note that a look has gone well: troubles are over, and what is kept aside may be nothing more."""
        aside = self.aside
        if aside is not None:
            aside.troubles = None
            if aside.is_empty():
                self.aside = None

    @property
    def last_trouble(self) -> ZuoraJobsError | None:
        """What came of the last look, if it failed."""
        troubles = self.aside.troubles if self.aside is not None else None
        return troubles.last if troubles is not None else None


class Aside:
    """What is known of a job that has something uncommon about it."""

    __slots__ = (
        "cadence",
        "deletions",
        "late",
        "moved_at",
        "stalled",
        "troubles",
        "unknown",
        "unknown_since",
    )

    def __init__(self) -> None:
        self.cadence: Cadence | None = None
        """Its own."""
        self.deletions: tuple[Callable[[ZuoraJobsError], None], ...] = ()
        """Who wants the remote job to be cancelled once it is accepted."""
        self.late: tuple[Subscription, ...] = ()
        """Whose time ran out before that."""
        self.troubles: Troubles | None = None
        self.unknown: frozenset[str] = frozenset()
        """Statuses told as unknown since the last that was known."""
        self.unknown_since = 0.0
        self.moved_at: float | None = None
        """When it last moved, as far as was seen since it first seemed to take long."""
        self.stalled = False
        """Whether that has been told."""

    def is_empty(self) -> bool:
        """Tell whether there is nothing to be kept."""
        return not (
            self.cadence or self.deletions or self.late or self.troubles or self.unknown or self.moved_at is not None
        )


NOTHING_ASIDE: Final = Aside()
"""For those who only read."""
