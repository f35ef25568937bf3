"""How a watch ended: `Succeeded | Failed | Cancelled` (the job ended) or `Lost` (we stopped knowing).

A failed job is a value. *Lost is never Failed*: our trouble and the job's failure are different words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, Never, TypeAlias, cast

from attrs import frozen

from zuora_jobs.errors import JobCancelled, JobFailed, JobLost, Reason, ZuoraJobsError
from zuora_jobs.protocol.kinds import JobHandle, JobT, Phase
from zuora_jobs.protocol.messages import one_line

if TYPE_CHECKING:
    from zuora_jobs.protocol.models import ResultFile
    from zuora_jobs.protocol.submits import Submitted


@frozen(kw_only=True)
class _Ended(Generic[JobT]):
    name: ClassVar[str]
    """The outcome in one word, as the command line prints it."""

    handle: JobHandle[JobT]
    job: JobT | None
    """The last document seen, if any was."""
    polls: int
    """How many looks at the job were answered, over all who watched it."""
    elapsed: float
    """Seconds from when the watch began."""

    @property
    def status(self) -> str | None:
        """Zuora's own last word, as received."""
        return self.job.status if self.job is not None else None

    @property
    def phase(self) -> Phase | None:
        """Where the job stood when last seen; None when it was not, or its status is unknown."""
        return self.handle.kind.phase(self.job.status) if self.job is not None else None

    @property
    def files(self) -> tuple[ResultFile, ...]:
        """What the job left behind; a cancelled or failed one may have left something too."""
        return self.handle.kind.files(self.job) if self.job is not None else ()


@frozen(kw_only=True)
class Succeeded(_Ended[JobT]):
    """The job ended well."""

    name: ClassVar[str] = "succeeded"
    job: JobT

    @property
    def partial(self) -> bool:
        """Whether it left something out that was asked of it."""
        return self.handle.kind.is_partial(self.job.status)

    def unwrap(self) -> JobT:
        """Give the job's document."""
        return self.job


@frozen(kw_only=True)
class Failed(_Ended[JobT]):
    """The job ended badly."""

    name: ClassVar[str] = "failed"
    job: JobT

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why, in Zuora's words; empty where it gives none."""
        return self.handle.kind.reasons(self.job)

    def unwrap(self) -> Never:
        """Raise JobFailed."""
        told = one_line("; ".join(map(str, self.reasons))) or "Zuora gives no reason"
        message = f"{self.handle} failed ({one_line(self.job.status, 60)}): {told}"
        raise JobFailed(message, outcome=self)


@frozen(kw_only=True)
class Cancelled(_Ended[JobT]):
    """The job ended because somebody cancelled it. It may have left files of what was done before."""

    name: ClassVar[str] = "cancelled"
    job: JobT

    def unwrap(self) -> Never:
        """Raise JobCancelled."""
        message = f"{self.handle} was cancelled ({one_line(self.job.status, 60)})"
        raise JobCancelled(message, outcome=self)


@frozen(kw_only=True)
class Lost(_Ended[JobT]):
    """We stopped knowing about the job. It may have ended well, badly, or not at all."""

    name: ClassVar[str] = "lost"
    error: ZuoraJobsError
    """Why."""

    def unwrap(self) -> Never:
        """Raise JobLost, from `error`."""
        seen = f", last seen {one_line(self.status, 60)}" if self.status else ", never seen"
        message = f"{self.handle} is lost{seen}: {self.error}"
        raise JobLost(message, outcome=self) from self.error


Outcome: TypeAlias = Succeeded[JobT] | Failed[JobT] | Cancelled[JobT] | Lost[JobT]

_BY_PHASE: dict[Phase, type[Succeeded[Any] | Failed[Any] | Cancelled[Any]]] = {
    Phase.SUCCEEDED: Succeeded,
    Phase.FAILED: Failed,
    Phase.CANCELLED: Cancelled,
}


def outcome_of(handle: JobHandle[JobT], job: JobT, *, polls: int, elapsed: float) -> Outcome[JobT] | None:
    """Tell how a job ended, from its document; None while it has not, or its status is not known."""
    phase = handle.kind.phase(job.status)
    ended = _BY_PHASE.get(phase) if phase is not None else None
    return ended(handle=handle, job=job, polls=polls, elapsed=elapsed) if ended is not None else None


def ended_at_once(submitted: Submitted[JobT]) -> Outcome[JobT] | None:
    """Tell how a job ended that had ended when it was submitted; None where it has still to be watched, or is none."""
    if submitted.handle is None or submitted.job is None:
        return None
    return outcome_of(submitted.handle, cast("JobT", submitted.job), polls=0, elapsed=0.0)


def account_of(outcome: Outcome[Any]) -> dict[str, Any]:
    """Give *outcome* as a JSON object, without the job's document: the fields of a `finished` line."""
    reasons = outcome.reasons if isinstance(outcome, Failed) else ()
    return {
        "outcome": outcome.name,
        "status": outcome.status,
        "partial": isinstance(outcome, Succeeded) and outcome.partial,
        "polls": outcome.polls,
        "elapsed": round(outcome.elapsed, 3),
        "reasons": [{"code": reason.code, "message": reason.message} for reason in reasons],
        "error": error_account(outcome.error) if isinstance(outcome, Lost) else None,
    }


def error_account(error: BaseException) -> dict[str, str]:
    """Give *error* as a JSON object."""
    return {"type": type(error).__name__, "message": str(error)}


@frozen(kw_only=True)
class Ran(Generic[JobT]):
    """What became of a request: what was submitted, and how its job ended."""

    submitted: Submitted[JobT]
    outcome: Outcome[JobT] | None
    """None: it was done at once, and there was no job."""

    @property
    def request(self) -> Any:
        """What was submitted."""
        return self.submitted.request

    def unwrap(self) -> JobT | None:
        """Give the job's document, or None where there was none.

        Raises:
            JobFailed, JobCancelled, JobLost: it did not end well.
        """
        return self.outcome.unwrap() if self.outcome is not None else None
