"""The queue at the gate: who waits, how long, and what the answers teach."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from math import isclose
from random import Random
from typing import Any

import looptime
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from zuora_jobs import OPERATION, Budget, Settings, ZuoraClient
from zuora_jobs.errors import ConnectionFailed, MalformedResponse, ResponseTimeout, WatcherClosed, ZuoraJobsError
from zuora_jobs.protocol.messages import Request, Response, fault
from zuora_jobs.timing import LONGEST_HOLD, TICK
from zuora_jobs.transport.breaker import OPENS_AFTER
from zuora_jobs.transport.gate import BURST
from zuora_jobs.transport.limits import Limiter, Permit, in_turn, limited
from zuora_jobs.transport.retry import Patience, may_send_again

ASK = Request("GET", "/v1/operations/jobs/x")


# --- those who wait, to the second


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("rate", "count", "seconds"),
    [(1, 5, 4), (10, 11, 1), (3, 10, 3), (7, 22, 3), (0.25, 3, 8), (20, 21, 1), (50, 51, 0.98)],
)
async def test_requests_go_at_the_rate_and_evenly(
    rate: float, count: int, seconds: float, looptime: looptime.Chronometer
) -> None:
    limiter = Limiter(Budget(rate=rate, concurrency=1000))
    times = []
    for _ in range(count):
        await limiter.acquire()
        times.append(asyncio.get_running_loop().time())
    assert isclose(float(looptime), seconds, abs_tol=1e-4)  # the virtual clock ticks in microseconds
    gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    assert max(gaps) <= 1 / rate + 1e-5
    assert limiter.requests == count


@pytest.mark.looptime
async def test_a_hundred_at_once_with_places_for_four_take_turns(looptime: looptime.Chronometer) -> None:
    limiter = Limiter(Budget(rate=1e6, concurrency=4))
    at_once = most = 0

    async def work() -> None:
        nonlocal at_once, most
        with await limiter.acquire():
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(2)
            at_once -= 1

    await asyncio.gather(*(work() for _ in range(100)))
    assert looptime == 50
    assert most == 4
    assert limiter.gate.in_flight == 0


@pytest.mark.looptime
async def test_who_came_first_goes_first_also_past_those_who_gave_up() -> None:
    limiter = Limiter(Budget(rate=10, concurrency=1))
    order: list[int] = []

    async def work(number: int) -> None:
        with await limiter.acquire():
            order.append(number)
            await asyncio.sleep(1)

    tasks = [asyncio.create_task(work(number)) for number in range(8)]
    await asyncio.sleep(0.5)
    for number in (1, 2, 5):
        tasks[number].cancel()
    late = asyncio.create_task(work(8))
    await asyncio.gather(*tasks, late, return_exceptions=True)
    assert order == [0, 3, 4, 6, 7, 8]


@pytest.mark.looptime
async def test_one_who_comes_a_hair_before_the_moment_does_not_jump_the_queue() -> None:
    limiter = Limiter(Budget(rate=1))
    await limiter.acquire()
    order: list[str] = []

    async def work(name: str) -> None:
        await limiter.acquire()
        order.append(name)

    first = asyncio.create_task(work("first"))
    await asyncio.sleep(1 - TICK / 2)
    second = asyncio.create_task(work("second"))
    await asyncio.gather(first, second)
    assert order == ["first", "second"]
    assert asyncio.get_running_loop().time() == pytest.approx(2, abs=1e-4)


# --- those who do not wait


@pytest.mark.looptime
async def test_who_does_not_wait_gets_a_place_if_there_is_one_and_is_told_when_to_ask_again() -> None:
    limiter = Limiter(Budget(rate=1, concurrency=2))
    now = asyncio.get_running_loop().time()
    assert limiter.opens_at() == now
    first = limiter.try_acquire()
    assert first is not None
    assert first.given_at == now
    assert (limiter.gate.in_flight, limiter.requests) == (1, 1)
    assert limiter.try_acquire() is None, "the rate"
    assert limiter.opens_at() == now + 1
    await asyncio.sleep(1)
    second = limiter.try_acquire()
    assert second is not None
    assert limiter.try_acquire() is None, "as many at once as may be"
    assert limiter.opens_at() is None
    first.release()
    await asyncio.sleep(1)
    assert limiter.opens_at() == asyncio.get_running_loop().time()
    third = limiter.try_acquire()
    assert third is not None
    for permit in (second, third):
        permit.release()
    assert (limiter.gate.in_flight, limiter.requests) == (0, 3)


@pytest.mark.looptime
async def test_a_place_given_back_unused_was_no_request_and_one_that_was_used_is_kept() -> None:
    limiter = Limiter(Budget(concurrency=1))
    unused = limiter.try_acquire()
    assert unused is not None
    unused.give_back()
    unused.give_back()
    unused.release()
    assert (limiter.gate.in_flight, limiter.requests) == (0, 0)
    await asyncio.sleep(1)
    used = limiter.try_acquire()
    assert used is not None
    assert used.spend()
    used.give_back()
    assert (limiter.gate.in_flight, limiter.requests) == (1, 1)
    used.release()
    assert (limiter.gate.in_flight, limiter.requests) == (0, 1)


@pytest.mark.looptime
async def test_who_does_not_wait_does_not_jump_the_queue() -> None:
    limiter = Limiter(Budget(rate=1, concurrency=9))
    await limiter.acquire()
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(1 - TICK / 2)
    assert limiter.try_acquire() is None
    await waiting
    assert limiter.try_acquire() is None


@pytest.mark.looptime
async def test_who_does_not_wait_gets_none_while_the_server_makes_everybody_wait() -> None:
    limiter = Limiter(Budget())
    limiter.hold(30)
    assert limiter.try_acquire() is None
    assert limiter.opens_at() == asyncio.get_running_loop().time() + 30
    await asyncio.sleep(30)
    assert limiter.try_acquire() is not None


@pytest.mark.looptime
async def test_while_nobody_answers_one_at_a_time_goes_to_see() -> None:
    limiter = Limiter(Budget())
    now = asyncio.get_running_loop().time()
    for _ in range(OPENS_AFTER):
        limiter.unanswered(ConnectionFailed("gone"), now + 1)
    assert limiter.gate.breaker.is_open
    assert limiter.try_acquire() is None
    assert limiter.opens_at() == limiter.gate.breaker.probe_at > now
    await asyncio.sleep(limiter.gate.breaker.probe_at - now)
    assert limiter.try_acquire() is not None, "its turn to see"
    assert limiter.try_acquire() is None, "the next one waits for what it finds"
    limiter.answered()
    await asyncio.sleep(1)
    assert limiter.try_acquire() is not None


@pytest.mark.looptime
async def test_who_does_not_wait_is_told_that_the_client_is_closed() -> None:
    limiter = Limiter(Budget())
    limiter.close()
    with pytest.raises(WatcherClosed):
        limiter.try_acquire()


# --- what the server says


@pytest.mark.looptime
async def test_a_hold_stops_those_who_wait_already(looptime: looptime.Chronometer, answer: Callable[..., Any]) -> None:
    limiter = Limiter(Budget(rate=1, concurrency=5))
    with await limiter.acquire():
        waiting = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0.25)
        limiter.note(answer(429, {}, retry_after="30"))
    with await waiting:
        assert looptime == 30.25


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("status", "headers", "waits"),
    [
        (429, {"retry_after": "7"}, 7),
        (429, {"retry_after": "0"}, 0),
        (429, {"ratelimit_reset": "9"}, 9),
        (429, {"retry_after": "120", "ratelimit_reset": "9"}, 120),
        (429, {"retry_after": "Sun, 22 Nov 2026 10:00:20 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 20),
        (429, {"retry_after": "Sun, 22 Nov 2026 09:00:00 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 0),
        (429, {"retry_after": "Sun, 22 Nov 2026 10:00:20 GMT"}, 0),  # a date against no date
        (429, {"retry_after": "string", "ratelimit_reset": "9"}, 9),
        (429, {"retry_after": "nan"}, 0),
        (429, {"retry_after": "-5"}, 0),
        (429, {}, 0),
        (429, {"retry_after": "999999999"}, 0),  # a year or more is nonsense
        (429, {"retry_after": "86400"}, LONGEST_HOLD),
        (503, {"retry_after": "7"}, 7),
        (503, {"ratelimit_reset": "7"}, 0),
        (200, {"retry_after": "7"}, 0),
        (200, {"ratelimit_remaining": "0", "ratelimit_reset": "11"}, 11),
        (200, {"ratelimit_remaining": "1", "ratelimit_reset": "11"}, 0),
        (200, {"ratelimit_remaining": "0"}, 0),
        (200, {"ratelimit_remaining": "string", "ratelimit_reset": "string", "ratelimit_limit": "string"}, 0),
        (200, {"ratelimit_remaining": "0", "ratelimit_reset": "string"}, 0),
    ],
)
async def test_the_servers_headers_are_obeyed_by_everybody(
    status: int, headers: dict[str, str], waits: float, answer: Callable[..., Any], looptime: looptime.Chronometer
) -> None:
    limiter = Limiter(Budget(rate=1e6))
    told: list[float] = []
    limiter.on_hold.append(told.append)
    limiter.note(answer(status, {}, **headers))
    await limiter.acquire()
    assert looptime == waits
    assert limiter.held_seconds == waits
    assert told == ([waits] if waits else [])


@pytest.mark.looptime
async def test_the_time_held_is_counted_once_for_holds_that_overlap(answer: Callable[..., Any]) -> None:
    limiter = Limiter(Budget())
    told: list[float] = []
    limiter.on_hold.append(told.append)
    limiter.note(answer(429, {}, retry_after="10"))
    await asyncio.sleep(4)
    limiter.note(answer(429, {}, retry_after="10"))
    limiter.note(answer(429, {}, retry_after="3"))
    assert limiter.held_seconds == 14
    assert told == [10, 10]


# --- giving up


@pytest.mark.looptime
async def test_one_cancelled_in_the_very_moment_of_his_turn_gives_his_place_to_the_next() -> None:
    limiter = Limiter(Budget(rate=1e6, concurrency=1))
    permit = await limiter.acquire()
    first, second = asyncio.create_task(limiter.acquire()), asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    permit.release()  # the first one's turn has come, but he has not run yet
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert isinstance(await asyncio.wait_for(second, 1), Permit)
    assert limiter.gate.in_flight == 1


@pytest.mark.looptime
async def test_one_who_gives_up_waiting_leaves_no_timer_and_is_no_longer_counted(
    live_timers: Callable[[], list[Any]],
) -> None:
    limiter = Limiter(Budget(rate=0.001))
    (await limiter.acquire()).release()
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert ", 0 waiting" in repr(limiter)
    assert live_timers() == []


@pytest.mark.looptime
async def test_those_who_gave_up_do_not_pile_up_behind_one_who_waits() -> None:
    limiter = Limiter(Budget(rate=0.001))
    (await limiter.acquire()).release()
    patient = asyncio.create_task(limiter.acquire())
    for _ in range(100):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(limiter.acquire(), 0.01)
    assert ", 1 waiting" in repr(limiter)
    patient.cancel()
    await asyncio.gather(patient, return_exceptions=True)


@pytest.mark.looptime
@pytest.mark.parametrize("seed", range(20))
async def test_after_any_storm_of_cancellations_every_place_is_free_again(
    seed: int, looptime: looptime.Chronometer
) -> None:
    rng = Random(seed)
    limiter = Limiter(Budget(rate=50, concurrency=3))
    served = 0

    async def work() -> None:
        nonlocal served
        with await limiter.acquire():
            await asyncio.sleep(rng.choice([0, 0.01, 0.1]))
            served += 1

    tasks = [asyncio.create_task(work()) for _ in range(60)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(rng.choice([0, 0, 0.001, 0.02]))
        if rng.random() < 0.5:
            rng.choice(tasks).cancel()
    assert served == sum(not task.cancelled() for task in tasks)
    assert limiter.gate.in_flight == 0
    for _ in range(3):  # all three places are there
        await asyncio.wait_for(limiter.acquire(), 5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(limiter.acquire(), 5)


# --- a permit


@pytest.mark.looptime
async def test_a_permit_is_given_back_once_and_spent_once() -> None:
    limiter = Limiter(Budget(concurrency=2))
    permit, other = await limiter.acquire(), await limiter.acquire()
    assert permit.spend()
    assert not permit.spend()
    permit.release()
    permit.release()
    assert limiter.gate.in_flight == 1
    other.release()
    assert not other.spend(), "what was given back cannot be spent"
    assert limiter.gate.in_flight == 0


@pytest.mark.looptime
async def test_a_request_that_has_its_permit_does_not_queue_for_another(
    scripted: Callable[..., Any], done: Any, looptime: looptime.Chronometer
) -> None:
    limiter = Limiter(Budget(rate=0.1, concurrency=1))
    send = scripted(done)
    permit = await limiter.acquire()
    await limited(send, limiter)(Request("GET", "/x", permit=permit))
    assert looptime == 0
    assert limiter.gate.in_flight == 0
    await limited(send, limiter)(Request("GET", "/x", permit=permit))  # used before: a new one is taken, in turn
    assert looptime == 10
    assert limiter.requests == 2
    assert limiter.gate.in_flight == 0


@pytest.mark.looptime
@pytest.mark.parametrize("failure", [ConnectionFailed("cut"), RuntimeError("a bug of ours")])
async def test_a_request_that_fails_gives_its_place_back(
    failure: Exception, scripted: Callable[..., Any], done: Any
) -> None:
    limiter = Limiter(Budget(concurrency=1))
    send = limited(scripted(failure, done), limiter)
    with pytest.raises(type(failure)):
        await send(ASK)
    assert limiter.gate.in_flight == 0
    assert (await asyncio.wait_for(send(ASK), 1)).status == 200


@pytest.mark.looptime
async def test_a_request_cancelled_in_flight_gives_its_place_back(
    scripted: Callable[..., Any], after: Any, done: Any
) -> None:
    limiter = Limiter(Budget(concurrency=1))
    send = limited(scripted(after(1000, done)), limiter)
    task, next_task = asyncio.create_task(send(ASK)), asyncio.create_task(send(ASK))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert limiter.gate.in_flight == 1, "the next one's, by now"
    assert (await next_task).status == 200


@pytest.mark.looptime
async def test_never_more_than_the_budget_are_in_flight_and_the_place_is_kept_until_the_answer(
    scripted: Callable[..., Any], after: Any, done: Any, looptime: looptime.Chronometer
) -> None:
    script = scripted(after(3, done))
    send = limited(script, Limiter(Budget(rate=1e6, concurrency=5)))
    await asyncio.gather(*(send(ASK) for _ in range(25)))
    assert script.most_at_once == 5
    assert looptime == 15


@pytest.mark.looptime
async def test_one_throttled_answer_makes_all_the_others_wait(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, looptime: looptime.Chronometer
) -> None:
    script = scripted(answer(429, {}, retry_after="40"), done)
    send = limited(script, Limiter(Budget(rate=1, concurrency=5)))
    answers = await asyncio.gather(*(send(ASK) for _ in range(4)))
    assert [response.status for response in answers] == [429, 200, 200, 200]
    assert script.times[:2] == [0, 40]
    assert [round(moment, 2) for moment in script.times[2:]] == [41.11, 42.2]  # a refusal cuts the rate by a tenth


# --- what answers teach


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("status", "document", "headers", "rate_cut", "at_once_cut"),
    [
        (429, {"reasons": [{"code": 70, "message": "m"}]}, {"ratelimit_remaining": "0"}, True, False),
        (429, {"reasons": [{"code": 50000070, "message": "m"}]}, {}, False, True),
        (429, {"reasons": [{"code": "50000070", "message": "m"}]}, {"ratelimit_remaining": "0"}, False, True),
        (429, {}, {"concurrency_limit_remaining": "0"}, False, True),
        (429, {}, {"concurrency_limit_remaining": "0", "ratelimit_remaining": "0"}, True, True),
        (429, {}, {"ratelimit_remaining": "0"}, True, False),
        (429, {}, {}, True, True),  # nothing tells which
        (429, b"slow down", {"ratelimit_remaining": "string"}, True, True),
        (200, {"success": False, "reasons": [{"code": 50000070, "message": "m"}]}, {}, False, True),
        (200, {"success": False, "reasons": [{"code": 53100070, "message": "m"}]}, {}, True, True),
        (200, {"status": "Completed"}, {"ratelimit_remaining": "0"}, True, False),  # the next would be refused
        (200, {"status": "Completed"}, {"ratelimit_remaining": "1", "concurrency_limit_remaining": "0"}, False, False),
        (503, {}, {}, False, False),
        (404, {}, {}, False, False),
    ],
)
async def test_a_refusal_cuts_what_it_was_for(
    status: int,
    document: Any,
    headers: dict[str, str],
    rate_cut: bool,
    at_once_cut: bool,
    scripted: Callable[..., Any],
    after: Any,
    answer: Callable[..., Any],
) -> None:
    limiter = Limiter(Budget(rate=100, concurrency=10))
    send = limited(scripted(after(1, answer(status, document, **headers))), limiter)
    await asyncio.gather(*(send(ASK) for _ in range(10)))
    assert (limiter.rate < 100) is rate_cut
    assert (limiter.gate.congestion.at_once < 10) is at_once_cut
    if at_once_cut:
        assert limiter.gate.congestion.at_once == 9, "those of one moment count once"


@pytest.mark.looptime
async def test_what_was_sent_before_a_cut_and_is_refused_after_it_cuts_nothing_more(
    scripted: Callable[..., Any], after: Any, answer: Callable[..., Any], done: Any
) -> None:
    refusals = [after(seconds, answer(429, {}, ratelimit_remaining="0")) for seconds in (1, 2, 3, 30)]
    limiter = Limiter(Budget(rate=100, concurrency=10))
    send = limited(scripted(*refusals, done), limiter)
    tasks = [asyncio.create_task(send(ASK)) for _ in range(4)]
    await asyncio.sleep(1.5)
    once = limiter.rate
    assert once < 100
    await asyncio.gather(*tasks)
    assert limiter.rate == once
    assert limiter.refusals == 4


@pytest.mark.looptime
async def test_a_tenant_that_refuses_time_and_again_and_never_says_for_how_long_is_asked_ever_more_seldom(
    scripted: Callable[..., Any], after: Any, answer: Callable[..., Any], done: Any
) -> None:
    refusal = after(0.25, answer(429, {}))
    script = scripted(*[refusal] * 10, done, refusal, done)
    send = limited(script, Limiter(Budget(rate=1e6, concurrency=1)))
    for _ in range(14):
        await send(ASK)
        await asyncio.sleep(0.25)
    waits = [round(later - earlier, 2) for earlier, later in zip(script.times, script.times[1:], strict=False)]
    assert waits == [0.5, 0.75, 1.25, 2.25, 4.25, 8.25, 16.25, 30.25, 30.25, 30.25, 0.25, 0.5, 0.25]


@pytest.mark.looptime
async def test_a_crowd_refused_in_one_moment_counts_as_one_refusal_in_the_row(
    scripted: Callable[..., Any], after: Any, answer: Callable[..., Any]
) -> None:
    limiter = Limiter(Budget(rate=1e6, concurrency=50))
    send = limited(scripted(after(1, answer(429, {}))), limiter)
    await asyncio.gather(*(send(ASK) for _ in range(50)))
    assert limiter.gate.congestion.refused_in_a_row == 1
    assert limiter.held_seconds == 0
    assert limiter.refusals == 50


@pytest.mark.looptime
async def test_the_figures_of_any_answer_set_the_pace_also_of_one_that_is_no_document(
    scripted: Callable[..., Any], answer: Callable[..., Any]
) -> None:
    limiter = Limiter(Budget(rate=400))
    told = {"ratelimit_limit": "3600, 3600;w=3600", "ratelimit_remaining": "200", "ratelimit_reset": "1801"}
    await limited(scripted(answer(404, b"<html>", **told)), limiter)(ASK)
    assert 0.35 <= limiter.rate <= 4 * 200 / 1800


@pytest.mark.looptime
async def test_a_quota_is_never_overrun_by_a_crowd_and_the_rest_goes_when_its_window_has_ended(
    scripted: Callable[..., Any], after: Any, done: Any
) -> None:
    limiter = Limiter(Budget(rate=100, concurrency=50, quota=[(30, 60)]))
    script = scripted(after(0.5, done))
    send = limited(script, limiter)
    await asyncio.gather(*(send(ASK) for _ in range(100)))
    counts = [sum(60 * minute <= moment < 60 * minute + 60 for moment in script.times) for minute in range(4)]
    assert sum(counts) == 100
    assert max(counts) <= 30
    assert counts[0] >= 27


@pytest.mark.looptime
async def test_the_figures_tell_how_many_went_were_refused_and_how_long_all_had_to_wait(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any
) -> None:
    refusal = answer(429, {}, retry_after="5")
    script = scripted(done, refusal, done, answer(503, {}, retry_after="2"), ConnectionFailed("cut"), refusal, done)
    limiter = Limiter(Budget(rate=1e6, concurrency=1))
    send = limited(script, limiter)
    for _ in range(7):
        await asyncio.gather(send(ASK), return_exceptions=True)
    assert (limiter.requests, limiter.refusals, limiter.held_seconds) == (7, 2, 12)
    assert script.times == [0, 0, 5, 5, 7, 7, 12]


# --- nobody answers

AWAY = [
    ConnectionFailed("cut"),
    ResponseTimeout("slow"),
    Response(503, {}, b""),
    Response(502, {}, b"<html>"),
    Response(200, {}, b"<html>maintenance</html>"),
    Response(302, {}, b""),
]


@pytest.mark.looptime
@pytest.mark.parametrize("step", AWAY, ids=repr)
async def test_what_comes_of_the_first_few_is_told_to_all_who_wait(
    step: Any, scripted: Callable[..., Any], after: Any
) -> None:
    limiter = Limiter(Budget(rate=1e6, concurrency=4))
    script = scripted(after(1, step))
    send = in_turn(limited(script, limiter), limiter)
    ends = await asyncio.gather(*(send(ASK) for _ in range(100)), return_exceptions=True)
    assert OPENS_AFTER <= len(script.sent) <= OPENS_AFTER + 4, "as many as were under way by then"
    told = [end for end in ends if isinstance(end, ZuoraJobsError) and not end.sent]
    assert len(told) == 100 - len(script.sent)
    kind = type(step) if isinstance(step, Exception) else type(fault(ASK, step))
    assert {type(end) for end in told} == {kind}
    assert len({id(end) for end in told}) == len(told), "each has his own: notes are added to it"
    assert repr(limiter) == "<Limiter 0/4 in flight, 0 waiting, nobody answers>"
    assert asyncio.get_running_loop().time() <= 3, "nobody waits for a probe"
    post = Request("POST", "/x")
    assert all(may_send_again(post, end) for end in told)


@pytest.mark.looptime
async def test_those_whose_request_did_go_out_are_not_told_that_it_did_not(
    scripted: Callable[..., Any], after: Any
) -> None:
    limiter = Limiter(Budget(rate=1e6, concurrency=8))
    script = scripted(after(1, ConnectionFailed("cut")))
    send = in_turn(limited(script, limiter), limiter)
    ends = await asyncio.gather(*(send(ASK) for _ in range(30)), return_exceptions=True)
    went_out = len(script.sent)
    assert 8 <= went_out <= 16
    assert [end.sent for end in ends if isinstance(end, ConnectionFailed)] == [True] * went_out + [False] * (
        30 - went_out
    )


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b"{}"), (400, b"{}"), (403, b"<html>"), (429, b"{}"), (401, b"{}"), (200, b"{}"), (200, b'{"success": false}'),
     (200, b'{"reasons": [{"code": 50000060}], "success": false}'),
     (409, b'{"reasons": [{"code": 50000050, "message": "locked"}], "success": false}'), (501, b"")],
)  # fmt: skip
async def test_a_refusal_is_an_answer_however_often_it_comes(
    status: int, body: bytes, scripted: Callable[..., Any]
) -> None:
    step = Response(status, {}, body)
    limiter = Limiter(Budget(rate=1e6, concurrency=4))
    send = in_turn(limited(scripted(step), limiter), limiter)
    for _ in range(30):
        await send(ASK)
    assert not limiter.gate.breaker.is_open


@pytest.mark.looptime
async def test_answers_that_are_too_large_are_answers(scripted: Callable[..., Any]) -> None:
    """As `http.py` raises it: somebody sent eight megabytes."""
    limiter = Limiter(Budget(rate=1e6, concurrency=4))
    send = in_turn(limited(scripted(MalformedResponse("m", problems=["more than 8388608 bytes"])), limiter), limiter)
    for _ in range(30):
        with pytest.raises(MalformedResponse):
            await send(ASK)
    assert not limiter.gate.breaker.is_open


@pytest.mark.looptime
async def test_a_bug_of_ours_is_no_outage(scripted: Callable[..., Any]) -> None:
    limiter = Limiter(Budget(rate=1e6, concurrency=4))
    send = in_turn(limited(scripted(RuntimeError("a bug")), limiter), limiter)
    for _ in range(30):
        with pytest.raises(RuntimeError):
            await send(ASK)
    assert not limiter.gate.breaker.is_open
    assert limiter.gate.in_flight == 0


@pytest.mark.looptime
async def test_in_an_outage_one_at_a_time_goes_to_see_and_the_first_answer_lets_all_go(
    scripted: Callable[..., Any], done: Any, looptime: looptime.Chronometer
) -> None:
    limiter = Limiter(Budget(rate=100, concurrency=4))
    away = ConnectionFailed("cut")
    script = scripted(lambda _: away if asyncio.get_running_loop().time() < 60 else done)
    send = in_turn(limited(script, limiter), limiter)

    async def insist() -> None:
        while True:
            try:
                await send(ASK)
            except ConnectionFailed:
                await asyncio.sleep(0.25)
            else:
                return

    await asyncio.gather(*(insist() for _ in range(100)))
    probes = script.times[OPENS_AFTER:-100]
    assert len(probes) == 4 + (60 - 8) // 5
    gaps = [later - earlier for earlier, later in zip(probes, probes[1:], strict=False)]
    assert max(gaps) <= 5.001
    first = script.times[-100]
    assert first < 60 + 5
    assert script.times[-99] < first + 0.1, "whoever waits need not wait for the next probe"
    assert first + 1.5 < looptime < first + 100 / (100 / 2) + 0.1, "at half the rate: others return in the same moment"
    assert limiter.requests == len(script.sent)


@pytest.mark.unmeasured
@pytest.mark.looptime
async def test_an_outage_of_a_quarter_of_an_hour_is_ridden_out_by_fifty_calls_at_a_probe_each_five_seconds(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_fixed_token: Settings
) -> None:
    outage = answer(503, b"<html><title>Maintenance</title></html>")
    script = scripted(lambda _: outage if asyncio.get_running_loop().time() < 900 else done)
    patience = Patience(again=2_000, longest=20)
    async with ZuoraClient(with_fixed_token, Budget(rate=100), patience=patience, send=script, rng=Random(1)) as client:
        documents = await asyncio.gather(*(client.job(OPERATION.handle(str(number))) for number in range(50)))
    assert len(documents) == 50
    during = [moment for moment in script.times if moment < 900]
    assert 900 / 10 < len(during) <= OPENS_AFTER + 900 / 5 + 5
    assert min(moment for moment in script.times if moment >= 900) < 906


@pytest.mark.looptime
async def test_one_who_is_told_of_an_outage_and_gives_up_in_the_same_moment_complains_to_nobody(
    nothing_unheard: None,
) -> None:
    limiter = Limiter(Budget(rate=1e6, concurrency=1))
    await limiter.acquire()
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    for _ in range(OPENS_AFTER):
        limiter.unanswered(ConnectionFailed("cut"), 0.0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert limiter.gate.in_flight == 1


@pytest.mark.looptime
async def test_a_probe_that_is_given_up_is_followed_by_another(
    scripted: Callable[..., Any], after: Any, done: Any
) -> None:
    limiter = Limiter(Budget(rate=1e6, concurrency=4))
    for _ in range(OPENS_AFTER):
        limiter.unanswered(ConnectionFailed("cut"), 0.0)
    script = scripted(after(1000, done), done)
    send = in_turn(limited(script, limiter), limiter)
    probe, other = asyncio.create_task(send(ASK)), asyncio.create_task(send(ASK))
    await asyncio.sleep(1)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    assert (await other).status == 200
    assert script.times == [0.5, 1.5]
    assert not limiter.gate.breaker.is_open


@pytest.mark.looptime
async def test_a_hundred_that_hung_since_before_an_answer_do_not_make_an_outage(
    scripted: Callable[..., Any], after: Any, done: Any
) -> None:
    hanging = [after(30, ResponseTimeout("slow"))] * 100
    limiter = Limiter(Budget(rate=1e6, concurrency=200))
    send = in_turn(limited(scripted(*hanging, after(1, done)), limiter), limiter)
    ends = await asyncio.gather(*(send(ASK) for _ in range(101)), return_exceptions=True)
    assert sum(isinstance(end, ResponseTimeout) for end in ends) == 100
    assert not limiter.gate.breaker.is_open


@pytest.mark.looptime
async def test_a_token_endpoint_that_throttles_makes_all_wait_for_as_long_as_it_asks(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    grant = answer(200, {"access_token": "t", "expires_in": 3600})
    script = scripted(done, tokens=[answer(429, {}, retry_after="45"), grant])
    told: list[float] = []
    async with ZuoraClient(with_credentials, Budget(rate=1e6), send=script, rng=Random(1)) as client:
        client.limiter.on_hold.append(told.append)
        await asyncio.gather(*(client.job(OPERATION.handle(str(number))) for number in range(30)))
        assert client.limiter.held_seconds == 45
        assert not client.limiter.gate.breaker.is_open
    assert told == [45]
    assert [sent.at for sent in script.token_requests] == [0, 45]
    assert len(script.sent) == 30
    assert min(script.times) == 45


@pytest.mark.looptime
async def test_the_second_try_of_a_call_whose_token_had_ended_goes_before_those_who_came_later(
    scripted: Callable[..., Any], after: Any, done: Any, with_credentials: Settings
) -> None:
    script = scripted(after(0.5, Response(401, {}, b"{}")), done)
    async with ZuoraClient(with_credentials, Budget(rate=1), send=script) as client:
        await asyncio.gather(*(client.job(OPERATION.handle(str(number))) for number in range(4)))
    assert [sent.request.path[-1] for sent in script.sent] == ["0", "0", "1", "2", "3"]


@pytest.mark.looptime
async def test_a_request_that_has_its_permit_takes_no_other_and_gives_it_back_on_any_end(
    scripted: Callable[..., Any], done: Any
) -> None:
    limiter = Limiter(Budget(rate=1e6, concurrency=1))
    for step in (done, ConnectionFailed("cut"), RuntimeError("a bug")):
        permit = await limiter.acquire()
        send = in_turn(limited(scripted(step), limiter), limiter)
        await asyncio.gather(send(Request("GET", "/x", permit=permit)), return_exceptions=True)
        assert limiter.gate.in_flight == 0
    assert limiter.requests == 3


# --- closing


@pytest.mark.looptime
async def test_closing_turns_everybody_away_and_stops_the_timer(live_timers: Callable[[], list[Any]]) -> None:
    limiter = Limiter(Budget(rate=0.01))
    permit = await limiter.acquire()
    waiting = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
    await asyncio.sleep(1)
    waiting[1].cancel()
    limiter.close()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [WatcherClosed, asyncio.CancelledError, WatcherClosed]
    assert live_timers() == []
    permit.release()
    assert live_timers() == []
    assert limiter.gate.in_flight == 0
    with pytest.raises(WatcherClosed):
        await limiter.acquire()


@pytest.mark.looptime
async def test_one_cancelled_while_being_turned_away_stays_cancelled_and_complains_to_nobody(
    nothing_unheard: None,
) -> None:
    limiter = Limiter(Budget(rate=0.01))
    await limiter.acquire()
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(1)
    limiter.close()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


# --- any sequence of coming, going and giving up, in virtual time


class Waiting(RuleBasedStateMachine):
    """Compares the limiter with what everybody at it has been promised."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: Any = looptime.new_event_loop(start=0, _enabled=True)

    @initialize(rate=st.sampled_from([0.5, 3.0, 7.0, 25.0, 100.0]), concurrency=st.integers(1, 4))
    def open(self, rate: float, concurrency: int) -> None:
        self.budget = Budget(rate=rate, concurrency=concurrency)
        self.limiter = Limiter(self.budget)
        self.queue: deque[asyncio.Task[None]] = deque()
        """Those who have come and neither been let in nor given up, in order."""
        self.inside: list[Permit] = []
        self.let_in: list[tuple[float, Any]] = []
        self.held_until = 0.0

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        async def steps() -> None:
            await work()
            for _ in range(4):
                await asyncio.sleep(0)

        self.loop.run_until_complete(steps())
        for task in self.queue:
            if task.done():
                task.result()  # raises what it found wrong

    async def _come(self) -> None:
        async def one() -> None:
            permit = await self.limiter.acquire()
            task = asyncio.current_task()
            assert self.queue[0] is task, "the first in the queue goes first"
            self.queue.popleft()
            now = self.loop.time()
            assert now >= self.held_until - 1e-5
            self.inside.append(permit)
            self.let_in.append((now, task))

        self.queue.append(asyncio.get_running_loop().create_task(one()))

    @rule(count=st.integers(1, 5))
    def come(self, count: int) -> None:
        async def work() -> None:
            for _ in range(count):
                await self._come()

        self.run(work)

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(sorted(self.queue, key=id)))
        self.queue.remove(task)

        async def work() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()

        self.run(work)

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        permit = self.inside.pop(data.draw(st.integers(0, len(self.inside) - 1)))

        async def work() -> None:
            permit.release()

        self.run(work)

    @precondition(lambda self: self.inside and self.queue)
    @rule()
    def leave_just_when_the_next_gives_up(self) -> None:
        async def work() -> None:
            self.inside.pop().release()
            task = self.queue.popleft()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.run(work)

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.33, 1.0, 7.0]))
    def pass_time(self, seconds: float) -> None:
        self.run(partial(asyncio.sleep, seconds))

    @rule(seconds=st.sampled_from([0.5, 3.0]))
    def be_told_to_wait(self, seconds: float) -> None:
        async def work() -> None:
            self.held_until = max(self.held_until, self.loop.time() + seconds)
            self.limiter.gate.hold(self.loop.time(), seconds)

        self.run(work)

    @invariant()
    def keeps_its_promises(self) -> None:
        if not hasattr(self, "limiter"):
            return
        assert self.limiter.gate.in_flight == len(self.inside) <= self.budget.concurrency
        assert self.limiter.requests >= len(self.let_in)
        times = [moment for moment, _ in self.let_in]
        for first in range(len(times)):
            span = times[-1] - times[first]
            assert len(times) - first <= 1 + (span + BURST) * self.budget.rate + 1e-2

    def teardown(self) -> None:
        """Whoever is left gets in when all others leave: nobody is forgotten."""

        async def finish() -> None:
            while self.queue or self.inside:
                while self.inside:
                    self.inside.pop().release()
                await asyncio.sleep(0.5)

        try:
            if hasattr(self, "limiter"):
                self.loop.run_until_complete(asyncio.wait_for(finish(), 200))
                assert self.limiter.gate.in_flight == 0
        finally:
            self.loop.close()


Waiting.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestWaiting = pytest.mark.unmeasured(Waiting.TestCase)
