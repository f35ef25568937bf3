"""Operators and sensor as users run them: by `DAG.test`, with Airflow's scheduler, API and database, against the emulator."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("airflow", reason="needs Apache Airflow")

from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

from zuora_jobs import DocumentIds, ZipPdfs
from zuora_jobs.emulator import Fault, Step
from zuora_jobs.errors import ConfigurationError
from zuora_jobs.integrations.airflow import (
    ZuoraExportOperator,
    ZuoraJobCancelled,
    ZuoraJobFailed,
    ZuoraJobLost,
    ZuoraJobSensor,
    ZuoraSubmitOperator,
    ZuoraWatchOperator,
)

if TYPE_CHECKING:
    from pathlib import Path

AGAIN = {"retries": 1, "retry_delay": timedelta(0)}
NOWHERE = "aqua:" + "0" * 32


def ended(zuora: Any, *kinds_and_ends: tuple[str, str]) -> list[str]:
    """Jobs that have ended so."""
    jobs = zuora.do(lambda zuora: [zuora.add_job(kind, life=[Step(end)]) for kind, end in kinds_and_ends])
    return [job.handle for job in jobs]


def test_each_end_is_told_and_only_what_was_lost_is_tried_again(zuora: Any, airflow_here: Any) -> None:
    good, bad, off, some = ended(
        zuora,
        ("aqua", "completed"),
        ("operation", "Failed"),
        ("bulk-pdf", "Cancelled"),
        ("bulk-pdf", "PartialComplete"),
    )
    with DAG("ends", schedule=None, default_args=AGAIN, params={"good": good}) as dag:
        ZuoraWatchOperator(task_id="good", handles="{{ params.good }}")
        ZuoraWatchOperator(task_id="bad", handles=bad)
        ZuoraWatchOperator(task_id="off", handles=off)
        ZuoraWatchOperator(task_id="some", handles=some)
        ZuoraWatchOperator(task_id="lost", handles=NOWHERE)
        ZuoraWatchOperator(task_id="all", handles=["{{ params.good }}", some])
        ZuoraWatchOperator(task_id="mixed", handles=[good, bad])
        ZuoraWatchOperator(task_id="mixed_and_lost", handles=[bad, NOWHERE, good])
        ZuoraWatchOperator.partial(task_id="each").expand(handles=[good, some])
        ZuoraJobSensor(task_id="sensor", handle="{{ params.good }}", deferrable=True)
        ZuoraJobSensor(task_id="poking", handle="{{ params.good }}", deferrable=False)
        ZuoraJobSensor(task_id="bad_sensor", handle=bad, deferrable=True)
        ZuoraJobSensor(task_id="bad_poking", handle=bad, deferrable=False)
    run = airflow_here.test(dag)

    told = run.xcom("good")
    assert (told["handle"], told["outcome"], told["status"], told["partial"]) == (good, "succeeded", "completed", False)
    assert told["job"]["id"] == good.partition(":")[2]
    assert run.xcom("some")["partial"] is True
    assert [account["handle"] for account in run.xcom("all")] == [good, some]
    assert [run.xcom("each", map_index=place)["handle"] for place in (0, 1)] == [good, some]
    assert run.xcom("sensor")["handle"] == run.xcom("poking")["handle"] == good
    assert run.xcom("sensor").keys() == run.xcom("poking").keys()

    for task_id, error in (
        ("bad", ZuoraJobFailed),
        ("off", ZuoraJobCancelled),
        ("mixed", ZuoraJobFailed),
        ("bad_sensor", ZuoraJobFailed),
        ("bad_poking", ZuoraJobFailed),
    ):
        assert (run.state_of(task_id), run.tries_of(task_id)) == ("failed", 1), task_id
        assert type(run.error(task_id)) is error
    reason = zuora.do(lambda zuora: zuora.job(bad).document())
    assert bad in str(run.error("bad"))
    assert "Failed" in str(run.error("bad"))
    assert any(text in str(run.error("bad")) for text in json.dumps(reason).split('"') if len(text) > 20)
    for task_id in ("lost", "mixed_and_lost"):
        assert (run.state_of(task_id), run.tries_of(task_id)) == ("failed", 2), task_id
        assert [type(error) for error in run.errors[task_id]] == [ZuoraJobLost] * 2
    assert [account["outcome"] for account in run.xcom("mixed", "accounts")] == ["succeeded", "failed"]
    assert [account["outcome"] for account in run.xcom("mixed_and_lost", "accounts")] == ["failed", "lost", "succeeded"]
    assert zuora.asked("DELETE") == []


def test_what_cannot_work_fails_at_once_and_says_why(zuora: Any, airflow_here: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with DAG("nonsense", schedule=None, default_args={**AGAIN}) as dag:
        ZuoraWatchOperator(task_id="handle", handles="no handle")
        ZuoraWatchOperator(task_id="one_of_many", handles=[NOWHERE, "planet:9"])
        ZuoraJobSensor(task_id="sensor", handle="../v1/x", deferrable=True)
        ZuoraJobSensor(task_id="poking", handle="../v1/x", deferrable=False)
        ZuoraSubmitOperator(task_id="no_request")
        ZuoraSubmitOperator(task_id="kind", kind="aqau", request={})
        ZuoraSubmitOperator(task_id="request", kind="aqua", request={"no": "such field"})
        ZuoraExportOperator(task_id="no_queries", queries={}, into=str(tmp_path))
        ZuoraExportOperator(
            task_id="options",
            queries={"A": "select Id from Invoice"},
            into=str(tmp_path),
            export_options={"colour": "red"},
        )
        query: dict[str, Any] = {"queries": {"A": "select Id from Invoice"}}
        ZuoraExportOperator(task_id="text", queries="select Id from Invoice", into=str(tmp_path))  # type: ignore[arg-type]
        ZuoraExportOperator(task_id="nowhere", **query, into="{{ '' }}")
        ZuoraExportOperator(task_id="somewhere", **query, into="exports")
        ZuoraWatchOperator(task_id="text_of_a_list", handles="['aqua:1', 'aqua:2']")
    run = airflow_here.test(dag)
    for task in dag.tasks:
        assert (run.state_of(task.task_id), run.tries_of(task.task_id)) == ("failed", 1), task.task_id
        assert isinstance(run.error(task.task_id), AirflowFailException), task.task_id
    assert "no handle" in str(run.error("handle"))
    assert "planet" in str(run.error("one_of_many"))
    assert "aqau" in str(run.error("kind"))
    assert "colour" in str(run.error("options"))
    assert "mapping" in str(run.error("text"))
    assert "absolute" in str(run.error("nowhere"))
    assert "absolute" in str(run.error("somewhere"))
    assert "render_template_as_native_obj" in str(run.error("text_of_a_list"))
    assert zuora.submitted() == []


def test_nothing_is_begun_whose_files_cannot_be_saved(zuora: Any, airflow_here: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with DAG("full", schedule=None, default_args={**AGAIN}) as dag:
        ZuoraExportOperator(task_id="file", queries={"A": "select Id from Invoice"}, into=str(tmp_path / "file"))
    run = airflow_here.test(dag)
    assert (run.state_of("file"), run.tries_of("file")) == ("failed", 2), "the disk may be mended by then"
    assert all("cannot save" in str(error) for error in run.errors["file"])
    assert zuora.submitted() == []


def test_a_sensor_whose_time_is_over_says_so_as_airflows_own_do(zuora: Any, airflow_here: Any) -> None:
    job = zuora.do(lambda zuora: zuora.add_job("aqua", life=[Step("executing")]))
    with DAG("slow", schedule=None, default_args={**AGAIN}) as dag:
        ZuoraJobSensor(task_id="hard", handle=job.handle, deferrable=True, timeout=0.4)
        ZuoraJobSensor(task_id="soft", handle=job.handle, deferrable=True, timeout=0.4, soft_fail=True)
    run = airflow_here.test(dag)
    assert run.state_of("soft") == "skipped"
    assert isinstance(run.error("hard"), AirflowSensorTimeout)
    assert job.handle in str(run.error("hard"))
    assert "0.4 s" in str(run.error("hard"))


@pytest.mark.parametrize("time", [0, -1, "soon", timedelta(0)])
def test_a_timeout_that_is_none_is_refused_when_the_dag_is_read(time: Any) -> None:
    with pytest.raises(ConfigurationError, match="job_timeout"):
        ZuoraWatchOperator(task_id="watch", handles=NOWHERE, job_timeout=time)


def test_files_are_fetched_once_and_what_is_told_of_them_is_small(
    zuora: Any, airflow_here: Any, tmp_path: Path
) -> None:
    zuora.do(lambda zuora: zuora.on_submit("aqua", at_once=True))
    zuora.do(lambda zuora: zuora.on_submit("bulk-pdf", at_once=True))
    pdfs = ZipPdfs(
        documents=[DocumentIds(doc_type="Invoice", object_ids=("2c92c8955bd63cc1015bd7c151af02ad",))], file_name="june"
    )
    with DAG("files", schedule=None, default_args=AGAIN, params={"into": str(tmp_path)}) as dag:
        many = {f"Q{number}": "select Id from Invoice where Day = '{{ ds }}'" for number in range(60)}
        export = ZuoraExportOperator(task_id="export", queries=many, into="{{ params.into }}/csv")
        zipped = ZuoraSubmitOperator(task_id="zip", request=pdfs, into="{{ params.into }}/zip")
        json_ = {"format": "csv", "queries": [{"name": "{{ ds }}", "query": "select Id from Payment"}]}
        ZuoraSubmitOperator(task_id="json", kind="aqua", request=json_)
        watch = ZuoraWatchOperator(
            task_id="watch", handles="{{ ti.xcom_pull('zip')['handle'] }}", into="{{ params.into }}/zip"
        )
        [export, zipped] >> watch
    run = airflow_here.test(dag)
    assert run.state == "success", run.errors

    files = run.xcom("export")
    assert [file["name"] for file in files] == list(many)
    assert all(set(file) == {"path", "name", "size", "records"} for file in files)
    assert {file["path"] for file in files} == {str(path) for path in (tmp_path / "csv").glob("*.csv")}
    asked = [submission.body["queries"] for submission in zuora.submitted() if submission.name == "aqua"]
    assert sorted(map(len, asked)) == [1, 10, 50]
    day = str(run.dag_run.logical_date.date())
    assert all(day in query["query"] or day == query["name"] for queries in asked for query in queries)
    told = run.xcom("zip")
    assert [file["path"] for file in told["files"]] == [str(path) for path in sorted((tmp_path / "zip").glob("*.zip"))]
    assert run.xcom("watch")["files"] == told["files"]
    assert "Signature" not in json.dumps(told)
    stored = [request for request in zuora.do(lambda zuora: zuora.requests) if request.door == "store"]
    assert len(stored) == len(told["files"])


def test_a_file_that_is_gone_fails_the_task_for_good_and_one_that_is_cut_is_resumed(
    zuora: Any, airflow_here: Any, tmp_path: Path
) -> None:
    gone, cut = zuora.do(lambda zuora: [zuora.add_job("aqua", life=[Step("completed")]) for _ in range(2)])
    zuora.do(lambda zuora: zuora.purge_files(gone))
    zuora.do(lambda zuora: zuora.fault(Fault("cut-after", path=f"/v1/files?/{cut.file_ids[0]}", times=1)))
    with DAG("gone", schedule=None, default_args=AGAIN) as dag:
        ZuoraWatchOperator(task_id="gone", handles=gone.handle, into=str(tmp_path / "gone"))
        ZuoraWatchOperator(task_id="cut", handles=cut.handle, into=str(tmp_path / "cut"))
    run = airflow_here.test(dag)
    assert (run.state_of("gone"), run.tries_of("gone")) == ("failed", 1)
    assert isinstance(run.error("gone"), AirflowFailException)
    assert run.state_of("cut") == "success"
    assert run.xcom("cut")["files"][0]["records"] is not None
