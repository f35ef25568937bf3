"""How people write this today: what each would make of a job, and of how many in which storm.

- Each has been given more than people give it: every word for an end of every family, a pool of connections within the
  tenant's limit of requests at once, and a token that was fetched before the storm began.
- The first three run in virtual time, in one loop with the emulator. The vendor's SDK blocks, so it runs in a process of
  its own, in real time, with fewer and shorter jobs.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import backoff
from _population import TRUTH, Life, Report, lives, settle

from zuora_jobs import emulator

if TYPE_CHECKING:
    from _storms import Storm

    from zuora_jobs.emulator import Emulator, Job

ENDS: Final = frozenset(end for _, end in TRUTH)
AT_ONCE: Final = 20
"""Connections of a session: half of the tenant's limit, the same that zuora_jobs takes."""
ROUTES: Final[Mapping[str, str]] = {
    "operation": "/v1/operations/jobs/",
    "bulk-pdf": "/v1/operations/bulk-pdf/",
    "aqua": "/v1/batch-query/jobs/",
    "credit-memo-apply": "/v1/credit-memos/apply-async-jobs/",
}
Peer = Callable[[aiohttp.ClientSession, str], Awaitable[str]]


async def loop(session: aiohttp.ClientSession, path: str) -> str:
    """Ask every second, and trust that nothing goes wrong."""
    while True:
        async with session.get(path) as answer:
            answer.raise_for_status()
            document = await answer.json()
        if document["status"] in ENDS:
            return str(document["status"])
        await asyncio.sleep(1)


async def forgiving_loop(session: aiohttp.ClientSession, path: str) -> str:
    """Ask every second, and ask again whatever the library complains of."""
    while True:
        try:
            async with session.get(path) as answer:
                answer.raise_for_status()
                document = await answer.json()
            if document.get("status") in ENDS:
                return str(document["status"])
        except (aiohttp.ClientError, TimeoutError):
            pass
        await asyncio.sleep(1)


@backoff.on_predicate(backoff.expo, lambda status: status not in ENDS, max_value=60)
@backoff.on_exception(backoff.expo, (aiohttp.ClientError, TimeoutError), max_tries=5)
async def backing_off(session: aiohttp.ClientSession, path: str) -> str:
    """Leave it to backoff: exponential polling, and five tries of a request."""
    async with session.get(path) as answer:
        answer.raise_for_status()
        document = await answer.json()
    return str(document.get("status"))


PEERS: Final[Mapping[str, Peer]] = {
    "`while True`": loop,
    "`while True` with `try`": forgiving_loop,
    "backoff": backing_off,
}


def judge_status(life: Life, said: object) -> Report:
    """Hold the last status that a peer saw, or the exception it died of, against what the job did; None: neither."""
    if said is None:
        return Report.PENDING
    if said == life.end:
        return Report.RIGHT
    return Report.WRONG if said in ENDS else Report.LOST


async def survivors(peer: Peer, zuora: Emulator, jobs: Iterable[Job], storm: Storm, seconds: float) -> list[object]:
    """Have *peer* watch *jobs* through *storm* for so long; give what it said of each."""
    headers = {"Authorization": f"Bearer {zuora.issue_token()}"}
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    async with aiohttp.ClientSession(zuora.url, connector=connector, headers=headers) as session:
        tasks = [asyncio.create_task(_said_by(peer, session, ROUTES[job.kind] + job.id)) for job in jobs]
        storm.begin(zuora)
        await asyncio.wait(tasks, timeout=seconds)
        said = [task.result() if task.done() else None for task in tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return said


async def _said_by(peer: Peer, session: aiohttp.ClientSession, path: str) -> object:
    try:
        return await peer(session, path)
    except Exception as error:  # noqa: BLE001 - whatever it is, this job is lost
        return error


SDK_JOBS: Final = 40
SDK_PACE: Final = 0.1
"""Lives are so much shorter, since they are lived in real time."""
SDK_SECONDS: Final = 45.0
"""After which a job is still being polled."""
SDK_SCRIPT: Final = Path(__file__).with_name("_sdk_loop.py")


async def sdk_survivors(weathers: Iterable[Storm], seed: int) -> dict[str, Counter[Report]]:
    """Have the vendor's SDK watch jobs through each storm, in real time; give what became of them, by storm."""
    script = await asyncio.create_subprocess_exec(
        sys.executable, str(SDK_SCRIPT),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=1 << 24,
    )  # fmt: skip
    assert script.stdin is not None
    assert script.stdout is not None
    try:
        await script.stdout.readline()  # it is ready
        return {storm.name: await _sdk_in(storm, script, seed) for storm in weathers}
    finally:
        script.stdin.close()
        await script.wait()


async def _sdk_in(storm: Storm, script: asyncio.subprocess.Process, seed: int) -> Counter[Report]:
    assert script.stdin is not None
    assert script.stdout is not None
    async with emulator.running(seed=seed, latency=0.05, **storm.options) as zuora:
        population = lives(SDK_JOBS, seed, SDK_PACE)
        plan: dict[str, Any] = {
            "url": zuora.url,
            "client_id": zuora.tokens.client_id,
            "client_secret": zuora.tokens.client_secret,
            "jobs": [[job.kind, job.id] for job in settle(zuora, population)],
            "ends": sorted(ENDS),
            "seconds": SDK_SECONDS,
        }
        storm.begin(zuora)
        script.stdin.write(json.dumps(plan).encode() + b"\n")
        said = json.loads(await script.stdout.readline())
    return Counter(map(judge_status, population, said))
