"""How many requests a tenant may send: per window of time, and at once.

Source: https://developer.zuora.com/docs/guides/rate-limits

- Windows are fixed: one begins with the first request after the previous one ended. A refused request counts too.
- `RateLimit-Limit` names first the limit of the window nearest to exhaustion, then every window.
- Pure: the time is an argument.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import define, frozen

from zuora_jobs.emulator.replies import CODE_CONCURRENCY, CODE_RATE, Reply, throttled
from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_NAMES: Mapping[float, str] = {60: "minute", 3600: "hour", 86400: "day"}


@frozen
class Window:
    """At most *limit* requests in *seconds*."""

    limit: int
    seconds: float

    def __attrs_post_init__(self) -> None:
        if self.limit < 1 or not self.seconds > 0:
            msg = f"a rate limit needs at least one request and a window longer than nothing, not {self!r}"
            raise ConfigurationError(msg)

    @property
    def name(self) -> str:
        """The window as the refusal's message calls it."""
        return _NAMES.get(self.seconds, f"{self.seconds:g} seconds")


PRODUCTION = (Window(50_000, 60), Window(2_250_000, 3600), Window(27_000_000, 86400))
DEVELOPER_SANDBOX = (Window(12_500, 60), Window(25_000, 3600), Window(50_000, 86400))
API_SANDBOX = (Window(2_500, 60), Window(5_000, 3600), Window(10_000, 86400))
AUTH = (Window(100, 60), Window(67_500, 3600), Window(810_000, 86400))
"""Token requests; the minute's figure is the one per source address, since all callers here share theirs."""


def as_windows(limits: Iterable[Window | tuple[int, float]]) -> tuple[Window, ...]:
    """*limits* as windows, the shortest first."""
    windows = (limit if isinstance(limit, Window) else Window(*limit) for limit in limits)
    return tuple(sorted(windows, key=lambda window: window.seconds))


@define
class _Meter:
    window: Window
    count: int = 0
    ends_at: float = -math.inf

    def add(self, now: float) -> None:
        if now >= self.ends_at:
            self.count, self.ends_at = 0, now + self.window.seconds
        self.count += 1

    def wait(self, now: float) -> int:
        return max(math.ceil(round(self.ends_at - now, 6)), 0)


def _end(meter: _Meter) -> float:
    return meter.ends_at


def _used(meter: _Meter) -> float:
    return meter.count / meter.window.limit


@frozen
class Reading:
    """What the meters say after one more request."""

    headers: Mapping[str, str]
    refusal: Reply | None


class RateLimiter:
    """Counts requests against several windows."""

    def __init__(self, limits: Iterable[Window | tuple[int, float]]) -> None:
        self._meters = [_Meter(window) for window in as_windows(limits)]
        self._all = ", ".join(f"{meter.window.limit};w={meter.window.seconds:g}" for meter in self._meters)

    def count(self, now: float) -> Reading:
        """Count one request and tell whether it may pass."""
        if not self._meters:
            return Reading({}, None)
        for meter in self._meters:
            meter.add(now)
        refused = any(meter.count > meter.window.limit for meter in self._meters)
        # One request more would be refused as long as any window is full: only the last to end helps.
        full = [meter for meter in self._meters if meter.count >= meter.window.limit]
        tightest = max(full, key=_end) if refused else max(self._meters, key=_used)
        wait = tightest.wait(now)
        headers = {
            "RateLimit-Limit": f"{tightest.window.limit}, {self._all}",
            "RateLimit-Remaining": str(max(tightest.window.limit - tightest.count, 0)),
            "RateLimit-Reset": str(wait),
        }
        text = f"API Rate limit exceeded for the {tightest.window.name}, retry after {wait} seconds"
        return Reading(headers, throttled(CODE_RATE, text) if refused else None)


TOO_CROWDED = "The number of concurrent requests has exceeded the limit, please retry later"


class Crowd:
    """Counts requests that are being answered at one time."""

    def __init__(self, limit: int | None, retry_after: float) -> None:
        self.limit = limit
        self.retry_after = retry_after
        self.present = 0
        self.peak = 0

    def enter(self) -> Reading:
        """Count one in. A refused one counts as well, until it leaves."""
        self.present += 1
        self.peak = max(self.peak, self.present)
        if self.limit is None:
            return Reading({}, None)
        headers = {
            "Concurrency-Limit-Type": "Default",
            "Concurrency-Limit-Limit": str(self.limit),
            "Concurrency-Limit-Remaining": str(max(self.limit - self.present, 0)),
        }
        if self.present <= self.limit:
            return Reading(headers, None)
        return Reading(headers, throttled(CODE_CONCURRENCY, TOO_CROWDED, Retry_After=f"{self.retry_after:g}"))

    def leave(self) -> None:
        """Count one out."""
        self.present -= 1
