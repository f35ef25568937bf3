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


@frozen
class Intended:
    """A request is about to be sent."""

    request: str
    """What tells it from all others of this journal; says nothing of what is in it."""
    at: float
    name: str
    """Of its row in the table of submits."""
    idempotency_key: str | None
    note: str | None = None
    """What its submitter wants to find again beside it."""


@frozen
class Settled:
    """Zuora has taken a request."""

    request: str
    at: float
    handle: JobHandle[Any] | None
    """Of the job that it began; None: it was done at once."""
    answer: Any = None
    secrets: tuple[str, ...] = ()
    """As for `Seen`."""


@frozen
class Withdrawn:
    """Nothing came of a request: it was refused, or not sent."""

    request: str


Entry: TypeAlias = (
    Accepted | Seen | Left | Ended | Acknowledged | Saved | Began | Stopped | Spent | Intended | Settled | Withdrawn
)


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


@frozen(kw_only=True)
class Intent:
    """What a journal knows of a request that was sent, or was about to be."""

    idempotency_key: str | None
    """That it bore."""
    age: float
    """Seconds since it was first to be sent with that key."""
    note: str | None = None
    is_settled: bool = False
    """Whether Zuora is known to have taken it."""
    handle: JobHandle[Any] | None = None
    stranger: str | None = None
    """The handle's text, where this program does not know its kind."""
    answer: Any = None
    """Typed, less what is secret; None: it is not known, or cannot be read any more."""


NEW: Final = Past()
