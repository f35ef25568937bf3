"""Takes a long body off its connection, straight from the socket into a few blocks of memory that are used in turn.

What stands between a socket and its reader in the usual way (a new `bytes` for each piece, a parser, a queue, a wake-up of
the reader) costs more than the socket itself; here the kernel writes into a block while the block before it is on its way
to the disk. When no block is free, the connection is not read: so the memory is the same whatever the body's length.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BLOCK: Final = 2 * 1024 * 1024
"""Bytes of a block: large enough for a write of one to cost more than its being told about."""

BLOCKS: Final = 3
"""One is filled, one is written, and one lies between them."""

LINGER: Final = 0.1
"""Seconds that what came may lie in a block that is not full yet."""


class Flow(asyncio.BufferedProtocol):
    """The rest of one body.

    Args:
        transport: the connection, which is taken over at once.
        length: bytes of the body that are to come; one at least.
        before: the protocol that had the connection; it is told its end.
        on_bytes: called whenever some bytes have come.
    """

    def __init__(
        self, transport: asyncio.Transport, length: int, before: asyncio.BaseProtocol, on_bytes: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._missing = length
        self._before = before
        self._on_bytes = on_bytes
        self._free = [bytearray(min(BLOCK, length)) for _ in range(BLOCKS)]
        self._block: bytearray | None = self._free.pop()
        """What is being filled; None: all blocks are full, and the connection is not read."""
        self._filled_to = 0
        self._timer: asyncio.TimerHandle | None = None
        """Hands over what does not fill a block in time."""
        self._filled: deque[tuple[bytearray, int]] = deque()
        """Blocks, and how far they are filled."""
        self._waiter: asyncio.Future[None] | None = None
        self._is_lost = False
        self._error: Exception | None = None
        transport.set_protocol(self)
        transport.resume_reading()

    async def pour_into(self, write: Callable[[bytes | bytearray], Awaitable[None]]) -> None:
        """Give all that comes to *write*, block after block; each is used again afterwards.

        Raises:
            OSError: the connection was cut; what came before that has been written.
        """
        try:
            while self._filled or (self._missing and not self._is_lost):
                if not self._filled:
                    self._waiter = self._loop.create_future()
                    await self._waiter
                    continue
                block, size = self._filled.popleft()
                await write(block if size == len(block) else bytes(memoryview(block)[:size]))
                self._on_bytes()  # while the disk was slow, nobody was silent
                self._give_back(block)
        finally:
            self._cancel_timer()
        if self._missing:
            message = "cut in the middle of a body"
            raise ConnectionResetError(message) from self._error

    # --- what the connection tells

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the socket gives what it has
        """Give the room for what comes next, and for no more than is missing."""
        if self._block is None:
            raise AssertionError(self)  # not while it is not read
        return memoryview(self._block)[self._filled_to : self._filled_to + self._missing]

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of what has come."""
        self._filled_to += nbytes
        self._missing -= nbytes
        self._on_bytes()
        if not self._missing or (self._block is not None and self._filled_to == len(self._block)):
            self._hand_over()
        elif self._timer is None:
            self._timer = self._loop.call_later(LINGER, self._hand_over)

    def eof_received(self) -> None:
        """Let the connection be closed."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand over what there is, and tell who had the connection before."""
        self._is_lost, self._error = True, exc
        self._hand_over()
        self._before.connection_lost(exc)

    def _hand_over(self) -> None:
        self._cancel_timer()
        if self._block is not None and self._filled_to:
            self._filled.append((self._block, self._filled_to))
            self._block, self._filled_to = (self._free.pop() if self._free else None), 0
        if not self._is_lost and (self._block is None or not self._missing):
            self._transport.pause_reading()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_back(self, block: bytearray) -> None:
        if self._block is not None:
            self._free.append(block)
            return
        self._block = block
        if self._missing and not self._is_lost:
            self._transport.resume_reading()
