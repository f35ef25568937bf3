"""What submits become: the rules that `Emulator.on_submit` makes, and the record of what was submitted.

A rule for a number of submits comes before one for all; of those for a number the oldest comes first, of those for all
the newest counts. Without a rule a submit becomes a job that ends as it should, after a plausible time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from zuora_jobs.emulator.lives import Step
from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from zuora_jobs.emulator.families import Family


@frozen
class Submission:
    """One submit that was carried out: a job was made."""

    name: str
    """The kind of submit, as `on_submit` calls it."""
    at: float
    """When, as `loop.time()` tells it."""
    body: Any
    """The request's document; None if it had none."""
    key: str | None
    """The business object in the path, as the caller named it."""
    idempotency_key: str | None
    handle: str
    """The job, as `kind:id`."""


@frozen
class Rule:
    """What submits of one name become."""

    life: Sequence[Step] | None = None
    ends: str | None = None
    seconds: float | None = None
    polls: int | None = None
    at_once: bool = False
    fields: Mapping[str, Any] = field(factory=dict)
    times: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.life is not None and (self.ends, self.seconds, self.polls) != (None, None, None):
            msg = "a job's life is either given as `life` or made of `ends`, `seconds` and `polls`"
            raise ConfigurationError(msg)
        if self.seconds is not None and self.polls is not None:
            msg = "a life lasts either seconds or polls, not both"
            raise ConfigurationError(msg)
        if self.at_once and (self.life, self.seconds, self.polls) != (None, None, None):
            msg = "a job that has ended at once has no life, and lasts neither seconds nor polls"
            raise ConfigurationError(msg)
        if self.times is not None and self.times < 1:
            msg = f"a rule is for one submit at least, not {self.times!r}"
            raise ConfigurationError(msg)

    def life_of(self, family: Family, rng: random.Random) -> Sequence[Step]:
        """The life of a job of that family."""
        if self.life is not None:
            return self.life
        end = self.ends or family.success
        return [Step(end)] if self.at_once else family.life(rng, end, self.seconds, self.polls)


@define
class _Spent:
    rule: Rule
    left: int


class Scripts:
    """The rules for every name."""

    def __init__(self) -> None:
        self._counted: dict[str, list[_Spent]] = {}
        self._lasting: dict[str, Rule] = {}

    def add(self, name: str, rule: Rule) -> None:
        """Have the next submits of that name follow *rule*."""
        if rule.times is None:
            self._lasting[name] = rule
        else:
            self._counted.setdefault(name, []).append(_Spent(rule, rule.times))

    def next(self, name: str) -> Rule:
        """The rule for one more submit of that name."""
        counted = self._counted.get(name)
        if not counted:
            return self._lasting.get(name, Rule())
        counted[0].left -= 1
        return counted[0].rule if counted[0].left else counted.pop(0).rule
