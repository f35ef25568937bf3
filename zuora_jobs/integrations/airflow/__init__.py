"""Zuora's jobs in Apache Airflow 3.3 and later (extra `airflow`): its triggerer watches them, and no worker waits for them.

    watch = ZuoraWatchOperator(task_id="watch", handles="{{ ti.xcom_pull('begin') }}")
    export = ZuoraExportOperator(task_id="export", queries={"Invoices": "select Id, Balance from Invoice"}, into="/exports")

All deferred tasks in a triggerer share one client, one budget and one schedule for each tenant. 3.3 is the oldest that will
do: its task state keeps a task that is tried again from submitting twice, and its `on_kill` tells a user's decision from a
triggerer's end.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zuora_jobs.integrations.airflow.errors import (
        ZuoraJobCancelled,
        ZuoraJobFailed,
        ZuoraJobLost,
        ZuoraSubmitUncertain,
    )
    from zuora_jobs.integrations.airflow.hooks import ZuoraHook
    from zuora_jobs.integrations.airflow.operators import ZuoraExportOperator, ZuoraSubmitOperator, ZuoraWatchOperator
    from zuora_jobs.integrations.airflow.sensors import ZuoraJobSensor
    from zuora_jobs.integrations.airflow.triggers import ZuoraJobsTrigger

__all__ = [
    "ZuoraExportOperator",
    "ZuoraHook",
    "ZuoraJobCancelled",
    "ZuoraJobFailed",
    "ZuoraJobLost",
    "ZuoraJobSensor",
    "ZuoraJobsTrigger",
    "ZuoraSubmitOperator",
    "ZuoraSubmitUncertain",
    "ZuoraWatchOperator",
]

_ROOMS = {
    "ZuoraExportOperator": "operators",
    "ZuoraHook": "hooks",
    "ZuoraJobCancelled": "errors",
    "ZuoraJobFailed": "errors",
    "ZuoraJobLost": "errors",
    "ZuoraJobSensor": "sensors",
    "ZuoraJobsTrigger": "triggers",
    "ZuoraSubmitOperator": "operators",
    "ZuoraSubmitUncertain": "errors",
    "ZuoraWatchOperator": "operators",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, and no more: every process of Airflow comes by here for `provider.py`."""
    if name not in _ROOMS:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
