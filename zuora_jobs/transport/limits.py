"""The queue at the gate: who waits for a place in the budget, and how the answers teach the gate.

`Gate` decides, `Limiter` waits for it on the loop's clock; whoever came first goes first. A request holds a `Permit` while
it is in flight. What an answer says, it says to all: a wait is waited once for the client, not once for each job.

Sources: https://developer.zuora.com/docs/guides/rate-limits; Retry-After on a 429 or 503,
https://developer.zuora.com/docs/guides/error-handling.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from copy import copy
from typing import TYPE_CHECKING, Final, Self

from attrs import evolve, frozen

from zuora_jobs.errors import RateLimited, WatcherClosed, ZuoraJobsError
from zuora_jobs.protocol.messages import as_seconds, asked_to_wait, fault, retry_after, window_ends_in
from zuora_jobs.timing import TICK
from zuora_jobs.transport.gate import Budget, Gate
from zuora_jobs.transport.retry import nobody_home

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from zuora_jobs.protocol.messages import Request, Response
    from zuora_jobs.transport import Send
    from zuora_jobs.transport.quota import WindowLeft

__all__ = ["Allowance", "Budget", "Limiter", "Permit", "in_turn", "limited"]

_WORTH_TELLING: Final = 1.0
"""Seconds by which a wait that has been told must grow to be told again."""

LONGEST_GUESS: Final = 30.0
"""Seconds to wait at most where the server refuses time and again and never says for how long."""

WORTH_EASING: Final = 5.0
"""Seconds of an outage after whose end many come back at once."""

_AT_ONCE_CODE: Final = "50000070"
"""Zuora's code of a refusal for requests at once; the one for a rate is 70."""


@frozen(kw_only=True)
class Allowance:
    """A moment's figures of what a client may spend, and has spent; those of token requests are not among them."""

    rate: float
    """Requests a second that may go; 0 while the server makes us wait."""
    concurrency: int
    """Requests that may be under way at once."""
    in_flight: int
    """Requests that are."""
    waiting: int
    """Requests that wait for a place in the budget; of a watcher's looks, which come when there is one, hardly any."""
    windows: tuple[WindowLeft, ...]
    """What is left of the tenant's quota, shortest window first; empty until the tenant has told."""
    requests: int
    """Sent so far."""
    refused: int
    """Of those, by the tenant, for want of quota."""
    held_seconds: float
    """How long the server has made everybody wait, in all."""


