"""A run's summary on a terminal: two tables where it is narrow, one where there is room, and what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from zuora_jobs.report.summary import OUTCOMES
from zuora_jobs.report.words import clean, duration, period, plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from zuora_jobs.report.summary import KindSummary, Summary

STYLES: Final = {
    "succeeded": "green",
    "partly": "green",
    "failed": "red",
    "cancelled": "yellow",
    "lost": "magenta",
    "open": "blue",
}
ROOMY: Final = 120
"""Columns from which all figures of a kind fit on one line."""
MOST_TROUBLES: Final = 10
_LONGEST_REASON: Final = 300

Column = tuple[str, "Callable[[KindSummary], str]"]


def print_summary(summary: Summary, console: Console) -> None:
    """Print *summary*."""
    for line in _headlines(summary):
        console.print(Text(line), soft_wrap=not console.is_terminal)
    if not summary.total.jobs:
        return
    ends: list[Column] = [("jobs", lambda kind: f"{kind.jobs:,}"), *map(_outcome, OUTCOMES)]
    lengths: list[Column] = [
        ("p50", lambda kind: duration(kind.durations.p50 if kind.durations else None)),
        ("p90", lambda kind: duration(kind.durations.p90 if kind.durations else None)),
        ("longest", lambda kind: duration(kind.durations.longest if kind.durations else None)),
        ("polls a job", lambda kind: f"{kind.polls_a_job:.1f}"),
    ]
    for columns in [ends + lengths] if console.width >= ROOMY else [ends, lengths]:
        console.print(_table(summary, columns))
    console.print(
        Text("How long the watches of the jobs took that ended; lost ones do not count.", style="dim"),
        soft_wrap=not console.is_terminal,
    )
    if summary.troubles:
        _print_troubles(summary, console)


def _headlines(summary: Summary) -> list[str]:
    if summary.span is None:
        return ["Nothing is written down."]
    lines = [f"{period(summary.span.began, summary.span.ended)}, {duration(summary.span.seconds)}"]
    ends = ", ".join(f"{summary.total.outcomes[name]:,} {name}" for name in OUTCOMES if summary.total.outcomes[name])
    lines.append(f"{plural(summary.total.jobs, 'job')}{': ' if ends else ''}{ends}")
    spent = f"{plural(summary.requests, 'request')}, {summary.refused:,} refused"
    lines.append(spent + (f", {duration(summary.held_seconds)} throttled" if summary.held_seconds else ""))
    runs = plural(summary.runs, "run") + (f", {summary.cut_short:,} cut short" if summary.cut_short else "")
    lines.append(runs + ("; the last one wrote no end: still at work, or killed" if summary.unended else ""))
    if summary.backwards:
        lines.append(f"{plural(summary.backwards, 'job')} ended before beginning: a clock was set")
    return lines


def _outcome(name: str) -> Column:
    return name, lambda kind: f"{kind.outcomes[name]:,}"


def _table(summary: Summary, columns: Sequence[Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_footer=len(summary.kinds) > 1)
    table.add_column("kind", Text("all"), overflow="fold")
    for heading, cell in columns:
        table.add_column(
            Text(heading, style=STYLES.get(heading, "")), Text(cell(summary.total)), justify="right", no_wrap=True
        )
    for kind in summary.kinds:
        table.add_row(Text(clean(kind.name, 200)), *(Text(cell(kind)) for _, cell in columns))
    return table


def _print_troubles(summary: Summary, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("jobs", justify="right")
    table.add_column("outcome")
    table.add_column("why, and for example", overflow="fold")
    for trouble in summary.troubles[:MOST_TROUBLES]:
        why = Text(clean(trouble.text, _LONGEST_REASON)).append(f"\n{clean(trouble.examples[0])}", style="dim")
        table.add_row(Text(f"{trouble.count:,}"), Text(trouble.outcome, style=STYLES[trouble.outcome]), why)
    console.print(table)
    more = len(summary.troubles) - MOST_TROUBLES
    if more > 0:
        console.print(Text(f"and {plural(more, 'other reason')}", style="dim"))
