"""Presigned URLs: fetched without a token, refreshed where they have expired, and never told to anybody."""

import asyncio
import logging
from typing import Any

import pytest
from aiohttp import web

from zuora_jobs import BULK_PDF, BulkPdfJob, JobHandle, Settings
from zuora_jobs.downloads import Downloaded, Progress
from zuora_jobs.downloads.fetching import successor
from zuora_jobs.emulator import CutAfter, Fault, Step
from zuora_jobs.errors import DownloadError, FileGone
from zuora_jobs.protocol.models import ResultFile

pytestmark = pytest.mark.looptime


def handle_of(job: Any) -> JobHandle[Any]:
    return JobHandle.parse(job.handle)


@pytest.fixture
async def job(zuora):
    return zuora.add_job("bulk-pdf", life=[Step("Completed")])


def at_the_store(zuora):
    return [record for record in zuora.requests if record.door == "store"]


async def test_the_token_never_gets_to_the_store(zuora, downloading, job, into, names_in):
    async with downloading(zuora) as downloader:
        results = await downloader.files_of(handle_of(job))
        again = await downloader.files_of(handle_of(job))
    assert results
    for result in results:
        assert isinstance(result, Downloaded)
        assert result.path.name == f"{result.file.name}-{job.handle.partition(':')[2]}.zip"
        assert result.records is None
    assert names_in(into) == {result.path.name for result in results}
    records = at_the_store(zuora)
    assert len(records) == len(results)
    assert {record.status for record in records} == {200}
    assert not any(record.bore_authorization for record in records)
    assert not any({"Zuora-Track-Id", "Cookie"} & set(record.headers) for record in records)
    assert [one.fetched for one in again] == [False] * len(results)


async def test_an_url_that_has_expired_is_asked_for_again_and_the_part_goes_on(zuora, downloading, job):
    async with downloading(zuora) as downloader:
        async with downloading(zuora) as asking:
            document = await asking._client.job(handle_of(job))
        zuora.set_file(job, bytes(range(256)) * 1000, 1)
        file = ResultFile(name="x", url=document.file_urls[0], suffix="")
        zuora.fault(Fault(CutAfter(100_000), path="_1.zip", times=3))
        await asyncio.sleep(259_200)
        saved = await downloader.file(handle_of(job), file)
    assert saved.path.read_bytes() == bytes(range(256)) * 1000
    told = [(record.status, record.headers.get("Range")) for record in at_the_store(zuora)]
    assert [status for status, _ in told] == [403, 200, 206, 206]
    assert [asked for _, asked in told] == [None, None, "bytes=100000-", "bytes=200000-"]


async def test_a_fresh_url_that_is_refused_as_well_means_that_the_file_is_gone(zuora, downloading, job, into):
    zuora.purge_files(job)
    async with downloading(zuora) as downloader:
        results = await downloader.files_of(handle_of(job))
    for error in results:
        assert isinstance(error, FileGone)
        assert "submit the job again" in str(error)
        assert error.handle == handle_of(job)
        assert error.path is not None
        assert error.path.parent == into
    assert list(into.iterdir()) == []
    assert len(at_the_store(zuora)) == 2 * len(results)


async def test_a_document_out_of_the_journal_has_no_signatures_and_the_job_is_asked_first(zuora, downloading, job):
    async with downloading(zuora) as downloader:
        document = await downloader._client.job(handle_of(job))
        bare = tuple(url.partition("?")[0] + "?(hidden)" for url in document.file_urls)
        results = await downloader.files_of((handle_of(job), BulkPdfJob(status="Completed", file_urls=bare)))
    assert all(isinstance(result, Downloaded) for result in results), results
    assert {record.status for record in at_the_store(zuora)} == {200}


async def test_a_job_that_is_gone_has_no_files(zuora, downloading):
    unknown = BULK_PDF.handle("2c92c8fd8e4b2a1c018e4b3f4a5d0009")
    bare = BulkPdfJob(status="Completed", file_urls=("https://store.example/a.zip?(hidden)",))
    async with downloading(zuora) as downloader:
        (error,) = await downloader.files_of((unknown, bare))
    assert isinstance(error, FileGone)
    assert "no such job" in str(error)


async def test_a_job_that_names_other_files_now_has_not_this_one(zuora, downloading):
    job = zuora.add_job("aqua", life=[Step("completed")])
    bare = ResultFile(name="a", url="https://store.example/a.zip?(hidden)", suffix=".zip", number=99)
    async with downloading(zuora) as downloader:
        with pytest.raises(FileGone, match="names no such file any more"):
            await downloader.file(handle_of(job), bare)


