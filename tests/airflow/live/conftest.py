"""Real triggerers, as processes, and deferred tasks for them, as a scheduler and workers would have left them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PATIENCE = 60.0
"""Seconds for which a condition is waited for; it takes far less."""


def wait_until(condition: Callable[[], Any], about: str) -> Any:
    """Wait until *condition* gives something true, and give that."""
    for _ in range(int(PATIENCE / 0.1)):
        if value := condition():
            return value
        time.sleep(0.1)
    return pytest.fail(f"in {PATIENCE:.0f} s it did not come to this: {about}")


class Triggerer:
    """`airflow triggerer`, a process, and the child of it in which the triggers are."""

    def __init__(self, folder: Path, capacity: int, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._log = folder / "output"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs", "--capacity", str(capacity)],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=folder,  # by which it is known in the database
                env={**os.environ, **environment, "AIRFLOW__CORE__HOSTNAME_CALLABLE": "os.getcwd"},
                start_new_session=True,
            )
        self.job_id: int

    def wait_until_ready(self) -> Triggerer:
        """Wait until it is in the database, with a child to run triggers in."""

        def ready() -> bool:
            assert self._process.poll() is None, self.log()
            ids = _triggerers(str(self._folder))
            if ids and self.children():
                (self.job_id,) = ids
                return True
            return False

        wait_until(ready, "a triggerer is up")
        return self

    def children(self) -> list[Any]:
        psutil = pytest.importorskip("psutil")

        with suppress(psutil.NoSuchProcess):
            return list(psutil.Process(self._process.pid).children(recursive=True))
        return []

    def connections_to(self, port: int) -> int:
        """How many connections the children have to a local port."""
        psutil = pytest.importorskip("psutil")

        found = 0
        for child in self.children():
            with suppress(psutil.NoSuchProcess):
                found += sum(bool(line.raddr) and line.raddr.port == port for line in child.net_connections("tcp"))
        return found

    def kill(self) -> None:
        """End it and its children by SIGKILL, at once."""
        psutil = pytest.importorskip("psutil")

        for process in [psutil.Process(self._process.pid), *self.children()]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def terminate(self) -> None:
        """Ask it to end, as a rolling deployment does, and wait until it has."""
        self._process.terminate()
        self._process.wait(30)

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill()

    def log(self) -> str:
        return self._log.read_text(errors="replace")


def _triggerers(host: str) -> list[int]:
    from airflow.jobs.job import Job
    from airflow.utils.session import create_session

    select = pytest.importorskip("sqlalchemy").select

    with create_session() as session:
        return list(session.scalars(select(Job.id).where(Job.job_type == "TriggererJob", Job.hostname == host)))


class Tasks:
    """The instances of one mapped task, and what the database has of them."""

    def __init__(self, dag_id: str, run_id: str) -> None:
        self._dag_id = dag_id
        self._run_id = run_id

    def log(self, place: int, triggerer: Triggerer) -> str:
        """What a triggerer has written for the user of one of them."""
        folder = Path(os.environ["AIRFLOW_HOME"]) / "logs" / f"dag_id={self._dag_id}"
        logs = folder.rglob(f"map_index={place}/*.trigger.{triggerer.job_id}.log")
        return "".join(log.read_text() for log in logs)

    def _select(self) -> Any:
        from airflow.models.taskinstance import TaskInstance

        select = pytest.importorskip("sqlalchemy").select

        instances = select(TaskInstance).where(TaskInstance.dag_id == self._dag_id)
        return instances.where(TaskInstance.run_id == self._run_id).order_by(TaskInstance.map_index)

    def states(self) -> list[str]:
        """Their states, in order."""
        from airflow.utils.session import create_session

        with create_session() as session:
            return [str(instance.state) for instance in session.scalars(self._select())]

    def events(self) -> list[Any]:
        """What each was told by its trigger, None where it was not."""
        from airflow.sdk.serde import deserialize
        from airflow.utils.session import create_session

        with create_session() as session:
            known = [instance.next_kwargs or {} for instance in session.scalars(self._select())]
        return [dict(deserialize(kwargs)).get("event") for kwargs in known]

    def triggerers(self) -> list[int | None]:
        """Which triggerer has the trigger of each; None: none, or there is no trigger."""
        from airflow.utils.session import create_session

        with create_session() as session:
            instances = session.scalars(self._select())
            return [instance.trigger.triggerer_id if instance.trigger else None for instance in instances]

    def mark(self, place: int, state: str) -> None:
        """Do as a user does who marks one of them."""
        from airflow.utils.session import create_session

        with create_session() as session:
            list(session.scalars(self._select()))[place].set_state(state, session=session)

    def clear(self, place: int) -> None:
        """Do as a user does who clears one of them, and as the scheduler, which begins it again."""
        from airflow.models.taskinstance import clear_task_instances
        from airflow.utils.session import create_session
        from airflow.utils.state import TaskInstanceState

        with create_session() as session:
            instance = list(session.scalars(self._select()))[place]
            clear_task_instances([instance], session)
            instance.state = TaskInstanceState.SCHEDULED

    def hand_over(self, place: int, triggerer: Triggerer) -> None:
        """Give the trigger of one to another triggerer, as happens to one that was late with its heartbeat."""
        from airflow.utils.session import create_session

        with create_session() as session:
            list(session.scalars(self._select()))[place].trigger.triggerer_id = triggerer.job_id


def _begin(dag: Any, session: Any, conf: Mapping[str, Any] | None = None) -> Any:
    """Begin a run of a DAG; none of its tasks is."""
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.sdk import timezone
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    now = timezone.utcnow()
    known = SerializedDagModel.get_dag(dag.dag_id, session=session)
    assert known is not None
    return known.create_dagrun(
        run_id=f"manual__{now.isoformat()}",
        run_after=now,
        conf=dict(conf or {}),
        run_type=DagRunType.MANUAL,
        triggered_by=DagRunTriggeredByType.TEST,
        state=DagRunState.RUNNING,
        session=session,
    )


def _defer(dag: Any, triggers: Sequence[Any]) -> Tasks:
    from airflow.models.trigger import Trigger
    from airflow.sdk import timezone
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState

    now = timezone.utcnow()
    Trigger.clean_unused()  # of those that other tests have left
    with create_session() as session:
        run = _begin(dag, session)
        instances = sorted(run.get_task_instances(session=session), key=lambda instance: instance.map_index)
        for instance, trigger in zip(instances, triggers, strict=True):
            row = Trigger.from_object(trigger)
            session.add(row)
            session.flush()
            instance.state, instance.try_number, instance.start_date = TaskInstanceState.DEFERRED, 1, now
            instance.trigger_id, instance.next_method, instance.next_kwargs = row.id, "execute_complete", {}
        return Tasks(dag.dag_id, run.run_id)


class Fleet(Protocol):
    def __call__(self, dag_id: str, triggers: Sequence[Any]) -> Tasks: ...


@pytest.fixture
def deferred(airflow_here: Any) -> Fleet:
    """Have instances of a mapped task wait for triggers, one each."""

    def defer(dag_id: str, triggers: Sequence[Any]) -> Tasks:
        from airflow.sdk import DAG

        from zuora_jobs.integrations.airflow import ZuoraWatchOperator

        with DAG(f"live_{dag_id}", schedule=None) as dag:  # other tests have DAGs too
            ZuoraWatchOperator.partial(task_id="watch").expand(handles=[trigger.handles for trigger in triggers])
        airflow_here.make_known(dag)
        return _defer(dag, triggers)

    return defer


class Start(Protocol):
    def __call__(self, capacity: int = 1000, dead_after: int = 30) -> Triggerer: ...


@pytest.fixture(scope="module")
def start_triggerer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start triggerers, which take one another for dead after so many seconds; all are ended afterwards."""
    with ExitStack() as stack:

        def start(capacity: int = 1000, dead_after: int = 30) -> Triggerer:
            environment = {
                "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
                "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": "200",
                "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(dead_after),
            }
            triggerer = Triggerer(tmp_path_factory.mktemp("triggerer"), capacity, environment)
            stack.callback(triggerer.close)
            return triggerer

        yield start


@pytest.fixture
def begun_in_triggerer(airflow_here: Any) -> Callable[..., Tasks]:
    """Have a scheduler hand a run of a DAG over to the triggerers, whose tasks begin there."""

    def begin(dag: Any, **conf: Any) -> Tasks:
        from airflow.utils.session import create_session

        airflow_here.make_known(dag)
        with create_session() as session:
            run = _begin(dag, session, conf)
            schedulable, _ = run.update_state(session=session)
            run.schedule_tis(schedulable, session=session)
            return Tasks(dag.dag_id, run.run_id)

    return begin


@pytest.fixture(scope="session", name="wait_until")
def _wait_until() -> Callable[[Callable[[], Any], str], Any]:
    return wait_until
