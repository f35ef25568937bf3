"""Files that a test puts in place of the usual ones, that are gone, or that come in segments."""

import asyncio
import csv
import gzip
import io
import tracemalloc
from typing import Any

import aiohttp
import pytest

from zuora_jobs.emulator import CutAfter, Fault, Step, Truncate
from zuora_jobs.emulator.deliveries import MIB
from zuora_jobs.errors import ConfigurationError

DONE = (Step("completed"),)
PLAIN = {"Accept-Encoding": "identity"}


def aqua(caller: Any, **fields: Any) -> Any:
    return caller.zuora.add_job("aqua", life=DONE, fields=fields)


async def test_a_file_can_be_anything(calling: Any, tmp_path: Any) -> None:
    (path := tmp_path / "any.csv").write_bytes(b"\x00\xff")
    async with calling() as caller:
        job = aqua(caller)
        first, second = job.file_ids
        for content, read in ((b"\x00", b"\x00"), ("ä,b\n", "ä,b\n".encode()), (path, b"\x00\xff")):
            caller.zuora.set_file(first, content)
            assert await caller.read(f"/v1/files/{first}") == read
            caller.zuora.set_file(job, content, 2)
            assert await caller.read(f"/v1/files/{second}") == read
        pdfs = caller.zuora.add_job("bulk-pdf", life=[Step("Completed")])
        urls = (await caller.poll(pdfs))["fileUrls"]
        for number, url in enumerate(urls, 1):
            caller.zuora.set_file(pdfs.handle, f"archive {number}", number)
            assert await (await caller.fetch(url)).text() == f"archive {number}"


async def test_record_counts_can_lie(calling: Any) -> None:
    async with calling() as caller:
        job = aqua(caller, batches=[{"recordCount": 3}])
        caller.zuora.set_file(job, "Id\n1\n2\n")
        (batch,) = (await caller.poll(job))["batches"]
        rows = (await caller.read(f"/v1/files/{batch['fileId']}")).splitlines()[1:]
        assert (batch["recordCount"], len(rows)) == (3, 2)


async def test_what_is_not_there_cannot_be_set(calling: Any, tmp_path: Any) -> None:
    async with calling() as caller:
        job = aqua(caller)
        for file, content, number, complaint in (
            ("nowhere", b"", 1, "neither a job nowhere nor a result file"),
            ("aqua:nowhere", b"", 1, "neither a job"),
            (job, b"", 3, "no file number 3 among the 2"),
            (job, b"", 0, "no file number 0"),
            (caller.zuora.add_job("operation"), b"", 1, "among the 0"),
            (job, tmp_path / "nowhere", 1, "there is no file"),
        ):
            with pytest.raises(ConfigurationError, match=complaint):
                caller.zuora.set_file(file, content, number)


@pytest.mark.looptime
async def test_a_file_that_was_purged(calling: Any) -> None:
    async with calling() as caller:
        job, pdfs = aqua(caller), caller.zuora.add_job("bulk-pdf", life=[Step("Completed")])
        first, second = job.file_ids
        caller.zuora.purge_files(first)
        response = await caller.get(f"/v1/files/{first}")
        assert (response.status, (await response.json())["reasons"][0]["code"]) == (404, "50000040")
        assert (await caller.get(f"/v1/files/{second}")).status == 200
        caller.zuora.purge_files(job)
        assert (await caller.get(f"/v1/files/{second}")).status == 404
        assert [batch["fileId"] for batch in (await caller.poll(job))["batches"]] == [first, second]
        caller.zuora.set_file(first, "back")
        assert await caller.read(f"/v1/files/{first}") == b"back"
        caller.zuora.purge_files(pdfs.handle)
        for url in (await caller.poll(pdfs))["fileUrls"]:
            response = await caller.fetch(url)
            assert (response.status, response.content_type) == (404, "application/xml")
            assert "<Code>NoSuchKey</Code>" in await response.text()
            assert caller.zuora.requests[-1].handle == pdfs.handle


@pytest.mark.looptime
async def test_downloads_can_be_resumed_as_long_as_the_file_is_the_same(calling: Any) -> None:
    async with calling() as caller:
        job = aqua(caller)
        path = f"/v1/files/{job.file_ids[0]}"
        caller.zuora.set_file(job, "0123456789")
        whole = await caller.get(path, headers=PLAIN)
        names = ("Accept-Ranges", "Content-Length", "Last-Modified")
        assert [whole.headers[name] for name in names] == ["bytes", "10", "Mon, 05 Jan 2026 09:00:00 GMT"]
        for validator in (whole.headers["ETag"], whole.headers["Last-Modified"], None):
            condition = {} if validator is None else {"If-Range": validator}
            part = await caller.get(path, headers={**PLAIN, "Range": "bytes=4-", **condition})
            assert (part.status, await part.text()) == (206, "456789")
            assert (part.headers["Content-Range"], part.headers["Content-Length"]) == ("bytes 4-9/10", "6")
            assert part.headers["ETag"] == whole.headers["ETag"]
        beyond = await caller.get(path, headers={**PLAIN, "Range": "bytes=10-"})
        assert (beyond.status, beyond.headers["Content-Range"]) == (416, "bytes */10")
        await asyncio.sleep(1)
        caller.zuora.set_file(job, "abcdefghij")
        for validator in (whole.headers["ETag"], whole.headers["Last-Modified"]):
            other = await caller.get(path, headers={**PLAIN, "Range": "bytes=4-", "If-Range": validator})
            assert (other.status, await other.text()) == (200, "abcdefghij")


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("identity", False),
        ("gzip", True),
        ("gzip;q=0, identity", False),
        ("br, GZIP; q=0.5", True),
        ("gzip;q=0.0", False),
    ],
)
async def test_result_files_are_compressed_for_those_who_ask(accepted: Any, compressed: Any, calling: Any) -> None:
    async with calling() as caller, aiohttp.ClientSession(caller.zuora.url, auto_decompress=False) as session:
        job = aqua(caller)
        caller.zuora.set_file(job, text := "0123456789" * 1000)
        headers = {**caller.authorization, "Accept-Encoding": accepted}
        path = f"/v1/files/{job.file_ids[0]}"
        async with session.get(path, headers=headers) as response:
            body = await response.read()
            assert (gzip.decompress(body) if compressed else body).decode() == text
            assert (response.headers.get("Content-Encoding") == "gzip") is compressed
            assert response.headers["ETag"].startswith("W/") is compressed  # of which no part can be had
            assert ("Accept-Ranges" in response.headers) is not compressed
        async with session.get(path, headers={**headers, "Range": "bytes=5-"}) as response:
            assert (response.status, (await response.read()).decode()) == (206, text[5:])


