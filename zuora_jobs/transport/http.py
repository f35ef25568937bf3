"""The aiohttp session: the only importer of aiohttp on the client's side.

Rules of this file:
1. No `ClientTimeout.total`: it would count the wait for a pool slot. The pool has no limit of its own, since the budget
   (`limits.py`) bounds what is in flight; a request's time runs from the moment it is sent.
2. No redirects, no cookies, no proxies from the environment: the token goes to the configured host or nowhere.
3. aiohttp's errors end here; each becomes a TransportError whose text holds no header and no body.
4. Whatever is sent back takes bounded memory and time: headers by aiohttp's own limits, bodies by `bodies.py`.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
from typing import TYPE_CHECKING, Final, Self

import aiohttp
from yarl import URL

from zuora_jobs.errors import ConnectionFailed, MalformedResponse, ResponseTimeout, WatcherClosed, ZuoraJobsError
from zuora_jobs.protocol.messages import Request, Response
from zuora_jobs.transport.bodies import LARGEST, TooLarge, Undecodable, read_body

if TYPE_CHECKING:
    from types import TracebackType

    from zuora_jobs.settings import Settings

log = logging.getLogger("zuora_jobs.http")

GZIP_FROM: Final = 1000
"""Bytes of a body from which compressing it is worth while; Zuora uses the same figure for its answers."""

KEEP_ALIVE: Final = 75.0
"""Seconds an idle connection is kept: longer than the pauses between polls, so that polling needs no new handshakes."""

_NEVER_SENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class HttpTransport:
    """Sends requests to one tenant. A `Send`, to be used inside `async with`."""

    def __init__(self, settings: Settings) -> None:
        self._base = settings.base_url
        self._request_timeout = settings.request_timeout
        self._connect_timeout = settings.connect_timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
            headers={"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "zuora_jobs"},
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
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
        url = self._base + request.path + ("?" + request.query if request.query else "")
        headers, body = _with_body(request)
        what = f"{request.method} {request.path}"
        timeout = min(self._request_timeout, request.at_most or self._request_timeout)
        try:
            async with (
                asyncio.timeout(timeout),
                self._session.request(
                    request.method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
                ) as answer,
            ):
                content = await read_body(answer.content.readany, answer.headers.get("Content-Encoding", ""))
                response = Response(answer.status, answer.headers, content)
                log.debug("%s: HTTP %d, %d bytes", what, response.status, len(response.body))
                return response
        except _NEVER_SENT as error:
            message = f"{what}: no connection to {self._base}: {_cause(error)}"
            failure: ZuoraJobsError = ConnectionFailed(message, sent=False)
        except TimeoutError:
            failure = ResponseTimeout(f"{what}: no whole answer within {timeout:g} s")
        except TooLarge:
            problem = f"more than {LARGEST} bytes"
            failure = MalformedResponse(f"{what}: the answer has {problem}", problems=[problem])
        except Undecodable:
            failure = MalformedResponse(f"{what}: the answer is not compressed as it says, or cut short")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = ConnectionFailed(f"{what}: the connection failed: {_cause(error)}")
        # not above, where the library's error, which has the Authorization in it, would become its context
        raise failure


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
