"""Whose turn comes next, where jobs are worked in the order in which they were handed in: pure, and learned.

Jobs that have not begun stand in a line for each kind, in the order in which they were taken in, and are told apart by how
far they are from its head: 1, 2, 4, 8 … places. For each of these stretches the rate at which jobs begin is learned. Where
the tenant works in order, it is high at the head and nothing behind; where it does not, all stretches turn out alike, and
the line means nothing. Before anything is known, order is likelier; a few jobs that begin out of turn put an end to that.
"""

from __future__ import annotations

from math import cbrt, exp, log, sqrt
from typing import TYPE_CHECKING, Final, Generic

from zuora_jobs.watching.rank import E
from zuora_jobs.watching.stays import DOUBT, SCALE_FREE, strength

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zuora_jobs.watching.stays import Stays

STRETCHES: Final = 14
"""The last one has all that are farther from the head than 8,191 places."""

IN_LINE_NO_MORE: Final = -1

_PRIOR: Final = tuple(0.3**stretch for stretch in range(STRETCHES))
"""How the rates of beginning fall from stretch to stretch where jobs are worked in order, before it is known better."""

_IN_ORDER: Final = 0.9
"""How likely that is, before anything is known."""

_AT_ONCE: Final = 0.9
"""Share of looks at jobs in line which find that they have begun, above which there is no line."""

_LOOKS_BACK: Final = 16
"""How many of the last looks make that share, or so."""

_QUIET: Final = 1 / 16
"""How much a look that finds nothing new adds to the reasons to work out the rates anew; one is needed."""

_USED_TO: Final = 16.0
"""Beginnings after which another is half as new."""

_WINDOW: Final = 4096
"""Places at the head from which those who have left are cleared away, so that distances stay true there."""

_GAPS: Final = 32
"""Of those who have left, that are not worth clearing away."""


