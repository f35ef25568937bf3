"""The emulator's public face: one tenant of a local Zuora, to fill, to break and to look into.

Made by `emulator.running()`. What it holds is in `holdings.py`. Everything here is plain state; requests reach it by way of `gateway.py`.
"""

from __future__ import annotations

import random
import uuid
from typing import TYPE_CHECKING, Any

from zuora_jobs.emulator.clock import Clock
from zuora_jobs.emulator.faults import Fault, Faults
from zuora_jobs.emulator.holdings import Holdings
from zuora_jobs.emulator.idempotency import IdempotencyKeys
from zuora_jobs.emulator.limits import AUTH, Crowd, RateLimiter
from zuora_jobs.emulator.log import RequestLog, Statistics
from zuora_jobs.emulator.routes import Door
from zuora_jobs.emulator.scenario import load_scenario
from zuora_jobs.emulator.store import Store
from zuora_jobs.emulator.tokens import TokenOffice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike

    from zuora_jobs.emulator.effects import Effect
    from zuora_jobs.emulator.faults import ActiveFault
    from zuora_jobs.emulator.limits import Window
    from zuora_jobs.emulator.log import RequestRecord
    from zuora_jobs.emulator.options import Options
    from zuora_jobs.settings import Settings


class Emulator(Holdings):
    """A running local Zuora."""

    def __init__(self, url: str, options: Options, store_url: str | None = None) -> None:
        self.url = url
        """Where it listens, without a slash at the end."""
        self.store_url = store_url or url
        """Where the store behind presigned URLs listens."""
        self.options = options
        # One stream each, so that a fault more does not change the ids of jobs.
        self._ids, lives, luck, tokens = (
            random.Random(f"{options.seed}/{stream}")  # noqa: S311 - plausible, not secret
            for stream in ("requests", "lives", "faults", "tokens")
        )
        self.tokens = TokenOffice(options.client_id, options.client_secret, options.token_lifetime, tokens)
        self.limiters = {Door.API: RateLimiter(options.rate_limits), Door.AUTH: RateLimiter(AUTH)}
        self.crowd = Crowd(options.concurrency_limit, options.retry_after)
        self.log = RequestLog(options.request_log)
        self.faults = Faults(luck)
        self.idempotency = IdempotencyKeys()
        store = Store(self.store_url, int(options.url_lifetime), options.urls_renewed)
        super().__init__(Clock(options.epoch), store, lives)

    def __repr__(self) -> str:
        return f"<Emulator {self.url}: {len(self._stock.jobs)} jobs, {self.log.count} requests>"

    # ---- how to reach it ----

    def settings(self, **overrides: Any) -> Settings:
        """Settings for a client of this emulator."""
        from zuora_jobs.settings import Settings  # noqa: PLC0415 - the emulator stands on its own without it

        ours = {"base_url": self.url, "client_id": self.tokens.client_id, "client_secret": self.tokens.client_secret}
        return Settings(**{**ours, **overrides})

    def environment(self) -> dict[str, str]:
        """The environment variables that lead a client here."""
        return {
            "ZUORA_BASE_URL": self.url,
            "ZUORA_CLIENT_ID": self.tokens.client_id,
            "ZUORA_CLIENT_SECRET": self.tokens.client_secret,
        }

    def issue_token(self, lifetime: float | None = None) -> str:
        """A bearer token without a request, good for *lifetime* seconds (None: the usual)."""
        return self.tokens.issue(self.clock.now(), lifetime)

    def revoke_tokens(self) -> None:
        """Refuse from now on every token issued so far."""
        self.tokens.revoke()

    # ---- what is in it ----

    def load_scenario(self, source: str | PathLike[str] | Mapping[str, Any]) -> None:
        """Add what a scenario file, or a mapping of the same form, describes.

        Raises:
            ConfigurationError: It cannot be read or makes no sense; says where. Nothing of it has been added then.
        """
        load_scenario(self, source)

    # ---- what goes wrong ----

    def fault(self, fault: Fault | Effect | str) -> ActiveFault:
        """Put a fault in force: a `Fault`, or just an effect or its name, which then strikes every request."""
        return self.faults.add(fault if isinstance(fault, Fault) else Fault(fault), self.clock.now())

    def outage(self, seconds: float, effect: Effect | str = "unavailable") -> ActiveFault:
        """Nothing works for that long from now: every request is struck by *effect*."""
        return self.fault(Fault(effect, lasts=seconds))

    def limit_rate(self, limits: Iterable[Window | tuple[int, float]]) -> None:
        """Count requests against these limits from now on, from nought; none: no limit."""
        self.limiters[Door.API] = RateLimiter(limits)

    def limit_concurrency(self, limit: int | None) -> None:
        """Allow so many requests at one time from now on; None: no limit."""
        self.crowd.limit = limit

    # ---- what happened ----

    @property
    def requests(self) -> list[RequestRecord]:
        """The requests received, in order of arrival."""
        return self.log.records()

    @property
    def token_requests(self) -> int:
        """How many of them asked for a token."""
        return self.tokens.asked

    @property
    def in_flight(self) -> int:
        """Requests to /v1 that are being answered now."""
        return self.crowd.present

    @property
    def peak_concurrency(self) -> int:
        """The most requests to /v1 that were ever being answered at one time."""
        return self.crowd.peak

    def statistics(self) -> Statistics:
        """A snapshot of the counters."""
        return Statistics(
            requests=self.log.count,
            token_requests=self.token_requests,
            in_flight=self.in_flight,
            peak_concurrency=self.peak_concurrency,
            statuses=dict(self.log.statuses),
            jobs=len(self.stock.jobs),
            jobs_ended=sum(job.ended for job in self.stock.jobs.values()),
            faults_struck=self.faults.struck,
        )

    def fresh_ids(self) -> dict[str, str]:
        """`processId` and `requestId` for one more request."""
        request_id = uuid.UUID(int=self._ids.getrandbits(128), version=4)
        return {"processId": f"{self._ids.getrandbits(64):016X}", "requestId": str(request_id)}
