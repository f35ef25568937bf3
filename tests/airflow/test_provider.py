"""What Airflow is told of this package: what needs no Airflow to be checked."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec

import pytest

from zuora_jobs.integrations import airflow as integration
from zuora_jobs.integrations.airflow.connections import _PASSED_ON
from zuora_jobs.integrations.airflow.provider import CONN_FIELDS, get_provider_info
from zuora_jobs.settings import ENVIRONMENTS


def test_the_entry_point_leads_to_it() -> None:
    points = [point for point in entry_points(group="apache_airflow_provider") if point.value.startswith("zuora_jobs.")]
    if not points:
        pytest.skip("this installation is older than the entry point")
    assert [point.load() for point in points] == [get_provider_info]


def test_every_module_that_it_names_is_there() -> None:
    info = get_provider_info()
    named = [
        module
        for kind in ("hooks", "operators", "sensors", "triggers")
        for it in info[kind]
        for module in it["python-modules"]
    ]
    assert len(named) == 4
    assert all(find_spec(module) is not None for module in named)


def test_every_integration_that_it_refers_to_is_named() -> None:
    info = get_provider_info()
    known = {integration["integration-name"] for integration in info["integrations"]}
    assert {
        it["integration-name"] for kind in ("hooks", "operators", "sensors", "triggers") for it in info[kind]
    } == known


def test_the_form_has_a_field_for_all_that_is_read_but_what_is_for_one_process_only() -> None:
    assert set(CONN_FIELDS) == {*_PASSED_ON, "environment", "rate", "concurrency"} - {"track_id"}
    assert CONN_FIELDS["environment"]["schema"]["enum"] == list(ENVIRONMENTS)
    assert CONN_FIELDS["access_token"]["schema"]["format"] == "password"


def test_importing_the_package_imports_no_airflow_and_unknown_names_are_refused() -> None:
    assert set(integration.__all__) == set(integration._ROOMS)
    with pytest.raises(AttributeError, match="has no attribute 'ZuoraOperator'"):
        _ = integration.ZuoraOperator


def test_every_public_name_is_where_it_is_looked_for() -> None:
    pytest.importorskip("airflow", reason="needs Apache Airflow")
    for name in integration.__all__:
        home = import_module(f"zuora_jobs.integrations.airflow.{integration._ROOMS[name]}")
        assert getattr(integration, name) is getattr(home, name)
        assert getattr(integration, name).__module__ == home.__name__
