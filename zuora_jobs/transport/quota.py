"""What is left of a tenant's quota, window by window, and how fast it may be spent. Pure, and told the time.

Zuora counts requests in fixed windows (a minute, an hour, a day), and tells with each answer about the one that is nearest
to its end; what it does not tell is counted here. The pace follows from what is left, so it is never quite used up:

    four times the even pace over the rest of the window, since a run seldom lasts longer than a quarter of a window,
    and what is above the line on which a window with a tenth spent at once would fall evenly: within a minute.

All who are on one tenant read the same figures and so come to the same pace, whoever they are.
Source: https://developer.zuora.com/docs/guides/rate-limits (RateLimit-Limit, -Remaining, -Reset).
"""

from __future__ import annotations

from copy import copy
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from zuora_jobs.checks import is_number, is_whole
from zuora_jobs.protocol.messages import LONGEST_WINDOW, as_seconds, window_ends_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SPRINT: Final = 4.0
"""Times the even pace."""

AT_ONCE: Final = 0.1
"""Share of a window's quota that a run may spend as fast as it likes."""

RESERVE: Final = 0.01
"""Share of a window's quota that is never spent: so many requests of others are under way and not yet counted."""

_AT_ONCE_TAKES: Final = 60.0
_SHORTEST: Final = 1.0
"""Seconds of a window; resets are told in whole ones."""

_ROUNDED_UP: Final = 1.0
"""Seconds by which a reset given in whole seconds may be too late."""

_WINDOWS: Final = 8
"""How many windows are kept of a header; Zuora has three."""

_USABLE: Final = 0.95
"""Share of a short window's quota that one client uses."""

_SHORT: Final = 60.0
"""Seconds of a window within which what is left over is no reserve for later."""


@frozen(order=True)
class Window:
    """At most *limit* requests in *seconds*."""

    limit: int = field(validator=is_whole(least=1))
    seconds: float = field(validator=is_number(above=0))


@frozen
class WindowLeft:
    """What is left of a window of a tenant's quota, as far as is known here."""

    limit: float
    """Requests that the tenant allows in it."""
    seconds: float
    """Its length."""
    remaining: float
    """Requests that are left of it."""
    resets_in: float
    """Seconds until the next one begins."""


@define
class _Account:
    """What is left of one window."""

    limit: float
    seconds: float
    remaining: float
    resets_at: float

    def roll(self, now: float) -> None:
        """Begin the next window; only when this one has ended."""
        self.remaining, self.resets_at = self.limit, now + self.seconds

    def pace(self, now: float) -> float:
        if now >= self.resets_at:
            self.roll(now)
        left = self.resets_at - now - _ROUNDED_UP
        spare = self.remaining - RESERVE * self.limit
        if spare <= 0:
            return 0.0
        if left <= 0:
            return inf
        above = self.remaining - (1 - AT_ONCE) * self.limit * min(1.0, left / self.seconds)
        return SPRINT * spare / left + (above / _AT_ONCE_TAKES if above > 0 else 0.0)

    def left(self, now: float) -> WindowLeft:
        if now >= self.resets_at:  # what a window begins with, if nobody has spent anything since
            return WindowLeft(self.limit, self.seconds, self.limit, self.seconds)
        return WindowLeft(self.limit, self.seconds, max(0.0, self.remaining), self.resets_at - now)


