"""Exports, PDFs, and jobs that something else has begun.

It runs as it is, copied into a folder of DAGs, against the emulator. In one shell:

    zuora-jobs emulate --port 8321

in another, with the variables that it prints:

    export AIRFLOW_CONN_ZUORA_DEFAULT='{"conn_type": "zuora", "host": "http://127.0.0.1:8321",
        "login": "…", "password": "…"}'
    airflow dags test example_zuora
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, task

from zuora_jobs import DocumentIds, ZipPdfs
from zuora_jobs.integrations.airflow import ZuoraExportOperator, ZuoraJobSensor, ZuoraSubmitOperator, ZuoraWatchOperator

INVOICES = ("2c92c8955bd63cc1015bd7c151af02ad", "2c92c8955bd63cc1015bd7c151af02ae")

with DAG(
    "example_zuora",
    schedule=None,
    description="Runs against the emulator as it is",
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
    },  # for what was lost; what failed is not tried again
    params={
        "into": Param("/tmp/zuora", type="string", description="A directory that all workers see"),  # noqa: S108
        "since": Param("2026-11-01", type="string", format="date"),
    },
    tags=["example", "zuora"],
):
    # a worker begins the job, a triggerer watches it, and a worker fetches its files
    export = ZuoraExportOperator(
        task_id="export",
        queries={
            "Invoices": "select Id, InvoiceNumber, Balance from Invoice where UpdatedDate >= '{{ params.since }}'",
            "Payments": "select Id, Amount, Status from Payment",
        },
        into="{{ params.into }}",
        job_timeout=timedelta(hours=2),
        cancel_on_kill=True,  # whoever marks the task as failed means the job as well
    )

    pdfs = ZuoraSubmitOperator(
        task_id="pdfs",
        request=ZipPdfs(documents=[DocumentIds(doc_type="Invoice", object_ids=INVOICES)], file_name="invoices"),
        into="{{ params.into }}",
    )

    @task
    def begin_elsewhere() -> list[str]:
        """Stand for whatever begins jobs and leaves their ids."""
        from airflow.sdk import get_current_context  # noqa: PLC0415 - the example's own business

        ti = get_current_context()["ti"]
        return [ti.xcom_pull(task_ids="pdfs")["handle"]]

    handles = begin_elsewhere()

    # one task for all of them, or one for each; both wait in the triggerer
    watch_all = ZuoraWatchOperator(task_id="watch_all", handles=handles)
    watch_each = ZuoraWatchOperator.partial(task_id="watch_each").expand(handles=handles)
    sensor = ZuoraJobSensor(task_id="sensor", handle="{{ ti.xcom_pull('pdfs')['handle'] }}", deferrable=True)

    pdfs >> [handles, sensor]

    @task
    def load(files: list[dict[str, object]]) -> None:
        """Put the files into your database."""
        for file in files:
            print(f"{file['path']}: {file['records']} records")  # noqa: T201 - goes to the task's log

    load(export.output)
