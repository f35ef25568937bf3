import asyncio
import csv
import gzip
import io
import zipfile
from typing import Any

import pytest

from zuora_jobs.emulator import Step

DONE = (Step("completed"),)


async def batches_of(caller: Any, **fields: Any) -> Any:
    job = caller.zuora.add_job("aqua", life=DONE, fields=fields)
    return (await caller.poll(job))["batches"]


async def test_a_csv_has_the_columns_asked_for_and_the_rows_promised(calling: Any) -> None:
    async with calling() as caller:
        wanted = [
            {"name": "Mine", "query": "SELECT Id, Account.Id\nFROM Invoice", "recordCount": 3},
            {"recordCount": 0},
        ]
        for batch in await batches_of(caller, batches=wanted):
            response = await caller.get(f"/v1/files/{batch['fileId']}")
            assert response.content_type == "text/csv"
            assert response.headers["Content-Disposition"] == f'attachment; filename="{batch["name"]}.csv"'
            header, *rows = csv.reader(io.StringIO(await response.text()))
            assert len(rows) == batch["recordCount"]
            assert all(len(row) == len(header) for row in rows)
            assert batch["name"] != "Mine" or header == ["Mine.Id", "Mine.Account.Id"]


async def test_other_formats(calling: Any) -> None:
    async with calling() as caller:
        one = [{"recordCount": 2, "name": "N"}]
        (batch,) = await batches_of(caller, format="GZIP", batches=one)
        packed = await caller.read(f"/v1/files/{batch['fileId']}")
        assert gzip.decompress(packed).count(b"\n") == 3
        (batch,) = await batches_of(caller, format="ZIP", batches=one)
        archive = zipfile.ZipFile(io.BytesIO(await caller.read(f"/v1/files/{batch['fileId']}")))
        assert archive.namelist() == ["N.csv"]


@pytest.mark.looptime
async def test_a_file_exists_from_the_moment_its_batch_is_done(calling: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("aqua", life=[Step("executing", 2), *DONE])
        first, second = job.file_ids
        assert [(await caller.get(f"/v1/files/{file_id}")).status for file_id in (first, second)] == [404, 404]
        await asyncio.sleep(1)
        assert [(await caller.get(f"/v1/files/{file_id}")).status for file_id in (first, second)] == [200, 404]
        assert caller.zuora.requests[-2].handle == job.handle
        assert (await caller.get("/v1/files/unknown")).status == 404


async def test_files_of_a_fixed_document(calling: Any) -> None:
    async with calling() as caller:
        batch = {"fileId": "e20b07474688ad5001468daf155f01f5", "recordCount": 1580, "query": "select A,B from C"}
        caller.zuora.add_document("aqua", {"id": "1", "status": "cancelled", "batches": [batch]})
        text = await (await caller.get(f"/v1/files/{batch['fileId']}")).text()
        assert len(text.splitlines()) == 1581


async def test_ranges_of_result_files_are_an_option(calling: Any) -> None:
    for option, status in ((False, 200), (True, 206)):
        async with calling(file_ranges=option) as caller:
            batch = (await batches_of(caller))[0]
            assert (await caller.get(f"/v1/files/{batch['fileId']}", headers={"Range": "bytes=5-"})).status == status


async def archives(caller: Any, status: Any = "Completed") -> Any:
    job = caller.zuora.add_job("bulk-pdf", life=[Step(status)])
    return (await caller.poll(job))["fileUrls"]


@pytest.mark.parametrize("status", ["Completed", "PartialComplete"])
async def test_presigned_urls_lead_to_archives(status: Any, calling: Any) -> None:
    async with calling() as caller:
        for url in await archives(caller, status):
            async with caller.session.get(url) as response:
                assert (response.status, response.content_type) == (200, "application/zip")
                assert not {"Zuora-Request-Id", "RateLimit-Limit"} & set(response.headers)
                archive = zipfile.ZipFile(io.BytesIO(await response.read()))
                assert archive.testzip() is None
                assert archive.namelist()[0] == "index.csv"
                assert archive.read(archive.namelist()[1]).startswith(b"%PDF")


@pytest.mark.looptime
async def test_presigned_urls_guard_themselves(calling: Any) -> None:
    async with calling() as caller:
        url = (await archives(caller))[0]
        with_token = await caller.get(url)
        assert (with_token.status, with_token.content_type) == (400, "application/xml")
        for spoilt in (url[:-1], url.partition("?")[0], url.replace("Expires=259199", "Expires=999999999")):
            async with caller.session.get(spoilt) as response:
                assert response.status == 403
        await asyncio.sleep(259_198)
        async with caller.session.get(url) as response:
            assert response.status == 200
        await asyncio.sleep(1)
        async with caller.session.get(url) as response:
            assert response.status == 403
            assert "Request has expired" in await response.text()


async def test_archives_can_be_resumed(calling: Any) -> None:
    async with calling() as caller:
        url = (await archives(caller))[0]

        async def part(**headers: Any) -> Any:
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            async with caller.session.get(url, headers=headers) as response:
                return response.status, await response.read(), response.headers

        _, whole, headers = await part()
        status, rest, ranged = await part(Range="bytes=10-", If_Range=headers["ETag"])
        assert (status, rest) == (206, whole[10:])
        assert ranged["Content-Range"] == f"bytes 10-{len(whole) - 1}/{len(whole)}"
        assert (await part(Range="bytes=2-4"))[1] == whole[2:5]
        assert (await part(Range="bytes=10-", If_Range='"another"'))[:2] == (200, whole)
        status, _, beyond = await part(Range=f"bytes={len(whole)}-")
        assert (status, beyond["Content-Range"]) == (416, f"bytes */{len(whole)}")
