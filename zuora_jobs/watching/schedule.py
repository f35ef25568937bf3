"""Which job to look at next under a shared budget: a pure state machine, told the time. No await, no clock, no chance.

Each job that waits has a weight, the square root of the rate at which it is believed to end; worth a look most is the job
whose weight times the seconds since its last look is largest. At any budget that spends the looks where they save most
delay: intervals are in the proportion of the inverse weights, which is the optimum for jobs that end at unknown times.
Weights come from what has been seen: of jobs at work, how long others of their kind and status stayed (`stays.py`); of
jobs that have not begun, how near to the head of the line jobs do begin (`line.py`).

A share of the looks goes to the job that was looked at longest ago, whatever is believed: beliefs may be wrong, and no job
is to wait for more than its `max_interval`.

A decision costs as much as there are different weights, in steps of a fifth: some ten to thirty, however many jobs there
are. A job that waits costs one place in the queue of its weight, and no timer.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import heapify, heappop, heappush
from math import exp, inf, log, log2
from typing import TYPE_CHECKING, Final, Generic

from zuora_jobs.watching.line import IN_LINE_NO_MORE, Line
from zuora_jobs.watching.rank import E, Rank
from zuora_jobs.watching.stays import Stays

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from zuora_jobs.watching.cadence import Pace

_STEPS: Final = 2
"""Rates of ending that are told apart, an octave."""

_FLOOR_STEPS: Final = 8
"""Intervals that are told apart, an octave."""

_LEFTOVERS: Final = 64
"""Stale appointments that are not worth a rebuild."""

_MOST_RANKS: Final = 200
"""From that many on, those that are empty are forgotten."""

_FIRST_PRICE: Final = 0.1

_LEAST_EXPLORED: Final = 0.08
_MOST_EXPLORED: Final = 0.5
"""Shares of looks that go to the job that was looked at longest ago."""

_NEARLY: Final = 0.9
"""Of the longest wait, after which a job is looked at before all others."""

_BARELY_KNOWN: Final = 4.0
"""Ends that must have been seen for each further doubt about the interval that a wished lateness comes to."""


class Schedule(Generic[E]):
    """When each of many jobs is to be looked at."""

    def __init__(self) -> None:
        self.price = _FIRST_PRICE
        """Seconds of delay that a look saves, as looks are spent at present."""
        self._lines: dict[Hashable, Line[E]] = defaultdict(Line)
        self._stays: dict[tuple[Hashable, str], Stays] = defaultdict(Stays)
        self._ranks: dict[tuple[Hashable, int, float, float], Rank[E]] = {}
        self._occupied: list[Rank[E]] = []
        self._appointments: list[tuple[float, int, E]] = []
        self._counter = 0
        self._waiting = 0
        self._credit = 0.0
        self._was_appointed = False
        self._by_bound = True
        self._explored: E | None = None
        self._found_exploring = _MOST_EXPLORED
        """How often of late a look at who had waited longest found that the job had ended."""
        self._found_else = 0.0

    def __len__(self) -> int:
        return self._waiting

    def stays(self, kind: Hashable, status: str) -> Stays:
        """Give what is known of the stays of a *kind* in a *status*."""
        return self._stays[kind, status]

    def moved(self, kind: Hashable) -> float:
        """Tell when a job of a *kind* was last seen to begin: then those behind it have come nearer to their turn."""
        return self._lines[kind].moved

    # --- who waits

    def add(self, entry: E, kind: Hashable, now: float) -> None:
        """Take in a job: it stands in line behind those of its kind, unless those begin at once."""
        entry.cell = entry.place = None
        entry.last = entry.since = entry.key = now
        line = self._lines[kind]
        if line.begin_at_once:
            entry.stretch = IN_LINE_NO_MORE
        else:
            line.join(entry, now)

    def put(self, entry: E, due: float) -> None:
        """Have a job looked at when it is *due*, and not when it was due before."""
        self._counter += 1
        self._waiting += entry.place is None
        self._goes(entry)
        appointment = (due, self._counter, entry)
        entry.place = appointment
        heappush(self._appointments, appointment)
        if len(self._appointments) > 2 * self._waiting + _LEFTOVERS:
            self._appointments = [one for one in self._appointments if one[2].place is one]
            heapify(self._appointments)

    def wait(self, entry: E, kind: Hashable, pace: Pace) -> None:
        """Have a job wait until a look at it is worth more than one at others."""
        self._waiting += entry.place is None
        self._goes(entry)
        is_new, longest = entry.cell is None, pace.max_interval  # of one that is new there is nothing to keep away from
        if entry.stretch != IN_LINE_NO_MORE:
            floor = 0.0 if is_new else min(longest, max(pace.min_interval, 2 * (pace.lateness or 0.0)))
            self._queue(entry, self._rank_in_line(kind, entry.stretch, floor, longest))
            return
        cell, age = entry.cell or self._lines[kind].then or self.stays(kind, ""), entry.last - entry.since
        floor = 0.0 if is_new else self._unhurried(cell, age, pace) if pace.lateness else pace.min_interval
        step = round(log2(self.price / cell.interval(age, self.price, longest) ** 2) * _STEPS)
        key = (None, step, floor, longest)
        rank = self._ranks.get(key)
        if rank is None:
            rank = self._ranks[key] = Rank(2 ** ((step / _STEPS + 1) / 2), floor, longest)
        self._queue(entry, rank)

    def discard(self, entry: E) -> None:
        """Do not have a job looked at."""
        if entry.place is not None:
            self._goes(entry)
            self._waiting -= 1
        if entry is self._explored:
            self._explored = None

    def remove(self, entry: E, kind: Hashable, now: float) -> None:
        """Forget a job of which nothing more is to be learned."""
        self.discard(entry)
        if entry.stretch != IN_LINE_NO_MORE:
            self._leave_line(entry, kind, self._lines[kind], now)

    # --- what is learned

    def saw(self, entry: E, kind: Hashable, status: str, *, begun: bool, ended: bool, now: float) -> None:
        """Learn from an answer about a job, which does not wait at that moment."""
        if entry is self._explored:
            self._explored = None
            self._found_exploring += (ended - self._found_exploring) / 8
        else:
            self._found_else += (ended - self._found_else) / 32
        before, cell = entry.cell, self.stays(kind, status)
        line = self._lines[kind]
        if entry.stretch != IN_LINE_NO_MORE:
            self._saw_in_line(entry, kind, line, begun=begun, ended=ended, now=now)
        elif before is None and not begun and not ended:
            line.join(entry, now)  # there is a line after all
        if before is cell:
            cell.still(entry.last - entry.since, now - entry.since)
        else:
            if before is not None:
                before.left(entry.last - entry.since, now - entry.since)
            entry.since = (entry.key + now) / 2
            entry.cell = cell
            if begun and not ended:
                line.then = cell
        entry.last = entry.key = now

    def _saw_in_line(self, entry: E, kind: Hashable, line: Line[E], *, begun: bool, ended: bool, now: float) -> None:
        if begun or ended:
            line.began(entry, now - entry.key, now, has_ended=ended)
            self._leave_line(entry, kind, line, now)
        else:
            line.still(entry, now - entry.key)
        if line.has_news:
            line.renew(now)
            for (of, stretch, _, longest), rank in self._ranks.items():
                if of is kind:
                    rank.weight = line.weight(stretch, self.price, longest)

    # --- whose turn it is

    def pop(self, now: float, rate: float) -> E | None:
        """Take the job to be looked at; None when none is due by *now*.

        Appointments and those who wait take turns, where both have somebody.

        Args:
            now: the moment.
            rate: looks a second that the budget allows at present.
        """
        due = self._next_appointment()
        is_due = due is not None and due <= now
        rank = self._choose(now, rate) if not is_due or self._was_appointed else None
        self._was_appointed = rank is None
        if rank is not None:
            entry = self._take(rank)
        elif is_due:
            entry = heappop(self._appointments)[2]
        else:
            return None
        entry.place = None
        self._waiting -= 1
        return entry

    def _goes(self, entry: E) -> None:
        """Take note that *entry* is no longer where it was: nowhere, or waiting elsewhere from now on."""
        before, entry.place = entry.place, None
        if isinstance(before, Rank):
            before.gone += 1
            if before.gone > len(before.keys) // 2 + _LEFTOVERS:
                before.clear_away()
                if not before.keys:
                    self._occupied.remove(before)

    def next_due(self) -> float | None:
        """Tell when the next look is due; None when none is."""
        due = self._next_appointment()
        for rank in list(self._occupied):
            while rank.keys and not self._is_current(rank):
                pass
            if rank.keys and (due is None or rank.keys[0] + rank.floor < due):
                due = rank.keys[0] + rank.floor
        return due

    def overdue(self, now: float) -> Iterable[E]:
        """Give all whose look is due by *now*: those that nobody has got round to."""
        appointed = (one[2] for one in self._appointments if one[0] <= now and one[2].place is one)
        waiting = (entry for rank in self._occupied for entry in rank.due(now))
        return dict.fromkeys((*appointed, *waiting))  # one that has gone and come again stands in its rank twice

    def _next_appointment(self) -> float | None:
        heap = self._appointments
        while heap and heap[0][2].place is not heap[0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def _choose(self, now: float, rate: float) -> Rank[E] | None:
        """Find whose first job is worth a look most, or now and then who has waited longest."""
        while True:
            best = eldest = latest = None
            most = oldest = longest = 0.0
            for rank in self._occupied:
                key = rank.keys[0]
                if key + rank.floor > now:
                    continue
                waited = now - key
                worth = waited * rank.weight
                if worth > most or best is None:
                    best, most = rank, worth
                share = waited / rank.longest
                if share > oldest or latest is None or (share == oldest and rank.weight > latest.weight):
                    latest, oldest = rank, share
                if waited > longest or eldest is None or (waited == longest and rank.weight > eldest.weight):
                    eldest, longest = rank, waited
            if best is None or latest is None or eldest is None:
                return None
            # by its own bound, or by the clock: where there is no keeping some bounds, others are not to suffer for ever
            waiter = latest if self._by_bound else eldest
            if self._is_current(best) and (waiter is best or self._is_current(waiter)):
                return self._best_or_waiter(best, most, waiter, oldest, rate)

    def _best_or_waiter(self, best: Rank[E], most: float, waiter: Rank[E], waited: float, rate: float) -> Rank[E]:
        """Tell whether this look goes to the job that has waited longest, whatever is believed.

        Args:
            best: whose first is worth a look most.
            most: how much.
            waiter: whose first has waited longest.
            waited: the largest share of its longest wait that anybody has waited.
            rate: looks a second.
        """
        needed = self._waiting / (rate * _NEARLY * waiter.longest) if rate > 0 else inf
        as_useful = self._found_exploring / (self._found_exploring + self._found_else + 1e-9)
        self._credit += min(_MOST_EXPLORED, max(_LEAST_EXPLORED, as_useful, needed))
        if self._credit >= 1 or (waited > _NEARLY and needed < _MOST_EXPLORED):
            self._credit = max(0.0, self._credit - 1)
            self._by_bound = not self._by_bound
            if waiter is not best:
                self._explored = waiter.entries[0]
            return waiter
        if most > 0:
            self.price *= exp((2 * log(most) - log(2 * self.price)) / (20 + self._waiting))
        return best

    # --- ranks

    def _queue(self, entry: E, rank: Rank[E]) -> None:
        if not rank.keys:
            self._occupied.append(rank)
        rank.append(entry)

    def _take(self, rank: Rank[E]) -> E:
        entry = rank.take()
        if not rank.keys:
            self._occupied.remove(rank)
            if len(self._ranks) > _MOST_RANKS:
                self._ranks = {key: one for key, one in self._ranks.items() if one.keys}
        return entry

    def _is_current(self, rank: Rank[E]) -> bool:
        """Tell whether the first of *rank* still waits there; if not, clear it away."""
        if rank.is_current():
            return True
        rank.gone -= 1
        self._take(rank)
        return False

    # --- weights

    def _unhurried(self, cell: Stays, age: float, pace: Pace) -> float:
        """Give the seconds to leave a job alone, where it may be noticed as late as its pace says.

        While little is known, that is twice the lateness, which comes to it whenever the job ends.
        """
        assert pace.lateness is not None  # noqa: S101 - who calls has looked
        unknown, known = 2 * pace.lateness, cell.events / (cell.events + _BARELY_KNOWN)
        interval = cell.interval(age, cell.price_of(pace.lateness), pace.max_interval)
        interval = unknown ** (1 - known) * min(interval, unknown * (1 + cell.events / _BARELY_KNOWN)) ** known
        # in steps, since those who wait equally long stand in one queue
        stepped = 2 ** (int(log2(interval) * _FLOOR_STEPS) / _FLOOR_STEPS)
        return min(pace.max_interval, max(pace.min_interval, stepped))

    def _rank_in_line(self, kind: Hashable, stretch: int, floor: float, longest: float) -> Rank[E]:
        key = (kind, stretch, floor, longest)
        rank = self._ranks.get(key)
        if rank is None:
            weight = self._lines[kind].weight(stretch, self.price, longest)
            rank = self._ranks[key] = Rank(weight, floor, longest)
        return rank

    def _leave_line(self, entry: E, kind: Hashable, line: Line[E], now: float) -> None:
        """Let a job go from its line; those that come nearer to the head by that get another weight."""
        for other in line.leave(entry):
            rank = other.place
            if isinstance(rank, Rank):
                nearer = self._rank_in_line(kind, other.stretch, rank.floor, rank.longest)
                self._goes(other)
                if now - other.last < _NEARLY / 2 * rank.longest:
                    # what it has waited is worth now what it was
                    other.key = max(other.last, now - (now - other.key) * rank.weight / nearer.weight)
                self._queue(other, nearer)
