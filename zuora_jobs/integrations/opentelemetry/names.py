"""The names of all that is told, in the manner of OpenTelemetry's semantic conventions: these are a contract.

Attributes of metrics are few-valued: kinds, outcomes, classes of errors, hosts. Ids and words of Zuora's are in spans only.
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "zuora_jobs"
"""The name of the meter and the tracer."""

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.36.0"

# --- attributes of the conventions

ERROR_TYPE: Final = "error.type"
"""The class of the error, one of `zuora_jobs.errors`; there only where there is one."""
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
"""There only where it is not the scheme's own."""

# --- attributes of metrics and spans

KIND: Final = "zuora.job.kind"
OUTCOME: Final = "zuora.job.outcome"
PARTIAL: Final = "zuora.job.partial"
"""True, or not there."""
WINDOW: Final = "zuora.quota.window"
"""`minute`, `hour` or `day`."""

# --- attributes of spans only

ID: Final = "zuora.job.id"
STATUS: Final = "zuora.job.status"
PREVIOUS_STATUS: Final = "zuora.job.previous_status"
POLLS: Final = "zuora.job.polls"
RETRIES: Final = "zuora.job.retries"
FROM_JOURNAL: Final = "zuora.job.from_journal"
LEFT: Final = "zuora.watch.left"
"""True where the watch was left before the job's end was known."""
SECONDS: Final = "zuora.seconds"
MESSAGE: Final = "zuora.error.message"

# --- events of spans

STATUS_CHANGED: Final = "zuora.job.status_changed"
UNKNOWN_STATUS: Final = "zuora.job.unknown_status"
STALLED: Final = "zuora.job.stalled"
RETRYING: Final = "zuora.job.retrying"
CANCEL_REFUSED: Final = "zuora.job.cancel_refused"

# --- histograms

DURATION_BOUNDARIES: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 86_400)
"""Seconds. A small export takes some; a query may take three hours, and AQuA's queue a day."""

DELAY_BOUNDARIES: Final = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
"""Seconds. A look every half second is the most there is; an hour without any is the least."""
