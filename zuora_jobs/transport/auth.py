"""The bearer token: fetched once for everybody, ahead of its end, and once more when Zuora refuses it.

Single flight by a lock and a second look: whoever gets the lock finds either a new token, or that it is for him to
fetch one. Whoever is cancelled while fetching leaves the fetching to the next; no task outlives anybody.
Moments are the loop's: a wrong clock on either side does not matter, since Zuora gives a lifetime and no date.

Source: https://developer.zuora.com/docs/guides/authentication
"""

from __future__ import annotations

import asyncio
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from zuora_jobs.errors import ApiError, MalformedResponse, RateLimited, ServerError, Unauthorized, ZuoraJobsError
from zuora_jobs.protocol.messages import fault, token_request

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from zuora_jobs.protocol.messages import Request, Response
    from zuora_jobs.settings import Settings
    from zuora_jobs.transport import Send

MARGIN: Final = 300.0
"""Seconds before its end at which a token is renewed, as in Zuora's own sample; a tenth of its life if that is less."""


RENEW_AGAIN: Final = 15.0
"""Seconds between two tries to renew a token that still serves."""


class Bearer:
    """The token of one client.

    Args:
        settings: the credentials, or a fixed token.
        fetch: carries the token's request, with whatever retries it deserves; raises what is not a token.
    """

    def __init__(self, settings: Settings, fetch: Send) -> None:
        self._settings = settings
        self._fetch = fetch
        self._token = settings.access_token
        self._fixed = settings.access_token is not None
        self._renew_at = float("inf")
        self._ends_at = float("inf")
        self._refusal: ApiError | None = None
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Bearer {'fixed' if self._fixed else 'none yet' if self._token is None else 'fetched'}>"

    async def token(self) -> str:
        """Give a token that is good, as far as we know."""
        now = asyncio.get_running_loop().time()
        if self._token is not None and (now < self._renew_at or (self._lock.locked() and now < self._ends_at)):
            return self._token  # while somebody renews it ahead of its end, the old one still serves
        try:
            return await self._renewed(self._token)
        except ZuoraJobsError:
            if self._token is None or asyncio.get_running_loop().time() >= self._ends_at:
                raise
            self._renew_at = min(self._ends_at, asyncio.get_running_loop().time() + RENEW_AGAIN)
            return self._token

    async def after(self, refused: str) -> str | None:
        """Give another token than the *refused* one, or None where there is none to be had."""
        return None if self._fixed else await self._renewed(refused)

    async def _renewed(self, old: str | None) -> str:
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._token is not None and self._token != old and now < self._ends_at:
                return self._token  # somebody else was first
            if self._refusal is not None:
                raise self._refusal
            try:
                response = await self._fetch(token_request(self._settings))
            except (RateLimited, ServerError):
                raise
            except ApiError as error:
                self._refusal = error  # the credentials are wrong, and will be wrong for every job
                raise
            self._take(response, asked_at=now)
            assert self._token is not None  # noqa: S101 - for the type checker
            return self._token

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


def _seconds(value: object) -> float | None:
    try:
        seconds = float(value) if isinstance(value, int | float | str) else None
    except ValueError:
        return None
    return seconds if seconds is not None and isfinite(seconds) and seconds > 0 else None


TRANSIENT_401: Final = "failed to get user info"
"""With this message a 401 says nothing about the token: the request is to be sent again (seed: CRUD, retrieve an
invoice, response 401)."""


def is_about_the_token(request: Request, response: Response) -> bool:
    """Tell whether an answer, under whatever HTTP status, says that the token is no good."""
    if response.status not in {200, 401}:
        return False
    error = fault(request, response)
    return isinstance(error, Unauthorized) and TRANSIENT_401 not in str(error).lower()


def authorized(send: Send, bearer: Bearer) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Send each request with the token, and once more with a new one where Zuora refuses the old."""

    async def send_with_token(request: Request) -> Response:
        token = await bearer.token()
        response = await send(evolve(request, authorization=f"Bearer {token}"))
        if is_about_the_token(request, response):
            fresh = await bearer.after(refused=token)
            if fresh is not None and fresh != token:
                response = await send(evolve(request, authorization=f"Bearer {fresh}"))
        return response

    return send_with_token
