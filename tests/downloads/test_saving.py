"""What is on the disk, and what is not: names, links, room, rejects, and who else is there."""

import asyncio
import errno
import gzip
import os
import shutil
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from zuora_jobs import JobHandle, Patience, WatcherClosed, ZuoraClient
from zuora_jobs.downloads import Downloaded, Downloader, Progress
from zuora_jobs.downloads.parts import Part
from zuora_jobs.downloads.ranges import Source
from zuora_jobs.emulator import Fault, Step
from zuora_jobs.errors import CannotSave, ConfigurationError, DownloadError, FileGone, JournalError, WrongContent
from zuora_jobs.watching.outcome import outcome_of

pytestmark = pytest.mark.looptime


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_bytes(b"precious")
    yield folder
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("precious", b"precious")]


async def test_one_bad_file_does_not_keep_the_others(zuora, downloading, into, names_in):
    names = ["good", "gone", "wrong", "fine"]
    batches = [{"name": name, "recordCount": 5} for name in names]
    job = zuora.add_job("aqua", life=[Step("completed")], fields={"batches": batches})
    zuora.purge_files(job.file_ids[1])
    zuora.set_file(job.file_ids[2], b"Id\n1\n2\n")
    handle: JobHandle[Any] = JobHandle.parse(job.handle)
    async with downloading(zuora) as downloader:
        document = await downloader._client.job(handle)
        outcome = outcome_of(handle, document, polls=1, elapsed=0)
        good, gone, wrong, fine = await downloader.files_of(outcome)
    assert [good.records, fine.records] == [5, 5]
    assert isinstance(gone, FileGone)
    assert "three days" in str(gone)
    assert isinstance(wrong, WrongContent)
    assert "has 2 records, and Zuora counted 5" in str(wrong)
    assert wrong.path == into / f"wrong-{job.file_ids[2]}.csv.rejected"
    assert wrong.path is not None
    assert wrong.path.read_bytes() == b"Id\n1\n2\n"
    assert names_in(into) == {good.path.name, fine.path.name, wrong.path.name}
    asked = [record for record in zuora.requests if job.file_ids[2] in record.path]
    assert len(asked) == 1, "what came in one piece is not fetched again"


async def test_what_was_put_together_and_is_wrong_is_fetched_once_more(liar, settings_of, downloading, a_job, table):
    liar.content = content = table(5000)
    liar.cuts = [100_000]
    lying = {"ETag": '"one"', "Content-Range": f"bytes 100000-{len(content) - 1}/{len(content)}"}
    liar.lies = [None, lambda request: liar.send(request, b"\n" * (len(content) - 100_000), 206, lying)]
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 5000)))
    assert saved.path.read_bytes() == content
    assert liar.ranges == [None, "bytes=100000-", None]


async def test_a_damaged_archive_is_told_and_kept_aside(liar, settings_of, downloading, a_job, into, names_in):
    liar.content = gzip.compress(b"Id\n1\n" * 1000)[:-8]
    async with downloading(settings_of(liar)) as downloader:
        (error,) = await downloader.files_of(a_job(("b", "f1", None), format="GZIP"))
        assert isinstance(error, WrongContent)
        assert "is damaged" in str(error)
        assert names_in(into) == {"b-f1.csv.gz.rejected"}
        liar.content = gzip.compress(b"Id\n" + b"1\n" * 1000)
        (saved,) = await downloader.files_of(a_job(("b", "f1", 1000), format="GZIP"))
    assert saved.records == 1000


async def test_an_end_that_was_left_is_only_looked_through(liar, settings_of, downloading, a_job, into, table):
    content = table(1000)
    into.mkdir(parents=True)
    part = Part(into / "b-f1.csv", counts=True)
    assert part.open()
    part.begin_at(0, Source('"one"', len(content)))
    part.write(content)
    part.close()
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 1000)))
    assert saved.path.read_bytes() == content
    assert liar.heard == []


