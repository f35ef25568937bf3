"""Reads a journal without touching it: also one that is being written, or that an older version wrote."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zuora_jobs.errors import CorruptJournal, JournalError, Reason
from zuora_jobs.journal import files, schema
from zuora_jobs.journal.history import Change, History, JobRecord, Minute, Run, SavedFile

if TYPE_CHECKING:
    import os
    import sqlite3


def read_history(path: str | os.PathLike[str]) -> History:
    """Read all that the journal at *path* tells.

    Raises:
        NewerJournal: a later version of this package wrote it.
        CorruptJournal: it is damaged, or no journal.
        JournalError: it is not there, or cannot be read.
    """
    whole = files.resolved(path)
    if not whole.exists():
        message = f"there is no journal {whole}: `zuora-jobs watch … --journal {whole.name}` writes one"
        raise JournalError(message)
    with files.told(whole, "read"), closing(files.copy(whole)) as database:
        version = schema.check(database, whole)
        if not version:
            message = f"{whole} is empty: no journal has been written to it yet"
            raise CorruptJournal(message)
        schema.migrate(database, version)
        return History(jobs=_jobs(database), minutes=_minutes(database), runs=_runs(database))


def _jobs(database: sqlite3.Connection) -> tuple[JobRecord, ...]:
    changes, saved = defaultdict(list), defaultdict(list)
    for job, at, status, phase in database.execute("SELECT job, at, status, phase FROM changes ORDER BY rowid"):
        changes[job].append(Change(at=_moment(at), status=status, phase=phase))
    for job, at, path, size in database.execute("SELECT job, at, path, size FROM files ORDER BY rowid"):
        saved[job].append(SavedFile(at=_moment(at), path=path, size=size))
    query = (
        "SELECT row, kind, id, accepted, polls, ended, outcome, partial, reasons, error, acknowledged"
        " FROM jobs ORDER BY row"
    )
    return tuple(
        JobRecord(
            kind=kind,
            id=identifier,
            accepted=_moment(accepted),
            changes=tuple(changes[row]),
            polls=polls,
            ended=_moment(ended) if ended is not None else None,
            outcome=outcome,
            partial=bool(partial),
            reasons=tuple(Reason(code, message) for code, message in _pairs(reasons)),
            error=next(iter(_pairs(error)), None),
            acknowledged=acknowledged is not None,
            files=tuple(saved[row]),
        )
        for row, kind, identifier, accepted, polls, ended, outcome, partial, reasons, error, acknowledged in (
            database.execute(query)
        )
    )


def _minutes(database: sqlite3.Connection) -> tuple[Minute, ...]:
    query = "SELECT began, requests, refused, held, allowed FROM minutes ORDER BY began"
    return tuple(
        Minute(began=_moment(began), requests=requests, refused=refused, held_seconds=held, allowed=allowed)
        for began, requests, refused, held, allowed in database.execute(query)
    )


def _runs(database: sqlite3.Connection) -> tuple[Run, ...]:
    query = "SELECT began, ended, rate, concurrency FROM runs ORDER BY row"
    return tuple(
        Run(
            began=_moment(began),
            ended=_moment(ended) if ended is not None else None,
            rate=rate,
            concurrency=concurrency,
        )
        for began, ended, rate, concurrency in database.execute(query)
    )


def _pairs(text: str | None) -> list[tuple[Any, Any]]:
    return [(one, other) for one, other in json.loads(text)] if text else []


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
