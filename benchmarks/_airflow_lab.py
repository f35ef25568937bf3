"""A real Airflow on SQLite: its database, task instances that wait in it, and a triggerer process.

The task instances are put into the database as `TaskInstance.defer_task` does: each of them by a worker would take one or two
seconds of a core, whoever's trigger it is.
"""

# ruff: noqa: PLC0415, TID251 - Airflow reads its environment when it is imported, and writes moments of the wall clock

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from attrs import define, field

DAG = """
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

with DAG("fleet", schedule=None):
    EmptyOperator.partial(task_id="watch").expand(doc=["..."])
"""


def prepare(home: Path, url: str, client_id: str, client_secret: str) -> None:
    """Set this process's environment, make a database, and have Airflow know a DAG; before Airflow is imported."""
    dags = home / "dags"
    dags.mkdir(parents=True)
    (dags / "fleet.py").write_text(DAG)
    host, _, port = url.rpartition(":")
    connection = {"conn_type": "zuora", "host": host, "port": int(port), "login": client_id, "password": client_secret}
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__TRIGGERER__CAPACITY": "10000",
        "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": "500",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW_CONN_ZUORA_DEFAULT": json.dumps(connection),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    for command in (("db", "migrate"), ("dags", "reserialize")):
        _airflow(*command, log=home / "prepare.log").wait(timeout=120)


def _airflow(*command: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as sink:
        return subprocess.Popen([sys.executable, "-m", "airflow", *command], stdout=sink, stderr=sink)


def defer(run_id: str, triggers: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Have one task instance wait for each of *triggers*."""
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagbag import DBDagBag
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    with create_session() as session:
        dag = DBDagBag().get_latest_version_of_dag("fleet", session=session)
        version = DagVersion.get_latest_version("fleet", session=session)
        dag.create_dagrun(
            run_id=run_id,
            run_after=datetime.now(UTC),
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            session=session,
        )
        for number, (classpath, arguments) in enumerate(triggers):
            trigger = Trigger(classpath=classpath, kwargs=dict(arguments))
            session.add(trigger)
            session.flush()
            task = TaskInstance(
                dag.get_task("watch"),
                dag_version_id=version.id,
                run_id=run_id,
                state=TaskInstanceState.DEFERRED,
                map_index=number + 1,
            )
            task.trigger_id, task.next_method, task.next_kwargs = trigger.id, "execute_complete", {}
            task.start_date = datetime.now(UTC)
            session.add(task)


def woken(run_id: str) -> dict[int, float]:
    """Give for each task instance that is to go on, by its number, when that was decided, in seconds since 1970."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select

    with create_session() as session:
        rows = session.execute(
            select(TaskInstance.map_index, TaskInstance.scheduled_dttm).where(
                TaskInstance.run_id == run_id,
                TaskInstance.state == TaskInstanceState.SCHEDULED,
                TaskInstance.map_index > 0,
            )
        )
        return {number - 1: moment.timestamp() for number, moment in rows}


@define
class Spent:
    """What a triggerer's processes have spent."""

    supervisor: float = 0.0
    """Seconds of CPU of the process that talks to the database."""
    runner: float = 0.0
    """And of the one whose loop the triggers run in."""
    memory: int = 0
    """Bytes of the latter's resident set, at most."""
    descriptors: int = 0
    """Of the latter, at most."""


@define
class Triggerer:
    """A triggerer that runs."""

    _process: psutil.Process
    spent: Spent = field(factory=Spent)

    def measure(self) -> None:
        """Take note of what it has spent so far."""
        self.spent.supervisor = _cpu(self._process)
        runner = max(self._process.children(), key=_cpu, default=None)  # the other serves logs
        if runner is not None:
            self.spent.runner = _cpu(runner)
            self.spent.memory = max(self.spent.memory, runner.memory_info().rss)
            self.spent.descriptors = max(self.spent.descriptors, runner.num_fds())


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def triggerer(home: Path) -> Iterator[Triggerer]:
    """Run a triggerer for as long as the block lasts."""
    process = _airflow("triggerer", log=home / "triggerer.log")
    try:
        yield Triggerer(psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
        time.sleep(1)
