"""Secrets that bear a mark, a peer that says and hears bytes in threads of its own, and ears for all that is told.

The mark is written here and nowhere else, so that no traceback shows it with a line of a test's source. The peer knows no
asyncio: what the loop, aiohttp and the package log is all there is to be heard.
"""

import asyncio
import gc
import io
import json
import logging
import pickle
import re
import socket
import socketserver
import struct
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

import attrs
import pytest
from rich.console import Console
from rich.traceback import Traceback

from zuora_jobs import JobError, Settings, ZuoraJobsError

MARK = "k4n4r1e"
HERE = str(Path(__file__).parent)
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@attrs.frozen(repr=False)
class Marked:
    """One secret of each sort; and answers, whose headers always hold some more."""

    mark: str = MARK
    client_id: str = "3f0b1c7e-may-be-shown"
    client_secret: str = f"{MARK}ClientSecret"
    token: str = f"{MARK}FixedToken"
    fetched: str = f"{MARK}FetchedToken"
    url: str = (
        "https://bucket.s3.us-west-2.amazonaws.com/bulk-pdf-generation/invoices-1.zip?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        f"&X-Amz-Credential={MARK}Credential%2F20260101%2Fus-west-2%2Fs3%2Faws4_request&X-Amz-Signature={MARK}Signature"
    )

    def answer(self, status: int, body: Any = b"", /, **headers: str) -> bytes:
        """An answer as bytes: *body* is bytes, or will be JSON; header names are given with underscores."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = {
            "Content-Length": str(len(content)),
            "Content-Type": "application/json",
            "Set-Cookie": f"ZSession={MARK}Cookie; Path=/",
            "X-Amz-Security-Token": f"{MARK}Security",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        head = f"HTTP/1.1 {status} Whatever\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return head.encode() + b"\r\n" + content

    def page(self, status: int, title: str) -> bytes:
        """A page of a gateway's, with a secret in its text."""
        text = f"<html><head><title>{title}</title></head><body><a href='{self.url}'>{self.fetched}</a></body></html>"
        return self.answer(status, text.encode(), Content_Type="text/html; charset=utf-8")

    def token_answer(self) -> bytes:
        return self.answer(200, {"access_token": self.fetched, "token_type": "bearer", "expires_in": 3600})

    def bulk_pdf(self, status: str = "Completed", **fields: Any) -> dict[str, Any]:
        """The document of a job that left a file behind."""
        return {"jobId": "j1", "status": status, "fileUrls": [self.url], "success": True, **fields}


@pytest.fixture
def marked() -> Marked:
    return Marked()


class Peer(socketserver.ThreadingTCPServer):
    """Gives the bytes it is told to, in turn and the last for ever; None: silence; "reset": a cut."""

    daemon_threads = True

    def __init__(self, replies: list[Any], tokens: list[Any]) -> None:
        self.replies = replies
        self.tokens = tokens
        self.heard: list[bytes] = []
        self.said: list[bytes] = []
        self.connections = 0
        self._asked = {True: 0, False: 0}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Exchange)

    @property
    def port(self) -> int:
        port: int = self.socket.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def reply_to(self, request: bytes) -> Any:
        with self._lock:
            self.heard.append(request)
            about_a_token = request.split(b" ")[1] == b"/oauth/token"
            replies = self.tokens if about_a_token else self.replies
            self._asked[about_a_token] += 1
            return replies[min(self._asked[about_a_token], len(replies)) - 1]

    def was_told(self, secret: str) -> bool:
        return any(secret.encode() in request for request in self.heard)

    def told(self, secret: str) -> bool:
        return any(secret.encode() in reply for reply in self.said)


