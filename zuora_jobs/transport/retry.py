"""Which failures deserve another try, and after how long: one table. The only importer of backoff.

Another try is for errors, and waits with full jitter so that those who failed together do not return together. It is not
a cadence: how soon to look again at a job that goes its way is `watching/cadence.py`.
What may be tried again is bounded by the time since it last went well, never by a count.

Source: https://developer.zuora.com/docs/guides/error-handling (codes ending in 50, 61, 70, 99; 60 a few times; 401 once
with a fresh token; 429, 500, 502, 503, 504).
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import backoff
from attrs import field, frozen

from zuora_jobs.checks import is_number
from zuora_jobs.errors import (
    ApiError,
    ConnectionFailed,
    MalformedResponse,
    RateLimited,
    ResponseTimeout,
    ServerError,
    Unauthorized,
    ZuoraJobsError,
)
from zuora_jobs.protocol.messages import fault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from random import Random

    from zuora_jobs.protocol.messages import Request, Response
    from zuora_jobs.transport import Send


class Verdict(Enum):
    """What to do about a failure."""

    AGAIN = "again"
    """It passes: an outage, a lock, a limit. Keep trying for as long as one has patience."""
    BRIEFLY = "briefly"
    """It may pass, but one that lasts is an answer: an internal error, a document without a status."""
    FINAL = "final"
    """It would be the same again."""


_AGAIN_CATEGORIES: Final = frozenset({50, 61, 70, 99})
_AGAIN_STATUSES: Final = frozenset({429, 500, 502, 503, 504})


def verdict(error: ZuoraJobsError) -> Verdict:
    """Look an error up."""
    return next((then for kinds, when, then in _TABLE if isinstance(error, kinds) and when(error)), Verdict.FINAL)


def _always(_: Any) -> bool:
    return True


_TABLE: Final[tuple[tuple[Any, Callable[[Any], object], Verdict], ...]] = (
    (ConnectionFailed, _always, Verdict.AGAIN),
    (ResponseTimeout, _always, Verdict.AGAIN),
    (RateLimited, _always, Verdict.AGAIN),
    (ApiError, lambda error: error.categories & _AGAIN_CATEGORIES, Verdict.AGAIN),  # whatever HTTP says
    (ServerError, lambda error: error.status in _AGAIN_STATUSES, Verdict.AGAIN),
    (ServerError, _always, Verdict.BRIEFLY),  # code 60, or one of AQuA's internal errors, under another HTTP status
    (Unauthorized, lambda error: "failed to get user info" in str(error).lower(), Verdict.AGAIN),
    (MalformedResponse, lambda error: not error.problems, Verdict.AGAIN),  # HTML, or cut short: a gateway's doing
    (MalformedResponse, _always, Verdict.BRIEFLY),  # JSON, but no document
)
"""In order: the first that matches says what to do; what matches nothing is final."""


@frozen(kw_only=True)
class Patience:
    """How long to keep trying.

    Args:
        again: seconds since it last went well, for what passes by itself.
        briefly: seconds for what may be an answer.
        longest: seconds between two tries at most.
    """

    again: float = field(default=60.0, validator=is_number(least=0))
    briefly: float = field(default=15.0, validator=is_number(least=0))
    longest: float = field(default=20.0, validator=is_number(above=0))

    def allows(self, error: ZuoraJobsError, since: float) -> bool:
        """Tell whether another try is due, *since* seconds after it last went well."""
        limits = {Verdict.AGAIN: self.again, Verdict.BRIEFLY: self.briefly, Verdict.FINAL: float("-inf")}
        return since < limits[verdict(error)]

    def delays(self, rng: Random) -> Iterator[float]:
        """Give the seconds before each further try: full jitter over 1, 2, 4 … `longest`, never quite nothing."""
        for most in backoff.expo(base=2, factor=1, max_value=self.longest):
            if most is not None:  # the generator's first yield only starts it
                yield rng.uniform(0.1, most)


def delay_before_retry(error: ZuoraJobsError, jittered: float) -> float:
    """Raise a jittered delay to what the server asked for."""
    asked = error.retry_after if isinstance(error, ApiError) else None
    return max(jittered, asked or 0.0)


def may_send_again(request: Request, error: ZuoraJobsError) -> bool:
    """Tell whether sending *request* again cannot do twice what should be done once."""
    never_sent = isinstance(error, ConnectionFailed) and not error.sent
    return request.may_be_repeated or never_sent


def retrying(
    send: Send,
    patience: Patience,
    rng: Random,
    on_retry: Callable[[ZuoraJobsError, float], None] | None = None,
) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Try again what the table says, and raise what is final or has lasted too long. Gives documents only.

    Raises:
        ZuoraJobsError: the last of the errors; the earlier ones are notes on it.
    """

    async def send_until_answered(request: Request) -> Response:
        loop = asyncio.get_running_loop()
        started = loop.time()
        delays = patience.delays(rng)
        while True:
            try:
                response = await send(request)
                error = fault(request, response)
                if error is None:
                    return response
            except ZuoraJobsError as raised:
                error = raised
            if not patience.allows(error, loop.time() - started) or not may_send_again(request, error):
                raise error
            delay = delay_before_retry(error, next(delays))
            if on_retry is not None:
                on_retry(error, delay)
            await asyncio.sleep(delay)

    return send_until_answered
