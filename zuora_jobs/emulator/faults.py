"""Which requests are struck by trouble: the rules around an effect, and the count of what it did.

- A `Fault` is a frozen value: which effect strikes which requests, how often, how long. `Emulator.fault()` puts it in
  force and gives an `ActiveFault`: counted, and removable at any time.
- Whether a fault strikes is decided once per request, in order of arrival, so one seed gives one run.
- A fault without a path concerns every request: token requests and downloads too.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from attrs import field, frozen

from zuora_jobs.emulator.deliveries import (
    Bomb,
    CutAfter,
    Drop,
    EndlessHeaders,
    Flood,
    LoseReply,
    Reset,
    Trickle,
    Truncate,
)
from zuora_jobs.emulator.effects import Answer, Delay, Effect, Hang, Patch, Relabel, RetryAt, Retype
from zuora_jobs.emulator.limits import TOO_CROWDED
from zuora_jobs.emulator.replies import CODE_CONCURRENCY, JSON
from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

YEAR = 365 * 86_400
"""Seconds."""
DEPTH = 100_000
"""Of nested arrays: a hundred times what Python's recursion limit allows."""


def _refusing(code: int, message: str) -> Answer:
    return Answer(200, {"success": False, "reasons": [{"code": code, "message": message}]})


NAMED: Mapping[str, Effect] = {
    "unavailable": Answer(503),
    "server-error": Answer(500),
    "bad-gateway": Answer(502),
    "gateway-timeout": Answer(504),
    "unauthorized": Answer(401),
    "no-user-info": Answer(401, {"message": "Failed to get user info"}),
    "redirect": Answer(302, "", {"Location": "https://elsewhere.invalid/login"}),
    "throttled": Answer(429, headers={"Retry-After": "5"}),
    "throttled-bare": Answer(429, bare=True),
    "throttled-date": RetryAt(2.0),
    "throttled-absurd": Answer(429, headers={"Retry-After": str(YEAR)}),
    "throttled-garbled": Answer(429, headers={"Retry-After": "soon"}),
    "concurrency": Answer(
        429,
        {"reasons": [{"code": CODE_CONCURRENCY, "message": TOO_CROWDED}]},
        {
            "Concurrency-Limit-Type": "Default",
            "Concurrency-Limit-Limit": "40",
            "Concurrency-Limit-Remaining": "0",
            "Retry-After": "120",
        },
    ),
    "lock-contention": _refusing(50000050, "Lock contention"),
    "internal-code": _refusing(50000060, "Internal error"),
    "temporary-code": _refusing(50000061, "Temporary error"),
    "external-code": _refusing(50000099, "Error in an external system"),
    "truncated": Truncate(),
    "cut-after": CutAfter(),
    "dropped": Drop(),
    "lose-reply": LoseReply(),
    "reset": Reset(),
    "trickle": Trickle(),
    "endless-headers": EndlessHeaders(),
    "oversized": Flood(),
    "bomb": Bomb(),
    "not-gzip": Relabel({"Content-Encoding": "gzip"}),
    "slow": Delay(5.0),
    "hang": Hang(),
    "invalid-json": Answer(200, b'{"id": "2c92', content_type=JSON),
    "invalid-utf8": Patch(raw=b'"note": "\xff\xfe"'),
    "duplicate-keys": Patch(remove=("status",), raw=b'"status": "Processing", "status": "Completed"'),
    "nan": Patch(raw=b'"size": NaN'),
    "deep": Patch(raw=b'"nested": ' + b"[" * DEPTH + b"]" * DEPTH),
    "html": Answer(200, "<html><body>Scheduled maintenance</body></html>"),
    "empty": Answer(200, b"", content_type=JSON),
    "wrong-type": Retype(),
    "no-status": Patch(remove=("status",)),
}
"""The usual troubles by name: `Fault("unavailable", times=2)`."""

