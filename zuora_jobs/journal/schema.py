"""The tables of a journal, and how a journal of an older version becomes one of today's.

Each step makes one version out of the one before; a new journal goes through all of them. A step that has been released
never changes: what is to be different is a further step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zuora_jobs.errors import CorruptJournal, NewerJournal

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

APPLICATION_ID: Final = 0x5A4A4F42
"""`ZJOB`, in the file's header: it tells a journal from any other SQLite database."""

_STEPS: Final = (
    # moments are seconds since 1970, UTC
    """
    CREATE TABLE jobs (
        row INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        accepted REAL NOT NULL,
        status TEXT,
        polls INTEGER NOT NULL DEFAULT 0,
        ended REAL,
        outcome TEXT,
        partial INTEGER NOT NULL DEFAULT 0,
        document TEXT,
        reasons TEXT,
        error TEXT,
        acknowledged REAL,
        UNIQUE (kind, id)
    );
    CREATE TABLE changes (job INTEGER NOT NULL, at REAL NOT NULL, status TEXT NOT NULL, phase TEXT);
    """,
    """
    CREATE TABLE runs (
        row INTEGER PRIMARY KEY,
        began REAL NOT NULL,
        ended REAL,
        rate REAL NOT NULL,
        concurrency INTEGER NOT NULL,
        tenant TEXT
    );
    CREATE TABLE minutes (
        began REAL PRIMARY KEY,
        requests INTEGER NOT NULL,
        refused INTEGER NOT NULL,
        held REAL NOT NULL,
        allowed REAL NOT NULL
    );
    CREATE TABLE files (job INTEGER NOT NULL, at REAL NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL);
    """,
    """
    CREATE TABLE submits (
        row INTEGER PRIMARY KEY,
        request TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        idempotency_key TEXT,
        intended REAL NOT NULL,
        settled REAL,
        kind TEXT,
        id TEXT,
        answer TEXT,
        note TEXT
    );
    """,
)

VERSION: Final = len(_STEPS)


def check(database: sqlite3.Connection, path: Path) -> int:
    """Make sure that *database* is a journal, or empty, and that this program can read it.

    Returns:
        Its version; 0: it is empty.

    Raises:
        NewerJournal: a later version of this program wrote it.
        CorruptJournal: it is some other database.
    """
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    application: int = database.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        if application or version or database.execute("SELECT 1 FROM sqlite_master").fetchone():
            message = f"{path} is an SQLite database, but not a journal of zuora-jobs; name another file"
            raise CorruptJournal(message)
        return 0
    if version < 1:
        message = f"the journal {path} is damaged (version {version}): move it away, and begin a new one"
        raise CorruptJournal(message)
    if version > VERSION:
        message = (
            f"the journal {path} has version {version}, and this zuora-jobs knows versions up to {VERSION}:"
            " use the newer zuora-jobs that wrote it"
        )
        raise NewerJournal(message, version=version)
    return version


def migrate(database: sqlite3.Connection, version: int) -> None:
    """Make a journal of today's version out of one of *version*, whole or not at all.

    One of today's is written to as well: so it is known from the beginning that it can be.
    """
    database.execute("BEGIN IMMEDIATE")
    try:
        for step in _STEPS[version:]:
            for statement in step.split(";"):
                database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {VERSION}")
        database.execute("COMMIT")
    except BaseException:
        database.rollback()
        raise
