"""Cancelling remote jobs: when asked to, and in farewell when their watch is left.

A refusal is no error here: the job has most likely ended in between, and the job itself will tell. What ends a
cancellation without an answer about the job is that nobody answers, or that this user may not.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from zuora_jobs.errors import Forbidden, RateLimited, ServerError, TransportError, Unauthorized, ZuoraJobsError
from zuora_jobs.logs import about

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.protocol.sighting import Sighting

log = logging.getLogger("zuora_jobs")

FAREWELL: Final = 10.0
"""Seconds that cancelling remote jobs may take when their watch is left."""

_FAREWELLS_AT_ONCE: Final = 20


class RemoteCancellation:
    """Sends the DELETEs of one watcher.

    Args:
        client: sends them.
        seen: told the answer that is a job's document.
        refused: told that one was refused.
        settled: told that one is over, however it went, or is in trouble: then the job is to be looked at.
    """

    def __init__(
        self,
        client: ZuoraClient,
        *,
        seen: Callable[[JobHandle[Any], Sighting[Any]], None],
        refused: Callable[[JobHandle[Any], ZuoraJobsError], None],
        settled: Callable[[JobHandle[Any]], None],
    ) -> None:
        self._client = client
        self._seen = seen
        self._refused = refused
        self._settled = settled
        self._tasks: dict[JobHandle[Any], asyncio.Task[None]] = {}
        self._under_way: dict[JobHandle[Any], list[Callable[[ZuoraJobsError], None]]] = {}

    def __contains__(self, handle: object) -> bool:
        return handle in self._under_way

    def ask(
        self, handle: JobHandle[Any], on_error: Callable[[ZuoraJobsError], None]
    ) -> Coroutine[Any, Any, None] | None:
        """Have *handle* cancelled; who asks while a DELETE is on its way shares it.

        Returns:
            What is to be run as a task, or None where that runs already.
        """
        if handle in self._under_way:
            self._under_way[handle].append(on_error)
            return None
        self._under_way[handle] = [on_error]
        return self._delete(handle)

    def runs(self, handle: JobHandle[Any], task: asyncio.Task[None]) -> None:
        """Name the task that cancels *handle*."""
        self._tasks[handle] = task
        task.add_done_callback(lambda _: self._tasks.pop(handle, None))

    def unask(self, handle: JobHandle[Any], on_error: Callable[[ZuoraJobsError], None]) -> None:
        """Take back what was asked; when nobody asks any more, the request is given up."""
        asking = self._under_way.get(handle, [])
        if on_error in asking:
            asking.remove(on_error)
            if not asking and handle in self._tasks:
                self._tasks[handle].cancel()

    async def _delete(self, handle: JobHandle[Any]) -> None:
        failure: ZuoraJobsError | None = None
        try:
            # while the request meets trouble, the job may tell by itself that there is nothing left to cancel
            job = await self._client.cancel_sight(handle, on_retry=lambda *_: self._settled(handle))
            self._seen(handle, job)
        except (Unauthorized, Forbidden, TransportError, RateLimited, ServerError) as error:
            failure = error
        except ZuoraJobsError as error:
            self._refused(handle, error)
        except Exception as bug:  # one job's trouble, a mistake in its kind's row say, is not its neighbours'
            log.exception("cancelling %s went wrong", handle, extra=about(handle, error=bug))
            failure = ZuoraJobsError(f"{type(bug).__name__} while cancelling {handle}; see the log")
        finally:
            waiting = self._under_way.pop(handle)
        if failure is not None:
            for on_error in waiting:
                on_error(failure)
        self._settled(handle)

    async def say_farewell(self, handles: Iterable[JobHandle[Any]]) -> None:
        """Cancel those of *handles* that can be cancelled, in bounded time; what does not work out is logged."""
        left = iter([handle for handle in handles if handle.kind.cancel is not None])

        async def cancel_some() -> None:
            for handle in left:
                if handle not in self._under_way:
                    self._under_way[handle] = [partial(_log_left, handle)]
                    await self._delete(handle)

        try:
            async with asyncio.timeout(FAREWELL):
                await asyncio.gather(*(cancel_some() for _ in range(_FAREWELLS_AT_ONCE)))
        except TimeoutError:
            text = "not all jobs that were left could be cancelled within %g s"
            log.warning(text, FAREWELL, extra=about(seconds=FAREWELL))


def _log_left(handle: JobHandle[Any], error: ZuoraJobsError) -> None:
    log.warning("%s was left, and could not be cancelled: %s", handle, error, extra=about(handle, error=error))
