"""What happens to a job, as a script: one status after another.

- A step lasts some seconds from when it began, or some showings (GETs), or, being the last, for ever.
- A life is pure: it is told the time, it never reads it. A step that ends and the one that follows share one moment.
- Any text is a status here. That is on purpose: Zuora adds statuses, and a client must be tested with nonsense too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

RESOLUTION = 1e-9
"""Two moments closer than this are one: sums of floats must not make a step a hair too long."""


@frozen
class Step:
    """One status of a job, and how long it is shown."""

    status: str
    seconds: float | None = None
    """How long it lasts, in seconds of loop time from when it began."""
    polls: int | None = None
    """How many GETs see it; the next step begins as the last of them is answered."""
    fields: Mapping[str, Any] = field(factory=dict, kw_only=True)
    """Laid over the document from this step on."""

    def __attrs_post_init__(self) -> None:
        if self.seconds is not None and self.polls is not None:
            msg = f"the step {self.status!r} lasts either seconds or polls, not both"
            raise ConfigurationError(msg)
        if self.seconds is not None and not 0 <= self.seconds < float("inf"):
            msg = f"the step {self.status!r} must last a number of seconds >= 0, not {self.seconds!r}"
            raise ConfigurationError(msg)
        if self.polls is not None and self.polls < 1:
            msg = f"the step {self.status!r} must be shown at least once, not {self.polls!r} times"
            raise ConfigurationError(msg)

    @property
    def ends(self) -> bool:
        """Whether it ends by itself."""
        return self.seconds is not None or self.polls is not None


class Life:
    """Where in its script a job is. The last step lasts for ever, whatever it says."""

    def __init__(self, steps: Sequence[Step], begins_at: float) -> None:
        if not steps:
            msg = "a life needs at least one step"
            raise ConfigurationError(msg)
        for step in steps[:-1]:
            if not step.ends:
                msg = f"the step {step.status!r} would last for ever, so it must be the last of its life"
                raise ConfigurationError(msg)
        self._script = list(steps)
        self._shown = 0
        self._lived = [(begins_at, self._script.pop(0))]

    @property
    def _began_at(self) -> float:
        return self._lived[-1][0]

    @property
    def _step(self) -> Step:
        return self._lived[-1][1]

    def at(self, now: float) -> Step:
        """The step that *now* falls in."""
        while self._script and self._step.seconds is not None:
            ends_at = round(self._began_at + self._step.seconds, 9)
            if now + RESOLUTION < ends_at:
                break
            self._turn(ends_at)
        return self._step

    def show(self, now: float) -> Step:
        """The step that *now* falls in, counted as seen once more."""
        step = self.at(now)
        self._shown += 1
        if self._script and step.polls is not None and self._shown >= step.polls:
            self._turn(now)
        return step

    def replace(self, steps: Sequence[Step], now: float) -> None:
        """Forget the rest of the script: *steps* begin *now*."""
        self.at(now)
        self._script = list(steps)
        self._turn(now)

    def end_otherwise(self, step: Step) -> None:
        """Have the present step been *step* all along: a job's end turns out to be another than its script said."""
        self._lived[-1] = (self._began_at, step)

    def lived(self, now: float) -> list[tuple[float, Step]]:
        """The steps so far with the moments they began at, oldest first."""
        self.at(now)
        return self._lived

    def foreseen(self, endings: Container[str]) -> float:
        """When time alone brings it to one of *endings*, or has brought it there; infinity if it does not."""
        moment = self._began_at
        for step in (self._step, *self._script):
            if step.status in endings:
                return moment
            if step.seconds is None:
                break
            moment = round(moment + step.seconds, 9)
        return math.inf

    def progress(self, now: float) -> float:
        """How much of the present step is over, from 0 to 1; 0 while it has no end."""
        step = self.at(now)
        if not self._script:
            return 0.0
        if step.polls is not None:
            return self._shown / step.polls
        return min((now - self._began_at) / step.seconds, 1.0) if step.seconds else 1.0

    def _turn(self, moment: float) -> None:
        self._lived.append((moment, self._script.pop(0)))
        self._shown = 0