class Permit:
    """One request's place in the budget: spent once, given back once."""

    __slots__ = ("_limiter", "_spent", "given_at")

    def __init__(self, limiter: Limiter, given_at: float) -> None:
        self.given_at = given_at
        """When, on the loop's clock."""
        self._limiter: Limiter | None = limiter
        self._spent = False

    def spend(self) -> bool:
        """Use the place for a request; False when it has been used or given back before."""
        fresh, self._spent = not self._spent and self._limiter is not None, True
        return fresh

    def give_back(self) -> None:
        """Give the place back unused: no request was sent."""
        if self._limiter is not None and self.spend():
            self._limiter.requests -= 1
            self.release()

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
        self.refusals = 0
        """How many of them were refused for want of quota."""
        self.held_seconds = 0.0
        """How long the server has made everybody wait, in all."""
        self._waiters: OrderedDict[asyncio.Future[float], None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._unsent: ZuoraJobsError | None = None
        """Why the last request could not be sent."""
        self._closed = False

    def __repr__(self) -> str:
        gate = self.gate
        state = ", nobody answers" if gate.breaker.is_open else ""
        return f"<Limiter {gate.in_flight}/{gate.budget.concurrency} in flight, {len(self._waiters)} waiting{state}>"

    def allowance(self, now: float) -> Allowance:
        """Give the figures as they stand; changes nothing, so any thread may ask.

        Args:
            now: the moment, on the loop's clock.
        """
        gate = self.gate
        return Allowance(
            rate=gate.rate_at(now),
            concurrency=int(gate.congestion.at_once),
            in_flight=gate.in_flight,
            waiting=len(self._waiters),
            windows=gate.quota.left(now),
            requests=self.requests,
            refused=self.refusals,
            held_seconds=self.held_seconds,
        )

    @property
    def rate(self) -> float:
        """Requests a second that may go at present."""
        return self.gate.rate(asyncio.get_running_loop().time())

    @property
    def is_crowded(self) -> bool:
        """Whether who wants a place had better wait in the queue: others do, or may, or nobody answers at present."""
        return bool(self._waiters) or len(self.on_hold) > 1 or self.gate.breaker.is_open

    async def acquire(self, *, again: bool = False) -> Permit:
        """Wait for a place in the budget. Cancelled meanwhile, it leaves nothing behind.

        Args:
            again: for a call that has waited before, and goes to the head of the queue.

        Raises:
            WatcherClosed: the client is closed.
            ZuoraJobsError: nobody answers: what came of the request that went to see.
        """
        if (permit := self.try_acquire()) is not None:
            return permit
        waiter: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        if again:
            self._waiters.move_to_end(waiter, last=False)
        self._let_go()
        try:
            given_at = await waiter
        except asyncio.CancelledError:
            if waiter in self._waiters:
                del self._waiters[waiter]
                self._let_go()
            elif waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._leave()  # it was our turn in the very moment we gave up
            raise
        return Permit(self, given_at)

    def try_acquire(self) -> Permit | None:
        """Give a place if there is one at this moment and nobody waits for it, else None.

        Raises:
            WatcherClosed: the client is closed.
        """
        if self._closed:
            message = "the client is closed: use it inside its `async with`"
            raise WatcherClosed(message)
        now = asyncio.get_running_loop().time()
        if self._waiters or not self._is_open(now):
            return None
        self._enter(now)
        return Permit(self, now)

    @property
    def is_open(self) -> bool:
        """Whether there is a place at this moment, for whoever is the next to have one."""
        return self._is_open(asyncio.get_running_loop().time())

    def _is_open(self, now: float) -> bool:
        opens = self.gate.opens_at(now)
        return opens is not None and opens <= now + TICK

    def opens_at(self) -> float | None:
        """Tell when it is worth while to ask for a place again, on the loop's clock; None: when a request has ended."""
        return self.gate.opens_at(asyncio.get_running_loop().time())

    def note(self, response: Response, *, error: ZuoraJobsError | None = None, sent_at: float | None = None) -> None:
        """Learn from an answer: how fast to go on, and to wait where the server says so, once for all.

        Args:
            response: the answer.
            error: what it was found to say, if it is no document.
            sent_at: when its request was let go.
        """
        now = asyncio.get_running_loop().time()
        sent_at = now if sent_at is None else sent_at
        gate, headers = self.gate, response.headers
        remaining = gate.quota.note(headers, now, gate.in_flight)
        gate.congestion.note(headers, now)
        wait = 0.0
        if response.status == 429 or isinstance(error, RateLimited):  # noqa: PLR2004
            self._refused(response, error, sent_at, now)
            wait = retry_after(response) or self._guess()
        elif response.status == 503:  # noqa: PLR2004
            wait = retry_after(response) or 0.0
            if wait:
                gate.congestion.too_many(sent_at, now, gate.in_flight, wait)
        elif response.status < 500:  # noqa: PLR2004
            gate.congestion.passed(now, all_at_once=gate.in_flight >= int(gate.congestion.at_once))
            if remaining == 0:  # the next would be refused
                gate.congestion.too_fast(sent_at, now)
                wait = window_ends_in(headers) or 0.0
        if wait:
            self.hold(wait)

    def hold(self, seconds: float) -> None:
        """Have everybody wait for so long, and tell who wants to know."""
        now = asyncio.get_running_loop().time()
        before = max(self.gate.held_until, now)
        self.gate.hold(now, seconds)
        longer = self.gate.held_until - before
        self.held_seconds += max(0.0, longer)
        if longer > (_WORTH_TELLING if before > now else 0.0):  # those under way are all refused at once
            for tell in self.on_hold:
                tell(self.gate.held_until - now)

    def answered(self) -> None:
        """Take note that somebody is there to answer."""
        lasted = self.gate.breaker.answered(asyncio.get_running_loop().time())
        if lasted >= WORTH_EASING:
            self.gate.congestion.ease()
        if lasted:
            self._let_go()

    def unanswered(self, error: ZuoraJobsError, sent_at: float) -> None:
        """Take note that a request, let go then, was answered by nobody, or could not be sent for want of a token."""
        if isinstance(error, RateLimited):  # at the token endpoint: nothing goes without a token
            self.hold(asked_to_wait(error))
        if not nobody_home(error):
            self.answered()
            return
        if error.sent or error is not self._unsent:  # all who wait for a token are told the same error
            self.gate.breaker.failed(sent_at, asyncio.get_running_loop().time())
        self._unsent = None if error.sent else error
        if self.gate.breaker.is_open:
            self._tell_those_who_wait(error)

    def close(self) -> None:
        """Let nobody in any more, and tell those who wait."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(WatcherClosed("the client was closed"))
        self._waiters.clear()

    def _refused(self, response: Response, error: ZuoraJobsError | None, sent_at: float, now: float) -> None:
        """Find out which limit it was that refused a request; where nothing tells, it may have been either."""
        self.refusals += 1
        congestion, headers = self.gate.congestion, response.headers
        code = error.code if isinstance(error, RateLimited) else None
        at_once = code == _AT_ONCE_CODE or as_seconds(headers.get("concurrency-limit-remaining")) == 0
        rate = code != _AT_ONCE_CODE and as_seconds(headers.get("ratelimit-remaining")) == 0
        new = False
        if rate or not at_once:
            new = congestion.too_fast(sent_at, now, self.gate.quota.ceiling)
        if at_once or not rate:
            new = congestion.too_many(sent_at, now, self.gate.in_flight, retry_after(response) or 0.0) or new
        congestion.refused_in_a_row += new

    def _guess(self) -> float:
        """How long to wait where the server does not say: not at all at first, then longer each time."""
        again = self.gate.congestion.refused_in_a_row - 1
        return min(LONGEST_GUESS, 0.5 * 2.0 ** min(again - 1, 10)) if again > 0 else 0.0

    def _tell_those_who_wait(self, error: ZuoraJobsError) -> None:
        """Give *error* to all whose request goes out no more than that one did: how long to try is theirs to decide."""
        waiters = [waiter for waiter in self._waiters if not waiter.done()]
        self._waiters.clear()
        for waiter in waiters:
            told = copy(error)
            told.sent = False
            waiter.set_exception(told)

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
        if not self._waiters:
            return
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
                waiter.set_result(now)
            else:
                self.gate.leave()  # cancelled, and not yet able to say so


def in_turn(send: Send, limiter: Limiter) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Wait for a place in the budget before anything else, so that what comes after is fresh when it is sent."""

    async def send_with_permit(request: Request) -> Response:
        if request.permit is None:
            request = evolve(request, permit=await limiter.acquire())
        permit: Permit = request.permit
        with permit:
            try:
                response = await send(request)
            except ZuoraJobsError as error:
                limiter.unanswered(error, permit.given_at)
                raise
            problem = fault(request, response)
            if problem is not None and nobody_home(problem):
                limiter.unanswered(problem, permit.given_at)
            else:
                limiter.answered()
            return response

    return send_with_permit


def limited(send: Send, limiter: Limiter) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Let a request go only in its turn, and learn from its answer."""

    async def send_in_turn(request: Request) -> Response:
        permit: Permit | None = request.permit
        if permit is None or not permit.spend():
            permit = await limiter.acquire(again=permit is not None)
        with permit:
            response = await send(request)
            # what refuses another job, under 200, is for want of places for jobs and not for requests
            about_jobs = request.submits and response.status == 200  # noqa: PLR2004
            error = None if about_jobs else fault(request, response)
            limiter.note(response, error=error, sent_at=permit.given_at)
        return response

    return send_in_turn