async def test_segments(calling: Any) -> None:
    async with calling() as caller:
        batch = {"name": "N", "query": "select Id from N", "segments": ["s1", "s2", "s3"], "recordCount": 8}
        job = aqua(caller, batches=[batch, {}])
        assert job.file_ids[:3] == ["s1", "s2", "s3"]
        assert len(job.file_ids) == 4
        shown = (await caller.poll(job))["batches"][0]
        assert (shown["segments"], shown["recordCount"], "fileId" in shown) == (["s1", "s2", "s3"], 8, False)
        rows = []
        for number, segment in enumerate(shown["segments"], 1):
            response = await caller.get(f"/v1/files/{segment}")
            assert f'"N_{number}.csv"' in response.headers["Content-Disposition"]
            header, *some = csv.reader(io.StringIO(await response.text()))
            assert header == ["N.Id"]
            assert some
            rows += some
        assert rows == [[f"Id-{number}"] for number in range(1, 9)]
        caller.zuora.set_file("s2", "mine")
        assert await caller.read("/v1/files/s2") == b"mine"


@pytest.mark.looptime
async def test_results_do_not_show_before_they_are_there(calling: Any) -> None:
    async with calling() as caller:
        fields = {"batches": [{"segments": ["s1"], "recordCount": 8}]}
        job = caller.zuora.add_job("aqua", life=[Step("executing", 1), *DONE], fields=fields)
        assert not {"segments", "recordCount", "fileId"} & set((await caller.poll(job))["batches"][0])
        assert (await caller.get("/v1/files/s1")).status == 404
        await asyncio.sleep(1)
        assert (await caller.poll(job))["batches"][0]["segments"] == ["s1"]


async def test_a_large_file_takes_little_memory(calling: Any, tmp_path: Any) -> None:
    with (path := tmp_path / "large").open("wb") as file:
        file.truncate(200 * MIB)
        file.seek(150 * MIB)
        file.write(b"here")
    async with calling() as caller:
        job = aqua(caller)
        caller.zuora.set_file(job, path)
        caller.zuora.fault(Fault(Truncate(0.5), times=1))
        url, read = f"/v1/files/{job.file_ids[0]}", 0
        tracemalloc.start()
        try:
            with pytest.raises(aiohttp.ClientPayloadError):
                async with caller.session.get(url, headers=caller.authorization) as response:
                    async for piece in response.content.iter_any():
                        read += len(piece)
            assert read == 100 * MIB
            headers = {**caller.authorization, "Range": f"bytes={read}-"}
            async with caller.session.get(url, headers=headers) as response:
                assert response.status == 206
                found = b""
                async for piece in response.content.iter_any():
                    if read <= 150 * MIB < read + len(piece):
                        found = piece[150 * MIB - read :][:2]
                    read += len(piece)
            assert tracemalloc.get_traced_memory()[1] < 8 * MIB
        finally:
            tracemalloc.stop()
        assert (read, found[:1]) == (200 * MIB, b"h")


@pytest.mark.looptime
@pytest.mark.parametrize("where", ["memory", "disk"])
async def test_a_file_that_is_cut_five_times_takes_six_requests(
    where: Any, calling: Any, tmp_path: Any, looptime: Any
) -> None:
    content = bytes(range(256)) * 4000
    (path := tmp_path / "file").write_bytes(content)
    async with calling() as caller:
        job = aqua(caller)
        caller.zuora.set_file(job, content if where == "memory" else path)
        caller.zuora.fault(Fault(CutAfter(bytes=200_000), path="/v1/files/", times=5))
        had, requests = b"", 0
        while len(had) < len(content):
            requests += 1
            headers = {**caller.authorization, **PLAIN, "Range": f"bytes={len(had)}-"}
            try:
                async with caller.session.get(f"/v1/files/{job.file_ids[0]}", headers=headers) as response:
                    async for piece in response.content.iter_any():
                        had += piece
            except aiohttp.ClientError:
                assert len(had) == requests * 200_000
        assert (had, requests) == (content, 6)
    assert looptime == 0
