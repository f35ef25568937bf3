"""Deferrable operators: a worker begins jobs and takes their results; while they run, a triggerer watches them.

What a task returns (XCom) is small and holds no secret: how each job ended, and where its files are.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.triggers.base import StartTriggerArgs
from attrs import fields

from zuora_jobs.checks import number
from zuora_jobs.downloads.downloader import prepared
from zuora_jobs.errors import ConfigurationError, FileGone, WrongContent
from zuora_jobs.integrations.airflow import memory, work
from zuora_jobs.integrations.airflow.errors import accounts_of, as_airflow_has_it, check
from zuora_jobs.integrations.airflow.hooks import ZuoraHook, run
from zuora_jobs.integrations.airflow.triggers import ZuoraJobsTrigger, deadline_in, handles_of, one_or_all
from zuora_jobs.pipelines.ready import export_requests
from zuora_jobs.protocol import wire
from zuora_jobs.protocol.requests import MOST_QUERIES, RunQueries
from zuora_jobs.protocol.submits import submit_kind, submit_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zuora_jobs.integrations.airflow.accounts import Account
    from zuora_jobs.protocol.requests import Query


SHOWN_OF_A_DOCUMENT: Final = 2000
"""Characters in a task's log."""


class _ZuoraOperator(BaseOperator):
    """What all operators have in common: the triggerer watches, and a worker fetches the files and tells the end."""

    template_fields: Sequence[str] = ("zuora_conn_id", "into")
    ui_color = "#e8f4ec"

    def __init__(
        self,
        *,
        zuora_conn_id: str = ZuoraHook.default_conn_name,
        job_timeout: float | timedelta | None = None,
        into: str | None = None,
        cancel_on_kill: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.zuora_conn_id = zuora_conn_id
        self.job_timeout = _seconds(job_timeout)
        self.into = into
        self.cancel_on_kill = cancel_on_kill

    def _watch_in_triggerer(self, handles: str | Sequence[str]) -> None:
        trigger = ZuoraJobsTrigger(
            handles=handles,
            zuora_conn_id=self.zuora_conn_id,
            deadline=deadline_in(self.job_timeout),
            timeout=self.job_timeout,
            cancel_on_kill=self.cancel_on_kill,
        )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=self.execution_timeout)

    def execute_complete(self, context: Any, event: Mapping[str, Any]) -> Any:
        """Give what became of the jobs, with their files fetched."""
        return self._conclude(accounts_of(event), context)

    def _conclude(self, told: list[Account], context: Any) -> Any:
        """Fetch the files of what succeeded, and fail over what did not; before that, what is known is told (XCom)."""
        if len(told) > 1:
            context["ti"].xcom_push(key="accounts", value=told)
        troubles = self._fetch(told) if self.into is not None else []
        if all(account["outcome"] != "lost" for account in told) and all(map(_is_final, troubles)):
            self._have_ended(told, context)
        check(told)
        _check_files(troubles)
        for account in told:
            if account["partial"]:
                self.log.warning(
                    "%s left something out (%s): what, its document says, as %s",
                    account["handle"],
                    account["status"],
                    json.dumps(account["job"])[:SHOWN_OF_A_DOCUMENT],
                )
        return self._result(told)

    def _fetch(self, told: list[Account]) -> list[Exception]:
        wanted = [account["handle"] for account in told if account["outcome"] == "succeeded"]
        with as_airflow_has_it():
            files, troubles = run(work.fetch(ZuoraHook(self.zuora_conn_id).tenant(), wanted, self.into or ""))
        for account in told:
            account["files"] = files.get(account["handle"], [])
        return troubles

    def _check_folder(self) -> None:
        """Find out before anything is begun whether files can be saved; the worker that will may be another, though."""
        if self.into is None:
            return
        if not Path(self.into).is_absolute():
            message = f"into must be an absolute path, which all workers see, not {self.into!r:.60}"
            raise ConfigurationError(message)
        prepared(Path(self.into))

    def _have_ended(self, told: Sequence[Account], context: Any) -> None:
        """Take note that nothing is left of these jobs for another try."""

    def _result(self, told: list[Account]) -> Any:
        return told


