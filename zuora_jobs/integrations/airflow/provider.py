"""What Airflow is told of this package: its connection type, hook, operators, sensor and trigger.

Source: https://airflow.apache.org/docs/apache-airflow-providers/howto/create-custom-providers.html
"""

from __future__ import annotations

from typing import Any, Final

from zuora_jobs.settings import ENVIRONMENTS

_HERE: Final = "zuora_jobs.integrations.airflow"
_NAME: Final = "Zuora jobs"


def _text(label: str, description: str = "", **schema: Any) -> dict[str, Any]:
    field = {"label": label, "schema": {"type": ["string", "null"], **schema}}
    return field | {"description": description} if description else field


def _number(label: str, description: str) -> dict[str, Any]:
    return {"label": label, "schema": {"type": ["number", "null"], "exclusiveMinimum": 0}, "description": description}


CONN_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "environment": _text("Environment", "The tenant's data centre, instead of a base URL", enum=[*ENVIRONMENTS]),
    "access_token": _text(
        "Access token", "Instead of an OAuth client, where something else keeps it fresh", format="password"
    ),
    "entity_id": _text("Entity id", "Where Multi-entity is on: header Zuora-Entity-Ids"),
    "org_ids": _text("Organization ids", "With commas: header Zuora-Org-Ids"),
    "zuora_version": _text("API version", "Header Zuora-Version, such as 2025-08-12; empty: the tenant's default"),
    "wsdl_version": _text("WSDL version", "Header X-Zuora-WSDL-Version, which gates fields of the invoice"),
    "rate": _number("Requests a second", "At most, for each process; empty: what the tenant bears"),
    "concurrency": _number("Requests at once", "At most, for each process; empty: what the tenant bears"),
}
"""Fields of the form beside Airflow's own, by their keys in the connection's extra."""


def get_provider_info() -> dict[str, Any]:
    """Give what the entry point `apache_airflow_provider` is asked for."""
    return {
        "package-name": "zuora-jobs",
        "name": "Zuora",
        "description": "Watches Zuora's slow jobs (AQuA exports, bulk PDFs, invoice operations, credit memos) until they end.",
        "integrations": [
            {
                "integration-name": _NAME,
                "external-doc-url": "https://developer.zuora.com/",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": _NAME, "python-modules": [f"{_HERE}.hooks"]}],
        "operators": [{"integration-name": _NAME, "python-modules": [f"{_HERE}.operators"]}],
        "sensors": [{"integration-name": _NAME, "python-modules": [f"{_HERE}.sensors"]}],
        "triggers": [{"integration-name": _NAME, "python-modules": [f"{_HERE}.triggers"]}],
        "connection-types": [
            {
                "connection-type": "zuora",
                "hook-class-name": f"{_HERE}.hooks.ZuoraHook",
                "hook-name": "Zuora",
                "conn-fields": CONN_FIELDS,
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "extra"],
                    "relabeling": {
                        "host": "REST base URL",
                        "login": "OAuth client id",
                        "password": "OAuth client secret",
                    },
                    "placeholders": {"host": "https://rest.zuora.com", "port": "443", "login": "36 characters"},
                },
            }
        ],
    }
