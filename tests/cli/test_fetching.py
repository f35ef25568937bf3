"""`zuora-jobs watch --download`, and what becomes of files when a run is cut short: the next finishes them."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from zuora_jobs import emulator
from zuora_jobs.emulator import CutAfter, Fault, Step
from zuora_jobs.emulator.effects import Answer

TABLE = "Id\n" + "1234567\n" * 60_000
CUT = 100_000
NOT_YOURS = Answer(403, {"reasons": [{"code": 90009, "message": "not yours"}]})


@pytest.fixture
async def zuora() -> AsyncIterator[emulator.Emulator]:
    async with emulator.running(rate_limits=()) as running:
        yield running


@pytest.fixture
def into(tmp_path):
    return tmp_path / "into"


@pytest.fixture
def watch(zuora, run, into, tmp_path):
    """Run `zuora-jobs watch --download`, as JSON lines and with a journal unless other arguments say otherwise."""

    async def run_watch(*handles, output="jsonl"):
        arguments = ["--download", str(into), "--journal", str(tmp_path / "run.db"), "--format", output]
        return await run("watch", *handles, *arguments, environ=zuora.environment())

    return run_watch


def names_in(folder):
    return {path.name for path in folder.iterdir()}


def size_of(file):
    return Path(file["path"]).stat().st_size


def file_requests(zuora):
    return [record for record in zuora.requests if record.path.startswith("/v1/files/") or record.door == "store"]


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what it waits for is in another process
            await asyncio.sleep(0.02)


def exported(zuora, *contents, records=None):
    """Add a job that has ended, with these files."""
    batches = [{"name": f"q{number}", "recordCount": records or 5} for number in range(len(contents))]
    job = zuora.add_job("aqua", life=[Step("completed")], fields={"batches": batches})
    for file_id, content in zip(job.file_ids, contents, strict=True):
        zuora.set_file(file_id, content)
    return job


RIGHT, WRONG = "Id\n1\n2\n3\n4\n5\n", "Id\n1\n"


# --- what is told


async def test_the_files_of_each_job_are_there_when_the_table_is_printed(zuora, run, into):
    jobs = [
        zuora.add_job("aqua", ends="completed", seconds=0.3),
        zuora.add_job("bulk-pdf", ends="Completed", seconds=0.1),
        zuora.add_job("operation", ends="Completed", seconds=0),
    ]
    handles = [job.handle for job in jobs]
    ran = await run("watch", *handles, "--download", str(into), environ=zuora.environment())
    assert ran.status == 0, ran.err
    files = [line for line in ran.out.splitlines() if line.startswith(str(into))]
    assert {Path(line.split("  ")[0]).name for line in files} == names_in(into)
    assert len(files) == len(jobs[0].file_ids) + len(jobs[1].document()["fileUrls"])
    rows = {line.split()[0]: line for line in ran.out.splitlines() if line.strip().startswith(tuple(handles))}
    assert rows.keys() == set(handles)
    assert f"{len(jobs[0].file_ids)} file" in rows[handles[0]]
    assert ran.out.index(files[-1]) < ran.out.index(rows[handles[0]])
    assert "3 jobs: 3 succeeded" in ran.err
    assert not any(record.bore_authorization for record in file_requests(zuora) if record.door == "store")


async def test_each_file_is_a_json_line_of_its_job_after_its_end(zuora, watch, into):
    jobs = [exported(zuora, RIGHT, RIGHT), zuora.add_job("bulk-pdf", ends="Completed", seconds=0)]
    ran = await watch(*[job.handle for job in jobs])
    assert ran.status == 0, ran.err
    files = ran.of("downloaded")
    assert {file["path"] for file in files} == {str(path) for path in into.iterdir()}
    for job, count, records in ((jobs[0], 2, 5), (jobs[1], len(jobs[1].document()["fileUrls"]), None)):
        order = [event["event"] for event in ran.events if event.get("handle") == job.handle]
        assert order[-count:] == ["downloaded"] * count
        assert order.count("finished") == 1
        mine = [file for file in files if file["handle"] == job.handle]
        assert {file["records"] for file in mine} == {records}
        assert {file["size"] for file in mine} == set(map(size_of, mine))


async def test_what_a_failed_or_cancelled_job_left_is_fetched_too(zuora, watch, into):
    jobs = [zuora.add_job("aqua", ends=end, seconds=0) for end in ("aborted", "cancelled")]
    ran = await watch(*[job.handle for job in jobs])
    assert ran.status == 1
    left = {batch["fileId"] for job in jobs for batch in job.document()["batches"] if "fileId" in batch}
    assert left
    assert {name.rsplit("-", 1)[1].removesuffix(".csv") for name in names_in(into)} == left


@pytest.mark.parametrize("output", ["table", "jsonl"])
@pytest.mark.parametrize(
    ("trouble", "status", "error"),
    [("purged", 1, "FileGone"), ("wrong", 1, "WrongContent"), ("refused", 1, "DownloadError")],
)
async def test_a_file_that_failed_changes_the_status_though_its_job_succeeded(
    zuora, watch, into, trouble, status, error, output
):
    job = exported(zuora, RIGHT, WRONG if trouble == "wrong" else RIGHT)
    if trouble == "purged":
        zuora.purge_files(job.file_ids[1])
    if trouble == "refused":
        zuora.fault(Fault(NOT_YOURS, path=job.file_ids[1]))
    ran = await watch(job.handle, output=output)
    assert ran.status == status, ran.err
    assert f"q0-{job.file_ids[0]}.csv" in names_in(into)
    assert f"q1-{job.file_ids[1]}.csv" not in names_in(into)
    if output == "table":
        [line] = [line for line in ran.err.splitlines() if line.startswith(f"{error}: ")]
        assert f"q1-{job.file_ids[1]}.csv" in line
        assert "1 job: 1 succeeded" in ran.err
    else:
        [failed], [finished] = ran.of("failed"), ran.of("finished")
        assert (failed["handle"], failed["stage"], failed["error"]["type"]) == (job.handle, "download", error)
        assert finished["outcome"] == "succeeded"


async def test_a_lost_job_and_a_failed_file_end_with_3(zuora, watch):
    job = exported(zuora, WRONG)
    assert (await watch(job.handle, "operation:nobody")).status == 3


# --- with a journal


@pytest.mark.parametrize("output", ["table", "jsonl"])
async def test_a_job_whose_files_are_not_there_yet_is_told_again_by_the_next_run(zuora, watch, into, output):
    done, job = exported(zuora, RIGHT), exported(zuora, RIGHT)
    fault = zuora.fault(Fault(NOT_YOURS, path=job.file_ids[0]))
    first = await watch(done.handle, job.handle, output=output)
    assert first.status == 1, first.err
    fault.remove()
    polls = job.polls
    second = await watch()
    assert second.status == 0, second.err
    assert [(end["handle"], end["from_journal"]) for end in second.of("finished")] == [(job.handle, True)]
    assert [file["path"] for file in second.of("downloaded")] == [str(into / f"q0-{job.file_ids[0]}.csv")]
    assert job.polls == polls, "its end was known"
    third = await watch()
    assert (third.status, third.out) == (0, "")
    assert "nothing is left to watch; 2 jobs had ended" in third.err


@pytest.mark.parametrize("output", ["table", "jsonl"])
@pytest.mark.parametrize("trouble", ["wrong", "in its place"])
async def test_a_file_that_the_next_try_may_have_is_tried_by_the_next_run(zuora, watch, into, output, trouble):
    job = exported(zuora, WRONG if trouble == "wrong" else RIGHT)
    place = into / f"q0-{job.file_ids[0]}.csv"
    if trouble == "in its place":
        place.mkdir(parents=True)
    first = await watch(job.handle, output=output)
    assert first.status == 1
    zuora.set_file(job.file_ids[0], RIGHT)
    if trouble == "in its place":
        place.rmdir()
    second = await watch()
    assert second.status == 0, second.err
    assert [file["path"] for file in second.of("downloaded")] == [str(place)]
    assert place.read_text() == RIGHT


async def test_a_file_that_is_gone_for_good_is_not_asked_for_again(zuora, watch):
    job = exported(zuora, RIGHT)
    zuora.purge_files(job)
    assert (await watch(job.handle)).status == 1
    asked = len(file_requests(zuora))
    second = await watch()
    assert second.out == ""
    assert "nothing is left to watch" in second.err
    assert len(file_requests(zuora)) == asked


async def test_failed_files_change_the_status_of_a_run_that_goes_on_from_a_journal(zuora, watch, run, tmp_path):
    job = zuora.add_job("aqua", ends="completed", seconds=0.7)
    journal = ["--journal", str(tmp_path / "run.db")]
    first = await run("watch", job.handle, *journal, "--timeout", "0.1", environ=zuora.environment())
    assert first.status == 3
    zuora.purge_files(job)
    second = await watch()
    assert [end["outcome"] for end in second.of("finished")] == ["succeeded"]
    assert {failed["error"]["type"] for failed in second.of("failed")} == {"FileGone"}
    assert second.status == 1


async def test_the_same_folder_is_never_filled_twice(zuora, watch):
    job = exported(zuora, RIGHT, RIGHT)
    await watch(job.handle)
    asked = len(file_requests(zuora))
    again = await watch(job.handle)
    assert again.status == 0
    assert len(file_requests(zuora)) == asked == 2
    assert [file["fetched"] for file in again.of("downloaded")] == [False, False]


async def test_presigned_urls_that_a_journal_does_not_keep_are_asked_for_anew(zuora, watch, into):
    job = zuora.add_job("bulk-pdf", ends="Completed", seconds=0)
    fault = zuora.fault(Fault(Answer(403, NOT_YOURS.body), path="bulk-pdf-generation"))
    assert (await watch(job.handle)).status == 1
    fault.remove()
    second = await watch(job.handle)
    assert second.status == 0, second.err
    assert len(second.of("downloaded")) == len(names_in(into)) == len(job.document()["fileUrls"])


# --- cut short


async def cut_short(zuora, start, arguments, job, into, number):
    """Begin to fetch the job's file, whose sending stops in the middle; then send a signal."""
    zuora.fault(Fault(CutAfter(CUT, seconds=1000), path=job.file_ids[0], times=1))
    command = await start(arguments, zuora.environment())
    await until(lambda: into.exists() and any(path.stat().st_size == CUT for path in into.iterdir()))
    command.process.send_signal(number)
    return await command.ended()


