"""What may be spent, as it is told to any thread: it changes nothing, and agrees with what the gate does."""

import asyncio
import threading

import pytest

from zuora_jobs import Budget, Settings, WatcherClosed, ZuoraClient
from zuora_jobs.protocol.messages import Response
from zuora_jobs.transport.gate import Gate
from zuora_jobs.transport.quota import Quota, Window

LOCAL = Settings(base_url="https://rest.example.com", access_token="not-a-secret")


async def answer(_request):
    await asyncio.sleep(1)
    return Response(
        200, {"ratelimit-limit": "90, 100;w=60", "ratelimit-remaining": "40", "ratelimit-reset": "30"}, b"{}"
    )


@pytest.mark.looptime
async def test_it_follows_what_is_sent_and_said():
    async with ZuoraClient(LOCAL, Budget(rate=50, concurrency=2, quota=[(100, 60)]), send=answer) as client:
        before = client.allowance()
        assert (before.rate, before.concurrency, before.in_flight, before.waiting) == (
            0.95 * 100 / 60,
            2,
            0,
            0,
        )
        (left,) = before.windows
        assert (left.limit, left.seconds, left.remaining, left.resets_in) == (100, 60, 100, 60)
        permits = [await client.limiter.acquire() for _ in range(2)]
        waits = asyncio.create_task(client.limiter.acquire())
        await asyncio.sleep(1)
        during = client.allowance()
        assert (during.in_flight, during.waiting, during.requests) == (2, 1, 2)
        assert during.windows[0].remaining == 98
        client.limiter.hold(10)
        assert client.allowance().rate == 0
        waits.cancel()
        for permit in permits:
            permit.release()
        await asyncio.sleep(11)
        after = client.allowance()
        assert after.rate > 0
        assert (after.in_flight, after.held_seconds) == (0, 10)
    with pytest.raises(WatcherClosed):
        client.allowance()


@pytest.mark.parametrize("now", [0.0, 10.0, 59.0, 61.0, 4000.0])
def test_to_ask_changes_nothing_and_agrees(now):
    asked, not_asked = (Gate(Budget(rate=50, quota=[(100, 60), (1000, 3600)])) for _ in range(2))
    for gate in (asked, not_asked):
        for moment in range(20):
            gate.quota.spend(moment / 10)
    for _ in range(3):
        asked.quota.left(now)
        asked.rate_at(now)
    assert asked == not_asked or repr(asked.quota.__dict__) == repr(not_asked.quota.__dict__)
    assert asked.rate_at(now) == not_asked.rate(now)


def test_a_window_that_has_ended_is_whole_again():
    quota = Quota([Window(100, 60)])
    for _ in range(30):
        quota.spend(1.0)
    (during,) = quota.left(31.0)
    assert (during.remaining, during.resets_in) == (70, 30)
    (after,) = quota.left(62.0)
    assert (after.remaining, after.resets_in) == (100, 60)


@pytest.mark.looptime
async def test_another_thread_may_ask_at_any_time():
    async with ZuoraClient(LOCAL, Budget(rate=1e5, concurrency=10), send=answer) as client:
        told, stop = [], threading.Event()

        def ask():
            while not stop.is_set():
                told.append(client.allowance())

        thread = threading.Thread(target=ask)
        thread.start()
        for _ in range(2000):
            (await client.limiter.acquire()).release()
        stop.set()
        thread.join()
    assert told
    assert all(0 <= one.in_flight <= 10 for one in told)
