"""The stages that pipelines of jobs are made of, on streams and on lists, against a whole tenant."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from zuora_jobs import (
    AQUA,
    OPERATION,
    AquaJob,
    Cancelled,
    ConfigurationError,
    DeleteInvoice,
    Failed,
    JobCancelled,
    JobFailed,
    JobHandle,
    JobLost,
    Lost,
    NotFound,
    Query,
    Ran,
    Rejected,
    RunQueries,
    Succeeded,
    emulator,
)
from zuora_jobs.downloads import Downloaded
from zuora_jobs.errors import FileGone, WatchTimedOut
from zuora_jobs.pipelines import StageFailed, download, each, finished_ok, pipeline, run
from zuora_jobs.protocol.submits import Submitted

pytestmark = pytest.mark.looptime

FILES = 2
"""Of each job that `add_job` makes."""

A = AQUA.handle("a")
SUCCEEDED = Succeeded(handle=A, job=AquaJob(status="completed"), polls=1, elapsed=1.0)
FAILED = Failed(handle=A, job=AquaJob(status="aborted"), polls=1, elapsed=1.0)
CANCELLED = Cancelled(handle=A, job=AquaJob(status="cancelled"), polls=1, elapsed=1.0)
LOST = Lost(handle=A, job=None, polls=0, elapsed=1.0, error=WatchTimedOut("too long"))
SYNTAX = RunQueries([Query("Broken", "elect Id")])


def files_in(folder: Path) -> set[Path]:
    return set(folder.iterdir()) if folder.exists() else set()


def queries(number: int) -> RunQueries:
    return RunQueries([Query(f"q{number}", "select Id from Invoice")])


def handle_of(job: emulator.Job) -> JobHandle[Any]:
    return JobHandle.parse(job.handle)


# --- what has ended well


async def test_of_outcomes_those_that_succeeded_pass_and_the_others_are_failures(all_of: Any) -> None:
    good, *bad = await all_of(pipeline([SUCCEEDED, FAILED, CANCELLED, LOST], finished_ok))
    assert good is SUCCEEDED
    assert [(failed.stage, type(failed.error)) for failed in bad] == [
        ("finished_ok", JobFailed),
        ("finished_ok", JobCancelled),
        ("finished_ok", JobLost),
    ]
    assert [failed.item for failed in bad] == [FAILED, CANCELLED, LOST]
    assert bad[2].error.outcome.error is LOST.error


async def test_of_a_stream_only_ends_come_through(zuora: Any, watching: Any, all_of: Any) -> None:
    good = [zuora.add_job("aqua", ends="completed", seconds=number) for number in (5, 1, 3)]
    bad = zuora.add_job("operation", ends="Failed", seconds=2)
    async with watching(zuora) as watcher:
        results = await all_of(pipeline(watcher.stream(map(handle_of, [*good, bad])), finished_ok))
    assert [result.handle.id for result in results if isinstance(result, Succeeded)] == [
        good[1].id,
        good[2].id,
        good[0].id,
    ]
    (failed,) = [result for result in results if isinstance(result, StageFailed)]
    assert failed.item.handle == OPERATION.handle(bad.id)
    assert type(failed.error) is JobFailed


async def test_a_pipeline_over_a_stream_knows_whose_it_is_and_so_does_one_over_that(zuora: Any, watching: Any) -> None:
    async with watching(zuora) as watcher:
        inner = pipeline(watcher.stream([]), finished_ok)
        assert inner.watcher is watcher
        assert pipeline(inner, finished_ok).watcher is watcher
        assert pipeline([1], finished_ok).watcher is None


async def test_leaving_a_pipeline_over_a_stream_stops_its_watches(zuora: Any, watching: Any) -> None:
    jobs = [zuora.add_job("aqua", ends="completed", seconds=seconds) for seconds in (1, 10_000, 10_000)]
    async with watching(zuora) as watcher:
        async with pipeline(watcher.stream(map(handle_of, jobs)), finished_ok) as results:
            assert (await anext(results)).handle.id == jobs[0].id
        count = len(zuora.requests)
        await asyncio.sleep(1000)
        assert len(zuora.requests) == count
        assert watcher.statistics().watching == 0


async def test_a_stream_that_never_ends_is_read_no_faster_than_its_results(zuora: Any, watching: Any) -> None:
    taken = 0

    async def handles() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield handle_of(zuora.add_job("aqua", ends="completed", seconds=0))

    async with watching(zuora) as watcher:
        stream = watcher.stream(handles(), at_once=10, buffer=5)
        async with pipeline(stream, finished_ok) as results:
            for read in range(30):
                await anext(results)
                await asyncio.sleep(20)
                assert taken <= read + 60


# --- what is to be run


async def test_requests_are_run_and_their_jobs_passed_on(zuora: Any, watching: Any, all_of: Any) -> None:
    async with watching(zuora) as watcher:
        results = await all_of(pipeline(map(queries, range(5)), run(watcher)))
    assert all(isinstance(result, Ran) for result in results)
    assert {str(result.submitted.handle) for result in results} == {one.handle for one in zuora.submitted}
    assert [result.outcome.status for result in results] == ["completed"] * 5
    assert asyncio.get_running_loop().time() == pytest.approx(3)


async def test_what_cannot_be_run_is_told_and_others_are(zuora: Any, watching: Any, all_of: Any) -> None:
    zuora.on_submit("aqua", ends="aborted", seconds=1, times=1)
    requests = [queries(1), SYNTAX, DeleteInvoice("INV99999999"), "nonsense", queries(2)]
    async with watching(zuora) as watcher:
        results = await all_of(pipeline(requests, run(watcher, concurrency=1)))
    assert [type(getattr(result, "error", result)) for result in results] == [
        JobFailed,
        Rejected,
        NotFound,
        ConfigurationError,
        Ran,
    ]
    assert [failed.item for failed in results[:4]] == requests[:4]
    assert {failed.stage for failed in results[:4]} == {"run"}


async def test_a_run_may_have_so_much_time_and_no_more(zuora: Any, watching: Any, all_of: Any) -> None:
    zuora.on_submit("aqua", ends="completed", seconds=1000)
    async with watching(zuora) as watcher:
        (failed,) = await all_of(pipeline([queries(1)], run(watcher, timeout=20)))
    assert type(failed.error) is JobLost
    assert asyncio.get_running_loop().time() == pytest.approx(20)


@pytest.mark.unmeasured
async def test_fifty_aqua_jobs_at_a_time_and_no_more_however_many_are_to_be_run(
    zuora: Any, watching: Any, all_of: Any
) -> None:
    zuora.on_submit("aqua", ends="completed", seconds=10)
    async with watching(zuora) as watcher:
        results = await all_of(pipeline(map(queries, range(130)), run(watcher, concurrency=130)))
    assert [type(result) for result in results] == [Ran] * 130
    posts = [record for record in zuora.requests if record.method == "POST"]
    assert len(posts) == 130  # none was refused: the emulator has the same limit
    begun = [one.at for one in zuora.submitted]
    assert begun == pytest.approx([0] * 50 + [10] * 50 + [20] * 30, abs=2.5)


# --- what is to be fetched


async def test_files_of_a_streams_jobs_are_fetched_with_its_client(
    zuora: Any, watching: Any, all_of: Any, into: Path
) -> None:
    jobs = [zuora.add_job("aqua", ends="completed", seconds=number) for number in range(3)]
    jobs.append(zuora.add_job("bulk-pdf", ends="Completed", seconds=1))
    async with watching(zuora) as watcher:
        files = await all_of(pipeline(watcher.stream(map(handle_of, jobs)), finished_ok, download(into)))
    assert {file.handle.id for file in files} == {job.id for job in jobs}
    assert all(isinstance(file, Downloaded) and file.fetched for file in files)
    assert {file.path for file in files} == files_in(into)
    assert all(file.path.stat().st_size == file.size for file in files)


async def test_files_of_what_was_run_are_fetched(zuora: Any, watching: Any, all_of: Any, into: Path) -> None:
    async with watching(zuora) as watcher:
        files = await all_of(
            pipeline([queries(1), queries(2)], run(watcher), download(into, watcher=watcher), lambda file: file.path)
        )
    assert sorted(file.name.split("-")[0] for file in files) == ["q1", "q2"]
    assert set(files) == files_in(into)


async def test_again_into_the_same_folder_nothing_is_fetched_twice(
    zuora: Any, watching: Any, all_of: Any, into: Path
) -> None:
    handle = handle_of(zuora.add_job("aqua", ends="completed", seconds=0))
    async with watching(zuora) as watcher:
        for number in range(2):
            files = await all_of(pipeline(watcher.stream([handle]), finished_ok, download(into)))
            assert [file.fetched for file in files] == [number == 0] * FILES
    assert sum("/v1/files/" in record.path for record in zuora.requests) == FILES


async def test_a_file_that_is_gone_is_told_and_the_others_are_fetched(
    zuora: Any, watching: Any, all_of: Any, into: Path
) -> None:
    first, second = (zuora.add_job("aqua", ends="completed", seconds=number) for number in range(2))
    zuora.purge_files(first)
    async with watching(zuora) as watcher:
        stages = (finished_ok, download(into), lambda file: file.path.name)
        results = await all_of(pipeline(watcher.stream([handle_of(first), handle_of(second)]), *stages))
    failures = [result for result in results if isinstance(result, StageFailed)]
    assert [(failed.stage, type(failed.error)) for failed in failures] == [("download", FileGone)] * FILES
    assert {failed.item.handle for failed in failures} == {handle_of(first)}
    assert {path.name for path in files_in(into)} == {result for result in results if isinstance(result, str)}
    assert len(results) == 2 * FILES


async def test_without_a_watcher_or_a_client_nobody_knows_whose_files_they_are(all_of: Any, into: Path) -> None:
    with pytest.raises(ConfigurationError, match="give it watcher= or client="):
        await all_of(pipeline([SUCCEEDED], download(into)))
    assert files_in(into) == set()


async def test_outcomes_in_a_list_are_fetched_by_a_client(zuora: Any, watching: Any, all_of: Any, into: Path) -> None:
    handle = handle_of(zuora.add_job("aqua", ends="completed", seconds=0))
    async with watching(zuora) as watcher:
        outcome = await watcher.watch(handle)
        files = await all_of(pipeline([outcome], download(into, client=watcher.client)))
    assert [file.handle for file in files] == [handle] * FILES


async def test_what_was_done_without_a_job_has_no_files(zuora: Any, watching: Any, all_of: Any, into: Path) -> None:
    done: Any = Ran(submitted=Submitted(request=DeleteInvoice("I1"), handle=None, answer=None), outcome=None)
    async with watching(zuora) as watcher:
        assert await all_of(pipeline([done], download(into, watcher=watcher))) == []


async def test_progress_is_told_of_each_file_to_its_end(zuora: Any, watching: Any, all_of: Any, into: Path) -> None:
    told: list[Any] = []
    handles = [handle_of(zuora.add_job(kind, ends=end, seconds=0)) for kind, end in
               (("aqua", "completed"), ("bulk-pdf", "Completed"))]  # fmt: skip
    async with watching(zuora) as watcher:
        stage = download(into, on_progress=told.append)
        files = await all_of(pipeline(watcher.stream(handles), finished_ok, stage))
    last = {progress.path: progress.received for progress in told}
    assert last == {file.path: file.size for file in files}


async def test_a_journal_learns_of_each_file(zuora: Any, watching: Any, all_of: Any, into: Path) -> None:
    handle = handle_of(zuora.add_job("aqua", ends="completed", seconds=0))
    async with watching(zuora, "run.db") as watcher:
        files = await all_of(pipeline(watcher.stream([handle]), finished_ok, download(into)))
        rows = watcher.journal._store._database.execute("SELECT path, size FROM files").fetchall()
    assert sorted(rows) == sorted((str(file.path), file.size) for file in files)
    assert len(rows) == FILES


async def test_no_more_files_are_fetched_at_a_time_than_asked_for(
    zuora: Any, watching: Any, all_of: Any, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = most = 0
    jobs = [zuora.add_job("aqua", ends="completed", seconds=0) for _ in range(6)]
    async with watching(zuora) as watcher:
        fetch = watcher.client.fetch

        async def counted(request: Any) -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(1)
            try:
                await fetch(request)
            finally:
                at_once -= 1

        monkeypatch.setattr(watcher.client, "fetch", counted)
        outcomes = await watcher.watch_all(map(handle_of, jobs))
        began = asyncio.get_running_loop().time()
        await all_of(pipeline(outcomes.values(), finished_ok, download(into, client=watcher.client, concurrency=3)))
    assert most == 3
    assert asyncio.get_running_loop().time() - began == pytest.approx(4)


async def test_the_whole_of_the_example_in_the_manual(zuora: Any, watching: Any, into: Path) -> None:
    jobs = [zuora.add_job("aqua", ends="completed", seconds=number) for number in (1, 2)]
    jobs.append(zuora.add_job("aqua", ends="aborted", seconds=1))
    loaded: list[Path] = []

    async def load(file: Downloaded) -> Path:
        await asyncio.sleep(0.1)
        loaded.append(file.path)
        return file.path

    async with watching(zuora) as watcher:
        stream = watcher.stream(map(handle_of, jobs))
        async with pipeline(stream, finished_ok, download(into=into, concurrency=4), each(load)) as results:
            got = [result async for result in results]
    assert [result for result in got if isinstance(result, Path)] == loaded
    assert len(loaded) == 2 * FILES
    assert [type(result.error) for result in got if isinstance(result, StageFailed)] == [JobFailed]
