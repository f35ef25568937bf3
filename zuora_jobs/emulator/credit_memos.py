"""Credit memos, as v1 shows them: camel-case names, money as exact numbers.

Source: GET /v1/credit-memos/{key}, `zuora-sdk` model credit_memo_response.
https://developer.zuora.com/v1-api-reference/api/operation/GET_CreditMemo/
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from zuora_jobs.emulator.documents import BLANK_SEPARATED, zuora_id
from zuora_jobs.emulator.invoices import DAY
from zuora_jobs.emulator.money import money

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping
    from datetime import datetime

    from zuora_jobs.emulator.replies import Document

NOUGHT = Decimal(0)


def plausible_memo(memo_id: str, rng: random.Random, now: datetime, fields: Mapping[str, Any]) -> Document:
    """A posted credit memo with *fields*; the amounts that they leave open agree with those they give."""
    amount = fields.get("amount", Decimal(rng.randint(1_000, 90_000)) / 100)
    refunded, applied = fields.get("refundAmount", NOUGHT), fields.get("appliedAmount", NOUGHT)
    stamp = now.strftime(BLANK_SEPARATED)
    return {
        "id": memo_id,
        "number": f"CM{rng.randrange(10**8):08d}",
        "accountId": zuora_id(rng),
        "amount": amount,
        "appliedAmount": applied,
        "unappliedAmount": money(amount) - money(applied) - money(refunded),
        "refundAmount": refunded,
        "currency": "USD",
        "creditMemoDate": now.strftime(DAY),
        "targetDate": now.strftime(DAY),
        "comment": None,
        "reasonCode": "Correcting invoice error",
        "referredInvoiceId": None,
        "reversed": False,
        "source": "API",
        "sourceType": "Standalone",
        "status": "Posted",
        "taxAmount": NOUGHT,
        "totalTaxExemptAmount": NOUGHT,
        "transferredToAccounting": "No",
        "postedById": zuora_id(rng),
        "postedOn": stamp,
        "createdById": zuora_id(rng),
        "createdDate": stamp,
        "updatedById": zuora_id(rng),
        "updatedDate": stamp,
        **fields,
    }


def change(memo: Document, to_apply: Decimal, now: datetime) -> None:
    """Apply so much more of the memo (less, if it is negative)."""
    memo["appliedAmount"] = money(memo["appliedAmount"]) + to_apply
    memo["unappliedAmount"] = money(memo["unappliedAmount"]) - to_apply
    memo["updatedDate"] = now.strftime(BLANK_SEPARATED)
