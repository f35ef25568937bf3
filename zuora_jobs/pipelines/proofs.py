"""What a job did, seen at the business object itself: an invoice that is gone or reversed, a credit memo's balances."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from zuora_jobs.errors import NotFound, NotProved, SubmitUncertain
from zuora_jobs.protocol import jsontext, wire
from zuora_jobs.protocol.models import CreditMemo, Invoice, OperationJob
from zuora_jobs.protocol.submits import Submitted, key_of
from zuora_jobs.together import together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.protocol.requests import ApplyCreditMemo, DeleteInvoice, ReverseInvoice
    from zuora_jobs.watching.outcome import Outcome, Ran
    from zuora_jobs.watching.watcher import JobWatcher

LOOKS: Final = (0.0, 1.0, 2.0, 4.0)
"""Seconds before each look at what a job should have done: what it wrote may be seen a moment later."""

A_MINUTE: Final = 60.0
"""Seconds for which an invoice is looked at where the answer was lost: the job, if there is one, may still be at work."""

_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
"""An id of Zuora's, by which an invoice can be asked for; a number cannot, and *not found* would prove nothing."""


@frozen(kw_only=True)
class Deleted:
    """An invoice that is gone: it was asked for, and not found."""

    asked_for: str
    """Its id or number, as it was given."""
    invoice: str
    """Its id."""
    outcome: Outcome[Any] | None
    """Of the job; None where there was none, or the answer that named it was lost."""


@frozen(kw_only=True)
class Reversed:
    """An invoice that has been reversed."""

    asked_for: str
    """As for `Deleted`."""
    invoice: Invoice
    credit_memos: tuple[str, ...]
    """Ids of those that the reversal made, as far as its answer named them."""
    outcome: Outcome[Any] | None
    """As for `Deleted`."""


@frozen(kw_only=True)
class Balance:
    """What was left to be paid of an invoice."""

    before: Decimal | None
    after: Decimal | None


@frozen(kw_only=True)
class Applied:
    """A credit memo that has been applied."""

    before: CreditMemo | None
    """None where that was not taken down, and is not known any more; so in `balances`."""
    after: CreditMemo
    balances: Mapping[str, Balance]
    """By the ids or numbers that the request named."""
    outcome: Outcome[Any] | None


async def delete(
    watcher: JobWatcher, request: DeleteInvoice, *, timeout: float | None = None, again: bool = False
) -> Deleted:
    """Delete an invoice, and ask for it to prove that it is gone.

    Raises:
        NotProved: the job succeeded, and the invoice is still there.
        JobError: the job did not succeed.
        SubmitUncertain: whether there is a job is not known, and the invoice is still there.
        ZuoraJobsError: nothing was begun.
    """

    async def is_gone(identifier: str) -> bool:
        try:
            await watcher.client.invoice(identifier, fields=["Id"])
        except NotFound:
            return True
        return False

    identifier, ran = await _carry_out(watcher, request, is_gone, timeout, again=again)
    if ran is not None and not await _in_the_end(is_gone, identifier):
        message = f"the invoice {identifier} is still there, though its deletion is said to have succeeded: look at it"
        raise NotProved(message, outcome=ran.outcome)
    return Deleted(asked_for=request.invoice, invoice=identifier, outcome=ran.outcome if ran is not None else None)


async def reverse(
    watcher: JobWatcher, request: ReverseInvoice, *, timeout: float | None = None, again: bool = False
) -> Reversed:
    """Reverse an invoice, and fetch it to prove that nothing is left to be paid, and by what.

    Raises:
        NotProved, JobError, SubmitUncertain, ZuoraJobsError: as `delete`.
    """
    seen: list[Invoice] = []

    async def is_reversed(identifier: str) -> bool:
        seen[:] = [await watcher.client.invoice(identifier)]
        return _is_reversed(seen[0])

    identifier, ran = await _carry_out(watcher, request, is_reversed, timeout, again=again)
    if ran is not None and not await _in_the_end(is_reversed, identifier):
        left = f"{seen[0].balance} is left to be paid" if seen[0].balance else "no credit memo stands against all of it"
        message = f"the invoice {identifier} is not reversed, though that is said to have succeeded: {left}"
        raise NotProved(message, outcome=ran.outcome)
    memos = _memos(ran.submitted) if ran is not None else ()
    return Reversed(
        asked_for=request.invoice, invoice=seen[0], credit_memos=memos, outcome=ran.outcome if ran is not None else None
    )


