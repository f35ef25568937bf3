"""What can be submitted: a row each, and how any of them is carried out.

A row says where the request goes, what kind of job it makes, and which function makes an order of the request. Nothing
else asks which row it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from zuora_jobs.emulator.families import AQUA, BULK_PDF, CREDIT_MEMO_APPLY, CREDIT_MEMO_UNAPPLY, OPERATION, Family
from zuora_jobs.emulator.jobs import Job
from zuora_jobs.emulator.lives import Step
from zuora_jobs.emulator.orders import Order, Refusal
from zuora_jobs.emulator.replies import Reply, overlay
from zuora_jobs.emulator.scripts import Submission
from zuora_jobs.emulator.submit_aqua import order_of_queries
from zuora_jobs.emulator.submit_invoices import order_of_delete, order_of_reverse
from zuora_jobs.emulator.submit_memos import order_of_apply, order_of_unapply
from zuora_jobs.emulator.submit_pdfs import order_of_archives
from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zuora_jobs.emulator.calls import Call
    from zuora_jobs.emulator.tenant import Emulator


@frozen
class Submit:
    """A row of the table."""

    name: str
    method: str
    path: str
    """`{id}` stands for a business object's id or number."""
    family: Family
    order: Callable[[Emulator, Call, str], Order]
    """Makes an order of a request; a Refusal if it makes no sense."""

    def answer(self, zuora: Emulator, call: Call, key: str) -> Reply:
        """Carry a request out."""
        try:
            order = self.order(zuora, call, key)
        except Refusal as refusal:
            return refusal.reply
        job = self._job_of(zuora, order)
        zuora.submitted.append(
            Submission(
                name=self.name,
                at=zuora.clock.on_loop(zuora.clock.now()),
                body=order.body,
                key=key if "{id}" in self.path else None,
                idempotency_key=call.headers.get("Idempotency-Key"),
                handle=job.handle,
            )
        )
        return Reply(body=order.answer(job), handle=job.handle)

    def _job_of(self, zuora: Emulator, order: Order) -> Job:
        rule = zuora.scripts.next(self.name)
        life = rule.life_of(self.family, zuora.lives)
        waits = order.queue is not None and zuora.queues.busy(order.queue)
        first = [Step(self.family.running[0])] if waits else life
        job = zuora.stock.add(
            Job(
                self.family, zuora.new_id(), first, zuora.world,
                fields=overlay(order.fields, rule.fields), asked=order.asked,
            )
        )  # fmt: skip
        if order.queue is not None:
            zuora.queues.join(order.queue, job, life if waits else None)
        if order.consequence is not None:
            zuora.ledger.enter(job, order.consequence(job), order.subject)
            zuora.ledger.settle()
        return job


SUBMITS: Mapping[str, Submit] = {
    row.name: row
    for row in (
        Submit("aqua", "POST", "/v1/batch-query/?", AQUA, order_of_queries),
        Submit("bulk-pdf", "POST", "/v1/operations/bulk-pdf", BULK_PDF, order_of_archives),
        Submit("invoice-delete", "DELETE", "/v1/invoices/{id}", OPERATION, order_of_delete),
        Submit("invoice-reverse", "PUT", "/v1/invoices/{id}/reverse", OPERATION, order_of_reverse),
        Submit("credit-memo-apply", "PUT", "/v1/credit-memos/{id}/apply-async", CREDIT_MEMO_APPLY, order_of_apply),
        Submit(
            "credit-memo-unapply", "PUT", "/v1/credit-memos/{id}/unapply-async", CREDIT_MEMO_UNAPPLY, order_of_unapply
        ),
    )
}


def submit_named(name: str) -> Submit:
    """The row called *name*."""
    if name not in SUBMITS:
        msg = f"there is no submit called {name!r}; there are {', '.join(SUBMITS)}"
        raise ConfigurationError(msg)
    return SUBMITS[name]
