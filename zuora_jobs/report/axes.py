"""Where the marks of an axis go: along time, along a length of time, along a count. Shares of the axis from 0 to 1."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from attrs import frozen

from zuora_jobs.report.words import duration

if TYPE_CHECKING:
    from zuora_jobs.report.moments import Span

_DAY: Final = 86400
STEPS: Final = (
    *(1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 21600, 43200),
    *(_DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY, 91 * _DAY, 364 * _DAY),
)
"""Seconds between two marks of time. The page's script has the same."""

MARKS: Final = 8
"""On one axis of time, at most."""
LENGTHS: Final = 5
"""Marks on one axis of lengths of time, at most."""
_NEAR_AN_EDGE: Final = 0.025
_WIDE: Final = 30
"""How many times longer than the shortest the longest must be for a logarithmic axis."""
_SHORTEST: Final = 1e-5
"""What a logarithmic axis shows at least, as a share of its end."""


@frozen
class Mark:
    """A mark of an axis, and what is written at it."""

    share: float
    label: str


def time_marks(span: Span) -> tuple[Mark, ...]:
    """Mark whole seconds, minutes, hours or days of UTC."""
    step = next((step for step in STEPS if span.seconds / step <= MARKS), math.ceil(span.seconds / MARKS / _DAY) * _DAY)
    first = math.ceil(span.began.timestamp() / step) * step
    moments = (datetime.fromtimestamp(at, UTC) for at in range(first, math.floor(span.ended.timestamp()) + 1, step))
    marks = (Mark(span.share(at), _clock(at, step)) for at in moments)
    return tuple(mark for mark in marks if _NEAR_AN_EDGE <= mark.share <= 1 - _NEAR_AN_EDGE)


def _clock(at: datetime, step: int) -> str:
    if at.timestamp() % _DAY == 0:
        return f"{at:%-d %b}"
    return f"{at:%H:%M:%S}" if step % 60 else f"{at:%H:%M}"


def count_marks(top: float) -> tuple[Mark, ...]:
    """Mark round numbers from 0 to *top*, which is not 0."""
    step = nice(top / 4)
    return tuple(
        Mark(number * step / top, f"{number * step:,.0f}") for number in range(math.floor(top / step + 1e-9) + 1)
    )


def nice(number: float) -> int:
    """Give the least of 1, 2, 5, 10, 20, 50… that is no less than *number*."""
    power: int = 10 ** max(math.floor(math.log10(number)), 0) if number > 1 else 1
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= number)


@frozen
class Scale:
    """An axis of lengths of time, from *low* to *high* seconds."""

    low: float
    high: float
    logarithmic: bool

    def share(self, seconds: float) -> float:
        """Tell where *seconds* lie: 0 at the beginning of the axis, 1 at its end, never outside."""
        if self.logarithmic:
            share = math.log(max(seconds, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (seconds - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def at(self, share: float) -> float:
        """Give the seconds that lie at *share*."""
        if self.logarithmic:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)


def scale_of(ordered: list[float]) -> Scale:
    """Choose the axis for lengths of time, the shortest first: logarithmic where they differ widely."""
    high = ordered[-1] if ordered else 0.0
    if high <= 0:
        return Scale(0.0, 1.0, logarithmic=False)
    low = max(next(seconds for seconds in ordered if seconds > 0), high * _SHORTEST)
    return Scale(low, high, logarithmic=True) if high / low >= _WIDE else Scale(0.0, high, logarithmic=False)


def length_marks(scale: Scale) -> tuple[Mark, ...]:
    """Mark lengths of time that are easily said."""
    if scale.logarithmic:
        round_ones = [step / 10 for step in (1, 2, 5)] + [float(step) for step in STEPS]
        within = [seconds for seconds in round_ones if scale.low <= seconds <= scale.high]
        stride = -(-len(within) // LENGTHS) or 1
        chosen = within[stride // 2 :: stride]
    else:
        step = next((step for step in (0.1, 0.2, 0.5, *STEPS) if scale.high / step <= LENGTHS), scale.high / 4)
        chosen = [number * step for number in range(1, math.floor(scale.high / step) + 1)]
    return tuple(Mark(scale.share(seconds), _short(seconds)) for seconds in chosen)


def _short(seconds: float) -> str:
    return duration(seconds).removesuffix(".0 s") + (" s" if duration(seconds).endswith(".0 s") else "")


def whole_minutes(span: Span) -> tuple[datetime, int]:
    """Give the minute in which *span* begins, and how many minutes it touches."""
    began = span.began.replace(second=0, microsecond=0)
    return began, math.floor((span.ended - began) / timedelta(minutes=1)) + 1