@pytest.mark.parametrize("with_journal", [True, False], ids=["journal", "no journal"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["INT", "TERM", "KILL"])
@pytest.mark.parametrize("command", ["watch --download", "download --into"])
async def test_a_run_killed_in_the_middle_of_a_file_leaves_a_part_that_the_next_finishes(
    zuora, start, run, into, tmp_path, command, number, with_journal
):
    job = exported(zuora, TABLE, records=60_000)
    name, option = command.split()
    journal = ["--journal", str(tmp_path / "run.db")] if with_journal else []
    arguments = [name, job.handle, option, str(into), *journal, "--format", "jsonl"]
    stopped = await cut_short(zuora, start, arguments, job, into, number)
    assert stopped.status == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert "Traceback" not in stopped.err
    assert stopped.of("downloaded") == []
    wanted = f"q0-{job.file_ids[0]}.csv"
    assert names_in(into) == {f".{wanted}.part", f".{wanted}.part.json"}
    if name == "watch" and with_journal:
        arguments.remove(job.handle)
    ran = await run(*arguments, environ=zuora.environment())
    assert ran.status == 0, ran.err
    assert (into / wanted).read_text() == TABLE
    assert names_in(into) == {wanted}
    assert [file["records"] for file in ran.of("downloaded")] == [60_000]
    assert [record.headers.get("Range") for record in file_requests(zuora)] == [None, f"bytes={CUT}-"]


@pytest.mark.parametrize("command", ["watch --download", "download --into"])
async def test_an_interrupt_in_the_middle_of_a_file_says_so_and_how_to_have_the_rest(zuora, start, into, command):
    job = exported(zuora, TABLE, records=60_000)
    name, option = command.split()
    stopped = await cut_short(zuora, start, [name, job.handle, option, str(into)], job, into, signal.SIGINT)
    assert stopped.status == 130
    assert "1 file is not whole yet" in stopped.err
    assert "from there" in stopped.err
    assert "left running" not in stopped.err


async def test_an_export_killed_in_the_middle_of_a_file_goes_on_without_another_submit(
    zuora, start, run, into, tmp_path
):
    zuora.on_submit("aqua", seconds=0.4, fields={"batches": [{"recordCount": 60_000}]})
    zuora.fault(Fault(CutAfter(CUT, seconds=1000), path="/v1/files/", times=1))
    arguments = ["export", "--query", "q=select Id from Account", "--into", str(into)]
    arguments += ["--journal", str(tmp_path / "run.db")]
    command = await start(arguments, zuora.environment())
    await until(lambda: zuora.jobs)
    [file_id] = zuora.jobs[0].file_ids
    zuora.set_file(file_id, TABLE)
    await until(lambda: into.exists() and any(path.stat().st_size == CUT for path in into.iterdir()))
    command.process.kill()
    await command.ended()
    ran = await run(*arguments, environ=zuora.environment())
    assert ran.status == 0, ran.err
    assert ran.out == f"{into / f'q-{file_id}.csv'}  480.0 kB, 60000 records\n"
    assert len(zuora.submitted) == 1
    assert [record.headers.get("Range") for record in file_requests(zuora)] == [None, f"bytes={CUT}-"]


async def test_five_files_cut_five_times_each_are_whole(zuora, run, into):
    job = exported(zuora, *[TABLE] * 5, records=60_000)
    for file_id in job.file_ids:
        zuora.fault(Fault(CutAfter(50_000, seconds=0.05), path=file_id, times=5))
    ran = await run("watch", job.handle, "--download", str(into), environ=zuora.environment())
    assert ran.status == 0, ran.err
    assert [path.read_text() == TABLE for path in into.iterdir()] == [True] * 5
    ranges = [record.headers.get("Range") for record in file_requests(zuora)]
    assert ranges.count(None) == 5
    assert len(ranges) == 30
