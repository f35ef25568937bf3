"""Looks at jobs, and makes of each answer what is to be made of it: an event, an end, another look.

A look that fails is one job's trouble (`troubles.py`), unless nobody answers at all, which is everybody's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from zuora_jobs.errors import UnknownStatus, ZuoraJobsError
from zuora_jobs.logs import about
from zuora_jobs.protocol import wire
from zuora_jobs.protocol.kinds import Phase
from zuora_jobs.transport.retry import nobody_home
from zuora_jobs.watching.events import Observed, Retrying, Stalled, StatusChanged, UnknownStatusSeen
from zuora_jobs.watching.keepsake import MANY, Keepsakes
from zuora_jobs.watching.losses import kept, unknown_for_too_long
from zuora_jobs.watching.outcome import Lost, Outcome, outcome_of
from zuora_jobs.watching.stalls import SOONEST, progress, standstill, too_long, usual
from zuora_jobs.watching.troubles import Troubles
from zuora_jobs.watching.watch import NOTHING_ASIDE, Rules, Watch

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.protocol.models import JobDocument
    from zuora_jobs.protocol.sighting import Sighting
    from zuora_jobs.transport.limits import Permit
    from zuora_jobs.watching.herald import Herald
    from zuora_jobs.watching.record import Record
    from zuora_jobs.watching.schedule import Schedule

log = logging.getLogger("zuora_jobs")

UNKNOWN: Final = ""
"""What all statuses that a kind does not list are for the schedule."""

PENDING: Final = Phase.PENDING

MOST_UNKNOWN: Final = 20
"""Unknown statuses in a row that are told; what comes after them is a number that grows, say."""


class Looker:
    """Looks at the jobs of one fleet.

    Args:
        client: sends the requests.
        rules: how to watch.
        record: what is seen is taken down there.
        herald: tells it.
        schedule: learns from it, and is told who waits for another look.
        watches: all that are watched.
        counts: of polls and retries, to be added to.
        finish: ends a watch.
    """

    def __init__(
        self,
        *,
        client: ZuoraClient,
        rules: Rules,
        record: Record,
        herald: Herald,
        schedule: Schedule[Watch],
        watches: Mapping[JobHandle[Any], Watch],
        counts: Counter[str],
        finish: Callable[[Watch, Outcome[Any]], None],
    ) -> None:
        self.notice: Callable[[float], None] = lambda _: None
        """Told when a look may be due."""
        self._client = client
        self._rules = rules
        self._record = record
        self._herald = herald
        self._schedule = schedule
        self._watches = watches
        self._counts = counts
        self._finish = finish
        self._keepsakes = Keepsakes()
        self._loop = asyncio.get_running_loop()

    # --- looks

    def park(self, watch: Watch) -> bool:
        """Leave *watch* alone if all who watch it are behind in their reading, until one has read on."""
        for subscription in watch.subscriptions:
            if not subscription.is_full:
                return False
        watch.parked = True
        for subscription in watch.subscriptions:
            subscription.park(watch.handle)
        return True

    async def look(self, watch: Watch, permit: Permit) -> None:
        """Look at *watch*, using up *permit*, and make of the answer what is to be made of it."""
        watch.looking = asyncio.current_task()
        try:
            try:
                with self._herald.looking(watch.handle):
                    sighting = await self._client.sight(watch.handle, permit)
            finally:
                watch.looking = None
            self._counts["polls"] += 1
            watch.polls += 1
            self._seen(watch, sighting, looked=True)
        except ZuoraJobsError as error:
            self._not_seen(watch, error)
        except Exception as bug:  # one job's trouble, a mistake in its kind's row say, is not its neighbours'
            log.exception("looking at %s went wrong", watch.handle, extra=about(watch.handle, error=bug))
            if watch.handle in self._watches:
                self._lose(watch, ZuoraJobsError(f"{type(bug).__name__} while looking at the job; see the log"))

    def begin(self, watch: Watch) -> None:
        """Have *watch* looked at in its turn, for the first time or after it was left alone."""
        if not watch.accepted:
            watch.nudged = True
        elif watch.place is None and not watch.looking:
            watch.parked = False
            self._wait(watch)

    def _wait(self, watch: Watch) -> None:
        """Have *watch* looked at when its cadence says."""
        now = self._loop.time()
        cadence = watch.aside.cadence if watch.aside is not None else None
        cadence = cadence or self._rules.cadence(watch.handle)
        if watch.nudged:
            self.look_at(watch, now)
        elif cadence.pace is not None:
            self._schedule.wait(watch, watch.handle.kind, cadence.pace)
            self.notice(now + (cadence.pace.min_interval if watch.cell is not None else 0.0))
        else:
            is_new = watch.cell is None
            self.look_at(watch, now if is_new else now + cadence.delay(max(1, watch.polls), self._client.rng))

    def look_at(self, watch: Watch, due: float) -> None:
        """Have *watch* looked at when it is *due*, or now where it has been nudged; one look at a time."""
        if watch.looking:
            return
        due = self._loop.time() if watch.nudged else due
        watch.nudged = watch.parked = False
        self._schedule.put(watch, due)
        self.notice(due)

    def take_in(self, watch: Watch, sighting: Sighting[Any]) -> None:
        """Take in a document that answers something else than a look."""
        self._seen(watch, sighting, looked=False)

    def _seen(self, watch: Watch, sighting: Sighting[Any], *, looked: bool) -> None:
        """Take in a document, which answers a look or a DELETE."""
        if self._watches.get(watch.handle) is not watch:
            return  # ended, or left, while the answer was under way
        now = self._loop.time()
        self._herald.contact_made(now)
        kind = watch.handle.kind
        status = kind.word(sighting.status)
        phase = kind.phase(status)
        ended = phase is not None and phase.is_terminal
        before, watch.status = watch.status, status
        watch.is_well()
        known = status if phase is not None else UNKNOWN  # of which there may be no end
        self._schedule.saw(watch, kind, known, begun=phase is not PENDING, ended=ended, now=now)
        if before != status:
            self._record.seen(watch.handle, status, phase, watch.polls)
            if kind.progress is not None:
                watch.progress = progress(kind, sighting.job)
        if looked:
            self._herald.of(Observed, watch, status=status, phase=phase, polls=watch.polls, job=sighting)
        if before is not None and before != status:
            self._herald.of(StatusChanged, watch, before=before, status=status)
        if ended:
            outcome = outcome_of(watch.handle, sighting.job, polls=watch.polls, elapsed=now - watch.began)
            assert outcome is not None  # noqa: S101 - the phase is terminal
            self._finish(watch, outcome)
            return
        watch.seen = self._keepsakes.pack(kind, sighting.body, many=len(self._watches) > MANY)
        if phase is None and (error := self._unknown_for_too_long(watch, status, now)):
            self._lose(watch, error)
            return
        if phase is not None and watch.aside is not None:
            watch.aside.unknown = NOTHING_ASIDE.unknown
        self._tell_standstill(watch, sighting, now)
        if not watch.looking:
            self._wait(watch)

    def _tell_standstill(self, watch: Watch, sighting: Sighting[Any], now: float) -> None:
        """Tell, once, that a job has not moved for far longer than its like."""
        kind = watch.handle.kind
        if watch.cell is None or now - watch.since < SOONEST:
            return
        limit = too_long(kind, watch.cell)
        if now - watch.since < limit:
            return
        seconds = standstill(watch, sighting.job, limit, self._schedule.moved(kind), now)
        if seconds is not None:
            self._herald.of(Stalled, watch, status=sighting.status, seconds=seconds, usual=usual(watch.cell))

    def _unknown_for_too_long(self, watch: Watch, status: str, now: float) -> UnknownStatus | None:
        aside = watch.set_aside()
        if not aside.unknown:
            aside.unknown_since = now
        if status not in aside.unknown and len(aside.unknown) < MOST_UNKNOWN:
            aside.unknown |= {status}
            self._herald.of(UnknownStatusSeen, watch, status=status)
        if now - aside.unknown_since < self._rules.unknown_status_timeout:
            return None
        return unknown_for_too_long(watch.handle, status, now - aside.unknown_since)

    def _not_seen(self, watch: Watch, error: ZuoraJobsError) -> None:
        """Take in that a look was not answered with a document."""
        if self._watches.get(watch.handle) is not watch:
            return
        now = self._loop.time()
        if nobody_home(error):
            alone = len(self._watches) == 1
            away_since = self._herald.contact_failed(error, watch.handle, now, alone=alone)
            if self._lose_contact(watch, error, away_since, now):
                return
        elif error.sent:
            self._herald.contact_made(now)
        aside, patience = watch.set_aside(), self._rules.patience
        if aside.troubles is None:
            aside.troubles = Troubles(patience, self._client.rng)
        delay = aside.troubles.add(error, patience, now)
        if delay is None:
            self._lose(watch, error)
            return
        self._counts["retries"] += 1
        self._herald.of(Retrying, watch, error=kept(error), delay=delay)
        self.look_at(watch, now + delay)

    def _lose_contact(self, watch: Watch, error: ZuoraJobsError, away_since: float, now: float) -> bool:
        """Give up those who have waited for a look for too long: in an outage only few are asked about.

        Returns:
            Whether *watch*, whose look it was that nobody answered, is among them.
        """
        longest = self._rules.patience.again
        if now - away_since < longest or len(self._watches) == 1:  # one alone has troubles of its own
            return False
        for one in [watch, *self._schedule.overdue(now)]:
            if now - max(one.began, away_since) >= longest:
                self._lose(one, error)
        return self._watches.get(watch.handle) is not watch

    # --- losses

    def lost(self, watch: Watch, error: ZuoraJobsError) -> Lost[Any]:
        """Give the outcome of a job of which we stop knowing."""
        elapsed = self._loop.time() - watch.began
        return Lost(handle=watch.handle, job=self._job(watch), polls=watch.polls, elapsed=elapsed, error=kept(error))

    def _lose(self, watch: Watch, error: ZuoraJobsError) -> None:
        self._finish(watch, self.lost(watch, error))

    def _job(self, watch: Watch) -> JobDocument | None:
        """Give the last document that was seen of a job."""
        if watch.seen is None:
            return None
        kind = watch.handle.kind
        job: JobDocument = wire.read(self._keepsakes.unpack(kind, watch.seen), kind.model)
        return job