EFFECTS: Mapping[str, Callable[..., Effect]] = {
    "answer": Answer,
    "retry-at": RetryAt,
    "delay": Delay,
    "hang": Hang,
    "patch": Patch,
    "retype": Retype,
    "relabel": Relabel,
    "truncate": Truncate,
    "cut-after": CutAfter,
    "drop": Drop,
    "lose-reply": LoseReply,
    "reset": Reset,
    "trickle": Trickle,
    "endless-headers": EndlessHeaders,
    "flood": Flood,
    "bomb": Bomb,
}
"""The effects by the names that scenario files use."""


def _as_effect(effect: Effect | str) -> Effect:
    if not isinstance(effect, str):
        return effect
    if effect not in NAMED:
        msg = f"there is no fault named {effect!r}; there are {', '.join(NAMED)}"
        raise ConfigurationError(msg)
    return NAMED[effect]


def _as_pattern(path: str | re.Pattern[str] | None) -> re.Pattern[str] | None:
    try:
        return None if path is None else re.compile(path)
    except re.error as error:
        msg = f"the path {path!r} is not a regular expression: {error}"
        raise ConfigurationError(msg) from error


@frozen
class Fault:
    """Which effect strikes which requests."""

    effect: Effect = field(converter=_as_effect)
    times: int | None = field(default=None, kw_only=True)
    """Strike so often, then never again; None: no end."""
    probability: float = field(default=1.0, kw_only=True)
    path: re.Pattern[str] | None = field(default=None, kw_only=True, converter=_as_pattern)
    """A regular expression searched for in the request's path; None: any path."""
    method: str | None = field(default=None, kw_only=True)
    after: int = field(default=0, kw_only=True)
    """Let so many matching requests pass first."""
    lasts: float | None = field(default=None, kw_only=True)
    """Seconds in force; None: no end."""

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            msg = f"a fault's probability is between 0 and 1, not {self.probability!r}"
            raise ConfigurationError(msg)


class ActiveFault:
    """A fault in force."""

    def __init__(self, fault: Fault, now: float) -> None:
        self.fault = fault
        self.seen = 0
        """Requests that matched so far."""
        self.struck = 0
        """Requests that it struck so far."""
        self._removed = False
        self._ends_at = math.inf if fault.lasts is None else now + fault.lasts

    def __repr__(self) -> str:
        return f"<{self.fault.effect!r}: struck {self.struck} of {self.seen}{', removed' if self._removed else ''}>"

    def remove(self) -> None:
        """Take it out of force."""
        self._removed = True

    def over(self, now: float) -> bool:
        """Whether it will never strike again."""
        spent = self.fault.times is not None and self.struck >= self.fault.times
        return self._removed or spent or now >= self._ends_at

    def strikes(self, method: str, path: str, now: float, rng: random.Random) -> bool:
        """Decide about one request that arrives now, and count it."""
        fault = self.fault
        if self.over(now) or (fault.method is not None and fault.method.upper() != method):
            return False
        if fault.path is not None and not fault.path.search(path):
            return False
        self.seen += 1
        if self.seen <= fault.after or (fault.probability < 1 and rng.random() >= fault.probability):
            return False
        self.struck += 1
        return True


class Faults:
    """Every fault in force."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._active: list[ActiveFault] = []
        self.struck = 0
        """How often any of them struck so far."""

    def add(self, fault: Fault, now: float) -> ActiveFault:
        """Put *fault* in force."""
        active = ActiveFault(fault, now)
        self._active.append(active)
        return active

    def effects_on(self, method: str, path: str, now: float) -> list[Effect]:
        """What strikes a request that arrives *now*, the oldest fault first."""
        if not self._active:
            return []
        striking = [active for active in self._active if active.strikes(method, path, now, self._rng)]
        self.struck += len(striking)
        self._active = [active for active in self._active if not active.over(now)]
        return [active.fault.effect for active in striking]