class Line(Generic[E]):
    """The jobs of one kind that have not begun."""

    def __init__(self) -> None:
        self.then: Stays | None = None
        """What is known of jobs of this kind that have begun."""
        self.moved = float("-inf")
        """When one of them was last seen to begin."""
        self._places: list[E] = []
        self._head = 0
        self._waiting = 0
        self._gaps = 0
        """Left by those who have gone since places were last closed up."""
        self._opened = 0.0
        self._at_once = 0.0
        self._news = 0.0
        self._begun = 0
        self._rates = list(_PRIOR)
        self._began = [0.0] * STRETCHES
        self._exposure = [0.0] * STRETCHES
        self._turns_begun = [0.0] * STRETCHES
        self._turns_waited = [0.0] * STRETCHES
        """The same, with the first looks: these tell of the order, though not when a job began."""

    def __len__(self) -> int:
        return self._waiting

    # --- who stands where

    def join(self, entry: E, now: float) -> None:
        """Take *entry* in at the end."""
        if not self._places:
            self._opened = now
        entry.stretch = _stretch(len(self._places) - self._head)
        self._places.append(entry)
        self._waiting += 1

    def leave(self, entry: E) -> Iterable[E]:
        """Let *entry* go; gives those who have come nearer to the head, into another stretch, by that."""
        entry.stretch = IN_LINE_NO_MORE
        self._waiting -= 1
        self._gaps += 1
        places, before = self._places, self._head
        while self._head < len(places) and places[self._head].stretch == IN_LINE_NO_MORE:
            self._head += 1
        if self._gaps > _GAPS + min(self._waiting, _WINDOW) // 8:
            self._gaps = 0
            return self._close_up()
        if self._head == before or self.begin_at_once:  # then no place is better than another
            return ()
        return self._step_up(before)

    def _step_up(self, before: int) -> list[E]:
        """Give those who pass from one stretch into the next since the head was at *before*."""
        places, nearer = self._places, []
        for stretch in range(STRETCHES - 1):
            reach = 2 ** (stretch + 1) - 1
            if before + reach >= len(places):
                break
            for place in range(before + reach, min(self._head + reach, len(places))):
                entry = places[place]
                if entry.stretch > stretch:
                    entry.stretch = stretch
                    nearer.append(entry)
        return nearer

    def _close_up(self) -> list[E]:
        """Clear away those who have left, near the head, and everywhere where they are many."""
        is_dense = self._waiting > len(self._places) // 2
        reach = self._head + _WINDOW if is_dense else len(self._places)
        near = [entry for entry in self._places[self._head : reach] if entry.stretch != IN_LINE_NO_MORE]
        self._places[:reach] = near
        self._head = 0
        nearer = []
        for place, entry in enumerate(near):
            if (stretch := _stretch(place)) < entry.stretch:
                entry.stretch = stretch
                nearer.append(entry)
        return nearer

    # --- what is learned

    def still(self, entry: E, seconds: float) -> None:
        """A job has been in its stretch for so long, and has not begun."""
        stretch = entry.stretch
        if self._tells_of_order(entry):
            self._turns_waited[stretch] += seconds
        if entry.cell is not None:
            self._exposure[stretch] += seconds
        self._at_once -= self._at_once / _LOOKS_BACK
        self._news += _QUIET

    def began(self, entry: E, seconds: float, now: float, *, has_ended: bool) -> None:
        """A job has begun, and perhaps ended, some time in the last *seconds*."""
        stretch = entry.stretch
        self.moved = now
        if self._tells_of_order(entry):
            self._turns_waited[stretch] += seconds / 2
            self._turns_begun[stretch] += 1
        if entry.cell is not None:  # else it may have begun before the watch
            self._began[stretch] += 1
            self._exposure[stretch] += seconds / 2
        if not has_ended:
            self._at_once += (1 - self._at_once) / _LOOKS_BACK
        self._begun += 1
        self._news += 1 / (1 + self._begun / _USED_TO)

    def _tells_of_order(self, entry: E) -> bool:
        """Tell whether it is known where the line begins: if not, jobs far behind may have begun in their turn."""
        return entry.cell is not None or self._places[self._head].cell is not None

    @property
    def begin_at_once(self) -> bool:
        """Whether jobs of this kind begin at once, and nobody stands in line."""
        return self._at_once > _AT_ONCE and self.then is not None

    @property
    def has_news(self) -> bool:
        """Whether enough has been learned for the rates to be worked out anew."""
        return self._news >= 1

    def renew(self, now: float) -> None:
        """Work out the rates at which jobs begin, as of *now*."""
        self._rates, self._news = self._estimate(now - self._opened), 0.0

    def weight(self, stretch: int, price: float, longest: float) -> float:
        """Give the weight of a job in a *stretch*, where looks are worth their *price*."""
        return sqrt(2 * price) / min(longest, self.interval(stretch, price))

    def interval(self, stretch: int, price: float) -> float:
        """Give the seconds until another look at a job in a *stretch* is worth its *price*.

        As in `Stays.interval`; but before it ends a job has to begin, and to be worked, at a rate w, after beginning at a
        rate b: the density of its end rises as b w s at first, and a look is worth b s^2 / 2 * w s / (w s + 1.5), about.
        Where no job has been seen at work, it ends as it begins, as far as anybody can tell.
        """
        if self.then is None:
            return sqrt(2 * price / self._rates[stretch])
        working = self.then.mean_rate()
        if self.begin_at_once:
            return sqrt(2 * price / working)
        square, half = 2 * price / self._rates[stretch], 1.5 / working
        interval = cbrt(square * half)
        for _ in range(2):
            interval = sqrt(square * (1 + half / interval))
        return interval

    def _estimate(self, age: float) -> list[float]:
        pooled = (DOUBT + sum(self._began)) / (DOUBT * max(1.0, age) / SCALE_FREE + sum(self._exposure))
        in_order, level = self._in_order(), _level(self._exposure)
        means = [pooled * (in_order * prior / level + 1 - in_order) for prior in _PRIOR]
        expected = [mean * exposure for mean, exposure in zip(means, self._exposure, strict=True)]
        alike = strength(expected, self._began)
        return [
            (events + alike) / (seconds + alike / mean)
            for events, seconds, mean in zip(self._began, self._exposure, means, strict=True)
        ]

    def _in_order(self) -> float:
        """Tell how likely it is that jobs are worked in order: that they begin where the prior says, and not anywhere."""
        level = _level(self._turns_waited)
        evidence = sum(e * log(prior / level) for e, prior in zip(self._turns_begun, _PRIOR, strict=True))
        return 1 / (1 + (1 / _IN_ORDER - 1) * exp(-max(-30.0, min(30.0, evidence))))


def _level(exposure: list[float]) -> float:
    """Give the mean of the prior over the time that was spent in each stretch."""
    total = sum(exposure)
    return sum(p * x for p, x in zip(_PRIOR, exposure, strict=True)) / total if total else 1.0


def _stretch(place: int) -> int:
    return min(STRETCHES - 1, (place + 1).bit_length() - 1)