@pytest.mark.parametrize(
    "note", [b"", b"{", b'{"validator": 1, "size": 2}', b'{"validator": "\\"one\\"", "size": 3}', None]
)
async def test_a_part_that_is_not_known_is_not_gone_on_with(liar, settings_of, downloading, a_job, into, table, note):
    into.mkdir(parents=True)
    (into / ".b-f1.csv.part").write_bytes(b"garbage")
    if note is not None:
        (into / ".b-f1.csv.part.json").write_bytes(note)
    liar.content = table(1000)
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 1000)))
    assert saved.path.read_bytes() == table(1000)
    assert liar.ranges == [None]


@pytest.mark.parametrize("name", ["b-f1.csv", ".b-f1.csv.part", ".b-f1.csv.part.json", "b-f1.csv.rejected"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
async def test_nothing_is_written_through_a_link(liar, settings_of, downloading, a_job, into, outside, name, link):
    into.mkdir(parents=True)
    link(outside / "precious", into / name)
    liar.content = b"Id\n1\n"
    async with downloading(settings_of(liar)) as downloader:
        for records in (1, 2):
            (result,) = await downloader.files_of(a_job(("b", "f1", records)))
            if name == "b-f1.csv" and link is os.symlink:
                assert isinstance(result, CannotSave)
                assert "move it away" in str(result)
            if name == ".b-f1.csv.part":
                assert isinstance(result, CannotSave)
                assert "move it away" in str(result)
    (into / name).unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["b-f1.csv", ".b-f1.csv.part"])
async def test_a_folder_or_a_pipe_in_its_place_is_told(liar, settings_of, downloading, a_job, into, name):
    into.mkdir(parents=True)
    make = [(into / name).mkdir, partial(os.mkfifo, into / name)]
    async with downloading(settings_of(liar)) as downloader:
        for put in make:
            put()
            (error,) = await downloader.files_of(a_job(("b", "f1", None)))
            assert isinstance(error, CannotSave)
            assert str(into / "b-f1.csv") in str(error)
            shutil.rmtree(into)
            into.mkdir()
    assert liar.heard == []


async def test_a_folder_behind_a_link_is_the_users_own(liar, settings_of, downloading, a_job, into):
    into.mkdir(parents=True)
    (into.parent / "link").symlink_to(into)
    async with downloading(settings_of(liar), into=into.parent / "link" / "deeper") as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", None)))
    assert saved.path == into / "deeper" / "b-f1.csv"


async def test_a_folder_that_cannot_be_is_told_before_any_request(liar, settings_of, downloading, into):
    into.parent.mkdir()
    into.write_bytes(b"a file")
    for folder in (into, into / "deeper", "/proc/no", "a\0b", "~nobody-of-that-name/x"):
        with pytest.raises(CannotSave, match="cannot save"):
            async with downloading(settings_of(liar), into=folder):
                pytest.fail("it must not open")
    assert liar.heard == []


async def test_room_is_looked_at_first(liar, settings_of, downloading, a_job, into, monkeypatch, names_in):
    free = shutil.disk_usage("/")._replace(free=3 * 1024 * 1024)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    liar.content = bytes(4 * 1024 * 1024)
    async with downloading(settings_of(liar)) as downloader:
        (error,) = await downloader.files_of(a_job(("b", "f1", None)))
        assert isinstance(error, CannotSave)
        assert "needs 4.0 MiB more, and 3.0 MiB are free: make room" in str(error)
        assert names_in(into) == set()
        liar.content = bytes(2 * 1024 * 1024)
        results = await downloader.files_of(a_job(("b", "f1", None), ("c", "f2", None)))
    saved, refused = sorted(results, key=lambda result: isinstance(result, CannotSave))
    assert isinstance(saved, Downloaded)
    assert "of which downloads under way will take" in str(refused)


async def test_a_disk_that_is_full_in_the_middle_keeps_what_it_has(
    liar, settings_of, downloading, a_job, into, monkeypatch, table
):
    liar.content = content = table(8000)
    real, room = os.write, [150_000]

    def write(file, data):
        if len(data) < 100:
            return real(file, data)
        if room[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(file, data[: room[0]])
        room[0] -= written
        return written

    with monkeypatch.context() as full:
        full.setattr(os, "write", write)
        async with downloading(settings_of(liar)) as downloader:
            (error,) = await downloader.files_of(a_job(("b", "f1", 8000)))
    assert isinstance(error, CannotSave)
    assert "No space left on device" in str(error)
    assert "make room" in str(error)
    assert (into / ".b-f1.csv.part").read_bytes() == content[:150_000]
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 8000)))
    assert saved.path.read_bytes() == content
    assert liar.ranges == [None, "bytes=150000-"]


