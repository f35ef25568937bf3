"""The aiohttp session: with `express.py` and `pouring.py`, the only importer of aiohttp on the client's side.

Rules of this file:
1. No `ClientTimeout.total`: it would count the wait for a pool slot. The pool has no limit of its own, since the budget
   (`limits.py`) bounds what is in flight; a request's time runs from the moment it is sent.
2. No redirects, no cookies, no proxies from the environment: the token goes to the configured host or nowhere.
3. aiohttp's errors end here; each becomes a TransportError whose text holds no header and no body.
4. Whatever is sent back takes bounded memory and time: headers by aiohttp's own limits, bodies by `bodies.py`. A body that
   goes into a sink may take any time, as long as something comes.
"""

from __future__ import annotations

import gzip
import logging
from functools import partial
from typing import TYPE_CHECKING, Final, Self

import aiohttp
from attrs import evolve
from multidict import CIMultiDict
from yarl import URL

from zuora_jobs.errors import ConnectionFailed, MalformedResponse, ResponseTimeout, WatcherClosed, ZuoraJobsError
from zuora_jobs.logs import about
from zuora_jobs.protocol.messages import Request, Response
from zuora_jobs.transport import express
from zuora_jobs.transport.bodies import LARGEST, TooLarge, Undecodable, read_body
from zuora_jobs.transport.deadlines import Deadlines
from zuora_jobs.transport.pouring import Pouring, is_a_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from zuora_jobs.settings import Settings

log = logging.getLogger("zuora_jobs.http")

GZIP_FROM: Final = 1000
"""Bytes of a body from which compressing it is worth while; Zuora uses the same figure for its answers."""

KEEP_ALIVE: Final = 75.0
"""Seconds an idle connection is kept: longer than the pauses between polls, so that polling needs no new handshakes."""

SILENCE: Final = 60.0
"""Seconds without a byte of a body, whatever its length, after which nothing more is to be expected."""

_INTO_A_SINK: Final = {"Accept": "*/*", "Accept-Encoding": "identity"}
"""A file is kept as it is; and of what is compressed on the way, nobody could ask for the rest."""

_ALWAYS: Final = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "zuora_jobs"}


