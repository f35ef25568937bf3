"""One client and one watcher for each tenant and process, whoever watches: 10,000 deferred tasks poll as one fleet.

They are opened for the first who asks, in a task and a context of their own, and closed some time after the last has left:
what the schedule has learnt, the token and the connections outlive a lull.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from zuora_jobs.client import ZuoraClient
from zuora_jobs.watching.watcher import JobWatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from zuora_jobs.integrations.airflow.connections import Tenant
    from zuora_jobs.watching.events import Attendant

log = logging.getLogger("zuora_jobs")

REMEMBERED: Final = 30.0
"""Seconds for which what a connection says is taken for what it says now."""

LINGER: Final = 300.0
"""Seconds for which a watcher that nobody uses is kept open."""


class _Fleet:
    """A watcher that is open while it is used, and a while longer."""

    def __init__(self, tenant: Tenant, fleets: dict[Tenant, _Fleet]) -> None:
        self._tenant = tenant
        self._fleets = fleets
        self._loop = asyncio.get_running_loop()
        self._users = 0
        self._closing: asyncio.TimerHandle | None = None
        self._is_over = asyncio.Event()
        self._opened: asyncio.Future[JobWatcher] = self._loop.create_future()
        # in no caller's context: its log lines would be his, and end with him
        self._task = self._loop.create_task(self._serve(), name=f"zuora_jobs: {self._host}", context=Context())

    @property
    def _host(self) -> str:
        return self._tenant.settings.base_url

    async def join(self) -> JobWatcher:
        """Use the watcher, and keep it open until `leave`."""
        self._users += 1
        if self._closing is not None:
            self._closing.cancel()
        return await asyncio.shield(self._opened)

    def leave(self) -> None:
        """Use it no more."""
        self._users -= 1
        if not self._users:
            self._closing = self._loop.call_later(LINGER, self._close)

    def _close(self) -> None:
        self._forget()
        self._is_over.set()

    def _forget(self) -> None:
        if self._fleets.get(self._tenant) is self:
            del self._fleets[self._tenant]

    async def _serve(self) -> None:
        try:
            async with (
                ZuoraClient(self._tenant.settings, self._tenant.budget) as client,
                JobWatcher(client, observers=_observers()) as watcher,
            ):
                log.info("watching jobs of %s", self._host)
                self._opened.set_result(watcher)
                await self._is_over.wait()
                log.info("nobody watches jobs of %s any more", self._host)
        except Exception as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)
        finally:
            self._forget()
            self._opened.cancel()


def _observers() -> list[Attendant]:
    """Give metrics and traces to whatever Airflow has set up for its own: it always brings OpenTelemetry's API."""
    try:
        from zuora_jobs.integrations.opentelemetry import Telemetry  # noqa: PLC0415 - it may not be there
    except ImportError:
        return []
    return [Telemetry()]


class _Here:
    """What the triggers of one loop share; a process has one as a rule, and nothing of asyncio's can be used in two."""

    def __init__(self) -> None:
        self.fleets: dict[Tenant, _Fleet] = {}
        self.tenants: dict[str, asyncio.Task[Tenant]] = {}
        """By their connections' names, for a while."""
        self.at_work: set[asyncio.Task[None]] = set()


_loops: dict[asyncio.AbstractEventLoop, _Here] = {}


def _here() -> _Here:
    loop = asyncio.get_running_loop()
    if loop not in _loops:
        for other in [other for other in _loops if other.is_closed()]:
            del _loops[other]
        _loops[loop] = _Here()
    return _loops[loop]


async def tenant_named(name: str, read: Callable[[], Coroutine[Any, Any, Tenant]]) -> Tenant:
    """Give the tenant of a connection, which *read* reads; once for all who ask in a short while.

    To read one goes through Airflow's supervisor and takes it 9 ms: for 2,000 tasks, 18 s in which it does nothing else.
    """
    known = _here().tenants
    reading = known.get(name)
    if reading is None:
        loop = asyncio.get_running_loop()
        reading = known[name] = loop.create_task(read(), context=Context())
        reading.add_done_callback(lambda _: loop.call_later(REMEMBERED, known.pop, name, None))
    try:
        return await asyncio.shield(reading)
    finally:
        if reading.done() and (reading.cancelled() or reading.exception() is not None) and known.get(name) is reading:
            del known[name]  # who asks next may have better luck


async def in_background(work: Coroutine[Any, Any, None]) -> None:
    """Wait for *work*, which goes on if this is cancelled, for as long as the loop runs."""
    task = asyncio.create_task(work)
    _here().at_work.add(task)
    task.add_done_callback(_here().at_work.discard)
    await asyncio.shield(task)


@asynccontextmanager
async def shared_watcher(tenant: Tenant) -> AsyncIterator[JobWatcher]:
    """Give the watcher of *tenant* in this loop, open for as long as the block lasts."""
    fleets = _here().fleets
    fleet = fleets.get(tenant)
    if fleet is None:
        fleet = fleets[tenant] = _Fleet(tenant, fleets)
    try:
        yield await fleet.join()
    finally:
        fleet.leave()
