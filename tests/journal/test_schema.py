"""Which databases are journals, and how an old one becomes one of today's."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from zuora_jobs import CorruptJournal, NewerJournal
from zuora_jobs.journal.schema import APPLICATION_ID, VERSION, check, migrate
from zuora_jobs.journal.store import Store

PATH = Path("/somewhere/run.db")


def in_memory(*statements):
    database = sqlite3.connect(":memory:", isolation_level=None)
    for statement in statements:
        database.execute(statement)
    return database


def tables(database):
    return database.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_an_empty_database_has_no_version():
    with closing(in_memory()) as database:
        assert check(database, PATH) == 0


def test_a_new_journal_has_todays_version():
    with closing(in_memory()) as database:
        migrate(database, 0)
        assert check(database, PATH) == VERSION
        assert {name for _, name, _ in tables(database)} >= {"jobs", "changes", "runs", "minutes", "files"}


def test_a_journal_of_today_stays_as_it_is():
    with closing(in_memory()) as database:
        migrate(database, 0)
        changes = database.total_changes
        migrate(database, VERSION)
        assert database.total_changes == changes


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE accounts (id)"],
        ["PRAGMA user_version = 7"],
        ["PRAGMA application_id = 252006674"],
        ["PRAGMA application_id = 252006674", "PRAGMA user_version = 1", "CREATE TABLE jobs (id)"],
        ["CREATE VIEW v AS SELECT 1"],
    ],
)
def test_another_programs_database_is_no_journal(statements):
    with closing(in_memory(*statements)) as database:
        with pytest.raises(CorruptJournal, match=r"/somewhere/run\.db .*not a journal.*name another file"):
            check(database, PATH)


def test_a_journal_of_a_later_version_is_refused_with_its_version():
    with closing(in_memory(f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = 99")) as database:
        with pytest.raises(NewerJournal, match=r"version 99.*use the newer zuora-jobs") as caught:
            check(database, PATH)
    assert caught.value.version == 99


def test_version_1_becomes_just_like_a_new_one(version_1, tmp_path):
    Store(version_1).close()
    Store(tmp_path / "new.db").close()
    with closing(sqlite3.connect(version_1)) as old, closing(sqlite3.connect(tmp_path / "new.db")) as new:
        assert tables(old) == tables(new)
        assert old.execute("PRAGMA user_version").fetchone() == new.execute("PRAGMA user_version").fetchone()


@pytest.mark.parametrize("fails_at", range(12))
def test_a_migration_is_whole_or_not_at_all(fails_at, version_1):
    calls = 0

    def one_step_fails(action, *_):
        nonlocal calls
        if action in {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_PRAGMA}:
            calls += 1
            return sqlite3.SQLITE_DENY if calls == fails_at + 1 else sqlite3.SQLITE_OK
        return sqlite3.SQLITE_OK

    with closing(sqlite3.connect(version_1, isolation_level=None)) as database:
        before = tables(database)
        database.set_authorizer(one_step_fails)
        try:
            migrate(database, 1)
            done = True
        except sqlite3.DatabaseError:
            done = False
        database.set_authorizer(None)
        assert check(database, version_1) == (VERSION if done else 1)
        assert (tables(database) == before) != done
        assert not database.in_transaction
