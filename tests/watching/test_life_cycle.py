"""Any life of any watch: jobs, callers, a server and its moods in any order, in virtual time, against a plain model.

The model knows how each job truly stands, what its server has said of it, and who watches it, and decides about nothing
else: what a watcher does, and what it tells, is compared with what it was told.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from random import Random
from typing import Any

import looptime
import pytest
from attrs import define, field
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zuora_jobs import AQUA, OPERATION, Budget, Cadence, Finished, JobWatcher, Lost, Outcome, Settings, ZuoraClient
from zuora_jobs import errors as err
from zuora_jobs.protocol.messages import Request, Response
from zuora_jobs.transport.auth import DOUBT

NAMES = ["o0", "o1", "o2", "a0", "a1", "a2"]
HANDLES = {name: (OPERATION if name[0] == "o" else AQUA).handle(name) for name in NAMES}
RUNNING = {"o": ("Pending", "Processing"), "a": ("submitted", "executing")}
ENDS = {"o": {"succeeded": "Completed", "failed": "Failed"}, "a": {"succeeded": "completed", "failed": "aborted"}}
TENANT = Settings(base_url="https://rest.example.com", client_id="us", client_secret="not-a-secret")
AT_ONCE, EVERY, PATIENCE = 3, 1.0, 60.0
LATE = 1e-3  # seconds: what a clock of microseconds, and sums of floats, may differ by

MOODS: dict[str, Any] = {
    "unknown": "Dozing",
    "404": (404, {"success": False, "reasons": [{"code": 50000040, "message": "no such job"}]}),
    "429": (429, {"reasons": [{"code": 70, "message": "too many"}]}, {"retry-after": "7"}),
    "429-bare": (429, {}),
    "503": (503, {}),
    "503-wait": (503, {}, {"retry-after": "5"}),
    "401": (401, {"message": "Authentication error"}),
    "locked": (200, {"success": False, "reasons": [{"code": 50000050, "message": "locked"}]}),
    "html": (200, b"<html>maintenance</html>"),
    "no-status": (200, {"id": "x"}),
    "refused": err.ConnectionFailed,
    "slow": "",
    "slow-and-stale": "",
}
UNHEARD = (err.TransportError, err.RateLimited, err.ServerError, err.Unauthorized)
SOME = st.lists(st.sampled_from(NAMES), min_size=1, max_size=6)
TIMEOUTS, LASTS = st.sampled_from([None, None, 0.5, 4.0, 40.0]), st.sampled_from([2.0, 10.0, 100.0])


def said(status: int, document: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(status, headers or {}, document if isinstance(document, bytes) else json.dumps(document).encode())


@define(eq=False)
class Life:
    """How one job truly stands."""

    name: str
    end: str = "succeeded"
    ends_at: float = inf

    def phase(self, now: float) -> str:
        return self.end if now >= self.ends_at - LATE / 10 else "running"

    def status(self, now: float) -> str:
        ended = self.phase(now) != "running"
        return ENDS[self.name[0]].get(self.end, self.end) if ended else RUNNING[self.name[0]][int(now) // 10 % 2]


@define(eq=False)
class Caller:
    """A task of the user's, and the jobs that it wants to know of."""

    how: str
    names: set[str]
    open: set[str]  # those whose end nobody has been told yet
    deadline: float
    pause: float  # seconds that it takes to read an event
    ends: dict[str, Outcome[Any]] = field(factory=dict)  # what observers were told in the meantime
    told: list[Outcome[Any]] = field(factory=list)
    left: bool = False
    ended_at: float = inf
    task: Any = None


