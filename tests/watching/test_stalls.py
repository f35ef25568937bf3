"""Which jobs do not move any more: what is told, of whom, and when."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from zuora_jobs import AQUA, BULK_PDF, CREDIT_MEMO_APPLY, OPERATION
from zuora_jobs.protocol.models import AquaBatch, AquaJob, BulkPdfJob, CreditMemoApplyJob, OperationJob
from zuora_jobs.watching.stalls import SOONEST, progress, standstill, too_long, usual
from zuora_jobs.watching.stays import Stays
from zuora_jobs.watching.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zuora_jobs.protocol.kinds import JobKind
    from zuora_jobs.protocol.models import JobDocument

LIMIT = 100.0
KINDS = (OPERATION, BULK_PDF, AQUA, CREDIT_MEMO_APPLY)


def stayed(*seconds: float) -> Stays:
    stays = Stays()
    for one in seconds:
        stays.lasted(one)
    return stays


class Looks:
    """One job in the looker's hands: what it is told of each look."""

    def __init__(self, kind: JobKind[Any], began: float = 0.0) -> None:
        self.watch = Watch(kind.handle("x"), began)
        self.told: list[tuple[float, float]] = []
        """When, and for how many seconds it had stood still."""

    def see(self, job: JobDocument, at: float, moved: float = -inf) -> None:
        """As the looker does."""
        kind = self.watch.handle.kind
        if self.watch.status != job.status:
            self.watch.status, self.watch.since = job.status, at
            if kind.progress is not None:
                self.watch.progress = progress(kind, job)
        if at - self.watch.since < LIMIT:
            return
        seconds = standstill(self.watch, job, LIMIT, moved, at)
        if seconds is not None:
            self.told.append((at, seconds))

    def see_all(self, job: JobDocument, moments: Iterable[float], moved: float = -inf) -> list[tuple[float, float]]:
        for at in moments:
            self.see(job, at, moved)
        return self.told


def aqua(status: str = "executing", *records: int, **more: Any) -> AquaJob:
    batches = tuple(AquaBatch(name=f"b{place}", status="executing", record_count=n) for place, n in enumerate(records))
    return AquaJob(status=status, batches=batches, **more)


# --- how long is too long


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_where_too_few_others_are_known_the_kind_says_what_is_too_long(kind: JobKind[Any]) -> None:
    for count in range(8):
        stays = stayed(*[5.0] * count)
        assert too_long(kind, stays) == kind.overlong
        assert usual(stays) is None


def test_looks_at_jobs_that_are_still_there_are_no_measure() -> None:
    stays = Stays()
    for _ in range(100):
        stays.still(0.0, 50.0)
    assert (usual(stays), too_long(OPERATION, stays)) == (None, OPERATION.overlong)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("longest", [0.0, 0.5, 3.0, 30.0, 300.0, 900.0])
def test_several_times_the_longest_is_too_long(kind: JobKind[Any], longest: float) -> None:
    stays = stayed(*[longest / 10] * 7, longest)
    assert usual(stays) == longest
    assert too_long(kind, stays) == max(SOONEST, 5 * longest)


def test_where_zuora_would_have_ended_it_a_job_has_taken_too_long_whatever_others_took() -> None:
    stays = stayed(*[10_000.0] * 8)
    assert too_long(AQUA, stays) == AQUA.ended_by_zuora_after == 10_800
    assert too_long(OPERATION, stays) == 50_000


def test_a_queue_may_wait_for_a_worker_for_a_moment() -> None:
    assert too_long(OPERATION, stayed(*[0.01] * 50)) == SOONEST > 0


# --- who is told of


def test_a_job_that_stands_still_is_told_of_once() -> None:
    looks = Looks(OPERATION)
    assert looks.see_all(OperationJob(status="Processing"), range(0, 1000, 10)) == [(100, 100)]


def test_it_is_told_once_more_only_after_it_has_moved() -> None:
    looks = Looks(BULK_PDF)
    step = [BulkPdfJob(status="Executing", step_status=word) for word in ("GenerationInProgress", "ZippingInProgress")]
    assert looks.see_all(step[0], range(0, 300, 10)) == [(100, 100)]
    assert looks.see_all(step[1], range(300, 600, 10)) == [(100, 100), (400, 100)]
    assert looks.see_all(step[1], range(600, 3000, 10)) == [(100, 100), (400, 100)]
    assert looks.see_all(step[0], range(3000, 3500, 10))[2:] == [(3100, 100)]


