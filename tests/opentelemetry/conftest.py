"""A tenant, a watcher that is observed, and what came of it in memory."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from zuora_jobs import Cadence, JobWatcher, ZuoraClient, emulator
from zuora_jobs.integrations.opentelemetry import Telemetry

EVERY_SECOND = Cadence.constant(1)

TENANT_ONLY = {"server.address", "server.port"}


class Lab:
    """An SDK of its own, and what it has been told."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self.reader])
        self.exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.tracer_provider.get_tracer("test")

    def telemetry(self, **options: Any) -> Telemetry:
        options.setdefault("meter_provider", self.meter_provider)
        options.setdefault("tracer_provider", self.tracer_provider)
        return Telemetry(**options)

    def metrics(self) -> dict[str, Any]:
        """Everything by its name."""
        data = self.reader.get_metrics_data()
        found = [
            metric
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            if scope.scope.name == "zuora_jobs"
            for metric in scope.metrics
        ]
        names = [metric.name for metric in found]
        assert len(names) == len(set(names)), names
        return {metric.name: metric for metric in found}

    def points(self, name: str, *, tenants: bool = False) -> dict[frozenset[tuple[str, Any]], Any]:
        """A metric's figures by their attributes, unless asked for without those of the tenant."""
        metric = self.metrics().get(name)
        points = metric.data.data_points if metric is not None else ()
        return {
            frozenset((key, value) for key, value in point.attributes.items() if tenants or key not in TENANT_ONLY): (
                point.value if hasattr(point, "value") else point
            )
            for point in points
        }

    def figures(self, name: str, *keys: str) -> dict[Any, Any]:
        """A metric's figures by the values of those attributes only, a single one bare."""
        figures: dict[Any, Any] = {}
        for attributes, value in self.points(name).items():
            by = dict(attributes)
            key = tuple(by.get(name) for name in keys)
            figures[key[0] if len(key) == 1 else key] = value
        return figures

    def spans(self, prefix: str = "watch ") -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name.startswith(prefix)]

    def span(self, job_id: str) -> ReadableSpan:
        (found,) = (span for span in self.spans() if span.attributes and span.attributes["zuora.job.id"] == job_id)
        return found


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.meter_provider.shutdown()
    lab.tracer_provider.shutdown()


@pytest.fixture
def instrumented(lab: Lab) -> Iterator[None]:
    """aiohttp's own instrumentation, as a program sets it up."""
    AioHttpClientInstrumentor().instrument(tracer_provider=lab.tracer_provider, meter_provider=lab.meter_provider)
    yield
    AioHttpClientInstrumentor().uninstrument()


@pytest.fixture
async def zuora() -> AsyncIterator[emulator.Emulator]:
    async with emulator.running() as running:
        yield running


@pytest.fixture
def watching(lab: Lab) -> Callable[..., Any]:
    """Open a client, and a watcher that is observed and looks every second."""

    @asynccontextmanager
    async def open_both(
        zuora: emulator.Emulator, *, telemetry: Telemetry | None = None, **options: Any
    ) -> AsyncIterator[JobWatcher]:
        options.setdefault("cadence", EVERY_SECOND)
        options.setdefault("observers", [telemetry or lab.telemetry()])
        async with ZuoraClient(zuora.settings(), rng=Random(1)) as client, JobWatcher(client, **options) as watcher:
            yield watcher

    return open_both
