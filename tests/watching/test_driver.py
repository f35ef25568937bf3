"""What the driver makes of a clock that goes on while it thinks: on real time, since a virtual clock stands still."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from zuora_jobs import OPERATION, Budget, Cadence, JobWatcher, Settings, ZuoraClient
from zuora_jobs.protocol.messages import Response
from zuora_jobs.watching.schedule import Schedule

if TYPE_CHECKING:
    from zuora_jobs.protocol.messages import Request

TENANT = Settings(base_url="https://rest.example.com", access_token="not-a-secret")


@pytest.mark.parametrize("rate", [100, 1000])
async def test_a_machine_so_slow_that_thinking_takes_time_does_not_spin(monkeypatch, rate):
    """The moment at which the budget opens is "now"; a while later that has passed, and is not to be waited for again."""
    asked = 0
    next_due = Schedule.next_due

    def slowly(self):
        nonlocal asked
        asked += 1
        time.sleep(0.0002)
        return next_due(self)

    looks = 0

    async def send(request: Request) -> Response:
        nonlocal looks
        looks += 1
        return Response(200, {}, b'{"status": "%s"}' % (b"Completed" if looks > 40 else b"Processing"))

    monkeypatch.setattr(Schedule, "next_due", slowly)
    async with (
        ZuoraClient(TENANT, Budget(rate=rate), send=send) as client,
        JobWatcher(client, cadence=Cadence.constant(0.001)) as watcher,
        asyncio.timeout(20),
    ):
        await watcher.watch_all([OPERATION.handle(f"{number}") for number in range(5)])
    assert looks == 45
    assert asked < 10 * looks
