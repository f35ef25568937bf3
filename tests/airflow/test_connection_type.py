"""The connection type `zuora` in a real Airflow: its form, its secrets, and its button Test."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("airflow", reason="needs Apache Airflow")

from airflow.api_fastapi.core_api.datamodels.connections import ConnectionBody, ConnectionResponse
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.models.connection import Connection as Row
from airflow.providers_manager import ProvidersManager
from airflow.sdk import Connection
from airflow.sdk._shared.secrets_masker import redact
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

from zuora_jobs import Settings, emulator
from zuora_jobs.emulator import Fault
from zuora_jobs.errors import ZuoraJobsError
from zuora_jobs.integrations.airflow import ZuoraHook
from zuora_jobs.integrations.airflow.connections import Tenant
from zuora_jobs.integrations.airflow.hooks import _ask
from zuora_jobs.integrations.airflow.provider import CONN_FIELDS, get_provider_info

SECRET, TOKEN = "s3cret-of-the-client", "t0ken-of-the-tenant"


def connection(zuora: Any, **changes: Any) -> Connection:
    given = {"host": zuora.url, "login": zuora.client_id, "password": zuora.secret, **changes}
    return Connection(conn_id="tested", conn_type="zuora", **given)


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_airflow_finds_the_provider_and_its_connection_type() -> None:
    found = ProvidersManager().providers["zuora-jobs"].data
    assert found.items() >= get_provider_info().items()
    hook = ProvidersManagerTaskRuntime().hooks["zuora"]
    assert hook is not None
    assert (hook.hook_class_name, hook.hook_name) == (f"{ZuoraHook.__module__}.ZuoraHook", "Zuora")
    assert hook.connection_id_attribute_name == "zuora_conn_id"


def test_the_form_is_what_the_provider_says() -> None:
    (form,) = [form for form in HookMetaService.hook_meta_data() if form.connection_type == "zuora"]
    assert form.extra_fields is not None
    assert form.extra_fields.keys() == CONN_FIELDS.keys()
    token = form.extra_fields["access_token"]["schema"]
    assert token["format"] == "password"
    fields = form.standard_fields
    assert fields is not None
    assert fields.host is not None
    assert fields.login is not None
    assert fields.password is not None
    assert (fields.host.title, fields.login.title) == ("REST base URL", "OAuth client id")
    assert fields.password.title == "OAuth client secret"
    assert ZuoraHook.get_ui_field_behaviour().keys() == {"hidden_fields", "relabeling", "placeholders"}


def test_the_api_shows_no_secret_of_a_connection() -> None:
    body = {"connection_id": "shown", "conn_type": "zuora", "password": SECRET}
    given = ConnectionBody(**body, extra=json.dumps({"access_token": TOKEN, "rate": 5}))
    row = Row(conn_id=given.connection_id, conn_type="zuora", password=given.password, extra=given.extra)
    shown = ConnectionResponse.model_validate(row, from_attributes=True).model_dump_json()
    assert SECRET not in shown
    assert TOKEN not in shown
    assert "***" in shown


def test_what_is_read_is_masked_in_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"access_token": TOKEN}
    monkeypatch.setenv(
        "AIRFLOW_CONN_OF_TOKEN", json.dumps({"conn_type": "zuora", "host": "a.zuora.com", "extra": extra})
    )
    monkeypatch.setenv("AIRFLOW_CONN_OF_CLIENT", f"zuora://an-id:{SECRET}@rest.zuora.com")
    assert ZuoraHook("of_token").tenant().settings.access_token == TOKEN
    assert ZuoraHook("of_client").tenant().settings.client_secret == SECRET
    assert redact(f"they are {TOKEN} and {SECRET}") == "they are *** and ***"


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("zuora://an-id:a%2Fs3cret@rest.eu.zuora.com", "https://rest.eu.zuora.com"),
        ("zuora://an-id:a%2Fs3cret@/?environment=prod-eu", "https://rest.eu.zuora.com"),
        ("zuora://an-id:a%2Fs3cret@rest.eu.zuora.com/?environment=prod-eu", "https://rest.eu.zuora.com"),
        ("zuora://an-id:a%2Fs3cret@rest.eu.zuora.com:8443/?rate=7", "https://rest.eu.zuora.com:8443"),
        (f"zuora://an-id:a%2Fs3cret@{quote('http://127.0.0.1:8321', safe='')}", "http://127.0.0.1:8321"),
    ],
)
def test_a_connection_may_be_a_uri(uri: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_GIVEN", uri)
    tenant = ZuoraHook("given").tenant()
    assert tenant.settings == Settings(base_url=url, client_id="an-id", client_secret="a/s3cret")
    assert (tenant.budget.rate if tenant.budget else None) == (7 if "rate" in uri else None)


async def test_a_trigger_reads_the_same_as_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_GIVEN", f"zuora://an-id:{SECRET}@rest.zuora.com/?rate=7&wsdl_version=137")
    hook = ZuoraHook("given")
    assert await hook.atenant() == hook.tenant()
    async with await hook.aget_conn() as client:
        assert client.settings.wsdl_version == "137"


def test_a_connection_that_is_not_there() -> None:
    with pytest.raises(AirflowNotFoundException, match="nowhere"):
        ZuoraHook("nowhere").tenant()


# ---- the button Test ----


def test_a_connection_that_works(zuora: Any) -> None:
    assert connection(zuora).test_connection() == (True, f"{zuora.url} accepts these credentials")
    assert [request.status for request in zuora.asked("GET")] == [404]


def test_a_connection_that_works_by_a_token(zuora: Any) -> None:
    token = zuora.do(lambda zuora: zuora.issue_token())
    extra = json.dumps({"access_token": token})
    works, message = connection(zuora, login=None, password=None, extra=extra).test_connection()
    assert works
    assert token not in message
    assert zuora.emulator.token_requests == 0


async def test_it_is_tested_where_a_loop_runs_already(zuora: Any) -> None:
    asyncio.get_running_loop()
    assert connection(zuora).test_connection()[0]


def test_a_wrong_secret(zuora: Any) -> None:
    works, message = connection(zuora, password=SECRET).test_connection()
    assert not works
    assert "401" in message
    assert SECRET not in message
    assert zuora.emulator.token_requests == 1


def test_a_wrong_token(zuora: Any) -> None:
    extra = json.dumps({"access_token": TOKEN})
    works, message = connection(zuora, login=None, password=None, extra=extra).test_connection()
    assert not works
    assert "401" in message
    assert TOKEN not in message


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"host": None}, "names no tenant"),
        ({"password": None}, "its password, the secret of the OAuth client"),
        ({"login": None}, "its login, the id of the OAuth client"),
        ({"host": "http://rest.zuora.com"}, "http would send the token in the clear"),
        ({"extra": json.dumps({"environment": "prod"})}, "name different tenants"),
        ({"extra": json.dumps({"rate": "fast"})}, "rate must be a number"),
    ],
)
def test_a_connection_that_cannot_work_asks_nobody(zuora: Any, changes: dict[str, Any], complaint: str) -> None:
    works, message = connection(zuora, **changes).test_connection()
    assert not works
    assert message.startswith("the connection 'tested' cannot be used: ")
    assert complaint in message
    assert zuora.secret not in message
    assert zuora.do(lambda zuora: zuora.requests) == []


@pytest.mark.looptime
async def test_a_host_that_refuses_is_told_at_once() -> None:
    began = asyncio.get_running_loop().time()
    tenant = Tenant(
        settings=Settings(base_url=f"http://127.0.0.1:{closed_port()}", client_id="i", client_secret=SECRET)
    )
    with pytest.raises(ZuoraJobsError) as refused:
        await _ask(tenant)
    assert asyncio.get_running_loop().time() == began
    assert "127.0.0.1" in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.looptime
@pytest.mark.parametrize("effect", ["unavailable", "throttled", "html", "hang"])
async def test_a_host_that_is_in_trouble_is_asked_once(effect: str) -> None:
    async with emulator.running() as zuora:
        zuora.fault(Fault(effect, path="/v1/"))
        with pytest.raises(ZuoraJobsError):
            await _ask(Tenant(settings=zuora.settings()))
        assert [request.method for request in zuora.requests if request.path.startswith("/v1/")] == ["GET"]
