"""The example, as its own docstring has it run: `airflow dags test`, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("airflow", reason="needs Apache Airflow")

from zuora_jobs.integrations.airflow.example_dags import example_zuora

if TYPE_CHECKING:
    from pathlib import Path


def test_it_succeeds_and_no_secret_is_in_its_output_or_in_the_database(
    zuora: Any, airflow_here: Any, tmp_path: Path
) -> None:
    dags, into = tmp_path / "dags", tmp_path / "into"
    dags.mkdir()
    shutil.copy(example_zuora.__file__, dags)
    zuora.do(lambda zuora: zuora.on_submit("aqua", seconds=0.5))
    zuora.do(lambda zuora: zuora.on_submit("bulk-pdf", seconds=0.5))
    tested = subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "test", "example_zuora", "-c", json.dumps({"into": str(into)})],
        env={**os.environ, "AIRFLOW__CORE__DAGS_FOLDER": str(dags), "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=100,
        check=False,
    )
    lines = (tested.stdout + tested.stderr).decode().splitlines()
    output = "\n".join(line for line in lines if "MaskSecret(value=" not in line)  # Airflow's own, when it debugs
    assert tested.returncode == 0, output
    assert re.search(r"DagRun Finished: dag_id=example_zuora.* state=success", output), output

    submitted = zuora.submitted()
    assert sorted(submission.name for submission in submitted) == ["aqua", "bulk-pdf"]
    names = sorted(path.name for path in into.iterdir() if not path.name.startswith("."))
    assert [re.split(r"\W", name)[0] for name in names] == ["Invoices", "Payments", "invoices_1", "invoices_2"]
    assert re.search(rf"{re.escape(str(into))}/Invoices-\w+\.csv: \d+ records", output)

    # by another process: SQLite's locks are the process's, and go with whichever descriptor of the file is closed first
    command = ["cat", *map(str, airflow_here.home.glob("airflow.db*"))]
    database = subprocess.run(command, capture_output=True, timeout=20, check=True).stdout
    fetched = zuora.do(lambda zuora: [record for record in zuora.requests if record.door == "store"])
    signatures = [record.query["X-Amz-Signature"] for record in fetched]
    tokens = zuora.do(lambda zuora: list(zuora.tokens._expiry))
    assert signatures
    assert tokens
    for secret in (zuora.secret, *tokens, *signatures):
        assert secret not in output
        assert secret.encode() not in database
