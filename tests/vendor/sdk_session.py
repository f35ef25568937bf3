"""Drive Zuora's own generated client through a plan, and print what its models made of the answers.

A script, to be run with an interpreter that has `zuora-sdk`: importing it takes some 15 seconds, so one run serves the
whole test session. The first argument is a base URL; standard input is the plan:

    {"client_id": ..., "client_secret": ..., "calls": [{"name": ..., "operation": ..., "id": ...}, ...]}

Standard output is `{"token": ..., "answers": {name: answer}, "enums": {name: [values]}, "models": {name: [fields]}}`,
where an answer has `status`, `decoded` (the model's own fields by their wire names), and `unknown` (what the model has
no field for, as paths), or `error` and `decoded` for a refusal.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from zuora_sdk.exceptions import ApiException
from zuora_sdk.models.batch_query_encrypted import BatchQueryEncrypted
from zuora_sdk.models.batch_query_format import BatchQueryFormat
from zuora_sdk.models.batch_query_status import BatchQueryStatus
from zuora_sdk.models.batch_query_type import BatchQueryType
from zuora_sdk.models.bulk_pdf_generation_job_status import BulkPDFGenerationJobStatus
from zuora_sdk.models.bulk_pdf_generation_step_status import BulkPDFGenerationStepStatus
from zuora_sdk.models.expanded_invoice import ExpandedInvoice
from zuora_sdk.models.invoice_settlement_async_job_operation_type import InvoiceSettlementAsyncJobOperationType
from zuora_sdk.models.invoice_settlement_async_job_reference_type import InvoiceSettlementAsyncJobReferenceType
from zuora_sdk.models.invoice_settlement_async_job_status import InvoiceSettlementAsyncJobStatus
from zuora_sdk.models.operation_job_object_type import OperationJobObjectType
from zuora_sdk.models.operation_job_status import OperationJobStatus
from zuora_sdk.models.operation_job_type import OperationJobType
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
    """Operation name -> a function of an id that gives the SDK's ApiResponse."""
    aqua, operation, memo = client.aggregate_queries_api(), client.operations_api(), client.credit_memos_api()
    return {
        "operation": operation.get_operation_job_with_http_info,
        "bulk-pdf": operation.get_bulk_pdfto_zip_generation_with_http_info,
        "aqua": aqua.get_batch_query_job_with_http_info,
        "credit-memo-apply": memo.get_apply_credit_memo_async_job_with_http_info,
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
    if not hasattr(type(value), "model_fields"):
        return value
    return {
        field.alias or name: plain(getattr(value, name))
        for name, field in type(value).model_fields.items()
        if name != "additional_properties" and getattr(value, name) is not None
    }


def ask(call: Any, job_id: str) -> dict[str, Any]:
    """One call, as JSON."""
    try:
        answer = call(job_id)
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
    return {
        "token": {"expires": client.token["access_token"] is not None, "expired": client.is_token_expired()},
        "answers": {call["name"]: ask(known[call["operation"]], call["id"]) for call in plan["calls"]},
        "enums": {enum.__name__: [member.value for member in enum] for enum in ENUMS},
        "models": {"ExpandedInvoice": [field.alias or name for name, field in ExpandedInvoice.model_fields.items()]},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], json.load(sys.stdin))))
