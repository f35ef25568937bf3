"""The jobs of a benchmark: what each is going to do, and whether what was reported of it is what it did.

The truth is written down here once more, from the vendor's pages, and not read from the package's own table. A life is
scripted in seconds, so nobody's polling changes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from zuora_jobs import Failed, Lost, Succeeded

if TYPE_CHECKING:
    from zuora_jobs import Outcome
    from zuora_jobs.emulator import Emulator, Job

TRUTH: Final[Mapping[tuple[str, str], str]] = {
    ("operation", "Completed"): "succeeded",
    ("operation", "Failed"): "failed",
    ("bulk-pdf", "Completed"): "succeeded",
    ("bulk-pdf", "PartialComplete"): "succeeded in part",
    ("bulk-pdf", "Error"): "failed",
    ("bulk-pdf", "Aborted"): "failed",
    ("bulk-pdf", "Cancelled"): "cancelled",
    ("aqua", "completed"): "succeeded",
    ("aqua", "error"): "failed",
    ("aqua", "aborted"): "failed",
    ("aqua", "cancelled"): "cancelled",
    ("credit-memo-apply", "Processed"): "succeeded",
    ("credit-memo-apply", "Error"): "failed",
}
"""How a job has ended, by its kind and its last status."""

SHORTEST, USUAL, LONGEST = 1.0, 20.0, 300.0
"""Seconds of a life; the usual one is the median."""
SPREAD: Final = 1.0
"""Of the logarithm of a life's length."""


@frozen
class Life:
    """What one job is going to do."""

    kind: str
    seconds: float
    end: str


class Report(Enum):
    """What became of one job's report."""

    RIGHT = "right"
    WRONG = "misreported"
    LOST = "lost"
    PENDING = "still polling"


def lives(count: int, seed: int, pace: float = 1.0) -> list[Life]:
    """Draw so many lives; each kind and each of its ends is as likely as any other. *pace* shortens them all."""
    rng = Random(f"{seed}/lives")
    ends: dict[str, list[str]] = {}
    for kind, end in TRUTH:
        ends.setdefault(kind, []).append(end)
    return [_life(rng, kind, ends[kind], pace) for kind in rng.choices(list(ends), k=count)]


def _life(rng: Random, kind: str, ends: list[str], pace: float) -> Life:
    seconds = rng.lognormvariate(math.log(USUAL), SPREAD)
    return Life(kind, round(min(max(seconds, SHORTEST), LONGEST) * pace, 1), rng.choice(ends))


def settle(zuora: Emulator, population: list[Life]) -> list[Job]:
    """Add a job for each life; all begin now."""
    return [zuora.add_job(life.kind, ends=life.end, seconds=life.seconds) for life in population]


def judge(life: Life, job: Job, outcome: Outcome[Any] | None, told_at: float) -> Report:
    """Hold what was reported of *job* at some moment against what it did; None: nothing was reported."""
    if outcome is None or isinstance(outcome, Lost):
        return Report.LOST
    told = "succeeded in part" if isinstance(outcome, Succeeded) and outcome.partial else outcome.name
    had_ended = job.ended_at is not None and job.ended_at <= told_at
    right = had_ended and told == TRUTH[life.kind, life.end] and outcome.status == life.end
    return Report.RIGHT if right and _gives_the_reasons(outcome, job.document()) else Report.WRONG


def _gives_the_reasons(outcome: Outcome[Any], document: Mapping[str, Any]) -> bool:
    if not isinstance(outcome, Failed):
        return True
    meant = _reasons_in(document)
    told = [reason.message or "" for reason in outcome.reasons]
    return len(told) == len(meant) and all(text.endswith(tail) for text, tail in zip(told, meant, strict=True))


def _reasons_in(document: Mapping[str, Any]) -> list[str]:
    """Why a job failed, wherever its family writes that."""
    listed = [reason["message"] for reason in document.get("reasons", ())]
    flat = [document.get("error"), document.get("message")]
    of_batches = [batch["message"] for batch in document.get("batches", ())]
    return [text for text in (*listed, *flat, *of_batches) if text]
