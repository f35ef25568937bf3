"""Nothing is submitted twice: tasks that are tried again, killed and cleared, with Airflow's own task state."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

pytest.importorskip("airflow", reason="needs Apache Airflow")

from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from zuora_jobs import DeleteInvoice, DocumentIds, ReverseInvoice, ZipPdfs
from zuora_jobs.emulator import Answer, Fault, Step
from zuora_jobs.integrations.airflow import (
    ZuoraExportOperator,
    ZuoraJobFailed,
    ZuoraJobLost,
    ZuoraSubmitOperator,
    ZuoraSubmitUncertain,
)
from zuora_jobs.integrations.airflow.memory import TaskRecord

if TYPE_CHECKING:
    from pathlib import Path

AGAIN = {"retries": 1, "retry_delay": timedelta(0)}
INVOICE = "2c92c8955bd63cc1015bd7c151af02ad"
PDFS = ZipPdfs(documents=[DocumentIds(doc_type="Invoice", object_ids=(INVOICE,))], file_name="june")
UNKNOWN = Answer(404, {"success": False, "reasons": [{"code": 50000040, "message": "Cannot find it"}]})
REFUSED = Answer(200, {"success": False, "reasons": [{"code": 50000020, "message": "No such field"}]})


@pytest.fixture
def killed_before_the_answer_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a worker die once, between what Zuora answers and what is remembered of it."""
    settle = TaskRecord.settle
    deaths = [RuntimeError("killed")]

    def die_first(self: TaskRecord, *arguments: Any) -> Any:
        if deaths:
            raise deaths.pop()
        return settle(self, *arguments)

    monkeypatch.setattr(TaskRecord, "settle", die_first)


def ending(zuora: Any, name: str, end: str | None = None, **options: Any) -> None:
    life = {"life": [Step(end)]} if end is not None else {"at_once": True}
    zuora.do(lambda zuora: zuora.on_submit(name, **life, **options))


def lost_once(zuora: Any, path: str = "/v1/batch-query/jobs/") -> None:
    zuora.do(lambda zuora: zuora.fault(Fault(UNKNOWN, path=path, method="GET", times=1)))


def handles_of(zuora: Any) -> list[str]:
    return [submission.handle for submission in zuora.submitted()]


def test_a_task_that_lost_its_job_goes_on_with_it_whatever_its_templates_say_by_then(
    zuora: Any, airflow_here: Any, tmp_path: Path
) -> None:
    zuora.do(lambda zuora: zuora.on_submit("aqua", polls=1))
    lost_once(zuora)
    with DAG("lost", schedule=None, default_args=AGAIN) as dag:
        queries = {"A": "select Id from Invoice where Try = {{ ti.try_number }}"}
        ZuoraExportOperator(task_id="export", queries=queries, into=str(tmp_path))
    run = airflow_here.test(dag)
    assert (run.state_of("export"), run.tries_of("export")) == ("success", 2)
    assert isinstance(run.error("export"), ZuoraJobLost)
    (submission,) = zuora.submitted()
    assert submission.body["queries"][0]["query"].endswith("Try = 1")
    assert len(zuora.asked("POST", "/v1/batch-query")) == 1
    assert len(run.xcom("export")) == 1


def test_a_worker_that_is_killed_before_the_answer_has_the_same_key_sent_again(
    zuora: Any, airflow_here: Any, killed_before_the_answer_is_kept: None
) -> None:
    ending(zuora, "bulk-pdf", "Completed")
    with DAG("killed", schedule=None, default_args=AGAIN) as dag:
        ZuoraSubmitOperator(task_id="zip", request=PDFS)
    run = airflow_here.test(dag)
    assert (run.state_of("zip"), run.tries_of("zip")) == ("success", 2)
    first, second = zuora.asked("POST", "/v1/operations/bulk-pdf")
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert [run.xcom("zip")["handle"]] == handles_of(zuora)


def test_a_worker_that_is_killed_and_whose_template_differs_then_does_not_guess(
    zuora: Any, airflow_here: Any, killed_before_the_answer_is_kept: None, tmp_path: Path
) -> None:
    ending(zuora, "aqua", "completed")
    with DAG("killed_and_changed", schedule=None, default_args={**AGAIN, "retries": 3}) as dag:
        queries = {"A": "select Id from Invoice where Try = {{ ti.try_number }}"}
        ZuoraExportOperator(task_id="export", queries=queries, into=str(tmp_path))
    run = airflow_here.test(dag)
    assert (run.state_of("export"), run.tries_of("export")) == ("failed", 2)
    assert isinstance(run.errors["export"][-1], ZuoraSubmitUncertain)
    assert len(handles_of(zuora)) == 1


