"""The sensor: waits for a job that something else has begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import AirflowSensorTimeout

from zuora_jobs.errors import WatchTimedOut
from zuora_jobs.integrations.airflow import work
from zuora_jobs.integrations.airflow.accounts import accounts
from zuora_jobs.integrations.airflow.errors import accounts_of, as_airflow_has_it, check
from zuora_jobs.integrations.airflow.hooks import ZuoraHook, run
from zuora_jobs.integrations.airflow.triggers import ZuoraJobsTrigger, deadline_in
from zuora_jobs.protocol.kinds import JobHandle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.watching.outcome import Outcome


class ZuoraJobSensor(BaseSensorOperator):
    """Wait until a job has ended, and fail unless it ended well.

    Args:
        handle: of the job, such as `aqua:2c92…`. (templated)
        zuora_conn_id: the connection. (templated)
        deferrable: wait in a triggerer, together with all others; else one look every `poke_interval`.
        **options: of BaseSensorOperator, such as `timeout`, `poke_interval`, `mode`, `soft_fail`.

    Returns (XCom):
        The job's account, as `ZuoraWatchOperator` gives it.
    """

    template_fields: Sequence[str] = ("handle", "zuora_conn_id")
    ui_color = "#e8f4ec"

    def __init__(
        self,
        *,
        handle: str,
        zuora_conn_id: str = ZuoraHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.handle = handle
        self.zuora_conn_id = zuora_conn_id
        self.deferrable = deferrable

    def execute(self, context: Any) -> Any:
        """Hand the job over to a triggerer, or look at it now and then."""
        if not self.deferrable:
            return super().execute(context)
        with as_airflow_has_it():
            JobHandle.parse(self.handle)
        trigger = ZuoraJobsTrigger(
            handles=self.handle,
            zuora_conn_id=self.zuora_conn_id,
            deadline=deadline_in(self.timeout),
            timeout=self.timeout,
        )
        return self.defer(trigger=trigger, method_name="execute_complete", timeout=self.execution_timeout)

    def execute_complete(self, context: Any, event: Mapping[str, Any]) -> Any:  # noqa: ARG002 - Airflow's
        """Give what became of the job."""
        told = accounts_of(event)
        error = told[0]["error"]
        if error is not None and error["type"] == WatchTimedOut.__name__:
            raise AirflowSensorTimeout(told[0]["message"])
        check(told)
        return told[0]

    def poke(self, context: Any) -> PokeReturnValue | bool:  # noqa: ARG002 - Airflow's
        """Look once."""
        with as_airflow_has_it():
            handle: JobHandle[Any] = JobHandle.parse(self.handle)
            outcome = run(_look(handle, ZuoraHook(self.zuora_conn_id).get_conn()))
        if outcome is None:
            return False
        told = accounts([outcome])
        check(told)
        return PokeReturnValue(is_done=True, xcom_value=told[0])


async def _look(handle: JobHandle[Any], client: ZuoraClient) -> Outcome[Any] | None:
    async with client:
        return await work.ended(client, handle)
