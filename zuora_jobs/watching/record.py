"""What a fleet has written down, and by whom: a journal, or nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from zuora_jobs.journal.entries import NEW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.errors import JournalError
    from zuora_jobs.journal.entries import Past
    from zuora_jobs.protocol.kinds import JobHandle, JobKind, Phase
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

    def check(self) -> None:
        """Raise why nothing more can be taken down, if so."""

    async def close(self) -> None:
        """No more will come."""


class NoRecord:
    """Takes nothing down, and knows nothing."""

    def begin(self, client: ZuoraClient, *, on_failure: Callable[[JournalError], None]) -> None:
        """Serve anybody."""

    async def stays(self) -> Iterable[tuple[JobKind[Any], str, float]]:
        """Know of none."""
        return ()

    def accept(self, handle: JobHandle[Any], then: Callable[[Past], None]) -> None:  # noqa: ARG002
        """Know nothing of any job."""
        then(NEW)

    def seen(self, handle: JobHandle[Any], status: str, phase: Phase | None, polls: int) -> None:
        """Forget it."""

    def left(self, handle: JobHandle[Any], polls: int) -> None:
        """Forget it."""

    def finish(self, outcome: Outcome[Any], then: Callable[[], None]) -> None:  # noqa: ARG002
        """Let it be told."""
        then()

    def check(self) -> None:
        """Nothing can go wrong."""

    async def close(self) -> None:
        """There is nothing to close."""
