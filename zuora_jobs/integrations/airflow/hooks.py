"""The hook: from a connection of type `zuora` to a client."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

from airflow.sdk import BaseHook

from zuora_jobs.client import ZuoraClient
from zuora_jobs.errors import NotFound, ZuoraJobsError
from zuora_jobs.integrations.airflow.connections import Tenant, tenant_of
from zuora_jobs.integrations.airflow.provider import get_provider_info
from zuora_jobs.protocol.kinds import OPERATION

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

NOBODYS_JOB: Final = OPERATION.handle("0" * 32)
"""What is asked for to test a connection: any answer about it comes from who was let in."""


class ZuoraHook(BaseHook):
    """Gives a client for the tenant that a connection names.

    `async with hook.get_conn() as client: job = await client.job(handle)`, in a task; in a trigger,
    `async with (await hook.aget_conn()) as client`.

    Args:
        zuora_conn_id: the connection. Its host is the REST base URL, its login and password are an OAuth client's id and
            secret; see `provider.py` for the fields of its extra.
    """

    conn_name_attr = "zuora_conn_id"
    default_conn_name = "zuora_default"
    conn_type = "zuora"
    hook_name = "Zuora"

    def __init__(self, zuora_conn_id: str = default_conn_name, **options: Any) -> None:
        super().__init__(**options)
        self.zuora_conn_id = zuora_conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Give what the form calls its fields, and which it leaves out."""
        behaviour = get_provider_info()["connection-types"][0]["ui-field-behaviour"]
        return {name.replace("-", "_"): value for name, value in behaviour.items()}

    def tenant(self) -> Tenant:
        """Read the connection.

        Raises:
            ConfigurationError: it cannot work; says why.
            AirflowNotFoundException: there is none of this name.
        """
        return tenant_of(self.get_connection(self.zuora_conn_id))

    async def atenant(self) -> Tenant:
        """Do as `tenant` does, in a loop."""
        return tenant_of(await self.aget_connection(self.zuora_conn_id))

    def get_conn(self) -> ZuoraClient:
        """Give a client that is to be opened: `async with hook.get_conn() as client`."""
        return client_of(self.tenant())

    async def aget_conn(self) -> ZuoraClient:
        """Do as `get_conn` does, in a loop."""
        return client_of(await self.atenant())

    def test_connection(self) -> tuple[bool, str]:
        """Ask the tenant for a job that there is not: only who is let in is told so.

        Returns:
            Whether it works, and a sentence.
        """
        try:
            tenant = self.tenant()
            run(_ask(tenant))
        except ZuoraJobsError as error:
            return False, str(error)
        return True, f"{tenant.settings.base_url} accepts these credentials"


async def _ask(tenant: Tenant) -> None:
    async with client_of(tenant) as client:
        try:
            await client.look(NOBODYS_JOB)  # once: somebody is waiting in front of a form
        except NotFound:
            return


def client_of(tenant: Tenant) -> ZuoraClient:
    """Give a client of *tenant*, to be opened."""
    return ZuoraClient(tenant.settings, tenant.budget)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do *work* in a loop of its own, also where this thread's is running: Airflow calls hooks from anywhere."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()
