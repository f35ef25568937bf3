"""A limit that nobody told us: 1,000 watches against a tenant that allows so many requests a second and at once.

    python benchmarks/limit.py [--watches 1000] [--seed 1]

The tenant answers 429 above its limits, and names them only there. Jobs last 5 s in the median (lognormal, sigma 0.7, 50 s
at most). Everybody runs with his own defaults, and over real sockets, but on a virtual clock: server and client share one
loop, so a run takes seconds and comes out the same each time.
Lost: an exception ended the watch. Late: seconds from a job's end until its watcher knew.
"""

import argparse
import asyncio
import contextlib
import heapq
import logging
import math
import random
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

import aiohttp
import backoff
import looptime
from aiohttp import web
from attrs import Factory, define, frozen

from zuora_jobs import OPERATION, Finished, JobWatcher, Settings, Succeeded, ZuoraClient

LATENCY: Final = 0.02
ROUTE: Final = "/v1/operations/jobs/"
INTERVAL: Final = 1.0
"""Seconds between the looks of those who have a fixed interval."""


@frozen
class Scene:
    """What a run is like."""

    name: str
    rate: int = 200
    """Requests a second that the tenant allows."""
    at_once: int = 40
    names_limits: bool = True
    """Whether its refusals say what the limits are."""
    rude: float = 0.0
    """Requests a second of another client that heeds nothing."""


SCENES: Final = (
    Scene("200 a second and 40 at once"),
    Scene("200 a second and 40 at once; the refusals name no limit", names_limits=False),
    Scene("200 a second and 40 at once, of which another client takes 30 whatever it is told", rude=30),
    Scene("200 a second and 40 at once, of which another client takes 100 whatever it is told", rude=100),
    Scene("50 a second and 10 at once", rate=50, at_once=10),
    Scene("50 a second and 10 at once; the refusals name no limit", rate=50, at_once=10, names_limits=False),
)


