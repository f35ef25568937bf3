"""A run in figures: by kind, in all, and what went wrong most. Pure: a History in, a Summary out."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import islice
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from zuora_jobs.report.moments import Span, span_of
from zuora_jobs.report.words import clean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from zuora_jobs.journal.history import History, JobRecord

OUTCOMES: Final = ("succeeded", "partly", "failed", "cancelled", "lost", "open")
"""How a job can stand, in this order wherever they are listed; open: its end was not seen yet."""

EXAMPLES: Final = 3
_DIGIT: Final = re.compile(r"\d")


@frozen(kw_only=True)
class Durations:
    """How long watches took, in seconds, of the jobs whose end was seen; lost ones have no end to measure."""

    count: int
    p50: float
    """Nearest rank, as all percentiles here: half of the jobs took no longer, and some job took just this."""
    p90: float
    longest: float


@frozen(kw_only=True)
class KindSummary:
    """One kind, or all of them, in figures."""

    name: str
    jobs: int
    outcomes: Mapping[str, int]
    """By the words of OUTCOMES, each of them there."""
    durations: Durations | None
    """None: no job has ended."""
    polls: int

    @property
    def polls_a_job(self) -> float:
        """Looks that were answered, for each job."""
        return self.polls / self.jobs if self.jobs else 0.0


@frozen(kw_only=True)
class Trouble:
    """A reason for failures, or a loss, with the jobs that share it."""

    outcome: str
    """failed or lost."""
    text: str
    """In full where all jobs say the same, else with … for the words that differ."""
    count: int
    examples: tuple[str, ...]
    """A few handles."""
    key: str = field(repr=False)
    """What the jobs have in common; see `trouble_key`."""


@frozen(kw_only=True)
class Summary:
    """A run in figures."""

    kinds: tuple[KindSummary, ...]
    """The most numerous first."""
    total: KindSummary
    troubles: tuple[Trouble, ...]
    """The most frequent first. A job with several reasons counts in each."""
    requests: int
    refused: int
    held_seconds: float
    span: Span | None
    """From the first to the last moment written down; None: nothing is."""
    runs: int
    cut_short: int
    """Runs without an end before the last: killed."""
    unended: bool
    """The last run has no end: it is still at work, or was killed."""
    backwards: int
    """Jobs that ended before they began, because a clock was set; they count as 0 s."""


def summarize(history: History) -> Summary:
    """Count what *history* tells."""
    of_kind: dict[str, list[JobRecord]] = defaultdict(list)
    for job in history.jobs:
        of_kind[job.kind].append(job)
    kinds = sorted((_summarize(name, jobs) for name, jobs in of_kind.items()), key=lambda kind: (-kind.jobs, kind.name))
    ends = [run.ended for run in history.runs]
    return Summary(
        kinds=tuple(kinds),
        total=_summarize("all", history.jobs),
        troubles=_troubles(history.jobs),
        requests=sum(minute.requests for minute in history.minutes),
        refused=sum(minute.refused for minute in history.minutes),
        held_seconds=sum(minute.held_seconds for minute in history.minutes),
        span=span_of(history),
        runs=len(ends),
        cut_short=sum(end is None for end in ends[:-1]),
        unended=bool(ends) and ends[-1] is None,
        backwards=sum((job.seconds or 0) < 0 for job in history.jobs),
    )


def outcome_of(job: JobRecord) -> str:
    """Give how *job* stands, by the words of OUTCOMES."""
    if job.outcome is None:
        return "open"
    return "partly" if job.outcome == "succeeded" and job.partial else job.outcome


def took(job: JobRecord) -> float | None:
    """Give how long the watch of *job* took; None while it goes on. Never negative, whatever clocks did."""
    return None if job.seconds is None else max(job.seconds, 0.0)


def durations_of(jobs: Iterable[JobRecord]) -> list[float]:
    """Give how long the jobs took whose end was seen, the shortest first."""
    return sorted(seconds for job in jobs if job.outcome != "lost" and (seconds := took(job)) is not None)


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Give the nearest-rank percentile: the least value that *percent* of all do not exceed.

    Not `statistics.quantiles`: that one answers with values between two jobs, and beyond the longest.
    """
    return ordered[max(-(-percent * len(ordered) // 100), 1) - 1]


def _summarize(name: str, jobs: Collection[JobRecord]) -> KindSummary:
    outcomes = Counter(map(outcome_of, jobs))
    ordered = durations_of(jobs)
    return KindSummary(
        name=name,
        jobs=len(jobs),
        outcomes={outcome: outcomes[outcome] for outcome in OUTCOMES},
        durations=Durations(
            count=len(ordered), p50=percentile(ordered, 50), p90=percentile(ordered, 90), longest=ordered[-1]
        )
        if ordered
        else None,
        polls=sum(job.polls for job in jobs),
    )


def reasons_of(job: JobRecord) -> tuple[str, ...]:
    """Give why *job* failed or was lost, each reason once, fit to be shown; none for any other job."""
    if job.outcome == "lost":
        return (clean(": ".join(filter(None, job.error or ())) or "nothing is known of why"),)
    if job.outcome == "failed":
        return tuple(dict.fromkeys(clean(str(reason)) for reason in job.reasons)) or ("Zuora gives no reason",)
    return ()


def trouble_key(outcome: str, reason: str) -> str:
    """Give what *reason* has in common with those of other jobs: all but the words that hold a digit.

    Those are ids, amounts, dates. A code at the beginning stays, for it tells troubles apart.
    """
    code, colon, message = reason.partition(": ")
    if not colon or " " in code:
        code, colon, message = "", "", reason
    common = " ".join("…" if _DIGIT.search(word) else word for word in message.split(" "))
    return f"{outcome} {code}{colon}{common}"


def _troubles(jobs: Iterable[JobRecord]) -> tuple[Trouble, ...]:
    handles: dict[str, dict[str, None]] = defaultdict(dict)
    said: dict[str, set[str]] = defaultdict(set)
    for job in jobs:
        for reason in reasons_of(job):
            key = trouble_key(outcome_of(job), reason)
            handles[key][job.handle] = None
            said[key].add(reason)
    return tuple(
        Trouble(
            outcome=key.partition(" ")[0],
            text=said[key].pop() if len(said[key]) == 1 else key.partition(" ")[2],
            count=len(found),
            examples=tuple(islice(found, EXAMPLES)),
            key=key,
        )
        for key, found in sorted(handles.items(), key=lambda item: (-len(item[1]), item[0]))
    )