class _Exchange(socketserver.StreamRequestHandler):
    server: Peer

    def handle(self) -> None:
        with suppress(OSError):
            while request := self._request():
                reply = self.server.reply_to(request)
                if reply is None:
                    self.rfile.read()
                    return
                if reply == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                self.server.said.append(reply)
                self.wfile.write(reply)
                if b"connection: close" in reply.lower():
                    return

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()

    def _request(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return b""
            head += line
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        return head + (self.rfile.read(int(length[1])) if length else b"")


@pytest.fixture
def peer(marked: Marked) -> Iterator[Callable[..., Peer]]:
    """Start a peer; it ends with the test."""
    with ExitStack() as stack:

        def start(*replies: Any, tokens: list[Any] | None = None) -> Peer:
            started = stack.enter_context(_serving(Peer(list(replies), tokens or [marked.token_answer()])))
            assert isinstance(started, Peer)
            return started

        yield start


@contextmanager
def _serving(peer: Peer) -> Iterator[Peer]:
    thread = threading.Thread(target=peer.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield peer
    finally:
        peer.shutdown()
        peer.server_close()
        thread.join()


@pytest.fixture
def with_token(marked: Marked) -> Callable[..., Settings]:
    """Settings with a token that somebody else keeps fresh."""

    def make(url: str, **more: Any) -> Settings:
        return Settings(base_url=url, access_token=marked.token, **more)

    return make


@pytest.fixture
def with_secret(marked: Marked) -> Callable[..., Settings]:
    """Settings with a client's credentials."""

    def make(url: str, **more: Any) -> Settings:
        return Settings(base_url=url, client_id=marked.client_id, client_secret=marked.client_secret, **more)

    return make


class Quick(Random):
    """Jitter that always turns out short."""

    def uniform(self, a: float, b: float) -> float:
        return min(a, b)


@pytest.fixture
def quick() -> Random:
    return Quick()


def _own_part(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of the test itself, which knows the secrets."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(HERE):
        trace = trace.tb_next
    return trace


def _links(error: BaseException) -> Iterator[BaseException]:
    """Give an error and all that hangs on it, shown or suppressed."""
    seen: dict[int, BaseException] = {}
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop()
        if link is None or id(link) in seen:
            continue
        seen[id(link)] = link
        yield link
        waiting += [link.__cause__, link.__context__]
        if isinstance(link, BaseExceptionGroup):
            waiting += link.exceptions


class Ears:
    """All that is told: by logs, on both standard streams, and by whatever is given to `hear`."""

    def __init__(self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
        self._caplog = caplog
        self._capfd = capfd
        self._heard: list[str] = []
        self.secrets = [MARK, "X-Amz-Signature", "X-Amz-Credential"]

    def hear(self, *things: object) -> None:
        """Take in what *things* show when they are printed, logged or, if they are errors, sent to another process."""
        for thing in things:
            if isinstance(thing, str):
                self._heard.append(thing)
                continue
            self._heard += [repr(thing), str(thing), f"{thing}", repr([thing]), _pretty(thing)]
            if isinstance(thing, BaseException):
                for link in _links(thing):
                    self._heard += _shown_by(link)

    def hear_with_locals(self, error: BaseException) -> None:
        """Take in tracebacks that show each frame's variables, as rich, Sentry and the standard library do."""
        for link in _links(error):
            link.__traceback__ = _own_part(link.__traceback__)
        assert any(link.__traceback__ for link in _links(error)), "there are frames to be seen"
        self._heard += traceback.TracebackException.from_exception(error, capture_locals=True).format()
        console = Console(file=io.StringIO(), width=1000, soft_wrap=True)
        console.print(
            Traceback.from_exception(
                type(error),
                error,
                error.__traceback__,
                width=1000,
                show_locals=True,
                locals_max_length=10_000,
                locals_max_string=10_000,
                locals_hide_dunder=False,
                max_frames=0,
            )
        )
        assert isinstance(console.file, io.StringIO)
        self._heard.append(console.file.getvalue())

    @property
    def log(self) -> str:
        """Every message that was logged in this process."""
        return "\n".join(record.getMessage() for record in self._caplog.records)

    def everything(self) -> list[str]:
        out = self._capfd.readouterr()
        self._heard += [out.out, out.err]
        return [*self._heard, self._caplog.text, *(repr(vars(record)) for record in self._caplog.records)]

    def leaks(self) -> list[str]:
        """Give what was told of a secret, with a little of what stands around it."""
        found = []
        for text in self.everything():
            plain = without_colours(text)
            for form in (plain, re.sub(r"[^A-Za-z0-9-]", "", plain)):  # a secret may be folded over lines
                for secret in self.secrets:
                    at = form.lower().find(secret.lower())
                    if at >= 0:
                        found.append(f"{secret}: …{form[max(0, at - 120) : at + 60]}…")
        return list(dict.fromkeys(found))

    def assert_no_secret(self, *, logged: str | None = None) -> None:
        """No secret was told; and, so that this says something, *logged* was."""
        if logged is not None:
            assert logged in self.log, self.log
        assert self.leaks() == []


def without_colours(text: str) -> str:
    return ANSI.sub("", text)


def _pretty(thing: object) -> str:
    """Show *thing* as rich does, which looks into attrs classes and containers by itself."""
    console = Console(file=io.StringIO(), width=1000, soft_wrap=True)
    with suppress(Exception):  # rich's own trouble with a thing is not ours
        console.print(thing, [thing], markup=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _shown_by(error: BaseException) -> Iterator[str]:
    yield from (str(error), repr(error), repr(error.args), repr(vars(error)), *getattr(error, "__notes__", ()))
    yield from traceback.format_exception(type(error), error, _own_part(error.__traceback__))
    if isinstance(error, ZuoraJobsError) and not isinstance(error, JobError):  # which carries the caller's document
        for protocol in (0, pickle.HIGHEST_PROTOCOL):
            yield pickle.dumps(error, protocol).decode("latin-1")


@pytest.fixture
def ears(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Ears]:
    """Hear everything: every logger at debug."""
    names = ("asyncio", "aiohttp.client", "aiohttp.internal", "backoff", "zuora_jobs", "zuora_jobs.http")
    for name in (None, *names):
        caplog.set_level(logging.DEBUG, name)
    logger = logging.getLogger("zuora_jobs")
    handlers, level, disabled = logger.handlers[:], logger.level, logging.root.manager.disable
    yield Ears(caplog, capfd)
    logger.handlers[:] = handlers  # the command line puts up its own
    logger.setLevel(level)
    assert logging.root.manager.disable == disabled


@pytest.fixture
async def talkative_loop() -> AsyncIterator[None]:
    """Debug mode, in which asyncio logs every callback that takes any time, with its arguments."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    yield
    gc.collect()
    loop.set_debug(False)
