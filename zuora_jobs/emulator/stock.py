"""What the tenant holds: jobs by kind and id, invoices and credit memos by id, result files by the job they come from."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zuora_jobs.emulator.files import files_of
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
        self.credit_memos: dict[str, Document] = {}
        self.removed: set[str] = set()
        """The ids of invoices that are gone."""
        self._files: dict[str, Job] = {}

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Forget whatever is added in the block, should it fail."""
        before = dict(self.jobs), dict(self.invoices), dict(self.credit_memos), dict(self._files)
        try:
            yield
        except BaseException:
            self.jobs, self.invoices, self.credit_memos, self._files = before
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

    def of_family(self, family: Family) -> list[Job]:
        """The jobs of that family, in the order they were added."""
        return [job for job in self.jobs.values() if job.family is family]

    def invoice(self, key: str) -> Document | None:
        """The invoice with that id or number, if there is one."""
        return _find(self.invoices, key, "InvoiceNumber")

    def credit_memo(self, key: str) -> Document | None:
        """The credit memo with that id or number, if there is one."""
        return _find(self.credit_memos, key, "number")

    def add_invoice(self, invoice: Document) -> None:
        """Take in an invoice; one with the same id is replaced."""
        self.invoices[invoice["Id"]] = invoice
        self.removed.discard(invoice["Id"])

    def remove_invoice(self, invoice_id: str) -> None:
        """Have no such invoice any more."""
        self.invoices.pop(invoice_id, None)
        self.removed.add(invoice_id)

    def knows_file(self, file_id: str) -> bool:
        """Whether a job has, or may come to have, a result file of that id."""
        return file_id in self._files

    def file(self, file_id: str) -> tuple[Job, Mapping[str, Any], str] | None:
        """The job, the batch and the format of a result file, if it exists by now."""
        job = self._files.get(file_id)
        if job is None:
            return None
        document = job.document()
        batch = next((batch for batch in document.get("batches", []) if file_id in files_of(batch)), None)
        return None if batch is None else (job, batch, document.get("format", "CSV"))


def _find(documents: Mapping[str, Document], key: str, number: str) -> Document | None:
    if key in documents:
        return documents[key]
    return next((document for document in documents.values() if document.get(number) == key), None)
