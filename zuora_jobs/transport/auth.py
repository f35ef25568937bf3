"""The bearer token: fetched once for everybody, ahead of its end, and once more when Zuora refuses it.

Single flight by a lock and a count of renewals: whoever gets the lock finds that a renewal has ended since he came, well
or not, and shares what came of it; or that it is for him to fetch one. Whoever is cancelled while fetching leaves the
fetching to the next; no task outlives anybody. There are no retries here: who asks again too early is told what is known.
Moments are the loop's: a wrong clock on either side does not matter, since Zuora gives a lifetime and no date.

A refusal is believed at once from a tenant that has never accepted us. One that has may have a bad minute: then a new
token that is refused, or credentials that are, count as trouble that passes, until it has gone on for `DOUBT`.

Source: https://developer.zuora.com/docs/guides/authentication
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from zuora_jobs.errors import (
    ApiError,
    MalformedResponse,
    TokenRefused,
    Unauthorized,
    ZuoraJobsError,
)
from zuora_jobs.logs import about
from zuora_jobs.protocol.messages import asked_to_wait, fault, passes_by_itself, token_request
from zuora_jobs.transport.retry import Verdict, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from zuora_jobs.protocol.messages import Request, Response
    from zuora_jobs.settings import Settings
    from zuora_jobs.transport import Send

log = logging.getLogger("zuora_jobs")

MARGIN: Final = 300.0
"""Seconds before its end at which a token is renewed, as in Zuora's own sample; a tenth of its life if that is less."""

RENEW_AGAIN: Final = 5.0
"""Seconds between two tries to renew a token, once the first few have failed."""

FIRST_PAUSE: Final = 0.5
"""Seconds between the first two of them."""

DOUBT: Final = 45.0
"""Seconds for which a tenant that has accepted us must refuse us to be believed."""

FEWEST_REFUSALS: Final = 5
"""Refusals that it takes as well: the machine may have slept between two."""

REFUSAL_STANDS: Final = 60.0
"""Seconds for which credentials that were refused are not shown again: the answer is for all jobs alike."""

MOST_AT_A_TIME: Final = 4
"""Tokens that answers still under way may have been asked for with."""


