"""The emulator on the test's own loop, and a bare session to talk to it: no client of ours is involved."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from zuora_jobs import emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Caller:
    """A user with a good token."""

    def __init__(self, zuora: emulator.Emulator, session: aiohttp.ClientSession) -> None:
        self.zuora = zuora
        self.session = session
        self.authorization = {"Authorization": f"Bearer {zuora.issue_token(10**9)}"}

    async def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **options: Any) -> Any:
        """Send one request; give the response, read."""
        headers = {**self.authorization, **(headers or {})}
        async with self.session.request(method, path, headers=headers, **options) as response:
            await response.read()
            return response

    async def get(self, path: str, **options: Any) -> Any:
        return await self.ask("GET", path, **options)

    async def read(self, path: str) -> bytes:
        async with self.session.get(path, headers=self.authorization) as response:
            return await response.read()

    async def poll(self, job: emulator.Job) -> Any:
        return await (await self.get(job.family.route + job.id)).json()

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Send a document, if any; give the status and the answer's document."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await self.ask(method, path, headers=headers, data=data)
        return response.status, await response.json()

    async def fetch(self, url: str, **headers: str) -> Any:
        """Follow a presigned URL, without a token; give the response, read."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(url, headers=headers) as response:
            await response.read()
            return response

    async def cancel(self, job: emulator.Job) -> Any:
        return await self.ask("DELETE", job.family.route + job.id)


@asynccontextmanager
async def calling(**options: Any) -> AsyncIterator[Caller]:
    async with (
        emulator.running(**options) as zuora,
        aiohttp.ClientSession(zuora.url, connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        yield Caller(zuora, session)


@pytest.fixture(name="calling")
def _calling() -> Any:
    return calling
