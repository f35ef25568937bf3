"""POST /v1/operations/bulk-pdf: archives of billing documents' PDFs.

Source: `zuora-sdk` models bulk_pdf_generation_job_request and bulk_pdf_generation_job_response.
Which ids exist is known of removed invoices only; any other is taken for one that exists, if it looks like an id.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from zuora_jobs.emulator.orders import Order, read_object, refuse
from zuora_jobs.emulator.replies import CODE_BAD_VALUE, CODE_MISSING_FIELD, CODE_NOT_FOUND, Document

if TYPE_CHECKING:
    from zuora_jobs.emulator.calls import Call
    from zuora_jobs.emulator.tenant import Emulator

LONGEST_NAME = 32
ID = re.compile(r"[0-9A-Za-z-]{1,64}")
TYPES = ("Invoice", "CreditMemo", "DebitMemo")
INDEXES = ("JSON", "CSV")
SWITCHES = ("generateMissingPDF", "persistIndexFile", "ignoreArchivedFiles")


def order_of_archives(zuora: Emulator, call: Call, _: str) -> Order:
    """A bulk PDF job."""
    body = read_object(zuora, call)
    for name in ("documents", "fileName", "indexFileFormat"):
        if body.get(name) in (None, "", []):
            raise refuse(zuora, call, CODE_MISSING_FIELD, f"Missing required field: {name}")
    for valid, what in _rules(body):
        if not valid:
            raise refuse(zuora, call, CODE_BAD_VALUE, what)
    ids = list(dict.fromkeys(one for part in body["documents"] for one in part["objectIds"]))
    invalid = [one for one in ids if not ID.fullmatch(str(one)) or one in zuora.stock.removed]
    if len(invalid) == len(ids):
        raise refuse(zuora, call, CODE_NOT_FOUND, "None of the documents exists", invalidIds=invalid)
    documents = [
        {"docType": part["docType"], "objectIds": [one for one in part["objectIds"] if one not in invalid]}
        for part in body["documents"]
    ]
    asked = {name: body[name] for name in ("fileName", "indexFileFormat", *SWITCHES) if name in body}
    asked["documents"] = [part for part in documents if part["objectIds"]]
    asked["numbers"] = {one: _number(zuora, one) for one in ids if one not in invalid}
    return Order(
        body=body,
        fields={"jobName": body["name"]} if body.get("name") else {},
        asked=asked,
        answer=lambda job: {"jobId": job.id, "invalidIds": invalid, "success": True},
    )


def _rules(body: Document) -> list[tuple[bool, str]]:
    return [
        (_is_text(body["fileName"]), f"fileName must be text of 1 to {LONGEST_NAME} characters"),
        (_is_text(body.get("name") or "-"), f"name must be text of at most {LONGEST_NAME} characters"),
        (body["indexFileFormat"] in INDEXES, f"indexFileFormat must be {' or '.join(INDEXES)}"),
        (all(isinstance(body.get(name, False), bool) for name in SWITCHES), f"{', '.join(SWITCHES)} are true or false"),
        (_are_documents(body["documents"]), f"documents must be objects of docType ({', '.join(TYPES)}) and objectIds"),
    ]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_NAME


def _are_documents(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(part, dict) and part.get("docType") in TYPES and _are_ids(part.get("objectIds")) for part in value
    )


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def _number(zuora: Emulator, document_id: str) -> str:
    """What the document's PDF is called."""
    invoice = zuora.stock.invoices.get(document_id, {})
    memo = zuora.stock.credit_memos.get(document_id, {})
    return str(invoice.get("InvoiceNumber") or memo.get("number") or document_id)
