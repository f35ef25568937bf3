"""What a task remembers of its submits over its tries, in Airflow's task state: so no try submits what an earlier one has.

The intent is there before a request is sent, and the job's handle after it. A later try goes on with that handle, whatever the
request has become meanwhile: a template with the present moment in it, say, makes another each time.

Somebody may clear the task; Airflow allows it more tries then, and that is how it is told. If it was done with its job, or that
has ended badly or is gone since, it begins another; a job that runs, or has ended well without the task having heard of it, is its own still.
"""

# ruff: noqa: ARG002 - a Record is told more than one request of a task needs

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from zuora_jobs.errors import NotFound
from zuora_jobs.journal.documents import to_text
from zuora_jobs.journal.entries import Intent
from zuora_jobs.journal.submits import answer_of, job_of
from zuora_jobs.watching.clock import WallClock
from zuora_jobs.watching.outcome import Cancelled, Failed
from zuora_jobs.watching.record import NoRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.protocol.submits import Submitted
    from zuora_jobs.watching.outcome import Outcome


class Store(Protocol):
    """Airflow's `context["task_state_store"]`: of one task of one run, over all its tries."""

    def get(self, key: str) -> Any:
        """Give a value; None: there is none."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""

    def delete(self, key: str) -> None:
        """Forget it."""


def key_of(number: int) -> str:
    """Give the key under which a task's request of that number is remembered."""
    return f"zuora_jobs_submit_{number}"


class TaskRecord(NoRecord):
    """Remembers one request of a task; a Record for a Submitter.

    Args:
        store: where; it waits, so threads are made to wait for it.
        number: which of the task's requests this is, from 0.
        tries: how many tries Airflow allows the task.
        look: gives how a job has ended; None: it has not.
        secrets: must not be written down.
    """

    def __init__(
        self,
        store: Store,
        number: int,
        tries: int,
        look: Callable[[JobHandle[Any]], Awaitable[Outcome[Any] | None]],
        secrets: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._key = key_of(number)
        self._tries = tries
        self._look = look
        self._secrets = secrets
        self._clock = WallClock()
        self._known: dict[str, Any] | None = None
        """What the store has, once that was asked for."""

    async def intent(self, request: str) -> Intent | None:
        """Give what an earlier try has left."""
        known = self._known = await asyncio.to_thread(self._store.get, self._key)
        if known is None:
            return None
        kind, _, identifier = (known["handle"] or "").partition(":")
        handle, stranger = job_of(kind or None, identifier)
        was_cleared = known["tries"] != self._tries
        if was_cleared and (known["ended"] or (handle is not None and await self._ended_badly(handle))):
            return None
        if was_cleared:  # taken on: the retries of this try are Airflow's, and no more than any others
            await self._change(tries=self._tries)
        since = datetime.fromisoformat(known["at"])
        is_same = known["request"] == request
        return Intent(
            # with another request, the key of the first would have Zuora answer for that
            idempotency_key=known["idempotency_key"] if is_same else None,
            age=max(0.0, (self._clock.now() - since).total_seconds()),
            is_settled=known["settled"],
            handle=handle,
            stranger=stranger,
            answer=answer_of(known["name"], known["answer"]),
        )

    async def _ended_badly(self, handle: JobHandle[Any]) -> bool:
        try:
            return isinstance(await self._look(handle), Failed | Cancelled)
        except NotFound:  # nothing runs that could be done twice
            return True

    def intend(
        self, request: str, name: str, idempotency_key: str | None, note: str | None = None
    ) -> asyncio.Future[None]:
        """Remember that a request is about to be sent."""
        known = self._known
        goes_on = known is not None and not known["ended"] and known["idempotency_key"] == idempotency_key
        intent = {
            "request": request,
            "name": name,
            "idempotency_key": idempotency_key,
            "at": known["at"] if known is not None and goes_on else self._clock.now().astimezone(UTC).isoformat(),
            "settled": False,
            "handle": None,
            "answer": None,
            "ended": False,
            "tries": self._tries,
        }
        return asyncio.ensure_future(self._keep(intent))

    def settle(self, request: str, submitted: Submitted[Any], outcome: Outcome[Any] | None) -> asyncio.Future[None]:
        """Remember what Zuora has answered."""
        answer = to_text(submitted.answer, self._secrets)
        handle = str(submitted.handle) if submitted.handle is not None else None
        return asyncio.ensure_future(self._change(settled=True, handle=handle, answer=answer))

    def withdraw(self, request: str) -> asyncio.Future[None]:
        """Forget a request of which nothing came."""
        self._known = None
        return asyncio.ensure_future(asyncio.to_thread(self._store.delete, self._key))

    async def _change(self, **changes: Any) -> None:
        await self._keep((self._known or {}) | changes)

    async def _keep(self, known: dict[str, Any]) -> None:
        self._known = known
        await asyncio.to_thread(self._store.set, self._key, known)


def end(store: Store, number: int, tries: int) -> None:
    """Remember that a request's job has ended and that its task is done with it: who clears the task begins anew."""
    known = store.get(key_of(number))
    if known is not None:
        store.set(key_of(number), known | {"ended": True, "tries": tries})
