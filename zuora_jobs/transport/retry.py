"""Which failures deserve another try, and after how long: one table. The only importer of backoff.

Another try is for errors, and waits with full jitter so that those who failed together do not return together. It is not
a cadence: how soon to look again at a job that goes its way is `watching/cadence.py`.
What may be tried again is bounded by the time since it last went well, never by a count.

Source: https://developer.zuora.com/docs/guides/error-handling (codes ending in 50, 61, 70, 99; 60 a few times; 401 once
with a fresh token; 429, 500, 502, 503, 504).
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar

import backoff
from attrs import Attribute, define, field, frozen

from zuora_jobs.checks import is_number, number
from zuora_jobs.errors import (
    ApiError,
    MalformedResponse,
    NotFound,
    RateLimited,
    Rejected,
    ServerError,
    TokenRefused,
    TransportError,
    Unauthorized,
    ZuoraJobsError,
)
from zuora_jobs.logs import about
from zuora_jobs.protocol.messages import asked_to_wait, fault, passes_by_itself

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from random import Random

    from zuora_jobs.protocol.messages import Request, Response
    from zuora_jobs.transport import Send


T = TypeVar("T")

log = logging.getLogger("zuora_jobs")


class Verdict(Enum):
    """What to do about a failure."""

    AGAIN = "again"
    """It passes: an outage, a lock. Keep trying for as long as one has patience."""
    THROTTLED = "throttled"
    """Zuora answers, and asks for fewer requests."""
    BRIEFLY = "briefly"
    """It may pass, but one that lasts is an answer: an internal error, a document without a status."""
    FINAL = "final"
    """It would be the same again."""


_PASSING_CATEGORIES: Final = frozenset({50, 61, 99})
_PASSING_STATUSES: Final = frozenset({500, 502, 503, 504})
_GATEWAYS_OWN: Final = frozenset({408, 421, 425, 499})
"""A request that came too slowly, too early or by the wrong way: about the connection, whatever their first digit says."""

_IN_THE_MIDDLE: Final = frozenset({60, 99})
"""An internal error, or one of a service that Zuora itself had asked: part of it may have been done."""

_REFUSED_AT_ONCE: Final = frozenset({50, 61, 70})
"""A lock, something temporary, a limit: Zuora's own words for not having begun."""

_ABOUT_THE_KEY: Final = frozenset({409, 422})
"""The request of that Idempotency-Key is still being worked on, or is another one: no word on what became of it."""

LONGEST_GAP: Final = 150.0
"""Seconds between two failures that count as trouble at most: a request's longest timeout, and a delay."""

_EARLIER: Final = 3
"""Errors before the last that are told with it."""


def verdict(error: ZuoraJobsError) -> Verdict:
    """Look an error up."""
    return next((then for kinds, when, then in _TABLE if isinstance(error, kinds) and when(error)), Verdict.FINAL)


def nobody_home(error: ZuoraJobsError) -> bool:
    """Tell whether an error says that the service is away, for all jobs alike.

    It does not where Zuora itself refuses with a reason: a lock is about one job, and shows that somebody is there.
    """
    in_its_own_words = isinstance(error, ApiError) and error.sent and error.reasons and error.status < 500  # noqa: PLR2004
    return verdict(error) is Verdict.AGAIN and not in_its_own_words


def _always(_: Any) -> bool:
    return True


def _is_redirect(error: ApiError) -> bool:
    return 300 <= error.status < 400  # noqa: PLR2004


def _is_still_at_it(error: ApiError) -> bool:
    """The same request, by its Idempotency-Key, is still being worked on; a conflict over the business has a code."""
    return error.status == 409 and not error.categories  # noqa: PLR2004


def _says_nothing_certain(error: ApiError) -> bool:
    """A refusal that may be a gateway's, or half of one: where Zuora means it, it says why, and with a code.

    Not found is believed without a reason, and so is a token's refusal, which has rules of its own (`auth.py`).
    """
    if isinstance(error, NotFound | Unauthorized) and error.status < 500:  # noqa: PLR2004
        return False
    if error.status < 300:  # noqa: PLR2004
        return not (error.code or "").strip("0")
    return not (error.categories if error.status >= 500 else error.reasons)  # noqa: PLR2004


