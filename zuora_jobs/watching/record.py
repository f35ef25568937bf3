"""What a fleet has written down, and by whom: a journal, or nobody."""

# ruff: noqa: ARG002 - nobody takes down what he is told

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from zuora_jobs.journal.entries import NEW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.errors import JournalError
    from zuora_jobs.journal.entries import Intent, Past
    from zuora_jobs.protocol.kinds import JobHandle, JobKind, Phase
    from zuora_jobs.protocol.submits import Submitted
    from zuora_jobs.watching.outcome import Outcome


class Record(Protocol):
    """Takes down what happens to jobs; `zuora_jobs.Journal` is one. No method waits."""

    def begin(self, client: ZuoraClient, *, on_failure: Callable[[JournalError], None]) -> None:
        """Serve one watcher, and nobody else."""

    async def stays(self) -> Iterable[tuple[JobKind[Any], str, float]]:
        """Give for how many seconds jobs have stayed in each status, in earlier runs."""

    def accept(self, handle: JobHandle[Any], then: Callable[[Past], None]) -> None:
        """A job is to be watched: tell *then* what is known of it, once that has been taken down."""

    def seen(self, handle: JobHandle[Any], status: str, phase: Phase | None, polls: int) -> None:
        """A job has another status than before."""

    def left(self, handle: JobHandle[Any], polls: int) -> None:
        """A job is no longer watched, though it had not ended."""

    def finish(self, outcome: Outcome[Any], then: Callable[[], None]) -> None:
        """A watch has ended: call *then* once that has been taken down."""

    async def intent(self, request: str) -> Intent | None:
        """Give what is known of a request that was submitted, or was about to be; None: nothing."""

    def intend(
        self, request: str, name: str, idempotency_key: str | None, note: str | None = None
    ) -> asyncio.Future[None]:
        """A request is about to be sent; done once that has been taken down."""

    def settle(self, request: str, submitted: Submitted[Any], outcome: Outcome[Any] | None) -> asyncio.Future[None]:
        """Zuora has taken a request; done once that has been taken down."""

    def withdraw(self, request: str) -> asyncio.Future[None]:
        """Nothing came of a request; done once that has been taken down."""

    def check(self) -> None:
        """Raise why nothing more can be taken down, if so."""

    async def close(self) -> None:
        """No more will come."""


def _done() -> asyncio.Future[None]:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


class NoRecord:
    """Takes nothing down, and knows nothing."""

    def begin(self, client: ZuoraClient, *, on_failure: Callable[[JournalError], None]) -> None:
        """Serve anybody."""

    async def stays(self) -> Iterable[tuple[JobKind[Any], str, float]]:
        """Know of none."""
        return ()

    def accept(self, handle: JobHandle[Any], then: Callable[[Past], None]) -> None:
        """Know nothing of any job."""
        then(NEW)

    def seen(self, handle: JobHandle[Any], status: str, phase: Phase | None, polls: int) -> None:
        """Forget it."""

    def left(self, handle: JobHandle[Any], polls: int) -> None:
        """Forget it."""

    def finish(self, outcome: Outcome[Any], then: Callable[[], None]) -> None:
        """Let it be told."""
        then()

    async def intent(self, request: str) -> Intent | None:
        """Know of none."""
        return None

    def intend(
        self, request: str, name: str, idempotency_key: str | None, note: str | None = None
    ) -> asyncio.Future[None]:
        """Forget it."""
        return _done()

    def settle(
        self,
        request: str,
        submitted: Submitted[Any],
        outcome: Outcome[Any] | None,
    ) -> asyncio.Future[None]:
        """Forget it."""
        return _done()

    def withdraw(self, request: str) -> asyncio.Future[None]:
        """Forget it."""
        return _done()

    def check(self) -> None:
        """Nothing can go wrong."""

    async def close(self) -> None:
        """There is nothing to close."""
