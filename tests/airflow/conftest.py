"""A real Airflow in a home of its own, where there is one; and a local Zuora in a thread, which any loop and process reaches.

Without Airflow only those files are run that need none.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import os
import shutil
import tempfile
import threading
import warnings
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from zuora_jobs import emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

HAS_AIRFLOW = importlib.util.find_spec("airflow") is not None
HOME = Path(tempfile.mkdtemp(prefix="airflow-")) if HAS_AIRFLOW else Path()

if HAS_AIRFLOW:  # it reads its settings when it is imported
    (HOME / "dags").mkdir()
    os.environ |= {
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    }
    for name in [name for name in os.environ if name.startswith("AIRFLOW_CONN_")]:
        del os.environ[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own business
        import airflow.api_fastapi.execution_api.app
        import airflow.settings
        from airflow.utils.db import initdb

        initdb()


def pytest_unconfigure() -> None:
    if HAS_AIRFLOW:
        airflow.settings.dispose_orm(do_log=False)
        shutil.rmtree(HOME, ignore_errors=True)


class Zuora:
    """An emulator on a loop of its own, in a thread."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._is_over = asyncio.Event()
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self.emulator: emulator.Emulator

    async def _serve(self) -> None:
        async with emulator.running(**self._options) as self.emulator:
            self._is_ready.set()
            await self._is_over.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._is_over.set)
        self._thread.join(10)
        self._loop.close()

    def do(self, function: Callable[[emulator.Emulator], Any]) -> Any:
        """Give what *function* says of the emulator, or does to it, in the emulator's thread."""

        async def call() -> Any:
            return function(self.emulator)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    @property
    def url(self) -> str:
        return self.emulator.url

    @property
    def client_id(self) -> str:
        return self.emulator.options.client_id

    @property
    def secret(self) -> str:
        return self.emulator.options.client_secret

    def connection(self, **overrides: Any) -> str:
        """A connection of Airflow's, as JSON."""
        ours = {"conn_type": "zuora", "host": self.url, "login": self.client_id, "password": self.secret}
        return json.dumps({**ours, **overrides})

    def asked(self, method: str, path: str = "/v1/") -> list[emulator.RequestRecord]:
        """The requests received of one method, whose path begins so."""
        records = self.do(lambda zuora: zuora.requests)
        return [record for record in records if record.method == method and record.path.startswith(path)]

    def submitted(self) -> Sequence[emulator.Submission]:
        return self.do(lambda zuora: list(zuora.submitted))  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def new_zuora() -> type[Zuora]:
    """What makes one, for fixtures that live longer than a test."""
    return Zuora


@pytest.fixture
def zuora(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zuora]:
    """A Zuora to which the default connection leads."""
    with Zuora() as running:
        monkeypatch.setenv("AIRFLOW_CONN_ZUORA_DEFAULT", running.connection())
        yield running


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a Zuora in the test's own loop, to which the default connection leads, and end what watches it."""

    @asynccontextmanager
    async def connected(**options: Any) -> AsyncIterator[emulator.Emulator]:
        async with emulator.running(**options) as zuora:
            given = {"conn_type": "zuora", "host": zuora.url}
            given |= {"login": zuora.options.client_id, "password": zuora.options.client_secret}
            monkeypatch.setenv("AIRFLOW_CONN_ZUORA_DEFAULT", json.dumps(given))
            yield zuora
            kept = [task for task in asyncio.all_tasks() if task.get_name().startswith("zuora_jobs: ")]
            for task in kept:
                task.cancel()
            await asyncio.gather(*kept, return_exceptions=True)

    return connected


class Run:
    """What became of a run of a DAG."""

    def __init__(self, dag_run: Any, errors: dict[str, list[BaseException]]) -> None:
        self.dag_run = dag_run
        self.state: str = str(dag_run.state)
        self.errors = errors
        """What each task has failed with, try by try."""

    def instance(self, task_id: str, map_index: int = -1) -> Any:
        return self.dag_run.get_task_instance(task_id, map_index=map_index)

    def state_of(self, task_id: str, map_index: int = -1) -> str:
        return str(self.instance(task_id, map_index).state)

    def tries_of(self, task_id: str) -> int:
        return int(self.instance(task_id).try_number)

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        with create_session() as session:
            row = session.scalars(
                XComModel.get_many(
                    run_id=self.dag_run.run_id,
                    dag_ids=self.dag_run.dag_id,
                    task_ids=task_id,
                    key=key,
                    map_indexes=map_index,
                )
            ).first()
            return XComModel.deserialize_value(row) if row is not None else None

    def error(self, task_id: str) -> BaseException:
        """What the task failed with, in its only try."""
        (error,) = self.errors[task_id]
        return error


def _made_known(dag: Any) -> None:
    """Have the DAG in the database, without a file, as a run looks it up there."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.utils.session import create_session

    with create_session() as session:
        DagBundlesManager().sync_bundles_to_db(session=session)
    bag = BundleDagBag(HOME / "dags", bundle_path=HOME / "dags", bundle_name="dags-folder")
    dag.relative_fileloc = "none.py"
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)


class Airflow:
    """The Airflow of these tests."""

    home = HOME
    dags = HOME / "dags"

    def make_known(self, dag: Any) -> None:
        _made_known(dag)

    def test(self, dag: Any, **options: Any) -> Run:
        """Do what `airflow dags test` does: its scheduler, API server and triggerer are in this process then."""
        errors: dict[str, list[BaseException]] = {}

        def note(context: Any) -> None:
            errors.setdefault(context["ti"].task_id, []).append(context["exception"])

        for task in dag.tasks:
            operator = getattr(task, "partial_kwargs", vars(task))  # of a mapped one, what all of it have in common
            operator["on_failure_callback"] = operator["on_retry_callback"] = [note]
        _made_known(dag)
        return Run(dag.test(**options), errors)

    def clear(self, dag: Any, run: Run, task_id: str) -> None:
        """Clear a task, as a user does, and run it again until it ends."""
        from airflow.models.taskinstance import clear_task_instances
        from airflow.sdk.definitions.dag import _run_task
        from airflow.utils.session import create_session
        from airflow.utils.state import TaskInstanceState

        with create_session() as session:
            clear_task_instances([run.instance(task_id)], session)
        run.errors.pop(task_id, None)
        while True:
            with create_session() as session:
                instance = run.instance(task_id)
                if instance.state not in {None, TaskInstanceState.UP_FOR_RETRY}:
                    return
                instance.try_number += 1
                instance.state = TaskInstanceState.SCHEDULED
                session.merge(instance)
            _run_task(ti=run.instance(task_id), task=dag.task_dict[task_id], run_triggerer=True)

    def remembered(self, run: Run, task_id: str) -> dict[str, Any]:
        """What the task state of a task has."""
        from airflow.models.task_state_store import TaskStateStoreModel
        from airflow.utils.session import create_session

        select = pytest.importorskip("sqlalchemy").select

        with create_session() as session:
            rows = session.scalars(
                select(TaskStateStoreModel).where(
                    TaskStateStoreModel.run_id == run.dag_run.run_id,
                    TaskStateStoreModel.dag_id == run.dag_run.dag_id,
                    TaskStateStoreModel.task_id == task_id,
                )
            )
            return {row.key: json.loads(row.value) for row in rows}


@pytest.fixture
def airflow_here() -> Airflow:
    """Airflow, with a database and no DAGs."""
    return Airflow()
