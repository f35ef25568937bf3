"""What the log's records bear beside their text, under names that stay: the logger is `zuora_jobs`, quiet by default.

    zuora_event            what happened, by the event's name in JSON lines: `finished`, `retrying` …
    zuora_handle           the job: `aqua:e20b07474688ad5001468daf10e501de`
    zuora_kind zuora_id    the two halves of that
    zuora_status           Zuora's word for where it stands; zuora_previous_status: and the one before
    zuora_phase            our own: `pending`, `running` …; None: the status is unknown
    zuora_outcome          `succeeded`, `failed`, `cancelled` or `lost`; zuora_partial: it left something out
    zuora_polls            looks that were answered
    zuora_elapsed          seconds of the watch
    zuora_seconds          seconds of what the record tells: a pause, a silence, a standstill
    zuora_usual            seconds of the longest standstill that others came out of; None: too few have been seen
    zuora_from_journal     seen in an earlier run
    zuora_error            the class of an error: `ServerError`
    zuora_error_message    and its text, which holds no secret
    zuora_http_method zuora_http_path zuora_http_status zuora_http_bytes
                           of an answer; on the logger `zuora_jobs.http`
    zuora_path             a file's

A formatter that writes extras, of JSON say, needs nothing else; none of these is a name that `logging` uses itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zuora_jobs.errors import ZuoraJobsError

if TYPE_CHECKING:
    from zuora_jobs.protocol.kinds import JobHandle


def about(
    handle: JobHandle[Any] | None = None, *, error: BaseException | None = None, **details: object
) -> dict[str, object]:
    """Give the extras of a record about a job, or an error, or both; `zuora_` goes before the names of *details*.

    Of an error that is not ours only the class is given: what it says is anybody's guess.
    """
    extras = {f"zuora_{name}": value for name, value in details.items()}
    if handle is not None:
        extras |= {"zuora_handle": str(handle), "zuora_kind": handle.kind.name, "zuora_id": handle.id}
    if error is not None:
        extras["zuora_error"] = type(error).__name__
        if isinstance(error, ZuoraJobsError):
            extras["zuora_error_message"] = str(error)
    return extras
