"""What every answer has in common, and what the emulator remembers of it."""

import asyncio
import gzip
import logging
import re
from typing import Any

import aiohttp
import pytest

from zuora_jobs import emulator
from zuora_jobs.emulator import Statistics, Step
from zuora_jobs.emulator.options import Options
from zuora_jobs.errors import ConfigurationError


async def test_every_answer_has_a_request_id_and_echoes_the_track_id(calling: Any) -> None:
    async with calling() as caller:
        ids = set()
        for path in ("/v1/files/1", "/v1/nowhere", "/oauth/token"):
            response = await caller.get(path, headers={"Zuora-Track-Id": "run-7"})
            assert response.headers["Zuora-Track-Id"] == "run-7"
            assert re.fullmatch(r"[0-9a-f-]{36}", response.headers["Zuora-Request-Id"])
            ids.add(response.headers["Zuora-Request-Id"])
        assert len(ids) == 3
        refusal = await (response := await caller.get("/v1/files/1")).json()
        assert refusal["requestId"] == response.headers["Zuora-Request-Id"]


@pytest.mark.parametrize("track_id", ["x" * 65, "2026-01-05T09:00:00", "a;b", 'a"b', "a'b", "é"])
async def test_bad_track_ids_are_refused(track_id: Any, calling: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("operation")
        response = await caller.get(f"/v1/operations/jobs/{job.id}", headers={"Zuora-Track-Id": track_id})
        assert response.status == 400
        assert "Zuora-Track-Id" in (await response.json())["reasons"][0]["message"]
        assert (await caller.get(f"/v1/operations/jobs/{job.id}", headers={"Zuora-Track-Id": "x" * 64})).status == 200


async def test_long_answers_are_compressed_on_demand(calling: Any) -> None:
    async with calling() as caller, aiohttp.ClientSession(caller.zuora.url, auto_decompress=False) as session:
        job = caller.zuora.add_job("aqua", life=[Step("completed")])
        for encoding, compressed in (("gzip, deflate", True), ("identity", False)):
            headers = {**caller.authorization, "Accept-Encoding": encoding}
            async with session.get(job.family.route + job.id, headers=headers) as response:
                body = await response.read()
                assert (response.headers.get("Content-Encoding") == "gzip") is compressed
                assert len(gzip.decompress(body) if compressed else body) > 1000
        short = caller.zuora.add_job("operation")
        headers = {**caller.authorization, "Accept-Encoding": "gzip"}
        async with session.get(short.family.route + short.id, headers=headers) as response:
            assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize(
    ("options", "status", "code"), [({}, 404, "50000040"), ({"unknown_job_status": 200}, 200, 50000040)]
)
async def test_unknown_ids(options: Any, status: Any, code: Any, calling: Any) -> None:
    async with calling(**options) as caller:
        for path in (
            "/v1/operations/jobs/",
            "/v1/operations/bulk-pdf/",
            "/v1/credit-memos/apply-async-jobs/",
            "/v1/credit-memos/unapply-async-jobs/",
        ):
            response = await caller.get(path + "no-such-id")
            refusal = await response.json()
            assert response.status == status
            assert (refusal["success"], refusal["reasons"][0]["code"]) == (False, code)
            assert "no-such-id" in refusal["reasons"][0]["message"]
        missing = await caller.get("/v1/batch-query/jobs/no-such-id")
        assert missing.status == 400
        assert (await missing.json())["code"] == 90002


async def test_ids_belong_to_one_family(calling: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("operation")
        assert (await caller.get(f"/v1/operations/bulk-pdf/{job.id}")).status == 404
        assert (await caller.get(f"/v1/operations/jobs/{job.id}/")).status == 404


async def test_the_log(calling: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("operation")
        await caller.get(f"/v1/operations/jobs/{job.id}?a=b", headers={"Zuora-Version": "341.0"})
        await caller.ask("POST", "/v1/nowhere", headers={"Authorization": "none"})
        first, second = caller.zuora.requests
        assert (first.method, first.path, first.query, first.status) == (
            "GET",
            f"/v1/operations/jobs/{job.id}",
            {"a": "b"},
            200,
        )
        assert (first.handle, first.authorized, first.headers["zuora-version"]) == (job.handle, True, "341.0")
        assert (second.method, second.status, second.handle, second.authorized) == ("POST", 401, None, False)
        assert caller.zuora.requests[0] is first
        with pytest.raises(AttributeError):
            first.status = 1
        assert caller.zuora.statistics() == Statistics(
            requests=2, token_requests=0, in_flight=0, peak_concurrency=1,
            statuses={200: 1, 401: 1}, jobs=1, jobs_ended=0, faults_struck=0,
        )  # fmt: skip


@pytest.mark.looptime
async def test_records_are_in_order_of_arrival(calling: Any) -> None:
    async with calling(request_log=2) as caller:
        caller.zuora.fault(emulator.Fault(emulator.Delay(5), path="slow"))
        slow = asyncio.create_task(caller.get("/v1/slow"))
        await asyncio.sleep(1)
        await caller.get("/v1/fast")
        assert [(record.path, record.status) for record in caller.zuora.requests] == [
            ("/v1/slow", None),
            ("/v1/fast", 404),
        ]
        await slow
        assert [record.status for record in caller.zuora.requests] == [404, 404]
        await caller.get("/v1/third")
        assert [record.path for record in caller.zuora.requests] == ["/v1/fast", "/v1/third"]
        assert caller.zuora.statistics().requests == 3


@pytest.mark.looptime
async def test_latency(calling: Any, looptime: Any) -> None:
    async with calling(latency=0.25) as caller:
        job = caller.zuora.add_job("operation", seconds=1)
        statuses = [(await caller.poll(job))["status"] for _ in range(4)]
        assert statuses[:3] == ["Processing"] * 3
        assert statuses[3] in {"Completed", "Failed"}
    assert looptime == 1


@pytest.mark.looptime
async def test_a_thousand_at_once(calling: Any, looptime: Any) -> None:
    async with calling(latency=2, concurrency_limit=None) as caller:
        jobs = caller.zuora.add_jobs("operation", 1000, seconds=60)
        await asyncio.gather(*map(caller.poll, jobs))
        assert caller.zuora.peak_concurrency == 1000
    assert looptime == 2


@pytest.mark.looptime
async def test_nothing_outlives_the_block(calling: Any, looptime: Any, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        async with calling(latency=1000) as caller:
            polls = [asyncio.create_task(caller.get("/v1/files/1")) for _ in range(20)]
            await asyncio.sleep(1)
            for poll in polls[:10]:
                poll.cancel()
            await asyncio.sleep(0)
        answers = await asyncio.gather(*polls, return_exceptions=True)
    assert looptime == 1
    assert all(isinstance(answer, asyncio.CancelledError | aiohttp.ClientError) for answer in answers)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not caplog.records


async def test_where_it_is() -> None:
    async with emulator.running() as one, emulator.running(host="localhost") as two:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", one.url)
        assert one.url != two.url
        assert one.settings(track_id="x").track_id == "x"
        assert one.settings().base_url == one.environment()["ZUORA_BASE_URL"] == one.url
        assert one.url in repr(one)


@pytest.mark.parametrize(
    "option", [{"latency": -1}, {"token_lifetime": 0}, {"concurrency_limit": 0}, {"unknown_job_status": 500}], ids=str
)
def test_options_make_sense(option: Any) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        Options(**option)


def test_public_names() -> None:
    assert set(emulator.__all__) <= set(dir(emulator))
    for name in emulator.__all__:
        assert getattr(emulator, name).__doc__
    with pytest.raises(AttributeError, match="gremlin"):
        _ = emulator.gremlin
