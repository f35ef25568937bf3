"""The trigger: watches jobs in a triggerer, through the one watcher that it has for their tenant."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import timezone
from airflow.sdk.exceptions import AirflowException
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.triggers.base import BaseTrigger, TriggerEvent
from airflow.utils.state import TaskInstanceState
from attrs import evolve

from zuora_jobs.errors import InvalidHandle, WatchTimedOut, ZuoraJobsError
from zuora_jobs.integrations.airflow.accounts import accounts
from zuora_jobs.integrations.airflow.fleets import in_background, shared_watcher, tenant_named
from zuora_jobs.integrations.airflow.hooks import ZuoraHook
from zuora_jobs.protocol.kinds import JobHandle
from zuora_jobs.watching.events import (
    Finished,
    LostContact,
    Observed,
    Recovered,
    Retrying,
    Stalled,
    StatusChanged,
    UnknownStatusSeen,
)
from zuora_jobs.watching.losses import timed_out
from zuora_jobs.watching.outcome import Lost, error_account

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from zuora_jobs.integrations.airflow.accounts import Account
    from zuora_jobs.integrations.airflow.connections import Tenant
    from zuora_jobs.watching.events import Event
    from zuora_jobs.watching.outcome import Outcome
    from zuora_jobs.watching.watcher import JobWatcher

CANCELLED_WITHIN: Final = 25.0
"""Seconds in which a job's end is waited for, and all that comes before it; Airflow gives 30."""

ENDED: Final = frozenset({TaskInstanceState.FAILED, TaskInstanceState.SUCCESS})
"""How a user marks a task. One that its run's own time limit ended is *skipped*, and was ended by nobody."""

FIRES_AFTER: Final = 10.0
"""Seconds from when the trigger was begun: an executor that hears late that the worker is done with the task, and sees it queued
again already, takes it for a worker that died, and fails it without a word (Airflow 3.3.2). Workers end 5 to 8 s after that."""

AT_LEAST: Final = 30.0
"""Seconds: a trigger that is begun past its deadline, since no triggerer was there, still looks before it gives up."""