async def test_no_more_at_once_than_was_said(liar, settings_of, downloading, a_job, looptime):
    under_way, most = 0, 0

    async def slowly(_):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(1)
        under_way -= 1

    liar.lies = [slowly] * 9
    async with downloading(settings_of(liar), concurrency=3) as downloader:
        results = await downloader.files_of(a_job(*((f"b{number}", f"f{number}", None) for number in range(9))))
    assert all(isinstance(result, Downloaded) for result in results)
    assert most == 3
    assert looptime == 3


async def test_who_wants_the_same_file_shares_it(liar, settings_of, downloading, a_job, table):
    async def slowly(_):
        await asyncio.sleep(1)

    liar.content, liar.lies = table(100), [slowly]
    async with downloading(settings_of(liar)) as downloader:
        job = a_job(("b", "f1", 100))
        results = [one for many in await asyncio.gather(*(downloader.files_of(job) for _ in range(3))) for one in many]
    assert [result.fetched for result in results] == [True, False, False]
    assert {result.records for result in results} == {100}
    assert len(liar.heard) == 1


async def test_another_downloader_waits_until_it_is_done(liar, settings_of, downloading, a_job, table, looptime):
    async def slowly(_):
        await asyncio.sleep(10)

    liar.content, liar.lies = table(100), [slowly]
    job = a_job(("b", "f1", 100))
    async with downloading(settings_of(liar)) as one, downloading(settings_of(liar)) as other:
        (mine,), (theirs,) = await asyncio.gather(one.files_of(job), other.files_of(job))
    assert (mine.fetched, theirs.fetched) == (True, False)
    assert 10 <= looptime < 11
    assert len(liar.heard) == 1


async def test_who_waits_goes_on_where_the_other_gave_up(liar, settings_of, downloading, a_job, table):
    liar.content, liar.cuts = table(5000), [100_000]

    async def never(_):
        await asyncio.sleep(10**6)

    liar.lies = [None, never]
    job = a_job(("b", "f1", 5000))
    async with downloading(settings_of(liar)) as one, downloading(settings_of(liar)) as other:
        first = asyncio.ensure_future(one.files_of(job))
        await asyncio.sleep(5)
        second = asyncio.ensure_future(other.files_of(job))
        await asyncio.sleep(5)
        first.cancel()
        (saved,) = await second
        assert first.cancelled()
    assert saved.path.read_bytes() == table(5000)
    assert liar.ranges[-1] == "bytes=100000-"


async def test_progress_is_told_now_and_then_and_at_the_end(liar, settings_of, downloading, a_job, table):
    liar.content = content = table(5000)

    async def in_pieces(request):
        response = web.StreamResponse(headers={"ETag": '"one"'})
        response.content_length = len(content)
        await response.prepare(request)
        for start in range(0, len(content), 1000):
            await response.write(content[start : start + 1000])
            await asyncio.sleep(0.01)
        return response

    liar.lies = [in_pieces]
    told: list[Progress] = []
    async with downloading(settings_of(liar), on_progress=told.append) as downloader:
        await downloader.files_of(a_job(("b", "f1", 5000)))
    seconds = len(content) / 1000 * 0.01
    assert seconds * 10 * 0.8 < len(told) <= seconds * 10 + 2
    received = [progress.received for progress in told]
    assert received == sorted(received)
    assert received[-1] == told[-1].size == len(content)
    assert {progress.size for progress in told} == {len(content)}