@pytest.mark.parametrize(
    "url",
    [
        "http://store.example/a.zip",
        "https://user:secret@store.example/a.zip",
        "ftp://127.0.0.1/a.zip",
        "file:///etc/passwd",
        "https:///a.zip",
        "https://[::1].example.com/a.zip",
        "https://store.example\\@other/a.zip",
        "javascript:1",
        "",
    ],
)
async def test_an_url_that_is_none_is_not_followed(liar, settings_of, downloading, url, caplog):
    async with downloading(settings_of(liar)) as downloader:
        with pytest.raises(DownloadError, match="that can be none") as caught:
            await downloader.file(BULK_PDF.handle("a"), ResultFile(url=url, suffix=".zip"))
    assert liar.heard == []
    assert "secret" not in str(caught.value) + caplog.text


@pytest.mark.parametrize("file_id", ["../../v1/users", "a/b", "", "a?b=c", None])
async def test_an_id_that_is_none_is_not_asked_for(liar, settings_of, downloading, file_id):
    async with downloading(settings_of(liar)) as downloader:
        with pytest.raises(DownloadError, match="that can be none"):
            await downloader.file(BULK_PDF.handle("a"), ResultFile(file_id=file_id))
    assert liar.heard == []


async def test_redirects_are_not_followed(liar, settings_of, downloading, a_job):
    elsewhere = {"Location": f"{liar.url}/elsewhere"}
    liar.lies = [lambda _: web.Response(status=302, headers=elsewhere)] * 100
    async with downloading(settings_of(liar)) as downloader:
        (error,) = await downloader.files_of(a_job(("b", "f1", None)))
    assert "302" in str(error)
    assert {request.path for request in liar.heard} == {"/v1/files/f1"}


S3_ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><Message>{message}</Message><StringToSign>canary-signature</StringToSign></Error>"""


async def test_what_the_store_says_is_told_and_its_secrets_are_not(liar, settings_of, downloading, caplog, into):
    caplog.set_level(logging.DEBUG)
    said = S3_ERROR.format(code="AccessDenied", message="Request has expired")
    liar.lies = [lambda _: web.Response(status=403, text=said, content_type="application/xml")] * 9

    def document(_):
        urls = [f"{liar.url}/a/invoices_1.zip?X-Amz-Signature=canary-signature&X-Amz-Credential=canary-credential"]
        return web.json_response({"jobId": "a", "status": "Completed", "fileUrls": urls, "success": True})

    liar.lies[1] = document
    url = f"{liar.url}/a/invoices_1.zip?X-Amz-Signature=canary-signature-0"
    async with downloading(settings_of(liar)) as downloader:
        (error,) = await downloader.files_of((BULK_PDF.handle("a"), BulkPdfJob(status="Completed", file_urls=(url,))))
    assert isinstance(error, FileGone)
    assert "AccessDenied: Request has expired" in str(error)
    assert [request.headers.get("Authorization") for request in liar.heard] == [None, "Bearer canary-token-5f1d", None]
    links = [error, error.__cause__, error.__context__]
    told = caplog.text + "".join(repr(vars(link)) + str(link) + repr(link) for link in links if link is not None)
    assert "canary" not in told
    assert list(into.iterdir()) == []


async def test_no_secret_is_written_down(liar, settings_of, downloading, caplog, into, table):
    caplog.set_level(logging.DEBUG)
    liar.content, liar.cuts = table(2000), [50_000]
    url = f"{liar.url}/a/invoices_1?X-Amz-Signature=canary-signature"
    told: list[Progress] = []
    async with downloading(settings_of(liar), on_progress=told.append) as downloader:
        task = asyncio.ensure_future(downloader.file(BULK_PDF.handle("a"), ResultFile(name="x", url=url)))
        while len(liar.heard) < 2:
            await asyncio.sleep(0.01)
            for path in into.iterdir():
                assert b"canary" not in path.read_bytes() + path.name.encode()
        saved = await task
        shown = repr(downloader)
    assert "canary" not in caplog.text + repr(told) + repr(saved) + shown


async def test_a_host_that_is_not_there_is_named_without_what_was_signed(downloading):
    url = "http://127.0.0.1:1/a.zip?X-Amz-Signature=canary-signature"
    settings = Settings(base_url="https://rest.example.com", access_token="canary-token-5f1d")
    async with downloading(settings) as downloader:
        with pytest.raises(DownloadError) as caught:
            await downloader.file(BULK_PDF.handle("a"), ResultFile(name="x", url=url))
    assert "no connection to http://127.0.0.1:1" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_file_is_found_again_by_its_path_its_name_or_its_place():
    def signed(path, **more):
        return ResultFile(url=f"https://s.example{path}?X-Amz-Signature=2", **more)

    lost = signed("/a/one.zip", name="one", number=1)
    by_path, by_name, by_place = (
        signed("/a/one.zip", name="x", number=3),
        signed("/b/one.zip", name="one", number=2),
        signed("/c/two.zip", name="two", number=1),
    )
    assert successor(lost, [by_place, by_name, by_path]) is by_path
    assert successor(lost, [by_place, by_name]) is by_name
    assert successor(lost, [by_place]) is by_place
    assert successor(lost, []) is None
    with_id = ResultFile(file_id="f1")
    assert successor(with_id, [with_id]) is with_id
