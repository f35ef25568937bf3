"""The families of jobs: everything that differs between them, a row each.

Read from the vendor's own pages and from nothing else, so that one misreading cannot sit on both sides of a test:
  https://developer.zuora.com/v1-api-reference/api/operation/Get_BulkPDFToZIPGeneration/
  https://developer.zuora.com/v1-api-reference/api/operation/DELETE_BatchQueryJob/
  https://developer.zuora.com/v1-api-reference/api/operation/getApplyCreditMemoAsyncJob/
A further family is one more row and its two document functions; nothing else asks which family a job is of.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import frozen

from zuora_jobs.emulator.aqua import aqua_birth, aqua_cancel_answer, aqua_files, aqua_hide, aqua_now
from zuora_jobs.emulator.archives import places_of
from zuora_jobs.emulator.documents import (
    Birth,
    View,
    bulk_pdf_birth,
    bulk_pdf_now,
    credit_memo_apply_birth,
    credit_memo_apply_now,
    credit_memo_unapply_birth,
    credit_memo_unapply_now,
    operation_birth,
    operation_now,
)
from zuora_jobs.emulator.lives import Step
from zuora_jobs.emulator.replies import CODE_NOT_FOUND, OK, Document, Reply, refused, refused_flatly
from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from zuora_jobs.emulator.jobs import Job
    from zuora_jobs.emulator.options import Options


def _unknown(options: Options, job_id: str, ids: Mapping[str, str]) -> Reply:
    status = options.unknown_job_status
    code: str | int = CODE_NOT_FOUND if status == OK else str(CODE_NOT_FOUND)
    return refused(status, code, f"Cannot find entity by key: '{job_id}'.", **ids)


def _aqua_refusal(options: Options, code: int, message: str) -> Reply:
    if options.aqua_refusal_status == OK:
        return Reply(OK, {"status": "error", "errorCode": str(code), "message": message})
    return refused_flatly(options.aqua_refusal_status, code, message)


def _aqua_unknown(options: Options, job_id: str, _ids: Mapping[str, str]) -> Reply:
    return _aqua_refusal(options, 90002, f"Invalid job id: {job_id}")


def _aqua_too_late(options: Options, job_id: str) -> Reply:
    return _aqua_refusal(options, 90003, f"Invalid job id for cancellation: {job_id}")


@frozen
class Cancel:
    """How jobs of a family are cancelled, by DELETE on their own route."""

    status: str
    """Their status afterwards."""
    show: Callable[[Document], Document]
    """What DELETE shows of the document."""
    too_late: Callable[[Options, str], Reply]
    """The refusal for a job that has ended."""


def _as_it_is(document: Document) -> Document:
    return document


def _no_files(_: Document) -> list[str]:
    return []


@frozen(kw_only=True)
class Family:
    """A row of the table."""

    name: str
    route: str
    """The path of its jobs, up to the id."""
    id_field: str
    running: tuple[str, ...]
    """Statuses before the end, in the order that a life takes them."""
    endings: Mapping[str, float]
    """Statuses at the end -> how often random lives end so."""
    seconds: tuple[float, float]
    """A plausible life's length, from and to."""
    birth: Callable[[Birth], Document]
    now: Callable[[View], Document]
    unknown: Callable[[Options, str, Mapping[str, str]], Reply] = _unknown
    cancel: Cancel | None = None
    hide: Callable[[Document], Document] = _as_it_is
    """Takes out of a job's document what does not exist yet, whatever its fields say."""
    files: Callable[[Document], list[str]] = _no_files
    """The ids of the files that a job may come to have."""
    places: Callable[[Job], list[str]] = lambda job: job.file_ids
    """Where on the shelf a job's files are."""

    @property
    def success(self) -> str:
        """The status of those that end as they should."""
        return next(iter(self.endings))

    @property
    def statuses(self) -> tuple[str, ...]:
        """Every status of its enum."""
        return (*self.running, *self.endings)

    def life(
        self, rng: random.Random, ends: str | None = None, seconds: float | None = None, polls: int | None = None
    ) -> list[Step]:
        """A plausible life.

        Args:
            rng: Draws whatever is not given.
            ends: The last status, whichever text it is.
            seconds: How long it takes to the end: a quarter in the first running status, the rest in the second.
            polls: How many GETs see it running; instead of *seconds*.
        """
        end = ends or rng.choices(list(self.endings), list(self.endings.values()))[0]
        first, *_, last = self.running
        if polls is not None and seconds is not None:
            msg = "a life lasts either seconds or polls, not both"
            raise ConfigurationError(msg)
        if polls is not None:
            return [Step(last, polls=polls), Step(end)]
        low, high = self.seconds
        drawn = round(math.exp(rng.uniform(math.log(low), math.log(high))), 1)
        length = drawn if seconds is None else seconds
        return [Step(first, length / 4), Step(last, length - length / 4), Step(end)]


OPERATION = Family(
    name="operation",
    route="/v1/operations/jobs/",
    id_field="id",
    running=("Pending", "Processing"),
    endings={"Completed": 9, "Failed": 1},
    seconds=(2, 60),
    birth=operation_birth,
    now=operation_now,
)
BULK_PDF = Family(
    name="bulk-pdf",
    route="/v1/operations/bulk-pdf/",
    id_field="jobId",
    running=("Submitted", "Executing"),
    endings={"Completed": 16, "PartialComplete": 2, "Error": 1, "Aborted": 0.5, "Cancelled": 0.5},
    seconds=(20, 1800),
    birth=bulk_pdf_birth,
    now=bulk_pdf_now,
    places=lambda job: places_of(job.handle, job.id, job.asked),
)
AQUA = Family(
    name="aqua",
    route="/v1/batch-query/jobs/",
    id_field="id",
    running=("submitted", "executing"),
    endings={"completed": 16, "aborted": 2, "error": 1, "cancelled": 1},
    seconds=(5, 900),
    birth=aqua_birth,
    now=aqua_now,
    unknown=_aqua_unknown,
    cancel=Cancel("cancelled", aqua_cancel_answer, _aqua_too_late),
    hide=aqua_hide,
    files=aqua_files,
)
CREDIT_MEMO_APPLY = Family(
    name="credit-memo-apply",
    route="/v1/credit-memos/apply-async-jobs/",
    id_field="id",
    running=("Pending", "Processing"),
    endings={"Processed": 9, "Error": 1},
    seconds=(1, 120),
    birth=credit_memo_apply_birth,
    now=credit_memo_apply_now,
)
CREDIT_MEMO_UNAPPLY = Family(
    name="credit-memo-unapply",
    route="/v1/credit-memos/unapply-async-jobs/",
    id_field="id",
    running=("Pending", "Processing"),
    endings={"Processed": 9, "Error": 1},
    seconds=(1, 120),
    birth=credit_memo_unapply_birth,
    now=credit_memo_unapply_now,
)

FAMILIES: Mapping[str, Family] = {
    family.name: family for family in (OPERATION, BULK_PDF, AQUA, CREDIT_MEMO_APPLY, CREDIT_MEMO_UNAPPLY)
}


def family_named(kind: str) -> Family:
    """The row called *kind*."""
    if kind not in FAMILIES:
        msg = f"there is no kind of job called {kind!r}; there are {', '.join(FAMILIES)}"
        raise ConfigurationError(msg)
    return FAMILIES[kind]
