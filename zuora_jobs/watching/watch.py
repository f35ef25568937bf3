"""What the fleet works with: the rules it was given, what it knows of each job, and the figures it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from zuora_jobs.errors import ZuoraJobsError
    from zuora_jobs.protocol.kinds import JobHandle, JobKind
    from zuora_jobs.protocol.models import JobDocument
    from zuora_jobs.transport.retry import Patience, Trouble
    from zuora_jobs.watching.cadence import Cadence
    from zuora_jobs.watching.subscription import Subscription


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

    cadence: Callable[[JobKind[Any]], Cadence]
    patience: Patience
    unknown_status_timeout: float
    cancel_remote: bool


class Watch:
    """One job being watched, whoever asks."""

    __slots__ = (
        "accepted",
        "began",
        "delays",
        "deletions",
        "handle",
        "job",
        "late",
        "looking",
        "nudged",
        "parked",
        "polls",
        "status",
        "subscriptions",
        "trouble",
        "unknown",
        "unknown_since",
    )

    def __init__(self, handle: JobHandle[Any], began: float) -> None:
        self.handle = handle
        self.began = began
        self.accepted = False
        """Whether the record has it; before that nothing is sent."""
        self.deletions: tuple[Callable[[ZuoraJobsError], None], ...] = ()
        """Who wants the remote job to be cancelled once this is accepted."""
        self.late: tuple[Subscription, ...] = ()
        """Whose time ran out before that."""
        self.job: JobDocument | None = None
        self.status: str | None = None
        """Last seen, perhaps in an earlier run."""
        self.polls = 0
        self.subscriptions: tuple[Subscription, ...] = ()
        self.looking: asyncio.Task[None] | None = None
        self.nudged = False
        """To be looked at as soon as this is accepted, or what is under way has come back."""
        self.parked = False
        """Left alone until somebody who watches it has read on."""
        self.trouble: Trouble | None = None
        self.delays: Iterator[float] | None = None
        self.unknown: frozenset[str] = frozenset()
        """Statuses told as unknown since the last that was known."""
        self.unknown_since = 0.0
