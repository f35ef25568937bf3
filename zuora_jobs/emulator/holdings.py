"""What one tenant holds, as its owner sees it: jobs, files, invoices, credit memos, and what submits become.

The part of the emulator's public face that fills it; `tenant.py` adds how to reach it, to break it and to look into it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from zuora_jobs.emulator.contents import Shelf
from zuora_jobs.emulator.credit_memos import plausible_memo
from zuora_jobs.emulator.documents import zuora_id
from zuora_jobs.emulator.families import family_named
from zuora_jobs.emulator.invoices import plausible_invoice
from zuora_jobs.emulator.jobs import Job, World
from zuora_jobs.emulator.ledger import Ledger
from zuora_jobs.emulator.lives import Step
from zuora_jobs.emulator.queues import Queues
from zuora_jobs.emulator.scripts import Rule, Scripts, Submission
from zuora_jobs.emulator.stock import Stock
from zuora_jobs.emulator.submits import submit_named
from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from zuora_jobs.emulator.clock import Clock
    from zuora_jobs.emulator.replies import Document
    from zuora_jobs.emulator.store import Store


class Holdings:
    """Jobs, files and documents."""

    def __init__(self, clock: Clock, store: Store, lives: random.Random) -> None:
        self.clock = clock
        self.store = store
        self.lives = lives
        self._stock = Stock()
        self.ledger = Ledger(clock)
        self.queues = Queues(self.ledger)
        self.scripts = Scripts()
        self.shelf = Shelf()
        self.world = World(clock, store, self.ledger.settle, self.ledger.moved)
        self.submitted: list[Submission] = []
        """The submits that were carried out, in order: a job was made for each. What was refused is not among them."""

    @property
    def stock(self) -> Stock:
        """Everything that can be asked for by an id, as it stands now."""
        self.ledger.settle()
        return self._stock

    # ---- jobs and documents ----

    def add_job(
        self,
        kind: str,
        *,
        life: Sequence[Step] | None = None,
        ends: str | None = None,
        seconds: float | None = None,
        polls: int | None = None,
        id: str | None = None,  # noqa: A002 - the vendor's word
        fields: Mapping[str, Any] | None = None,
        cancel_takes: float = 0.0,
        cancel_loses_to: str | None = None,
    ) -> Job:
        """Add a job; its life begins now.

        Args:
            kind: `operation`, `bulk-pdf`, `aqua`, `credit-memo-apply` or `credit-memo-unapply`.
            life: The script, status by status. Without it, one is made of the next three.
            ends: The last status; drawn if not given.
            seconds: How long it takes to get there; drawn if not given.
            polls: How many GETs see it running; instead of *seconds*.
            id: Its id; drawn if not given.
            fields: Laid over its document: objects key by key, lists of objects (`batches`) item by item.
            cancel_takes: Seconds that it goes on executing after a DELETE, before it is cancelled.
            cancel_loses_to: The status in which it ends just before a DELETE arrives, which is then refused.
        """
        family = family_named(kind)
        if life is not None and (ends, seconds, polls) != (None, None, None):
            msg = "a job's life is either given as `life` or made of `ends`, `seconds` and `polls`"
            raise ConfigurationError(msg)
        script = life if life is not None else family.life(self.lives, ends, seconds, polls)
        job_id = zuora_id(self.lives) if id is None else id
        return self.stock.add(
            Job(
                family, job_id, script, self.world,
                fields=fields or {}, cancel_takes=cancel_takes, cancel_loses_to=cancel_loses_to,
            )
        )  # fmt: skip

    def add_jobs(
        self, kind: str, count: int, *, ends: str | None = None, seconds: float | None = None, polls: int | None = None
    ) -> list[Job]:
        """Add *count* jobs; each life is drawn by itself, where *ends*, *seconds* and *polls* leave it open."""
        return [self.add_job(kind, ends=ends, seconds=seconds, polls=polls) for _ in range(count)]

    def add_document(self, kind: str, document: Mapping[str, Any]) -> str:
        """Serve *document* for the id that it bears, which is returned, key for key and for ever.

        Args:
            kind: A kind of job, or `invoice`.
            document: A JSON object, for instance a sample from the vendor's pages.
        """
        id_field = "Id" if kind == "invoice" else family_named(kind).id_field
        if not isinstance(document.get(id_field), str):
            msg = f"the document of the kind {kind!r} must have a text as {id_field!r}"
            raise ConfigurationError(msg)
        verbatim, document_id = dict(document), str(document[id_field])
        if kind == "invoice":
            self.stock.add_invoice(verbatim)
            return document_id
        life = [Step(str(document.get("status")))]
        self.stock.add(Job(family_named(kind), document_id, life, self.world, fields=verbatim, verbatim=verbatim))
        return document_id

    def add_invoice(self, id: str | None = None, **fields: Any) -> str:  # noqa: A002 - any JSON value goes
        """Add an invoice and return its id.

        The fields bear the vendor's capitalised names, custom ones included; a Decimal is served digit for digit.
        """
        invoice_id = fields.get("Id") or id or zuora_id(self.lives)
        invoice = plausible_invoice(invoice_id, random.Random(invoice_id), self.clock.wall(self.clock.now()))  # noqa: S311
        self.stock.add_invoice({**invoice, **fields})
        return str(invoice_id)

    def remove_invoice(self, invoice_id: str) -> None:
        """Delete an invoice, as a finished operation job does: it is not found from now on."""
        self.stock.remove_invoice(invoice_id)

    def invoice(self, key: str) -> Document | None:
        """The invoice with that id or number as it stands now, by the CRUD call's names; None if there is none."""
        return self.stock.invoice(key)

    def add_credit_memo(self, id: str | None = None, **fields: Any) -> str:  # noqa: A002 - any JSON value goes
        """Add a credit memo and return its id.

        The fields bear the names of `GET /v1/credit-memos/{key}`; a Decimal is served digit for digit. Of `amount`,
        `appliedAmount` and `refundAmount` the `unappliedAmount` is what is left, unless it is given.
        """
        memo_id = str(fields.get("id") or id or self.new_id())
        moment, rng = self.clock.wall(self.clock.now()), random.Random(memo_id)  # noqa: S311 - plausible, not secret
        self.stock.credit_memos[memo_id] = plausible_memo(memo_id, rng, moment, fields)
        return memo_id

    def credit_memo(self, key: str) -> Document | None:
        """The credit memo with that id or number as it stands now; None if there is none."""
        return self.stock.credit_memo(key)

    @property
    def jobs(self) -> list[Job]:
        """Every job, in the order they were added."""
        return list(self.stock.jobs.values())

    def job(self, handle: str) -> Job:
        """The job with that handle, `kind:id`."""
        kind, _, job_id = handle.partition(":")
        return self.stock.jobs[kind, job_id]

    # ---- submits and files ----

    def on_submit(
        self,
        name: str,
        *,
        life: Sequence[Step] | None = None,
        ends: str | None = None,
        seconds: float | None = None,
        polls: int | None = None,
        at_once: bool = False,
        fields: Mapping[str, Any] | None = None,
        times: int | None = None,
    ) -> None:
        """Say what the next submits of one name become. Without a word they end as they should, some time.

        Args:
            name: `aqua`, `bulk-pdf`, `invoice-delete`, `invoice-reverse`, `credit-memo-apply`, `credit-memo-unapply`.
            life: The script, status by status. Without it, one is made of the next three.
            ends: The last status; the one of success if not given.
            seconds: How long it takes to get there; drawn if not given.
            polls: How many GETs see it running; instead of *seconds*.
            at_once: The job has ended in the very answer to the submit, as it does for small documents.
            fields: Laid over the job's document, as those of `add_job`.
            times: For so many submits, one after another before any rule for all; None: for all, in place of what was
                said before.
        """
        rule = Rule(life, ends, seconds, polls, at_once, fields or {}, times)
        self.scripts.add(submit_named(name).name, rule)

    def set_file(self, file: str | Job, content: bytes | str | Path, number: int = 1) -> None:
        """Serve exactly *content* in place of what a result file would hold.

        Args:
            file: The id of an AQuA file or segment; or a job, or its handle, of which the file of that *number* is meant.
            content: Bytes; text, as UTF-8; or the path of a file, which is read piece by piece as it is sent.
            number: Of a bulk PDF job's archive, or of an AQuA job's file; from 1.
        """
        names = self._places_of(file)
        if not 1 <= number <= len(names):
            msg = f"there is no file number {number!r} among the {len(names)} of {file}"
            raise ConfigurationError(msg)
        self.shelf.put(names[number - 1], content, self.clock.wall(self.clock.now()))

    def purge_files(self, file: str | Job) -> None:
        """Have a result file no more, or all files of a job: *file* is as for `set_file`. The job goes on naming them."""
        for name in self._places_of(file):
            self.shelf.purge(name)

    def _places_of(self, file: str | Job) -> list[str]:
        """Where on the shelf a file is, or the files of a job."""
        if isinstance(file, Job):
            return file.places
        if self.stock.knows_file(file):
            return [file]
        kind, _, job_id = file.partition(":")
        if (kind, job_id) not in self.stock.jobs:
            msg = f"there is neither a job {file} nor a result file of that id"
            raise ConfigurationError(msg)
        return self.job(file).places

    def new_id(self) -> str:
        """An id for something new."""
        return zuora_id(self.lives)
