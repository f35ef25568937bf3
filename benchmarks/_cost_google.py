"""google-api-core's AsyncOperation, refreshed over aiohttp."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from _cost_aiohttp import session_for
from _cost_work import ENDS, HEADERS, Tasks, Work
from google.api_core import exceptions, operation_async, retry_async
from google.api_core.future import async_future
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2


@asynccontextmanager
async def operation(work: Work) -> AsyncIterator[Tasks]:
    """Poll as a client of Google's does, at one interval: it draws each pause from 0 to twice what is to be its mean."""
    interval = 2 * work.pause or 1e-9  # it takes no 0
    retry = retry_async.AsyncRetry(
        predicate=async_future.RETRY_PREDICATE, initial=interval, maximum=interval, multiplier=1.0, timeout=None
    )
    async with session_for(work) as session:

        async def watch(job: str) -> object:
            async def refresh(**_: Any) -> operations_pb2.Operation:
                async with session.get(work.url(job), headers=HEADERS) as answer:
                    if answer.status >= 400:
                        raise exceptions.from_http_status(answer.status, "refused")
                    document = await answer.json()
                return operations_pb2.Operation(name=job, done=document["status"] in ENDS)

            async def cancel() -> None:
                """Cannot be."""

            begun = operations_pb2.Operation(name=job)
            return await operation_async.AsyncOperation(begun, refresh, cancel, empty_pb2.Empty, retry=retry).result()

        yield Tasks(watch)
