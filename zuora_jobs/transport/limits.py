"""What all watchers of a client may spend together, fed by the server's own headers.

`Gate` is a pure state machine: moments in, decisions out. `Limiter` waits for it, on the loop's clock; whoever came
first goes first. A request holds a `Permit` while it is in flight.

Sources: https://developer.zuora.com/docs/guides/rate-limits (RateLimit-Limit, -Remaining, -Reset in seconds; 40 requests
at once a tenant; Retry-After on a 429).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from attrs import define, evolve, field, frozen

from zuora_jobs.checks import is_number, is_whole
from zuora_jobs.errors import WatcherClosed
from zuora_jobs.protocol.messages import Response, as_seconds, retry_after
from zuora_jobs.timing import LONGEST_HOLD, TICK

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from zuora_jobs.protocol.messages import Request
    from zuora_jobs.transport import Send

BURST: Final = 0.02
"""Seconds of unused rate that may be spent at once: makes up for late wake-ups, and for nothing else."""

_WORTH_TELLING: Final = 1.0
"""Seconds by which a wait that has been told must grow to be told again."""

_AT_ONCE: Final = 20
"""Half of the 40 that Zuora allows a tenant, whose other integrations need the rest."""

_API_SANDBOXES: Final = frozenset(
    {"rest.apisandbox.zuora.com", "rest.sandbox.na.zuora.com", "rest.sandbox.eu.zuora.com"}
)


@frozen
class Budget:
    """What all watchers of one client may spend together.

    Args:
        rate: requests a second, evenly spread.
        concurrency: requests in flight at once.

    Raises:
        ConfigurationError: one of them is no such number.
    """

    rate: float = field(default=100.0, validator=is_number(above=0))
    concurrency: int = field(default=_AT_ONCE, validator=is_whole(least=1))

    @classmethod
    def for_tenant(cls, base_url: str) -> Self:
        """Give the default for a tenant: an eighth of production's 833 requests a second, a quarter of a sandbox's 41.

        A Developer Sandbox shares its host with Central Sandboxes and has a quarter of their rate (208 a second), so
        the one figure suits both. The daily quotas (10,000 in an API Sandbox) are not spread over the day.
        """
        return cls(rate=10.0 if urlsplit(base_url).hostname in _API_SANDBOXES else 100.0)


@define
class Gate:
    """When the next request may go: pure, and told the time.

    Invariants: at most `budget.concurrency` are in flight; in any span of s seconds at most
    `1 + (s + BURST) * budget.rate` have been let go; none before `held_until`.
    """

    budget: Budget
    in_flight: int = 0
    held_until: float = float("-inf")
    """The server asked us to wait until then."""
    _next: float = float("-inf")
    """The moment at which the next request would be exactly on rate."""

    def opens_at(self, now: float) -> float | None:
        """Tell when a request may go: a moment not after *now* means at once; None: when one in flight has ended."""
        if self.in_flight >= self.budget.concurrency:
            return None
        early = BURST if self.budget.rate * BURST >= 1 else 0.0
        return max(self.held_until, self._next - early, now)

    def enter(self, now: float) -> None:
        """Let one go; only when `opens_at(now)` is not after *now*."""
        self.in_flight += 1
        self._next = max(self._next, now) + 1 / self.budget.rate

    def leave(self) -> None:
        """One has ended."""
        self.in_flight -= 1

    def hold(self, now: float, seconds: float) -> None:
        """Let none go for so long; a shorter wait than the one in force changes nothing."""
        self.held_until = max(self.held_until, now + min(seconds, LONGEST_HOLD))


class Permit:
    """One request's place in the budget: spent once, given back once."""

    __slots__ = ("_limiter", "_spent")

    def __init__(self, limiter: Limiter) -> None:
        self._limiter: Limiter | None = limiter
        self._spent = False

    def spend(self) -> bool:
        """Use the place for a request; False when it has been used or given back before."""
        fresh, self._spent = not self._spent and self._limiter is not None, True
        return fresh

    def release(self) -> None:
        """Give the place back; a second time does nothing."""
        limiter, self._limiter = self._limiter, None
        if limiter is not None:
            limiter._leave()  # noqa: SLF001 - the other half of one mechanism

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Limiter:
    """Waits for a `Gate`. One a client, shared by all its watchers.

    Args:
        budget: what may be spent.
    """

    def __init__(self, budget: Budget) -> None:
        self.gate = Gate(budget)
        self.on_hold: list[Callable[[float], None]] = []
        """Told the seconds whenever the server makes everybody wait."""
        self.requests = 0
        """How many have been let go."""
        self.held_seconds = 0.0
        """How long the server has made everybody wait, in all."""
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __repr__(self) -> str:
        gate = self.gate
        return f"<Limiter {gate.in_flight}/{gate.budget.concurrency} in flight, {len(self._waiters)} waiting>"

    async def acquire(self) -> Permit:
        """Wait for a place in the budget. Cancelled meanwhile, it leaves nothing behind."""
        if self._closed:
            message = "the client is closed: use it inside its `async with`"
            raise WatcherClosed(message)
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._waiters and (opens := self.gate.opens_at(now)) is not None and opens <= now + TICK:
            self._enter(now)
            return Permit(self)
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters[waiter] = None
        self._let_go()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiters:
                del self._waiters[waiter]
                self._let_go()
            elif waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._leave()  # it was our turn in the very moment we gave up
            raise
        return Permit(self)

    def note(self, response: Response) -> None:
        """Learn from an answer: wait where the server says so, once for all."""
        headers = response.headers
        if response.status in {429, 503}:
            wait = retry_after(response)
        elif as_seconds(headers.get("ratelimit-remaining")) == 0:
            wait = as_seconds(headers.get("ratelimit-reset"))
        else:
            return
        if not wait:
            return
        now = asyncio.get_running_loop().time()
        before = max(self.gate.held_until, now)
        self.gate.hold(now, wait)
        longer = self.gate.held_until - before
        self.held_seconds += longer
        if longer > (_WORTH_TELLING if before > now else 0.0):  # those under way are all refused at once
            for tell in self.on_hold:
                tell(self.gate.held_until - now)

    def close(self) -> None:
        """Let nobody in any more, and tell those who wait."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(WatcherClosed("the client was closed"))
        self._waiters.clear()

    def _enter(self, now: float) -> None:
        self.gate.enter(now)
        self.requests += 1

    def _leave(self) -> None:
        self.gate.leave()
        self._let_go()

    def _let_go(self) -> None:
        """Let those go whose turn it is, and see to it that the next is looked at in time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._waiters:
            opens = self.gate.opens_at(now)
            if opens is None:
                return
            if opens > now + TICK:
                self._timer = loop.call_at(opens, self._let_go)
                return
            self._enter(now)
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(None)
            else:
                self.gate.leave()  # cancelled, and not yet able to say so


def in_turn(send: Send, limiter: Limiter) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Wait for a place in the budget before anything else, so that what comes after is fresh when it is sent."""

    async def send_with_permit(request: Request) -> Response:
        permit: Permit = request.permit or await limiter.acquire()
        with permit:
            return await send(evolve(request, permit=permit))

    return send_with_permit


def limited(send: Send, limiter: Limiter) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Let a request go only in its turn, and learn from its answer."""

    async def send_in_turn(request: Request) -> Response:
        permit: Permit | None = request.permit
        if permit is None or not permit.spend():
            permit = await limiter.acquire()
        with permit:
            response = await send(request)
            limiter.note(response)
        return response

    return send_in_turn
