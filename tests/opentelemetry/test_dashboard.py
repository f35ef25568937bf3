"""The dashboard against a real Prometheus text endpoint: whatever it draws is there, under that name, with those labels."""

import asyncio
import json
import re
import subprocess
import sys
from collections import defaultdict

import aiohttp
import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from zuora_jobs import OPERATION, Cadence, JobHandle, JobWatcher, Journal, Query, RunQueries, ZuoraClient
from zuora_jobs.emulator import Fault, Step
from zuora_jobs.integrations.opentelemetry import dashboard
from zuora_jobs.watching import herald, looker

METRIC = re.compile(r"\bzuora_\w+(?=\{)")
SELECTOR = re.compile(r"(zuora_\w+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPED = re.compile(r"by \(([^)]*)\)")
OFTEN = Cadence.constant(0.05)


def handle_of(job):
    return JobHandle.parse(job.handle)


def expressions(board):
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


def missing(board, scraped):
    """What the dashboard asks for, and no scrape has: names, labels, and values of labels."""
    absent = []
    for expression in expressions(board):
        assert METRIC.findall(expression), expression
        for name, matchers in SELECTOR.findall(expression):
            series = scraped.get(name)
            if not series:
                absent.append(name)
                continue
            labels = {label for one in series for label in one}
            wanted = {label.strip() for group in GROUPED.findall(expression) for label in group.split(",")}
            absent += [f"{name}: {label}" for label in wanted - labels]
            for label, operator, value in MATCHER.findall(matchers):
                known = {one.get(label, "") for one in series}
                fits = {"=": value in known, "!=": bool(known - {value})}.get(operator, label in labels)
                absent += [] if fits else [f'{name}: {label}{operator}"{value}"']
    for variable in board["templating"]["list"]:
        if asked := re.fullmatch(
            r"label_values\((\w+), (\w+)\)", variable["query"]["query"] if isinstance(variable["query"], dict) else ""
        ):
            absent += [] if any(asked[2] in one for one in scraped.get(asked[1], ())) else [asked[0]]
    return absent


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def endpoint(registry):
    """Prometheus's own server; its metrics are collected in a thread of its own, as in a program."""
    server, thread = start_http_server(0, "127.0.0.1", registry=registry)
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()
    thread.join()


async def scrape(endpoint):
    """The labels of all series by their names."""
    async with aiohttp.ClientSession() as session, session.get(endpoint) as answer:
        assert answer.status == 200
        text = await answer.text()
    series = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series[sample.name].append(sample.labels)
    return series


async def until(happened):
    """Wait for it, however slow the machine is."""
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110 - what happens is told by no event of asyncio's
            await asyncio.sleep(0.02)


async def an_eventful_run(zuora, telemetry, journal, endpoint, monkeypatch):
    """Have everything happen once; give what is scraped at the end of it."""
    monkeypatch.setattr(herald, "CONTACT_IS_LOST_AFTER", 0.2)
    monkeypatch.setattr(looker, "SOONEST", 0.1)
    ends = [("aqua", "completed"), ("aqua", "aborted"), ("aqua", "cancelled"), ("bulk-pdf", "PartialComplete")]
    running = {"aqua": Step("executing", polls=3), "bulk-pdf": Step("Executing", polls=3)}
    jobs = [handle_of(zuora.add_job(kind, life=[running[kind], Step(end)])) for kind, end in ends]
    jobs.append(handle_of(zuora.add_job("operation", life=[Step("Pondering", polls=3), Step("Completed")])))
    zuora.on_submit("aqua", life=[running["aqua"], Step("completed")])
    zuora.fault(Fault("bad-gateway", times=2, path="batch-query"))
    for _ in range(2):
        async with (
            ZuoraClient(zuora.settings()) as client,
            JobWatcher(client, cadence=OFTEN, observers=[telemetry], journal=Journal.open(journal)) as watcher,
        ):
            await watcher.watch_all([*jobs, OPERATION.handle("nobody")])
            await watcher.run(RunQueries([Query("All", "select Id from Account")]))
    told = []
    async with (
        ZuoraClient(zuora.settings()) as client,
        JobWatcher(client, cadence=OFTEN, observers=[telemetry, lambda event: told.append(event.name)]) as watcher,
    ):
        long = [handle_of(zuora.add_job("aqua", ends="completed", seconds=3600)) for _ in range(2)]
        stuck = handle_of(zuora.add_job("operation", life=[Step("Processing", seconds=3600)]))
        monkeypatch.setattr(looker, "too_long", lambda *_: 0.2)
        watches = [asyncio.create_task(watcher.watch(handle)) for handle in (*long, stuck)]
        await until(lambda: "stalled" in told)
        zuora.outage(3600, "dropped")
        await until(lambda: "lost_contact" in told)
        watches[0].cancel()
        await until(lambda: "watch_left" in told)
        scraped = await scrape(endpoint)
        for watch in watches:
            watch.cancel()
        await asyncio.wait(watches)
    return scraped


async def test_all_that_the_dashboard_draws_is_there(zuora, lab, registry, endpoint, tmp_path, monkeypatch):
    provider = MeterProvider([PrometheusMetricReader(registry=registry)])
    telemetry = lab.telemetry(meter_provider=provider)
    scraped = await an_eventful_run(zuora, telemetry, tmp_path / "run.db", endpoint, monkeypatch)
    board = json.loads(dashboard())
    assert missing(board, scraped) == []
    ours = {name for name in scraped if name.startswith("zuora_") and not name.endswith(("_created", "_bucket"))}
    drawn = {name for expression in expressions(board) for name in METRIC.findall(expression)}
    undrawn = {name for name in ours - drawn if not name.endswith(("_sum", "_count"))}
    assert undrawn == set(), "each metric is drawn somewhere"
    for broken, what in (
        (lambda text: text.replace("zuora_polls_total", "zuora_polls"), "zuora_polls"),
        (lambda text: text.replace("duration_seconds_bucket", "duration_bucket"), "zuora_job_duration_bucket"),
        (lambda text: text.replace("zuora_job_outcome", "outcome"), "zuora_jobs_finished_total: outcome"),
        (
            lambda text: text.replace('=\\"lost\\"', '=\\"mislaid\\"'),
            'zuora_jobs_finished_total: zuora_job_outcome="mislaid"',
        ),
        (
            lambda text: text.replace("values(zuora_watchers_open,", "values(zuora_watchers,"),
            "label_values(zuora_watchers, server_address)",
        ),
    ):
        assert what in missing(json.loads(broken(dashboard())), scraped)
    provider.shutdown()


def test_the_dashboard_is_one_that_grafana_takes():
    board = json.loads(dashboard())
    assert board["schemaVersion"] >= 39
    assert board["uid"]
    assert board.get("id") is None
    (source,) = (variable for variable in board["templating"]["list"] if variable["type"] == "datasource")
    assert source["query"] == "prometheus"
    identifiers = [panel["id"] for panel in board["panels"]]
    assert len(identifiers) == len(set(identifiers))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert target["expr"].count("(") == target["expr"].count(")")


def test_the_dashboard_can_be_had_from_a_shell():
    done = subprocess.run(
        [sys.executable, "-m", "zuora_jobs.integrations.opentelemetry"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == json.loads(dashboard())
