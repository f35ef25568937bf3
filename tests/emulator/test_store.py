"""The store behind presigned URLs: a port of its own."""

import asyncio
import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from zuora_jobs.emulator import Step
from zuora_jobs.emulator.options import Options
from zuora_jobs.errors import ConfigurationError


async def url_of(caller: Any, job: Any = None) -> Any:
    return (await caller.poll(job or caller.zuora.add_job("bulk-pdf", life=[Step("Completed")])))["fileUrls"][0]


def code_in(text: str) -> str:
    match = re.search("<Code>(.*)</Code>", text)
    assert match
    return match[1]


async def test_it_is_elsewhere_and_knows_nothing_of_zuora(calling: Any) -> None:
    async with calling() as caller:
        zuora = caller.zuora
        url = await url_of(caller)
        assert url.startswith(zuora.store_url + "/")
        assert zuora.store_url != zuora.url
        assert zuora.settings().base_url == zuora.url
        assert (await caller.fetch(url)).status == 200
        moved = url.replace(zuora.store_url, zuora.url)
        assert (await caller.get(moved.replace(zuora.url, ""))).status == 404
        for path in ("/v1/files/1", "/oauth/token", "/"):
            response = await caller.fetch(zuora.store_url + path)
            assert (response.status, code_in(await response.text())) == (403, "AccessDenied")
            assert "Zuora-Request-Id" not in response.headers


async def test_the_record_tells_the_door_and_whether_a_token_was_sent(calling: Any) -> None:
    async with calling() as caller:
        url = await url_of(caller)
        await caller.fetch(url)
        await caller.get(url)
        await caller.ask("POST", "/oauth/token", headers={"Authorization": ""})
        seen = [(record.door, record.bore_authorization, record.authorized) for record in caller.zuora.requests]
        assert seen == [("api", True, True), ("store", False, False), ("store", True, True), ("auth", True, False)]
        assert all("Authorization" not in record.headers for record in caller.zuora.requests)
        assert caller.zuora.requests[1].handle == caller.zuora.jobs[0].handle
        assert caller.zuora.requests[1].path == urlsplit(url).path


async def test_a_second_authority_is_refused_as_the_real_one_does(calling: Any) -> None:
    async with calling() as caller:
        response = await caller.get(await url_of(caller))
        text = await response.text()
        assert (response.status, response.content_type, code_in(text)) == (400, "application/xml", "InvalidArgument")
        assert "<Message>Only one auth mechanism allowed;" in text
        assert f"<ArgumentValue>{caller.authorization['Authorization']}</ArgumentValue>" in text


@pytest.mark.looptime
async def test_urls_expire_and_are_renewed(calling: Any) -> None:
    async with calling(url_lifetime=60) as caller:
        job = caller.zuora.add_job("bulk-pdf", ends="Completed", seconds=10)
        await asyncio.sleep(10)
        first = await url_of(caller, job)
        assert "X-Amz-Expires=60&" in first
        assert "X-Amz-Date=20260105T090010Z" in first
        await asyncio.sleep(59)
        assert await url_of(caller, job) == first
        assert (await caller.fetch(first)).status == 200
        await asyncio.sleep(1)
        response = await caller.fetch(first)
        text = await response.text()
        assert (response.status, code_in(text)) == (403, "AccessDenied")
        assert "<Message>Request has expired</Message><X-Amz-Expires>60</X-Amz-Expires>" in text
        assert "<Expires>2026-01-05T09:01:10Z</Expires><ServerTime>2026-01-05T09:01:10Z</ServerTime>" in text
        second = await url_of(caller, job)
        assert "X-Amz-Date=20260105T090110Z" in second
        assert (await caller.fetch(second)).status == 200
        await asyncio.sleep(6000)
        assert "X-Amz-Date=20260105T104110Z" in await url_of(caller, job)


@pytest.mark.looptime
async def test_urls_that_are_not_renewed(calling: Any) -> None:
    async with calling(url_lifetime=60, urls_renewed=False) as caller:
        job = caller.zuora.add_job("bulk-pdf", life=[Step("Completed")])
        first = await url_of(caller, job)
        await asyncio.sleep(60)
        assert await url_of(caller, job) == first
        assert (await caller.fetch(first)).status == 403


@pytest.mark.looptime
async def test_there_is_always_a_good_url_also_between_two_seconds(calling: Any) -> None:
    async with calling(url_lifetime=1) as caller:
        job = caller.zuora.add_job("bulk-pdf", ends="Completed", seconds=2.7)
        await asyncio.sleep(2.7)
        for _ in range(20):
            assert (await caller.fetch(await url_of(caller, job))).status == 200
            await asyncio.sleep(0.3)


async def test_mangled_urls(calling: Any) -> None:
    async with calling() as caller:
        url = await url_of(caller)
        for mangled, code in (
            (url[:-1], "SignatureDoesNotMatch"),
            (url.replace("X-Amz-Expires=259199", "X-Amz-Expires=999999"), "SignatureDoesNotMatch"),
            (url.partition("?")[0], "AccessDenied"),
        ):
            response = await caller.fetch(mangled)
            assert (response.status, code_in(await response.text())) == (403, code)


async def test_what_is_not_there(calling: Any) -> None:
    async with calling() as caller:
        zuora = caller.zuora
        job = zuora.add_job("bulk-pdf", life=[Step("Completed")])
        moment = zuora.clock.wall(zuora.clock.now())
        for path in ("nobody/invoices_1.zip", f"{job.id}/invoices_9.zip", f"{job.id}/invoices.zip"):
            url = zuora.store.signed(f"/billing-file-repository/bulk-pdf-generation/{path}", moment)
            response = await caller.fetch(url)
            assert (response.status, code_in(await response.text())) == (404, "NoSuchKey")


async def test_a_port_can_be_chosen(calling: Any, unused_tcp_port: Any) -> None:
    async with calling(store_port=unused_tcp_port) as caller:
        assert caller.zuora.store_url == f"http://127.0.0.1:{unused_tcp_port}"


@pytest.mark.parametrize(
    "option", [{"url_lifetime": 0}, {"url_lifetime": 1.5}, {"delete_answer": "x"}, {"aqua_jobs_at_once": 0}]
)
def test_options_make_sense(option: Any) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        Options(**option)
