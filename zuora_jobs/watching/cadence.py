"""How soon to look at one job again: as the schedule finds best, or a pure function of how often it has been looked at.

A cadence is for a job that makes progress; it has no jitter unless asked for, since jitter only makes it notice later
(what spreads the looks is the budget). After an error `transport/retry.py` decides.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import field, frozen

from zuora_jobs.checks import number
from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from random import Random


SHORTEST, LONGEST = 0.001, 86_400.0
"""Seconds between two looks; what a generator gives is brought within these."""

_LONGEST_WAIT: Final = 31_536_000.0

_BLANKS: Final = 10
"""How many Nones a generator may give before a delay; backoff's give one."""


MIN_INTERVAL: Final = 0.5
"""Seconds. Where the tenant's rate is plenty (50,000 requests a minute in production), a few jobs may well be noticed within
a quarter of a second; of many, each has to wait longer for its turn anyhow."""

MIN_INTERVAL_WITH_QUOTA: Final = 5.0
"""Seconds, where requests are counted by the day: an API Sandbox has 10,000, one each 8.6 s, and what is not spent on the
first minutes of a job is there for the last ones. Source: https://developer.zuora.com/docs/guides/rate-limits"""

MAX_INTERVAL: Final = 3600.0
"""Seconds. No end is worth less than a request an hour; and 1,000 jobs cost 0.3 of a request a second by that."""


class _Delays:
    """The values of a generator, kept, so that any number of jobs can share them."""

    def __init__(self, source: Iterator[float | None]) -> None:
        self._source = source
        self._known: list[float] = []

    def __call__(self, looks: int) -> float:
        while len(self._known) < looks and self._draw():
            pass
        return self._known[min(looks, len(self._known)) - 1]

    def _draw(self) -> bool:
        value = next((value for value in islice(self._source, _BLANKS) if value is not None), None)
        if value is None:
            if not self._known:
                message = "the wait generator gives no delay at all"
                raise ConfigurationError(message)
            return False
        if isinstance(value, int) and value > LONGEST:
            value = LONGEST  # before it outgrows a float
        self._known.append(max(SHORTEST, number("a delay from the wait generator", value, least=0)))
        return True


@frozen
class Pace:
    """Within what bounds the schedule is free to look at a job when it thinks best."""

    min_interval: float = MIN_INTERVAL
    """Seconds between two looks at least."""
    max_interval: float = MAX_INTERVAL
    """Seconds between two looks at most, as far as the budget allows."""
    lateness: float | None = None
    """Seconds after its end that a job may be noticed, on average; None: as soon as the budget allows."""


@frozen
class Cadence:
    """How soon to look at one job again.

    Build one with `adaptive`, which is the default, or with `constant`, `exponential` or `from_wait_gen`.
    """

    _delay: Callable[[int], float] = field(repr=False)
    description: str
    jitter: float = 0.0
    """Each delay is stretched or shortened by up to this share of it."""
    pace: Pace | None = field(default=None, repr=False)
    """For a cadence that leaves the moment to the schedule; the others have none."""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.jitter, int | float) or not 0 <= self.jitter < 1:
            message = f"jitter is a share from 0 up to 1, not {self.jitter!r:.60}"
            raise ConfigurationError(message)

    def delay(self, looks: int, rng: Random) -> float:
        """Give the seconds to the next look, after so many *looks* (1 or more)."""
        seconds = self._delay(looks)
        return seconds * rng.uniform(1 - self.jitter, 1 + self.jitter) if self.jitter else seconds

    @classmethod
    def adaptive(
        cls,
        *,
        min_interval: float = MIN_INTERVAL,
        max_interval: float = MAX_INTERVAL,
        lateness: float | None = None,
    ) -> Self:
        """Look where looks are worth most: the watcher's schedule learns how long jobs take, and whose turn it is.

        Args:
            min_interval: seconds between two looks at least, however idle the budget is.
            max_interval: seconds between two looks at most; where the budget has no room for that, what it has.
            lateness: seconds after its end that a job may be noticed on average: then requests that would notice it
                sooner are not made. None: as soon as the budget allows, since quota that nobody uses is lost.

        Raises:
            ConfigurationError: one of them is no such number, or the shortest interval is longer than the longest.
        """
        least = number("min_interval", min_interval, least=SHORTEST)
        most = number("max_interval", max_interval, least=least)
        late = None if lateness is None else number("lateness", lateness, least=SHORTEST)
        if max(most, late or 0.0) > _LONGEST_WAIT:
            message = f"max_interval and lateness are at most {_LONGEST_WAIT:.0f} seconds, which are a year"
            raise ConfigurationError(message)
        told = f"from {least:g} s to {most:g} s" + (f", about {late:g} s late" if late else "")
        return cls(lambda _: least, f"adaptive, {told}", pace=Pace(least, most, late))

    @classmethod
    def constant(cls, seconds: float, *, jitter: float = 0.0) -> Self:
        """Look every so many *seconds*."""
        number("the interval", seconds, least=SHORTEST)
        return cls(lambda _: float(seconds), f"every {seconds:g} s", jitter)

    @classmethod
    def exponential(
        cls, initial: float = 1.0, *, factor: float = 1.1, maximum: float = 15.0, jitter: float = 0.0
    ) -> Self:
        """Look after *initial* seconds, then each time *factor* later, up to *maximum* seconds.

        Notices a job of d seconds at most about 0.1 d late, and none more than 15 seconds.
        """
        number("initial", initial, least=SHORTEST)
        number("maximum", maximum, least=initial)
        number("factor", factor, least=1)

        def delay(looks: int) -> float:
            try:
                return min(maximum, initial * float(factor) ** (looks - 1))
            except OverflowError:
                return maximum

        return cls(delay, f"{initial:g} s, x{factor:g} up to {maximum:g} s", jitter)

    @classmethod
    def from_wait_gen(
        cls, wait_gen: Callable[..., Generator[float | None, Any, None]], *, jitter: float = 0.0, **parameters: Any
    ) -> Self:
        """Look as one of backoff's wait generators says: `Cadence.from_wait_gen(backoff.expo, base=2, max_value=60)`.

        The generator is drawn from once for all jobs. Where it ends, its last value goes on. `backoff.runtime` is no
        cadence, since it needs an answer to read a delay from.

        Raises:
            ConfigurationError: the generator takes no such parameters, or gives something that is no delay.
        """
        if getattr(wait_gen, "__name__", "") == "runtime" and getattr(wait_gen, "__module__", "").startswith("backoff"):
            message = "backoff.runtime cannot be a cadence: it reads a delay from an answer, and is for retries"
            raise ConfigurationError(message)
        try:
            delays = _Delays(iter(wait_gen(**parameters)))
            delays(1)
        except ConfigurationError:
            raise
        except Exception as error:
            name = getattr(wait_gen, "__name__", wait_gen)
            message = f"{name} cannot be a cadence with {parameters!r}: {error}"
            raise ConfigurationError(message) from error
        return cls(delays, f"{getattr(wait_gen, '__name__', 'wait_gen')}({parameters})", jitter)
