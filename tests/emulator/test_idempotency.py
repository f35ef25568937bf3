"""The Idempotency-Key header: what is done once, and what is refused."""

import asyncio
from typing import Any

import aiohttp
import pytest

from zuora_jobs.emulator import Delay, Fault, LoseReply

AQUA = "/v1/batch-query/"
PDFS = "/v1/operations/bulk-pdf"
BODY = {"documents": [{"docType": "Invoice", "objectIds": ["a"]}], "fileName": "f", "indexFileFormat": "CSV"}
KEY = {"Idempotency-Key": "one"}


async def post(caller: Any, body: Any = BODY, path: str = PDFS, **headers: str) -> Any:
    return await caller.ask("POST", path, headers={**KEY, **headers}, json=body)


async def test_the_same_request_twice_is_done_once_and_answered_twice(calling: Any) -> None:
    async with calling() as caller:
        first, second = await post(caller), await post(caller)
        assert await first.text() == await second.text()
        assert (first.status, second.status) == (200, 200)
        assert first.headers["Zuora-Request-Id"] == second.headers["Zuora-Request-Id"]
        assert len(caller.zuora.submitted) == len(caller.zuora.jobs) == 1
        assert [record.handle for record in caller.zuora.requests] == [caller.zuora.jobs[0].handle] * 2
        await caller.ask("POST", PDFS, headers={"Idempotency-Key": "two"}, json=BODY)
        await caller.ask("POST", PDFS, json=BODY)
        assert len(caller.zuora.submitted) == 3


async def test_a_refusal_is_kept_too(calling: Any) -> None:
    async with calling() as caller:
        first, second = await post(caller, {"x": 1}), await post(caller, {"x": 1})
        assert (await first.json())["success"] is False
        assert await first.text() == await second.text()  # request id and all


@pytest.mark.looptime
async def test_it_is_kept_for_a_day(calling: Any) -> None:
    async with calling(token_lifetime=10**9) as caller:
        first = await post(caller)
        await asyncio.sleep(86_399)
        assert await (await post(caller)).text() == await first.text()
        await asyncio.sleep(1)
        assert await (await post(caller)).text() != await first.text()
        assert len(caller.zuora.submitted) == 2


async def test_another_request_with_the_same_key_is_refused(calling: Any) -> None:
    async with calling() as caller:
        await post(caller)
        assert (await post(caller, {**BODY, "fileName": "g"})).status == 422
        assert (await post(caller, path=AQUA)).status == 422
        assert len(caller.zuora.submitted) == 1


@pytest.mark.looptime
@pytest.mark.parametrize("latency", [0, 5])
async def test_while_the_first_is_still_being_answered(latency: Any, calling: Any, looptime: Any) -> None:
    async with calling(latency=latency) as caller:
        if not latency:
            caller.zuora.fault(Fault(Delay(5), times=1))
        first = asyncio.create_task(post(caller))
        await asyncio.sleep(1)
        second = await post(caller)
        assert (second.status, (await second.json())["success"]) == (409, False)
        assert (await first).status == 200
        assert (await post(caller)).status == 200
        assert len(caller.zuora.submitted) == 1


@pytest.mark.looptime
async def test_a_client_that_hangs_up_in_time_leaves_nothing(calling: Any) -> None:
    async with calling(latency=5) as caller:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await post(caller)
        await asyncio.sleep(0.1)
        assert (await post(caller)).status == 200
        assert len(caller.zuora.submitted) == 1


@pytest.mark.parametrize("effect", ["unavailable", "throttled", "unauthorized", "html"])
async def test_trouble_before_the_request_is_looked_at_is_not_kept(effect: Any, calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.fault(Fault(effect, times=1))
        await post(caller)
        assert caller.zuora.submitted == []
        assert (await (await post(caller)).json())["success"] is True


async def test_nor_is_a_missing_token(calling: Any) -> None:
    async with calling() as caller:
        assert (await post(caller, Authorization="Bearer stale")).status == 401
        await post(caller)
        assert (await post(caller, Authorization="Bearer stale")).status == 401
        assert len(caller.zuora.submitted) == 1


@pytest.mark.parametrize("effect", ["lose-reply", LoseReply(), "truncated", "invalid-json"])
async def test_a_lost_answer_can_be_had_again(effect: Any, calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.fault(Fault(effect, times=1))
        if effect == "invalid-json":  # says something else in place of Zuora, so the request went no further
            await post(caller)
            assert caller.zuora.submitted == []
        else:
            with pytest.raises(aiohttp.ClientError):
                await post(caller)
            assert len(caller.zuora.submitted) == 1
            assert caller.zuora.requests[0].handle == caller.zuora.submitted[0].handle
        made = await (await post(caller)).json()
        assert f"bulk-pdf:{made['jobId']}" == caller.zuora.submitted[0].handle
        assert len(caller.zuora.submitted) == 1


async def test_without_a_key_a_lost_answer_makes_two_jobs(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.fault(Fault("lose-reply", times=1))
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await caller.ask("POST", PDFS, json=BODY)
        assert caller.zuora.requests[0].status is None
        await caller.ask("POST", PDFS, json=BODY)
        assert len(caller.zuora.jobs) == 2


async def test_put_refuses_it_and_delete_ignores_it(calling: Any) -> None:
    async with calling() as caller:
        invoice = caller.zuora.add_invoice()
        status, refusal = await caller.send("PUT", f"/v1/invoices/{invoice}/reverse", {}, **KEY)
        assert status == 400
        assert refusal["reasons"][0]["message"] == "Request method 'PUT' not supported with Idempotency-Key header"
        assert caller.zuora.submitted == []
        assert (await caller.send("DELETE", f"/v1/invoices/{invoice}", **KEY))[1]["success"] is True


async def test_long_keys(calling: Any) -> None:
    async with calling() as caller:
        for length, status in ((255, 200), (256, 400)):
            response = await caller.ask("POST", PDFS, headers={"Idempotency-Key": "x" * length}, json=BODY)
            assert response.status == status
