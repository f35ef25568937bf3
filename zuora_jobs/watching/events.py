"""What watchers tell, as frozen values, and who is told.

Each event has a moment `at` (aware, UTC); those about a job have its `handle`. `name` is the event's name in JSON lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from attrs import field, frozen

from zuora_jobs.protocol.sighting import Sighting

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime

    from zuora_jobs.errors import ZuoraJobsError
    from zuora_jobs.protocol.kinds import JobHandle, Phase
    from zuora_jobs.protocol.models import JobDocument
    from zuora_jobs.watching.outcome import Outcome
    from zuora_jobs.watching.watcher import JobWatcher


@frozen(kw_only=True)
class Event:
    """Something that a watcher has to tell."""

    name: ClassVar[str] = "event"
    at: datetime


@frozen(kw_only=True)
class JobEvent(Event):
    """Something about one job."""

    handle: JobHandle[Any]


# --- about one job


@frozen(kw_only=True)
class JobSubmitted(JobEvent):
    """A job was begun by `JobWatcher.submit`; only observers hear of it, since nobody watches the job yet."""

    name: ClassVar[str] = "submitted"
    from_journal: bool = False
    """Whether that was in an earlier run."""


@frozen(kw_only=True)
class WatchBegan(JobEvent):
    """Somebody asked to watch the job, which nobody did before; only observers hear of it.

    They are told in his own task and context, before anything is sent. After it comes exactly one `Finished` or `WatchLeft`.
    """

    name: ClassVar[str] = "watch_began"


@frozen(kw_only=True)
class WatchLeft(JobEvent):
    """Nobody watches the job any more, and no end of it is told; only observers hear of it.

    All who watched it have left, by cancellation or because the watcher was closed, or had said in an earlier run that they
    know its end.
    """

    name: ClassVar[str] = "watch_left"
    polls: int
    """How many looks at it were answered."""


@frozen(kw_only=True)
class Observed(JobEvent):
    """A look at the job was answered."""

    name: ClassVar[str] = "observed"
    status: str
    phase: Phase | None
    """None: the kind does not list this status."""
    polls: int
    """Starts at 1 with the first answer."""
    _job: JobDocument | Sighting[Any] = field(repr=False)

    @property
    def job(self) -> JobDocument:
        """The whole document; most are never asked for, so it is read when it is."""
        seen = self._job
        return cast("JobDocument", seen.job) if isinstance(seen, Sighting) else seen


@frozen(kw_only=True)
class StatusChanged(JobEvent):
    """The job's status is another than at the last look."""

    name: ClassVar[str] = "status_changed"
    before: str
    status: str


@frozen(kw_only=True)
class UnknownStatusSeen(JobEvent):
    """The job has a status its kind does not list; told once for each such status. The watch goes on."""

    name: ClassVar[str] = "unknown_status"
    status: str


@frozen(kw_only=True)
class Stalled(JobEvent):
    """The job has not moved for far longer than its like: neither its status nor its step and counts. The watch goes on.

    Told once, and once more only if the job has moved in between.
    """

    name: ClassVar[str] = "stalled"
    status: str
    seconds: float
    """For how long it has not moved."""
    usual: float | None
    """Seconds of the longest time that another job of its kind had this status; None: too few have been seen."""


@frozen(kw_only=True)
class Retrying(JobEvent):
    """A look at the job was not answered, and will be tried again."""

    name: ClassVar[str] = "retrying"
    error: ZuoraJobsError
    delay: float
    """Seconds until then."""


@frozen(kw_only=True)
class CancelRefused(JobEvent):
    """Zuora refused to cancel the job, most likely because it had ended. The watch goes on, to its real end."""

    name: ClassVar[str] = "cancel_refused"
    error: ZuoraJobsError


@frozen(kw_only=True)
class Finished(JobEvent):
    """The watch ended. Comes exactly once for a handle, and last; to a caller whose own timeout passed, it is his own."""

    name: ClassVar[str] = "finished"
    outcome: Outcome[Any]
    from_journal: bool = False
    """Whether this was seen in an earlier run. Presigned URLs are not kept: ask about the job again for them."""


# --- about the tenant


@frozen(kw_only=True)
class Throttled(Event):
    """The server asked us to wait; nothing is sent meanwhile."""

    name: ClassVar[str] = "throttled"
    seconds: float


@frozen(kw_only=True)
class LostContact(Event):
    """No look at any job has been answered for a while. All watches go on."""

    name: ClassVar[str] = "lost_contact"
    error: ZuoraJobsError
    seconds: float
    """Since the first of the failures."""


@frozen(kw_only=True)
class Recovered(Event):
    """After a lost contact, a look was answered."""

    name: ClassVar[str] = "recovered"
    seconds: float
    """How long contact was lost."""


class Observer(Protocol):
    """Is told of every event of a watcher, in its loop: to be quick, and not to block.

    Any callable that takes an event will do. One that raises is logged and called again for the next event.
    """

    def __call__(self, event: Event, /) -> object:
        """Take note."""


class Attendant(Protocol):
    """An observer of any number of watchers that wants to know which of them it is told of: it attends each by itself."""

    def attend(self, watcher: JobWatcher) -> AbstractContextManager[Observer]:
        """Give what is entered before *watcher* opens, for whom to tell its events, and left when all has been told.

        If that has a method `looking(handle)`, what it gives is entered around each look at a job, in the task that looks.
        """