class ZuoraWatchOperator(_ZuoraOperator):
    """Watch jobs until they end; `failed` and `cancelled` fail the task for good, `lost` is for its retries.

    Args:
        handles: of a job, such as `aqua:2c92…`, or a list: one task for thousands of jobs is one trigger. (templated)
        zuora_conn_id: the connection. (templated)
        job_timeout: seconds, or a timedelta, after which jobs that have not ended are lost; they are left alone.
        into: a directory that all workers see: the jobs' files are fetched into it, whole. (templated)
        cancel_on_kill: cancel the jobs, where their kind allows, when a user marks the deferred task as failed or as succeeded;
            never because a triggerer or a worker ends, or the task is cleared, which watches the same jobs on.
        start_from_trigger: begin in the triggerer, without a worker. Airflow has that for tasks that are not mapped, and hands
            the whole DAG to each such trigger: for many jobs, rather one task with a list of handles.
        **options: of BaseOperator.

    Returns (XCom):
        For one handle its account: `handle`, `outcome`, `status`, `partial`, `polls`, `elapsed`, `job` (Zuora's document,
        unless it is large), and with `into` also `files`. For a list of handles, a list of these.

    Raises:
        ZuoraJobFailed, ZuoraJobCancelled: the task fails, without retries.
        ZuoraJobLost: the task is tried again as often as it may.
    """

    template_fields: Sequence[str] = ("handles", *_ZuoraOperator.template_fields)

    def __init__(
        self,
        *,
        handles: str | Sequence[str],
        start_from_trigger: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.handles = handles
        self.start_from_trigger = start_from_trigger
        if start_from_trigger:
            classpath, arguments = ZuoraJobsTrigger(
                handles=handles,
                zuora_conn_id=self.zuora_conn_id,
                timeout=self.job_timeout,
                cancel_on_kill=self.cancel_on_kill,
            ).serialize()
            self.start_trigger_args = StartTriggerArgs(
                trigger_cls=classpath, trigger_kwargs=arguments, next_method="execute_complete"
            )

    def execute(self, context: Any) -> Any:  # noqa: ARG002 - Airflow's
        """Hand the jobs over to a triggerer."""
        with as_airflow_has_it():
            handles_of(self.handles)
            self._check_folder()
        self._watch_in_triggerer(self.handles)

    def _result(self, told: list[Account]) -> Any:
        return one_or_all(told, self.handles)


class ZuoraSubmitOperator(_ZuoraOperator):
    """Begin a job, watch it until it ends, and fetch its files; no try of the task submits what an earlier one has.

    Args:
        request: `RunQueries`, `ZipPdfs`, `DeleteInvoice`, `ReverseInvoice`, `ApplyCreditMemo`, `UnapplyCreditMemo`; or with
            `kind`, Zuora's own JSON as a mapping. (templated, if a mapping)
        kind: of the request, where that is a mapping: `aqua`, `bulk-pdf`, `invoice-delete`, …, a name in `SUBMITS`. (templated)
        zuora_conn_id: as for `ZuoraWatchOperator`.
        job_timeout: as there.
        into: as there.
        cancel_on_kill: as there.
        **options: of BaseOperator.

    Returns (XCom):
        The job's account, as `ZuoraWatchOperator` gives it; None where it was done at once, without a job.

    Raises:
        ZuoraJobFailed, ZuoraJobCancelled, ZuoraSubmitUncertain: the task fails, without retries.
        ZuoraJobLost: the task is tried again as often as it may, with the same job.
    """

    template_fields: Sequence[str] = ("request", "kind", *_ZuoraOperator.template_fields)

    def __init__(self, *, request: Any = None, kind: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.request = request
        self.kind = kind

    def execute(self, context: Any) -> Any:
        """Submit, and hand over to a triggerer."""
        with as_airflow_has_it(context):
            self._check_folder()
            submitted, told = run(
                work.submit(
                    ZuoraHook(self.zuora_conn_id).tenant(),
                    self._requests(),
                    context["task_state_store"],
                    context["ti"].max_tries,
                )
            )
        for one in submitted:
            what = str(one.handle) if one.handle is not None else "what Zuora did at once, without a job"
            self.log.info("An earlier try has begun %s" if one.from_journal else "Begun: %s", what)
        if told is not None:
            return self._conclude(told, context)
        return self._watch_in_triggerer([str(one.handle) for one in submitted if one.handle is not None])

    def _requests(self) -> list[Any]:
        if self.kind is None:
            submit_kind(self.request)
            return [self.request]
        return [wire.request_from(submit_row(self.kind).request, self.request)]

    def _have_ended(self, told: Sequence[Account], context: Any) -> None:
        for place in range(max(1, len(told))):
            memory.end(context["task_state_store"], place, context["ti"].max_tries)

    def _result(self, told: list[Account]) -> Any:
        return told[0] if told else None


class ZuoraExportOperator(ZuoraSubmitOperator):
    """Run queries by AQuA and fetch their files, whole and with as many records as Zuora counted.

    Args:
        queries: a mapping of names to texts (templated), or `Query` objects. More than 50 become several jobs.
        into: a directory that all workers see. (templated)
        export_options: of `RunQueries`, such as `{"format": "gzip"}`. (templated)
        zuora_conn_id: as for `ZuoraWatchOperator`.
        job_timeout: as there.
        cancel_on_kill: as there.
        **options: of BaseOperator.

    Returns (XCom):
        A list of files: `path`, `name` (of the query), `size` in bytes, `records`.

    Raises:
        ZuoraJobFailed and so on: as `ZuoraSubmitOperator`.
    """

    template_fields: Sequence[str] = ("queries", "export_options", *_ZuoraOperator.template_fields)

    def __init__(
        self,
        *,
        queries: Mapping[str, str] | Sequence[Query],
        into: str,
        export_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(into=into, **options)
        self.queries = queries
        self.export_options = export_options

    def _requests(self) -> list[Any]:
        if isinstance(self.queries, str):
            message = f"queries must be a mapping of names to texts, or a list of Query, not {self.queries!r:.60}"
            raise ConfigurationError(message)
        options = dict(self.export_options or {})
        if unknown := options.keys() - {field.name for field in fields(RunQueries)}:
            message = f"export_options has {min(unknown)!r:.60}, which RunQueries does not take"
            raise ConfigurationError(message)
        return export_requests(self.queries, MOST_QUERIES, **options)

    def _result(self, told: list[Account]) -> Any:
        return [file for account in told for file in account["files"]]


def _seconds(time: float | timedelta | None) -> float | None:
    if isinstance(time, timedelta):
        time = time.total_seconds()
    return number("job_timeout", time, above=0) if time is not None else None


def _check_files(troubles: Sequence[Exception]) -> None:
    """Raise what files could not be had: for another try, unless that would find the same."""
    if not troubles:
        return
    message = "; ".join(map(str, troubles))
    raise AirflowFailException(message) if all(map(_is_final, troubles)) else AirflowException(message)


def _is_final(trouble: Exception) -> bool:
    return isinstance(trouble, FileGone | WrongContent)
