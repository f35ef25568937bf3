"""What can happen to one answer on its way out: effects that play with the line instead of with the words.

- A delivery is a method of its effect, which hands it on with the reply; `server.py` runs it. No socket is known here.
- Whatever is sent is sent in pieces, each of which waits for the client: a body of any size takes little memory.
- None stops on its own account when the client hangs up or the emulator closes: sending raises then, and sleep ends.
"""

from __future__ import annotations

import asyncio
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from zuora_jobs.emulator.contents import PIECE, Content, pieces
from zuora_jobs.emulator.replies import OK, Reply
from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zuora_jobs.emulator.effects import Proceed
    from zuora_jobs.emulator.replies import Line

MIB = 1 << 20
GZIP_FORMAT = zlib.MAX_WBITS | 16


async def send_slowly(line: Line, content: Content, end: int | None = None) -> None:
    """Send *content*, up to *end*, piece by piece, as fast as the client reads and no faster than others can bear."""
    for piece in pieces(content, end):
        await line.send(piece)
        await asyncio.sleep(0)  # a client that reads fast must not keep the loop from all others


def _refuse_unless(sensible: bool, what: str, value: object) -> None:  # noqa: FBT001 - read as a sentence
    if not sensible:
        msg = f"{what}, not {value!r}"
        raise ConfigurationError(msg)


@frozen
class Truncate:
    """Promise the whole body, send a part, cut the connection."""

    keep: float = 0.5
    """The share of the body that is sent, from 0 up to, and without, 1."""

    def __attrs_post_init__(self) -> None:
        sensible = 0 <= self.keep < 1
        _refuse_unless(sensible, "a truncated answer keeps a share from 0 up to, and without, 1", self.keep)

    async def strike(self, proceed: Proceed) -> Reply:
        """Shorten the answer."""
        return evolve(await proceed(), delivery=self._deliver)

    async def _deliver(self, line: Line, content: Content) -> None:
        await line.begin(len(content))
        await send_slowly(line, content, int(len(content) * self.keep))
        line.hang_up()


@frozen
class CutAfter:
    """Promise the whole body, send the first *bytes* bytes, break the connection off (RST).

    What the client's machine has by then is what was sent, but a client may lose what it has not read when it learns of
    the reset. One in the same process has the time to read it all; for another, give it some *seconds*.
    """

    bytes: int = 1000
    seconds: float = 0.0
    """Between the last byte and the reset."""

    def __attrs_post_init__(self) -> None:
        _refuse_unless(self.bytes >= 0, "an answer is cut after some bytes", self.bytes)
        _refuse_unless(self.seconds >= 0, "an answer is cut some seconds after its last byte", self.seconds)

    async def strike(self, proceed: Proceed) -> Reply:
        """Shorten the answer. One that is no longer than that arrives whole."""
        reply = await proceed()
        whole = len(reply.content()) <= self.bytes and reply.delivery is None
        return reply if whole else evolve(reply, delivery=self._deliver)

    async def _deliver(self, line: Line, content: Content) -> None:
        await line.begin(len(content))
        await send_slowly(line, content, self.bytes)
        await line.flush()
        if self.seconds:
            await asyncio.sleep(self.seconds)
        line.reset()


@frozen
class LoseReply:
    """Carry the request out, and cut the connection without a word: what was done stays done, the answer is lost."""

    async def strike(self, proceed: Proceed) -> Reply:
        """Swallow the answer."""
        return evolve(await proceed(), delivery=self._deliver, dropped=True)

    async def _deliver(self, line: Line, _: Content) -> None:
        line.hang_up()


@frozen
class Drop:
    """Cut the connection without a word."""

    async def strike(self, proceed: Proceed) -> Reply:  # noqa: ARG002 - the request goes no further
        """Say nothing."""
        return Reply(delivery=self._deliver, dropped=True)

    async def _deliver(self, line: Line, _: Content) -> None:
        line.hang_up()


