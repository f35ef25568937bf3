"""Whether anybody is there at all: a circuit breaker that all who use a client share. Pure, and told the time.

Closed, it counts failures in a row. When there have been too many, it opens: from then on one request at a time goes to
see, ever more seldom, and all others wait; the first answer closes it. So an outage costs a request every few seconds,
however many jobs are watched, and its end is noticed as soon.
A failure counts only if its request was sent after the last answer came: one that hung since before says nothing new.
"""

from __future__ import annotations

from math import inf
from typing import Final

from attrs import define

OPENS_AFTER: Final = 8
"""Failures in a row. With a fifth of all answers failing by chance, that many in a row are three in a million."""

FIRST_PROBE: Final = 0.5
LONGEST_PAUSE: Final = 5.0
"""Seconds between two probes: half a second, then twice as long each time, up to these."""


@define
class Breaker:
    """Closed while anybody answers."""

    failures: int = 0
    """In a row."""
    probe_at: float = -inf
    """Open: when the next request may go and see."""
    _pause: float = FIRST_PROBE
    _opened_at: float = -inf
    _answered_at: float = -inf

    @property
    def is_open(self) -> bool:
        """Whether requests wait for one that goes to see."""
        return self.failures >= OPENS_AFTER

    def failed(self, sent_at: float, now: float) -> None:
        """Take note that a request, sent then, was answered by nobody."""
        if sent_at <= self._answered_at:
            return
        was_open = self.is_open
        self.failures += 1
        if self.is_open and not was_open:
            self._opened_at = now
            self._pause = FIRST_PROBE
            self.probe_at = now + FIRST_PROBE

    def probing(self, now: float) -> None:
        """Take note that a request goes to see; the next one waits for longer."""
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self.probe_at = now + self._pause

    def answered(self, now: float) -> float:
        """Take note that somebody answered; give the seconds of the outage that this ends, 0 where there was none."""
        lasted = now - self._opened_at if self.is_open else 0.0
        self.failures = 0
        self._answered_at = now
        return lasted
