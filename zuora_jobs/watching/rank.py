"""What the schedule keeps of one job, and the queue of those whose next look is worth the same."""

from __future__ import annotations

from bisect import bisect
from collections import deque
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zuora_jobs.watching.stays import Stays


class Entry:
    """What the schedule keeps of one job. To be derived from: there is one object a job."""

    __slots__ = ("cell", "key", "last", "place", "since", "stretch")

    cell: Stays | None
    """What is known of jobs in its status; None before it has been looked at."""
    key: float
    """From when its wait counts: `last`, or later where it has come nearer to the head of the line since."""
    last: float
    """When it was looked at last, or taken in."""
    place: Any
    """Where it waits, a `Rank` or an appointment; None: it does not."""
    since: float
    """Since when it is believed to be in its status."""
    stretch: int
    """How far it is from the head of the line of those that have not begun."""


E = TypeVar("E", bound=Entry)


class Rank(Generic[E]):
    """The jobs of one weight, in the order of their last looks."""

    __slots__ = ("entries", "floor", "gone", "keys", "longest", "weight")

    def __init__(self, weight: float, floor: float, longest: float) -> None:
        self.weight = weight
        """The square root of the rate at which they are believed to end."""
        self.floor = floor
        """Seconds after its last look before which none is looked at; for those that have not been, none."""
        self.longest = longest
        """Seconds after it at which it is to be looked at whatever is believed."""
        self.gone = 0
        """Of those who came, have gone elsewhere, and are still here in name; about."""
        self.entries: deque[E] = deque()
        self.keys: deque[float] = deque()
        """The key of each when it came: the very object, which tells who has been elsewhere since."""

    def append(self, entry: E) -> None:
        """Have *entry* wait here, behind those whose last look is older."""
        entry.place = self
        keys, key = self.keys, entry.key
        if not keys or key >= keys[-1]:
            keys.append(key)
            self.entries.append(entry)
        else:  # it has come from elsewhere, with a wait behind it
            place = bisect(keys, key)
            keys.insert(place, key)
            self.entries.insert(place, entry)

    def take(self) -> E:
        """Take the first."""
        self.keys.popleft()
        return self.entries.popleft()

    def is_current(self) -> bool:
        """Tell whether the first still waits here, and has not gone elsewhere."""
        first = self.entries[0]
        return first.place is self and first.key is self.keys[0]

    def clear_away(self) -> None:
        """Forget those who have gone elsewhere."""
        here = [
            one for one in zip(self.entries, self.keys, strict=True) if one[0].place is self and one[0].key is one[1]
        ]
        self.entries = deque(entry for entry, _ in here)
        self.keys = deque(key for _, key in here)
        self.gone = 0

    def due(self, now: float) -> Iterator[E]:
        """Give all who might be looked at by *now*."""
        for entry, key in takewhile(lambda one: one[1] + self.floor <= now, zip(self.entries, self.keys, strict=True)):
            if entry.place is self and entry.key is key:
                yield entry
