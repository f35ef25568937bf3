"""What a candidate is given to do, and what one that has a task for each job is made of.

Only the standard library is imported here: the vendor's SDK has an environment of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple, Protocol

from _cost_server import ROUTE

TOKEN: Final = "not-a-secret"
HEADERS: Final = {"Authorization": f"Bearer {TOKEN}"}
ENDS: Final = frozenset({"Completed", "Failed"})


class Work(NamedTuple):
    """How to watch."""

    base_url: str
    interval: float | None
    """Seconds between two looks at a job; None: as zuora_jobs finds right."""
    at_once: int
    """Connections."""

    @property
    def pause(self) -> float:
        """Give the interval of those who must have one."""
        return 1.0 if self.interval is None else self.interval

    def url(self, job: str) -> str:
        """Give where to ask for *job*."""
        return f"{self.base_url}{ROUTE}{job}"


class Watching(Protocol):
    """Somebody who watches."""

    def start(self, jobs: Iterable[str]) -> None:
        """Watch these too, and return before they have ended: they never do."""

    def taken(self) -> int:
        """Tell how many jobs are being watched."""

    def check(self) -> None:
        """Raise what has ended a watch."""


class Tasks:
    """A task for each job."""

    def __init__(self, watch: Callable[[str], Awaitable[object]]) -> None:
        self._watch = watch
        self._tasks: list[asyncio.Future[object]] = []

    def start(self, jobs: Iterable[str]) -> None:
        """Watch these too."""
        self._tasks += [asyncio.ensure_future(self._watch(job)) for job in jobs]

    def taken(self) -> int:
        """Tell how many jobs are being watched."""
        return len(self._tasks)

    def check(self) -> None:
        """Raise what has ended a watch."""
        for task in self._tasks:
            if task.done():
                message = f"a job that never ends has ended: {task.result()}"
                raise AssertionError(message)
