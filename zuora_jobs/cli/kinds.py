"""`zuora-jobs kinds`: the table of kinds."""

from __future__ import annotations

from rich import box
from rich.table import Table

from zuora_jobs.cli import exits
from zuora_jobs.cli.view import result_console
from zuora_jobs.protocol.kinds import KINDS


def show_kinds() -> int:
    """Print the table of kinds."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("kind", "watch", "not ended", "succeeded", "failed", "cancelled", "can be cancelled"):
        table.add_column(heading, overflow="fold")
    for kind in KINDS.values():
        table.add_row(
            kind.name,
            f"GET {kind.watch}",
            ", ".join(kind.pending + kind.running),
            ", ".join(kind.succeeded + tuple(f"{word} (partly)" for word in kind.partial)),
            ", ".join(kind.failed),
            ", ".join(kind.cancelled) or "-",
            "yes" if kind.cancel else "no",
        )
    result_console().print(table)
    return exits.ALL_SUCCEEDED
