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

from zuora_jobs.errors import MalformedResponse, NotFound
from zuora_jobs.journal.documents import from_text, to_text
from zuora_jobs.journal.entries import Intent
from zuora_jobs.protocol.kinds import KINDS, JobHandle
from zuora_jobs.protocol.submits import SUBMITS
from zuora_jobs.watching.clock import WallClock
from zuora_jobs.watching.outcome import Cancelled, Failed, outcome_of
from zuora_jobs.watching.record import NoRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from zuora_jobs.protocol.models import JobDocument
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
        look: gives a job's document.
        secrets: must not be written down.
    """

    def __init__(
        self,
        store: Store,
        number: int,
        tries: int,
        look: Callable[[JobHandle[Any]], Awaitable[JobDocument]],
        secrets: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._key = key_of(number)
        self._tries = tries
        self._look = look
        self._secrets = secrets
        self._clock = WallClock()

    async def intent(self, request: str) -> Intent | None:
        """Give what an earlier try has left."""
        known = await asyncio.to_thread(self._store.get, self._key)
        if known is None:
            return None
        handle, stranger = _known_handle(known["handle"])
        was_cleared = known["tries"] != self._tries
        if was_cleared and (known["ended"] or (handle is not None and await self._ended_badly(handle))):
            return None
        if was_cleared:  # taken on: the retries of this try are Airflow's, and no more than any others
            await self._set(**(known | {"tries": self._tries}))
        since = datetime.fromisoformat(known["at"])
        is_same = known["request"] == request
        return Intent(
            # with another request, the key of the first would have Zuora answer for that
            idempotency_key=known["idempotency_key"] if is_same else None,
            age=max(0.0, (self._clock.now() - since).total_seconds()),
            is_settled=known["settled"],
            handle=handle,
            stranger=stranger,
            answer=_answer(known["name"], known["answer"]),
        )

    async def _ended_badly(self, handle: JobHandle[Any]) -> bool:
        try:
            document = await self._look(handle)
        except NotFound:  # nothing runs that could be done twice
            return True
        return isinstance(outcome_of(handle, document, polls=1, elapsed=0.0), Failed | Cancelled)

    def intend(
        self, request: str, name: str, idempotency_key: str | None, note: str | None = None
    ) -> asyncio.Future[None]:
        """Remember that a request is about to be sent."""
        return asyncio.ensure_future(self._intend(request, name, idempotency_key))

    async def _intend(self, request: str, name: str, idempotency_key: str | None) -> None:
        known = await asyncio.to_thread(self._store.get, self._key)
        goes_on = known is not None and not known["ended"] and known["idempotency_key"] == idempotency_key
        await self._set(
            request=request,
            name=name,
            idempotency_key=idempotency_key,
            at=known["at"] if goes_on else self._clock.now().astimezone(UTC).isoformat(),
            settled=False,
            handle=None,
            answer=None,
            ended=False,
            tries=self._tries,
        )

    def settle(self, request: str, submitted: Submitted[Any], outcome: Outcome[Any] | None) -> asyncio.Future[None]:
        """Remember what Zuora has answered."""
        answer = to_text(submitted.answer, self._secrets)
        handle = str(submitted.handle) if submitted.handle is not None else None
        return asyncio.ensure_future(self._change(settled=True, handle=handle, answer=answer))

    def withdraw(self, request: str) -> asyncio.Future[None]:
        """Forget a request of which nothing came."""
        return asyncio.ensure_future(asyncio.to_thread(self._store.delete, self._key))

    async def _change(self, **changes: Any) -> None:
        known = await asyncio.to_thread(self._store.get, self._key)
        await self._set(**(known | changes))

    async def _set(self, **known: Any) -> None:
        await asyncio.to_thread(self._store.set, self._key, known)


def end(store: Store, number: int, tries: int) -> None:
    """Remember that a request's job has ended and that its task is done with it: who clears the task begins anew."""
    known = store.get(key_of(number))
    if known is not None:
        store.set(key_of(number), known | {"ended": True, "tries": tries})


def _known_handle(text: str | None) -> tuple[JobHandle[Any] | None, str | None]:
    if text is None:
        return None, None
    kind = text.partition(":")[0]
    return (JobHandle.parse(text), None) if kind in KINDS else (None, text)


def _answer(name: str, text: str | None) -> object:
    if text is None or name not in SUBMITS:
        return None
    try:
        return from_text(text, SUBMITS[name].answer)
    except MalformedResponse:
        return None
