"""Metrics and traces of what watchers do, by OpenTelemetry (extra `otel`).

    async with ZuoraClient(settings) as client, JobWatcher(client, observers=[Telemetry()]) as watcher:
        ...

It needs OpenTelemetry's API only, and without an SDK does nothing: which providers there are, and where all goes, is the
program's to say. Spans of HTTP requests come from aiohttp's own instrumentation, and become children of the watch's.
`python -m zuora_jobs.integrations.opentelemetry` prints a dashboard for Grafana.
"""

from __future__ import annotations

try:
    import opentelemetry.metrics
    import opentelemetry.trace  # noqa: F401 - whether it is there
except ImportError as missing:
    _MESSAGE = "zuora_jobs.integrations.opentelemetry needs OpenTelemetry's API: pip install 'zuora_jobs[otel]'"
    raise ImportError(_MESSAGE, name=missing.name) from missing

from zuora_jobs.integrations.opentelemetry.dashboard import dashboard
from zuora_jobs.integrations.opentelemetry.telemetry import Telemetry

__all__ = ["Telemetry", "dashboard"]
