"""Files that come in pieces: cut, stalled, begun anew, and yet whole."""

import asyncio
from hashlib import sha256
from typing import Any

import pytest
from aiohttp import web

from zuora_jobs import JobHandle, Patience
from zuora_jobs.downloads import Downloaded
from zuora_jobs.emulator import CutAfter, Fault, Hang, Step
from zuora_jobs.errors import ConnectionFailed, DownloadError, MalformedResponse, ResponseTimeout
from zuora_jobs.transport.http import SILENCE

pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("either_way")]


def handle_of(job: Any) -> JobHandle[Any]:
    return JobHandle.parse(job.handle)


NAMES = ("../../evil", "Invoices", "con", ".hidden", "ein schöner Name")


async def test_five_files_cut_five_times_each_are_whole(zuora, downloading, table, into, names_in):
    batches = [{"name": name, "recordCount": 6000} for name in NAMES]
    job = zuora.add_job("aqua", life=[Step("completed")], fields={"batches": batches})
    for number, file_id in enumerate(job.file_ids):
        zuora.set_file(file_id, table(6000, seed=number))
        zuora.fault(Fault(CutAfter(40_000), path=file_id, times=5))
    async with downloading(zuora, concurrency=5) as downloader:
        results = await downloader.files_of(handle_of(job))
        assert all(isinstance(result, Downloaded) for result in results), results
        fetched = [record for record in zuora.requests if record.path.startswith("/v1/files/")]
        again = await downloader.files_of(handle_of(job))
    for number, (result, file_id) in enumerate(zip(results, job.file_ids, strict=True)):
        assert result.path.read_bytes() == table(6000, seed=number)
        assert result.path.parent == into
        assert (result.records, result.fetched, result.size) == (6000, True, result.path.stat().st_size)
        asked = [record for record in fetched if file_id in record.path]
        assert len(asked) == 6
        starts = [record.headers.get("Range") for record in asked]
        assert starts == [None, *(f"bytes={40_000 * cut}-" for cut in range(1, 6))]
        assert {record.headers.get("If-Range") for record in asked[1:]} - {None}
    assert names_in(into) == {result.path.name for result in results}
    assert [result.path.name.rpartition("-")[0] for result in results] == [
        "evil",
        "Invoices",
        "con",
        "hidden",
        "ein_schöner_Name",
    ]
    assert [(one.path, one.fetched) for one in again] == [(one.path, False) for one in results]
    assert len([record for record in zuora.requests if record.path.startswith("/v1/files/")]) == len(fetched)


async def test_a_new_run_goes_on_where_the_last_was_left(liar, settings_of, downloading, a_job, table, into, names_in):
    liar.content = content = table(5000)
    job = a_job(("b", "f1", 5000))
    liar.cuts = [100_000, 50_000]
    liar.lies = [None, None, *[lambda _: asyncio.sleep(10**9)] * 9]
    async with downloading(settings_of(liar), patience=Patience(again=0)) as downloader:
        for kept in (100_000, 150_000):
            (error,) = await downloader.files_of(job)
            assert isinstance(error, DownloadError)
            assert error.path == into / "b-f1.csv"
            assert (into / ".b-f1.csv.part").stat().st_size == kept
            assert "goes on" in str(error)
    assert names_in(into) == {".b-f1.csv.part", ".b-f1.csv.part.json"}
    liar.lies = []
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(job)
    assert liar.ranges[-2:] == ["bytes=100000-", "bytes=150000-"]
    assert saved.path.read_bytes() == content
    assert saved.records == 5000
    assert names_in(into) == {"b-f1.csv"}


async def test_what_counts_is_the_time_since_the_last_new_byte(liar, settings_of, downloading, a_job, table, looptime):
    liar.content = content = table(3000)
    step = 1000
    liar.cuts = [step] * (len(content) // step)
    async with downloading(settings_of(liar), patience=Patience(again=5)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 3000)))
    assert saved.path.read_bytes() == content
    assert len(liar.heard) == len(content) // step + 1
    assert looptime > 20, "far longer than its patience with what does not get on"


async def test_a_server_that_knows_no_ranges_and_always_cuts_is_given_up(
    liar, settings_of, downloading, a_job, looptime
):
    liar.content, liar.headers = b"x" * 300_000, {}
    liar.cuts = [100_000] * 1000
    async with downloading(settings_of(liar)) as downloader:
        (error,) = await downloader.files_of(a_job(("b", "f1", None)))
    assert isinstance(error.__cause__, ConnectionFailed)
    assert set(liar.ranges) == {None}
    assert 55 < looptime < 85


async def test_one_that_knows_no_ranges_begins_anew(liar, settings_of, downloading, a_job, table, into):
    liar.content, liar.headers = table(5000), {}
    liar.cuts = [100_000, 150_000]
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 5000)))
    assert saved.path.read_bytes() == table(5000)
    assert liar.ranges == [None] * 3


async def test_a_file_that_has_become_another_meanwhile_is_fetched_anew(liar, settings_of, downloading, a_job, table):
    liar.content = table(4000, seed=1)
    liar.cuts = [100_000]

    def changed(_):
        liar.content, liar.headers = table(4500, seed=2), {"ETag": '"two"'}

    liar.lies = [None, changed]
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 4500)))
    assert saved.path.read_bytes() == table(4500, seed=2)
    assert liar.ranges == [None, "bytes=100000-"]


