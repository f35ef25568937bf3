"""A run as one page of HTML that needs nothing else: no network, and for most of it no script."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from zuora_jobs.report import words
from zuora_jobs.report.charts import distribution_of, spending_of
from zuora_jobs.report.data import data_of
from zuora_jobs.report.moments import drawable
from zuora_jobs.report.summary import OUTCOMES, outcome_of, reasons_of, summarize, took
from zuora_jobs.report.timeline import PHASES, PLOT_WIDTH, timeline_of

if TYPE_CHECKING:
    from zuora_jobs.journal.history import History

SCRIPTS: Final = ("jobs.js", "timeline.js", "list.js")
MOST_LISTED: Final = 1000
"""Failed and lost jobs that are in the page without a script. With one, all jobs are."""
MOST_TROUBLES: Final = 12


def render(history: History, *, title: str = "A run of zuora-jobs") -> str:
    """Give the page that shows *history*."""
    summary = summarize(history)
    span = drawable(summary.span) if summary.span else None
    timeline = timeline_of(history, span) if span and history.jobs else None
    style, script = _text("page.css"), "\n".join(map(_text, SCRIPTS))
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=words.clean(title, 200),
            style=Markup(style),  # noqa: S704  # both are ours, and nothing is filled in
            script=Markup(script),  # noqa: S704
            script_hash=_hash(script),
            summary=summary,
            timeline=timeline,
            distribution=distribution_of(history.jobs, summary.kinds),
            spending=spending_of(history, span) if span else None,
            runs=sorted(history.runs, key=lambda run: run.began),
            listed=[job for job in timeline.jobs if reasons_of(job)] if timeline else [],
            data=data_of(timeline, summary) if timeline else None,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("zuora_jobs.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clean": words.clean,
        "count": "{:,.0f}".format,
        "duration": words.duration,
        "moment": words.moment,
        "percent": _percent,
        "plural": words.plural,
        "outcome": outcome_of,
        "reasons": reasons_of,
        "took": took,
    }
    environment.globals |= {
        "OUTCOMES": OUTCOMES,
        "PHASES": PHASES,
        "PLOT_WIDTH": PLOT_WIDTH,
        "MOST_LISTED": MOST_LISTED,
        "MOST_TROUBLES": MOST_TROUBLES,
        "period": words.period,
    }
    return environment


def _percent(share: float) -> str:
    return f"{100 * share:.3f}%"


@cache
def _text(name: str) -> str:
    return (files("zuora_jobs.report") / "templates" / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Give what a content security policy calls *script*, and only it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
