"""A disk that says no: everybody is told, in a sentence; what was told is on it, and what is on it stays."""

import asyncio
import os
import re
import resource
import sqlite3
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from zuora_jobs import (
    AQUA,
    OPERATION,
    AquaJob,
    CorruptJournal,
    Finished,
    Journal,
    JournalError,
    Succeeded,
    WatcherClosed,
)
from zuora_jobs.journal import files
from zuora_jobs.journal.entries import Accepted, Acknowledged, Began, Ended, Left, Saved, Seen, Spent
from zuora_jobs.journal.reading import read_history
from zuora_jobs.journal.store import Store

T0 = 1_790_000_000.0
A, B = AQUA.handle("a"), AQUA.handle("b")
DONE = Succeeded(handle=A, job=AquaJob(status="completed"), polls=2, elapsed=1.0)
KINDS_OF_TROUBLE = {
    "full": ("database or disk is full", sqlite3.SQLITE_FULL, "make room, and run the same again"),
    "broken": ("disk I/O error", sqlite3.SQLITE_IOERR, "what it has stays"),
    "read-only": ("attempt to write a readonly database", sqlite3.SQLITE_READONLY, "that this user may write"),
    "locked": ("database is locked", sqlite3.SQLITE_BUSY, "another program has locked it"),
}


# --- the store


def error_of(act: Any, *arguments: Any) -> Exception | None:
    try:
        act(*arguments)
    except JournalError as error:
        return error
    return None


BATCH: list[Any] = [
    Began(T0, 1.0, 1),
    Accepted(A, T0),
    Seen(A, T0, "executing", "running", 1),
    Left(A, 1),
    Accepted(A, T0),
]
BATCH += [
    Ended(DONE, T0 + 1),
    Acknowledged(A, T0 + 2),
    Saved(A, T0, "/x", 1),
    Spent(T0, 1, 0, 0.0, 1.0),
    Accepted(B, T0),
]


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("trouble", KINDS_OF_TROUBLE)
def test_wherever_it_strikes_a_batch_is_written_whole_or_not_at_all(trouble, once, path, faults):
    faults.message, faults.code, advice = KINDS_OF_TROUBLE[trouble]
    faults.once = once
    written = 0
    for after in range(40):
        at = path.with_name(f"{after}.db")
        store = Store(at)
        store.write([Accepted(B, T0 - 1)])
        before = read_history(at)
        faults.after, faults.calls, faults.struck = after, 0, 0
        error = error_of(store.write, BATCH)
        faults.after = None
        assert (error is not None) == bool(faults.struck)
        if error is None:
            written += 1
        else:
            assert type(error) is JournalError
            assert re.match(rf"cannot write the journal {at}: {faults.message}.*{advice}", str(error))
        history = read_history(at)
        store.close()
        assert (history == before) == bool(faults.struck)
        reopened = Store(at)
        assert read_history(at) == history
        reopened.write(BATCH)
        reopened.close()
    assert 0 < written < 39


@pytest.mark.parametrize("trouble", KINDS_OF_TROUBLE)
def test_wherever_it_strikes_while_it_is_opened_nothing_stays_locked(trouble, version_1, faults):
    faults.message, faults.code, _ = KINDS_OF_TROUBLE[trouble]
    before = read_history(version_1)
    refused = 0
    for after in range(40):
        faults.after, faults.calls = after, 0
        try:
            Store(version_1).close()
        except JournalError:
            refused += 1
        faults.after = None
        assert read_history(version_1) == before
        Store(version_1).close()
    assert refused > 3


def test_a_disk_that_fails_only_when_it_is_closed_frees_the_lock(path, faults):
    store = Store(path)
    store.write([Accepted(A, T0)])
    faults.at_close = True
    with pytest.raises(JournalError, match="cannot close the journal"):
        store.close()
    faults.at_close = False
    Store(path).close()


def test_a_database_that_may_not_grow_takes_what_fits_and_no_half_batch(path):
    store = Store(path)
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(f"PRAGMA max_page_count = {pages + 3}")
    accepted = 0
    with pytest.raises(JournalError, match=r"is full; what it has stays: make room"):
        for number in range(10_000):
            store.write([Accepted(AQUA.handle(f"a{number}x{part}"), T0) for part in range(7)])
            accepted += 7
    assert len(read_history(path).jobs) == accepted > 50
    store.write([Ended(Succeeded(handle=AQUA.handle("a0x0"), job=AquaJob(status="completed"), polls=1, elapsed=0), T0)])
    store.close()


# --- somebody else's lock


def test_who_has_locked_it_for_a_moment_is_waited_for(path):
    store = Store(path)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.2, other.rollback)
        timer.start()
        store.write([Accepted(A, T0)])
        timer.join()
    store.close()


