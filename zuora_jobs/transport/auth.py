"""The bearer token: fetched once for everybody, ahead of its end, and once more when Zuora refuses it.

Single flight by a lock and a count of renewals: whoever gets the lock finds that a renewal has ended since he came, well
or not, and shares what came of it; or that it is for him to fetch one. Whoever is cancelled while fetching leaves the
fetching to the next; no task outlives anybody. There are no retries here: who asks again too early is told what is known.
Moments are the loop's: a wrong clock on either side does not matter, since Zuora gives a lifetime and no date.

Source: https://developer.zuora.com/docs/guides/authentication
"""

from __future__ import annotations

import asyncio
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from zuora_jobs.errors import ApiError, MalformedResponse, RateLimited, ServerError, Unauthorized, ZuoraJobsError
from zuora_jobs.protocol.messages import asked_to_wait, fault, passes_by_itself, token_request

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from zuora_jobs.protocol.messages import Request, Response
    from zuora_jobs.settings import Settings
    from zuora_jobs.transport import Send

MARGIN: Final = 300.0
"""Seconds before its end at which a token is renewed, as in Zuora's own sample; a tenth of its life if that is less."""

RENEW_AGAIN: Final = 15.0
"""Seconds between two tries to renew a token, once the first few have failed."""

REFUSAL_STANDS: Final = 60.0
"""Seconds for which credentials that were refused are not shown again: the answer is for all jobs alike."""


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
        self._renew_at = float("inf")
        self._ends_at = float("inf")
        self._failure: ZuoraJobsError | None = None
        self._failures = 0
        self._ask_again_at = float("-inf")
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Bearer {'fixed' if self._fixed else 'none yet' if self._token is None else 'fetched'}>"

    async def token(self) -> str:
        """Give a token that is good, as far as we know.

        Raises:
            ZuoraJobsError: there is none, and why; while that is fresh, without another request.
        """
        now = asyncio.get_running_loop().time()
        if self._token is not None and (now < self._renew_at or (self._lock.locked() and now < self._ends_at)):
            return self._token  # while somebody renews it ahead of its end, the old one still serves
        return await self._renewed(self.renewals)

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
            self._failure = error
            self._failures += 1
            self._ask_again_at = now + _pause(error, self._failures)
        else:
            self._failure = None
            self._failures = 0
            self._ask_again_at = float("-inf")
        self.renewals += 1

    def _take(self, response: Response, asked_at: float) -> None:
        document: dict[str, Any] = response.json if isinstance(response.json, dict) else {}
        token = document.get("access_token")
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            problem = "expected a token @ $.access_token"
            message = f"POST /oauth/token: the answer holds no token: {problem}"
            raise MalformedResponse(message, problems=[problem])
        self._token = token
        life = _seconds(document.get("expires_in"))
        # without a lifetime the token serves until Zuora refuses it
        self._ends_at = asked_at + life if life else float("inf")
        self._renew_at = self._ends_at - min(MARGIN, life / 10) if life else float("inf")


def _pause(error: ZuoraJobsError, failures: int) -> float:
    """Give the seconds until it is worth while to ask again: the server's own, or 1, 2, 4 … up to RENEW_AGAIN."""
    if isinstance(error, ApiError) and not isinstance(error, RateLimited | ServerError):
        return REFUSAL_STANDS
    return max(asked_to_wait(error), min(RENEW_AGAIN, 2.0 ** min(failures - 1, 10)))


def _seconds(value: object) -> float | None:
    try:
        seconds = float(value) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return None
    return seconds if seconds is not None and isfinite(seconds) and seconds > 0 else None


def is_about_the_token(request: Request, response: Response) -> bool:
    """Tell whether an answer, under whatever HTTP status, says that the token is no good."""
    if response.status not in {200, 401}:
        return False
    error = fault(request, response)
    return isinstance(error, Unauthorized) and not passes_by_itself(error)


def authorized(send: Send, bearer: Bearer) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Send each request with the token, and once more with a new one where Zuora refuses the old."""

    async def send_with_token(request: Request) -> Response:
        token = await bearer.token()
        seen = bearer.renewals
        response = await send(evolve(request, authorization=f"Bearer {token}"))
        if is_about_the_token(request, response):
            fresh = await bearer.after(seen)
            if fresh is not None:
                response = await send(evolve(request, authorization=f"Bearer {fresh}"))
        return response

    return send_with_token