@frozen
class Reset:
    """Break the connection off (RST) without a word, as a firewall does, or a server that has crashed."""

    async def strike(self, proceed: Proceed) -> Reply:  # noqa: ARG002 - the request goes no further
        """Say nothing."""
        return Reply(delivery=self._deliver, dropped=True)

    async def _deliver(self, line: Line, _: Content) -> None:
        line.reset()


@frozen
class Trickle:
    """Send the body byte by byte, *seconds* apart: no read ever waits long, and the answer takes for ever."""

    seconds: float = 1.0

    def __attrs_post_init__(self) -> None:
        _refuse_unless(self.seconds >= 0, "the bytes of a trickle are some seconds apart", self.seconds)

    async def strike(self, proceed: Proceed) -> Reply:
        """Slow the answer down. It tells the state at its beginning."""
        return evolve(await proceed(), delivery=self._deliver)

    async def _deliver(self, line: Line, content: Content) -> None:
        await line.begin(len(content))
        for position in range(len(content)):
            if position:
                await asyncio.sleep(self.seconds)
            await line.send(content[position : position + 1])


@frozen
class EndlessHeaders:
    """Begin an answer whose headers never end."""

    seconds: float = 0.01
    """Between two bursts of about 64 kB. Any pause lets virtual time go on, so that a client's timeout can come."""

    def __attrs_post_init__(self) -> None:
        _refuse_unless(self.seconds >= 0, "the bursts of endless headers are some seconds apart", self.seconds)

    async def strike(self, proceed: Proceed) -> Reply:  # noqa: ARG002 - the request goes no further
        """Answer without asking anybody."""
        return Reply(delivery=self._deliver, dropped=True)

    async def _deliver(self, line: Line, _: Content) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        header = b"X-Filler: " + b"x" * 1000 + b"\r\n"
        burst = header * (PIECE // len(header))
        while True:
            await line.send(burst)
            await asyncio.sleep(self.seconds)


def _padded(size: int) -> Iterator[bytes]:
    """A JSON document of *size* bytes, nearly all of them blanks, piece by piece."""
    head, tail = b'{"padding": "', b'"}'
    yield head
    blanks = b" " * PIECE
    for left in range(size - len(head) - len(tail), 0, -PIECE):
        yield blanks[:left]
    yield tail


@frozen
class Flood:
    """Answer with a JSON document of *size* bytes, whose length is not announced."""

    size: int = 64 * MIB

    def __attrs_post_init__(self) -> None:
        _refuse_unless(self.size >= PIECE, f"a flood has at least {PIECE} bytes", self.size)

    async def strike(self, proceed: Proceed) -> Reply:  # noqa: ARG002 - the request goes no further
        """Answer without asking anybody."""
        return Reply(delivery=self._deliver)

    async def _deliver(self, line: Line, _: Content) -> None:
        await line.begin(None)
        for piece in _padded(self.size):
            await line.send(piece)
            await asyncio.sleep(0)  # a client that reads fast must not keep the loop from all others


@frozen
class Bomb:
    """Answer with a small gzip body that inflates to a JSON document of *size* bytes, a thousand times as much.

    The first of its size holds up the loop while it is made, for about half a second of real time if *size* is the
    usual one.
    """

    size: int = 200 * MIB

    def __attrs_post_init__(self) -> None:
        _refuse_unless(self.size >= PIECE, f"a bomb inflates to at least {PIECE} bytes", self.size)

    async def strike(self, proceed: Proceed) -> Reply:  # noqa: ARG002 - the request goes no further
        """Answer without asking anybody."""
        return Reply(OK, _deflated(self.size), {"Content-Encoding": "gzip"})


@lru_cache(maxsize=4)
def _deflated(size: int) -> bytes:
    packer = zlib.compressobj(zlib.Z_BEST_COMPRESSION, zlib.DEFLATED, GZIP_FORMAT)
    return b"".join([*map(packer.compress, _padded(size)), packer.flush()])
