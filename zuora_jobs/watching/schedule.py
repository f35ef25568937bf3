"""Which job to look at next: a pure state machine over a heap. No await, no clock; moments come in as arguments.

The job that has been due for longest goes first, so none starves. A change of mind leaves the old entry in the heap, to
be skipped when it comes up; when such leftovers outnumber what is live, the heap is built anew.
"""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_LEFTOVERS = 64
"""Stale entries that are not worth a rebuild."""


class Schedule(Generic[K]):
    """When each of many jobs is to be looked at."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        self._entries: dict[K, int] = {}
        self._counter = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def put(self, key: K, due: float) -> None:
        """Have *key* looked at when it is *due*, and not when it was due before."""
        self._counter += 1
        self._entries[key] = self._counter
        heappush(self._heap, (due, self._counter, key))
        if len(self._heap) > 2 * len(self._entries) + _LEFTOVERS:
            self._heap = [entry for entry in self._heap if self._entries.get(entry[2]) == entry[1]]
            heapify(self._heap)

    def discard(self, key: K) -> None:
        """Do not have *key* looked at, if it was to be."""
        self._entries.pop(key, None)

    def next_due(self) -> float | None:
        """Tell when the next look is due; None when none is."""
        heap = self._heap
        while heap and self._entries.get(heap[0][2]) != heap[0][1]:
            heappop(heap)
        return heap[0][0] if heap else None

    def first(self) -> K | None:
        """Give the job that is due next, and leave it where it is."""
        return self._heap[0][2] if self.next_due() is not None else None

    def pop(self, now: float) -> K | None:
        """Take the job that has been due for longest; None when none is due by *now*."""
        due = self.next_due()
        if due is None or due > now:
            return None
        _, _, key = heappop(self._heap)
        del self._entries[key]
        return key
