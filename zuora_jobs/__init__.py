"""Watch Zuora's slow jobs until they end.

Floats are seconds, sizes are bytes, money is Decimal, moments are aware datetimes; said here once.

    async with ZuoraClient(Settings.from_env()) as client, JobWatcher(client) as watcher:
        outcome = await watcher.watch(AQUA.handle("e20b07474688ad5001468daf10e501de"), timeout=3600)
        job = outcome.unwrap()
"""

import logging as _logging

from zuora_jobs.client import ZuoraClient
from zuora_jobs.errors import (
    ApiError,
    CancellationNotSupported,
    ConfigurationError,
    ConnectionFailed,
    CorruptJournal,
    Forbidden,
    InvalidHandle,
    JobCancelled,
    JobError,
    JobFailed,
    JobLost,
    JournalError,
    JournalInUse,
    MalformedResponse,
    NewerJournal,
    NotFound,
    RateLimited,
    Reason,
    Rejected,
    ResponseTimeout,
    ServerError,
    TokenRefused,
    TransportError,
    Unauthorized,
    UnknownStatus,
    WatcherClosed,
    WatchTimedOut,
    ZuoraJobsError,
)
from zuora_jobs.journal.journal import Journal
from zuora_jobs.protocol.kinds import (
    AQUA,
    BULK_PDF,
    CREDIT_MEMO_APPLY,
    KINDS,
    OPERATION,
    JobHandle,
    JobKind,
    Phase,
)
from zuora_jobs.protocol.models import (
    AquaBatch,
    AquaJob,
    BulkPdfJob,
    CreditMemoApplyJob,
    DocumentIds,
    Invoice,
    JobDocument,
    OperationJob,
    ResultFile,
)
from zuora_jobs.settings import ENVIRONMENTS, Settings
from zuora_jobs.transport.limits import Budget
from zuora_jobs.transport.retry import Patience
from zuora_jobs.watching.cadence import Cadence
from zuora_jobs.watching.events import (
    CancelRefused,
    Event,
    Finished,
    JobEvent,
    LostContact,
    Observed,
    Observer,
    Recovered,
    Retrying,
    Stalled,
    StatusChanged,
    Throttled,
    UnknownStatusSeen,
)
from zuora_jobs.watching.outcome import Cancelled, Failed, Lost, Outcome, Succeeded
from zuora_jobs.watching.watch import Statistics
from zuora_jobs.watching.watcher import JobWatcher

_logging.getLogger("zuora_jobs").addHandler(_logging.NullHandler())

__all__ = [
    "AQUA",
    "BULK_PDF",
    "CREDIT_MEMO_APPLY",
    "ENVIRONMENTS",
    "KINDS",
    "OPERATION",
    "ApiError",
    "AquaBatch",
    "AquaJob",
    "Budget",
    "BulkPdfJob",
    "Cadence",
    "CancelRefused",
    "CancellationNotSupported",
    "Cancelled",
    "ConfigurationError",
    "ConnectionFailed",
    "CorruptJournal",
    "CreditMemoApplyJob",
    "DocumentIds",
    "Event",
    "Failed",
    "Finished",
    "Forbidden",
    "InvalidHandle",
    "Invoice",
    "JobCancelled",
    "JobDocument",
    "JobError",
    "JobEvent",
    "JobFailed",
    "JobHandle",
    "JobKind",
    "JobLost",
    "JobWatcher",
    "Journal",
    "JournalError",
    "JournalInUse",
    "Lost",
    "LostContact",
    "MalformedResponse",
    "NewerJournal",
    "NotFound",
    "Observed",
    "Observer",
    "OperationJob",
    "Outcome",
    "Patience",
    "Phase",
    "RateLimited",
    "Reason",
    "Recovered",
    "Rejected",
    "ResponseTimeout",
    "ResultFile",
    "Retrying",
    "ServerError",
    "Settings",
    "Stalled",
    "Statistics",
    "StatusChanged",
    "Succeeded",
    "Throttled",
    "TokenRefused",
    "TransportError",
    "Unauthorized",
    "UnknownStatus",
    "UnknownStatusSeen",
    "WatchTimedOut",
    "WatcherClosed",
    "ZuoraClient",
    "ZuoraJobsError",
]
