"""What is written to a journal, and what it knows of a job, as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.watching.outcome import Outcome


@frozen
class Accepted:
    """A job is to be watched."""

    handle: JobHandle[Any]
    at: float


@frozen
class Seen:
    """A job has another status than before."""

    handle: JobHandle[Any]
    at: float
    status: str
    phase: str | None
    polls: int
    secrets: tuple[str, ...] = ()
    """What must not be written, beside presigned URLs."""


@frozen
class Left:
    """A job is no longer watched, though it had not ended."""

    handle: JobHandle[Any]
    polls: int


@frozen
class Ended:
    """A watch has ended."""

    outcome: Outcome[Any]
    at: float
    secrets: tuple[str, ...] = ()
    """As for `Seen`."""


@frozen
class Acknowledged:
    """The consumer has what he needs of a job's end."""

    handle: JobHandle[Any]
    at: float


@frozen
class Saved:
    """A result file is on the disk."""

    handle: JobHandle[Any]
    at: float
    path: str
    size: int


@frozen
class Began:
    """A process begins to write."""

    at: float
    rate: float
    concurrency: int
    tenant: str | None = None
    """Whose jobs it watches; None: an emulator's."""


@frozen
class Stopped:
    """It has written what it had."""

    at: float


@frozen
class Spent:
    """What has been spent since this was said last."""

    at: float
    requests: int
    refused: int
    held_seconds: float
    rate: float
    """Requests a second that may go at present."""


Entry: TypeAlias = Accepted | Seen | Left | Ended | Acknowledged | Saved | Began | Stopped | Spent


@frozen(kw_only=True)
class Past:
    """What a journal knows of a job that is to be watched."""

    age: float = 0.0
    """Seconds since it was accepted for the first time."""
    polls: int = 0
    status: str | None = None
    outcome: Outcome[Any] | None = None
    """How it ended; None: it has not, or was lost and is to be watched again."""
    acknowledged: bool = False


NEW: Final = Past()