class HttpTransport:
    """Sends requests to one tenant. A `Send`, to be used inside `async with`."""

    def __init__(self, settings: Settings) -> None:
        self._base = settings.base_url
        self._request_timeout = settings.request_timeout
        self._connect_timeout = settings.connect_timeout
        self._session: aiohttp.ClientSession | None = None
        self._express: express.Express | None = None
        """The short way for GETs; None where this aiohttp is not known to have one, or somebody traces its sessions."""

    async def __aenter__(self) -> Self:
        self._session = self._session_over(aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE))
        # for what may be sent once only: on a connection of its own, since one that is kept may have been closed just now
        self._once = self._session_over(aiohttp.TCPConnector(limit=0, force_close=True))
        # who traces the session is to see every request, and the short way goes past him
        takes_short_way = express.is_known() and not self._session.trace_configs
        self._express = express.Express(self._session, self._base, _ALWAYS) if takes_short_way else None
        self._deadlines = Deadlines()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session, self._session, self._express = self._session, None, None
        if session is not None:
            self._deadlines.close()
            await session.close()
            await self._once.close()

    def _session_over(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
            headers=_ALWAYS,
        )

    async def __call__(self, request: Request) -> Response:
        """Send *request* once.

        Raises:
            ConnectionFailed: refused, reset, or cut before the whole answer was there.
            ResponseTimeout: the whole answer was not there in time.
            MalformedResponse: it is larger than any answer of Zuora's, or not compressed as it says.

        You get none of them for an answer whose body was cut on its way into a sink: it has a `cut`.
        """
        if self._session is None:
            message = "the client is closed: use it inside its `async with`"
            raise WatcherClosed(message)
        timeout = min(self._request_timeout, request.at_most or self._request_timeout)
        is_usual = request.method == "GET" and request.body is None and request.sink is None and request.url is None
        short_way = self._express if is_usual else None
        pouring = Pouring(request.sink)
        try:
            with self._deadlines.within(timeout) as deadline:
                pouring.on_bytes = partial(deadline.begin_again, SILENCE)
                session = self._session if request.may_be_repeated else self._once
                way = short_way.get(request) if short_way else self._by_the_session(session, request, pouring)
                response = await way
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = self._explained(error, request, timeout)
        except ZuoraJobsError as error:
            failure = error
        else:
            if log.isEnabledFor(logging.DEBUG):
                _log_answer(request, response)
            return response
        if pouring.response is not None:
            return evolve(pouring.response, cut=failure)
        # not above, where the library's error, which has the Authorization in it, would become its context
        raise failure

    def _explained(self, error: Exception, request: Request, timeout: float) -> ZuoraJobsError:
        what = f"{request.method} {request.path}"
        match error:
            case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
                where = self._base if request.url is None else f"{URL(request.url, encoded=True).origin()}"
                return ConnectionFailed(f"{what}: no connection to {where}: {_cause(error)}", sent=False)
            case TimeoutError() if request.sink is not None:
                message = f"{what}: no answer within {timeout:g} s, or nothing more of its body within {SILENCE:g} s"
                return ResponseTimeout(message)
            case TimeoutError():
                return ResponseTimeout(f"{what}: no whole answer within {timeout:g} s")
            case TooLarge():
                problem = f"more than {LARGEST} bytes"
                return MalformedResponse(f"{what}: the answer has {problem}", problems=[problem])
            case Undecodable():
                return MalformedResponse(f"{what}: the answer is not compressed as it says, or cut short")
            case _:
                return ConnectionFailed(f"{what}: the connection failed: {_cause(error)}")

    async def _by_the_session(self, session: aiohttp.ClientSession, request: Request, pouring: Pouring) -> Response:
        """Send a request in aiohttp's usual way."""
        text = request.url or self._base + request.path + ("?" + request.query if request.query else "")
        url = URL(text, encoded=True)
        headers, body = _with_body(request)
        async with session.request(
            request.method,
            url if request.url is None else url.with_query(None),
            headers=headers,
            data=body,
            allow_redirects=False,
            middlewares=[*([] if session is self._session else [_not_again]), _completing(request, url, headers)],
        ) as answer:
            if request.sink is not None and is_a_file(answer):
                return await pouring.pour(answer)
            content = await read_body(answer.content.readany, answer.headers.get("Content-Encoding", ""))
            return Response(answer.status, answer.headers, content)


class _CutOff(aiohttp.ClientConnectionError):
    """The connection was cut: of none of the classes after which aiohttp sends a PUT or DELETE again by itself."""


async def _not_again(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request, and keep aiohttp from sending it again where it may have arrived."""
    try:
        return await send(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        failure = _CutOff(_cause(error))
    raise failure


def _completing(request: Request, url: URL, headers: Mapping[str, str]) -> aiohttp.ClientMiddlewareType:
    """Add what is secret, the token or the query of a presigned URL, once all who trace the session have seen the rest.

    The store behind a presigned URL gets no header either that they have added: it is a third party, and nobody's business.

    Args:
        request: what is sent.
        url: where it goes, with its query.
        headers: what was handed to the session.
    """
    ours = CIMultiDict({**_ALWAYS, **headers, "Host": ""})

    async def complete(outgoing: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        outgoing.url = url
        if request.url is not None:
            for name in {name for name in outgoing.headers if name not in ours}:
                del outgoing.headers[name]
        if request.authorization is not None:
            outgoing.headers["Authorization"] = request.authorization
        return await send(outgoing)

    return complete


def _log_answer(request: Request, response: Response) -> None:
    size = len(response.body)
    extras = about(http_method=request.method, http_path=request.path, http_status=response.status, http_bytes=size)
    log.debug("%s %s: HTTP %d, %d bytes", request.method, request.path, response.status, size, extra=extras)


def _with_body(request: Request) -> tuple[dict[str, str], bytes | None]:
    headers = {**(_INTO_A_SINK if request.sink is not None else {}), **request.headers}
    body = request.body
    if body is None:
        return headers, None
    if headers.setdefault("Content-Type", "application/json") == "application/json" and len(body) >= GZIP_FROM:
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body, mtime=0)
    return headers, body


def _cause(error: BaseException) -> str:
    """Say what went wrong without `str(error)`, which for some of aiohttp's errors quotes headers or the URL."""
    if isinstance(error, _CutOff):
        return str(error)
    errno = error.strerror if isinstance(error, OSError) else None
    return errno or type(error).__name__
