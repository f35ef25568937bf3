"""What goes wrong in `chaos.py`: every storm as a value, with a name and a seeded way to begin it.

A storm is begun once the jobs are there, in virtual time nought. What happens later in it is set on the loop's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from zuora_jobs.emulator import Answer, Delay, Effect, Fault
from zuora_jobs.emulator.faults import NAMED

if TYPE_CHECKING:
    from zuora_jobs.emulator import Emulator

API: Final = "^/v1/"
TOKENS: Final = "^/oauth/token"
SHARE: Final = 0.2
"""Of all answers, in the storm of a single fault."""
MIXED_SHARE: Final = 0.3
"""Of all answers, in a mix, its faults taken together."""
MINUTE: Final = 60.0

Begin = Callable[["Emulator"], object]


@frozen
class Storm:
    """One kind of bad weather."""

    name: str
    begin: Begin = field(repr=False)
    strikes: str = ""
    """How much of what it strikes, in words."""
    is_single: bool = False
    """Whether it is one fault at `SHARE` of the answers, for which the goal on requests holds."""
    fewer: int = 1
    """Jobs are divided by this, since some faults cost much real time: the emulator sends what it says it sends."""
    over_at: float = 0.0
    """The moment after which nothing new begins."""
    options: Mapping[str, Any] = field(factory=dict)
    """Of the emulator."""

    @property
    def is_brief(self) -> bool:
        """Whether it can be ridden out in real time."""
        return not self.over_at


def _strike(zuora: Emulator, effects: Mapping[str, Effect], share: float, path: str = API) -> None:
    for effect in effects.values():
        zuora.fault(Fault(effect, probability=share, path=path))


def _later(*deeds: tuple[float, Begin]) -> Begin:
    """Do each deed at its moment."""

    def begin(zuora: Emulator) -> None:
        loop = asyncio.get_running_loop()
        for moment, deed in deeds:
            loop.call_later(moment, deed, zuora)

    return begin


def _all(*begins: Begin) -> Begin:
    def begin(zuora: Emulator) -> None:
        for one in begins:
            one(zuora)

    return begin


def _for_a_while(effect: Effect | str, seconds: float, path: str | None = None) -> Begin:
    return lambda zuora: zuora.fault(Fault(effect, lasts=seconds, path=path))


def _revoke(zuora: Emulator) -> None:
    zuora.revoke_tokens()


CALM: Final = Storm("(none)", lambda _: None)

HEAVY: Final[Mapping[str, int]] = {"oversized": 10, "bomb": 5, "trickle": 5, "lock contention": 5}
"""What takes much real time, and by how much the number of its jobs is divided."""


def _single(name: str) -> Storm:
    begin = partial(_strike, effects={name: NAMED[name]}, share=SHARE)
    return Storm(name, begin, "20 % of answers", is_single=True, fewer=HEAVY.get(name, 1))


SHORT_LIVED: Final[Mapping[str, Any]] = {"token_lifetime": 60.0}


def _on_tokens(name: str) -> Storm:
    """Strike token requests after the first: credentials that are refused at once are believed to be wrong."""
    fault = Fault(NAMED[name], probability=0.5, path=TOKENS, after=1)
    return Storm(
        f"token: {name}",
        lambda zuora: zuora.fault(fault),
        "50 % of token answers, tokens live 60 s",
        options=SHORT_LIVED,
    )


SINGLE: Final = tuple(map(_single, NAMED))

ON_TOKENS: Final = tuple(
    _on_tokens(name)
    for name in ("unavailable", "unauthorized", "throttled", "html", "dropped", "hang", "truncated", "wrong-type")
)

_OUTAGES: Final[Mapping[str, Effect]] = {
    "503": NAMED["unavailable"],
    "connections cut": NAMED["reset"],
    "a maintenance page": NAMED["html"],
    "429 that names no end": Answer(429, bare=True),
    "lock contention": NAMED["lock-contention"],
}


def _outage(name: str, effect: Effect) -> Storm:
    begin = _later((5, _for_a_while(effect, 15 * MINUTE)))
    return Storm(f"outage: {name}", begin, "everything, for 15 min", fewer=HEAVY.get(name, 1), over_at=5 + 15 * MINUTE)


SHAPED: Final = (
    *(_outage(name, effect) for name, effect in _OUTAGES.items()),
    Storm("tokens revoked", _later((3, _revoke), (20, _revoke), (60, _revoke)), "three times", over_at=60),
    Storm("tokens live 60 s", lambda _: None, "", options=SHORT_LIVED),
    Storm(
        "token endpoint down",
        _later((5, _for_a_while("unavailable", 5 * MINUTE, TOKENS))),
        "for 5 min, tokens live 60 s",
        over_at=5 + 5 * MINUTE,
        options=SHORT_LIVED,
    ),
    Storm(
        "token endpoint slow",
        partial(_strike, effects={"slow": Delay(20.0)}, share=1.0, path=TOKENS),
        "20 s each, tokens live 60 s",
        options=SHORT_LIVED,
    ),
    Storm("rate limit drops", _later((3, lambda zuora: zuora.limit_rate([(100, 1)]))), "to 100 a second"),
    Storm("rate limit drops hard", _later((3, lambda zuora: zuora.limit_rate([(120, 60)]))), "to 120 a minute"),
    Storm("concurrency limit drops", _later((3, lambda zuora: zuora.limit_concurrency(5))), "to 5 at once"),
)


def _mix(rng: Random, size: int, number: int) -> Storm:
    names = rng.sample(sorted(NAMED), size)
    begin = partial(_strike, effects={name: NAMED[name] for name in names}, share=MIXED_SHARE / size)
    few = size <= SHOWN
    called = ": " + ", ".join(names) if few else ""
    fewer = max(HEAVY.get(name, 1) for name in names) if few else 1
    return Storm(f"{size} at a time, no. {number}{called}", begin, "30 % of answers", fewer=fewer)


SHOWN: Final = 3
"""Names of a mix that are shown at most."""


def _everything() -> Storm:
    begin = _all(
        partial(_strike, effects=NAMED, share=MIXED_SHARE / len(NAMED)),
        _later(
            (2, partial(_strike, effects=NAMED, share=MIXED_SHARE / len(NAMED), path=TOKENS)),
            (3, _revoke),
            (15, lambda zuora: zuora.limit_rate([(200, 1)])),
            (30, _for_a_while("unavailable", 5 * MINUTE)),
            (40 + 5 * MINUTE, _revoke),
            (50 + 5 * MINUTE, lambda zuora: zuora.limit_concurrency(10)),
        ),
    )
    return Storm("everything", begin, "30 %, and an outage of 5 min", over_at=50 + 5 * MINUTE, options=SHORT_LIVED)


def storms(seed: int) -> list[Storm]:
    """Give every storm, the calm first; which faults are mixed is drawn by *seed*."""
    rng = Random(f"{seed}/mixes")
    mixes = [_mix(rng, size, number) for size in (3, 12) for number in (1, 2, 3)]
    return [CALM, *SINGLE, *ON_TOKENS, *SHAPED, *mixes, _everything()]
