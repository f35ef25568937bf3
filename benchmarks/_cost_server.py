"""A job server that costs next to nothing, so that what is measured is who asks it.

Run as a script it serves until its standard input ends, and prints its port. Every job is in progress for ever. It says
what Zuora says, with quotas of another size: a client that heeds them is not to be slowed down here.

    GET /v1/operations/jobs/{id}    the job; ids have 32 characters
    POST /v1/operations/jobs/{id}   where to ask for it, in the words that azure-core knows
    GET /looks                      how many times a job has been asked for
"""

import asyncio
import json
import socket
import sys
from typing import Final, cast

ROUTE: Final = "/v1/operations/jobs/"
_LOOK: Final = f"GET {ROUTE}".encode()
_SUBMIT: Final = f"POST {ROUTE}".encode()
_ID: Final = 32
_DOCUMENT: Final = {
    "success": True,
    "id": "{}",
    "objectId": "2c92c8955bd63cc1015bd7c151af02ef",
    "objectType": "Invoice",
    "operationType": "Delete",
    "status": "Processing",
    "reasons": [],
    "processId": "8E2B7DA6F2A1C5D0",
    "requestId": "7c1e9f0a-53ab-4a3e-9f6e-0f5d2f0f8f1a",
}
_HEADERS: Final = (
    "Date: Tue, 24 Nov 2026 12:00:00 GMT",
    "Content-Type: application/json;charset=utf-8",
    "Connection: keep-alive",
    "Server: Zuora App",
    "Zuora-Request-Id: 7c1e9f0a-53ab-4a3e-9f6e-0f5d2f0f8f1a",
    "ratelimit-limit: 225000000, 500000000;w=60, 22500000000;w=3600, 270000000000;w=86400",
    "ratelimit-remaining: 224999000",
    "ratelimit-reset: 23",
    "Concurrency-Limit-Type: Default",
    "Concurrency-Limit-Limit: 400",
    "Concurrency-Limit-Remaining: 380",
    "X-Frame-Options: SAMEORIGIN",
    "Strict-Transport-Security: max-age=31536000; includeSubDomains",
)


def _around_the_id() -> tuple[bytes, bytes]:
    """Give what an answer has before the job's id, and behind it."""
    before, behind = json.dumps(_DOCUMENT).split("{}")
    size = len(before) + _ID + len(behind)
    head = "\r\n".join(("HTTP/1.1 200 OK", *_HEADERS, f"Content-Length: {size}", "", ""))
    return (head + before).encode(), behind.encode()


_BEFORE, _BEHIND = _around_the_id()


class Connection(asyncio.Protocol):
    """One client's connection, kept alive. Requests come one at a time, and have no body."""

    looks = 0
    """Of all connections."""

    def __init__(self) -> None:
        self._unfinished = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have somebody to answer to."""
        self._write = cast("asyncio.Transport", transport).write

    def data_received(self, data: bytes) -> None:
        """Answer a request once its headers are there."""
        data = self._unfinished + data
        if not data.endswith(b"\r\n\r\n"):
            self._unfinished = data
            return
        self._unfinished = b""
        if data.startswith(_LOOK):
            Connection.looks += 1
            self._write(_BEFORE + data[len(_LOOK) : len(_LOOK) + _ID] + _BEHIND)
        elif data.startswith(_SUBMIT):
            where = data.split(b" ", 2)[1].decode()
            self._answer("202 Accepted", '{"status": "Pending"}', f"Operation-Location: {self._origin(data)}{where}")
        else:
            self._answer("200 OK", str(Connection.looks))

    @staticmethod
    def _origin(data: bytes) -> str:
        host = data.lower().partition(b"\r\nhost: ")[2].partition(b"\r\n")[0]
        return f"http://{host.decode()}"

    def _answer(self, status: str, body: str, *headers: str) -> None:
        lines = (f"HTTP/1.1 {status}", *_HEADERS, *headers, f"Content-Length: {len(body)}", "", body)
        self._write("\r\n".join(lines).encode())


def looks(port: int) -> int:
    """Ask the server how many times it was asked for a job; blocks, for some tenths of a millisecond."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /looks HTTP/1.1\r\n\r\n")
        said = b""
        while b"\r\n\r\n" not in said or said.endswith(b"\r\n\r\n"):
            said += connection.recv(4096)
    return int(said.rpartition(b"\r\n")[2])


async def serve() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
