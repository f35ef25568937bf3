"""How events are logged: the level, the text and the extras of each, in one table.

What every look brings is DEBUG, what happens once for a job INFO, what somebody may have to do something about WARNING.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from zuora_jobs.logs import about
from zuora_jobs.protocol.messages import one_line
from zuora_jobs.protocol.secrets import without_secrets
from zuora_jobs.watching import events
from zuora_jobs.watching.outcome import Lost, Succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from zuora_jobs.watching.events import Event

log = logging.getLogger("zuora_jobs")

_LONGEST_STATUS: Final = 60
"""Characters; the known ones have 15."""


@frozen
class _Line:
    """How one sort of event is logged."""

    level: int
    text: str
    """With `%` places for attributes of the event and extras, by name."""
    details: Callable[[Any], dict[str, Any]] = lambda _: {}
    """Extras, without `zuora_`."""


def _status(event: Any) -> dict[str, Any]:
    return {"status": event.status}


def _error(event: Any) -> dict[str, Any]:
    return {"error": event.error}


def _end(event: events.Finished) -> dict[str, Any]:
    outcome = event.outcome
    return {
        "outcome": outcome.name,
        "partial": isinstance(outcome, Succeeded) and outcome.partial,
        "status": outcome.status,
        "polls": outcome.polls,
        "elapsed": round(outcome.elapsed, 3),
        "from_journal": event.from_journal,
        "error": outcome.error if isinstance(outcome, Lost) else None,
    }


_LINES: Final[dict[type[Event], _Line]] = {
    events.JobSubmitted: _Line(
        logging.INFO, "%(handle)s: submitted", lambda event: {"from_journal": event.from_journal}
    ),
    events.WatchBegan: _Line(logging.DEBUG, "%(handle)s: watching"),
    events.WatchLeft: _Line(logging.DEBUG, "%(handle)s: no longer watched", lambda event: {"polls": event.polls}),
    events.Observed: _Line(
        logging.DEBUG,
        "%(handle)s: %(status)s",
        lambda event: {
            "status": event.status,
            "phase": event.phase.value if event.phase else None,
            "polls": event.polls,
        },
    ),
    events.StatusChanged: _Line(
        logging.DEBUG,
        "%(handle)s: from %(previous_status)s to %(status)s",
        lambda event: {"status": event.status, "previous_status": event.before},
    ),
    events.UnknownStatusSeen: _Line(
        logging.WARNING,
        "%(handle)s has the status %(status)r, which its kind does not list; watching on",
        _status,
    ),
    events.Stalled: _Line(
        logging.WARNING,
        "%(handle)s has not moved for %(seconds).0f s, and is still %(status)s; watching on",
        lambda event: {"status": event.status, "seconds": event.seconds, "usual": event.usual},
    ),
    events.Retrying: _Line(
        logging.INFO,
        "%(handle)s: trying again in %(seconds).1f s: %(error)s",
        lambda event: {"seconds": event.delay, "error": event.error},
    ),
    events.CancelRefused: _Line(logging.INFO, "%(handle)s: the cancellation was refused: %(error)s", _error),
    events.Finished: _Line(
        logging.INFO, "%(handle)s: %(outcome)s (%(status)s), after %(elapsed).1f s, polls %(polls)d", _end
    ),
    events.Throttled: _Line(
        logging.INFO, "the server asks to wait %(seconds).1f s", lambda event: {"seconds": event.seconds}
    ),
    events.LostContact: _Line(
        logging.WARNING,
        "no look has been answered for %(seconds).0f s: %(error)s",
        lambda event: {"seconds": event.seconds, "error": event.error},
    ),
    events.Recovered: _Line(
        logging.WARNING, "looks are answered again after %(seconds).0f s", lambda event: {"seconds": event.seconds}
    ),
}

_LOST: Final = _Line(logging.WARNING, "%(handle)s: lost, after %(elapsed).1f s, polls %(polls)d: %(error)s", _end)


def is_logged(event: type[Event]) -> bool:
    """Tell quickly whether such an event would be logged at all."""
    return log.isEnabledFor(_LINES[event].level)


def log_event(event: Event, secrets: Callable[[], tuple[str, ...]]) -> None:
    """Log *event*, if anybody wants to know.

    Args:
        event: what happened.
        secrets: gives what Zuora may not have said: a status is its own words.
    """
    line = _line_of(event)
    if not log.isEnabledFor(line.level):
        return
    details = line.details(event)
    for name in ("status", "previous_status"):
        if details.get(name) is not None:
            details[name] = one_line(without_secrets(details[name], secrets()), _LONGEST_STATUS)
    handle = event.handle if isinstance(event, events.JobEvent) else None
    error = details.pop("error", None)
    extras = about(handle, error=error, event=event.name, **details)
    # as a mapping, so that what collects records sees one text for all of a sort
    log.log(line.level, line.text, {"handle": handle, "error": error, **details}, extra=extras)


def _line_of(event: Event) -> _Line:
    if isinstance(event, events.Finished) and isinstance(event.outcome, Lost):
        return _LOST
    return _LINES[type(event)]
