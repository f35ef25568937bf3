"""How long jobs stay in a status, learned from looks at them: pure, and told the time.

Looks tell little: that a job was still there, or that it had left some time since the last one. What is counted is seconds
of exposure and moves away, in bins of age that grow by a quarter; a job that is still there counts as far as it has come
(censored), so those that take long are not forgotten. The rate of leaving in a bin is drawn to the status's mean rate as
far as the bins do not contradict it (gamma-Poisson, the strength by moments): durations without memory keep one rate,
peaked ones get theirs.

Source of the measure: optimal inspection has a density proportional to the square root of the rate of ending, R. E. Barlow,
L. C. Hunter, F. Proschan, "Optimum Checking Procedures", J. SIAM 11 (1963).
"""

from __future__ import annotations

from math import expm1, log, sqrt
from typing import Final

_GROWTH: Final = 1.25
_PER_LOG: Final = 1 / log(_GROWTH)
BINS: Final = 56
"""From 1 s to three days."""

_STARTS: Final = (0.0, *(_GROWTH**bin_ for bin_ in range(1, BINS)))
_ENDS: Final = (*_STARTS[1:], float("inf"))
_MIDDLES: Final = tuple(sqrt(max(0.5, start) * start * _GROWTH) or 0.5 for start in _STARTS)

SCALE_FREE: Final = 0.7
"""A job of unknown kind that is t seconds old leaves at this rate over t: as likely within as beyond some doubling."""

DOUBT: Final = 0.5
"""Moves away that this prior counts for."""

_ALIKE: Final = 2.0
"""How strongly the rates of a status are drawn together before anything speaks for or against it, in moves away."""

_RENEW: Final = 0.1
"""Share by which what is known must grow for the rates to be worked out anew."""

_LULL: Final = 2.0
"""Times the price of a look that waiting through a lull must cost for one before it. Durations of any scale cost 0.7."""

_LONGEST: Final = 1e8
"""Seconds: three years."""


def bin_of(age: float) -> int:
    """Give the number of the bin that an *age* in seconds falls in."""
    return min(BINS - 1, int(log(age) * _PER_LOG)) if age > 1 else 0


class Stays:
    """What is known of the stays of one kind in one status."""

    __slots__ = ("_events", "_exposure", "_known", "_rates", "events", "exposure", "longest")

    def __init__(self) -> None:
        self.events = 0.0
        """Moves away that were seen."""
        self.exposure = 0.0
        """Seconds that jobs were seen to stay."""
        self.longest = 0.0
        """Seconds of the longest stay that came to its end."""
        self._events = [0.0] * BINS
        self._exposure = [0.0] * BINS
        self._rates: list[float] = []
        self._known = -1.0

    def still(self, since: float, until: float) -> None:
        """A job was seen to stay from one age to another."""
        first, last = bin_of(since), bin_of(until)
        self.exposure += until - since
        if first == last:
            self._exposure[first] += until - since
            return
        for number in range(first, last + 1):
            self._exposure[number] += min(until, _ENDS[number]) - max(since, _STARTS[number])

    def left(self, since: float, until: float) -> None:
        """A job left at some age between two looks: likelier where jobs do leave."""
        rates = self.rates()
        first, last = bin_of(since), bin_of(until)
        shares = [
            rates[number] * max(1e-9, min(until, _ENDS[number]) - max(since, _STARTS[number]))
            for number in range(first, last + 1)
        ]
        total = sum(shares)
        for number, share in enumerate(shares, first):
            self._events[number] += share / total
        self.events += 1
        self.longest = max(self.longest, (since + until) / 2)
        self.still(since, (since + until) / 2)

    def lasted(self, seconds: float) -> None:
        """A stay is known to have lasted so long: from an earlier run."""
        seconds = min(max(0.0, seconds), _LONGEST)
        self.still(0.0, seconds)
        self._events[bin_of(seconds)] += 1
        self.events += 1
        self.longest = max(self.longest, seconds)

    def rates(self) -> list[float]:
        """Give the rate of leaving in each bin, a second."""
        known = self.events + self.exposure / 1e4
        if not self._rates or known > self._known * (1 + _RENEW) + 0.01:
            self._known = known
            self._rates = self._estimate()
        return self._rates

    def rate(self, age: float) -> float:
        """Give the rate of leaving at an *age*."""
        return self.rates()[bin_of(age)]

    def mean_rate(self) -> float:
        """Give the rate of leaving over all ages, a second."""
        return (DOUBT + self.events) / (DOUBT / SCALE_FREE + self.exposure)

    def price_of(self, lateness: float) -> float:
        """Give the price at which a job is noticed so many seconds late on average.

        At price p, the interval at a rate r is sqrt(2 p / r), and half of that is the delay.
        """
        staying, mean = 1.0, 0.0
        for rate, start, end in zip(self.rates(), _STARTS, _ENDS, strict=True):
            leaving = staying * -expm1(-rate * (end - start))
            mean += leaving / sqrt(rate)
            staying -= leaving
        return 2 * (lateness / mean) ** 2

    def interval(self, age: float, price: float, longest: float) -> float:
        """Give the seconds until another look is worth its *price*, at most *longest*.

        A look is worth the delay that it saves on average: a job that ended s seconds after the last look, with a density
        of rate(age + s), would else be noticed about s later. Price and worth are seconds. Where jobs end early or late and
        hardly between, the look that waits for the late ones is too late for the early: then it comes before the lull.
        """
        rates = self.rates()
        number = bin_of(age)
        passed = worth = gone = 0.0
        lulls: list[tuple[float, float]] = []
        while True:
            rate = rates[number]
            ends = _ENDS[number] - age
            needed = 2 * (price - worth) / rate + passed * passed
            if needed <= ends * ends or ends >= longest:
                interval = min(longest, sqrt(needed))
                lull, ended = max(lulls, key=lambda one: one[1] * (interval - one[0]), default=(interval, 0.0))
                return lull if ended * (interval - lull) > _LULL * price else interval
            worth += rate * (ends * ends - passed * passed) / 2
            gone += rate * (ends - passed)
            lulls.append((ends, -expm1(-gone)))
            passed = ends
            number += 1

    def _estimate(self) -> list[float]:
        means = [(DOUBT + self.events) / (DOUBT * middle / SCALE_FREE + self.exposure) for middle in _MIDDLES]
        expected = [mean * exposure for mean, exposure in zip(means, self._exposure, strict=True)]
        alike = strength(expected, self._events)
        rates = [
            (events + alike) / (exposure + alike / mean)
            for events, exposure, mean in zip(self._events, self._exposure, means, strict=True)
        ]
        return [
            (rates[max(0, number - 1)] + 2 * rate + rates[min(BINS - 1, number + 1)]) / 4
            for number, rate in enumerate(rates)
        ]


def strength(expected: list[float], seen: list[float]) -> float:
    """Tell how strongly rates are to be drawn to what was *expected*, in events, from how far what was *seen* is off it.

    The moments of a gamma-Poisson mixture, with a little of a prior: chance alone gives a large number, real differences
    a small one.
    """
    beyond_chance = sum((e - m) ** 2 - m for m, e in zip(expected, seen, strict=True))
    return min(50.0, (sum(m * m for m in expected) + 2 * _ALIKE) / (max(0.0, beyond_chance) + 2))