@pytest.mark.parametrize(
    ("request_", "name"),
    [(ReverseInvoice(INVOICE), "invoice-reverse"), (DeleteInvoice(INVOICE), "invoice-delete")],
    ids=["PUT", "DELETE"],
)
def test_what_bears_no_key_is_not_sent_again_after_a_kill(
    zuora: Any, airflow_here: Any, killed_before_the_answer_is_kept: None, request_: Any, name: str
) -> None:
    ending(zuora, name, "Completed")
    zuora.do(lambda zuora: zuora.add_invoice(INVOICE, Status="Draft" if name == "invoice-delete" else "Posted"))
    with DAG(name.replace("-", "_"), schedule=None, default_args={**AGAIN, "retries": 3}) as dag:
        ZuoraSubmitOperator(task_id="submit", request=request_)
    run = airflow_here.test(dag)
    assert (run.state_of("submit"), run.tries_of("submit")) == ("failed", 2)
    told = run.errors["submit"][-1]
    assert isinstance(told, ZuoraSubmitUncertain)
    task = f"/dags/{dag.dag_id}/dagRuns/{quote(run.dag_run.run_id)}/taskInstances/submit"
    assert str(told).endswith(f"DELETE /api/v2{task}/state-store")
    assert "--again" not in str(told), "which Airflow does not have"
    assert len(handles_of(zuora)) == 1

    airflow_here.clear(dag, run, "submit")
    assert isinstance(run.errors["submit"][-1], ZuoraSubmitUncertain), "whoever clears it has not found out by that"
    assert len(handles_of(zuora)) == 1


def test_a_task_that_is_cleared_after_its_end_begins_anew_each_time(zuora: Any, airflow_here: Any) -> None:
    ending(zuora, "bulk-pdf", "Completed", times=1)
    ending(zuora, "bulk-pdf", "Error", times=1)
    ending(zuora, "bulk-pdf", "Completed")
    with DAG("ended", schedule=None, default_args=AGAIN) as dag:
        ZuoraSubmitOperator(task_id="zip", request=PDFS)
    run = airflow_here.test(dag)
    seen = [run.xcom("zip")["handle"]]
    assert run.state_of("zip") == "success"
    airflow_here.clear(dag, run, "zip")
    assert run.state_of("zip") == "failed"
    assert isinstance(run.errors["zip"][-1], ZuoraJobFailed)
    airflow_here.clear(dag, run, "zip")
    seen.append(run.xcom("zip")["handle"])
    assert run.state_of("zip") == "success"
    assert handles_of(zuora)[::2] == seen
    assert len(set(handles_of(zuora))) == 3
    keys = [request.headers["Idempotency-Key"] for request in zuora.asked("POST", "/v1/operations/bulk-pdf")]
    assert len(set(keys)) == 3


def lose_it(zuora: Any, airflow_here: Any, dag_id: str) -> tuple[Any, Any, Any]:
    """A task that has failed for good since it lost its job, which runs on."""
    ending(zuora, "bulk-pdf", "Executing", times=1)
    ending(zuora, "bulk-pdf", "Completed")
    lost_once(zuora, "/v1/operations/bulk-pdf/")
    with DAG(dag_id, schedule=None) as dag:
        ZuoraSubmitOperator(task_id="zip", request=PDFS)
    run = airflow_here.test(dag)
    assert isinstance(run.error("zip"), ZuoraJobLost)
    return dag, run, zuora.do(lambda zuora: zuora.jobs[0])


@pytest.mark.parametrize("end", ["Completed", "PartialComplete"])
def test_a_cleared_task_takes_a_job_that_has_ended_well_without_it(zuora: Any, airflow_here: Any, end: str) -> None:
    dag, run, job = lose_it(zuora, airflow_here, f"well_{end}")
    zuora.do(lambda _: job.become(end))
    airflow_here.clear(dag, run, "zip")
    assert run.state_of("zip") == "success"
    assert run.xcom("zip")["handle"] == job.handle
    assert handles_of(zuora) == [job.handle]


