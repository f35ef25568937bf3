"""The budget: a pure gate, and those who wait at it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from math import isclose
from random import Random
from typing import Any

import looptime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from zuora_jobs import Budget
from zuora_jobs.errors import ConfigurationError, ConnectionFailed, WatcherClosed
from zuora_jobs.protocol.messages import Request
from zuora_jobs.timing import LONGEST_HOLD, TICK
from zuora_jobs.transport.gate import BURST, Gate
from zuora_jobs.transport.limits import Limiter, Permit, limited

ASK = Request("GET", "/v1/operations/jobs/x")


# --- the gate, told the time

WAITS = st.floats(0, 3, allow_nan=False)
RATES = st.one_of(st.sampled_from([0.5, 1.0, 3.0, 7.0, 10.0, 19.9, 20.0, 100.0, 833.0]), st.floats(0.1, 2000))


@given(
    rate=RATES,
    concurrency=st.integers(1, 8),
    moves=st.lists(st.tuples(st.sampled_from(["enter", "leave", "wait", "hold"]), WAITS), max_size=120),
)
def test_the_gate_keeps_its_three_promises_whatever_happens(
    rate: float, concurrency: int, moves: list[tuple[str, float]]
) -> None:
    gate = Gate(Budget(rate=rate, concurrency=concurrency))
    now, held_until = 1000.0, 0.0
    let_go: list[float] = []
    for move, seconds in moves:
        if move == "enter":
            opens = gate.opens_at(now)
            if opens is None:
                assert gate.in_flight == concurrency
                continue
            assert opens >= now
            now = opens
            assert now >= held_until
            assert gate.opens_at(now) == now, "when the moment comes, it opens"
            gate.enter(now)
            let_go.append(now)
        elif move == "leave" and gate.in_flight:
            gate.leave()
        elif move == "wait":
            now += seconds
        elif move == "hold":
            gate.hold(now, seconds)
            held_until = max(held_until, now + seconds)
        assert 0 <= gate.in_flight <= concurrency
    for first, start in enumerate(let_go):
        for last in range(first, len(let_go)):
            span = let_go[last] - start
            assert last - first + 1 <= 1 + (span + BURST) * rate + 1e-6


@given(rate=RATES, pause=st.floats(0, 10_000))
def test_a_long_pause_saves_up_no_more_than_the_burst(rate: float, pause: float) -> None:
    gate = Gate(Budget(rate=rate, concurrency=10_000))
    gate.enter(0.0)
    count = 0
    while gate.opens_at(pause) == pause and count < 10_000:
        gate.enter(pause)
        count += 1
    assert count <= 1 + BURST * rate + 1e-6


@given(rate=RATES)
def test_one_who_never_stops_asking_gets_the_whole_rate(rate: float) -> None:
    gate = Gate(Budget(rate=rate, concurrency=100_000))
    now = 0.0
    for _ in range(200):
        opens = gate.opens_at(now)
        assert opens is not None
        now = opens
        gate.enter(now)
    assert now <= 199 / rate + 1e-6, "no slower than promised"
    assert now >= 199 / rate - BURST - 1e-6, "no faster either"


@pytest.mark.parametrize(
    ("holds", "held_until"),
    [
        ([(0, 10)], 10),
        ([(0, 10), (2, 3)], 10),  # a shorter wait changes nothing
        ([(0, 10), (2, 30)], 32),
        ([(0, 1e12)], LONGEST_HOLD),  # nonsense is cut
        ([(0, 0)], 0),
    ],
)
def test_the_longest_wait_that_the_server_asked_for_counts(holds: list[tuple[float, float]], held_until: float) -> None:
    gate = Gate(Budget())
    for now, seconds in holds:
        gate.hold(now, seconds)
    assert gate.held_until == held_until
    assert gate.opens_at(0) == held_until


def test_waiting_for_the_server_does_not_save_up_requests() -> None:
    gate = Gate(Budget(rate=1, concurrency=100))
    gate.hold(0, 60)
    gate.enter(60)
    assert gate.opens_at(60) == 61


@pytest.mark.parametrize(
    ("url", "rate"),
    [
        ("https://rest.zuora.com", 400),
        ("https://rest.test.eu.zuora.com", 400),
        ("https://rest.apisandbox.zuora.com", 20),
        ("https://rest.sandbox.na.zuora.com", 20),
        ("https://REST.SANDBOX.EU.zuora.com/", 20),
        ("http://127.0.0.1:8080", 400),
    ],
)
def test_the_default_budget_leaves_most_of_the_tenants_quota_to_others(url: str, rate: float) -> None:
    budget = Budget.for_tenant(url)
    assert budget.rate == rate
    assert budget.concurrency == 20


@pytest.mark.parametrize(
    "arguments",
    [
        {"rate": 0},
        {"rate": -1},
        {"rate": float("nan")},
        {"rate": "fast"},
        {"concurrency": 0},
        {"concurrency": -3},
        {"concurrency": 2.5},
    ],
)
def test_a_budget_of_nothing_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        Budget(**arguments)


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
TestWaiting = Waiting.TestCase
