"""Submits each request once, whatever happens in between: the intent is taken down before it goes out, the job's handle after it.

What tells one request from another is its contents; the same contents twice in one run are two requests, the first and the
second. So a run that is begun again with the same requests finds each of them in its record.
"""

from __future__ import annotations

import hashlib
from asyncio import CancelledError
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from attrs import evolve

from zuora_jobs.errors import ConfigurationError, JournalError, SubmitUncertain, ZuoraJobsError
from zuora_jobs.protocol import submits
from zuora_jobs.protocol.submits import Submitted
from zuora_jobs.transport.retry import is_zuoras_answer
from zuora_jobs.transport.tries import Tries
from zuora_jobs.watching.outcome import ended_at_once

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.journal.entries import Intent
    from zuora_jobs.transport.retry import Patience
    from zuora_jobs.watching.record import Record


class Submitter:
    """Submits requests for one watcher.

    Args:
        client: sends them.
        record: takes them down.
        patience: how long to keep trying.
    """

    def __init__(self, client: ZuoraClient, record: Record, patience: Patience) -> None:
        self._client = client
        self._record = record
        self._patience = patience
        self.left_in_doubt: list[SubmitUncertain] = []
        """Of requests that were cut off on their way."""
        self._taken: dict[str, set[int]] = {}
        """For each contents the numbers of those requests that this run has submitted, or is about to."""

    async def submit(
        self, request: object, *, again: bool, idempotency_key: str | None, note: Callable[[], Awaitable[str]] | None
    ) -> Submitted[Any]:
        """Submit *request*, unless the record has it; see `JobWatcher.submit`.

        Args:
            request: what is submitted.
            again: submit it though an earlier try is in doubt.
            idempotency_key: of an earlier try that the record does not know.
            note: gives, if it is going to be submitted, what is to be found again beside it in a later run.
        """
        contents = fingerprint(request)
        taken = self._taken.setdefault(contents, set())
        number = next(number for number in count(1) if number not in taken)
        taken.add(number)
        name = f"{contents}#{number}"
        try:
            intent = await self._record.intent(name)
            if intent is not None and intent.is_settled:
                _check_known(intent)
                return Submitted(
                    request=request, handle=intent.handle, answer=intent.answer, note=intent.note, from_journal=True
                )
            key, age = _earlier_key(request, None if again else intent, idempotency_key)
            noted = await note() if note is not None else None
            return await self._submit(name, self._tries(request, name, key, age, noted), noted)
        except BaseException:  # who tries again means the same request
            taken.discard(number)
            raise

    def _tries(self, request: object, name: str, key: str | None, age: float | None, note: str | None) -> Tries:
        row, record = submits.submit_kind(request), self._record
        return Tries(
            request,
            key,
            key_age=age,
            before=lambda key: record.intend(name, row.name, key, note),
            refused=partial(record.withdraw, name),
        )

    async def _submit(self, name: str, tries: Tries, note: str | None) -> Submitted[Any]:
        try:
            submitted = await self._client.submit_by(tries, self._patience)
        except SubmitUncertain:
            raise
        except ZuoraJobsError as error:
            if is_zuoras_answer(error) or not tries.in_doubt:
                await self._record.withdraw(name)
            raise
        except CancelledError:
            if tries.in_doubt:
                why = "it was cut off on its way by a cancellation"
                self.left_in_doubt.append(submits.uncertain(why, tries.request, tries.key_sent))
            else:
                self._record.withdraw(name)  # and there is no time to wait for that
            raise
        submitted = evolve(submitted, note=note)
        await self._settle(name, submitted)
        return submitted

    async def _settle(self, name: str, submitted: Submitted[Any]) -> None:
        try:
            await self._record.settle(name, submitted, ended_at_once(submitted))
        except JournalError as error:
            message = f"{error}; Zuora has begun {submitted.handle or 'and done what was submitted'}, note that down"
            raise JournalError(message) from error


def _earlier_key(request: object, earlier: Intent | None, given_key: str | None) -> tuple[str | None, float | None]:
    """Give the key of an earlier try, and how many seconds ago that was; None: there was none.

    Raises:
        SubmitUncertain: there was one, and no key helps.
    """
    key, age = given_key, 0.0 if given_key is not None else None
    if earlier is not None:
        key, age = earlier.idempotency_key, earlier.age
        if key is None or age > submits.KEY_LASTS:
            why = f"it was sent {age:.0f} s ago, and no answer is on record"
            raise submits.uncertain(why, request, None, from_journal=True)
    return key, age


def _check_known(intent: Intent) -> None:
    if intent.stranger is not None:
        message = (
            f"the journal has {intent.stranger} for this request, a kind of job that this program does not know:"
            " go on with it in the one that does, or enter the kind in KINDS first"
        )
        raise ConfigurationError(message)


def fingerprint(request: object) -> str:
    """Tell *request* from all others, saying nothing of what is in it."""
    row = submits.submit_kind(request)
    parts = (row.name.encode(), submits.key_of(request).encode(), submits.body_of(request) or b"")
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:32]
