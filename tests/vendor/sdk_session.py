"""Drive Zuora's own generated client through a plan, and print what its models made of the answers.

A script, to be run with an interpreter that has `zuora-sdk`: importing it takes some 15 seconds, so one run serves the
whole test session. The first argument is a base URL; standard input is the plan:

    {"client_id": ..., "client_secret": ..., "calls": [{"name": ..., "operation": ..., "id": ..., "body": ...}, ...]}

An operation with a body is given the SDK's model of it, built of that document; an id that is `<name of a call>.<field>`
stands for what the SDK's model of that call's answer has there.

Standard output is `{"token": ..., "answers": {name: answer}, "enums": {name: [values]}, "models": {name: [fields]}}`,
where an answer has `status`, `decoded` (the model's own fields by their wire names), and `unknown` (what the model has
no field for, as paths), or `error` and `decoded` for a refusal.
"""

from __future__ import annotations

import json
import sys
from datetime import date
from typing import Any

from zuora_sdk.exceptions import ApiException
from zuora_sdk.models.async_apply_credit_memo_request import AsyncApplyCreditMemoRequest
from zuora_sdk.models.async_unapply_credit_memo_request import AsyncUnapplyCreditMemoRequest
from zuora_sdk.models.batch_query_encrypted import BatchQueryEncrypted
from zuora_sdk.models.batch_query_format import BatchQueryFormat
from zuora_sdk.models.batch_query_status import BatchQueryStatus
from zuora_sdk.models.batch_query_type import BatchQueryType
from zuora_sdk.models.bulk_pdf_generation_job_request import BulkPdfGenerationJobRequest
from zuora_sdk.models.bulk_pdf_generation_job_status import BulkPDFGenerationJobStatus
from zuora_sdk.models.bulk_pdf_generation_step_status import BulkPDFGenerationStepStatus
from zuora_sdk.models.create_batch_query_job_request import CreateBatchQueryJobRequest
from zuora_sdk.models.expanded_invoice import ExpandedInvoice
from zuora_sdk.models.invoice_settlement_async_job_operation_type import InvoiceSettlementAsyncJobOperationType
from zuora_sdk.models.invoice_settlement_async_job_reference_type import InvoiceSettlementAsyncJobReferenceType
from zuora_sdk.models.invoice_settlement_async_job_status import InvoiceSettlementAsyncJobStatus
from zuora_sdk.models.operation_job_object_type import OperationJobObjectType
from zuora_sdk.models.operation_job_status import OperationJobStatus
from zuora_sdk.models.operation_job_type import OperationJobType
from zuora_sdk.models.reverse_invoice_request import ReverseInvoiceRequest
from zuora_sdk.zuora_client import ZuoraClient

ENUMS = (
    OperationJobStatus,
    OperationJobType,
    OperationJobObjectType,
    BulkPDFGenerationJobStatus,
    BulkPDFGenerationStepStatus,
    InvoiceSettlementAsyncJobStatus,
    InvoiceSettlementAsyncJobOperationType,
    InvoiceSettlementAsyncJobReferenceType,
    BatchQueryStatus,
    BatchQueryType,
    BatchQueryFormat,
    BatchQueryEncrypted,
)


BODIES = {
    "submit aqua": CreateBatchQueryJobRequest,
    "submit bulk-pdf": BulkPdfGenerationJobRequest,
    "submit invoice-reverse": ReverseInvoiceRequest,
    "submit credit-memo-apply": AsyncApplyCreditMemoRequest,
    "submit credit-memo-unapply": AsyncUnapplyCreditMemoRequest,
}


def invoice_call(client: ZuoraClient, invoice_id: str) -> Any:
    """The SDK has no operation for the CRUD route, so its lower half is used: serialise, call, decode."""
    api = client.api_client
    request = api.param_serialize(
        method="GET",
        resource_path="/v1/object/invoice/{id}",
        path_params={"id": invoice_id},
        header_params={"Accept": "application/json", "X-Zuora-WSDL-Version": "127"},
    )
    response = api.call_api(*request)
    response.read()
    types = {"200": "object", "401": "ProxyUnauthorizedResponse", "404": "ProxyNoDataResponse"}
    return api.response_deserialize(response_data=response, response_types_map=types)