async def test_a_listener_that_fails_harms_nobody(liar, settings_of, downloading, a_job, caplog):
    def fail(_):
        raise RuntimeError

    liar.content = b"Id\n1\n"
    async with downloading(settings_of(liar), on_progress=fail) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 1)))
    assert saved.records == 1
    assert "progress" in caplog.text


async def test_the_journal_is_told_once(liar, settings_of, downloading, a_job, tmp_path, inline, into):
    told = []

    class Told:
        async def saved(self, handle, path, size):
            told.append((handle, path, size))

    liar.content = b"Id\n1\n"
    async with downloading(settings_of(liar), journal=Told()) as downloader:
        job = a_job(("b", "f1", 1))
        await downloader.files_of(job)
        await downloader.files_of(job)
    assert told == [(job[0], into / "b-f1.csv", 5)]


async def test_a_journal_that_cannot_be_told_is_not_the_files_fault(liar, settings_of, downloading, a_job, into):
    class Full:
        async def saved(self, *_):
            raise JournalError("no room")

    async with downloading(settings_of(liar), journal=Full()) as downloader:
        with pytest.raises(JournalError, match="no room"):
            await downloader.files_of(a_job(("b", "f1", 0)))
    assert (into / "b-f1.csv").exists()


async def test_the_note_of_who_was_killed_just_after_is_taken_away(
    liar, settings_of, downloading, a_job, into, names_in
):
    into.mkdir(parents=True)
    (into / "b-f1.csv").write_bytes(b"Id\n1\n")
    (into / ".b-f1.csv.part.json").write_bytes(b"{}")
    async with downloading(settings_of(liar)) as downloader:
        (found,) = await downloader.files_of(a_job(("b", "f1", 1)))
    assert (found.fetched, found.size, found.records) == (False, 5, 1)
    assert names_in(into) == {"b-f1.csv"}
    assert liar.heard == []


async def test_a_bearers_trouble_is_not_the_others(zuora, downloading):
    """A body that is cut says nothing about whether anybody is there: whoever polls is not held up."""
    job = zuora.add_job("aqua", life=[Step("completed")], fields={"batches": [{"name": "a", "recordCount": 3}]})
    zuora.fault(Fault("truncated", path="/v1/files"))
    async with downloading(zuora, patience=Patience(again=20)) as downloader:
        (error,) = await downloader.files_of(JobHandle.parse(job.handle))
        assert isinstance(error, DownloadError)
        assert not downloader._client.limiter.gate.breaker.is_open


async def test_wrong_use_is_told_at_once(liar, settings_of, into, one_file):
    client = ZuoraClient(settings_of(liar))
    with pytest.raises(ConfigurationError, match="concurrency must be a whole number, 1 or more"):
        Downloader(client, into, concurrency=0)
    downloader = Downloader(client, into)
    assert "closed" in repr(downloader)
    with pytest.raises(WatcherClosed):
        await downloader.__aenter__()
    async with client:
        with pytest.raises(WatcherClosed, match="the downloader is closed"):
            await downloader.file(JobHandle.parse("aqua:a"), one_file())
    assert not into.exists()


async def test_who_is_cancelled_leaves_nothing_running(liar, settings_of, downloading, a_job, table, into, names_in):
    async def never(_):
        await asyncio.sleep(10**6)

    liar.content, liar.cuts, liar.lies = table(5000), [100_000], [None, never]
    async with downloading(settings_of(liar)) as downloader:
        task = asyncio.ensure_future(downloader.files_of(a_job(("b", "f1", 5000))))
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert names_in(into) == {".b-f1.csv.part", ".b-f1.csv.part.json"}
    assert not [one for one in asyncio.all_tasks() if "zuora_jobs/downloads" in repr(one.get_coro())]
