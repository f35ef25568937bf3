"""aiohttp in a loop, and with backoff: what one writes oneself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import backoff
from _cost_work import ENDS, HEADERS, Tasks, Work


@asynccontextmanager
async def session_for(work: Work) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a session with as many connections as there is to be."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=work.at_once)) as session:
        yield session


@asynccontextmanager
async def loop(work: Work) -> AsyncIterator[Tasks]:
    """Ask, look at the status, sleep: the floor."""
    async with session_for(work) as session:

        async def watch(job: str) -> str:
            url = work.url(job)
            while True:
                async with session.get(url, headers=HEADERS) as answer:
                    answer.raise_for_status()
                    document = await answer.json()
                if document["status"] in ENDS:
                    return str(document["status"])
                await asyncio.sleep(work.pause)

        yield Tasks(watch)


@asynccontextmanager
async def queuing(work: Work) -> AsyncIterator[Tasks]:
    """Have everybody wait for a turn before the session is asked: cheaper than its own queue when that is long."""
    turns = asyncio.Semaphore(work.at_once)
    async with session_for(work) as session:

        async def watch(job: str) -> str:
            url = work.url(job)
            while True:
                async with turns, session.get(url, headers=HEADERS) as answer:
                    answer.raise_for_status()
                    document = await answer.json()
                if document["status"] in ENDS:
                    return str(document["status"])
                await asyncio.sleep(work.pause)

        yield Tasks(watch)


@asynccontextmanager
async def minimal(work: Work) -> AsyncIterator[Tasks]:
    """Ask and decode, and nothing else: no token, no check, no sleep, nobody who reads the status."""
    async with session_for(work) as session:

        async def watch(job: str) -> None:
            url = work.url(job)
            while True:
                async with session.get(url) as answer:
                    await answer.json()

        yield Tasks(watch)


@asynccontextmanager
async def backing_off(work: Work) -> AsyncIterator[Tasks]:
    """Leave the loop to backoff."""
    async with session_for(work) as session:

        @backoff.on_predicate(backoff.constant, lambda word: word not in ENDS, interval=work.pause, jitter=None)
        async def watch(url: str) -> str:
            async with session.get(url, headers=HEADERS) as answer:
                answer.raise_for_status()
                return str((await answer.json())["status"])

        yield Tasks(lambda job: watch(work.url(job)))