class ZuoraJobsTrigger(BaseTrigger):
    """Fires once, when all *handles* have ended: its payload is `{"accounts": [...]}`, or `{"error": {...}}`.

    All triggers of a triggerer that name one tenant share a client, a budget and a schedule. What is kept of a trigger is
    its arguments, and no secret is among them. A triggerer that dies hands its triggers over; their jobs are not told of it.

    Args:
        handles: of the jobs, as text.
        zuora_conn_id: the connection.
        deadline: the moment after which jobs that have not ended are lost, in ISO 8601; it outlives a triggerer.
        timeout: seconds that this is after the task began to wait; without a deadline, after the trigger has begun.
        cancel_on_kill: cancel the jobs, where their kind allows, when a user ends the task by marking it.
    """

    def __init__(
        self,
        handles: Sequence[str],
        zuora_conn_id: str = ZuoraHook.default_conn_name,
        deadline: str | None = None,
        timeout: float | None = None,
        cancel_on_kill: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        super().__init__()
        self.handles = handles
        self.zuora_conn_id = zuora_conn_id
        self.deadline = deadline
        self.timeout = timeout
        self.cancel_on_kill = cancel_on_kill

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what the trigger is made of again, in whatever triggerer."""
        given = {
            "handles": self.handles,
            "zuora_conn_id": self.zuora_conn_id,
            "deadline": self.deadline,
            "timeout": self.timeout,
            "cancel_on_kill": self.cancel_on_kill,
        }
        return f"{__name__}.{type(self).__name__}", given

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch until all have ended, and fire."""
        loop = asyncio.get_running_loop()
        earliest = loop.time() + FIRES_AFTER
        try:
            payload: dict[str, Any] = {"accounts": await self._until_ended(handles_of(self.handles))}
        except (ZuoraJobsError, AirflowException) as error:
            payload = {"error": error_account(error)}
        if self.trigger_id is not None:  # not by `airflow dags test`, which has no executor
            await asyncio.sleep(earliest - loop.time())
        yield TriggerEvent(payload)

    async def _until_ended(self, handles: Sequence[JobHandle[Any]]) -> list[Account]:
        async with shared_watcher(await self._tenant()) as watcher:
            outcomes = await self._watch(handles, watcher)
            return accounts(map(self._in_its_words, outcomes), watcher.client.secrets)

    async def _tenant(self) -> Tenant:
        return await tenant_named(self.zuora_conn_id, ZuoraHook(self.zuora_conn_id).atenant)

    async def _watch(self, handles: Sequence[JobHandle[Any]], watcher: JobWatcher) -> list[Outcome[Any]]:
        outcomes: dict[JobHandle[Any], Outcome[Any]] = {}
        in_trouble: set[JobHandle[Any]] = set()
        self.log.info(
            "Watching %s; with these, this triggerer watches %d jobs of %s",
            named(handles),
            watcher.statistics().watching + len(handles),
            watcher.client.settings.base_url,
        )
        async with watcher.stream(handles, timeout=self._timeout()) as events:
            async for event in events:
                if isinstance(event, Finished):
                    outcomes[event.handle] = event.outcome
                self._note(event, in_trouble)
        return [outcomes[handle] for handle in handles]

    def _timeout(self) -> float | None:
        if self.deadline is None:
            return self.timeout
        left: float = (datetime.fromisoformat(self.deadline) - timezone.utcnow()).total_seconds()
        return left if left > 0 else AT_LEAST

    def _in_its_words(self, outcome: Outcome[Any]) -> Outcome[Any]:
        """Say of a job that ran out of time, of which: what was left of it to this trigger is nobody's number."""
        if not isinstance(outcome, Lost) or not isinstance(outcome.error, WatchTimedOut) or self.timeout is None:
            return outcome
        last = outcome.error.__cause__
        last = last if isinstance(last, ZuoraJobsError) else None
        return evolve(outcome, error=timed_out(outcome.handle, self.timeout, last))

    def _note(self, event: Event, in_trouble: set[JobHandle[Any]]) -> None:
        """Write to the task's log what its user would want to know while he waits.

        Args:
            event: what happened.
            in_trouble: jobs that were not answered about when last looked at.
        """
        match event:
            case StatusChanged():
                self.log.info("%s is %s", event.handle, event.status)
            case UnknownStatusSeen():
                self.log.warning("%s is %r, a status that nobody knows; it is watched on", event.handle, event.status)
            case Stalled():
                self.log.warning("%s has been %s for %.0f s, and stays so", event.handle, event.status, event.seconds)
            case Retrying() if event.handle not in in_trouble:
                in_trouble.add(event.handle)
                self.log.warning("%s is not answered about, and asked about again: %s", event.handle, event.error)
            case Observed() if event.handle in in_trouble:
                in_trouble.remove(event.handle)
                self.log.info("%s is answered about again: it is %s", event.handle, event.status)
            case LostContact():
                self.log.warning("Nobody answers about any job, for %.0f s so far: %s", event.seconds, event.error)
            case Recovered():
                self.log.info("Answers come again, after %.0f s", event.seconds)
            case _:
                pass

    async def on_kill(self) -> None:
        """Cancel the jobs because a user has ended the task, if that was asked for.

        Airflow also comes here where the task goes on: another triggerer has taken this trigger over, since this one was late
        with its heartbeat, or a user has cleared the task, which will watch the same jobs again. Then they are left alone.
        """
        cancellable = [handle for handle in handles_of(self.handles) if handle.kind.cancel is not None]
        if not self.cancel_on_kill or not cancellable:
            self.log.info("%s: left alone", named(handles_of(self.handles)))
            return
        # a triggerer cancels this anew each second (Airflow 3.3.2), so it is done by a task that is not
        await in_background(self._cancel_all(cancellable))

    async def _cancel_all(self, handles: Sequence[JobHandle[Any]]) -> None:
        try:
            async with asyncio.timeout(CANCELLED_WITHIN):
                if not await self._was_ended():
                    self.log.info("%s: left alone, since no user has ended the task: it goes on", named(handles))
                    return
                async with shared_watcher(await self._tenant()) as watcher:
                    await asyncio.gather(*(self._cancel(handle, watcher) for handle in handles))
        except (ZuoraJobsError, AirflowException, TimeoutError) as error:
            self.log.warning(
                "%s could not be cancelled: %s", named(handles), str(error) or f"it took over {CANCELLED_WITHIN:.0f} s"
            )

    async def _cancel(self, handle: JobHandle[Any], watcher: JobWatcher) -> None:
        try:
            outcome = await watcher.cancel(handle)
        except ZuoraJobsError as error:
            self.log.warning("%s could not be cancelled: %s", handle, error)
        else:
            self.log.info("The task was ended by a user, so %s was cancelled: it is %s", handle, outcome.status)

    async def _was_ended(self) -> bool:
        """Tell whether a user has ended the task; where that cannot be known, nothing is cancelled."""
        task = self.task_instance
        if task is None:
            return False
        states = await asyncio.to_thread(
            RuntimeTaskInstance.get_task_states,
            dag_id=task.dag_id,
            task_ids=[task.task_id],
            run_ids=[task.run_id],
            map_index=task.map_index if task.map_index is not None and task.map_index >= 0 else None,
        )
        found = states.get(task.run_id, {}).values()
        return bool(found) and all(state in ENDED for state in found)


def deadline_in(seconds: float | None) -> str | None:
    """Give the moment that is so many seconds from now, as a trigger keeps it; None: there is none."""
    return (timezone.utcnow() + timedelta(seconds=seconds)).isoformat() if seconds is not None else None


def handles_of(texts: str | Sequence[str]) -> list[JobHandle[Any]]:
    """Read handles, each once.

    Raises:
        InvalidHandle: one cannot be one.
    """
    if isinstance(texts, str) and texts.lstrip().startswith("["):
        message = (
            f"{texts:.60} is the text of a list, as a template gives it: pass the list itself, as in handles=begin.output,"
            " or make the DAG with render_template_as_native_obj=True"
        )
        raise InvalidHandle(message)
    given = [texts] if isinstance(texts, str) else texts
    return list(dict.fromkeys(JobHandle.parse(text) for text in given))


def one_or_all(told: list[Account], handles: str | Sequence[str]) -> Account | list[Account]:
    """Give the account of the one that was asked for, or those of all."""
    return told[0] if isinstance(handles, str) else told


def named(handles: Sequence[JobHandle[Any]]) -> str:
    """Name jobs: of many, how many."""
    return str(handles[0]) if len(handles) == 1 else f"{len(handles)} jobs"
