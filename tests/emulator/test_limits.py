import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zuora_jobs.emulator import API_SANDBOX, PRODUCTION, Window
from zuora_jobs.emulator.limits import RateLimiter, as_windows
from zuora_jobs.errors import ConfigurationError

JOB = "/v1/operations/jobs/"


@pytest.mark.looptime
async def test_over_the_rate(calling: Any) -> None:
    async with calling(rate_limits=[(3, 60), Window(6, 3600)]) as caller:
        job = caller.zuora.add_job("operation", seconds=10_000)
        first = await caller.get(JOB + job.id)
        assert first.headers["RateLimit-Limit"] == "3, 3;w=60, 6;w=3600"
        assert (first.headers["RateLimit-Remaining"], first.headers["RateLimit-Reset"]) == ("2", "60")
        await asyncio.sleep(15.5)
        statuses = [(await caller.get(JOB + job.id)).status for _ in range(3)]
        assert statuses == [200, 200, 429]
        refused = await caller.get(JOB + job.id)
        assert (refused.headers["RateLimit-Remaining"], refused.headers["RateLimit-Reset"]) == ("0", "45")
        message = "API Rate limit exceeded for the minute, retry after 45 seconds"
        assert await refused.json() == {"reasons": [{"code": 70, "message": message}]}
        assert job.polls == 3
        await asyncio.sleep(45)
        assert (await caller.get(JOB + job.id)).status == 200
        spent = await caller.get(JOB + job.id)  # the two refused ones helped to fill the hour
        assert (spent.status, spent.headers["RateLimit-Reset"]) == (429, "3540")
        assert "for the hour" in (await spent.json())["reasons"][0]["message"]


@pytest.mark.looptime
async def test_too_many_at_once(calling: Any, looptime: Any) -> None:
    async with calling(concurrency_limit=2, latency=1, retry_after=7) as caller:
        job = caller.zuora.add_job("operation", seconds=10_000)
        answers = await asyncio.gather(*(caller.get(JOB + job.id) for _ in range(3)))
        assert sorted(answer.status for answer in answers) == [200, 200, 429]
        refused = next(answer for answer in answers if answer.status == 429)
        assert refused.headers["Retry-After"] == "7"
        assert (await refused.json())["reasons"][0]["code"] == 50000070
        assert {answer.headers["Concurrency-Limit-Type"] for answer in answers} == {"Default"}
        assert {answer.headers["Concurrency-Limit-Limit"] for answer in answers} == {"2"}
        assert sorted(answer.headers["Concurrency-Limit-Remaining"] for answer in answers) == ["0", "0", "1"]
        assert (caller.zuora.peak_concurrency, caller.zuora.in_flight) == (3, 0)
    assert looptime == 1


async def test_usual_figures(calling: Any) -> None:
    async with calling() as caller:
        headers = (await caller.get("/v1/files/1")).headers
        assert headers["RateLimit-Limit"] == "50000, 50000;w=60, 2250000;w=3600, 27000000;w=86400"
        assert headers["Concurrency-Limit-Limit"] == "40"
    async with calling(rate_limits=(), concurrency_limit=None) as caller:
        headers = (await caller.get("/v1/files/1")).headers
        assert not {"RateLimit-Limit", "Concurrency-Limit-Limit"} & set(headers)


async def test_limits_can_change(calling: Any) -> None:
    async with calling() as caller:
        caller.zuora.limit_rate(API_SANDBOX)
        caller.zuora.limit_concurrency(5)
        headers = (await caller.get("/v1/files/1")).headers
        assert (headers["RateLimit-Limit"][:5], headers["Concurrency-Limit-Limit"]) == ("2500,", "5")


def test_windows() -> None:
    assert as_windows([(5, 60), Window(1, 1)]) == (Window(1, 1), Window(5, 60))
    assert [window.name for window in (*PRODUCTION, Window(1, 10))] == ["minute", "hour", "day", "10 seconds"]
    for limit in ((0, 60), (1, 0), (1, math.nan)):
        with pytest.raises(ConfigurationError, match="at least one request"):
            Window(*limit)


@given(st.integers(1, 5), st.floats(1, 100), st.lists(st.floats(0, 1000), max_size=100).map(sorted))
def test_no_window_lets_more_through_than_its_limit(limit: Any, seconds: Any, arrivals: Any) -> None:
    limiter = RateLimiter([Window(limit, seconds)])
    passed = [now for now in arrivals if limiter.count(now).refusal is None]
    # Fixed windows: at most one limit's worth on either side of a border.
    for first in passed:
        assert sum(first <= now < first + seconds for now in passed) <= 2 * limit


@given(st.integers(1, 5), st.lists(st.floats(0, 500), min_size=1, max_size=50).map(sorted))
def test_who_waits_for_the_reset_is_let_in(limit: Any, arrivals: Any) -> None:
    limiter = RateLimiter([Window(limit, 30), Window(limit * 3, 120)])
    reading = [limiter.count(now) for now in arrivals][-1]
    if reading.refusal is not None:
        assert limiter.count(arrivals[-1] + int(reading.headers["RateLimit-Reset"])).refusal is None
