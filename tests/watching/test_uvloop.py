"""On uvloop, where the user has it, everything is as on asyncio's own loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from zuora_jobs import Budget, Finished, JobHandle, JobWatcher, Journal, Succeeded, ZuoraClient, emulator

if TYPE_CHECKING:
    from pathlib import Path

uvloop = pytest.importorskip("uvloop")


def test_jobs_are_watched_to_their_ends(tmp_path: Path) -> None:
    async def main() -> None:
        async with emulator.running() as zuora:
            jobs = zuora.add_jobs("aqua", 20, ends="completed", seconds=0.3)
            handles: list[JobHandle[Any]] = [JobHandle.parse(job.handle) for job in jobs]
            async with (
                ZuoraClient(zuora.settings(), Budget(rate=300)) as client,
                JobWatcher(client, journal=Journal.open(tmp_path / "run.db")) as watcher,
            ):
                async with watcher.stream(handles) as events:
                    ends = [event.outcome async for event in events if isinstance(event, Finished)]
                again = await watcher.watch_all(handles[:3])
        assert len(ends) == len(jobs)
        assert all(isinstance(outcome, Succeeded) for outcome in (*ends, *again.values()))

    uvloop.run(main())
