"""Moments for people, derived from the loop's clock: the only place that asks what time it is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta


class WallClock:
    """Gives aware moments that advance with the loop's clock, so that virtual time moves dates too."""

    def __init__(self) -> None:
        self._started_at = datetime.now(UTC)  # noqa: TID251 - this once
        self._loop = asyncio.get_running_loop()
        self._t0 = self._loop.time()

    def now(self) -> datetime:
        """Give the present moment, in UTC."""
        return self._started_at + timedelta(seconds=self._loop.time() - self._t0)

    def timestamp(self) -> float:
        """Give the present moment, in seconds since 1970."""
        return self._started_at.timestamp() + self._loop.time() - self._t0