async def apply(
    watcher: JobWatcher, request: ApplyCreditMemo, *, timeout: float | None = None, again: bool = False
) -> Applied:
    """Apply a credit memo, and tell what was left of it and of the invoices, before and after.

    Raises:
        JobError, SubmitUncertain, ZuoraJobsError: as `delete`.
    """
    client = watcher.client

    async def before() -> str:
        memo, owed = await _balances(client, request)
        return jsontext.write({"credit_memo": wire.to_json(memo), "balances": owed}).decode()

    ran = await watcher.run(request, timeout=timeout, again=again, note=before)
    ran.unwrap()
    after, left = await _balances(client, request)
    memo, owed = _noted(ran.submitted.note)
    return Applied(
        before=memo,
        after=after,
        balances={name: Balance(before=owed.get(name), after=balance) for name, balance in left.items()},
        outcome=ran.outcome,
    )


async def _carry_out(
    watcher: JobWatcher,
    request: DeleteInvoice | ReverseInvoice,
    proof: Callable[[str], Awaitable[bool]],
    timeout: float | None,
    *,
    again: bool,
) -> tuple[str, Ran[Any] | None]:
    """Run *request*; where the answer was lost, let the *proof* tell whether it was carried out, and else run it *again*.

    Returns:
        The invoice's id, and what was run; None for that: it is proved already.
    """
    try:
        ran = await watcher.run(request, timeout=timeout)
    except SubmitUncertain as uncertain:
        identifier = key_of(request)
        again = again and uncertain.from_journal  # nobody has found out yet about what has just been lost
        looks = LOOKS[:1] if again else _within(min(timeout or A_MINUTE, A_MINUTE))
        if _ID.fullmatch(identifier) and await _in_the_end(proof, identifier, looks):
            return identifier, None
        if not again:
            raise
        ran = await watcher.run(request, timeout=timeout, again=True)
    ran.unwrap()
    found = _object_id(ran)
    if found is None:
        message = (
            f"the invoice {key_of(request)} cannot be looked at: no answer names its id; name it by id, not by number"
        )
        raise NotProved(message, outcome=ran.outcome)
    return found, ran


def _object_id(ran: Ran[Any]) -> str | None:
    """Give the id of the invoice that was run on, as far as any answer names it."""
    job = ran.outcome.job if ran.outcome is not None else ran.submitted.job
    named = job.object_id if isinstance(job, OperationJob) else None
    own = key_of(ran.request)
    answer = ran.submitted.answer
    of_invoice = answer.id if answer is not None and (answer.job_id or ran.submitted.handle is None) else None
    return (own if _ID.fullmatch(own) else None) or named or of_invoice


def _within(seconds: float) -> list[float]:
    """Give pauses before looks, each twice as long as the one before, that take so many seconds together."""
    pauses = [0.0]
    while (left := seconds - sum(pauses)) > 0:
        pauses.append(min(left, 2.0 * pauses[-1] or 1.0))
    return pauses


async def _in_the_end(proof: Callable[[str], Awaitable[bool]], identifier: str, looks: Sequence[float] = LOOKS) -> bool:
    for pause in looks:
        await asyncio.sleep(pause)
        if await proof(identifier):
            return True
    return False


def _is_reversed(invoice: Invoice) -> bool:
    """Tell by Zuora's own flag, or else by its credit memos standing against all of it; *paid* is not reversed."""
    if invoice.raw.get("Reversed") is True:
        return True
    credited, amount = invoice.credit_memo_amount, invoice.amount
    return invoice.balance == 0 and credited is not None and amount is not None and credited >= amount


def _memos(submitted: Submitted[Any]) -> tuple[str, ...]:
    answer = submitted.answer
    if answer is None:
        return ()
    memos = answer.credit_memos or ((answer.credit_memo,) if answer.credit_memo else ())
    return tuple(memo.id for memo in memos if memo.id)


async def _balances(client: ZuoraClient, request: ApplyCreditMemo) -> tuple[CreditMemo, dict[str, Decimal | None]]:
    """Ask for a credit memo, and for what is left to be paid of each invoice."""
    names = [part.invoice_id or part.invoice_number or "" for part in request.invoices]
    memo = await client.credit_memo(request.credit_memo)
    owed = await together(client.invoice_balance(name) for name in names)
    return memo, {name: invoice.balance for name, invoice in zip(names, owed, strict=True)}


def _noted(note: str | None) -> tuple[CreditMemo | None, dict[str, Decimal | None]]:
    """Read what was taken down before the credit memo was applied."""
    if note is None:
        return None, {}
    noted = jsontext.parse(note.encode(), exact=True)
    owed = {name: None if balance is None else Decimal(balance) for name, balance in noted["balances"].items()}
    return wire.structure(CreditMemo, noted["credit_memo"]), owed
