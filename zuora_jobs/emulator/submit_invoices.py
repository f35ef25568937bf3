"""DELETE /v1/invoices/{key} and PUT /v1/invoices/{key}/reverse: operation jobs, and what they do to the invoice.

Sources: `zuora-sdk` models operation_job_response, reverse_invoice_request and reverse_invoice_response
  https://developer.zuora.com/v1-api-reference/api/operation/DELETE_Invoice/
  https://developer.zuora.com/api-references/api/operation/PUT_ReverseInvoice
- Zuora deletes only invoices that are drafts or canceled, and reverses only posted ones to which nothing is applied.
  Here any invoice may be deleted or reversed: what is tested is the job.
- Nothing changes before the job completes, and nothing if it fails.
- The answer to a delete is documented in two ways: `options.delete_answer`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from zuora_jobs.emulator.credit_memos import plausible_memo
from zuora_jobs.emulator.documents import zuora_id
from zuora_jobs.emulator.families import OPERATION
from zuora_jobs.emulator.invoices import change
from zuora_jobs.emulator.money import money
from zuora_jobs.emulator.orders import Order, not_found, read_object, refuse
from zuora_jobs.emulator.replies import CODE_BAD_VALUE, CODE_LOCKED, Document

if TYPE_CHECKING:
    from zuora_jobs.emulator.calls import Call
    from zuora_jobs.emulator.jobs import Job
    from zuora_jobs.emulator.ledger import Consequence
    from zuora_jobs.emulator.tenant import Emulator

LONGEST_COMMENT = 255
OPERATION_FIELDS = ("id", "objectId", "objectType", "operationType", "status", "success")


def order_of_delete(zuora: Emulator, call: Call, key: str) -> Order:
    """A job that deletes an invoice."""
    invoice_id = _free_invoice(zuora, call, key)

    def consequence(_: Job) -> Consequence:
        def delete(_: float, status: str) -> None:
            if status == OPERATION.success:
                zuora.stock.remove_invoice(invoice_id)

        return delete

    def answer(job: Job) -> Document:
        if zuora.options.delete_answer == "operation":
            document = job.document()
            return {name: document[name] for name in OPERATION_FIELDS}
        return {"success": True, "id": invoice_id, "jobId": job.id, "jobStatus": job.status}

    return Order(fields=_fields(invoice_id, "Delete"), answer=answer, consequence=consequence, subject=invoice_id)


def order_of_reverse(zuora: Emulator, call: Call, key: str) -> Order:
    """A job that reverses an invoice, by a credit memo of its amount."""
    body = read_object(zuora, call)
    if len(str(body.get("comment") or "")) > LONGEST_COMMENT:
        raise refuse(zuora, call, CODE_BAD_VALUE, f"comment has more than {LONGEST_COMMENT} characters")
    invoice_id = _free_invoice(zuora, call, key)

    def consequence(job: Job) -> Consequence:
        def reverse(moment: float, status: str) -> None:
            if status == OPERATION.success:
                _reverse(zuora, invoice_id, _memo_of(job), moment)

        return reverse

    def answer(job: Job) -> Document:
        document = {"success": True, "id": invoice_id, "jobId": job.id, "jobStatus": job.status}
        memo_id = _memo_of(job)
        if memo_id not in zuora.stock.credit_memos:  # it comes into being when the job completes
            return document
        return {**document, "creditMemo": {"id": memo_id}, "creditMemos": [{"id": memo_id}]}

    fields = _fields(invoice_id, "Reverse")
    return Order(body=body, fields=fields, answer=answer, consequence=consequence, subject=invoice_id)


def _free_invoice(zuora: Emulator, call: Call, key: str) -> str:
    """The id of the invoice with that id or number, on which no job works."""
    invoice = zuora.stock.invoice(key)
    if invoice is None:
        raise not_found(zuora, call, key)
    invoice_id = str(invoice["Id"])
    if zuora.ledger.busy(invoice_id):
        message = "Operation failed due to a lock competition, please retry later."
        raise refuse(zuora, call, CODE_LOCKED, message)
    return invoice_id


def _fields(invoice_id: str, operation: str) -> dict[str, Any]:
    return {"objectId": invoice_id, "objectType": "Invoice", "operationType": operation}


def _memo_of(job: Job) -> str:
    """The id of the credit memo that a reversal makes."""
    return zuora_id(random.Random(f"{job.id}/memo"))  # noqa: S311 - plausible, not secret


def _reverse(zuora: Emulator, invoice_id: str, memo_id: str, moment: float) -> None:
    invoice = zuora.stock.invoice(invoice_id)
    if invoice is None:  # a test took it away meanwhile
        return
    now, amount = zuora.clock.wall(moment), money(invoice.get("Amount"))
    change(invoice, now, Balance=money(0), CreditMemoAmount=amount, Reversed=True)
    zuora.stock.credit_memos[memo_id] = plausible_memo(
        memo_id,
        random.Random(memo_id),  # noqa: S311 - plausible, not secret
        now,
        {"amount": amount, "appliedAmount": amount, "referredInvoiceId": invoice_id, "reasonCode": "Invoice reversal"},
    )
