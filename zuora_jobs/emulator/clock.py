"""The emulator's time: the running loop's, and nobody else's.

- Seconds are the loop's own, so virtual time moves jobs, tokens, limits and dates alike.
- They never go back. A test tool may wind a loop's clock back between a fixture and its test (looptime does); what the
  fixture began then goes on from there, instead of waiting for hours that never come.
- Wall-clock moments, needed in documents, are the epoch plus the seconds since the clock was first read.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""Where documents' dates start unless told otherwise: fixed, so that two runs write the same documents."""


class Clock:
    """Read the running loop's time as a clock that only goes forward."""

    def __init__(self, epoch: datetime = EPOCH) -> None:
        self._epoch = epoch
        self._first: float | None = None
        self._last = 0.0
        self._wound_back = 0.0

    def now(self) -> float:
        """Seconds of loop time, plus whatever the loop's clock was wound back by."""
        moment = asyncio.get_running_loop().time() + self._wound_back
        if self._first is None:
            self._first = moment
        elif moment < self._last:
            self._wound_back += self._last - moment
            moment = self._last
        self._last = moment
        return moment

    def on_loop(self, moment: float) -> float:
        """The same *moment* as `loop.time()` tells it now."""
        return moment - self._wound_back

    def wall(self, moment: float) -> datetime:
        """The wall-clock moment (UTC) in documents for *moment*, which `now()` gave."""
        first = moment if self._first is None else self._first
        return self._epoch + timedelta(seconds=moment - first)
