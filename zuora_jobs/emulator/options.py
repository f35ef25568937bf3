"""How one emulator behaves: every switch, with its default and its reason.

The defaults are the vendor's figures, and where the vendor's pages are unsure, the best reading of them; the other
reading can be chosen, since a client should survive both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import field, frozen

from zuora_jobs.emulator.clock import EPOCH
from zuora_jobs.emulator.limits import PRODUCTION, Window, as_windows
from zuora_jobs.emulator.store import LIFETIME
from zuora_jobs.emulator.tokens import FAKE_CLIENT_ID, FAKE_CLIENT_SECRET
from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import datetime


@frozen(kw_only=True)
class Options:
    """The switches of `running()`."""

    seed: int = 0
    """Of all randomness: ids, lives, amounts, which requests a fault strikes."""
    latency: float = 0.0
    """Seconds between a request's arrival and its answer, which tells the state at the end of them."""
    token_lifetime: float = 3600.0
    client_id: str = FAKE_CLIENT_ID
    client_secret: str = field(default=FAKE_CLIENT_SECRET, repr=False)
    rate_limits: tuple[Window, ...] = field(default=PRODUCTION, converter=as_windows)
    concurrency_limit: int | None = 40
    """Requests at one time; None: no limit. Without latency an answer takes no time, so the limit is never met."""
    retry_after: float = 120.0
    """The Retry-After of a refusal for concurrency, seconds."""
    unknown_job_status: Literal[200, 404] = 404
    """Of a job id that does not exist (not AQuA): the v1 refusal has been seen under both."""
    aqua_refusal_status: Literal[200, 400] = 400
    """400 is `{code, message}`, as the generated client types it; 200 is `{status: "error", errorCode, message}`, the
    one refusal of AQuA's that was seen live. For an unknown job, and for a cancel that came too late."""
    submit_refusal_status: Literal[200, 400] = 200
    """Of a submit that v1 refuses (not AQuA): `{success: false, reasons}` has been seen under 200, and is promised under
    4xx."""
    delete_answer: Literal["job-id", "operation"] = "job-id"
    """What DELETE of an invoice answers: `{success, id: the invoice's, jobId, jobStatus}`, as the published example has
    it, or the operation job itself, `{id: the job's, objectId, status, ...}`, as the generated client types it."""
    aqua_jobs_at_once: int | None = 50
    """How many stateless AQuA jobs may be submitted or executing, and how many stateful ones; None: any number. The
    pages say that more are rejected, not how; here as v1 refuses under HTTP 200, with a code of the category 70 (limit
    exceeded)."""
    file_ranges: bool = True
    """Whether AQuA result files honour Range. The pages do not say so; presigned URLs always do."""
    url_lifetime: float = LIFETIME
    """Seconds that a presigned URL is good for: a whole number of them, since that is what such a URL can tell."""
    urls_renewed: bool = True
    """Whether a job that is asked again when its URLs have expired shows fresh ones. The pages show a URL signed at the
    time of asking; an FAQ of Zuora's has one submit a new job."""
    request_log: int | None = 100_000
    """How many requests are remembered; None: all."""
    epoch: datetime = EPOCH
    """The wall-clock moment, in documents, of the first thing that happens."""

    def __attrs_post_init__(self) -> None:
        for name, value, valid in (
            ("latency", self.latency, self.latency >= 0),
            ("token_lifetime", self.token_lifetime, self.token_lifetime > 0),
            ("concurrency_limit", self.concurrency_limit, self.concurrency_limit is None or self.concurrency_limit > 0),
            ("unknown_job_status", self.unknown_job_status, self.unknown_job_status in {200, 404}),
            ("aqua_refusal_status", self.aqua_refusal_status, self.aqua_refusal_status in {200, 400}),
            ("submit_refusal_status", self.submit_refusal_status, self.submit_refusal_status in {200, 400}),
            ("delete_answer", self.delete_answer, self.delete_answer in {"job-id", "operation"}),
            ("aqua_jobs_at_once", self.aqua_jobs_at_once, self.aqua_jobs_at_once is None or self.aqua_jobs_at_once > 0),
            ("url_lifetime", self.url_lifetime, self.url_lifetime >= 1 and float(self.url_lifetime).is_integer()),
        ):
            if not valid:
                msg = f"an emulator with {name}={value!r} makes no sense"
                raise ConfigurationError(msg)
