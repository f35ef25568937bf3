"""With and without an SDK, before and after it is set up, and without OpenTelemetry at all."""

import asyncio
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import zuora_jobs
from zuora_jobs import OPERATION, Budget, Cadence, JobHandle, JobWatcher, Settings, ZuoraClient
from zuora_jobs.integrations.opentelemetry import Telemetry, names
from zuora_jobs.protocol.messages import Response

TENANT = Settings(base_url="https://rest.example.com", access_token="not-a-secret")
ROOT = Path(zuora_jobs.__file__).parents[1]

RUN = """
import asyncio
from zuora_jobs import AQUA, Cadence, JobWatcher, ZuoraClient, emulator
from zuora_jobs.integrations.opentelemetry import Telemetry

async def main(telemetry):
    async with emulator.running() as zuora:
        zuora.add_job("aqua", id="j1", ends="completed", seconds=0.2)
        async with (
            ZuoraClient(zuora.settings()) as client,
            JobWatcher(client, cadence=Cadence.constant(0.05), observers=[telemetry]) as watcher,
        ):
            print((await watcher.watch(AQUA.handle("j1"))).name)
"""


def fresh(code, *, options=()):
    return subprocess.run(
        [sys.executable, "-P", "-W", "error", *options, "-c", code],
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_an_sdk_nothing_is_told_and_nothing_goes_wrong():
    block = "import sys\nsys.modules['opentelemetry.sdk'] = None\nsys.modules['opentelemetry.instrumentation'] = None\n"
    done = fresh(f"{block}{RUN}\nasyncio.run(main(Telemetry()))")
    assert (done.returncode, done.stdout, done.stderr) == (0, "succeeded\n", "")


def test_global_providers_are_used_though_they_are_set_up_after_it_is_made():
    code = f"""{RUN}
telemetry = Telemetry()
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter, provider, reader = InMemorySpanExporter(), TracerProvider(), InMemoryMetricReader()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))
asyncio.run(main(telemetry))
print(exporter.get_finished_spans()[0].name, "zuora.job.duration" in reader.get_metrics_data().to_json())
"""
    done = fresh(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "succeeded\nwatch aqua True\n"


@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.metrics"])
def test_without_opentelemetry_it_says_what_to_install(missing):
    code = f"import sys\nsys.modules[{missing!r}] = None\nimport zuora_jobs.integrations.opentelemetry"
    done = fresh(code)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: zuora_jobs.integrations.opentelemetry needs OpenTelemetry's API: pip install 'zuora_jobs[otel]'"
    )


def test_the_core_and_the_command_line_do_without_opentelemetry():
    done = fresh("import sys\nimport zuora_jobs, zuora_jobs.cli\nprint([n for n in sys.modules if 'telemetry' in n])")
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="the installed wheel has no sources")
def test_the_extra_asks_for_the_api_only():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [item.partition(">")[0] for item in project["optional-dependencies"]["otel"]] == ["opentelemetry-api"]


# --- more than one


@pytest.mark.looptime
async def test_any_number_of_them_over_one_provider_count_together(zuora, watching, lab):
    for number in range(3):
        job: JobHandle[Any] = JobHandle.parse(zuora.add_job("aqua", ends="completed", seconds=2).handle)
        async with watching(zuora, telemetry=lab.telemetry()) as watcher:
            await watcher.watch(job)
        assert lab.figures("zuora.jobs.finished", names.KIND) == {"aqua": number + 1}
    assert lab.figures("zuora.polls", names.KIND) == {"aqua": 9}


@pytest.mark.looptime
async def test_a_provider_that_is_gone_is_not_held_on_to(zuora, watching):
    from zuora_jobs.integrations.opentelemetry.instruments import _SHARED

    before = len(_SHARED)
    provider = MeterProvider([InMemoryMetricReader()])
    async with watching(zuora, telemetry=Telemetry(meter_provider=provider)):
        assert len(_SHARED) == before + 1


@pytest.mark.looptime
async def test_an_observer_of_ones_own_is_told_beside_it(zuora, watching, lab):
    told: list[Any] = []
    job: JobHandle[Any] = JobHandle.parse(zuora.add_job("aqua", ends="completed", seconds=2).handle)
    async with watching(zuora, observers=[told.append, lab.telemetry()]) as watcher:
        await watcher.watch(job)
    assert [event.name for event in told][:2] == ["watch_began", "observed"]
    assert len(lab.spans()) == 1


def test_watchers_in_several_threads_count_together_while_somebody_collects(lab):
    watched = 200

    async def send(_request):
        await asyncio.sleep(0)
        return Response(200, {}, b'{"status": "%s"}' % dice.choice([b"Completed", b"Processing", b"Processing"]))

    async def watch(name):
        often = Cadence.constant(0.001)
        async with (
            ZuoraClient(TENANT, Budget(rate=1e6, concurrency=20), send=send) as client,
            JobWatcher(client, cadence=often, observers=[telemetry]) as watcher,
        ):
            await watcher.watch_all([OPERATION.handle(f"{name}{number}") for number in range(watched)])
            return watcher.statistics().polls

    dice, telemetry = Random(1), lab.telemetry()
    with ThreadPoolExecutor(5) as threads:
        runs = [threads.submit(lambda name: asyncio.run(watch(name)), name) for name in "abcd"]
        seen = [0]
        while not all(run.done() for run in runs):
            seen.append(sum(lab.figures("zuora.polls", names.KIND).values()))
    assert seen == sorted(seen), "a counter never goes back"
    assert lab.figures("zuora.polls", names.KIND) == {"operation": sum(run.result() for run in runs)}
    assert lab.figures("zuora.jobs.finished", names.KIND) == {"operation": 4 * watched}
    assert lab.figures("zuora.jobs.watched", names.KIND) == {"operation": 0}
