"""Telemetry: the observer, and what it does with each event."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from opentelemetry import metrics, trace

from zuora_jobs.integrations.opentelemetry import names, spans
from zuora_jobs.integrations.opentelemetry.figures import Figures
from zuora_jobs.integrations.opentelemetry.instruments import instruments_of
from zuora_jobs.watching import events
from zuora_jobs.watching.clock import WallClock
from zuora_jobs.watching.outcome import Lost, Succeeded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from zuora_jobs.integrations.opentelemetry.figures import OfKind
    from zuora_jobs.integrations.opentelemetry.instruments import Instruments
    from zuora_jobs.integrations.opentelemetry.spans import WatchSpan
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.settings import Settings
    from zuora_jobs.watching.watcher import JobWatcher

_NOTHING: Final = nullcontext()


class Telemetry:
    """Gives metrics of what watchers do, and a span for each watch: `JobWatcher(client, observers=[Telemetry()])`.

    One may observe any number of watchers, in any number of threads. Each tells its tenant by `server.address`; tenants of
    one data centre are told apart by *attributes*. The span's parent is the one that is current where somebody asks to
    watch the job (the first, of several).

    Args:
        meter_provider: makes the instruments; by default the global one.
        tracer_provider: makes the spans; by default the global one.
        attributes: for all metrics and spans, such as {"deployment.environment.name": "staging"}; few values.
    """

    def __init__(
        self,
        *,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
    ) -> None:
        self._meter_provider = meter_provider
        self._tracer_provider = tracer_provider
        self._attributes = dict(attributes or {})

    def attend(self, watcher: JobWatcher) -> AbstractContextManager[events.Observer]:
        """Observe *watcher* for as long as it is open: `JobWatcher` asks for this when it opens."""
        # asked for now, since programs set the global ones up after they import this, and some after they make it
        instruments = instruments_of(self._meter_provider or metrics.get_meter_provider(), _version())
        tracer = trace.get_tracer(names.SCOPE, _version(), self._tracer_provider, names.SCHEMA_URL)
        attributes = {**_server(watcher.client.settings), **self._attributes}
        return _Attendance(watcher, instruments, tracer, attributes)


class _Watch:
    """What is kept of one watch."""

    __slots__ = ("context", "earlier", "is_seen", "of_kind", "running_at", "span")

    def __init__(self, of_kind: OfKind, earlier: _Watch | None) -> None:
        self.of_kind = of_kind
        self.earlier = earlier
        """Of the same job, whose end is known and still being written down."""
        self.span: WatchSpan | None = None
        self.context: Context | None = None
        self.running_at: datetime | None = None
        """When a look last saw it running."""
        self.is_seen = False


class _Attendance:
    """Observes one watcher."""

    def __init__(
        self, watcher: JobWatcher, instruments: Instruments, tracer: Tracer, attributes: dict[str, Any]
    ) -> None:
        client = watcher.client
        self._secrets: Callable[[], tuple[str, ...]] = lambda: client.secrets
        self._instruments = instruments
        self._tracer = tracer
        self._attributes = attributes
        self._figures = Figures(attributes, client.limiter, asyncio.get_running_loop())
        self._watches: dict[JobHandle[Any], _Watch] = {}
        self._clock = WallClock()
        self._tell: dict[type[events.Event], Callable[[Any], None]] = {
            events.JobSubmitted: self._submitted,
            events.WatchBegan: self._began,
            events.Observed: self._observed,
            events.StatusChanged: self._status_changed,
            events.UnknownStatusSeen: self._unknown_status,
            events.Stalled: self._stalled,
            events.Retrying: self._retrying,
            events.CancelRefused: self._cancel_refused,
            events.Finished: self._finished,
            events.WatchLeft: self._left,
            events.LostContact: partial(self._contact, made=False),
            events.Recovered: partial(self._contact, made=True),
        }

    def __enter__(self) -> Self:
        self._instruments.ledger.open(self._figures)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # a journal that could not be written any more leaves some whose ends were never told
        for handle in list(self._watches):
            while watch := self._forget(handle):
                if watch.span is not None:
                    watch.span.is_left(None, self._clock.now())
        self._instruments.ledger.close(self._figures)

    def __call__(self, event: events.Event, /) -> None:
        """Take note of *event*."""
        tell = self._tell.get(type(event))
        if tell is not None:
            tell(event)

    def looking(self, handle: JobHandle[Any]) -> AbstractContextManager[object]:
        """Have the requests of a look be the watch's children."""
        watch = self._watches.get(handle)
        return spans.Within(watch.context) if watch is not None and watch.context is not None else _NOTHING

    # --- watches, from when they begin

    def _began(self, event: events.WatchBegan) -> None:
        of_kind = self._figures.of(event.handle.kind.name)
        of_kind.watched += 1
        watch = self._watches[event.handle] = _Watch(of_kind, self._watches.get(event.handle))
        watch.span, watch.context = spans.begin(self._tracer, event.handle, self._attributes, event.at, self._secrets)

    def _observed(self, event: events.Observed) -> None:
        watch = self._watches.get(event.handle)
        if watch is None:
            return
        watch.of_kind.answered += 1
        phase = event.phase
        if phase is None or not phase.is_terminal:
            watch.running_at = event.at
        elif watch.running_at is not None:
            late = (event.at - watch.running_at).total_seconds()
            self._instruments.notice_delay.record(late, self._of(event.handle), watch.context)
        if watch.span is not None:
            watch.span.is_well()
            if not watch.is_seen:
                watch.is_seen = True
                watch.span.has_status(event.status, None, event.at)

    def _status_changed(self, event: events.StatusChanged) -> None:
        if span := self._span_of(event):
            span.has_status(event.status, event.before, event.at)

    def _unknown_status(self, event: events.UnknownStatusSeen) -> None:
        self._instruments.unknown_status.add(1, self._of(event.handle), self._context_of(event))
        if span := self._span_of(event):
            span.note(names.UNKNOWN_STATUS, event.at, {})  # which one, the change of status has told

    def _stalled(self, event: events.Stalled) -> None:
        self._instruments.stalled.add(1, self._of(event.handle), self._context_of(event))
        if span := self._span_of(event):
            span.note(names.STALLED, event.at, {names.SECONDS: event.seconds})

    def _retrying(self, event: events.Retrying) -> None:
        self._figures.of(event.handle.kind.name).retried[type(event.error).__name__] += 1
        if span := self._span_of(event):
            span.is_in_trouble(event.error, event.delay, event.at)

    def _cancel_refused(self, event: events.CancelRefused) -> None:
        if span := self._span_of(event):
            span.is_refused(event.error, event.at)

    # --- to their ends

    def _finished(self, event: events.Finished) -> None:
        outcome = event.outcome
        watch = self._forget(event.handle)
        context = watch.context if watch is not None else None
        attributes = {**self._of(event.handle), names.OUTCOME: outcome.name}
        if isinstance(outcome, Succeeded) and outcome.partial:
            attributes[names.PARTIAL] = True
        if isinstance(outcome, Lost):
            attributes[names.ERROR_TYPE] = type(outcome.error).__name__
        if event.from_journal:
            self._instruments.replayed.add(1, attributes, context)
        else:
            self._instruments.finished.add(1, attributes, context)
            if watch is not None:  # else it had ended when it was submitted, and was never watched
                self._instruments.duration.record(outcome.elapsed, attributes, context)
        if watch is not None and watch.span is not None:
            watch.span.ends(outcome, event.at, from_journal=event.from_journal)

    def _left(self, event: events.WatchLeft) -> None:
        watch = self._forget(event.handle)
        if watch is None:
            return
        self._instruments.left.add(1, self._of(event.handle), watch.context)
        if watch.span is not None:
            watch.span.is_left(event.polls, event.at)

    def _forget(self, handle: JobHandle[Any]) -> _Watch | None:
        """Take the watch of a job that ended first."""
        watch = self._watches.get(handle)
        if watch is None:
            return None
        later: _Watch | None = None
        while watch.earlier is not None:
            later, watch = watch, watch.earlier
        if later is None:
            del self._watches[handle]
        else:
            later.earlier = None
        watch.of_kind.watched -= 1
        return watch

    # --- what is of the tenant

    def _submitted(self, event: events.JobSubmitted) -> None:
        if not event.from_journal:
            self._instruments.submitted.add(1, self._of(event.handle))

    def _contact(self, _: events.Event, *, made: bool) -> None:
        self._figures.in_contact = made
        if not made:
            self._instruments.contact_losses.add(1, self._attributes)

    # --- helpers

    def _of(self, handle: JobHandle[Any]) -> dict[str, Any]:
        return {**self._attributes, names.KIND: handle.kind.name}

    def _span_of(self, event: events.JobEvent) -> WatchSpan | None:
        watch = self._watches.get(event.handle)
        return watch.span if watch is not None else None

    def _context_of(self, event: events.JobEvent) -> Context | None:
        watch = self._watches.get(event.handle)
        return watch.context if watch is not None else None


def _server(settings: Settings) -> dict[str, Any]:
    """Give the attributes that say whose jobs they are."""
    address = urlsplit(settings.base_url)
    port = {names.SERVER_PORT: address.port} if address.port is not None else {}
    return {names.SERVER_ADDRESS: address.hostname or "", **port}


def _version() -> str:
    try:
        return version("zuora_jobs")
    except PackageNotFoundError:  # run from its sources
        return ""
