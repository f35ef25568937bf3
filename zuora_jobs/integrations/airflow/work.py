"""What a worker does for a task, by a client of its own: submits its requests, and fetches its files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from zuora_jobs.client import ZuoraClient
from zuora_jobs.downloads import Downloader
from zuora_jobs.integrations.airflow.accounts import accounts
from zuora_jobs.integrations.airflow.memory import TaskRecord
from zuora_jobs.protocol.kinds import JobHandle
from zuora_jobs.transport.retry import Patience
from zuora_jobs.watching.outcome import ended_at_once, outcome_of
from zuora_jobs.watching.submitter import Submitter
from zuora_jobs.watching.watcher import CONTACT_TIMEOUT, MALFORMED_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zuora_jobs.downloads import Downloaded
    from zuora_jobs.integrations.airflow.accounts import Account
    from zuora_jobs.integrations.airflow.connections import Tenant
    from zuora_jobs.integrations.airflow.memory import Store
    from zuora_jobs.protocol.submits import Submitted
    from zuora_jobs.watching.outcome import Outcome

PATIENCE = Patience(again=CONTACT_TIMEOUT, throttled=None, briefly=MALFORMED_TIMEOUT)
"""As a watcher's."""


async def ended(client: ZuoraClient, handle: JobHandle[Any]) -> Outcome[Any] | None:
    """Look at a job once, and tell how it has ended; None: it has not.

    Raises:
        ZuoraJobsError: as `ZuoraClient.job`.
    """
    return outcome_of(handle, await client.job(handle), polls=1, elapsed=0.0)


async def submit(
    tenant: Tenant, requests: Iterable[Any], store: Store, tries: int
) -> tuple[list[Submitted[Any]], list[Account] | None]:
    """Submit *requests*, one after another, but for those that an earlier try of the task has submitted.

    Returns:
        What became of each; and how their jobs ended, if all have ended already: an earlier try may have been a while ago.

    Raises:
        SubmitUncertain: of one it is not known whether Zuora has begun it; says how to find out.
        ZuoraJobsError: one was not begun. Those before it are remembered.
    """
    submitted: list[Submitted[Any]] = []
    async with ZuoraClient(tenant.settings, tenant.budget) as client:
        for number, request in enumerate(requests):
            record = TaskRecord(store, number, tries, partial(ended, client), client.secrets)
            submitter = Submitter(client, record, PATIENCE)
            submitted.append(await submitter.submit(request, again=False, idempotency_key=None, note=None))
        outcomes: list[Outcome[Any]] = []
        for one in submitted:
            outcome: Outcome[Any] | None = ended_at_once(one)
            if outcome is None and one.from_journal and one.handle is not None:
                outcome = await ended(client, one.handle)
            if outcome is None and one.handle is not None:
                return submitted, None
            outcomes += [outcome] if outcome is not None else []
        return submitted, accounts(outcomes, client.secrets)


async def fetch(tenant: Tenant, handles: Iterable[str], into: str) -> tuple[dict[str, list[dict[str, Any]]], list[Any]]:
    """Fetch all files of some jobs into a directory; one that is there already is not fetched again.

    Returns:
        For each handle its files as small values, and what could not be had.

    Raises:
        ZuoraJobsError: a job could not be asked about its files, or the directory cannot be used.
    """
    files: dict[str, list[dict[str, Any]]] = {}
    troubles: list[Any] = []
    async with ZuoraClient(tenant.settings, tenant.budget) as client, Downloader(client, into) as downloader:
        for handle in handles:
            results = await downloader.files_of(JobHandle.parse(handle))
            troubles += [result for result in results if isinstance(result, Exception)]
            files[handle] = [_file(result) for result in results if not isinstance(result, Exception)]
    return files, troubles


def _file(saved: Downloaded) -> dict[str, Any]:
    return {"path": str(saved.path), "name": saved.file.name, "size": saved.size, "records": saved.records}
