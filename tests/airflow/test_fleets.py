"""One watcher for each tenant and loop: who shares it, and how long it lives. In virtual time, without Airflow."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from zuora_jobs import AQUA, Budget, Finished, JobWatcher, emulator
from zuora_jobs.emulator import Step
from zuora_jobs.errors import ConfigurationError
from zuora_jobs.integrations.airflow import fleets
from zuora_jobs.integrations.airflow.connections import Tenant
from zuora_jobs.integrations.airflow.fleets import LINGER, REMEMBERED, in_background, shared_watcher, tenant_named

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.looptime

whose: ContextVar[str] = ContextVar("whose", default="nobody's")


@asynccontextmanager
async def here() -> AsyncIterator[emulator.Emulator]:
    """A Zuora in the test's own time; what a process would keep is ended afterwards, and nothing else is left.

    Not a fixture: those run in another time.
    """
    async with emulator.running() as zuora:
        yield zuora
        kept = [task for task in asyncio.all_tasks() if task.get_name().startswith("zuora_jobs: ")]
        for task in kept:
            task.cancel()
        await asyncio.gather(*kept, return_exceptions=True)
        assert fleets._here().fleets == {}


def tenant_of(zuora: emulator.Emulator, **budget: Any) -> Tenant:
    return Tenant(settings=zuora.settings(), budget=Budget(**budget) if budget else None)


def keepers() -> int:
    return sum(task.get_name().startswith("zuora_jobs: ") for task in asyncio.all_tasks())


def loop_time() -> float:
    return asyncio.get_running_loop().time()


async def watch(tenant: Tenant, handle: str) -> tuple[JobWatcher, str]:
    async with shared_watcher(tenant) as watcher:
        outcome = await watcher.watch(AQUA.handle(handle.partition(":")[2]))
        return watcher, outcome.name


async def test_a_hundred_share_a_client_a_token_and_a_budget() -> None:
    async with here() as zuora:
        jobs = [zuora.add_job("aqua", ends="completed", seconds=60) for _ in range(100)]
        tenant = tenant_of(zuora, rate=10, concurrency=2)
        watched = await asyncio.gather(*(watch(tenant, job.handle) for job in jobs))
        assert len({id(watcher) for watcher, _ in watched}) == 1
        assert {outcome for _, outcome in watched} == {"succeeded"}
        assert zuora.token_requests == 1
        assert zuora.peak_concurrency <= 2
        polls = [request.at for request in zuora.requests if request.method == "GET"]
        assert all(later - earlier >= 1 - 1e-6 for earlier, later in zip(polls, polls[12:], strict=False))


async def test_one_job_watched_by_two_is_asked_about_once() -> None:
    async with here() as zuora:
        job = zuora.add_job("aqua", ends="completed", seconds=60)
        tenant = tenant_of(zuora)
        async with shared_watcher(tenant) as one, shared_watcher(tenant) as other:
            assert one is other
            alone = zuora.add_job("aqua", ends="completed", seconds=60)
            handles = [AQUA.handle(job.id), AQUA.handle(job.id), AQUA.handle(alone.id)]
            await asyncio.gather(*(one.watch(handle) for handle in handles))
        assert abs(job.polls - alone.polls) <= 2


async def test_tenants_of_equal_contents_share_and_others_do_not() -> None:
    async with here() as zuora:
        others = [tenant_of(zuora, rate=7), Tenant(settings=zuora.settings(entity_id="e1"))]
        async with AsyncExitStack() as stack:
            given = [tenant_of(zuora), tenant_of(zuora), *others]
            watchers = [await stack.enter_async_context(shared_watcher(tenant)) for tenant in given]
            assert watchers[0] is watchers[1]
            assert len({id(watcher) for watcher in watchers}) == 3
            assert keepers() == 3


async def test_it_is_closed_a_while_after_the_last_has_left() -> None:
    async with here() as zuora:
        async with shared_watcher(tenant_of(zuora)) as watcher:
            async with shared_watcher(tenant_of(zuora)):
                pass
            await asyncio.sleep(2 * LINGER)
            assert keepers() == 1
        await asyncio.sleep(LINGER - 0.001)
        assert keepers() == 1
        async with shared_watcher(tenant_of(zuora)) as again:
            assert again is watcher
            await asyncio.sleep(LINGER)
        await asyncio.sleep(LINGER - 0.001)
        assert keepers() == 1
        await asyncio.sleep(0.002)
        for _ in range(50):
            await asyncio.sleep(0)
        assert keepers() == 0
        async with shared_watcher(tenant_of(zuora)) as anew:
            assert anew is not watcher


async def test_who_comes_while_it_closes_gets_another() -> None:
    async with here() as zuora:
        job = zuora.add_job("aqua", ends="completed", seconds=5)
        async with shared_watcher(tenant_of(zuora)) as watcher:
            pass
        late: list[asyncio.Task[tuple[JobWatcher, str]]] = []
        began = loop_time()

        def come() -> None:
            late.append(asyncio.ensure_future(watch(tenant_of(zuora), job.handle)))

        asyncio.get_running_loop().call_at(began + LINGER, come)  # in the very turn of the loop in which it is closed
        await asyncio.sleep(LINGER)
        await asyncio.sleep(0)
        another, outcome = await late[0]
        assert another is not watcher
        assert outcome == "succeeded"


async def test_who_cannot_open_it_is_told_why_and_the_next_try_is_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here() as zuora:

        def refuse(*_: object) -> None:
            raise ConfigurationError("no good")

        async def use() -> None:
            async with shared_watcher(tenant_of(zuora)):
                raise AssertionError

        with monkeypatch.context() as patch:
            patch.setattr(fleets, "ZuoraClient", refuse)
            told = await asyncio.gather(use(), use(), return_exceptions=True)
        assert [str(error) for error in told] == ["no good", "no good"]
        assert keepers() == 0
        async with shared_watcher(tenant_of(zuora)) as watcher:
            assert watcher.statistics().watching == 0


async def test_a_failure_that_nobody_waits_for_any_more_is_no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here() as zuora:
        heard: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))

        class Slow:
            def __init__(self, *_: object) -> None:
                pass

            async def __aenter__(self) -> None:
                await asyncio.sleep(5)
                raise ConfigurationError("no good")

            async def __aexit__(self, *_: object) -> None:
                raise AssertionError

        monkeypatch.setattr(fleets, "ZuoraClient", Slow)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), shared_watcher(tenant_of(zuora)):
                raise AssertionError
        await asyncio.sleep(10)
        assert keepers() == 0
        import gc

        gc.collect()
        assert heard == []


async def test_who_is_cancelled_while_it_opens_leaves_it_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here() as zuora:

        class Slow(JobWatcher):
            async def __aenter__(self) -> Any:
                await asyncio.sleep(5)
                return await super().__aenter__()

        monkeypatch.setattr(fleets, "JobWatcher", Slow)
        job = zuora.add_job("aqua", ends="completed", seconds=20)
        hasty, patient = (asyncio.ensure_future(watch(tenant_of(zuora), job.handle)) for _ in range(2))
        await asyncio.sleep(1)
        hasty.cancel()
        assert (await patient)[1] == "succeeded"
        assert hasty.cancelled()
        await asyncio.sleep(LINGER + 1)
        assert keepers() == 0


async def test_who_is_cancelled_alone_while_it_opens_does_not_keep_it_for_ever() -> None:
    async with here() as zuora:
        hasty = asyncio.ensure_future(watch(tenant_of(zuora), zuora.add_job("aqua", seconds=9).handle))
        await asyncio.sleep(0)
        hasty.cancel()
        await asyncio.sleep(LINGER + 1)
        assert keepers() == 0


async def test_a_shutdown_ends_it_and_whoever_waits() -> None:
    async with here() as zuora:
        job = zuora.add_job("aqua", life=[Step("executing")])
        waiting = asyncio.ensure_future(watch(tenant_of(zuora), job.handle))
        await asyncio.sleep(5)
        assert job.polls
        for task in asyncio.all_tasks() - {asyncio.current_task()}:  # as asyncio.run does
            if task is waiting or task.get_name().startswith("zuora_jobs: "):
                task.cancel()
        await asyncio.wait([waiting], timeout=30)
        assert waiting.cancelled()
        assert [request for request in zuora.requests if request.method == "DELETE"] == []


async def test_its_log_lines_are_in_nobodys_context(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here() as zuora:
        heard: list[tuple[str, str]] = []

        class Listening(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                heard.append((whose.get(), record.getMessage()))

        log = logging.getLogger("zuora_jobs")
        handler = Listening()
        level = log.level
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            job = zuora.add_job("aqua", ends="completed", seconds=5)
            whose.set("the first trigger's")
            async with shared_watcher(tenant_of(zuora)) as watcher, watcher.stream([AQUA.handle(job.id)]) as events:
                assert [event async for event in events if isinstance(event, Finished)]
            await asyncio.sleep(LINGER + 1)
        finally:
            log.removeHandler(handler)
            log.setLevel(level)
        about = f"jobs of {zuora.url}"
        assert {("nobody's", f"watching {about}"), ("nobody's", f"nobody watches {about} any more")} <= set(heard)
        assert [line for owner, line in heard if owner != "nobody's"] == []


async def test_each_loop_has_its_own_and_a_closed_loop_is_forgotten() -> None:
    def elsewhere() -> object:
        async def look() -> object:
            return fleets._here()

        return asyncio.run(look())

    other = await asyncio.to_thread(elsewhere)
    assert other is not fleets._here()
    another = await asyncio.to_thread(elsewhere)
    assert another is not other
    assert other not in fleets._loops.values()


# ---- what a connection says, and work that goes on ----


async def test_a_connection_is_read_once_for_all_who_ask_in_a_short_while() -> None:
    async with here() as zuora:
        reads: list[float] = []

        async def read() -> Tenant:
            reads.append(loop_time())
            await asyncio.sleep(1)
            return tenant_of(zuora)

        told = await asyncio.gather(*(tenant_named("a", read) for _ in range(10)))
        await tenant_named("b", read)
        assert set(told) == {tenant_of(zuora)}
        assert len(reads) == 2
        await asyncio.sleep(REMEMBERED)
        await tenant_named("a", read)
        assert len(reads) == 3


async def test_a_connection_that_could_not_be_read_is_read_again() -> None:
    async with here() as zuora:
        answers: list[Any] = [ConfigurationError("not yet"), tenant_of(zuora)]

        async def read() -> Tenant:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[no-any-return]

        with pytest.raises(ConfigurationError, match="not yet"):
            await tenant_named("a", read)
        assert await tenant_named("a", read) == tenant_of(zuora)


async def test_who_is_cancelled_while_a_connection_is_read_leaves_it_to_the_others() -> None:
    async with here() as zuora:

        async def read() -> Tenant:
            await asyncio.sleep(5)
            return tenant_of(zuora)

        hasty, patient = (asyncio.ensure_future(tenant_named("a", read)) for _ in range(2))
        await asyncio.sleep(1)
        hasty.cancel()
        assert await patient == tenant_of(zuora)
        assert hasty.cancelled()


async def test_work_in_the_background_outlives_who_waits_for_it() -> None:
    done: list[float] = []

    async def work() -> None:
        await asyncio.sleep(5)
        done.append(loop_time())

    began = loop_time()
    waiting = asyncio.ensure_future(in_background(work()))
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    await asyncio.sleep(5)
    assert done == [began + 5]
    assert fleets._here().at_work == set()
