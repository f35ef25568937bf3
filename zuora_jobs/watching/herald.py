"""Tells what happens to all who want to know, and keeps track of whether anybody is answering at all.

An observer that raises is logged, and neither the watch nor the other observers notice.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from zuora_jobs.protocol.messages import asked_to_wait
from zuora_jobs.watching.accompanied import Accompanied
from zuora_jobs.watching.clock import WallClock
from zuora_jobs.watching.events import Finished, LostContact, Recovered, Throttled
from zuora_jobs.watching.logbook import is_logged, log_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from zuora_jobs.errors import ZuoraJobsError
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.watching.events import Event, JobEvent, Observer
    from zuora_jobs.watching.subscription import Subscription
    from zuora_jobs.watching.watch import Watch

log = logging.getLogger("zuora_jobs")

CONTACT_IS_LOST_AFTER: Final = 5.0
"""Seconds without any answer to any look, while some fail, after which everybody is told."""

QUIET: Final = 60.0
"""Seconds without a failure after which the next begins a new row: looks that fail are tried again sooner."""


_NOBODY: Final = nullcontext()


class Herald:
    """Tells the events of one watcher, and logs them.

    Args:
        observers: told everything.
        everybody: gives those who watch anything, for what concerns all.
        secrets: gives what must not be written down, whoever says it.
    """

    def __init__(
        self,
        observers: Sequence[Observer],
        everybody: Callable[[], Iterable[Subscription]],
        secrets: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._observers = observers
        self._looking = [one.looking for one in observers if hasattr(one, "looking")]
        self._everybody = everybody
        self._secrets = secrets
        self._clock = WallClock()
        self._failing_since: float | None = None
        self._failing: JobHandle[Any] | None = None
        """The only job that nobody has answered about since then."""
        self._last_failure = 0.0
        self._told_lost_contact = False

    def is_heard_by(self, subscriptions: Iterable[Subscription]) -> bool:
        """Tell whether anybody would hear of what is no end: if not, it need not be put into words."""
        return bool(self._observers) or any(not subscription.only_ends for subscription in subscriptions)

    def of(self, event: type[JobEvent], watch: Watch, **details: Any) -> None:
        """Tell an event about a job to all who watch it, where anybody would hear of it."""
        if event is Finished or self.is_heard_by(watch.subscriptions) or is_logged(event):
            self.about(event, watch.subscriptions, handle=watch.handle, **details)

    def to_observers(self, event: type[JobEvent], **details: Any) -> None:
        """Tell an event about a job to observers only, where there are any."""
        if self._observers or is_logged(event):
            self.about(event, (), **details)

    def looking(self, handle: JobHandle[Any]) -> AbstractContextManager[object]:
        """Give what is to be entered around a look at *handle*, for the observers that want to be there."""
        return Accompanied(self._looking, handle) if self._looking else _NOBODY

    def about(self, event: type[JobEvent], subscriptions: Iterable[Subscription], **details: Any) -> None:
        """Tell an event about a job to observers and to its *subscriptions*."""
        self._tell(event(at=self._clock.now(), **details), subscriptions)

    def to_one(self, event: type[JobEvent], subscription: Subscription, **details: Any) -> None:
        """Tell an event to one subscription only: for others the watch goes on."""
        subscription.put(event(at=self._clock.now(), **details))

    def throttled(self, seconds: float) -> None:
        """Tell everybody that the server makes us wait."""
        self._tell(Throttled(at=self._clock.now(), seconds=seconds), self._everybody())

    def contact_failed(self, error: ZuoraJobsError, handle: JobHandle[Any], now: float, *, alone: bool) -> float:
        """Take note that a look was answered by nobody; tell everybody once that has gone on for a while.

        Args:
            error: what came instead.
            handle: the job that was looked at: one that nobody answers about says little of the others.
            now: the moment.
            alone: there are no others.

        Returns:
            Since when no look has been answered.
        """
        if self._failing_since is None or now - self._last_failure > QUIET:  # then nobody has been asking
            self._failing_since, self._failing = now, handle
        self._last_failure = now + asked_to_wait(error)
        if alone or handle != self._failing:
            self._failing = None
        seconds = now - self._failing_since
        if seconds >= CONTACT_IS_LOST_AFTER and self._failing is None and not self._told_lost_contact:
            self._told_lost_contact = True
            self._tell(LostContact(at=self._clock.now(), error=error, seconds=seconds), self._everybody())
        return self._failing_since

    def contact_made(self, now: float) -> None:
        """Take note that a look was answered."""
        since, self._failing_since = self._failing_since, None
        if self._told_lost_contact and since is not None:
            self._told_lost_contact = False
            self._tell(Recovered(at=self._clock.now(), seconds=now - since), self._everybody())

    def _tell(self, event: Event, subscriptions: Iterable[Subscription]) -> None:
        log_event(event, self._secrets)
        for observer in self._observers:
            try:
                observer(event)
            except (Exception, CancelledError):  # an observer's trouble is not the watch's, whatever it raises
                log.exception("an observer failed on %s", event.name, extra={"zuora_event": event.name})
        for subscription in subscriptions:
            subscription.put(event)
