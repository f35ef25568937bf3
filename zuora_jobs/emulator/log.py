"""What was asked, and how it was answered: the evidence that tests assert on.

- Records are in order of arrival. One that is still being answered, or whose connection was dropped, has no status.
- The Authorization header never gets here; `bore_authorization` tells whether there was one, and `authorized` whether
  its token was accepted.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from attrs import define, field, frozen
from multidict import CIMultiDict, CIMultiDictProxy

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class RequestRecord:
    """One request that the emulator received."""

    at: float
    """When it arrived, as `loop.time()` tells it."""
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Without Authorization; names are compared ignoring case."""
    authorized: bool
    """Whether it bore a token that was good at that moment."""
    status: int | None
    """The HTTP status answered; None while unanswered, and for a connection that was dropped."""
    handle: str | None
    """The job asked about or submitted, as `kind:id`, if there is such a job."""
    bore_authorization: bool = False
    """Whether it bore an Authorization header at all. One that did not may be sent anywhere."""
    door: str = "api"
    """`api`, `auth` (the token office), or `store`: what came in at the port of `Emulator.store_url`."""


@frozen
class Statistics:
    """What the emulator has done so far."""

    requests: int
    """Requests received, token requests included."""
    token_requests: int
    in_flight: int
    """Requests being answered now."""
    peak_concurrency: int
    """The most requests ever answered at one time."""
    statuses: Mapping[int, int]
    """HTTP status -> how often it was answered."""
    jobs: int
    jobs_ended: int
    faults_struck: int


@define(eq=False)
class Entry:
    """A record in the making."""

    at: float
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    authorized: bool
    door: str
    status: int | None = None
    handle: str | None = None
    _record: RequestRecord | None = field(default=None, init=False)

    def record(self) -> RequestRecord:
        """The entry as it stands, frozen."""
        if self._record is None or self._record.status != self.status:
            public = ((name, value) for name, value in self.headers.items() if name.lower() != "authorization")
            headers = CIMultiDictProxy(CIMultiDict(public))
            self._record = RequestRecord(
                self.at, self.method, self.path, dict(self.query), headers, self.authorized, self.status, self.handle,
                "Authorization" in self.headers, self.door,
            )  # fmt: skip
        return self._record


class RequestLog:
    """The last *length* requests, in order of arrival."""

    def __init__(self, length: int | None) -> None:
        self._entries: deque[Entry] = deque(maxlen=length)
        self.count = 0
        self.statuses: dict[int, int] = {}

    def open(self, entry: Entry) -> Entry:
        """Note an arrival."""
        self.count += 1
        self._entries.append(entry)
        return entry

    def close(self, entry: Entry, status: int | None, handle: str | None) -> None:
        """Note how it was answered; *status* is None for a dropped connection."""
        entry.status, entry.handle = status, handle
        if status is not None:
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def records(self) -> list[RequestRecord]:
        """Every request that is still remembered."""
        return [entry.record() for entry in self._entries]
