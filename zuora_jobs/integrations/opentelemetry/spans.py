"""The span of one watch: what is written into it, and no more than a span can take.

Its children are the requests that looked at the job, where aiohttp is instrumented. Nothing in it is secret: Zuora's words
have been through the same sieve as those in the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from zuora_jobs.integrations.opentelemetry import names
from zuora_jobs.protocol.messages import one_line
from zuora_jobs.protocol.secrets import without_secrets
from zuora_jobs.watching.outcome import Failed, Lost, Succeeded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Token
    from datetime import datetime
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from zuora_jobs.errors import ZuoraJobsError
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.watching.outcome import Outcome

MOST_EVENTS: Final = 64
"""Events that a span gets from here: an SDK keeps 128, and drops the first of more."""

_LONGEST_STATUS: Final = 60
"""Characters."""


class WatchSpan:
    """A span that is being recorded, from when a watch began until its end.

    Args:
        span: as the tracer made it.
        secrets: gives what must not be written down.
    """

    __slots__ = ("_events", "_retries", "_secrets", "_span", "_trouble")

    def __init__(self, span: Span, secrets: Callable[[], tuple[str, ...]]) -> None:
        self._span = span
        self._secrets = secrets
        self._events = 0
        self._retries = 0
        self._trouble: str | None = None
        """The class of error that was told last, while looks fail."""

    def has_status(self, status: str, before: str | None, at: datetime) -> None:
        """The job has another status than before; None: it has been seen for the first time."""
        previous = {names.PREVIOUS_STATUS: self._word(before)} if before is not None else {}
        self.note(names.STATUS_CHANGED, at, {names.STATUS: self._word(status), **previous})

    def is_in_trouble(self, error: ZuoraJobsError, delay: float, at: datetime) -> None:
        """A look failed; told when that begins, and when it becomes another trouble."""
        self._retries += 1
        if type(error).__name__ != self._trouble:
            self._trouble = type(error).__name__
            self.note(names.RETRYING, at, {**self._error(error), names.SECONDS: delay})

    def is_well(self) -> None:
        """A look was answered."""
        self._trouble = None

    def is_refused(self, error: ZuoraJobsError, at: datetime) -> None:
        """Zuora refused to cancel the job."""
        self.note(names.CANCEL_REFUSED, at, self._error(error))

    def note(self, name: str, at: datetime, attributes: Mapping[str, Any]) -> None:
        """Add an event, if there is room."""
        if self._events < MOST_EVENTS:
            self._events += 1
            self._span.add_event(name, attributes, nanoseconds(at))

    def ends(self, outcome: Outcome[Any], at: datetime, *, from_journal: bool) -> None:
        """End the span, saying how the watch did."""
        attributes: dict[str, Any] = {names.OUTCOME: outcome.name, names.POLLS: outcome.polls}
        if outcome.status is not None:
            attributes[names.STATUS] = self._word(outcome.status)
        if isinstance(outcome, Succeeded) and outcome.partial:
            attributes[names.PARTIAL] = True
        if from_journal:
            attributes[names.FROM_JOURNAL] = True
        if isinstance(outcome, Failed):
            why = "; ".join(map(str, outcome.reasons)) or "Zuora gives no reason"
            self._span.set_status(Status(StatusCode.ERROR, self._text(why)))
        elif isinstance(outcome, Lost):
            attributes[names.ERROR_TYPE] = type(outcome.error).__name__
            self._span.set_status(Status(StatusCode.ERROR, self._text(str(outcome.error))))
        self._end(attributes, at)

    def is_left(self, polls: int | None, at: datetime) -> None:
        """End the span of a watch that was left; None: how many looks were answered is not known."""
        self._end({names.LEFT: True} | ({names.POLLS: polls} if polls is not None else {}), at)

    def _end(self, attributes: dict[str, Any], at: datetime) -> None:
        if self._retries:
            attributes[names.RETRIES] = self._retries
        self._span.set_attributes(attributes)
        self._span.end(nanoseconds(at))

    def _error(self, error: ZuoraJobsError) -> dict[str, Any]:
        return {names.ERROR_TYPE: type(error).__name__, names.MESSAGE: self._text(str(error))}

    def _word(self, status: str) -> str:
        return one_line(without_secrets(status, self._secrets()), _LONGEST_STATUS)

    def _text(self, text: str) -> str:
        return one_line(without_secrets(text, self._secrets()))


def begin(
    tracer: Tracer,
    handle: JobHandle[Any],
    attributes: Mapping[str, Any],
    at: datetime,
    secrets: Callable[[], tuple[str, ...]],
) -> tuple[WatchSpan | None, Context | None]:
    """Begin the span of a watch, as a child of the span that is current where somebody asks for the watch.

    Returns:
        The span, or None where it is not recorded; and the context for looks at the job, or None where nobody traces.
    """
    about_job = {names.KIND: handle.kind.name, names.ID: handle.id}
    span = tracer.start_span(
        f"watch {handle.kind.name}",
        kind=SpanKind.INTERNAL,
        attributes={**attributes, **about_job},
        start_time=nanoseconds(at),
    )
    if not span.get_span_context().is_valid:
        return None, None
    within = trace.set_span_in_context(span)
    return (WatchSpan(span, secrets) if span.is_recording() else None), within


class Within:
    """Makes a context the current one for a while: what is sent meanwhile belongs to its span."""

    __slots__ = ("_context", "_token")

    def __init__(self, within: Context) -> None:
        self._context = within
        self._token: Token[Context] | None = None

    def __enter__(self) -> None:
        self._token = context.attach(self._context)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            context.detach(self._token)


def nanoseconds(at: datetime) -> int:
    """Give a moment as OpenTelemetry counts them: since 1970."""
    return round(at.timestamp() * 1e6) * 1000
