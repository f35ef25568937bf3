"""How long the rest will take, going by how long such jobs have taken: pure, and told the time.

Of n jobs the last is likely to end at about the n/(n+1) quantile of what is known of such jobs, and of those only that
have already taken as long as this one.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from zuora_jobs.watching.outcome import Lost

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.watching.outcome import Outcome

FEWEST: Final = 5
"""Ends of a kind that say something about the next."""

MOST_ASKED: Final = 1000
"""Open jobs of a kind that are asked how long they may take."""


def remaining(durations: Sequence[float], ages: Sequence[float]) -> float | None:
    """Give the seconds until the last of some jobs is likely to end; None where history does not say.

    Args:
        durations: how long such jobs have taken, in ascending order.
        ages: for how long each of these has been going on.
    """
    if len(durations) < FEWEST:
        return None
    share = len(ages) / (len(ages) + 1)
    longest = 0.0
    for age in ages[:: len(ages) // MOST_ASKED + 1]:
        longer = len(durations) - bisect_right(durations, age)
        if not longer:
            return None  # it takes longer than any before
        longest = max(longest, durations[len(durations) - longer + ceil(share * longer) - 1] - age)
    return longest


class Eta:
    """Estimates when all jobs of a run will have ended.

    Args:
        durations: by kind, how many seconds its jobs have taken, in ascending order.
        began: for each job that is to be watched, the moment at which its watch began.
    """

    def __init__(self, durations: Mapping[str, Sequence[float]], began: Mapping[JobHandle[Any], float]) -> None:
        self._durations = {kind: list(known) for kind, known in durations.items()}
        self._open: dict[str, dict[JobHandle[Any], float]] = {}
        for handle, moment in began.items():
            self._open.setdefault(handle.kind.name, {})[handle] = moment

    def ended(self, outcome: Outcome[Any], *, known_before: bool) -> None:
        """Learn from the end of a job, unless it was *known_before*."""
        kind = outcome.handle.kind.name
        self._open.get(kind, {}).pop(outcome.handle, None)
        if not known_before and not isinstance(outcome, Lost):
            insort(self._durations.setdefault(kind, []), outcome.elapsed)

    def left(self, now: float) -> float | None:
        """Give the seconds from *now* until the last job is likely to have ended; None where nothing can be said.

        Jobs that take longer than any before are left out: see `overdue`.
        """
        longest = 0.0
        for kind, ages in self._ages(now):
            durations = self._durations.get(kind, ())
            usual = [age for age in ages if not _is_overdue(durations, age)]
            estimate = remaining(durations, usual)
            if estimate is None:
                return None
            longest = max(longest, estimate)
        return longest or None

    def overdue(self, now: float) -> int:
        """Count the jobs that have taken longer than any such job before."""
        return sum(_is_overdue(self._durations.get(kind, ()), age) for kind, ages in self._ages(now) for age in ages)

    def _ages(self, now: float) -> Iterator[tuple[str, list[float]]]:
        for kind, open_ones in self._open.items():
            # a copy, since the live view asks from a thread of its own
            if ages := [now - moment for moment in list(open_ones.values())]:
                yield kind, ages


def _is_overdue(durations: Sequence[float], age: float) -> bool:
    return len(durations) >= FEWEST and age >= durations[-1]


def in_words(seconds: float) -> str:
    """Say about how long that is: 40 s, 7 min, 1 h 20 min."""
    if seconds < 100:  # noqa: PLR2004
        return f"{ceil(seconds)} s"
    minutes = ceil(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004