class Bearer:
    """The token of one client.

    Args:
        settings: the credentials, or a fixed token.
        fetch: carries the token's request.
    """

    def __init__(self, settings: Settings, fetch: Send) -> None:
        self.renewals = 0
        """How many renewals have come to an end, a good one or not."""
        self._settings = settings
        self._fetch = fetch
        self._token = settings.access_token
        self._fixed = settings.access_token is not None
        self._given_out = deque([settings.access_token or ""], maxlen=MOST_AT_A_TIME)
        self._renew_at = float("inf")
        self._ends_at = float("inf")
        self._failure: ZuoraJobsError | None = None
        self._failures = 0
        self._ask_again_at = float("-inf")
        self._believed = True
        """Whether a refusal would be: by a tenant that has let us in, only when it goes on."""
        self._proved = False
        """Whether the token in service has been accepted."""
        self._refusals = 0
        """Of new tokens, or of the credentials, since anything was accepted."""
        self._refused_since = 0.0
        """When the first of them was."""
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Bearer {'fixed' if self._fixed else 'none yet' if self._token is None else 'fetched'}>"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What an answer may give back to us, and nobody is to read: the credentials, and the tokens of late."""
        return tuple(secret for secret in (self._settings.client_secret, *self._given_out) if secret)

    async def token(self) -> str:
        """Give a token that is good, as far as we know.

        Raises:
            ZuoraJobsError: there is none, and why; while that is fresh, without another request.
        """
        return self.at_hand() or await self._renewed(self.renewals)

    def at_hand(self) -> str | None:
        """Give the token in service, unless it is time for another."""
        now = asyncio.get_running_loop().time()
        # while somebody renews it ahead of its end, the old one still serves
        good = now < self._renew_at or (self._lock.locked() and now < self._ends_at)
        return self._token if good else None

    async def after(self, seen: int) -> str | None:
        """Give another token than the one that was refused, or None where there is none to be had.

        Args:
            seen: `renewals` when the refused token was given out.
        """
        if self._fixed:
            return None
        if self.renewals == seen:
            self._token = None
        return await self._renewed(seen)

    def accepted(self) -> None:
        """Take note that the tenant let us in."""
        self._proved = True
        self._failures = self._refusals = 0
        self._believed = self._fixed
        if self._token is None:  # another was told that it is no good: he was wrong
            self._ask_again_at = float("-inf")

    def may_have_ended(self, seen: int) -> bool:
        """Tell whether a token that was refused may do so for its age; one that never served is no good at all.

        Args:
            seen: `renewals` when it was given out.
        """
        return self.renewals != seen or self._proved or not self._refusals

    def refused(self, error: ApiError, seen: int) -> ApiError:
        """Take note that a token that had just been renewed was refused with *error*; give what to make of it.

        Args:
            error: the tenant's answer.
            seen: `renewals` when that token was given out.
        """
        if self.renewals == seen and self._token is not None and not self._fixed:  # the first of a crowd to say so
            now = asyncio.get_running_loop().time()
            self._token = None
            self._count_refusal(now)
            # told to whoever comes, without another request, until it is time to ask again
            self._failed(_about_no_job(self._doubted(error)), now)
        return self._doubted(error)

    def _count_refusal(self, now: float) -> None:
        self._refusals += 1
        if self._refusals == 1:
            self._refused_since = now
        lasts = self._refusals >= FEWEST_REFUSALS and now - self._refused_since >= DOUBT
        self._believed = self._believed or lasts

    def _doubted(self, error: ApiError) -> ApiError:
        """Tell a refusal by a tenant that may have a bad minute from one to be believed."""
        if self._believed:
            return error
        return TokenRefused(str(error), status=error.status, reasons=error.reasons, request_id=error.request_id)

    async def _renewed(self, seen: int) -> str:
        loop = asyncio.get_running_loop()
        async with self._lock:
            if self.renewals == seen and loop.time() >= self._ask_again_at:
                await self._renew(loop.time())
            if self._token is not None and (self._failure is None or loop.time() < self._ends_at):
                return self._token
            assert self._failure is not None  # noqa: S101 - a renewal ends with one or the other
            raise self._failure.with_traceback(None)  # one error for all: it must not grow with each who is told

    async def _renew(self, now: float) -> None:
        """Ask for a token, and take note of what comes of it; cancelled, it has not been."""
        try:
            request = token_request(self._settings)
            response = await self._fetch(request)
            if error := fault(request, response):
                raise error
            self._take(response, asked_at=now)
        except ZuoraJobsError as error:
            if isinstance(error, ApiError) and verdict(error) is Verdict.FINAL:
                self._count_refusal(now)
                error = self._doubted(error)
            self._failed(error, now)
        else:
            self._failure = None
            if not self._refusals:
                self._failures = 0
            self._ask_again_at = float("-inf")
        self.renewals += 1

    def _failed(self, error: ZuoraJobsError, now: float) -> None:
        self._failure = error
        self._failure.sent = False  # what needs a token, that is
        if verdict(error) is Verdict.FINAL:
            log.error("no token is to be had: %s", error, extra=about(error=error))  # once, and not for each job
        self._failures += 1
        self._ask_again_at = now + _pause(error, self._failures)

    def _take(self, response: Response, asked_at: float) -> None:
        document: dict[str, Any] = response.json if isinstance(response.json, dict) else {}
        token = document.get("access_token")
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            problem = "expected a token @ $.access_token"
            message = f"POST /oauth/token: the answer holds no token: {problem}"
            raise MalformedResponse(message, problems=[problem])
        self._token = token
        self._given_out.append(token)
        self._proved = False
        life = _seconds(document.get("expires_in"))
        # without a lifetime the token serves until Zuora refuses it
        self._ends_at = asked_at + life if life else float("inf")
        self._renew_at = self._ends_at - min(MARGIN, life / 10) if life else float("inf")


def _pause(error: ZuoraJobsError, failures: int) -> float:
    """Give the seconds until it is worth while to ask again: the server's own, or ½, 1, 2 … up to RENEW_AGAIN."""
    if verdict(error) is Verdict.FINAL:
        return REFUSAL_STANDS
    return max(asked_to_wait(error), min(RENEW_AGAIN, FIRST_PAUSE * 2.0 ** min(failures - 1, 10)))


def _about_no_job(error: ApiError) -> ApiError:
    """Word what one job was told for all others."""
    message = f"the tenant does not accept our token: {str(error).partition(': ')[2]}"
    return type(error)(message, status=error.status, reasons=error.reasons, request_id=error.request_id)


def _seconds(value: object) -> float | None:
    try:
        seconds = float(value) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return None
    return seconds if seconds is not None and isfinite(seconds) and seconds > 0 else None


def about_the_token(request: Request, response: Response) -> Unauthorized | None:
    """Give what an answer, under whatever HTTP status, says against the token; None where it says nothing of it."""
    error = fault(request, response)
    if isinstance(error, Unauthorized) and error.status in {200, 401} and not passes_by_itself(error):
        return error
    return None


def authorized(send: Send, bearer: Bearer) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Send each request with the token, and once more with a new one where Zuora refuses the old.

    Raises:
        TokenRefused: the new one was refused as well, though others have been accepted.
    """

    async def send_with_token(request: Request) -> Response:
        token = bearer.at_hand() or await bearer.token()
        seen = bearer.renewals
        response = await send(request.bearing(token))
        if fault(request, response) is None:  # as nearly always
            bearer.accepted()
            return response
        if about_the_token(request, response) and bearer.may_have_ended(seen):
            renewed = await bearer.after(seen)
            if renewed is not None:
                seen = bearer.renewals
                response = await send(request.bearing(renewed))
        if refusal := about_the_token(request, response):
            made_of_it = bearer.refused(refusal, seen)
            if isinstance(made_of_it, TokenRefused):
                raise made_of_it
        elif fault(request, response) is None:
            bearer.accepted()
        return response

    return send_with_token
