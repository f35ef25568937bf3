"""When the next request may go: a pure state machine over what the budget, the tenant and its servers allow.

It puts together what the rooms below know, each of one thing: `quota.py` what is left of the tenant's windows,
`congestion.py` what it bears without saying so, `breaker.py` whether anybody is there at all.
"""

from __future__ import annotations

from math import inf
from typing import Any, Final, Self
from urllib.parse import urlsplit

from attrs import Factory, define, evolve, field, frozen
from attrs.validators import optional

from zuora_jobs.checks import is_number, is_whole
from zuora_jobs.errors import ConfigurationError
from zuora_jobs.timing import LONGEST_HOLD, TICK
from zuora_jobs.transport.breaker import Breaker
from zuora_jobs.transport.congestion import Congestion
from zuora_jobs.transport.quota import Quota, Window

BURST: Final = 0.02
"""Seconds of unused rate that may be spent at once: makes up for late wake-ups, and for nothing else."""

_AT_ONCE: Final = 20
"""Half of the 40 that Zuora allows a tenant, whose other integrations need the rest."""

_API_SANDBOXES: Final = frozenset(
    {"rest.apisandbox.zuora.com", "rest.sandbox.na.zuora.com", "rest.sandbox.eu.zuora.com"}
)
_API_SANDBOX: Final = (Window(2_500, 60), Window(5_000, 3600), Window(10_000, 86_400))


def _windows(given: object) -> tuple[Window, ...]:
    try:
        return tuple(item if isinstance(item, Window) else Window(*item) for item in given)  # type: ignore[attr-defined]
    except TypeError:
        message = f"quota must be pairs of requests and seconds, such as [(10000, 86400)], not {given!r:.60}"
        raise ConfigurationError(message) from None


@frozen
class Budget:
    """What all watchers of one client may spend together, at most; where the tenant bears less, less is spent.

    Args:
        rate: requests a second, evenly spread.
        concurrency: requests in flight at once.
        opening: requests a second to begin with; it grows to *rate* while none is refused. None: *rate* from the start.
        quota: pairs of requests and seconds that the tenant allows, until its answers say so themselves.

    Raises:
        ConfigurationError: one of them is no such number.
    """

    rate: float = field(default=100.0, validator=is_number(above=0))
    concurrency: int = field(default=_AT_ONCE, validator=is_whole(least=1))
    opening: float | None = field(default=None, validator=optional(is_number(above=0)))
    quota: tuple[Window, ...] = field(default=(), converter=_windows)

    @classmethod
    def for_tenant(cls, base_url: str, *, rate: float | None = None, concurrency: int | None = None) -> Self:
        """Give the default for a tenant, but for what is given.

        That is half of production's 833 requests a second, beginning with a good fifth of them.

        An API Sandbox has 41 a second, and 10,000 a day: half of them, and its quota is spread from the first request
        on. A Developer Sandbox shares its host with Central Sandboxes, and says so itself that it has a quarter of
        their quota.
        Source: https://developer.zuora.com/docs/guides/rate-limits
        """
        is_sandbox = urlsplit(base_url).hostname in _API_SANDBOXES
        usual = cls(rate=20.0, quota=_API_SANDBOX) if is_sandbox else cls(rate=400.0, opening=180.0)
        given: dict[str, Any] = {"rate": rate, "concurrency": concurrency}
        return evolve(usual, **{name: value for name, value in given.items() if value is not None})


@define
class Gate:
    """When the next request may go: pure, and told the time.

    Invariants: at most `budget.concurrency` are in flight; in any span of s seconds at most
    `1 + (s + BURST) * budget.rate` have been let go; none before `held_until`.
    """

    budget: Budget
    in_flight: int = 0
    held_until: float = -inf
    """The server asked us to wait until then."""
    quota: Quota = field(init=False, default=Factory(lambda gate: Quota(gate.budget.quota), takes_self=True))
    congestion: Congestion = field(init=False)
    breaker: Breaker = field(init=False, factory=Breaker)
    _last: float = -inf
    """The moment at which the last request was let go, or would have been exactly on rate."""

    def __attrs_post_init__(self) -> None:
        budget = self.budget
        self.congestion = Congestion(
            budget.opening or budget.rate, budget.rate, budget.concurrency, gently=budget.opening is not None
        )

    def rate(self, now: float) -> float:
        """Give the requests a second that may go at present."""
        return min(self.congestion.rate, self.quota.rate(now))

    def rate_at(self, now: float) -> float:
        """Give the requests a second that may go, none during a wait; changes nothing, so any thread may ask."""
        return 0.0 if now < self.held_until else min(self.congestion.rate, self.quota.rate_at(now))

    def opens_at(self, now: float) -> float | None:
        """Tell when to ask again: a moment not after *now* means that one may go; None: when one in flight has ended."""
        congestion = self.congestion
        if self.in_flight >= int(congestion.at_once):
            return None
        quota = self.quota.rate(now + TICK)
        rate = min(congestion.rate, quota)
        early = BURST if rate * BURST >= 1 else 0.0
        opens = self._last + 1 / rate - early if rate > 0 else inf
        if opens > now and quota <= rate:  # it may go faster once the window has ended
            opens = min(opens, self.quota.changes_at(now + TICK))
        if self.breaker.is_open:
            opens = max(opens, self.breaker.probe_at)
        return max(self.held_until, opens, now)

    def enter(self, now: float) -> None:
        """Let one go; only when `opens_at(now)` is not after *now*."""
        if self.breaker.is_open:
            self.breaker.probing(now)
        congestion, quota = self.congestion, self.quota.rate(now + TICK)
        gap = 1 / min(congestion.rate, quota) if quota > 0 else inf
        waited = now < self._last + 1.5 * gap
        congestion.sent(now, at_full_rate=waited and congestion.rate < quota)
        self._last = min(max(self._last + gap, now), now + BURST)
        self.quota.spend(now + TICK)
        self.in_flight += 1

    def leave(self) -> None:
        """One has ended."""
        self.in_flight -= 1

    def hold(self, now: float, seconds: float) -> None:
        """Let none go for so long; a shorter wait than the one in force changes nothing."""
        self.held_until = max(self.held_until, now + min(seconds, LONGEST_HOLD))