def test_another_status_is_a_move() -> None:
    looks = Looks(OPERATION)
    looks.see_all(OperationJob(status="Pending"), range(0, 300, 10))
    looks.see_all(OperationJob(status="Processing"), range(300, 600, 10))
    assert looks.told == [(100, 100), (400, 100)]
    looks.see_all(OperationJob(status="Pending"), range(600, 900, 10))
    assert looks.told[2:] == [(700, 100)]


def test_a_status_that_does_not_last_is_never_told_of() -> None:
    looks = Looks(OPERATION)
    for turn in range(50):
        looks.see_all(OperationJob(status=("Pending", "Processing")[turn % 2]), range(turn * 90, turn * 90 + 90, 10))
    assert looks.told == []


def test_a_job_whose_counts_rise_moves() -> None:
    looks = Looks(AQUA)
    for at in range(0, 5000, 10):
        looks.see(aqua("executing", 100, at), at)
    assert looks.told == []
    assert looks.see_all(aqua("executing", 100, 4990), range(5000, 6000, 10)) == [(5090, 100)]


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (AQUA, aqua("executing", 1), aqua("executing", 2)),
        (AQUA, aqua("executing", 1), aqua("executing", 1, 1)),
        (AQUA, AquaJob(status="executing"), aqua("executing", 0)),
        (BULK_PDF, BulkPdfJob(status="Executing"), BulkPdfJob(status="Executing", step_status="ZippingInProgress")),
        (
            BULK_PDF,
            BulkPdfJob(status="Executing"),
            BulkPdfJob(status="Executing", file_urls=("https://x.example.com",)),
        ),
    ],
    ids=["count", "batch", "first batch", "step", "file"],
)
def test_what_its_kind_calls_progress_is_a_move(kind: JobKind[Any], before: JobDocument, after: JobDocument) -> None:
    looks = Looks(kind)
    assert looks.see_all(before, range(0, 150, 10)) == [(100, 100)]
    assert looks.see_all(after, range(150, 250, 10)) == [(100, 100)]
    assert looks.see_all(after, range(250, 400, 10)) == [(100, 100), (250, 100)]


@pytest.mark.parametrize("kind", [OPERATION, CREDIT_MEMO_APPLY], ids=lambda kind: kind.name)
def test_a_kind_that_tells_no_progress_moves_with_its_status_only(kind: JobKind[Any]) -> None:
    word = kind.running[0]
    for job in (OperationJob(status=word), CreditMemoApplyJob(status=word)):
        assert progress(kind, job) is None


# --- those who have not begun


def pending(kind: JobKind[Any], **more: Any) -> JobDocument:
    word = kind.pending[0]
    return kind.model(status=word, **more)  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_job_that_does_not_begin_is_told_of_where_none_begins(kind: JobKind[Any]) -> None:
    assert Looks(kind).see_all(pending(kind), range(0, 1000, 10)) == [(100, 100)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_job_that_waits_is_not_told_of_while_others_of_its_kind_begin(kind: JobKind[Any]) -> None:
    looks = Looks(kind)
    for at in range(0, 5000, 10):
        looks.see(pending(kind), at, moved=at - at % 90)
    assert looks.told == []
    assert looks.see_all(pending(kind), range(5000, 6000, 10), moved=4950.0) == [(5050, 100)]


def test_that_others_begin_does_not_help_a_job_at_work() -> None:
    looks = Looks(OPERATION)
    for at in range(0, 500, 10):
        looks.see(OperationJob(status="Processing"), at, moved=at)
    assert looks.told == [(100, 100)]


@pytest.mark.parametrize(
    ("more", "is_told"),
    [
        ({"partner": "p", "project": "q"}, False),
        ({"partner": "p"}, True),
        ({"project": "q"}, True),
        ({"partner": "", "project": ""}, True),
        ({}, True),
    ],
    ids=str,
)
def test_a_stateful_query_may_wait_for_another_as_long_as_it_likes(more: dict[str, Any], is_told: bool) -> None:
    assert bool(Looks(AQUA).see_all(aqua("submitted", **more), range(0, 100_000, 100))) == is_told


def test_a_stateful_query_at_work_is_told_of() -> None:
    looks = Looks(AQUA)
    looks.see_all(aqua("submitted", partner="p", project="q"), range(0, 1000, 10))
    assert looks.told == []
    looks.see_all(aqua("executing", partner="p", project="q"), range(1000, 2000, 10))
    assert looks.told == [(1100, 100)]


def test_a_status_that_the_kind_does_not_list_can_stand_still_too() -> None:
    assert Looks(OPERATION).see_all(OperationJob(status="Odd"), range(0, 1000, 10), moved=90.0) == [(100, 100)]
