"""GETs by the short way: aiohttp's connections and its parser, without its objects for requests and answers.

A poll is always the same few hundred bytes with another id in them. What `ClientSession.request` does for each of them
(URLs, headers, cookies, redirects, middlewares, a writer, an answer that can do everything) costs more than all else that a
poll needs; so here the bytes are put together once for all polls of a kind, and the answer is taken as the parser gives it.

Connections, TLS, names and keeping alive are aiohttp's as before. What is used of it has no underscore, but is not in its
manual either: hence `KNOWN`. With any other version all requests go through the session, which does the same at more cost;
`tests/transport/test_express.py` fails then, so that somebody looks.
"""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from weakref import WeakSet

import aiohttp
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from zuora_jobs.protocol.messages import Request, Response
from zuora_jobs.transport.bodies import read_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection

KNOWN: Final = frozenset({"3.13", "3.14"})
"""Versions of aiohttp whose inner parts fit together as they are used here."""

_MOST_LETTERHEADS: Final = 64
"""Kinds of jobs, times tokens of late."""

_INFORMATIONAL: Final = frozenset(range(100, 200)) - {101}


def is_known() -> bool:
    """Tell whether the short way leads anywhere with the aiohttp that is installed."""
    return aiohttp.__version__.rpartition(".")[0] in KNOWN


class _Where(aiohttp.ClientRequest):
    """Tells the connector where to connect to: a request that is never sent."""

    @cached_property
    def connection_key(self) -> ConnectionKey:
        """What connections are kept under; it never changes here."""
        return super().connection_key


class Express:
    """The short way to one host.

    Args:
        session: whose connections are used.
        base: URL of the host, and what all paths begin with.
        headers: of all requests.
    """

    def __init__(self, session: aiohttp.ClientSession, base: str, headers: Mapping[str, str]) -> None:
        if session.connector is None:
            raise AssertionError(session)
        self._connector = session.connector
        self._timeout = session.timeout
        self._url = URL(base, encoded=True)
        self._prefix = "GET " + urlsplit(base).path
        self._headers = headers
        self._where = _Where("GET", self._url, session=session, loop=asyncio.get_running_loop())
        self._letterheads: dict[object, str] = {}
        self._kept: WeakSet[object] = WeakSet()
        """Connections that have served before."""

    async def get(self, request: Request) -> Response:
        """Send a GET that has no body; once more where a kept connection was cut: the server may just have let go of it.

        Raises:
            aiohttp.ClientError, OSError, ValueError: as `ClientSession.request`.
            TooLarge, Undecodable: see `bodies.py`.
        """
        query = "?" + request.query if request.query else ""
        target = self._prefix + request.path + query
        if not target.isprintable():
            message = "a path with line breaks"
            raise ValueError(message)
        letter = (target + self._letterhead(request)).encode()
        connection = await self._connect()
        was_kept = connection.protocol in self._kept
        try:
            return await self._exchange(connection, letter)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            if not was_kept:
                raise
        return await self._exchange(await self._connect(), letter)

    async def _connect(self) -> Connection:
        try:
            return await self._connector.connect(self._where, [], self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error

    async def _exchange(self, connection: Connection, letter: bytes) -> Response:
        protocol = connection.protocol
        try:
            response = await self._sent_along(connection, letter)
        except BaseException:
            connection.close()  # what is still to come on it would be taken for the next answer
            raise
        connection.release()
        if protocol is not None:
            self._kept.add(protocol)
        return response

    async def _sent_along(self, connection: Connection, letter: bytes) -> Response:
        protocol = connection.protocol
        transport = connection.transport
        if protocol is None or transport is None:
            message = "cut before anything was sent"
            raise aiohttp.ClientConnectionError(message)
        protocol.set_response_params(read_until_eof=True, auto_decompress=False)
        transport.write(letter)
        try:
            head, content = await protocol.read()
            while head.code in _INFORMATIONAL:
                head, content = await protocol.read()
        except HttpProcessingError as error:
            raise aiohttp.ClientResponseError(self._where.request_info, ()) from error
        encoding = head.headers.get("Content-Encoding", "")
        if content.is_eof() and not encoding:  # it came with the head, as nearly always, and fits in aiohttp's buffer
            body = content.read_nowait()
        else:
            body = await read_body(content.readany, encoding)
        return Response(head.code, head.headers, body)

    def _letterhead(self, request: Request) -> str:
        """Give what stands below a request's first line: it is the same for all polls of a kind with the same token."""
        key = (request.authorization, *request.headers.items())
        letterhead = self._letterheads.get(key)
        if letterhead is None:
            if len(self._letterheads) >= _MOST_LETTERHEADS:
                self._letterheads.clear()
            letterhead = self._letterheads[key] = self._written(request)
        return letterhead

    def _written(self, request: Request) -> str:
        headers = CIMultiDict({"Host": self._where.headers["Host"], **self._headers})
        headers.update(request.headers)
        if request.authorization is not None:
            headers["Authorization"] = request.authorization
        lines = [f"{name}: {value}" for name, value in headers.items()]
        if not all(map(str.isprintable, lines)):
            message = "a header with line breaks"
            raise ValueError(message)
        return "\r\n".join([" HTTP/1.1", *lines, "", ""])
