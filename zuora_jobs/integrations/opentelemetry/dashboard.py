"""The dashboard that draws the metrics, for Grafana."""

from __future__ import annotations

from importlib.resources import files


def dashboard() -> str:
    """Give the dashboard as JSON, to be imported into Grafana; it asks for the Prometheus that has the metrics."""
    return files(__package__).joinpath("dashboard.json").read_text(encoding="utf-8")
