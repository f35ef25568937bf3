"""How soon to look at one job again: pure functions of how often it has been looked at.

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

_BLANKS: Final = 10
"""How many Nones a generator may give before a delay; backoff's give one."""


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
class Cadence:
    """How soon to look at one job again.

    Build one with `constant`, `exponential` or `from_wait_gen`.
    """

    _delay: Callable[[int], float] = field(repr=False)
    description: str
    jitter: float = 0.0
    """Each delay is stretched or shortened by up to this share of it."""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.jitter, int | float) or not 0 <= self.jitter < 1:
            message = f"jitter is a share from 0 up to 1, not {self.jitter!r:.60}"
            raise ConfigurationError(message)

    def delay(self, looks: int, rng: Random) -> float:
        """Give the seconds to the next look, after so many *looks* (1 or more)."""
        seconds = self._delay(looks)
        return seconds * rng.uniform(1 - self.jitter, 1 + self.jitter) if self.jitter else seconds

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

        The default notices a job of d seconds at most about 0.1 d late, and none more than 15 seconds.
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