@define
class Tenant:
    """A server with limits."""

    scene: Scene
    ends: dict[str, float]
    """When each job ends, on the loop's clock."""
    requests: int = 0
    refused: int = 0
    _tokens: float = Factory(lambda tenant: tenant.scene.rate, takes_self=True)
    _filled_at: float = 0.0
    _present: int = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, or refuse it."""
        now = asyncio.get_running_loop().time()
        ours = request.headers.get("X-Client") != "rude"
        self.requests += ours
        refusal = self._refusal(now)
        if refusal is not None:
            self.refused += ours
            named = refusal if self.scene.names_limits else {}
            return web.json_response({"message": "limit"}, status=429, headers={"Retry-After": "1", **named})
        self._present += 1
        try:
            await asyncio.sleep(LATENCY)
        finally:
            self._present -= 1
        job = request.path.rsplit("/", 1)[1]
        ended = asyncio.get_running_loop().time() >= self.ends.get(job, math.inf)
        return web.json_response({"success": True, "id": job, "status": "Completed" if ended else "Processing"})

    def _refusal(self, now: float) -> dict[str, str] | None:
        rate, at_once = self.scene.rate, self.scene.at_once
        self._tokens = min(rate, self._tokens + (now - self._filled_at) * rate)
        self._filled_at = now
        if self._tokens < 1:
            return {"RateLimit-Limit": f"{rate};w=1", "RateLimit-Remaining": "0", "RateLimit-Reset": "1"}
        self._tokens -= 1
        if self._present >= at_once:
            return {"Concurrency-Limit-Limit": str(at_once), "Concurrency-Limit-Remaining": "0"}
        return None


@define
class Notes:
    """What one who watches came to know."""

    known_at: dict[str, float] = Factory(dict)
    lost: int = 0

    def knows(self, job: str) -> None:
        """Take note that *job* is known to have ended."""
        self.known_at[job] = asyncio.get_running_loop().time()


Watch = Callable[[str, list[str], Notes, "Scene"], Awaitable[None]]


async def _each(jobs: Iterable[str], notes: Notes, watch: Callable[[str], Awaitable[None]]) -> None:
    async def one(job: str) -> None:
        try:
            await watch(job)
        except aiohttp.ClientError:
            notes.lost += 1
        else:
            notes.knows(job)

    await asyncio.gather(*(one(job) for job in jobs))


async def _status(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as response:
        response.raise_for_status()
        return str((await response.json())["status"])


async def plain_loop(url: str, jobs: list[str], notes: Notes, _: Scene) -> None:
    """Ask every second, and let errors out."""
    async with aiohttp.ClientSession() as session:

        async def watch(job: str) -> None:
            while await _status(session, url + ROUTE + job) != "Completed":  # noqa: ASYNC110 - it is what is measured
                await asyncio.sleep(INTERVAL)

        await _each(jobs, notes, watch)


async def careful_loop(url: str, jobs: list[str], notes: Notes, _: Scene) -> None:
    """Ask every second, and after a 429 as soon as Retry-After says."""
    async with aiohttp.ClientSession() as session:

        async def watch(job: str) -> None:
            while True:
                async with session.get(url + ROUTE + job) as response:
                    if response.status == 429:
                        await asyncio.sleep(float(response.headers["Retry-After"]))
                        continue
                    response.raise_for_status()
                    if (await response.json())["status"] == "Completed":
                        return
                await asyncio.sleep(INTERVAL)

        await _each(jobs, notes, watch)


async def with_backoff(url: str, jobs: list[str], notes: Notes, _: Scene) -> None:
    """backoff.on_predicate for progress, backoff.on_exception for errors, five tries each time."""
    async with aiohttp.ClientSession() as session:

        @backoff.on_predicate(backoff.constant, lambda status: status != "Completed", interval=INTERVAL, jitter=None)
        @backoff.on_exception(backoff.expo, aiohttp.ClientError, max_tries=5)
        async def watch(target: str) -> str:
            return await _status(session, target)

        async def to_the_end(job: str) -> None:
            await watch(url + ROUTE + job)

        await _each(jobs, notes, to_the_end)


async def told(url: str, jobs: list[str], notes: Notes, scene: Scene) -> None:
    """One heap and one limiter, told nearly all that the tenant allows: what can be had by one who knows."""
    loop = asyncio.get_running_loop()
    due = [(loop.time() + INTERVAL * number / len(jobs), job) for number, job in enumerate(jobs)]
    free_at = loop.time()
    async with aiohttp.ClientSession() as session:

        async def look(job: str) -> None:
            nonlocal free_at
            try:
                ended = await _status(session, url + ROUTE + job) == "Completed"
            except aiohttp.ClientResponseError:
                ended, free_at = False, loop.time() + 1
            if ended:
                notes.knows(job)
            else:
                heapq.heappush(due, (loop.time() + INTERVAL, job))

        async def worker() -> None:
            nonlocal free_at
            while len(notes.known_at) < len(jobs):
                moment = max(due[0][0], free_at) if due else loop.time() + 0.01
                if moment > loop.time() + 1e-6:
                    await asyncio.sleep(moment - loop.time())
                elif due:
                    free_at = max(free_at, loop.time()) + 1 / (0.975 * scene.rate)
                    await look(heapq.heappop(due)[1])

        await asyncio.gather(*(worker() for _ in range(int(0.8 * scene.at_once))))


async def ours(url: str, jobs: list[str], notes: Notes, _: Scene) -> None:
    """zuora_jobs, with its defaults."""
    settings = Settings(base_url=url, access_token="not-a-secret")
    async with (
        ZuoraClient(settings, rng=random.Random(1)) as client,
        JobWatcher(client) as watcher,
        watcher.stream(map(OPERATION.handle, jobs)) as events,
    ):
        async for event in events:
            if isinstance(event, Finished) and isinstance(event.outcome, Succeeded):
                notes.knows(event.handle.id)
            elif isinstance(event, Finished):
                notes.lost += 1


async def _rude(url: str, rate: float) -> None:
    """Another client of the same tenant, that asks at its own rate whatever it is told."""
    async with aiohttp.ClientSession(headers={"X-Client": "rude"}) as session, asyncio.TaskGroup() as group:

        async def ask() -> None:
            with contextlib.suppress(aiohttp.ClientError):
                await _status(session, url + ROUTE + "another")

        while True:
            group.create_task(ask())
            await asyncio.sleep(1 / rate)


CANDIDATES: Final[dict[str, Watch]] = {
    "plain aiohttp loop": plain_loop,
    "aiohttp loop that heeds Retry-After": careful_loop,
    "backoff, 5 tries": with_backoff,
    "heap and limiter, told the limits": told,
    "zuora_jobs": ours,
}


@contextlib.asynccontextmanager
async def _serving(tenant: Tenant) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(tenant.answer, access_log=None), shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def run(watch: Watch, scene: Scene, watches: int, seed: int) -> str:
    """Have one candidate watch all jobs, and give its row of the table."""
    random.seed(seed)  # which backoff draws from
    rng = random.Random(seed)
    ends = {f"job-{n}": min(5 * math.exp(rng.gauss(0, 0.7)), 50) for n in range(watches)}
    tenant, notes = Tenant(scene, ends), Notes()
    async with _serving(tenant) as url:
        rude = asyncio.create_task(_rude(url, scene.rude)) if scene.rude else None
        await watch(url, list(ends), notes, scene)
        if rude is not None:
            rude.cancel()
            await asyncio.wait([rude])
    late = sorted(moment - ends[job] for job, moment in notes.known_at.items())
    figures = (
        notes.lost,
        tenant.refused,
        f"{tenant.refused / tenant.requests:.1%}",
        f"{tenant.requests / watches:.1f}",
        f"{statistics.mean(late):.1f}",
        f"{late[int(0.95 * len(late))]:.1f}",
        f"{late[-1]:.1f}",
    )
    return " | ".join(map(str, figures))


def in_virtual_time(watch: Watch, scene: Scene, watches: int, seed: int) -> str:
    """Run on a loop whose clock jumps over waiting."""
    loop = looptime.new_event_loop(start=0, _enabled=True)
    try:
        return str(loop.run_until_complete(run(watch, scene, watches, seed)))
    finally:
        loop.close()


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--watches", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("backoff").setLevel(logging.CRITICAL)
    for scene in SCENES:
        print(f"\n{scene.name}\n")
        print("| | lost | refused | of requests | requests a job | late, mean s | 95 % s | worst s |")
        print("|---|" + "---|" * 7)
        for name, watch in CANDIDATES.items():
            print(f"| {name} | {in_virtual_time(watch, scene, options.watches, options.seed)} |", flush=True)


if __name__ == "__main__":
    main()
