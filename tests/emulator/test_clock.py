import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from zuora_jobs import emulator
from zuora_jobs.emulator import Step
from zuora_jobs.emulator.clock import EPOCH, Clock


@pytest.mark.looptime(start=500)
async def test_documents_date_from_the_epoch(calling: Any) -> None:
    epoch = datetime(2030, 12, 31, 23, 59, 59, tzinfo=UTC)
    async with calling(epoch=epoch) as caller:
        first = caller.zuora.add_job("bulk-pdf", seconds=1)
        await asyncio.sleep(2)
        second = caller.zuora.add_job("bulk-pdf", seconds=1)
        assert [(await caller.poll(job))["createdOn"] for job in (first, second)] == [
            "2030-12-31 23:59:59", "2031-01-01 00:00:01",
        ]  # fmt: skip
        assert first.ended_at == 501


@pytest.fixture
async def prepared() -> Any:
    """Made before the test's clock is set to nought, as fixtures are."""
    async with emulator.running() as zuora:
        yield zuora.add_job("operation", life=[Step("Pending", 10), Step("Completed")])


@pytest.mark.looptime
async def test_a_clock_wound_back_does_not_stop_the_jobs(prepared: Any) -> None:
    assert prepared.status == "Pending"
    await asyncio.sleep(10)
    assert prepared.status == "Completed"
    assert 9.9 < prepared.ended_at <= 10


async def test_the_clock_never_goes_back(monkeypatch: Any) -> None:
    loop, clock = asyncio.get_running_loop(), Clock()
    readings = []
    for moment in (100.0, 103.0, 0.0, 2.0):
        monkeypatch.setattr(loop, "time", lambda moment=moment: moment)
        readings.append(clock.now())
    assert readings == [100, 103, 103, 105]
    assert clock.on_loop(105) == 2
    assert clock.wall(105) == EPOCH + timedelta(seconds=5)
    monkeypatch.undo()
