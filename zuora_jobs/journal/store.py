"""A journal's database, opened for writing: takes batches of entries, each written whole or not at all.

Nothing here knows of threads or loops: whoever calls may wait for the disk.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from zuora_jobs.errors import MalformedResponse
from zuora_jobs.journal import documents, files, schema, submits
from zuora_jobs.journal.entries import (
    NEW,
    Accepted,
    Acknowledged,
    Began,
    Ended,
    Entry,
    Intended,
    Intent,
    Left,
    Past,
    Saved,
    Seen,
    Settled,
    Spent,
    Stopped,
    Withdrawn,
)
from zuora_jobs.logs import about
from zuora_jobs.protocol.kinds import KINDS, JobHandle
from zuora_jobs.watching.outcome import Failed, Lost, Outcome, Succeeded, outcome_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

log = logging.getLogger("zuora_jobs")

LARGEST_SIZE = 2**63 - 1
"""Bytes of a file, as SQLite counts."""

_JOBS_LEARNED_FROM: Final = 5_000
"""The last so many jobs say how long others will take; more would say no more, and take time to read."""

_ROW = "SELECT row FROM jobs WHERE kind = ? AND id = ?"

_KNOWN = (
    "SELECT row, accepted, status, polls, ended, document, outcome, acknowledged FROM jobs WHERE kind = ? AND id = ?"
)

_OPEN_AGAIN = (
    "UPDATE jobs SET ended = NULL, outcome = NULL, error = NULL, acknowledged = NULL WHERE row = ? AND ended NOT NULL"
)

_TO_RESUME = "SELECT kind, id FROM jobs WHERE ended IS NULL OR outcome = 'lost' OR acknowledged IS NULL ORDER BY row"

_STAYS = (
    "SELECT kind, status, until - at FROM ("
    " SELECT jobs.kind, changes.status, changes.phase, changes.at,"
    " lead(changes.at, 1, ended) OVER (PARTITION BY job ORDER BY changes.rowid) AS until"
    " FROM changes JOIN jobs ON jobs.row = changes.job"
    " WHERE jobs.row > (SELECT max(row) FROM jobs) - ? AND coalesce(outcome, '') != 'lost')"
    " WHERE until >= at AND phase IN ('pending', 'running')"
)


class Store:
    """The database at *path*, and the lock on it.

    Raises:
        JournalInUse, NewerJournal, CorruptJournal, JournalError: why it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[JobHandle[Any], int] = {}
        """Of the jobs that are watched."""
        self.tenant: str | None = None
        """Whose jobs it has; None: nobody's yet, or an emulator's."""
        self._run: int | None = None
        self._put: dict[type[Entry], Callable[[Any], Past | None]] = {
            Accepted: self._accepted,
            Seen: self._seen,
            Left: self._left,
            Ended: self._ended,
            Acknowledged: self._acknowledged,
            Saved: self._saved,
            Began: self._began,
            Stopped: self._stopped,
            Spent: self._spent,
            Intended: lambda entry: submits.intended(self._database, entry),
            Settled: lambda entry: submits.settled(self._database, entry),
            Withdrawn: lambda entry: submits.withdrawn(self._database, entry),
        }
        with files.told(path, "lock"):
            is_new = files.is_locked_for_the_first_time(path)
        self._lock = files.lock(path)
        try:
            self._database = self._opened()
        except BaseException:
            if is_new:
                files.forget_lock(path)
            self._lock.close()
            raise
        self._identity = files.identity(path)

    def _opened(self) -> sqlite3.Connection:
        with files.told(self.path, "open"):
            database = files.connect(self.path)
        try:
            with files.told(self.path, "write"):
                version = schema.check(database, self.path)
                files.make_durable(database)
                schema.migrate(database, version)
                for (tenant,) in database.execute("SELECT tenant FROM runs WHERE tenant NOT NULL LIMIT 1"):
                    self.tenant = tenant
        except BaseException:
            database.close()
            raise
        return database

    def write(self, entries: Sequence[Entry]) -> list[Past | None]:
        """Write *entries*, in their order, and come back when they are on the disk.

        Returns:
            For each what was known of its job, where it asks: None for all but `Accepted`.

        Raises:
            JournalError: none of them was written.
        """
        with files.told(self.path, "write"):
            if files.identity(self.path) != self._identity:
                raise files.taken_away(self.path)
            self._database.execute("BEGIN IMMEDIATE")
            try:
                answers = [self._put[type(entry)](entry) for entry in entries]
                self._database.execute("COMMIT")
            except BaseException:
                self._database.rollback()
                raise
        return answers

    def to_resume(self) -> list[JobHandle[Any]]:
        """Give the jobs that had not ended, were lost, or whose ends nobody has acknowledged."""
        with files.told(self.path, "read"):
            rows = self._database.execute(_TO_RESUME).fetchall()
        strangers = Counter(kind for kind, _ in rows if kind not in KINDS)
        for kind, number in strangers.items():
            log.error(
                "%s: %d of its jobs are of the kind %r, which this program does not know: go on with them in the one"
                " that does, or enter the kind in KINDS first",
                self.path,
                number,
                kind,
                extra=about(path=str(self.path), kind=kind),
            )
        return [KINDS[kind].handle(identifier) for kind, identifier in rows if kind in KINDS]

    def open_since(self) -> dict[tuple[str, str], float]:
        """Give when each job that has not ended was accepted, by kind and id."""
        with files.told(self.path, "read"):
            query = "SELECT kind, id, accepted FROM jobs WHERE ended IS NULL OR outcome = 'lost'"
            return {(kind, identifier): at for kind, identifier, at in self._database.execute(query)}

    def outcomes(self) -> dict[str, int]:
        """Count the jobs that have ended, by outcome."""
        with files.told(self.path, "read"):
            return dict(self._database.execute("SELECT outcome, count(*) FROM jobs WHERE ended NOT NULL GROUP BY 1"))

    def durations(self) -> dict[str, list[float]]:
        """Give for each kind how many seconds its jobs took, in ascending order; without those that were lost."""
        query = (
            "SELECT kind, ended - accepted AS seconds FROM jobs"
            " WHERE outcome IN ('succeeded', 'failed', 'cancelled') ORDER BY seconds"
        )
        found: dict[str, list[float]] = {}
        with files.told(self.path, "read"):
            for kind, seconds in self._database.execute(query):
                found.setdefault(kind, []).append(seconds)
        return found

    def stays(self) -> list[tuple[str, str, float]]:
        """Give kinds, statuses, and for how many seconds a job had one until it had another, or ended."""
        with files.told(self.path, "read"):
            return self._database.execute(_STAYS, (_JOBS_LEARNED_FROM,)).fetchall()

    def intent(self, request: str, now: float) -> Intent | None:
        """Give what is known of a request that was submitted, or was about to be."""
        with files.told(self.path, "read"):
            return submits.known(self._database, request, now)

    def close(self) -> None:
        """Close the database, and let others write to it."""
        try:
            with files.told(self.path, "close"):
                self._database.close()
        finally:
            self._lock.close()

    # --- one entry each

    def _accepted(self, entry: Accepted) -> Past:
        handle = entry.handle
        found = self._database.execute(_KNOWN, (handle.kind.name, handle.id)).fetchone()
        if found is None:
            made = self._database.execute(
                "INSERT INTO jobs (kind, id, accepted) VALUES (?, ?, ?)", (handle.kind.name, handle.id, entry.at)
            )
            self._rows[handle] = made.lastrowid or 0
            return NEW
        self._rows[handle] = row = found[0]
        with files.told(self.path, "read"):
            past = self._past(handle, entry.at, found)
        if past.outcome is None:  # it goes on, or is watched again
            self._database.execute(_OPEN_AGAIN, (row,))
        return past

    def _past(self, handle: JobHandle[Any], now: float, found: tuple[Any, ...]) -> Past:
        _, accepted, status, polls, ended, document, outcome, acknowledged = found
        end = None
        if ended is not None and outcome != Lost.name:
            end = self._end(handle, document or "", polls, max(0.0, ended - accepted))
        return Past(
            age=max(0.0, now - accepted),
            polls=int(polls),
            status=status,
            outcome=end,
            acknowledged=acknowledged is not None,
        )

    def _seen(self, entry: Seen) -> None:
        row, status = self._row(entry.handle), documents.clean(entry.status, entry.secrets)
        known = status if status == entry.status else None  # what it is compared with is not cleaned
        self._database.execute("UPDATE jobs SET status = ?, polls = ? WHERE row = ?", (known, entry.polls, row))
        self._database.execute("INSERT INTO changes VALUES (?, ?, ?, ?)", (row, entry.at, status, entry.phase))

    def _left(self, entry: Left) -> None:
        self._database.execute("UPDATE jobs SET polls = ? WHERE row = ?", (entry.polls, self._row(entry.handle)))
        self._rows.pop(entry.handle, None)

    def _ended(self, entry: Ended) -> None:
        outcome = entry.outcome
        reasons = outcome.reasons if isinstance(outcome, Failed) else ()
        self._database.execute(
            "UPDATE jobs SET polls = ?, ended = ?, outcome = ?, partial = ?, document = ?, reasons = ?, error = ?"
            " WHERE row = ? AND ended IS NULL",
            (
                outcome.polls,
                entry.at,
                outcome.name,
                isinstance(outcome, Succeeded) and outcome.partial,
                documents.to_text(outcome.job, entry.secrets) if outcome.job is not None else None,
                _texts([(reason.code, reason.message) for reason in reasons], entry.secrets),
                _texts([(type(outcome.error).__name__, str(outcome.error))], entry.secrets)
                if isinstance(outcome, Lost)
                else None,
                self._row(outcome.handle),
            ),
        )
        self._rows.pop(outcome.handle, None)

    def _acknowledged(self, entry: Acknowledged) -> None:
        self._database.execute(
            "UPDATE jobs SET acknowledged = ? WHERE kind = ? AND id = ? AND ended NOT NULL",
            (entry.at, entry.handle.kind.name, entry.handle.id),
        )

    def _saved(self, entry: Saved) -> None:
        handle = entry.handle
        self._database.execute(
            "INSERT INTO files SELECT row, ?, ?, ? FROM jobs WHERE kind = ? AND id = ?",
            (entry.at, documents.clean(entry.path), min(entry.size, LARGEST_SIZE), handle.kind.name, handle.id),
        )

    def _began(self, entry: Began) -> None:
        made = self._database.execute(
            "INSERT INTO runs (began, rate, concurrency, tenant) VALUES (?, ?, ?, ?)",
            (entry.at, entry.rate, entry.concurrency, entry.tenant),
        )
        self._run = made.lastrowid

    def _stopped(self, entry: Stopped) -> None:
        self._database.execute("UPDATE runs SET ended = ? WHERE row = ?", (entry.at, self._run))

    def _spent(self, entry: Spent) -> None:
        minute = entry.at // 60 * 60
        self._database.execute(
            "INSERT INTO minutes VALUES (?, ?, ?, ?, ?) ON CONFLICT (began) DO UPDATE SET"
            " requests = requests + excluded.requests, refused = refused + excluded.refused,"
            " held = held + excluded.held, allowed = max(allowed, excluded.allowed)",
            (minute, entry.requests, entry.refused, entry.held_seconds, 60 * entry.rate),
        )

    def _row(self, handle: JobHandle[Any]) -> int:
        row = self._rows.get(handle)
        if row is None:
            row = self._database.execute(_ROW, (handle.kind.name, handle.id)).fetchone()[0]
        return row

    def _end(self, handle: JobHandle[Any], document: str, polls: int, elapsed: float) -> Outcome[Any] | None:
        """Give the outcome that was written; None where it says nothing to this program, and the job is asked again."""
        try:
            job = documents.from_text(document, handle.kind.model)
        except MalformedResponse as error:
            log.warning(
                "%s: what it has of %s cannot be read, so the job is watched again: %s",
                self.path,
                handle,
                error,
                extra=about(handle, error=error, path=str(self.path)),
            )
            return None
        return outcome_of(handle, job, polls=polls, elapsed=elapsed)


def _texts(pairs: Sequence[tuple[str | None, str | None]], secrets: tuple[str, ...]) -> str | None:
    if not pairs:
        return None
    return json.dumps([[documents.clean(text, secrets) if text else None for text in pair] for pair in pairs])