def operations(client: ZuoraClient) -> dict[str, Any]:
    """Operation name -> a function of an id, or of a body, or of both, that gives the SDK's ApiResponse."""
    aqua, operation, memo = client.aggregate_queries_api(), client.operations_api(), client.credit_memos_api()
    invoice = client.invoices_api()
    return {
        "operation": operation.get_operation_job_with_http_info,
        "bulk-pdf": operation.get_bulk_pdfto_zip_generation_with_http_info,
        "aqua": aqua.get_batch_query_job_with_http_info,
        "credit-memo-apply": memo.get_apply_credit_memo_async_job_with_http_info,
        "credit-memo-unapply": memo.get_unapply_credit_memo_async_job_with_http_info,
        "submit aqua": aqua.create_batch_query_with_http_info,
        "submit bulk-pdf": operation.create_bulk_pdfto_zip_generation_with_http_info,
        "submit invoice-delete": invoice.delete_invoice_with_http_info,
        "submit invoice-reverse": invoice.reverse_invoice_with_http_info,
        "submit credit-memo-apply": memo.apply_credit_memo_async_with_http_info,
        "submit credit-memo-unapply": memo.unapply_credit_memo_async_with_http_info,
        "credit memo": memo.get_credit_memo_with_http_info,
        "v1 invoice": invoice.get_invoice_with_http_info,
        "cancel": aqua.delete_batch_query_job_with_http_info,
        "invoice": lambda invoice_id: invoice_call(client, invoice_id),
    }


def unknown(model: Any, path: str = "") -> list[str]:
    """The paths of everything that *model* has no field for."""
    if isinstance(model, list):
        return [found for item in model for found in unknown(item, f"{path}[]")]
    if not hasattr(model, "additional_properties"):
        return []
    here = [f"{path}.{name}".lstrip(".") for name in model.additional_properties]
    fields = type(model).model_fields
    inner = (
        unknown(getattr(model, name), f"{path}.{field.alias or name}".lstrip("."))
        for name, field in fields.items()
        if name != "additional_properties"
    )
    return here + [found for part in inner for found in part]


def plain(value: Any) -> Any:
    """A decoded model as JSON: its own fields by their wire names, without those that are null."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    if not hasattr(type(value), "model_fields"):
        return value
    return {
        field.alias or name: plain(getattr(value, name))
        for name, field in type(value).model_fields.items()
        if name != "additional_properties" and getattr(value, name) is not None
    }


def ask(operation: Any, call: dict[str, Any], answers: dict[str, Any]) -> dict[str, Any]:
    """One call, as JSON."""
    arguments = [] if call["id"] is None else [call["id"]]
    if arguments and "." in arguments[0]:
        name, _, field = arguments[0].partition(".")
        arguments = [answers[name]["decoded"][field]]
    if call.get("body") is not None:
        arguments.append(BODIES[call["operation"]].from_dict(call["body"]))
    try:
        answer = operation(*arguments)
    except ApiException as refusal:
        return {"status": refusal.status, "error": type(refusal).__name__, "decoded": plain(refusal.data)}
    return {"status": answer.status_code, "decoded": plain(answer.data), "unknown": unknown(answer.data)}


def main(base_url: str, plan: dict[str, Any]) -> dict[str, Any]:
    """Carry out the plan."""
    client = ZuoraClient(plan["client_id"], plan["client_secret"], env=None)
    client.set_base_url(base_url)
    client._max_retries = 1
    client._auth()
    known = operations(client)
    answers: dict[str, Any] = {}
    for call in plan["calls"]:
        answers[call["name"]] = ask(known[call["operation"]], call, answers)
    return {
        "token": {"expires": client.token["access_token"] is not None, "expired": client.is_token_expired()},
        "answers": answers,
        "enums": {enum.__name__: [member.value for member in enum] for enum in ENUMS},
        "models": {"ExpandedInvoice": [field.alias or name for name, field in ExpandedInvoice.model_fields.items()]},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], json.load(sys.stdin))))