def _no_json(error: MalformedResponse) -> bool:
    """HTML, or cut short: a gateway's doing. JSON that is no document of ours has problems."""
    return not error.problems


_TABLE: Final[tuple[tuple[Any, Callable[[Any], object], Verdict], ...]] = (
    (TransportError, _always, Verdict.AGAIN),
    (RateLimited, _always, Verdict.THROTTLED),
    (ApiError, lambda error: error.categories & _PASSING_CATEGORIES, Verdict.AGAIN),  # whatever HTTP says
    (ServerError, lambda error: error.status in _PASSING_STATUSES, Verdict.AGAIN),
    (ServerError, _always, Verdict.BRIEFLY),  # code 60, or one of AQuA's internal errors, under another HTTP status
    (ApiError, lambda error: error.status in _GATEWAYS_OWN, Verdict.AGAIN),
    (ApiError, _is_still_at_it, Verdict.AGAIN),
    (ApiError, _is_redirect, Verdict.AGAIN),  # to a maintenance page, say; it is not followed
    (TokenRefused, _always, Verdict.AGAIN),
    (Unauthorized, passes_by_itself, Verdict.AGAIN),
    (ApiError, _says_nothing_certain, Verdict.BRIEFLY),
    (MalformedResponse, _no_json, Verdict.AGAIN),
    (MalformedResponse, _always, Verdict.BRIEFLY),  # JSON, but no document
)
"""In order: the first that matches says what to do; what matches nothing is final."""


def _check_throttled(_: Any, attribute: Attribute[Any], value: float | None) -> None:
    if value is not None:
        number(attribute.name, value, least=0)


@frozen(kw_only=True)
class Patience:
    """How long to keep trying.

    Args:
        again: seconds since it last went well, for what passes by itself.
        throttled: seconds of refusals for want of quota, with the waits that the server asks for; None: no end.
        briefly: seconds for what may be an answer.
        longest: seconds between two tries at most.
    """

    again: float = field(default=60.0, validator=is_number(least=0))
    throttled: float | None = field(default=600.0, validator=_check_throttled)
    briefly: float = field(default=15.0, validator=is_number(least=0))
    longest: float = field(default=20.0, validator=is_number(above=0))

    def allows(self, error: ZuoraJobsError, since: float) -> bool:
        """Tell whether another try is due, *since* seconds after the first failure in a row."""
        limits = {
            Verdict.AGAIN: self.again,
            Verdict.THROTTLED: float("inf") if self.throttled is None else self.throttled,
            Verdict.BRIEFLY: self.briefly,
            Verdict.FINAL: float("-inf"),
        }
        return since < limits[verdict(error)]

    def delays(self, rng: Random) -> Iterator[float]:
        """Give the seconds before each further try: full jitter over 1, 2, 4 … `longest`, never quite nothing."""
        for most in backoff.expo(base=2, factor=1, max_value=self.longest):
            if most is not None:  # the generator's first yield only starts it
                yield rng.uniform(min(0.1, most), most)


def delay_before_retry(error: ZuoraJobsError, jittered: float) -> float:
    """Raise a jittered delay to what the server asked for."""
    return max(jittered, asked_to_wait(error))


def may_send_again(request: Request, error: ZuoraJobsError) -> bool:
    """Tell whether sending *request* again cannot do twice what should be done once."""
    return request.may_be_repeated or was_not_carried_out(error)


def was_not_carried_out(error: ZuoraJobsError) -> bool:
    """Tell whether an error leaves no doubt that nothing was done: it was not sent, or Zuora itself refused it.

    A gateway that gave up waiting leaves doubt, and so does an error within Zuora (60, 99), or no sense in the answer.
    """
    if not error.sent or not isinstance(error, TransportError | ApiError | MalformedResponse):
        return True
    if not isinstance(error, ApiError) or error.categories & _IN_THE_MIDDLE:
        return False
    if error.status in _GATEWAYS_OWN or _is_still_at_it(error):
        return False
    if error.status >= 500:  # noqa: PLR2004
        return bool(error.categories & _REFUSED_AT_ONCE)
    return not _is_redirect(error)


