"""Events as JSON lines: one object a line, each with `event` and `at`; those about a job with `handle`, `kind`, `id`.

Documents carry Zuora's own field names, exactly as received, presigned URLs included: they are the result.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import simplejson

from zuora_jobs.protocol import wire
from zuora_jobs.watching import events
from zuora_jobs.watching.outcome import Outcome, account_of, error_account

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from zuora_jobs.protocol.kinds import JobHandle


def dumps(value: object, *, indent: int | None = None) -> str:
    """Write JSON; a Decimal becomes the number with just its digits."""
    return simplejson.dumps(value, use_decimal=True, ensure_ascii=False, indent=indent)


def write_line(line: dict[str, Any]) -> None:
    """Write a JSON object to stdout, where it is seen at once."""
    sys.stdout.write(dumps(line) + "\n")
    sys.stdout.flush()


def write_event(event: events.Event) -> None:
    """Write *event*; but not that a watch began or was left, which says nothing of the job."""
    if type(event) in _DETAILS:
        write_line(to_object(event))


def to_object(event: events.Event) -> dict[str, Any]:
    """Give *event* as a JSON object."""
    handle = event.handle if isinstance(event, events.JobEvent) else None
    return about(event.name, event.at, handle) | _DETAILS[type(event)](event)


def about(name: str, at: datetime, handle: JobHandle[Any] | None) -> dict[str, Any]:
    """Give what every line has, and what every line about a job has."""
    line: dict[str, Any] = {"event": name, "at": at.isoformat(timespec="milliseconds")}
    if handle is not None:
        line |= {"handle": str(handle), "kind": handle.kind.name, "id": handle.id}
    return line


def outcome_object(outcome: Outcome[Any]) -> dict[str, Any]:
    """Give *outcome* as a JSON object."""
    job = wire.to_json(outcome.job) if outcome.job is not None else None
    return account_of(outcome) | {"job": job}


def _observed(event: events.Observed) -> dict[str, Any]:
    return {"status": event.status, "phase": event.phase.value if event.phase else None, "polls": event.polls}


_DETAILS: Final[dict[type[events.Event], Callable[[Any], dict[str, Any]]]] = {
    events.JobSubmitted: lambda event: {"from_journal": event.from_journal},
    events.Observed: _observed,
    events.StatusChanged: lambda event: {"before": event.before, "status": event.status},
    events.UnknownStatusSeen: lambda event: {"status": event.status},
    events.Stalled: lambda event: {
        "status": event.status,
        "seconds": round(event.seconds, 3),
        "usual": round(event.usual, 3) if event.usual is not None else None,
    },
    events.Retrying: lambda event: {"delay": round(event.delay, 3), "error": error_account(event.error)},
    events.CancelRefused: lambda event: {"error": error_account(event.error)},
    events.Finished: lambda event: outcome_object(event.outcome) | {"from_journal": event.from_journal},
    events.Throttled: lambda event: {"seconds": round(event.seconds, 3)},
    events.LostContact: lambda event: {"seconds": round(event.seconds, 3), "error": error_account(event.error)},
    events.Recovered: lambda event: {"seconds": round(event.seconds, 3)},
}
