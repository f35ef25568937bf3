"""Who is measured at what."""

from __future__ import annotations

from typing import Final

from attrs import frozen

FAR: Final = 36_000.0
"""Seconds to a next look that nobody lives to see."""
SHORT: Final = 0.001
"""Seconds between two looks: the least that a Cadence takes."""
AT_ONCE: Final = 20
"""Connections of everybody."""


@frozen
class Candidate:
    """Somebody who can watch."""

    name: str
    peer: str
    """What must be installed."""
    driver: str
    """`module:function`, beside this file."""
    is_ours: bool = False


LOOP: Final = Candidate("aiohttp in a loop", "aiohttp", "_cost_aiohttp:loop")
MINIMAL: Final = Candidate("aiohttp, only get() and json()", "aiohttp", "_cost_aiohttp:minimal")
QUEUING: Final = Candidate("aiohttp behind a semaphore", "aiohttp", "_cost_aiohttp:queuing")
BACKOFF: Final = Candidate("backoff.on_predicate", "backoff", "_cost_aiohttp:backing_off")
TENACITY: Final = Candidate("tenacity", "tenacity", "_cost_tenacity:retrying")
GOOGLE: Final = Candidate("google-api-core AsyncOperation", "google-api-core", "_cost_google:operation")
AZURE: Final = Candidate("azure-core AsyncLROPoller", "azure-core", "_cost_azure:poller")
SDK: Final = Candidate("zuora-sdk in threads", "zuora-sdk", "_cost_zuora_sdk:threads")
WATCH_ALL: Final = Candidate("zuora_jobs watch_all", "zuora_jobs", "_cost_zuora_jobs:watch_all", is_ours=True)
STREAM: Final = Candidate("zuora_jobs stream", "zuora_jobs", "_cost_zuora_jobs:stream", is_ours=True)
OTHERS: Final = (BACKOFF, TENACITY, GOOGLE, AZURE, SDK)
OURS: Final = (WATCH_ALL, STREAM)


@frozen
class Contest:
    """Those whose CPU a poll is compared, the first being the floor."""

    name: str
    candidates: tuple[Candidate, ...]
    rounds: int
    seconds: float
    """Of polling, in each round."""
    jobs: int
    interval: float | None
    our_jobs: int
    our_interval: float | None
    uvloop: bool = False

    def workload(self, candidate: Candidate) -> tuple[int, float | None]:
        """Give how many jobs *candidate* watches, and the seconds between two looks at one."""
        return (self.our_jobs, self.our_interval) if candidate.is_ours else (self.jobs, self.interval)


@frozen
class Plan:
    """How much is measured."""

    contests: tuple[Contest, ...]
    memory: tuple[tuple[Candidate, int, float | None], ...]
    """Who, with how many jobs, and how far their next look is."""
    intake: int
    """Jobs."""
    intakes: int
    """How often."""
    imports: int
    """Fresh interpreters."""


def flat_out(candidates: tuple[Candidate, ...], rounds: int, seconds: float, *, uvloop: bool = False) -> Contest:
    """Have everybody keep all connections busy: with a job each where nobody pauses, with a job at hand where one must."""
    name = f"{AT_ONCE} requests in flight" + (", uvloop" if uvloop else "")
    return Contest(name, candidates, rounds, seconds, AT_ONCE, 0.0, 3 * AT_ONCE, SHORT, uvloop)


def crowd(candidates: tuple[Candidate, ...], rounds: int, seconds: float, jobs: int) -> Contest:
    """Have everybody watch more jobs than can be looked at in the second that the loop waits."""
    return Contest(f"{jobs:,} jobs", candidates, rounds, seconds, jobs, 1.0, jobs, None)


def contests(rounds: int, seconds: float, jobs: int) -> tuple[Contest, ...]:
    """Give the comparisons of CPU."""
    return (
        flat_out((LOOP, MINIMAL, *OTHERS, *OURS), rounds, seconds),
        flat_out((LOOP, *OURS), rounds, seconds, uvloop=True),
        crowd((LOOP, QUEUING, *OURS), (rounds + 1) // 2, 5 * seconds, jobs),
    )


def memory(some: int, many: int, threads: int) -> tuple[tuple[Candidate, int, float | None], ...]:
    """Give the comparisons of memory."""
    return (
        *((candidate, jobs, FAR) for candidate in (LOOP, *OURS) for jobs in (some, many)),
        *((candidate, many, None) for candidate in OURS),
        *((candidate, some, FAR) for candidate in OTHERS if candidate is not SDK),
        (SDK, threads, FAR),
    )


FULL: Final = Plan(contests(11, 1.0, 10_000), memory(10_000, 100_000, 1000), 100_000, 5, 7)
QUICK: Final = Plan(contests(2, 0.5, 2000), memory(1000, 5000, 100), 10_000, 2, 3)
IMPORTS: Final = {
    "nothing": ("aiohttp", "pass"),
    "aiohttp": ("aiohttp", "import aiohttp"),
    "aiohttp and backoff": ("backoff", "import aiohttp, backoff"),
    "aiohttp and tenacity": ("tenacity", "import aiohttp, tenacity"),
    "aiohttp and google-api-core": ("google-api-core", "import aiohttp; from google.api_core import operation_async"),
    "azure-core": (
        "azure-core",
        "from azure.core import AsyncPipelineClient, polling; from azure.core.pipeline.transport import AioHttpTransport",
    ),
    "zuora-sdk": ("zuora-sdk", "from zuora_sdk.zuora_client import ZuoraClient"),
    "zuora_jobs": ("zuora_jobs", "import zuora_jobs"),
}
"""What is imported: who must be installed for it, and how."""