def is_zuoras_answer(error: ZuoraJobsError) -> bool:
    """Tell whether an error is what Zuora has to say to a request itself, and keeps for its Idempotency-Key."""
    return isinstance(error, Rejected) and error.status not in _ABOUT_THE_KEY


@define
class Trouble:
    """Failures in a row, and for how long: what patience is held against."""

    attempts: int = 0
    alike: int = 0
    """The last so many of them had the same verdict."""
    last: ZuoraJobsError | None = None
    _lasting: float = 0.0
    """Seconds without an answer."""
    _same: float = 0.0
    """Seconds of the same verdict."""
    _counted_to: float = float("inf")

    def add(self, error: ZuoraJobsError, now: float) -> float:
        """Take note of a failure; give the seconds for which it has been like that.

        An outage lasts since the first failure in the row. Whoever throttles us has not gone away, so that begins anew;
        and what may be an answer counts only while it is the same answer. What the server asked us to wait is no part of
        it, unless it throttles us; nor is more than `LONGEST_GAP` between two failures: then nobody was asking, since
        the machine slept, or others had their turn.
        """
        then = verdict(error)
        throttled = then is Verdict.THROTTLED
        before = verdict(self.last) if self.last is not None else None
        same = then is before
        passed = max(0.0, now - self._counted_to) if same or before is not Verdict.THROTTLED else 0.0
        passed = passed if throttled else min(passed, LONGEST_GAP)
        self._same = self._same + passed if same else 0.0
        self._lasting = 0.0 if throttled else self._lasting + passed
        self._counted_to = now if throttled else now + asked_to_wait(error)
        self.attempts += 1
        self.alike = self.alike + 1 if same else 1
        self.last = error
        return self._lasting if then is Verdict.AGAIN else self._same


async def persist(
    attempt: Callable[[], Awaitable[T]],
    request: Request,
    patience: Patience,
    rng: Random,
    on_retry: Callable[[ZuoraJobsError, float], None] | None = None,
    *,
    went_on: Callable[[], bool] = lambda: False,
) -> T:
    """Repeat *attempt*, which sends *request*, for as long as the table and *patience* say.

    Time counts from the first failure in a row, so neither a long wait for one's turn nor a request that took its whole
    timeout uses it up; nor does the time that the server asked us to wait.

    Args:
        attempt: is repeated.
        request: what it sends.
        patience: for how long.
        rng: where jitter comes from.
        on_retry: told each failure that is going to be tried again, and in how many seconds.
        went_on: tells whether an attempt that failed got further than all before it; then time counts anew.

    Raises:
        ZuoraJobsError: what is final, or has lasted too long; the errors before it are notes on it.
    """
    loop = asyncio.get_running_loop()
    delays = patience.delays(rng)
    trouble = Trouble()
    earlier: list[str] = []
    while True:
        try:
            return await attempt()
        except ZuoraJobsError as error:
            failure = error
        if went_on():
            delays, trouble, earlier = patience.delays(rng), Trouble(), []
        if not patience.allows(failure, trouble.add(failure, loop.time())) or not may_send_again(request, failure):
            for text in dict.fromkeys(earlier):
                if text not in getattr(failure, "__notes__", ()):
                    failure.add_note(text)
            raise failure
        earlier = [*earlier[1 - _EARLIER :], f"before that: {type(failure).__name__}: {failure}"]
        delay = delay_before_retry(failure, next(delays))
        log.warning("trying again in %.1f s: %s", delay, failure, extra=about(error=failure, seconds=delay))
        if on_retry is not None:
            on_retry(failure, delay)
        await asyncio.sleep(delay)


def retrying(
    send: Send,
    patience: Patience,
    rng: Random,
    on_retry: Callable[[ZuoraJobsError, float], None] | None = None,
) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Try again what the table says; gives documents only, and raises what is none."""

    async def send_until_answered(request: Request) -> Response:
        async def attempt() -> Response:
            response = await send(request)
            if error := fault(request, response):
                raise error
            return response

        return await persist(attempt, request, patience, rng, on_retry)

    return send_until_answered
