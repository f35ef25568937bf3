"""The table of job kinds: everything that differs between job families, as data.

Rules of this file:
1. A raw status is mapped here and nowhere else, by its kind's own row, ignoring case. No set of words is shared: success
   is Completed, Completed, completed and *Processed*; a cancelled job is Cancelled or cancelled.
2. A status that is in no column has no phase: it is neither an end nor a crash. Zuora does add statuses.
3. A further family is one more row (and a model, where its document differs). There is no `if kind ==` anywhere.

Statuses: `zuora-sdk` models operation_job_status, bulk_pdf_generation_job_status, batch_query_status,
invoice_settlement_async_job_status; AQuA's job statuses https://docs.zuora.com (Aggregate Query API, get job results).
"""

from __future__ import annotations

import re
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar
from unicodedata import normalize
from urllib.parse import unquote

from attrs import evolve, field, frozen

from zuora_jobs.errors import ConfigurationError, InvalidHandle, Reason
from zuora_jobs.protocol.models import (
    AquaJob,
    BulkPdfJob,
    CreditMemoApplyJob,
    JobDocument,
    OperationJob,
    ResultFile,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

JobT = TypeVar("JobT", bound=JobDocument)
JobT_co = TypeVar("JobT_co", bound=JobDocument, covariant=True)

IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", re.ASCII)
"""What can be an id. Zuora's have 32 hexadecimal digits; nothing here can change a path."""


class Phase(Enum):
    """Where a job stands, whatever its family calls it."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self is not _PENDING and self is not _RUNNING


_PENDING, _RUNNING = Phase.PENDING, Phase.RUNNING
"""By these names, since an Enum's members are slow to look up, and each poll asks."""


@frozen(kw_only=True, eq=False)
class JobKind(Generic[JobT_co]):
    """One row of the table. Compared and hashed by identity: there is one of each."""

    name: str
    """In handles: `aqua:e20b…`."""
    model: type[JobT_co]
    watch: str
    """Path of the GET, with `{id}`."""
    cancel: str | None
    """Path of the DELETE, with `{id}`; None: such a job cannot be cancelled."""
    pending: tuple[str, ...]
    running: tuple[str, ...]
    succeeded: tuple[str, ...]
    partial: tuple[str, ...]
    """Succeeded, but not for everything that was asked."""
    failed: tuple[str, ...]
    cancelled: tuple[str, ...]
    org_scoped: bool
    """Whether the header Zuora-Org-Ids is offered on this family's page."""
    reasons: Callable[[Any], tuple[Reason, ...]]
    """Why a job failed, from its document."""
    files: Callable[[Any], tuple[ResultFile, ...]]
    """What a job left behind, from its document."""
    progress: Callable[[Any], Hashable] | None = field(default=None, repr=False)
    """How far a job has come within its status, from its document: another value means that it moves. None: no telling."""
    waits_for_another: Callable[[Any], bool] = field(default=lambda _: False, repr=False)
    """Whether a job that has not begun may be waiting for another to end, from its document."""
    overlong: float = 3600.0
    """Seconds without a move in one status that are long, where nothing is known of others."""
    ended_by_zuora_after: float = inf
    """Seconds without a move after which Zuora itself would have ended the job."""
    _phases: Mapping[str, Phase] = field(init=False, repr=False)
    _words: Mapping[str, str] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        for path in (self.watch, self.cancel):
            if path is not None and (path.count("{id}") != 1 or path.count("{") != 1 or not path.startswith("/")):
                message = f"the path {path!r} of the kind {self.name} must begin with / and have {{id}} in it, once"
                raise ConfigurationError(message)
        columns = {
            Phase.PENDING: self.pending,
            Phase.RUNNING: self.running,
            Phase.SUCCEEDED: self.succeeded + self.partial,
            Phase.FAILED: self.failed,
            Phase.CANCELLED: self.cancelled,
        }
        # as Zuora spells them, and as any other spelling becomes
        phases = {key: phase for phase, words in columns.items() for word in words for key in (word, word.casefold())}
        object.__setattr__(self, "_phases", phases)
        object.__setattr__(self, "_words", {word: word for words in columns.values() for word in words})

    def __repr__(self) -> str:
        return f"<JobKind {self.name}>"

    def phase(self, status: str) -> Phase | None:
        """Tell where a job with this *status* stands; None when the row does not list it."""
        return self._phases.get(status) or self._phases.get(status.strip().casefold())

    def word(self, status: str) -> str:
        """Give the row's own copy of *status*, if it is spelled like that: one word for all jobs, and not one for each."""
        return self._words.get(status, status)

    def is_partial(self, status: str) -> bool:
        """Tell whether *status* is a success that left something out."""
        return status.strip().casefold() in {word.casefold() for word in self.partial}

    def handle(self, id: str) -> JobHandle[JobT_co]:  # noqa: A002 - the domain's own word
        """Name the job of this kind with this *id*.

        Raises:
            InvalidHandle: *id* has characters that cannot be in an id.
        """
        return JobHandle(self, id)


@frozen(repr=False, weakref_slot=False)
class JobHandle(Generic[JobT_co]):
    """A job's name: its kind and its id. Hashable; `str(handle)` is `kind:id` and `JobHandle.parse` reads it back."""

    kind: JobKind[JobT_co]
    id: str = field()

    @id.validator
    def _check(self, _: object, value: object) -> None:
        if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
            message = (
                f"{str(value)[:80]!r} cannot be the id of a {self.kind.name} job:"
                " an id has 1 to 128 letters, digits, - or _, such as e20b07474688ad5001468daf10e501de"
            )
            raise InvalidHandle(message)

    def __hash__(self) -> int:
        return hash(self.id)  # which the text remembers; ids of two kinds are seldom alike

    def __str__(self) -> str:
        return f"{self.kind.name}:{self.id}"

    def __repr__(self) -> str:
        return f"<JobHandle {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self.kind.name, self.id)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `kind:id`.

        Raises:
            InvalidHandle: there is no colon, no such kind, or the id cannot be one.
        """
        if not isinstance(text, str):
            message = f"a handle is text such as aqua:e20b07474688ad5001468daf10e501de, not {type(text).__name__}"
            raise InvalidHandle(message)
        name, colon, identifier = text.strip().partition(":")
        if not colon:
            message = f"{text[:80]!r} is no handle: write kind:id, such as aqua:e20b07474688ad5001468daf10e501de"
            raise InvalidHandle(message)
        kind = KINDS.get(name)
        if kind is None:
            message = f"{text[:80]!r} names no kind of job: use one of {', '.join(KINDS)}"
            raise InvalidHandle(message)
        return cls(kind, identifier)


def _unpickle(kind: str, identifier: str) -> JobHandle[Any]:
    return KINDS[kind].handle(identifier)


def _listed_reasons(job: OperationJob | BulkPdfJob) -> tuple[Reason, ...]:
    return job.reasons


def _error_text(job: CreditMemoApplyJob) -> tuple[Reason, ...]:
    return job.reasons or ((Reason(message=job.error),) if job.error else ())


def _query_messages(job: AquaJob) -> tuple[Reason, ...]:
    own = (Reason(code=job.error_code, message=job.message),) if job.error_code or job.message else ()
    return own + tuple(
        Reason(message=f"{batch.name}: {batch.message}" if batch.name else batch.message)
        for batch in job.batches
        if batch.message and (batch.status or "").casefold() != "completed"
    )


def _batches_done(job: AquaJob) -> Hashable:
    return tuple((batch.status, batch.record_count) for batch in job.batches)


def _is_stateful(job: AquaJob) -> bool:
    """Stateful jobs of one partner and project run one after another, and the second stays `submitted` until then.

    Source: https://docs.zuora.com/en/zuora-platform/data/aggregate-query-api-aqua/aqua-stateless-and-stateful-modes
    """
    return bool(job.partner and job.project)


_LONGEST_QUERY: Final = 10_800.0
"""Seconds. A query that takes longer is killed; https://docs.zuora.com (Aggregate Query API, limits)."""


def _zipping_done(job: BulkPdfJob) -> Hashable:
    return job.step_status, len(job.file_urls)


def _no_files(_: object) -> tuple[ResultFile, ...]:
    return ()


def _zip_files(job: BulkPdfJob) -> tuple[ResultFile, ...]:
    files: dict[str, ResultFile] = {}
    for number, url in enumerate(job.file_urls, start=1):
        name = _last_part(url)
        while _much_alike(name) in files:
            name += f"-{number}"
        files[_much_alike(name)] = ResultFile(name=name, url=url, suffix=".zip", number=number)
    return tuple(files.values())


def _last_part(url: str) -> str:
    """Give the name in a presigned URL, such as invoices_1; its path stays the same when it is signed anew."""
    return unquote(re.split(r"[?#]", url, maxsplit=1)[0].rpartition("/")[2]).removesuffix(".zip")


def _much_alike(name: str) -> str:
    """Give the same for names that somebody may take for the same."""
    return re.sub(r"[\W_]", "", normalize("NFC", name)).casefold()


_SUFFIXES: Final = {"csv": ".csv", "gzip": ".csv.gz", "zip": ".zip"}
"""By AQuA's formats; one that we do not know is not looked into."""


def _query_files(job: AquaJob) -> tuple[ResultFile, ...]:
    suffix = _SUFFIXES.get((job.format or "csv").casefold(), "")
    suffix += ".pgp" if (job.encrypted or "").casefold() == "pgp" else ""
    files = [
        # records are counted over all segments of a query, so a single segment's count is not known
        ResultFile(name=batch.name, file_id=file_id, suffix=suffix, query=query, records_of_query=batch.record_count)
        if batch.segments
        else ResultFile(name=batch.name, file_id=file_id, suffix=suffix, records=batch.record_count)
        for query, batch in enumerate(job.batches, start=1)
        for file_id in (batch.segments or ((batch.file_id,) if batch.file_id else ()))
    ]
    return tuple(evolve(file, number=number) for number, file in enumerate(files, start=1))


OPERATION: Final[JobKind[OperationJob]] = JobKind(
    name="operation",
    model=OperationJob,
    watch="/v1/operations/jobs/{id}",
    cancel=None,
    pending=("Pending",),
    running=("Processing",),
    succeeded=("Completed",),
    partial=(),
    failed=("Failed",),
    cancelled=(),
    org_scoped=True,
    reasons=_listed_reasons,
    files=_no_files,
)

BULK_PDF: Final[JobKind[BulkPdfJob]] = JobKind(
    name="bulk-pdf",
    model=BulkPdfJob,
    watch="/v1/operations/bulk-pdf/{id}",
    cancel=None,
    pending=("Submitted",),
    running=("Executing",),
    succeeded=("Completed",),
    partial=("PartialComplete",),
    failed=("Error", "Aborted"),
    cancelled=("Cancelled",),
    org_scoped=False,
    reasons=_listed_reasons,
    files=_zip_files,
    progress=_zipping_done,
)

AQUA: Final[JobKind[AquaJob]] = JobKind(
    name="aqua",
    model=AquaJob,
    watch="/v1/batch-query/jobs/{id}",
    cancel="/v1/batch-query/jobs/{id}",
    pending=("submitted", "pending"),
    running=("executing",),
    succeeded=("completed",),
    partial=(),
    failed=("error", "aborted", "failed"),
    cancelled=("cancelled",),
    org_scoped=True,
    reasons=_query_messages,
    files=_query_files,
    progress=_batches_done,
    waits_for_another=_is_stateful,
    overlong=_LONGEST_QUERY,
    ended_by_zuora_after=_LONGEST_QUERY,
)

CREDIT_MEMO_APPLY: Final[JobKind[CreditMemoApplyJob]] = JobKind(
    name="credit-memo-apply",
    model=CreditMemoApplyJob,
    watch="/v1/credit-memos/apply-async-jobs/{id}",
    cancel=None,
    pending=("Pending",),
    running=("Processing",),
    succeeded=("Processed",),
    partial=(),
    failed=("Error",),
    cancelled=(),
    org_scoped=True,
    reasons=_error_text,
    files=_no_files,
)

CREDIT_MEMO_UNAPPLY: Final[JobKind[CreditMemoApplyJob]] = evolve(
    CREDIT_MEMO_APPLY, name="credit-memo-unapply", watch="/v1/credit-memos/unapply-async-jobs/{id}"
)

KINDS: Final[dict[str, JobKind[Any]]] = {
    kind.name: kind for kind in (OPERATION, BULK_PDF, AQUA, CREDIT_MEMO_APPLY, CREDIT_MEMO_UNAPPLY)
}
"""All kinds by name. A family of your own: `KINDS[mine.name] = mine`."""
