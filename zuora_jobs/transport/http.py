"""The aiohttp session: with `express.py`, the only importer of aiohttp on the client's side.

Rules of this file:
1. No `ClientTimeout.total`: it would count the wait for a pool slot. The pool has no limit of its own, since the budget
   (`limits.py`) bounds what is in flight; a request's time runs from the moment it is sent.
2. No redirects, no cookies, no proxies from the environment: the token goes to the configured host or nowhere.
3. aiohttp's errors end here; each becomes a TransportError whose text holds no header and no body.
4. Whatever is sent back takes bounded memory and time: headers by aiohttp's own limits, bodies by `bodies.py`.
"""

from __future__ import annotations

import gzip
import logging
from typing import TYPE_CHECKING, Final, Self

import aiohttp
from yarl import URL

from zuora_jobs.errors import ConnectionFailed, MalformedResponse, ResponseTimeout, WatcherClosed, ZuoraJobsError
from zuora_jobs.protocol.messages import Request, Response
from zuora_jobs.transport import express
from zuora_jobs.transport.bodies import LARGEST, TooLarge, Undecodable, read_body
from zuora_jobs.transport.deadlines import Deadlines

if TYPE_CHECKING:
    from types import TracebackType

    from zuora_jobs.settings import Settings

log = logging.getLogger("zuora_jobs.http")

GZIP_FROM: Final = 1000
"""Bytes of a body from which compressing it is worth while; Zuora uses the same figure for its answers."""

KEEP_ALIVE: Final = 75.0
"""Seconds an idle connection is kept: longer than the pauses between polls, so that polling needs no new handshakes."""

_ALWAYS: Final = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "zuora_jobs"}


class HttpTransport:
    """Sends requests to one tenant. A `Send`, to be used inside `async with`."""

    def __init__(self, settings: Settings) -> None:
        self._base = settings.base_url
        self._request_timeout = settings.request_timeout
        self._connect_timeout = settings.connect_timeout
        self._session: aiohttp.ClientSession | None = None
        self._express: express.Express | None = None
        """The short way for GETs; None where this aiohttp is not known to have one."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
            headers=_ALWAYS,
        )
        self._express = express.Express(self._session, self._base, _ALWAYS) if express.is_known() else None
        self._deadlines = Deadlines()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session, self._session, self._express = self._session, None, None
        if session is not None:
            self._deadlines.close()
            await session.close()

    async def __call__(self, request: Request) -> Response:
        """Send *request* once.

        Raises:
            ConnectionFailed: refused, reset, or cut before the whole answer was there.
            ResponseTimeout: the whole answer was not there in time.
            MalformedResponse: it is larger than any answer of Zuora's, or not compressed as it says.
        """
        if self._session is None:
            message = "the client is closed: use it inside its `async with`"
            raise WatcherClosed(message)
        timeout = min(self._request_timeout, request.at_most or self._request_timeout)
        short_way = self._express if request.method == "GET" and request.body is None else None
        try:
            with self._deadlines.within(timeout):
                response = await (short_way.get(request) if short_way else self._by_the_session(self._session, request))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = self._explained(error, request, timeout)
        else:
            log.debug("%s %s: HTTP %d, %d bytes", request.method, request.path, response.status, len(response.body))
            return response
        # not above, where the library's error, which has the Authorization in it, would become its context
        raise failure

    def _explained(self, error: Exception, request: Request, timeout: float) -> ZuoraJobsError:
        what = f"{request.method} {request.path}"
        match error:
            case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
                return ConnectionFailed(f"{what}: no connection to {self._base}: {_cause(error)}", sent=False)
            case TimeoutError():
                return ResponseTimeout(f"{what}: no whole answer within {timeout:g} s")
            case TooLarge():
                problem = f"more than {LARGEST} bytes"
                return MalformedResponse(f"{what}: the answer has {problem}", problems=[problem])
            case Undecodable():
                return MalformedResponse(f"{what}: the answer is not compressed as it says, or cut short")
            case _:
                return ConnectionFailed(f"{what}: the connection failed: {_cause(error)}")

    async def _by_the_session(self, session: aiohttp.ClientSession, request: Request) -> Response:
        """Send a request in aiohttp's usual way."""
        url = self._base + request.path + ("?" + request.query if request.query else "")
        headers, body = _with_body(request)
        async with session.request(
            request.method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
        ) as answer:
            content = await read_body(answer.content.readany, answer.headers.get("Content-Encoding", ""))
            return Response(answer.status, answer.headers, content)


def _with_body(request: Request) -> tuple[dict[str, str], bytes | None]:
    headers = dict(request.headers)
    if request.authorization is not None:
        headers["Authorization"] = request.authorization
    body = request.body
    if body is None:
        return headers, None
    if headers.setdefault("Content-Type", "application/json") == "application/json" and len(body) >= GZIP_FROM:
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body, mtime=0)
    return headers, body


def _cause(error: BaseException) -> str:
    """Say what went wrong without `str(error)`, which for some of aiohttp's errors quotes headers or the URL."""
    errno = error.strerror if isinstance(error, OSError) else None
    return errno or type(error).__name__
