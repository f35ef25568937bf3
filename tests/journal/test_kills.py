"""kill -9, for real: at random moments, over and over, of processes that watch jobs against an emulator in this one."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from shutil import copyfile
from typing import Any

from zuora_jobs import CorruptJournal, emulator
from zuora_jobs.journal.reading import read_history

KILLED = "killed.py"
KILLS = 110
JOBS = 40
ENDS = {
    "operation": {"Completed": "succeeded", "Failed": "failed"},
    "bulk-pdf": {"Completed": "succeeded", "PartialComplete": "succeeded", "Error": "failed", "Cancelled": "cancelled"},
    "aqua": {"completed": "succeeded", "aborted": "failed", "cancelled": "cancelled", "error": "failed"},
    "credit-memo-apply": {"Processed": "succeeded", "Error": "failed"},
}


def add_jobs(zuora: emulator.Emulator, count: int, rng: Random, longest: float) -> dict[str, str]:
    """Add jobs of all kinds that end in all ways; give the outcome of each, by handle."""
    expected = {}
    for number in range(count):
        kind = list(ENDS)[number % len(ENDS)]
        status, outcome = rng.choice(list(ENDS[kind].items()))
        expected[zuora.add_job(kind, ends=status, seconds=rng.uniform(0, longest)).handle] = outcome
    return expected


def check_the_file(path: Path) -> None:
    """Have SQLite recover a copy, as it will the file itself, and look at every page of it."""
    copy = path.with_name("copy.db")
    for end in ("", "-wal", "-journal"):
        copy.with_name(copy.name + end).unlink(missing_ok=True)
        if path.with_name(path.name + end).exists():
            copyfile(path.with_name(path.name + end), copy.with_name(copy.name + end))
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("PRAGMA quick_check").fetchall() == [("ok",)]


class Voyage:
    """One journal, killed and begun again until all its jobs have ended."""

    def __init__(self, zuora: emulator.Emulator, path: Path, expected: dict[str, str]) -> None:
        self.zuora = zuora
        self.path = path
        self.told_path = path.with_suffix(".told")
        self.expected = expected
        self.told: dict[str, str] = {}
        self.acked: set[str] = set()
        self.on_disk: dict[str, str] = {}
        self.is_over = False
        self._read = 0

    def order(self, track_id: str, after: float | None) -> dict[str, Any]:
        return {
            "journal": str(self.path),
            "told": str(self.told_path),
            "handles": list(self.expected),
            "url": self.zuora.url,
            "token": self.zuora.issue_token(),
            "track_id": track_id,
            "after": after,
        }

    def check(self, track_id: str) -> None:
        """See that a run asked about no job that had ended before, and that what it told is right, new, and on the disk."""
        asked = {record.handle for record in self.zuora.requests if record.headers.get("Zuora-Track-Id") == track_id}
        assert not asked & self.on_disk.keys(), "asked about a job whose end was in the journal"
        lines = self.told_path.read_text().splitlines() if self.told_path.exists() else []
        told_now = []
        for line in lines[self._read :]:
            word, handle, *rest = line.split()
            if word == "told":
                assert handle not in self.acked, "told again, though it was acknowledged"
                assert rest == [self.expected[handle], str(handle in self.on_disk)]
                told_now.append(handle)
                self.told[handle] = rest[0]
            else:
                self.acked.add(handle)
        self._read = len(lines)
        assert len(told_now) == len(set(told_now)), "told twice in one run"
        if not self.path.exists():
            assert not asked
            return
        check_the_file(self.path)
        try:
            jobs = {job.handle: job for job in read_history(self.path).jobs}
        except CorruptJournal as error:
            if "is empty" not in str(error):
                raise
            jobs = {}  # killed before its first write
        assert asked | self.on_disk.keys() <= jobs.keys(), "a handle was lost"
        ended = {handle: job.outcome for handle, job in jobs.items() if job.outcome is not None}
        for handle, outcome in self.on_disk.items() | self.told.items():
            assert ended.get(handle) == outcome, "an end was told that the file has not"
        for handle, outcome in ended.items():
            assert outcome == self.expected[handle]
            self.on_disk[handle] = outcome or ""
        for handle in self.acked:
            assert jobs[handle].acknowledged
        self.is_over = len(jobs) == len(self.expected) and all(job.acknowledged for job in jobs.values())


async def test_however_often_it_is_killed_nothing_is_lost_and_nothing_acknowledged_is_told_again(
    zuora, killed, tmp_path
):
    rng = Random(20261124)
    kills, voyages, survived = 0, 0, Counter[str]()
    while kills < KILLS:
        voyages += 1
        folder = tmp_path / str(voyages)
        folder.mkdir()
        voyage = Voyage(zuora, folder / "run.db", add_jobs(zuora, JOBS, rng, 0.6))
        for number in range(200):
            last = kills >= KILLS or number > 15
            track_id = f"{voyages}-{number}"
            after = None if last else rng.choice([rng.uniform(0.005, 0.06), rng.uniform(0.005, 0.3)])
            status = await killed(voyage.order(track_id, after))
            assert status in {0, -signal.SIGKILL}
            kills += status == -signal.SIGKILL
            voyage.check(track_id)
            survived["accepted" if not voyage.on_disk else "some ended" if not voyage.is_over else "all told"] += 1
            if voyage.is_over:
                break
        assert voyage.is_over
        assert voyage.told == voyage.expected
        status = await killed(voyage.order(f"{voyages}-again", None))
        assert status == 0
        told = voyage.told_path.read_text()
        voyage.check(f"{voyages}-again")
        assert voyage.told_path.read_text() == told
        assert {job.handle: job.outcome for job in read_history(voyage.path).jobs} == voyage.expected
    assert voyages >= 3
    assert survived["accepted"] > 5, survived
    assert survived["some ended"] > 20


async def test_the_real_command_killed_three_times_finishes_all_in_the_fourth_run(zuora, tmp_path):
    rng = Random(3)
    expected = add_jobs(zuora, 120, rng, 6.0)
    source, path = tmp_path / "handles.txt", tmp_path / "run.db"
    source.write_text("".join(f"{handle}\n" for handle in expected))
    arguments = ["watch", "--from", str(source), "--journal", str(path), "--format", "jsonl"]
    finished: dict[str, str] = {}
    on_disk: list[set[str]] = []

    async def run(number: int, kill_after: int | None) -> int:
        environ = {**os.environ, **zuora.environment(), "ZUORA_TRACK_ID": f"run-{number}"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "zuora_jobs", *arguments, stdout=asyncio.subprocess.PIPE, env=environ
        )
        assert process.stdout is not None
        ends = 0
        async for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "finished":
                ends += 1
                assert event["handle"] not in finished or finished[event["handle"]] == event["outcome"]
                finished[event["handle"]] = event["outcome"]
                if ends == kill_after:
                    process.kill()
        return await process.wait()

    for number, kill_after in enumerate([5, 45, 80], start=1):
        assert await run(number, kill_after) == -signal.SIGKILL
        on_disk.append({job.handle for job in read_history(path).jobs if job.outcome})
        assert finished.keys() <= on_disk[-1]
        assert len(read_history(path).jobs) == 120
    assert await run(4, None) == 1
    assert finished == expected
    asked_again = [
        record.handle
        for number, ended in enumerate(on_disk, start=2)
        for record in zuora.requests
        if record.headers.get("Zuora-Track-Id") == f"run-{number}" and record.handle in ended
    ]
    assert asked_again == []
    runs = read_history(path).runs
    assert [run.ended is None for run in runs] == [True, True, True, False]