@pytest.mark.parametrize("end", ["Error", "Cancelled"])
def test_a_cleared_task_whose_job_has_ended_badly_without_it_begins_anew(
    zuora: Any, airflow_here: Any, end: str
) -> None:
    dag, run, job = lose_it(zuora, airflow_here, f"badly_{end}")
    zuora.do(lambda _: job.become(end))
    airflow_here.clear(dag, run, "zip")
    assert run.state_of("zip") == "success"
    assert [job.handle, run.xcom("zip")["handle"]] == handles_of(zuora)


def test_a_cleared_task_whose_job_is_not_there_any_more_begins_anew(zuora: Any, airflow_here: Any) -> None:
    dag, run, job = lose_it(zuora, airflow_here, "not_there")
    zuora.do(lambda zuora: zuora.fault(Fault(UNKNOWN, path=job.id)))
    airflow_here.clear(dag, run, "zip")
    assert run.state_of("zip") == "success", run.errors
    assert len(handles_of(zuora)) == 2


def test_of_several_jobs_only_those_that_were_not_begun_are(zuora: Any, airflow_here: Any, tmp_path: Path) -> None:
    ending(zuora, "aqua", "completed")
    refusing = zuora.do(lambda zuora: zuora.fault(Fault(REFUSED, path="/v1/batch-query/?$", method="POST", after=2)))
    queries = {f"Q{number:03}": "select Id from Invoice" for number in range(120)}
    with DAG("parts", schedule=None, default_args=AGAIN) as dag:
        ZuoraExportOperator(task_id="export", queries=queries, into=str(tmp_path))
    run = airflow_here.test(dag)
    assert (run.state_of("export"), run.tries_of("export")) == ("failed", 1)
    assert isinstance(run.error("export"), AirflowFailException)
    assert "No such field" in str(run.error("export"))
    assert len(handles_of(zuora)) == 2
    kept = airflow_here.remembered(run, "export")
    assert [kept[key]["handle"] for key in sorted(kept)] == handles_of(zuora)

    zuora.do(lambda _: refusing.remove())
    airflow_here.clear(dag, run, "export")
    assert run.state_of("export") == "success"
    assert len(handles_of(zuora)) == 3
    assert [file["name"] for file in run.xcom("export")] == list(queries)


def test_a_refusal_leaves_nothing_behind(zuora: Any, airflow_here: Any) -> None:
    zuora.do(lambda zuora: zuora.fault(Fault(REFUSED, path="/v1/operations/bulk-pdf", method="POST", times=1)))
    ending(zuora, "bulk-pdf", "Completed")
    with DAG("refused", schedule=None, default_args=AGAIN) as dag:
        ZuoraSubmitOperator(task_id="zip", request=PDFS)
    run = airflow_here.test(dag)
    assert (run.state_of("zip"), run.tries_of("zip")) == ("failed", 1)
    assert airflow_here.remembered(run, "zip") == {}
    airflow_here.clear(dag, run, "zip")
    assert run.state_of("zip") == "success"
    assert len(handles_of(zuora)) == 1


def test_a_job_that_was_done_at_once_is_remembered_as_well(
    zuora: Any, airflow_here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths = [RuntimeError("killed")]

    def die_first(*_: Any) -> None:
        if deaths:
            raise deaths.pop()

    ending(zuora, "bulk-pdf")
    monkeypatch.setattr(ZuoraSubmitOperator, "_have_ended", die_first)
    with DAG("at_once", schedule=None, default_args=AGAIN) as dag:
        ZuoraSubmitOperator(task_id="zip", request=PDFS)
    run = airflow_here.test(dag)
    assert (run.state_of("zip"), run.tries_of("zip")) == ("success", 2)
    assert [run.xcom("zip")["handle"]] == handles_of(zuora)


def test_nothing_secret_is_remembered(zuora: Any, airflow_here: Any) -> None:
    ending(zuora, "bulk-pdf")
    with DAG("secrets", schedule=None) as dag:
        ZuoraSubmitOperator(task_id="zip", request=PDFS)
    run = airflow_here.test(dag)
    kept = str(airflow_here.remembered(run, "zip"))
    assert handles_of(zuora)[0] in kept
    tokens = zuora.do(lambda zuora: list(zuora.tokens._expiry))
    assert not [secret for secret in (zuora.secret, "Signature", *tokens) if secret in kept]
