"""tenacity around aiohttp."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import tenacity
from _cost_aiohttp import session_for
from _cost_work import ENDS, HEADERS, Tasks, Work


@asynccontextmanager
async def retrying(work: Work) -> AsyncIterator[Tasks]:
    """Leave the loop to tenacity."""
    async with session_for(work) as session:

        @tenacity.retry(
            retry=tenacity.retry_if_result(lambda word: word not in ENDS), wait=tenacity.wait_fixed(work.pause)
        )
        async def watch(url: str) -> str:
            async with session.get(url, headers=HEADERS) as answer:
                answer.raise_for_status()
                return str((await answer.json())["status"])

        yield Tasks(lambda job: watch(work.url(job)))
