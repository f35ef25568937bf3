"""Draws the README's picture: the live view of a fleet at work, by rich's own export.

python tests/readme/picture.py .images/live.svg
"""

import asyncio
import io
import re
import sys
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console

from zuora_jobs import Budget, JobHandle, JobWatcher, ZuoraClient, emulator
from zuora_jobs.cli.view import LiveView

FLEET = {"operation": 60, "bulk-pdf": 24, "aqua": 48, "credit-memo-apply": 30}
MOMENT = 9.0
"""Seconds into the run."""


async def draw() -> str:
    dice = Random(5)
    canvas = Console(record=True, force_terminal=True, width=92, file=io.StringIO(), highlight=False)
    async with emulator.running(latency=0.02, seed=3) as zuora:
        jobs = [zuora.add_job(kind, seconds=dice.uniform(2, 22)) for kind, count in FLEET.items() for _ in range(count)]
        handles: list[JobHandle[Any]] = [JobHandle.parse(job.handle) for job in jobs]
        async with (
            ZuoraClient(zuora.settings(), Budget(rate=60, concurrency=20), rng=Random(1)) as client,
            JobWatcher(client) as watcher,
            watcher.stream(handles) as events,
        ):
            view = LiveView(handles, Console(file=io.StringIO(), force_terminal=True, width=92), watcher.statistics)
            try:
                async with asyncio.timeout(MOMENT):
                    async for event in events:
                        view(event)
            except TimeoutError:
                pass
            canvas.print("$ zuora-jobs watch --from handles.txt", style="bold")
            canvas.print(view._draw())
    picture = canvas.export_svg(title="zuora-jobs", unique_id="live")
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)  # a picture fetches nothing from anywhere


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(asyncio.run(draw()), encoding="utf-8")
