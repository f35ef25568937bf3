"""The emulator's public face: one tenant of a local Zuora, to fill, to break and to look into.

Made by `emulator.running()`. Everything here is plain state; requests reach it by way of `gateway.py`.
"""

from __future__ import annotations

import random
import uuid
from typing import TYPE_CHECKING, Any

from zuora_jobs.emulator.clock import Clock
from zuora_jobs.emulator.documents import zuora_id
from zuora_jobs.emulator.families import family_named
from zuora_jobs.emulator.faults import Fault, Faults
from zuora_jobs.emulator.invoices import plausible_invoice
from zuora_jobs.emulator.jobs import Job
from zuora_jobs.emulator.limits import AUTH, Crowd, RateLimiter
from zuora_jobs.emulator.lives import Step
from zuora_jobs.emulator.log import RequestLog, Statistics
from zuora_jobs.emulator.routes import Door
from zuora_jobs.emulator.scenario import load_scenario
from zuora_jobs.emulator.stock import Stock
from zuora_jobs.emulator.tokens import TokenOffice
from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from os import PathLike

    from zuora_jobs.emulator.effects import Effect
    from zuora_jobs.emulator.faults import ActiveFault
    from zuora_jobs.emulator.limits import Window
    from zuora_jobs.emulator.log import RequestRecord
    from zuora_jobs.emulator.options import Options
    from zuora_jobs.settings import Settings


class Emulator:
    """A running local Zuora."""

    def __init__(self, url: str, options: Options) -> None:
        self.url = url
        """Where it listens, without a slash at the end."""
        self.options = options
        self.clock = Clock(options.epoch)
        # One stream each, so that a fault more does not change the ids of jobs.
        self._ids, self._lives, luck, tokens = (
            random.Random(f"{options.seed}/{stream}")  # noqa: S311 - plausible, not secret
            for stream in ("requests", "lives", "faults", "tokens")
        )
        self.tokens = TokenOffice(options.client_id, options.client_secret, options.token_lifetime, tokens)
        self.limiters = {Door.API: RateLimiter(options.rate_limits), Door.AUTH: RateLimiter(AUTH)}
        self.crowd = Crowd(options.concurrency_limit, options.retry_after)
        self.log = RequestLog(options.request_log)
        self.stock = Stock()
        self.faults = Faults(luck)

    def __repr__(self) -> str:
        return f"<Emulator {self.url}: {len(self.stock.jobs)} jobs, {self.log.count} requests>"

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

    def add_job(
        self,
        kind: str,
        *,
        life: Sequence[Step] | None = None,
        ends: str | None = None,
        seconds: float | None = None,
        polls: int | None = None,
        id: str | None = None,  # noqa: A002 - the vendor's word
        fields: Mapping[str, Any] | None = None,
        cancel_takes: float = 0.0,
        cancel_loses_to: str | None = None,
    ) -> Job:
        """Add a job; its life begins now.

        Args:
            kind: `operation`, `bulk-pdf`, `aqua` or `credit-memo-apply`.
            life: The script, status by status. Without it, one is made of the next three.
            ends: The last status; drawn if not given.
            seconds: How long it takes to get there; drawn if not given.
            polls: How many GETs see it running; instead of *seconds*.
            id: Its id; drawn if not given.
            fields: Laid over its document: objects key by key, lists of objects (`batches`) item by item.
            cancel_takes: Seconds that it goes on executing after a DELETE, before it is cancelled.
            cancel_loses_to: The status in which it ends just before a DELETE arrives, which is then refused.
        """
        family = family_named(kind)
        if life is not None and (ends, seconds, polls) != (None, None, None):
            msg = "a job's life is either given as `life` or made of `ends`, `seconds` and `polls`"
            raise ConfigurationError(msg)
        script = life if life is not None else family.life(self._lives, ends, seconds, polls)
        job_id = zuora_id(self._lives) if id is None else id
        return self.stock.add(
            Job(
                family, job_id, script, self.clock, self.url,
                fields=fields or {}, cancel_takes=cancel_takes, cancel_loses_to=cancel_loses_to,
            )
        )  # fmt: skip

    def add_jobs(
        self, kind: str, count: int, *, ends: str | None = None, seconds: float | None = None, polls: int | None = None
    ) -> list[Job]:
        """Add *count* jobs; each life is drawn by itself, where *ends*, *seconds* and *polls* leave it open."""
        return [self.add_job(kind, ends=ends, seconds=seconds, polls=polls) for _ in range(count)]

    def add_document(self, kind: str, document: Mapping[str, Any]) -> str:
        """Serve *document* for the id that it bears, which is returned, key for key and for ever.

        Args:
            kind: A kind of job, or `invoice`.
            document: A JSON object, for instance a sample from the vendor's pages.
        """
        id_field = "Id" if kind == "invoice" else family_named(kind).id_field
        if not isinstance(document.get(id_field), str):
            msg = f"the document of the kind {kind!r} must have a text as {id_field!r}"
            raise ConfigurationError(msg)
        verbatim, document_id = dict(document), str(document[id_field])
        if kind == "invoice":
            self.stock.invoices[document_id] = verbatim
            return document_id
        life = [Step(str(document.get("status")))]
        self.stock.add(
            Job(family_named(kind), document_id, life, self.clock, self.url, fields=verbatim, verbatim=verbatim)
        )
        return document_id

    def add_invoice(self, id: str | None = None, **fields: Any) -> str:  # noqa: A002 - any JSON value goes
        """Add an invoice and return its id.

        The fields bear the vendor's capitalised names, custom ones included; a Decimal is served digit for digit.
        """
        invoice_id = fields.get("Id") or id or zuora_id(self._lives)
        invoice = plausible_invoice(invoice_id, random.Random(invoice_id), self.clock.wall(self.clock.now()))  # noqa: S311
        self.stock.invoices[invoice_id] = {**invoice, **fields}
        return str(invoice_id)

    def remove_invoice(self, invoice_id: str) -> None:
        """Delete an invoice, as a finished operation job does: it is not found from now on."""
        self.stock.invoices.pop(invoice_id, None)

    @property
    def jobs(self) -> list[Job]:
        """Every job, in the order they were added."""
        return list(self.stock.jobs.values())

    def job(self, handle: str) -> Job:
        """The job with that handle, `kind:id`."""
        kind, _, job_id = handle.partition(":")
        return self.stock.jobs[kind, job_id]

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