class Watching(RuleBasedStateMachine):
    """Compares a watcher with what its jobs did, its server said and its callers asked."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: Any = looptime.new_event_loop(start=0, _enabled=True, noop_cycles=1)  # there are no sockets
        self.lives = {name: Life(name) for name in NAMES}
        self.moods: dict[str, tuple[str, float]] = {}
        self.cancelling_takes, self.race = 0.0, False
        self.callers: list[Caller] = []
        self.looking, self.looked_at = Counter[str](), dict[str, float]()
        self.stirred = Counter[str]()  # looks that may come at any time, since somebody has asked for them
        self.end_said: set[str] = set()
        self.shown = defaultdict[str, set[str]](set)
        self.began_at: dict[str, float] = {}
        self.document_at, self.known_at = dict.fromkeys(NAMES, 0.0), dict.fromkeys(NAMES, 0.0)
        self.accepted_at = -inf
        self.told, self.wrong = Counter[str](), list[str]()  # the latter where nobody could raise it
        opened, self.closing = asyncio.Event(), asyncio.Event()
        options: Any = {"contact_timeout": PATIENCE, "unknown_status_timeout": PATIENCE, "observers": [self.observe]}
        budget, cadence = Budget(rate=50, concurrency=AT_ONCE), Cadence.constant(EVERY)

        async def program() -> None:
            async with (
                ZuoraClient(TENANT, budget, send=self.send, rng=Random(1)) as self.client,
                JobWatcher(self.client, cadence=cadence, **options) as self.watcher,
            ):
                opened.set()
                await self.closing.wait()

        self.program = self.loop.create_task(program())
        self.run(opened.wait)

    # --- the server

    async def send(self, request: Request) -> Response:
        if request.path == "/oauth/token":
            return said(200, {"access_token": "none", "token_type": "bearer", "expires_in": 3600})
        name, now = request.path.rsplit("/", 1)[1], self.loop.time()
        self.told["requests"] += 1
        mood, until = self.moods.get(name, ("", 0.0))
        mood = mood if now < until else ""
        if request.method == "DELETE":
            return await self.delete(self.lives[name], mood)
        self.check_look(name, now)
        self.looking[name] += 1
        try:
            before = self.lives[name].status(now)
            await asyncio.sleep(12 if mood.startswith("slow") else 0.02)
        finally:
            self.looking[name] -= 1
        answer = self.answer(name, mood, before if mood == "slow-and-stale" else "")
        self.told["polls"] += answer.status == 200 and b'"status": ' in answer.body
        return answer

    def answer(self, name: str, mood: str, status: str = "") -> Response:
        self.shown[name].add(mood)
        now, answer = self.loop.time(), MOODS.get(mood, "")
        self.stirred[name] += mood == "401"  # a new token is got, and the same look goes on with it
        if answer is err.ConnectionFailed:
            raise err.ConnectionFailed("refused", sent=False)
        if isinstance(answer, tuple):
            self.accepted_at = now if mood == "no-status" else self.accepted_at
            return said(*answer)
        self.document_at[name] = self.accepted_at = now
        status = answer or status or self.lives[name].status(now)
        if not answer:
            self.known_at[name] = now
            is_end = status not in RUNNING[name[0]] and self.watched(name)  # else it is said to nobody
            self.end_said |= {name} if is_end else set()
        return said(200, {"id": name, "status": status})

    async def delete(self, life: Life, mood: str) -> Response:
        self.stirred[life.name] += 2  # whatever comes of it, the next look may come at once
        await asyncio.sleep(5 if mood.startswith("slow") else 0.02)
        now = self.loop.time()
        if mood and not mood.startswith("slow"):  # it did not get through
            return self.answer(life.name, mood)
        if self.race and life.phase(now) == "running":
            life.end, life.ends_at = "succeeded", now
        if life.phase(now) != "running":
            return said(400, {"code": "90005", "message": "it has ended"})
        life.end, life.ends_at = "cancelled", min(life.ends_at, now + self.cancelling_takes)
        return self.answer(life.name, "")

    def check_look(self, name: str, now: float) -> None:
        """A look is for somebody's sake, the only one, not too soon, and not after an end that was said."""
        asked = self.stirred[name] > 0 or any(caller.how == "cancel" and name in caller.open for caller in self.callers)
        for complaint, holds in (
            ("nobody watches it", self.watched(name)),
            ("its end had been said", name not in self.end_said),
            ("that was being done", not self.looking[name]),
            ("it had been just before", asked or now - self.looked_at[name] >= 0.1 - LATE),
            ("the budget was spent", self.client.limiter.gate.in_flight <= AT_ONCE),
        ):
            if not holds:
                self.wrong.append(f"{name} was looked at at {now:.3f}, but {complaint}")
        self.looked_at[name] = now
        self.stirred[name] = max(0, self.stirred[name] - 1)

    def observe(self, event: Any) -> None:
        self.told[event.name] += 1
        if isinstance(event, Finished):
            name, end, now = event.handle.id, event.outcome, self.loop.time()
            self.told[end.name] += 1
            if not self.is_right(name, end, now):
                self.wrong.append(f"{self.lives[name]} is told at {now:.3f} to have ended: {end}")
            for caller in self.callers:
                if name in caller.open:
                    caller.open.remove(name)
                    caller.ends[name] = end
            self.end_said.discard(name)  # who asks again is answered again

    def is_right(self, name: str, outcome: Outcome[Any], now: float) -> bool:  # or a reason to be lost that was there
        if not isinstance(outcome, Lost):
            return outcome.name == self.lives[name].phase(now)
        since, patient = self.began_at[name], PATIENCE - LATE
        match outcome.error:
            case err.WatchTimedOut():
                return any(abs(caller.deadline - now) < LATE for caller in self.callers if name in caller.open)
            case err.UnknownStatus():
                return now - max(self.known_at[name], since) >= patient
            case err.NotFound():
                return "404" in self.shown[name]
            case err.Unauthorized() as error if not isinstance(error, err.TokenRefused):  # it speaks of all jobs
                return any("401" in shown for shown in self.shown.values()) and now - self.accepted_at >= DOUBT - LATE
        return now - max(self.document_at[name], since) >= patient

    def settle(self) -> None:
        """Compare what callers were told with what observers were."""
        for caller in [caller for caller in self.callers if caller.task.done()]:
            self.callers.remove(caller)
            if caller.left or (caller.how == "cancel" and isinstance(caller.task.exception(), UNHEARD)):
                continue
            caller.task.result()
            assert caller.ended_at <= caller.deadline + LATE
            assert sorted(outcome.handle.id for outcome in caller.told) == sorted(caller.names), "once, and only once"
            for outcome in caller.told:
                if outcome is not caller.ends.get(
                    outcome.handle.id
                ):  # all are told the same, but for a timeout of one's own
                    assert isinstance(outcome, Lost)
                    assert isinstance(outcome.error, err.WatchTimedOut)
                    assert abs(caller.ended_at - caller.deadline) < LATE
                    self.told["lost"] += 1

    def watched(self, name: str) -> bool:
        return any(name in caller.open for caller in self.callers)

    def call(self, how: str, names: list[str], timeout: float | None, pause: float = 0.0) -> None:
        now, handles = self.loop.time(), [HANDLES[name] for name in names]
        self.began_at |= {name: now for name in names if not self.watched(name)}
        self.stirred.update(set(names))
        caller = Caller(how, set(names), set(names), now + (timeout or inf), pause)
        self.callers.append(caller)

        async def ask() -> None:
            try:
                if how == "stream":
                    async with self.watcher.stream(handles, buffer=3) as events:
                        async for event in events:
                            caller.told += [event.outcome] if isinstance(event, Finished) else []
                            await asyncio.sleep(caller.pause)
                elif how == "watch_all":
                    caller.told += (await self.watcher.watch_all(handles, timeout=timeout)).values()
                else:
                    caller.told.append(await getattr(self.watcher, how)(handles[0], timeout=timeout))
            finally:
                caller.ended_at = self.loop.time()
                caller.open.clear()

        caller.task = self.loop.create_task(ask())
        self.run(partial(asyncio.sleep, 0))

    def run(self, work: Callable[[], Awaitable[Any]]) -> None:
        async def steps() -> None:
            await work()
            for _ in range(12):
                await asyncio.sleep(0)

        self.loop.run_until_complete(steps())
        self.settle()

    # --- what may happen

    @rule(how=st.sampled_from(["watch", "watch_all", "stream"]), names=SOME, timeout=TIMEOUTS, slow=st.booleans())
    def ask(self, how: str, names: list[str], timeout: float | None, slow: bool) -> None:
        self.call(how, names[:1] if how == "watch" else names, None if how == "stream" else timeout, 1.7 * slow)

    @rule(name=st.sampled_from(NAMES[3:]), timeout=TIMEOUTS, takes=st.sampled_from([0.0, 8.0]), race=st.booleans())
    def cancel(self, name: str, timeout: float | None, takes: float, race: bool) -> None:
        self.cancelling_takes, self.race = takes, race
        self.call("cancel", [name], timeout)

    @rule(name=st.sampled_from(NAMES))
    def nudge(self, name: str) -> None:
        self.stirred[name] = 2  # what is under way, or due, and one after that
        assert self.watcher.nudge(HANDLES[name]) == self.watched(name)
        self.run(partial(asyncio.sleep, 0))

    @precondition(lambda self: self.callers)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        caller = self.callers[data.draw(st.integers(0, len(self.callers) - 1))]
        caller.left = caller.task.cancel()
        self.run(partial(asyncio.wait, [caller.task]))

    @rule(name=st.sampled_from(NAMES), end=st.sampled_from(["succeeded", "failed"]), after=st.sampled_from([0, 5]))
    def end(self, name: str, end: str, after: float) -> None:
        if self.lives[name].phase(self.loop.time()) == "running":
            self.lives[name] = Life(name, end, self.loop.time() + after)

    @rule(names=SOME, mood=st.sampled_from(sorted(MOODS)), lasts=LASTS, then=st.sampled_from([0.0, 7.0, 70.0]))
    def trouble(self, names: list[str], mood: str, lasts: float, then: float) -> None:
        self.moods.update(dict.fromkeys(names, (mood, self.loop.time() + lasts)))
        self.run(partial(asyncio.sleep, then))

    @rule(seconds=st.sampled_from([0.01, 0.5, 3.0, 20.0, 70.0]))
    def pass_time(self, seconds: float) -> None:
        self.run(partial(asyncio.sleep, seconds))

    @invariant()
    def keeps_its_promises(self) -> None:
        assert not self.wrong, self.wrong
        figures, told = self.watcher.statistics(), self.told
        assert figures.watching == sum(map(self.watched, NAMES))
        assert sum(self.looking.values()) <= figures.looking <= figures.watching  # some wait for a token
        assert (figures.polls, figures.retries) == (told["polls"], told["retrying"])
        assert figures.requests >= told["requests"]
        ends = (figures.succeeded, figures.failed, figures.cancelled, figures.lost)
        assert ends == (told["succeeded"], told["failed"], told["cancelled"], told["lost"])
        assert self.client.limiter.gate.in_flight <= AT_ONCE

    def teardown(self) -> None:
        """When all is well again, every watch that was not left comes to its end, and then nothing is left."""
        self.moods.clear()
        for life in self.lives.values():
            life.ends_at = min(life.ends_at, self.loop.time() + 5)
        for caller in self.callers:
            caller.pause = 0.0
        try:
            if self.callers:
                self.run(partial(asyncio.wait, [caller.task for caller in self.callers], timeout=100))
            assert not self.callers, "a watch was forgotten"
            self.keeps_its_promises()
            self.closing.set()
            self.loop.run_until_complete(self.program)
            self.loop.run_until_complete(asyncio.sleep(0))
            assert self.client.limiter.gate.in_flight == 0
            assert not self.client.limiter._waiters
            assert not asyncio.all_tasks(self.loop)
            assert not [timer for timer in self.loop._scheduled if not timer.cancelled()]
        finally:
            self.loop.close()


Watching.TestCase.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestWatching = pytest.mark.unmeasured(Watching.TestCase)
