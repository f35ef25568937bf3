"""Invoices: stored as the CRUD call shows them, with capitalised names, and money as exact numbers.

Sources: GET /v1/object/invoice/{id}, https://developer.zuora.com/v1-api-reference/api/operation/Object_GETInvoice/
GET /v1/invoices/{key}, https://developer.zuora.com/v1-api-reference/api/operation/GET_Invoice/

- Some fields exist only from a WSDL version on (`X-Zuora-WSDL-Version`). Without the header, version 79 is meant, the
  default of that family of calls. Such a field is left out below its version, and refused when it is asked for.
- `GET /v1/invoices/{key}` makes its document from the same invoice: camel-case names, no PDF, v1's way with dates.
- `Id` is always served, whatever `fields` asks for. Custom fields are kept as they are.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from zuora_jobs.emulator.documents import zuora_id
from zuora_jobs.emulator.replies import Document, Reply, nothing_by_crud, refused_by_crud

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping
    from datetime import datetime

SINCE: Mapping[str, int] = {"BillToContactId": 118, "PaymentTerm": 118, "SourceType": 118, "SequenceSetId": 127}
"""Field -> the first WSDL version that has it."""
DEFAULT_WSDL = 79
WSDL_HEADER = "X-Zuora-WSDL-Version"
DAY = "%Y-%m-%d"


def plausible_invoice(invoice_id: str, rng: random.Random, now: datetime) -> Document:
    """A posted invoice, half paid, with every field of the page that belongs to no add-on."""
    amount = Decimal(rng.randint(1_000, 900_000)) / 100
    tax = (amount / 11).quantize(Decimal("0.01"))
    paid = (amount / 2).quantize(Decimal("0.01"))
    stamp = now.isoformat(timespec="milliseconds")
    return {
        "Id": invoice_id,
        "AccountId": zuora_id(rng),
        "AdjustmentAmount": Decimal(0),
        "Amount": amount,
        "AmountWithoutTax": amount - tax,
        "Balance": amount - paid,
        "BillToContactId": zuora_id(rng),
        "Body": "JVBERi0xLjQKJSVFT0YK",
        "Comments": None,
        "CreatedById": zuora_id(rng),
        "CreatedDate": stamp,
        "CreditBalanceAdjustmentAmount": Decimal(0),
        "CreditMemoAmount": Decimal(0),
        "DueDate": (now + timedelta(days=30)).strftime(DAY),
        "IncludesOneTime": True,
        "IncludesRecurring": True,
        "IncludesUsage": True,
        "InvoiceDate": now.strftime(DAY),
        "InvoiceNumber": f"INV{rng.randrange(10**8):08d}",
        "LastEmailSentDate": None,
        "PaymentAmount": paid,
        "PaymentTerm": "Net 30",
        "PostedBy": zuora_id(rng),
        "PostedDate": stamp,
        "RefundAmount": Decimal(0),
        "SequenceSetId": None,
        "SourceType": "Subscription",
        "Status": "Posted",
        "TargetDate": now.strftime(DAY),
        "TaxAmount": tax,
        "TaxExemptAmount": Decimal(0),
        "TransferredToAccounting": "Yes",
        "UpdatedById": zuora_id(rng),
        "UpdatedDate": stamp,
    }


def serve_invoice(document: Mapping[str, Any] | None, query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
    """Answer for the invoice, or for the lack of one.

    Wire: GET /v1/object/invoice/{id}?fields=Id,Balance -> {"Id": str, "Balance": number, ...}
    """
    if document is None:
        return nothing_by_crud()
    wsdl = _wsdl_version(headers.get(WSDL_HEADER))
    if wsdl is None:
        return refused_by_crud("INVALID_VERSION", f"The WSDL version {headers[WSDL_HEADER]!r} is not a number")
    asked = [name.strip() for name in query.get("fields", "").split(",") if name.strip()]
    for name in asked:
        if name not in document or wsdl < SINCE.get(name, 0):
            since = f"; it needs WSDL version {SINCE[name]} or later" if name in SINCE else ""
            return refused_by_crud("INVALID_FIELD", f"invalid field for query: Invoice.{name}{since}")
    wanted = {"Id", *asked} if asked else set(document)
    return Reply(body={n: v for n, v in document.items() if n in wanted and wsdl >= SINCE.get(n, 0)})


def _wsdl_version(text: str | None) -> float | None:
    try:
        return DEFAULT_WSDL if text is None else float(text)
    except ValueError:
        return None


NOT_IN_V1 = frozenset({"Body"})
_V1_MOMENTS = {"CreatedDate": 19, "UpdatedDate": 19, "PostedDate": 10}
"""Field -> how much of `2026-01-05T09:00:00` v1 shows."""


def as_v1(invoice: Mapping[str, Any]) -> Document:
    """The invoice as `GET /v1/invoices/{key}` shows it. Custom fields keep their names."""
    document: Document = {"success": True, "reversed": False}
    for name, value in invoice.items():
        if name in _V1_MOMENTS and isinstance(value, str):
            value = value.replace("T", " ")[: _V1_MOMENTS[name]]
        if name not in NOT_IN_V1:
            document[name if "__" in name else name[0].lower() + name[1:]] = value
    return document


def change(invoice: Document, now: datetime, **fields: Any) -> None:
    """Change an invoice; its UpdatedDate tells."""
    invoice.update(fields, UpdatedDate=now.isoformat(timespec="milliseconds"))
