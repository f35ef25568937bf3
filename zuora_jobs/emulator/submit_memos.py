"""PUT /v1/credit-memos/{key}/apply-async and unapply-async: settlement jobs, and what they do to memo and invoices.

Sources: `zuora-sdk` models async_apply_credit_memo_request, async_unapply_credit_memo_request,
  invoice_settlement_async_job_response; job: https://developer.zuora.com/v1-api-reference/api/operation/getApplyCreditMemoAsyncJob/
- Whether the amounts fit is found out when the job ends, as the memo and the invoices stand then: if they do not, it
  ends as Error after all, and nothing has changed.
- How much of which memo went to which invoice is not kept: an unapply takes back what was applied of the memo, from an
  invoice to which as much has been applied of whichever memo.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from attrs import frozen

from zuora_jobs.emulator import credit_memos, invoices
from zuora_jobs.emulator.families import CREDIT_MEMO_APPLY
from zuora_jobs.emulator.money import money
from zuora_jobs.emulator.orders import Order, not_found, read_object, refuse
from zuora_jobs.emulator.replies import CODE_BAD_VALUE, CODE_BUSINESS_RULE, CODE_MISSING_FIELD, Document

if TYPE_CHECKING:
    from zuora_jobs.emulator.calls import Call
    from zuora_jobs.emulator.jobs import Job
    from zuora_jobs.emulator.ledger import Consequence
    from zuora_jobs.emulator.tenant import Emulator

MOST_INVOICES = 1000


@frozen
class _Way:
    """The difference between applying and unapplying."""

    sign: int
    """Of what the memo has applied."""
    of_memo: str
    """The memo's field that must be large enough."""
    of_invoice: str
    """The invoice's field that must be large enough."""
    word: str


APPLY = _Way(1, "unappliedAmount", "Balance", "apply")
UNAPPLY = _Way(-1, "appliedAmount", "CreditMemoAmount", "unapply")


def order_of_apply(zuora: Emulator, call: Call, key: str) -> Order:
    """A job that applies a credit memo to invoices."""
    return _order(zuora, call, key, APPLY)


def order_of_unapply(zuora: Emulator, call: Call, key: str) -> Order:
    """A job that takes a credit memo back from invoices."""
    return _order(zuora, call, key, UNAPPLY)


def _order(zuora: Emulator, call: Call, key: str, way: _Way) -> Order:
    body = read_object(zuora, call)
    memo = zuora.stock.credit_memo(key)
    if memo is None:
        raise not_found(zuora, call, key)
    if memo.get("status") != "Posted":
        raise refuse(zuora, call, CODE_BUSINESS_RULE, "Only a posted credit memo can be applied or unapplied")
    amounts = _amounts(zuora, call, body)

    def consequence(job: Job) -> Consequence:
        def settle(moment: float, status: str) -> None:
            if status != CREDIT_MEMO_APPLY.success:
                return
            why = _obstacle(zuora, memo, amounts, way)
            if why is not None:
                job.end_otherwise("Error", error=why)
            else:
                _settle(zuora, memo, amounts, way, moment)

        return settle

    fields = {"referenceId": memo["id"]}
    return Order(body=body, fields=fields, answer=lambda job: job.document(), consequence=consequence)


def _amounts(zuora: Emulator, call: Call, body: Document) -> dict[str, Decimal]:
    """How much for which invoice, by its id."""
    asked = body.get("invoices")
    if not asked:
        raise refuse(zuora, call, CODE_MISSING_FIELD, "Missing required field: invoices")
    for valid, what in (
        (isinstance(asked, list) and all(isinstance(one, dict) for one in asked), "invoices must be a list of objects"),
        (len(asked) <= MOST_INVOICES, f"The maximum number of invoices is {MOST_INVOICES:,}"),
        (_is_day(body.get("effectiveDate")), "effectiveDate must be like 2026-01-05"),
    ):
        if not valid:
            raise refuse(zuora, call, CODE_BAD_VALUE, what)
    amounts: dict[str, Decimal] = {}
    for one in asked:
        amount = one.get("amount")
        if isinstance(amount, bool) or not isinstance(amount, int | Decimal) or amount <= 0:
            raise refuse(zuora, call, CODE_BAD_VALUE, f"An amount must be a number above 0, not {amount!s:.40}")
        key = str(one.get("invoiceId") or one.get("invoiceNumber"))
        invoice = zuora.stock.invoice(key)
        if invoice is None:
            raise not_found(zuora, call, key)
        amounts[invoice["Id"]] = amounts.get(invoice["Id"], Decimal(0)) + amount
    return amounts


def _is_day(text: Any) -> bool:
    try:
        return text is None or bool(date.fromisoformat(text))
    except (TypeError, ValueError):
        return False


def _obstacle(zuora: Emulator, memo: Document, amounts: dict[str, Decimal], way: _Way) -> str | None:
    """Why it cannot be done, if so."""
    total, there = sum(amounts.values()), money(memo[way.of_memo])
    if total > there:
        return f"The credit memo {memo['id']} has {there} left to {way.word}, less than {total}."
    for invoice_id, amount in amounts.items():
        invoice = zuora.stock.invoice(invoice_id)
        if invoice is None:
            return f"The invoice {invoice_id} does not exist any more."
        if amount > money(invoice.get(way.of_invoice)):
            return (
                f"The invoice {invoice_id} has {money(invoice.get(way.of_invoice))} to {way.word}, less than {amount}."
            )
    return None


def _settle(zuora: Emulator, memo: Document, amounts: dict[str, Decimal], way: _Way, moment: float) -> None:
    now = zuora.clock.wall(moment)
    credit_memos.change(memo, way.sign * sum(amounts.values(), Decimal(0)), now)
    for invoice_id, amount in amounts.items():
        invoice = zuora.stock.invoices[invoice_id]
        applied = way.sign * amount
        balance, credited = money(invoice.get("Balance")) - applied, money(invoice.get("CreditMemoAmount")) + applied
        invoices.change(invoice, now, Balance=balance, CreditMemoAmount=credited)
