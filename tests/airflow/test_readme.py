"""The README's blocks about Airflow do what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("airflow", reason="needs Apache Airflow")

from airflow.sdk import Connection

from zuora_jobs.integrations.airflow.connections import tenant_of

TEXT = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+) airflow\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_the_dag_is_one_that_airflow_takes(airflow_here: Any) -> None:
    (code,) = [code for language, code in BLOCKS if language == "python"]
    scope: dict[str, Any] = {}
    exec(code, scope)
    dag = scope["dag"]
    airflow_here.make_known(dag)
    assert sorted(dag.task_ids) == ["export", "reverse", "watch"]
    assert dag.get_task("export").downstream_task_ids == {"reverse"}


def test_the_connection_is_one_that_names_a_tenant() -> None:
    install, export, test = [code for language, code in BLOCKS if language == "sh"]
    assert "zuora_jobs[airflow]" in install
    assert "--group airflow" in test
    variable, given = re.fullmatch(r"export (\w+)='(.*)'\n", export).groups()  # type: ignore[union-attr]
    assert variable == "AIRFLOW_CONN_ZUORA_DEFAULT"
    filled_in = json.loads(given.replace("…", "filled-in"))
    connection = Connection(conn_id="zuora_default", **filled_in | {"extra": json.dumps(filled_in["extra"])})
    assert tenant_of(connection).settings.base_url == "https://rest.eu.zuora.com"
