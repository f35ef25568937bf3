"""A look serves all who watch, so it runs in nobody's context but that of who opened the watcher."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from zuora_jobs import OPERATION, Cadence, JobWatcher, Settings, ZuoraClient
from zuora_jobs.protocol.messages import Response

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")

TENANT = Settings(base_url="https://rest.example.com", access_token="not-a-secret")


@pytest.mark.looptime
async def test_looks_run_in_the_context_of_who_opened_the_watcher_and_not_of_who_asked_first():
    seen = []

    async def send(_request):
        seen.append(WHO.get())
        return Response(200, {}, b'{"status": "%s"}' % (b"Completed" if len(seen) > 6 else b"Processing"))

    async def watch(name, watcher):
        WHO.set(name)
        await watcher.watch(OPERATION.handle(name))

    WHO.set("opener")
    async with ZuoraClient(TENANT, send=send) as client, JobWatcher(client, cadence=Cadence.constant(1)) as watcher:
        await asyncio.gather(*(asyncio.create_task(watch(name, watcher)) for name in ("first", "second")))
    assert set(seen) == {"opener"}