def test_who_has_locked_it_for_long_is_complained_about(path, quiet_disk):
    store = Store(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="database is locked; another program has locked it"):
            store.write([Accepted(A, T0)])
        other.rollback()
    store.write([Accepted(A, T0)])
    store.close()


def test_a_journal_that_another_program_has_locked_cannot_be_opened(version_1, quiet_disk):
    with closing(sqlite3.connect(version_1, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalError, match="locked"):
            Store(version_1)
        other.rollback()
    Store(version_1).close()


def test_reading_a_journal_that_another_program_keeps_to_itself_does_not_hang(path, quiet_disk):
    Store(path).close()
    held = textwrap.dedent("""
        import sqlite3, sys
        other = sqlite3.connect(sys.argv[1], isolation_level=None)
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE t (x)")
        print("locked", flush=True)
        sys.stdin.read()
    """)
    reads = "import sys; from zuora_jobs.journal import files, reading; files.BUSY = 0.05; reading.read_history(sys.argv[1])"
    with subprocess.Popen(
        [sys.executable, "-c", held, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        try:
            subprocess.run([sys.executable, "-c", reads, str(path)], timeout=40, check=False, capture_output=True)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error
        finally:
            holder.communicate()


# --- places where no journal can be


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("missing/run.db", r"there is no folder .*/missing for the journal: make it, or name another file"),
        ("folder", r"the journal .*/folder is a folder: name a file, such as .*/folder/run\.db"),
        ("file/run.db", r"there is no folder .*/file for the journal"),
        (".", r"is a folder"),
        pytest.param("x" * 300 + ".db", r"too long", id="too long"),
        pytest.param("a\x00b.db", r"null", id="null"),
    ],
)
def test_where_no_journal_can_be_is_said(place, sentence, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(JournalError, match=sentence):
        Journal.open(tmp_path / place)
    with pytest.raises(JournalError):
        read_history(tmp_path / place)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_pipe_is_no_journal(tmp_path):
    os.mkfifo(tmp_path / "run.db")
    with pytest.raises(JournalError):
        Journal.open(tmp_path / "run.db")


def test_a_folder_in_the_locks_place_is_said(path):
    path.with_name("run.db-lock").mkdir()
    with pytest.raises(JournalError, match="cannot lock the journal"):
        Journal.open(path)


def test_something_else_in_the_locks_place_is_not_called_a_damaged_journal(path):
    path.with_name("run.db-lock").write_bytes(b"1234\n" * 100)
    with pytest.raises(JournalError) as caught:
        Journal.open(path)
    assert not isinstance(caught.value, CorruptJournal)


@pytest.mark.parametrize(
    "name", ["a b.db", "50%.db", "é.db", "a?b#c.db", "'\".db", "a\nb.db", "-x.db", "file:x.db", "run"]
)
def test_any_name_will_do(name, tmp_path):
    store = Store(tmp_path / name)
    store.write([Accepted(A, T0)])
    assert len(read_history(tmp_path / name).jobs) == 1
    store.close()
    assert len(read_history(tmp_path / name).jobs) == 1


# --- permissions; root has them all, so it becomes somebody else first


AS_ANOTHER = """
import os, sys
from pathlib import Path
from zuora_jobs import AQUA, Journal, JournalError
from zuora_jobs.journal.entries import Accepted
from zuora_jobs.journal.reading import read_history
from zuora_jobs.journal.store import Store
path = Path(sys.argv[1])
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
try:
    {what}
except JournalError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def as_another(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give a folder that another user owns, and what runs some lines as that user."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="zuora-jobs-"))
    if os.getuid() == 0:
        os.chown(folder, 65534, 65534)

    def run(what: str, path: Path) -> str:
        script = AS_ANOTHER.format(what=what)
        ran = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    yield folder, run
    for one in [folder, *folder.rglob("*")]:
        one.chmod(0o700)
    shutil.rmtree(folder)


def listing(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


def test_a_folder_that_may_not_be_written_is_said(as_another):
    folder, run = as_another
    folder.chmod(0o500)
    told = run("Journal.open(path)", folder / "run.db")
    assert re.search(r"JournalError cannot lock the journal .*run\.db: Permission denied", told)
    assert listing(folder) == {}


def test_a_file_that_may_not_be_written_is_said(as_another):
    folder, run = as_another
    path = folder / "run.db"
    assert run("Store(path).close()", path) == ""
    path.chmod(0o400)
    raw = path.read_bytes()
    told = run("Journal.open(path)", path)
    assert re.search(
        r"JournalError cannot write the journal .*readonly database; it must be a file that this user", told
    )
    assert path.read_bytes() == raw


@pytest.mark.parametrize("state", ["closed", "killed"])
def test_what_may_only_be_read_can_be_read_and_stays_as_it_was(state, as_another):
    folder, run = as_another
    path = folder / "run.db"
    end = "store.close()" if state == "closed" else "os._exit(0)"
    run(f"store = Store(path); store.write([Accepted(AQUA.handle('a'), 1.0)]); {end}", path)
    assert (state == "killed") == (folder / "run.db-wal").exists()
    for one in folder.iterdir():
        one.chmod(0o400)
    folder.chmod(0o500)
    before = listing(folder)
    assert run("print(len(read_history(path).jobs))", path) == "1"
    after = listing(folder)
    for name in ("run.db", "run.db-wal"):
        assert after.get(name) == before.get(name)
    assert after.keys() == before.keys()


def test_a_copy_of_a_killed_journal_that_may_only_be_read_can_be_read(as_another):
    folder, run = as_another
    path = folder / "run.db"
    run("store = Store(path); store.write([Accepted(AQUA.handle('a'), 1.0)]); os._exit(0)", path)
    (folder / "run.db-shm").unlink()  # as `cp run.db run.db-wal` to an archive would
    folder.chmod(0o500)
    assert run("print(len(read_history(path).jobs))", path) == "1"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_all_its_files_are_for_their_owner_only(umask, path, files_of):
    before = os.umask(umask)
    try:
        store = Store(path)
        store.write([Accepted(A, T0)])
        names = {one.name: one.stat().st_mode & 0o777 for one in files_of(path)}
        store.close()
    finally:
        os.umask(before)
    assert names == dict.fromkeys(["run.db", "run.db-wal", "run.db-shm", "run.db-lock"], 0o600)


# --- the whole


READERS = ["watch", "watch_all", "stream", "cancel", "acknowledge", "to_resume"]


async def read_as(who: str, watcher: Any, journal: Any, told: list[Any]) -> None:
    handles = [OPERATION.handle(f"{who}{number}") for number in range(5)]
    if who == "watch":
        told += [await watcher.watch(handles[0])]
    elif who == "watch_all":
        told += (await watcher.watch_all(handles)).values()
    elif who == "cancel":
        told += [await watcher.cancel(A)]
    elif who == "acknowledge":
        await watcher.watch(handles[0])
        await journal.acknowledge(handles[0])
    elif who == "to_resume":
        for _ in range(30):
            await journal.to_resume()
            await journal.flush()
            await asyncio.sleep(0.1)
    else:
        async with watcher.stream(handles, at_once=2) as events:
            told += [event.outcome async for event in events if isinstance(event, Finished)]


@pytest.mark.looptime
@pytest.mark.parametrize("once", [True, False])
async def test_whenever_the_disk_fails_all_readers_are_told_and_nothing_hangs(once, watching, script, path, faults):
    script.journal = None
    faults.once = once
    struck = 0
    for after in range(1, 150, 4):
        at = path.with_name(f"{after}.db")
        told: list[Any] = []
        observed: list[Any] = []
        script.asked.clear()
        async with watching(script, at=at, observers=[observed.append]) as (watcher, journal):
            faults.after, faults.calls, faults.struck = after, 0, 0
            results = await asyncio.wait_for(
                asyncio.gather(*(read_as(who, watcher, journal, told) for who in READERS), return_exceptions=True),
                600,
            )
            if faults.struck:
                struck += 1
                assert any(isinstance(result, JournalError) for result in results)
                with suppress(JournalError):  # where only a question struck, it goes on
                    assert (await watcher.watch(OPERATION.handle("later"))).name == "succeeded"
                    await journal.acknowledge(A)
                    assert once
                sent = len(script.asked)
                await asyncio.sleep(100)
                assert len(script.asked) == sent
            assert [result for result in results if not isinstance(result, JournalError | None)] == []
            faults.after = None
        on_disk = {job.handle: job.outcome for job in read_history(at).jobs}
        ends = told + [event.outcome for event in observed if isinstance(event, Finished)]
        assert all(on_disk.get(str(end.handle)) == end.name for end in ends)
        assert {identifier for _, identifier in script.asked} <= {handle.split(":")[1] for handle in on_disk}
    assert struck > 20


@pytest.mark.looptime
async def test_once_the_disk_has_failed_nothing_is_sent_also_while_nobody_has_left(watching, script, faults):
    script.default = [{"status": "Processing"}]
    async with watching(script) as (watcher, _), watcher.stream([OPERATION.handle("a")]) as events:
        await anext(events)
        faults.after = 0
        with suppress(JournalError):
            await watcher.watch(OPERATION.handle("b"))
        sent = len(script.asked)
        await asyncio.sleep(100)
        assert len(script.asked) == sent
        with pytest.raises(JournalError, match="full"):
            async for _ in events:
                pass


@pytest.mark.looptime
async def test_a_disk_that_fails_when_it_is_closed_is_told_and_leaves_no_task(watching, script, path, faults):
    before = asyncio.all_tasks()
    with pytest.raises(JournalError, match="cannot close the journal"):
        async with watching(script) as (watcher, _):
            assert (await watcher.watch(A, timeout=5)).name in {"succeeded", "lost"}
            faults.at_close = True
    assert asyncio.all_tasks() == before
    faults.at_close = False
    async with watching(script) as (watcher, _):
        await watcher.watch(A, timeout=5)


async def test_a_disk_that_fails_when_it_is_closed_leaves_no_thread(path, faults):
    threads = set(threading.enumerate())
    journal = Journal.open(path)
    await journal.acknowledge(A)
    faults.at_close = True
    with pytest.raises(JournalError):
        await journal.close()
    faults.at_close = False
    for _ in range(50):
        if set(threading.enumerate()) == threads:
            return
        await asyncio.sleep(0.02)
    for thread in set(threading.enumerate()) - threads:
        assert not thread.is_alive(), "the journal's thread is still there"


@pytest.mark.looptime
async def test_what_the_block_raised_is_not_hidden_by_a_disk_that_fails(watching, script, faults):
    with pytest.raises((KeyError, JournalError)) as caught:
        async with watching(script):
            faults.after = 0
            raise KeyError("mine")
    assert isinstance(caught.value, KeyError)


@pytest.mark.looptime
async def test_a_disk_that_fails_while_a_watcher_is_closed_is_no_hang(watching, script, faults):
    async with watching(script) as (watcher, _):
        watch = asyncio.create_task(watcher.watch(A))
        await asyncio.sleep(0.5)
        faults.after = 0
    with pytest.raises((WatcherClosed, JournalError)):
        await watch


def test_a_real_thread_that_fails_tells_the_loop(path, faults, script):
    async def run() -> None:
        async with Journal.open(path) as journal:
            await journal.acknowledge(A)
            faults.after = 0
            for _ in range(2):
                with pytest.raises(JournalError, match="full"):
                    await journal.acknowledge(A)
            with pytest.raises(JournalError):
                await journal.to_resume()

    asyncio.run(run())


def test_an_error_that_is_not_sqlites_ends_it_too(path, monkeypatch, caplog):
    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            async with Journal.open(path, executor=executor) as journal:
                monkeypatch.setattr(journal._store, "write", lambda _: 1 // 0)
                with pytest.raises(JournalError, match="ZeroDivisionError; see the log"):
                    await journal.acknowledge(A)

    asyncio.run(run())
    assert "ZeroDivisionError" in caplog.text


# --- the command line


def limited(size: int) -> Any:
    """Let a process write no file larger than this."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


async def run_limited(size: int | None, zuora: Any, *arguments: str) -> tuple[int, str, str]:
    # what is measured of the tests would be written to a file as well, and complain
    uncovered = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "zuora_jobs",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**uncovered, **zuora.environment()},
        preexec_fn=limited(size) if size is not None else None,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_on_a_disk_that_is_full_halfway_the_command_prints_what_it_knows_and_goes_on_later(zuora, tmp_path):
    jobs = [zuora.add_job("aqua", ends="completed", seconds=number / 60) for number in range(120)]
    source, path = tmp_path / "handles.txt", tmp_path / "run.db"
    source.write_text("".join(f"{job.handle}\n" for job in jobs))
    arguments = ["watch", "--from", str(source), "--journal", str(path)]
    status, out, err = await run_limited(200_000, zuora, *arguments)
    assert status == 3, err
    assert re.search(
        rf"^zuora-jobs: cannot write the journal {path}: .*make room, and run the same again", err, re.MULTILINE
    )
    assert "Traceback" not in err
    ended = {job.handle for job in read_history(path).jobs if job.outcome}
    shown = {word for word in out.split() if word.startswith("aqua:")}
    assert 0 < len(shown) < 120
    assert shown <= ended
    asked = len(zuora.requests)
    status, out, err = await run_limited(None, zuora, *arguments)
    assert status == 0, err
    assert out.count("succeeded") == 120
    again = {record.handle for record in zuora.requests[asked:]}
    assert not again & ended


async def test_a_journal_that_cannot_even_begin_is_wrong_usage(zuora, tmp_path):
    job = zuora.add_job("aqua", ends="completed", seconds=0)
    status, out, err = await run_limited(2000, zuora, "watch", job.handle, "--journal", str(tmp_path / "run.db"))
    assert (status, out) == (2, ""), err
    assert err.startswith("zuora-jobs: cannot ")
    assert zuora.requests == []


def test_the_time_that_others_are_waited_for_is_bounded():
    assert 1 <= files.BUSY <= 30
    with suppress(JournalError):
        files.resolved("/nowhere/run.db")
