"""A connection as the tenant that it means: no Airflow is needed for that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import define, evolve

from zuora_jobs import Budget, Settings
from zuora_jobs.errors import ConfigurationError
from zuora_jobs.integrations.airflow.connections import Tenant, tenant_of
from zuora_jobs.settings import ENVIRONMENTS

ID, SECRET, TOKEN = "an-id", "a-s3cret", "a-t0ken"


@define
class Given:
    """A connection, as Airflow has one."""

    conn_id: str = "zuora_default"
    host: str | None = "https://rest.zuora.com"
    port: int | None = None
    login: str | None = ID
    password: str | None = SECRET
    extra: str | None = None


def with_extra(given: Given | None = None, **extra: Any) -> Given:
    return evolve(given or Given(), extra=json.dumps(extra))


def test_host_login_and_password_are_the_tenant_and_an_oauth_client() -> None:
    expected = Settings(base_url="https://rest.zuora.com", client_id=ID, client_secret=SECRET)
    assert tenant_of(Given()) == Tenant(settings=expected)


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("https://rest.eu.zuora.com", None, "https://rest.eu.zuora.com"),
        ("rest.eu.zuora.com", None, "https://rest.eu.zuora.com"),
        ("  rest.eu.zuora.com/ ", None, "https://rest.eu.zuora.com"),
        ("https://rest.eu.zuora.com/", 8443, "https://rest.eu.zuora.com:8443"),
        ("rest.eu.zuora.com", 443, "https://rest.eu.zuora.com"),
        ("127.0.0.1", 8443, "https://127.0.0.1:8443"),
        ("http://127.0.0.1", 8321, "http://127.0.0.1:8321"),
        ("http://localhost:8321", None, "http://localhost:8321"),
        ("http://localhost:8321", 8321, "http://localhost:8321"),
        ("https://rest.eu.zuora.com:443", 443, "https://rest.eu.zuora.com"),
        ("http://localhost", 443, "http://localhost:443"),
        ("http://[::1]", 8321, "http://[::1]:8321"),
    ],
)
def test_a_host_is_taken_with_and_without_scheme_and_port(host: str, port: int | None, url: str) -> None:
    assert tenant_of(evolve(Given(), host=host, port=port)).settings.base_url == url


@pytest.mark.parametrize("host", [None, "", "  "])
@pytest.mark.parametrize("name", ["prod-eu", "PROD_EU"])
def test_an_environment_stands_for_the_host(host: str | None, name: str) -> None:
    given = with_extra(evolve(Given(), host=host), environment=name)
    assert tenant_of(given).settings.base_url == ENVIRONMENTS["prod-eu"]


@pytest.mark.parametrize("host", ["https://rest.eu.zuora.com", "https://rest.eu.zuora.com/", "rest.eu.zuora.com"])
def test_a_host_and_an_environment_may_say_the_same(host: str) -> None:
    given = with_extra(evolve(Given(), host=host), environment="prod-eu")
    assert tenant_of(given).settings.base_url == ENVIRONMENTS["prod-eu"]


def test_an_access_token_is_taken_instead_of_a_client() -> None:
    given = with_extra(evolve(Given(), login=None, password=None), access_token=TOKEN)
    assert tenant_of(given).settings == Settings(base_url="https://rest.zuora.com", access_token=TOKEN)


def test_what_the_form_leaves_empty_is_not_given() -> None:
    empty: dict[str, Any] = {"environment": "", "access_token": None, "entity_id": "", "rate": None, "concurrency": ""}
    assert tenant_of(with_extra(**empty)) == tenant_of(Given())
    assert tenant_of(evolve(Given(), extra="")) == tenant_of(Given())


def test_numbers_may_stand_for_texts() -> None:
    settings = tenant_of(with_extra(org_ids=7, wsdl_version=137, track_id=9)).settings
    assert (settings.org_ids, settings.wsdl_version, settings.track_id) == (("7",), "137", "9")


def test_headers_are_passed_on() -> None:
    settings = tenant_of(
        with_extra(entity_id="e1", org_ids="o1,o2", zuora_version="2025-08-12", wsdl_version="137", track_id="nightly")
    ).settings
    assert (settings.entity_id, settings.org_ids, settings.zuora_version) == ("e1", ("o1", "o2"), "2025-08-12")
    assert (settings.wsdl_version, settings.track_id) == ("137", "nightly")


@pytest.mark.parametrize(
    ("extra", "rate", "concurrency"),
    [
        ({"rate": 5}, 5, None),
        ({"rate": "2.5", "concurrency": "3"}, 2.5, 3),
        ({"concurrency": 3.0}, None, 3),
    ],
)
def test_a_budget_is_the_tenants_own_but_for_what_is_given(
    extra: dict[str, Any], rate: float | None, concurrency: int | None
) -> None:
    expected = Budget.for_tenant("https://rest.zuora.com", rate=rate, concurrency=concurrency)
    assert tenant_of(with_extra(**extra)).budget == expected


def test_connections_of_equal_contents_are_one_tenant_whatever_their_names() -> None:
    one, same = with_extra(rate=5), evolve(with_extra(rate="5"), conn_id="other")
    assert tenant_of(one) == tenant_of(same)
    assert hash(tenant_of(one)) == hash(tenant_of(same))


@pytest.mark.parametrize(
    "other",
    [
        evolve(Given(), login="another-id"),
        evolve(Given(), password="an0ther"),
        evolve(Given(), host="https://rest.eu.zuora.com"),
        with_extra(entity_id="e1"),
        with_extra(rate=5),
    ],
)
def test_connections_that_differ_are_two_tenants(other: Given) -> None:
    assert tenant_of(other) != tenant_of(Given())


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (evolve(Given(), host=None), r"it names no tenant: fill in the REST base URL \(host\), or the environment"),
        (with_extra(environment="prod-eu"), "name different tenants: leave one empty"),
        (with_extra(evolve(Given(), host=None), environment="moon"), "unknown environment 'moon': use one of prod, "),
        (with_extra(evolve(Given(), host=None), environment=7), "unknown environment '7'"),
        (evolve(Given(), password=None), "its password, the secret of the OAuth client that is its login, is missing"),
        (evolve(Given(), login=""), "its login, the id of the OAuth client whose secret is its password, is missing"),
        (evolve(Given(), login=None, password=None), "it has no credentials"),
        (with_extra(access_token=TOKEN), "it has an OAuth client and an access token: leave one of them empty"),
        (evolve(Given(), host="http://rest.zuora.com"), "http would send the token in the clear"),
        (evolve(Given(), host="http://10.0.0.1", port=8080), "http would send the token in the clear"),
        (evolve(Given(), host="ftp://rest.zuora.com"), "not an https address"),
        (
            evolve(Given(), host=f"https://{ID}:{SECRET}@rest.zuora.com"),
            "its host must not name a user or a password: they are its login and password",
        ),
        (evolve(Given(), host="https://rest.zuora.com?a=b"), "query"),
        (evolve(Given(), password=f"{SECRET}\n"), "client_secret is empty or has blanks"),
        (evolve(Given(), extra="{"), "its extra is no JSON object"),
        (evolve(Given(), extra="[1]"), "its extra is no JSON object"),
        (evolve(Given(), extra="null"), "its extra is no JSON object"),
        (with_extra(rate="fast"), "rate must be a number, not 'fast'"),
        (with_extra(rate=[1]), r"rate must be a number, not \[1\]"),
        (with_extra(rate=0), "rate"),
        (with_extra(rate=-1), "rate"),
        (with_extra(rate=True), "rate"),
        (with_extra(rate="nan"), "rate"),
        (with_extra(rate="inf"), "rate"),
        (with_extra(concurrency=1.5), "concurrency"),
        (with_extra(concurrency="nan"), "concurrency"),
        (with_extra(concurrency="inf"), "concurrency"),
        (with_extra(concurrency=0), "concurrency"),
        (with_extra(concurrency={"a": 1}), "concurrency must be a number"),
        (with_extra(entity_id={"a": 1}), "entity_id"),
        (with_extra(entity_id=["a"]), "entity_id"),
        (with_extra(org_ids={"a": 1}), "org_ids"),
        (with_extra(org_ids=True), "org_ids"),
        (with_extra(wsdl_version="new"), "wsdl_version 'new' is no number"),
        (with_extra(track_id=True), "the track_id must be text"),
        (with_extra(Entity_Id="e1"), "its extra has 'Entity_Id', which is no field of it: did you mean entity_id?"),
        (with_extra(colour="red"), "its extra has 'colour', which is no field of it: there are environment, "),
        (evolve(Given(), host="rest.zuora.com:8443", port=9443), "its host names the port 8443, and its port is 9443"),
        (with_extra(track_id=["a"]), "the track_id must be text"),
        (with_extra(zuora_version="1\n2"), "zuora_version"),
        (with_extra(evolve(Given(), login=None, password=None), access_token=True), "access_token"),
        (with_extra(evolve(Given(), login=None, password=None), access_token=["x"]), "access_token"),
        (with_extra(evolve(Given(), host=None), environment=["prod"]), "unknown environment"),
    ],
)
def test_what_cannot_work_is_refused_by_name_and_without_a_secret(given: Given, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as refused:
        tenant_of(evolve(given, conn_id="my_zuora"))
    assert str(refused.value).startswith("the connection 'my_zuora' cannot be used: ")
    assert SECRET not in str(refused.value)
    assert TOKEN not in str(refused.value)


def test_no_secret_is_in_the_tenants_repr() -> None:
    token = with_extra(evolve(Given(), login=None, password=None), access_token=TOKEN)
    assert SECRET not in repr(tenant_of(Given()))
    assert TOKEN not in repr(tenant_of(token))