async def test_a_date_will_do_as_a_condition_and_a_weak_tag_alone_will_not(
    liar, settings_of, downloading, a_job, table
):
    date = "Tue, 24 Nov 2020 18:45:00 GMT"
    liar.content, liar.headers = table(4000), {"ETag": 'W/"one"', "Last-Modified": date}
    liar.cuts = [100_000]
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 4000)))
    assert saved.path.read_bytes() == table(4000)
    assert liar.heard[1].headers["If-Range"] == date


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 0-9/*",
        "bytes 99999-{last}/{size}",
        "bytes 100001-{last}/{size}",
        "bytes 100000-{last}/9",
        "lines 1-2/3",
        "",
    ],
)
async def test_a_lying_range_is_not_put_into_the_file(liar, settings_of, downloading, a_job, table, content_range):
    liar.content = content = table(5000)
    liar.cuts = [100_000]

    def lie(request):
        told = content_range.format(last=len(content) - 1, size=len(content))
        return liar.send(request, content[100_000:], 206, {"ETag": '"one"', "Content-Range": told})

    liar.lies = [None, lie]
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 5000)))
    assert saved.path.read_bytes() == content
    assert liar.ranges == [None, "bytes=100000-", None]


async def test_the_rest_of_another_file_is_not_put_into_this_one(liar, settings_of, downloading, a_job, table):
    liar.content = content = table(5000)
    liar.cuts = [100_000]

    def lie(request):
        told = f"bytes 100000-{len(content) - 1}/{len(content)}"
        return liar.send(request, bytes(len(content) - 100_000), 206, {"ETag": '"two"', "Content-Range": told})

    liar.lies = [None, lie]
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 5000)))
    assert saved.path.read_bytes() == content


async def test_a_range_that_is_not_to_be_had_begins_anew(liar, settings_of, downloading, a_job, table):
    liar.content = content = table(5000)
    liar.cuts = [100_000]
    liar.lies = [None, lambda _: web.Response(status=416, text="<Error><Code>InvalidRange</Code></Error>")]
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 5000)))
    assert saved.path.read_bytes() == content
    assert liar.ranges == [None, "bytes=100000-", None]


async def test_a_part_that_comes_in_parts_is_put_together(liar, settings_of, downloading, a_job, table):
    liar.content = content = table(5000)
    liar.cuts = [100_000]

    def less(request):
        headers = {"ETag": '"one"', "Content-Range": f"bytes 100000-149999/{len(content)}"}
        return liar.send(request, content[100_000:150_000], 206, headers)

    liar.lies = [None, less]
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 5000)))
    assert saved.path.read_bytes() == content
    assert liar.ranges == [None, "bytes=100000-", "bytes=150000-"]


async def test_silence_is_a_cut(zuora, downloading, liar, settings_of, a_job, table, looptime):
    liar.content = content = table(5000)

    async def stall(request):
        response = web.StreamResponse(headers={"ETag": '"one"'})
        response.content_length = len(content)
        await response.prepare(request)
        await response.write(content[:70_000])
        await asyncio.sleep(30)
        await response.write(content[70_000:80_000])
        await asyncio.sleep(10**6)
        raise AssertionError

    liar.lies = [stall]
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 5000)))
    assert saved.path.read_bytes() == content
    assert liar.ranges == [None, "bytes=80000-"]
    assert 30 + SILENCE <= looptime < 30 + SILENCE + 3


async def test_silence_for_ever_is_told(zuora, downloading, into):
    job = zuora.add_job("aqua", life=[Step("completed")], fields={"batches": [{"name": "a", "recordCount": 3}]})
    zuora.fault(Fault(Hang(), path="/v1/files"))
    async with downloading(zuora) as downloader:
        (error,) = await downloader.files_of(handle_of(job))
    assert isinstance(error.__cause__, ResponseTimeout)
    assert list(into.iterdir()) == []


async def test_a_page_of_a_gateway_is_no_file(zuora, downloading):
    job = zuora.add_job("aqua", life=[Step("completed")], fields={"batches": [{"name": "a", "recordCount": 3}]})
    zuora.fault(Fault("html", path="/v1/files", times=2))
    zuora.fault(Fault("unavailable", path="/v1/files", times=2))
    zuora.fault(Fault("unauthorized", path="/v1/files", times=1))
    async with downloading(zuora) as downloader:
        (saved,) = await downloader.files_of(handle_of(job))
    assert saved.records == 3


async def test_what_is_compressed_on_the_way_is_refused_clearly(zuora, downloading, into):
    job = zuora.add_job("aqua", life=[Step("completed")], fields={"batches": [{"name": "a", "recordCount": 3}]})
    zuora.fault(Fault("not-gzip", path="/v1/files"))
    async with downloading(zuora) as downloader:
        (error,) = await downloader.files_of(handle_of(job))
    assert isinstance(error.__cause__, MalformedResponse)
    assert "compressed" in str(error)
    assert list(into.iterdir()) == []


async def test_a_file_of_unknown_length_is_taken_to_its_end(liar, settings_of, downloading, a_job, table, into):
    content = table(5000)

    async def chunked(request):
        response = web.StreamResponse(headers={"ETag": '"one"'})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(content)
        return response

    liar.lies = [chunked]
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 5000)))
    assert saved.path.read_bytes() == content
    assert saved.size == len(content)


async def test_an_empty_file_is_a_file(liar, settings_of, downloading, a_job):
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", 0)))
    assert (saved.size, saved.records) == (0, 0)


async def test_long_files_are_whole_to_the_last_byte(liar, settings_of, downloading, a_job):
    liar.content = content = b"".join(sha256(str(number).encode()).digest() for number in range(150_000)) + b"end"
    liar.cuts = [3_000_000]
    async with downloading(settings_of(liar)) as downloader:
        (saved,) = await downloader.files_of(a_job(("b", "f1", None), encrypted="pgp"))
    assert saved.path.name == "b-f1.csv.pgp"
    assert saved.path.read_bytes() == content
