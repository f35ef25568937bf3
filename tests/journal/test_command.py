"""`zuora-jobs watch --journal`: as its user meets it."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from contextlib import closing
from typing import Any

import attrs
import pytest

from zuora_jobs.emulator import Step
from zuora_jobs.journal.reading import read_history


@attrs.frozen
class Ran:
    status: int
    out: str
    err: str

    @property
    def finished(self) -> dict[str, dict[str, Any]]:
        events = [json.loads(line) for line in self.out.splitlines()]
        ends = [event for event in events if event["event"] == "finished"]
        assert len({end["handle"] for end in ends}) == len(ends)
        return {end["handle"]: end for end in ends}


@pytest.fixture
def start(zuora: Any, zuora_jobs_command: tuple[str, ...]) -> Any:
    async def begin(*arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        environ = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | zuora.environment()
        return await asyncio.create_subprocess_exec(
            *zuora_jobs_command, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=environ
        )

    return begin


async def ended(process: asyncio.subprocess.Process) -> Ran:
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    assert b"Traceback" not in err, err.decode()
    return Ran(process.returncode, out.decode(), err.decode())


@pytest.fixture
def watch(start: Any, path: Any) -> Any:
    """Run `zuora-jobs watch --journal PATH` with some more arguments."""

    async def run(*arguments: str) -> Ran:
        return await ended(await start("watch", "--journal", str(path), *arguments))

    return run


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - it is another process's doing
            await asyncio.sleep(0.02)


async def test_the_same_command_tells_what_had_ended_without_asking(zuora, watch):
    jobs = [zuora.add_job("aqua", ends="completed", seconds=0), zuora.add_job("operation", ends="Failed", seconds=0)]
    handles = [job.handle for job in jobs]
    first = await watch(*handles, "--format", "jsonl")
    assert first.status == 1, first.err
    assert {end["from_journal"] for end in first.finished.values()} == {False}
    asked = [job.polls for job in jobs]
    second = await watch(*handles, "--format", "jsonl")
    assert second.status == 1
    assert {end["from_journal"] for end in second.finished.values()} == {True}
    assert [job.polls for job in jobs] == asked
    for handle in handles:
        before, after = first.finished[handle], second.finished[handle]
        same = ("outcome", "status", "job", "reasons", "polls", "kind", "id", "partial", "error")
        assert [before[name] for name in same] == [after[name] for name in same]
    third = await watch(*handles)
    assert third.status == 1
    assert "2 had ended before this run" in third.err
    assert "0 polls, 0 requests" in third.err


async def test_without_handles_it_goes_on_with_what_is_left_and_counts_all(zuora, watch, start, path):
    failed = zuora.add_job("operation", ends="Failed", seconds=0)
    slow = zuora.add_job("aqua", life=[Step("executing", polls=10_000), Step("completed")])
    handles = [failed.handle, slow.handle]
    process = await start("watch", *handles, "--journal", str(path), "--format", "jsonl")
    await until(lambda: path.exists() and path.stat().st_size and any(j.acknowledged for j in read_jobs(path)))
    process.kill()
    await process.communicate()
    slow.become("completed")
    ran = await watch("--format", "jsonl")
    assert ran.status == 1, "the one that failed in the first run counts"
    assert list(ran.finished) == [slow.handle]
    again = await watch("--format", "jsonl")
    assert (again.status, again.finished) == (1, {})
    assert "nothing is left to watch; 2 jobs had ended, and been told" in again.err


def read_jobs(path: Any) -> Any:
    try:
        return read_history(path).jobs
    except Exception:  # noqa: BLE001 - it is being made
        return ()


async def test_lost_jobs_are_watched_again_without_being_named(zuora, watch):
    gone = "operation:" + "0" * 32
    first = await watch(gone, "--format", "jsonl")
    assert first.status == 3
    assert first.finished[gone]["error"]["type"] == "NotFound"
    second = await watch("--format", "jsonl")
    assert second.status == 3
    assert second.finished[gone]["from_journal"] is False
    zuora.add_job("operation", ends="Completed", seconds=0, id="0" * 32)
    third = await watch()
    assert third.status == 0, third.err
    assert (await watch()).status == 0


async def test_an_end_that_was_printed_in_a_table_is_not_left(zuora, watch):
    job = zuora.add_job("aqua", ends="completed", seconds=0)
    assert (await watch(job.handle)).status == 0
    ran = await watch()
    assert (ran.status, ran.out) == (0, "")
    assert "nothing is left to watch; 1 job had ended" in ran.err


async def test_a_journal_of_version_1_is_gone_on_with(zuora, watch, version_1):
    before = read_history(version_1)
    for record in before.jobs:
        if record.outcome in {None, "lost"}:
            zuora.add_job(
                record.kind, ends="completed" if record.kind == "aqua" else "Completed", seconds=0, id=record.id
            )
    ran = await watch("--format", "jsonl")
    assert ran.status == 1
    assert len(ran.finished) == 8
    assert sum(end["from_journal"] for end in ran.finished.values()) == 6
    assert {record.outcome for record in read_history(version_1).jobs} == {"succeeded", "cancelled", "failed"}


async def test_ctrl_c_names_the_journal_and_keeps_what_was_seen(zuora, start, path, watch):
    done = zuora.add_job("aqua", ends="completed", seconds=0)
    slow = zuora.add_job("aqua", ends="completed", seconds=1000)
    process = await start("watch", done.handle, slow.handle, "--journal", str(path))
    await until(lambda: any(job.outcome for job in read_jobs(path)) and slow.polls)
    process.send_signal(signal.SIGINT)
    ran = await ended(process)
    assert ran.status == 130
    assert f"Watch them again with: zuora-jobs watch --journal {path}" in ran.err
    assert done.handle in ran.out
    slow.become("completed")
    asked = done.polls
    assert (await watch()).status == 0
    assert done.polls == asked


async def test_a_second_process_is_refused_at_once_while_the_first_runs_and_may_go_on_after_a_kill(
    zuora, start, watch, path
):
    job = zuora.add_job("aqua", ends="completed", seconds=1000)
    process = await start("watch", job.handle, "--journal", str(path))
    await until(lambda: job.polls)
    asked = len(zuora.requests)
    began = asyncio.get_running_loop().time()
    for arguments in ([], [job.handle], ["aqua:another"]):
        ran = await watch(*arguments)
        assert (ran.status, ran.out) == (2, "")
        assert "is in use by another process" in ran.err
    assert asyncio.get_running_loop().time() - began < 15
    tokens = [record for record in zuora.requests[asked:] if "oauth" in record.path]
    assert tokens == []
    assert [record.handle for record in read_history(path).jobs] == [job.handle]
    process.kill()
    await process.communicate()
    job.become("completed")
    assert (await watch()).status == 0


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda path: path.mkdir(), "is a folder: name a file, such as"),
        (lambda path: path.write_bytes(b"no database " * 100), "is damaged"),
        (
            lambda path: make_database(path, "CREATE TABLE accounts (id)"),
            "not a journal of zuora-jobs; name another file",
        ),
        (
            lambda path: make_database(path, "PRAGMA application_id = 1514819394", "PRAGMA user_version = 77"),
            "has version 77, and this zuora-jobs knows versions up to",
        ),
        (lambda path: path.with_name("run.db-lock").mkdir(), "cannot lock the journal"),
    ],
    ids=["a folder", "garbage", "another database", "a newer version", "no lock"],
)
async def test_what_cannot_be_opened_is_wrong_usage_and_nothing_is_sent(prepare, sentence, zuora, watch, path):
    job = zuora.add_job("aqua", ends="completed", seconds=0)
    prepare(path)
    ran = await watch(job.handle)
    assert (ran.status, ran.out) == (2, "")
    assert sentence in ran.err
    assert len(ran.err.splitlines()) == 1
    assert zuora.requests == []


def make_database(path: Any, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


async def test_a_folder_that_is_not_there_is_wrong_usage(zuora, start, tmp_path):
    ran = await ended(await start("watch", "aqua:a", "--journal", str(tmp_path / "nowhere" / "run.db")))
    assert ran.status == 2
    assert "there is no folder" in ran.err
    assert zuora.requests == []


async def test_without_handles_a_journal_must_be_there(zuora, watch, path):
    ran = await watch()
    assert ran.status == 2
    assert not path.exists()


async def test_a_job_of_an_unknown_kind_that_has_not_ended_is_no_success(zuora, watch, path):
    job = zuora.add_job("aqua", ends="completed", seconds=0)
    await watch(job.handle)
    make_database(path, "INSERT INTO jobs (kind, id, accepted) VALUES ('journal-run', 'j1', 1.0)")
    ran = await watch()
    assert "1 of its jobs are of the kind 'journal-run'" in ran.err
    assert ran.status != 0


async def test_with_history_it_says_how_long_the_rest_takes_and_without_it_does_not(zuora, watch, path, tmp_path):
    slow = zuora.add_job("aqua", ends="completed", seconds=1000)
    jobs = [zuora.add_job("aqua", ends="completed", seconds=0) for _ in range(6)]
    await watch(*(job.handle for job in jobs))
    make_database(path, "UPDATE jobs SET ended = accepted + 4000")
    without = await shown_on_a_terminal(zuora, slow, tmp_path / "new.db")
    assert "min left" not in without
    told = await shown_on_a_terminal(zuora, slow, path)
    assert "about 67 min left" in told


async def shown_on_a_terminal(zuora: Any, job: Any, journal: Any) -> str:
    """Give what the live view shows in two seconds or so."""
    import pty

    controller, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "zuora_jobs",
        "watch",
        job.handle,
        "--journal",
        str(journal),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=terminal,
        env={**os.environ, **zuora.environment(), "COLUMNS": "200", "TERM": "xterm"},
    )
    os.close(terminal)
    asked = job.polls
    await until(lambda: job.polls >= asked + 3)
    process.send_signal(signal.SIGINT)
    shown = b""
    loop = asyncio.get_running_loop()
    while True:
        try:
            piece = await loop.run_in_executor(None, os.read, controller, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(controller)
    await process.wait()
    return shown.decode()
