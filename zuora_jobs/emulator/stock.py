"""What the tenant holds: jobs by kind and id, invoices by id, result files by the job they come from."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zuora_jobs.emulator.families import Family
    from zuora_jobs.emulator.jobs import Job
    from zuora_jobs.emulator.replies import Document


class Stock:
    """Everything that can be asked for by an id."""

    def __init__(self) -> None:
        self.jobs: dict[tuple[str, str], Job] = {}
        self.invoices: dict[str, Document] = {}
        self._files: dict[str, Job] = {}

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Forget whatever is added in the block, should it fail."""
        before = dict(self.jobs), dict(self.invoices), dict(self._files)
        try:
            yield
        except BaseException:
            self.jobs, self.invoices, self._files = before
            raise

    def add(self, job: Job) -> Job:
        """Take in a job, and the files that it may come to have."""
        if (job.kind, job.id) in self.jobs:
            msg = f"there is already a job {job.handle}"
            raise ConfigurationError(msg)
        self.jobs[job.kind, job.id] = job
        self._files.update(dict.fromkeys(job.file_ids, job))
        return job

    def job(self, family: Family, job_id: str) -> Job | None:
        """The job of that family and id, if there is one."""
        return self.jobs.get((family.name, job_id))

    def file(self, file_id: str) -> tuple[Job, Mapping[str, Any], str] | None:
        """The job, the batch and the format of a result file, if it exists by now."""
        job = self._files.get(file_id)
        if job is None:
            return None
        document = job.document()
        batch = next((batch for batch in document.get("batches", []) if batch.get("fileId") == file_id), None)
        return None if batch is None else (job, batch, document.get("format", "CSV"))
