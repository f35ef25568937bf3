"""Files that a power cut tore or a disk garbled: what opens is what was once written, or is refused in a sentence."""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from zuora_jobs import AQUA, BULK_PDF, CorruptJournal, Failed, JobHandle, JournalError, Succeeded
from zuora_jobs.journal.entries import Accepted, Acknowledged, Began, Ended, Saved, Seen, Spent
from zuora_jobs.journal.history import History
from zuora_jobs.journal.reading import read_history
from zuora_jobs.journal.store import Store
from zuora_jobs.protocol import wire

T0 = 1_790_000_000.0
HANDLES = [(AQUA, BULK_PDF)[number % 2].handle(f"id{number:03}") for number in range(24)]


def ended(handle: JobHandle[Any], number: int) -> Succeeded[Any] | Failed[Any]:
    """Give an end with a document of some size."""
    name = (handle.kind.failed if number % 3 == 0 else handle.kind.succeeded)[0]
    job = wire.structure(handle.kind.model, {"status": name, "message": "no", "n": number, "x": "é" * (number * 60)})
    make = Failed if number % 3 == 0 else Succeeded
    return make(handle=handle, job=job, polls=number, elapsed=1.0)


def batches() -> list[list[Any]]:
    made: list[list[Any]] = [[Began(T0, 10.0, 5)]]
    for number, handle in enumerate(HANDLES):
        made.append([Accepted(handle, T0 + number), Seen(handle, T0 + number, "submitted", "pending", 1)])
        if number >= 4:
            earlier = HANDLES[number - 4]
            made.append([Ended(ended(earlier, number - 4), T0 + number), Spent(T0 + number, 3, 0, 0.0, 9.0)])
            if number % 2:
                made.append([Acknowledged(earlier, T0 + number), Saved(earlier, T0 + number, "/x", 1)])
    return made


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[History]]:
    """A journal whose writer was cut off, and all that it has ever told."""
    path = tmp_path_factory.mktemp("written") / "run.db"
    store = Store(path)
    store._database.execute("PRAGMA wal_autocheckpoint = 20")  # some of it is in the database, some beside it
    told = [read_history(path)]
    for number, batch in enumerate(batches()):
        if number == 20:
            store._database.execute("PRAGMA wal_autocheckpoint = 0")
        store.write(batch)
        told.append(read_history(path))
    kept = path.parent / "kept"
    kept.mkdir()
    for end in ("", "-wal"):
        shutil.copyfile(f"{path}{end}", kept / f"run.db{end}")
    store.close()
    return kept / "run.db", told


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, History]:
    """A journal that was closed, and what it tells."""
    path = tmp_path_factory.mktemp("closed") / "run.db"
    store = Store(path)
    for batch in batches():
        store.write(batch)
    store.close()
    return path, read_history(path)


def copied(source: Path, folder: Path) -> Path:
    folder.mkdir()
    for end in ("", "-wal"):
        if Path(f"{source}{end}").exists():
            shutil.copyfile(f"{source}{end}", folder / f"run.db{end}")
    return folder / "run.db"


def garble(path: Path, rng: Random, how: str) -> None:
    raw = bytearray(path.read_bytes())
    at = rng.randrange(len(raw))
    if how == "cut":
        del raw[at:]
    elif how == "a bit":
        raw[at] ^= 1 << rng.randrange(8)
    elif how == "a sector of nothing":
        raw[at : at + 512] = bytes(len(raw[at : at + 512]))
    elif how == "a sector of noise":
        raw[at : at + 512] = rng.randbytes(len(raw[at : at + 512]))
    elif how == "many bytes":
        for _ in range(30):
            raw[rng.randrange(4096, len(raw))] = rng.randrange(256)
    else:
        raw += rng.randbytes(rng.randrange(1, 9000))
    path.write_bytes(raw)


