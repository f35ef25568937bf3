"""How much a tenant bears that does not say so: additive increase, multiplicative decrease. Pure, and told the time.

As long as requests go as fast as they may and none is refused, the rate grows by 1.5 % each second; far below where
it was last refused, by a fifth of what is missing. A refusal cuts it by a tenth, once for all that were under way. The
same goes for requests at once. Several clients on one tenant come to like shares by this alone (Chiu and Jain, 1989).

Source: https://developer.zuora.com/docs/guides/rate-limits (429 for a rate and for requests at once;
Concurrency-Limit-Limit and -Remaining, brought up to date about once a second).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from attrs import define, field

from zuora_jobs.protocol.messages import as_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

CUT: Final = 0.9
GROWTH: Final = 0.015
"""Share of the opening rate, or of the last that was refused, by which the rate grows in a second."""

CATCHES_UP: Final = 0.2
"""Share of what is missing to nearly the rate last refused, by which the rate grows in a second."""
NEARLY: Final = 0.95

FORGETS: Final = 1.5
"""Times the rate last refused at which it is forgotten: it said more about a moment than about the tenant."""

SLOWEST: Final = 0.025
"""Share of the opening rate below which no refusal cuts it."""

AT_ONCE_SHARE: Final = 0.75
"""Share of the tenant's requests at once that one client uses."""
RESERVE: Final = 0.1
"""Share of the tenant's requests at once that is left to others as long as they use theirs."""

_GROWTH_AT_ONCE: Final = 0.05
"""Requests at once by which their number grows in a round trip, once some were refused; one for each answer before."""
_FIRST_AT_ONCE: Final = 4

TRIES_AGAIN: Final = 30.0
"""Times the wait that a refusal cost, until as many at once are tried again as were refused."""
_DEAR: Final = 30.0
_DEARLY: Final = 0.5
"""What is left of the requests at once after a refusal that cost so many seconds."""

_FRESH: Final = 1.0
"""Seconds after which Zuora's figures of requests at once are new."""


@define
class _Meter:
    """How many requests a second really went, in the last whole second and in this one."""

    _second: float = -inf
    _count: int = 0
    _before: int = 0

    def add(self, now: float) -> None:
        if now >= self._second + 1:
            self._before = self._count if now < self._second + 2 else 0
            self._second, self._count = now, 0
        self._count += 1

    def rate(self, now: float) -> float:
        begun = min(1.0, max(0.1, now - self._second))
        return max(self._count / begun, self._before, 1)


@define
class Congestion:
    """Finds out how many requests a second, and at once, go without being refused.

    Args:
        opening: requests a second to begin with.
        ceiling: requests a second at most.
        most_at_once: requests at once at most.
        gently: begin with a few at once.
    """

    opening: float
    ceiling: float
    most_at_once: int
    gently: bool = False
    rate: float = field(init=False)
    at_once: float = field(init=False)
    refused_in_a_row: int = 0
    """Refusals, those of one moment counted once, with nothing let through in between."""
    _knee: float = inf
    """The rate that was refused last."""
    _cut_at: float = -inf
    _refused_at_once: bool = False
    _at_once_knee: float = inf
    """One fewer at once than were refused last."""
    _tries_again_at: float = -inf
    _at_once_cut_at: float = -inf
    _crowded_at: float = -inf
    """When the tenant's own figures last showed a crowd."""
    _meter: _Meter = field(factory=_Meter)

    def __attrs_post_init__(self) -> None:
        self.rate = self.opening = min(self.opening, self.ceiling)
        self.at_once = min(self.most_at_once, _FIRST_AT_ONCE) if self.gently else self.most_at_once

    def sent(self, now: float, *, at_full_rate: bool) -> None:
        """Take note of a request; one that had to wait for its turn shows that a higher rate would be used."""
        self._meter.add(now)
        if at_full_rate and self.rate < self.ceiling:
            growth = GROWTH * min(self.opening, self._knee)
            if self._knee < inf:
                growth = max(growth, CATCHES_UP * (NEARLY * self._knee - self.rate))
            self.rate = min(self.ceiling, self.rate + growth / self.rate)
            if self.rate > FORGETS * self._knee:
                self._knee = inf

    def passed(self, now: float, *, all_at_once: bool) -> None:
        """Take note that a request was not refused; with *all_at_once*, as many as may be were under way."""
        self.refused_in_a_row = 0
        most = self.most_at_once if now >= self._tries_again_at else min(self.most_at_once, self._at_once_knee)
        if all_at_once and self.at_once < most:
            growth = 1.0 if not self._refused_at_once else _GROWTH_AT_ONCE / self.at_once
            self.at_once = min(most, self.at_once + growth)

    def too_fast(self, sent_at: float, now: float, allowed: float = inf) -> bool:
        """Send fewer a second.

        Args:
            sent_at: when the request was sent that shows it; one sent before the last cut tells nothing new.
            now: when its answer came.
            allowed: requests a second that the tenant allows, where it says so.

        Returns:
            Whether that was new.
        """
        if sent_at <= self._cut_at:
            return False
        self._cut_at = now
        sending = min(self.rate, self._meter.rate(now))
        self._knee = min(sending, allowed)
        self.rate = max(SLOWEST * self.opening, allowed if allowed < sending else CUT * sending)
        return True

    def too_many(self, sent_at: float, now: float, in_flight: int, wait: float = 0.0) -> bool:
        """Have fewer under way, of which there were *in_flight*; the more a refusal costs, the fewer, and for longer.

        Args:
            sent_at: as for `too_fast`.
            now: as for `too_fast`.
            in_flight: how many there were.
            wait: seconds that the server asks to wait now.

        Returns:
            Whether that was new.
        """
        if sent_at <= self._at_once_cut_at:
            return False
        self._at_once_cut_at = now
        were = min(self.at_once, in_flight)
        self.at_once = max(1.0, (_DEARLY if wait >= _DEAR else CUT) * were)
        if wait:  # one that costs nothing is no reason to be careful
            self._at_once_knee = max(1.0, were - 1)
            self._tries_again_at = now + TRIES_AGAIN * wait
            self.at_once = min(self.at_once, self._at_once_knee)
        self._refused_at_once = True
        return True

    def ease(self) -> None:
        """Begin gently again after an outage: many others do so in the same moment."""
        self._knee = min(self._knee, self.rate)
        self.rate = max(self.rate / 2, SLOWEST * self.opening)

    def note(self, headers: Mapping[str, str], now: float) -> None:
        """Learn from the figures of requests at once that an answer bears."""
        limit = as_seconds(headers.get("concurrency-limit-limit"))
        if limit is None or limit < 1:
            return
        allowed = max(1.0, AT_ONCE_SHARE * limit // 1)
        self.at_once = min(self.at_once, allowed)
        remaining = as_seconds(headers.get("concurrency-limit-remaining"))
        if remaining is None or remaining >= RESERVE * limit:
            return
        if now >= max(self._at_once_cut_at, self._crowded_at) + _FRESH:
            self._crowded_at = now
            self._refused_at_once = True
            self.at_once = max(1.0, CUT * self.at_once)