class Quota:
    """Keeps account of a tenant's windows.

    Args:
        windows: what the tenant is known to allow, until it says so itself.
    """

    def __init__(self, windows: Iterable[Window] = ()) -> None:
        self.ceiling = inf
        """Requests a second that the shortest windows allow."""
        self._accounts: dict[Window, _Account] = {}
        self._told = ""
        self._rate = inf
        """What `rate` has found,"""
        self._known_at: float | None = None
        """and for which moment; it is asked twice for each request that is let go."""
        self._open(tuple(windows), -inf)  # they begin with the first request

    def note(self, headers: Mapping[str, str], now: float, in_flight: int = 0) -> float | None:
        """Learn from an answer; give what it says is left, or None.

        Args:
            headers: of the answer.
            now: when it came.
            in_flight: requests under way that the server may not have counted yet.
        """
        limit = headers.get("ratelimit-limit")
        remaining, reset = as_seconds(headers.get("ratelimit-remaining")), window_ends_in(headers)
        if limit is None and remaining is None:
            return None
        self._known_at = None
        tightest, windows = _read(limit or "")
        if windows and limit != self._told:
            self._told = limit or ""
            self._open(windows, now)
        if remaining is None or reset is None:
            return remaining
        account = self._account_of(tightest, reset, now)
        if account is not None:
            account.remaining = min(account.limit, max(0.0, remaining - in_flight))
            account.resets_at = now + reset
        return remaining

    def spend(self, now: float) -> None:
        """Take note of a request."""
        self._known_at = None
        for account in self._accounts.values():
            if now >= account.resets_at:
                account.roll(now)
            account.remaining -= 1

    def rate(self, now: float) -> float:
        """Give the requests a second that what is left allows; infinity where nothing is known."""
        if now != self._known_at:
            slowest = self.ceiling
            for account in self._accounts.values():
                pace = account.pace(now)
                slowest = min(slowest, pace)
            self._rate, self._known_at = slowest, now
        return self._rate

    def left(self, now: float) -> tuple[WindowLeft, ...]:
        """Give what is left of each window; changes nothing, so any thread may ask."""
        return tuple(account.left(now) for account in tuple(self._accounts.values()))

    def rate_at(self, now: float) -> float:
        """Give what `rate` would; changes nothing, so any thread may ask."""
        return min([self.ceiling, *(copy(account).pace(now) for account in tuple(self._accounts.values()))])

    def changes_at(self, now: float) -> float:
        """Tell when a window ends next, and with it what `rate` says."""
        return min((account.resets_at for account in self._accounts.values() if account.resets_at > now), default=inf)

    def _open(self, windows: tuple[Window, ...], now: float) -> None:
        """Keep account of *windows*, shortest first; of those that were known before, what is known of them stays."""
        self._known_at = None
        self._accounts = {
            window: self._accounts.get(window)
            or _Account(window.limit, window.seconds, window.limit, now + window.seconds)
            for window in sorted(windows, key=lambda window: window.seconds)
        }
        self.ceiling = min((_USABLE * w.limit / w.seconds for w in windows if w.seconds <= _SHORT), default=inf)

    def _account_of(self, limit: float | None, reset: float, now: float) -> _Account | None:
        """Find the window that the figures are about: the shortest of that limit in which the reset can lie."""
        for account in self._accounts.values():
            if account.limit == limit and reset <= account.seconds + _ROUNDED_UP:
                return account
        others = self._told or any(w.limit != limit for w in self._accounts)
        if others or limit is None or not 0 < reset <= LONGEST_WINDOW:
            return None  # a figure that goes with none of the windows that were named
        alone = Window(int(limit), reset)
        self._open((alone,), now)
        return self._accounts[alone]


@lru_cache(maxsize=16)
def _read(header: str) -> tuple[float | None, tuple[Window, ...]]:
    """Read `2250000, 50000;w=60, 2250000;w=3600`: the limit of the window nearest to its end, and all windows.

    What cannot be read is left out: a nonsense header must not cost a job. The same header comes with every answer.
    """
    tightest: float | None = None
    windows = []
    for item in header.split(",", _WINDOWS + 1)[: _WINDOWS + 1]:
        number, *parameters = (part.strip() for part in item.split(";"))
        limit = as_seconds(number)
        if limit is None or limit < 1:
            continue
        tightest = limit if tightest is None else tightest
        named = dict(parameter.partition("=")[::2] for parameter in parameters)
        seconds = as_seconds(named.get("w"))
        if seconds is not None and _SHORTEST <= seconds <= LONGEST_WINDOW:
            windows.append(Window(int(limit), seconds))
    return tightest, tuple(dict.fromkeys(windows))