def use(path: Path) -> None:
    """Do all that can be done with a journal, and make sure that no end is believed that was not written."""
    read_history(path)
    store = Store(path)
    try:
        store.outcomes()
        store.durations()
        store.open_since()
        store.to_resume()
        for handle in HANDLES:
            (past,) = store.write([Accepted(handle, T0 + 999)])
            assert past is not None
            if past.outcome is not None:
                assert past.outcome.status in {"completed", "Completed", "error", "Error", "aborted", "Aborted"}
                assert past.outcome.handle == handle
        store.write([Acknowledged(HANDLES[0], T0)])
        store.to_resume()
        read_history(path)
    finally:
        with contextlib.suppress(JournalError):
            store.close()


WAYS = ["cut", "a bit", "a sector of nothing", "a sector of noise", "more than there was"]


@pytest.mark.unmeasured
@pytest.mark.parametrize("how", WAYS)
def test_a_torn_tail_leaves_a_beginning_of_what_was_written(how, written, tmp_path):
    source, told = written
    assert read_history(copied(source, tmp_path / "whole")) == told[-1]
    rng, seen = Random(how), set()
    for number in range(60):
        path = copied(source, tmp_path / str(number))
        garble(path.with_name("run.db-wal"), rng, how)
        assert read_history(path) in told
        Store(path).close()
        history = read_history(path)
        assert history in told
        seen.add(told.index(history))
        use(path)
    assert len(seen) > 5 or how == "more than there was"


def test_without_its_tail_it_is_what_it_was_at_the_last_checkpoint(written, tmp_path):
    source, told = written
    path = copied(source, tmp_path / "alone")
    path.with_name("run.db-wal").unlink()
    assert read_history(path) in told[1:-1]
    use(path)


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    "how",
    [
        "cut",
        "a bit",
        "a sector of noise",
        "more than there was",
        "a sector of nothing",
        "many bytes",
    ],
)
def test_a_garbled_database_is_refused_or_tells_no_half_ends(how, closed, tmp_path):
    source, _ = closed
    rng = Random(how)
    for number in range(100):
        path = copied(source, tmp_path / str(number))
        garble(path, rng, how)
        try:
            use(path)
        except JournalError:
            continue


def test_damage_is_found_when_it_is_opened_not_when_it_is_met(closed, tmp_path):
    source, _ = closed
    rng = Random(5)
    for number in range(60):
        path = copied(source, tmp_path / str(number))
        raw = bytearray(path.read_bytes())
        page = rng.randrange(1, len(raw) // 4096)
        raw[page * 4096 : page * 4096 + 8] = rng.randbytes(8)  # the page's own header
        path.write_bytes(raw)
        with pytest.raises(
            CorruptJournal, match=r"(?s)damaged.*move it away, and begin a new one with the same handles"
        ):
            Store(path)
        assert path.read_bytes() == raw


WRITER = """
import sys, time
from zuora_jobs import AQUA, AquaJob, Succeeded
from zuora_jobs.journal.entries import Accepted, Acknowledged, Ended
from zuora_jobs.journal.store import Store

began, number = time.perf_counter(), 0
while time.perf_counter() - began < 1.5:
    store = Store(__import__("pathlib").Path(sys.argv[1]))
    store._database.execute("PRAGMA wal_autocheckpoint = 3")
    for _ in range(25):
        number += 1
        handle = AQUA.handle(f"a{number}")
        end = Succeeded(handle=handle, job=AquaJob(status="completed", name="x" * number * 9), polls=1, elapsed=1.0)
        store.write([Accepted(handle, 1.0), Ended(end, 2.0), Acknowledged(handle, 3.0)])
    store.close()
print(number)
"""


def test_who_reads_while_another_process_writes_sees_whole_batches_in_their_order(tmp_path):
    path = tmp_path / "run.db"
    Store(path).close()
    counts = []
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        while writer.poll() is None:
            jobs = read_history(path).jobs
            assert all(job.outcome == "succeeded" and job.acknowledged for job in jobs)
            assert [job.id for job in jobs] == [f"a{number}" for number in range(1, len(jobs) + 1)]
            counts.append(len(jobs))
        assert writer.stdout is not None
        written = int(writer.stdout.read())
    assert writer.returncode == 0
    assert counts == sorted(counts)
    assert len(set(counts)) > 5
    assert len(read_history(path).jobs) == written
