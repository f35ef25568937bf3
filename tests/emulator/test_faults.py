import asyncio
import json
import logging
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from zuora_jobs.emulator import Answer, Delay, Drop, Fault, Hang, Patch, Relabel, RetryAt, Retype, Step, Truncate
from zuora_jobs.emulator.faults import EFFECTS, NAMED
from zuora_jobs.errors import ConfigurationError


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No fault may make the server complain in its log."""
    with caplog.at_level(logging.WARNING):
        yield
    assert not caplog.records


async def strike(calling: Any, effect: Any) -> Any:
    async with calling() as caller:
        job = caller.zuora.add_job("aqua", life=[Step("completed")])
        caller.zuora.fault(Fault(effect, times=1))
        spoilt = await caller.get(job.family.route + job.id)
        assert (await caller.poll(job))["status"] == "completed"
        return spoilt


@pytest.mark.parametrize(
    ("effect", "status", "content_type", "text"),
    [
        ("unavailable", 503, "application/json", '{"reasons": [{"code": 50000061, "message": "Service Unavailable"}]}'),
        ("bad-gateway", 502, "text/html", "<h1>Bad Gateway</h1>"),
        ("unauthorized", 401, "application/json", '{"message": "Authentication error"}'),
        ("no-user-info", 401, "application/json", "Failed to get user info"),
        ("lock-contention", 200, "application/json", '{"success": false, "reasons": [{"code": 50000050, '),
        ("internal-code", 200, "application/json", '{"success": false, "reasons": [{"code": 50000060, '),
        ("temporary-code", 200, "application/json", '{"success": false, "reasons": [{"code": 50000061, '),
        ("external-code", 200, "application/json", '{"success": false, "reasons": [{"code": 50000099, '),
        ("concurrency", 429, "application/json", '{"reasons": [{"code": 50000070, '),
        ("nan", 200, "application/json", ', "size": NaN}'),
        ("invalid-json", 200, "application/json", '{"id": "2c92'),
        ("html", 200, "text/html", "Scheduled maintenance"),
        ("empty", 200, "application/json", ""),
        ("wrong-type", 200, "text/plain", '"status": "completed"'),
        (Retype("text/csv"), 200, "text/csv", '"status": "completed"'),
        (Answer(520, "nobody home"), 520, "text/html", "nobody home"),
        (Answer(599), 599, "application/json", "Unknown"),
        (Answer(200, {"a": 1}), 200, "application/json", '{"a": 1}'),
        (Answer(200, b"\xff\x00", content_type="image/png"), 200, "image/png", ""),
    ],
    ids=str,
)
async def test_answers(effect: Any, status: Any, content_type: Any, text: Any, calling: Any) -> None:
    response = await strike(calling, effect)
    assert (response.status, response.content_type) == (status, content_type)
    assert text in (await response.text(errors="replace"))


async def test_a_throttle_bears_what_it_is_told(calling: Any) -> None:
    response = await strike(calling, Answer(429, headers={"Retry-After": "3"}))
    assert response.headers["Retry-After"] == "3"
    assert (await response.json())["reasons"][0]["code"] == 70
    assert response.headers["Zuora-Request-Id"]


@pytest.mark.parametrize(
    ("effect", "retry_after"),
    [("throttled", "5"), ("throttled-absurd", "31536000"), ("throttled-garbled", "soon"), ("concurrency", "120")],
)
async def test_what_a_throttle_may_ask_for(effect: Any, retry_after: Any, calling: Any) -> None:
    response = await strike(calling, effect)
    assert (response.status, response.headers["Retry-After"]) == (429, retry_after)
    assert response.headers["RateLimit-Remaining"] == "49999"


@pytest.mark.parametrize(("effect", "seconds"), [("throttled-date", 2), (RetryAt(90), 90)], ids=str)
async def test_a_throttle_may_name_a_moment(effect: Any, seconds: Any, calling: Any) -> None:
    response = await strike(calling, effect)
    moments = [parsedate_to_datetime(response.headers[name]) for name in ("Date", "Retry-After")]
    assert (response.status, (moments[1] - moments[0]).total_seconds()) == (429, seconds)
    assert response.headers["Retry-After"].endswith(" GMT")
    assert len(response.headers.getall("Date")) == 1


async def test_a_bare_throttle_says_nothing_of_limits(calling: Any) -> None:
    response = await strike(calling, "throttled-bare")
    assert response.status == 429
    assert set(response.headers) == {"Content-Type", "Content-Length", "Date", "Server"}


async def test_a_crowd_is_refused_as_the_pages_say(calling: Any) -> None:
    headers = (await strike(calling, "concurrency")).headers
    crowd = {name: value for name, value in headers.items() if name.startswith("Concurrency-Limit-")}
    assert crowd == {
        "Concurrency-Limit-Type": "Default",
        "Concurrency-Limit-Limit": "40",
        "Concurrency-Limit-Remaining": "0",
    }
    assert len(headers.getall("Concurrency-Limit-Limit")) == 1


async def test_redirect(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.fault("redirect")
        response = await caller.get("/v1/files/1", allow_redirects=False)
        assert (response.status, response.headers["Location"]) == (302, "https://elsewhere.invalid/login")


async def test_patch(calling: Any) -> None:
    assert "status" not in await (await strike(calling, "no-status")).json()
    response = await strike(calling, Patch({"status": 7, "batches": [{"name": "X"}]}, remove=["id"]))
    document = await response.json()
    assert (document["status"], document["batches"][0]["name"], "id" in document) == (7, "X", False)
    assert document["batches"][1]["name"] == "InvoiceAdjustment"


async def test_patch_leaves_alone_what_is_no_document(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.fault(Patch({"status": 7}))
        job = caller.zuora.add_job("aqua", life=[Step("completed")])
        assert (await caller.get(f"/v1/files/{job.file_ids[0]}")).content_type == "text/csv"


async def test_a_name_may_stand_there_twice(calling: Any) -> None:
    text = await (await strike(calling, "duplicate-keys")).text()
    members = json.loads(text, object_pairs_hook=list)
    assert [value for name, value in members if name == "status"] == ["Processing", "Completed"]
    assert {name for name, _ in members} >= {"id", "batches"}


async def test_deep(calling: Any) -> None:
    text = await (await strike(calling, "deep")).text()
    assert "[" * 100_000 + "]" * 100_000 in text
    shallow = json.loads(text.replace("[" * 99_999, "").replace("]" * 99_999, ""))
    assert (shallow["status"], shallow["nested"]) == ("completed", [])


async def test_invalid_utf8(calling: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("aqua", life=[Step("completed")])
        caller.zuora.fault("invalid-utf8")
        content = await caller.read(job.family.route + job.id)
        assert b'"note": "\xff\xfe"' in content
        assert json.loads(content.decode(errors="replace"))["status"] == "completed"


async def test_raw_members_need_no_others(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.fault(Patch(raw='"a": 1', remove=["b"]))
        caller.zuora.fault(Answer(200, {"b": 2}))
        assert await caller.read("/v1/files/1") == b'{"a": 1}'


async def test_relabel(calling: Any) -> None:
    response = await strike(calling, Relabel({"Zuora-Request-Id": "none", "Vary": "*"}))
    assert (response.headers["Zuora-Request-Id"], response.headers["Vary"]) == ("none", "*")
    assert (await response.json())["status"] == "completed"


async def test_truncated(calling: Any) -> None:
    for effect in ("truncated", Truncate(0.0), Truncate(0.99)):
        with pytest.raises(aiohttp.ClientPayloadError):
            await strike(calling, effect)


async def test_dropped(calling: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("aqua", life=[Step("completed")])
        caller.zuora.fault(Fault(Drop(), times=5))
        for _ in range(5):
            # A reused connection that is dropped is tried once more by aiohttp itself; a POST never is.
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await caller.ask("POST", job.family.route + job.id)
        assert [record.status for record in caller.zuora.requests] == [None] * 5
        assert (await caller.poll(job))["status"] == "completed"


@pytest.mark.looptime
async def test_delay_tells_the_state_after_it(calling: Any, looptime: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("operation", life=[Step("Pending", 5), Step("Completed")])
        caller.zuora.fault(Delay(5))
        assert (await caller.poll(job))["status"] == "Completed"
        assert caller.zuora.requests[0].at == 0
    assert looptime == 5


@pytest.mark.looptime
async def test_a_hanging_request_does_not_hold_up_the_end(calling: Any, looptime: Any) -> None:
    async with calling() as caller:
        caller.zuora.fault(Hang())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await caller.get("/v1/files/1")
        await asyncio.sleep(0)
        waiting = asyncio.create_task(caller.get("/v1/files/2"))
        await asyncio.sleep(1)
        assert caller.zuora.in_flight == 1
    with pytest.raises(aiohttp.ClientError):
        await waiting
    assert looptime == 31


async def test_effects_nest_the_oldest_outermost(calling: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("operation")
        caller.zuora.fault(Patch({"objectType": "outer", "id": "outer"}))
        caller.zuora.fault(Patch({"objectType": "inner"}))
        document = await caller.poll(job)
        assert (document["objectType"], document["id"]) == ("outer", "outer")


async def test_which_requests_are_struck(calling: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("aqua", seconds=1000)
        path = job.family.route + job.id
        fault = caller.zuora.fault(Fault("unavailable", path=r"batch-query/jobs", method="get", after=1, times=2))
        assert (await caller.get("/v1/files/1")).status == 404
        assert (await caller.ask("DELETE", path)).status == 200
        assert [(await caller.get(path)).status for _ in range(4)] == [200, 503, 503, 200]
        assert (fault.seen, fault.struck) == (3, 2)
        assert caller.zuora.statistics().faults_struck == 2
        assert "struck 2 of 3" in repr(fault)


async def test_a_fault_can_be_removed(calling: Any) -> None:
    async with calling() as caller:
        fault = caller.zuora.fault("unavailable")
        assert (await caller.get("/v1/files/1")).status == 503
        fault.remove()
        assert (await caller.get("/v1/files/1")).status == 404
        assert fault.struck == 1


@pytest.mark.looptime
async def test_an_outage_lasts_as_long_as_it_says(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.outage(900, "bad-gateway")
        assert (await caller.get("/v1/files/1")).status == 502
        await asyncio.sleep(899.9)
        assert (await caller.get("/v1/files/1")).status == 502
        await asyncio.sleep(0.1)
        assert (await caller.get("/v1/files/1")).status == 404


async def test_chance_is_seeded(calling: Any) -> None:
    runs = []
    for seed in (1, 1, 2):
        async with calling(seed=seed) as caller:
            caller.zuora.fault(Fault("unavailable", probability=0.3))
            runs.append([(await caller.get("/v1/files/1")).status for _ in range(100)])
    assert runs[0] == runs[1] != runs[2]
    assert 15 < runs[0].count(503) < 45


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Fault("gremlins"), "no fault named 'gremlins'; there are unavailable"),
        (lambda: Fault("slow", path="("), "not a regular expression"),
        (lambda: Fault("slow", probability=2), "between 0 and 1"),
        (lambda: Truncate(1.0), "without, 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nonsense_is_refused(make: Any, complaint: Any) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        make()


def test_faults_are_values() -> None:
    assert Fault("slow") == Fault(Delay(5.0))
    assert all(Fault(name).effect is effect for name, effect in NAMED.items())
    assert all(len(repr(effect)) < 1000 for effect in NAMED.values())


def test_scenario_files_can_name_every_effect() -> None:
    assert {type(effect) for effect in NAMED.values()} <= set(EFFECTS.values())
