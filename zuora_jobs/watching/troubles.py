"""What is made of a look that failed: another try, and when, or the end of the watch. Pure, but for chance that comes in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zuora_jobs.transport.retry import Trouble, Verdict, delay_before_retry, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from zuora_jobs.errors import ZuoraJobsError
    from zuora_jobs.transport.retry import Patience

FEWEST_ATTEMPTS: Final = 3
"""Looks in a row that must fail before time alone loses a job: in a large fleet two may lie an hour apart."""

FEWEST_ALIKE: Final = 8
"""Answers in a row of what may be an answer before it is believed: chance is not as stubborn."""


class Troubles:
    """The failures in a row of looks at one job."""

    __slots__ = ("_delays", "_trouble")

    def __init__(self, patience: Patience, rng: Random) -> None:
        self._trouble = Trouble()
        self._delays: Iterator[float] = patience.delays(rng)

    @property
    def last(self) -> ZuoraJobsError | None:
        """The last of them."""
        return self._trouble.last

    def add(self, error: ZuoraJobsError, patience: Patience, now: float) -> float | None:
        """Take a failure in; give the seconds until another look is worth while, or None when it is to be believed."""
        lasting = self._trouble.add(error, now)
        then = verdict(error)
        enough = self._trouble.attempts >= FEWEST_ATTEMPTS
        if then is Verdict.BRIEFLY:
            enough = self._trouble.alike >= FEWEST_ALIKE
        if then is Verdict.FINAL or (enough and not patience.allows(error, lasting)):
            return None
        return delay_before_retry(error, next(self._delays))
