"""The schedule as the default of a watcher: when it looks, what it is told, and what it tells, in virtual time."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from zuora_jobs import (
    OPERATION,
    Budget,
    Cadence,
    ConfigurationError,
    Finished,
    JobHandle,
    JobWatcher,
    Journal,
    Settings,
    Stalled,
    Succeeded,
    ZuoraClient,
)
from zuora_jobs.emulator import Step
from zuora_jobs.protocol.messages import Response
from zuora_jobs.watching.intake import no_full_collection

if TYPE_CHECKING:
    from zuora_jobs import emulator
    from zuora_jobs.protocol.messages import Request

pytestmark = pytest.mark.looptime

TENANT = Settings(base_url="https://rest.example.com", access_token="not-a-secret")
SANDBOX = Settings(base_url="https://rest.apisandbox.zuora.com", access_token="not-a-secret")
FAR = 1e6


class Queue:
    """A Send: jobs worked so many at a time, each for so long, in the order of their numbers or in any other."""

    def __init__(
        self, count: int, *, at_a_time: int = 8, seconds: float = 30.0, order: list[int] | None = None
    ) -> None:
        self.looks: dict[str, list[float]] = defaultdict(list)
        self.sent: list[float] = []
        self.ends: dict[str, float] = {}
        self.begins: dict[str, float] = {}
        free = [0.0] * at_a_time
        for number in order or range(count):
            free.sort()
            self.begins[f"{number}"], free[0] = free[0], free[0] + seconds
            self.ends[f"{number}"] = free[0]

    async def __call__(self, request: Request) -> Response:
        name, now = request.path.rsplit("/", 1)[1], asyncio.get_running_loop().time()
        self.looks[name].append(now)
        self.sent.append(now)
        status = "Completed" if now >= self.ends[name] else "Processing" if now >= self.begins[name] else "Pending"
        return Response(200, {}, b'{"id": "%s", "status": "%s"}' % (name.encode(), status.encode()))

    def lateness(self) -> float:
        """How late the ends were noticed, on average."""
        return sum(looks[-1] - self.ends[name] for name, looks in self.looks.items()) / len(self.ends)


def handles(count: int) -> list[JobHandle[Any]]:
    return [OPERATION.handle(f"{number}") for number in range(count)]


# --- when it looks


async def test_one_job_with_an_idle_budget_is_looked_at_twice_a_second():
    send = Queue(1, seconds=10.2)
    async with ZuoraClient(TENANT, send=send) as client, JobWatcher(client) as watcher:
        assert isinstance(await watcher.watch(OPERATION.handle("0")), Succeeded)
    assert send.looks["0"] == pytest.approx([0.5 * number for number in range(22)])


async def test_where_requests_are_counted_by_the_day_no_sooner_than_each_five_seconds():
    send = Queue(1, seconds=60)
    async with ZuoraClient(SANDBOX, send=send) as client, JobWatcher(client) as watcher:
        await watcher.watch(OPERATION.handle("0"))
    looks = send.looks["0"]
    assert min(after - before for before, after in zip(looks, looks[1:], strict=False)) >= 5


async def test_a_lateness_that_does_not_matter_saves_requests():
    send = Queue(1, seconds=600)
    cadence = Cadence.adaptive(lateness=30)
    async with ZuoraClient(TENANT, send=send) as client, JobWatcher(client, cadence=cadence) as watcher:
        await watcher.watch(OPERATION.handle("0"))
    assert 10 <= len(send.sent) <= 14, "twice 30 s apart, while nothing is known"


@pytest.mark.unmeasured
@pytest.mark.parametrize("rate", [2.0, 10.0])
async def test_a_fleet_worked_in_order_is_noticed_ten_times_sooner_than_in_turn(rate):
    send = Queue(400)
    async with ZuoraClient(TENANT, Budget(rate=rate), send=send) as client, JobWatcher(client) as watcher:
        await watcher.watch_all(handles(400))
    in_turn = 400 / rate / 4  # a job waits for half a round on average, and half of them are left, on average
    assert send.lateness() <= 0.12 * in_turn
    spans = (after - before for before, after in zip(send.sent, send.sent[10:], strict=False))
    assert min(spans) >= 10 / rate - 0.021, "the budget holds: ten requests take ten places"


@pytest.mark.unmeasured
async def test_a_fleet_in_no_order_is_noticed_sooner_where_its_statuses_tell():
    order = list(range(200))
    Random(1).shuffle(order)
    send = Queue(200, order=order, seconds=70)
    async with ZuoraClient(TENANT, Budget(rate=20), send=send) as client, JobWatcher(client) as watcher:
        await watcher.watch_all(handles(200))
    assert send.lateness() <= 0.5 * 200 / 20 / 4


async def test_two_watchers_of_one_client_both_get_on():
    send = Queue(200, at_a_time=200, seconds=20)
    async with (
        ZuoraClient(TENANT, Budget(rate=20), send=send) as client,
        JobWatcher(client) as first,
        JobWatcher(client) as second,
    ):
        halves = handles(200)[:100], handles(200)[100:]
        await asyncio.gather(first.watch_all(halves[0]), second.watch_all(halves[1]))
    shares = [sum(len(send.looks[handle.id]) for handle in half) for half in halves]
    assert 0.8 < shares[0] / shares[1] < 1.25


async def test_a_nudge_is_a_look_at_once_whatever_the_schedule_thinks():
    send = Queue(1, seconds=30)
    cadence = Cadence.adaptive(min_interval=100)
    async with ZuoraClient(TENANT, send=send) as client, JobWatcher(client, cadence=cadence) as watcher:
        watch = asyncio.create_task(watcher.watch(OPERATION.handle("0")))
        await asyncio.sleep(31.25)
        assert watcher.nudge(OPERATION.handle("0"))
        assert (await watch).elapsed == pytest.approx(31.25)
    assert send.looks["0"] == pytest.approx([0, 31.25])


# --- whose cadence


async def test_a_job_may_have_a_cadence_of_its_own_and_so_may_a_call():
    send = Queue(4, at_a_time=4, seconds=20)
    a, b, c, d = handles(4)
    cadences = {OPERATION: Cadence.constant(4), b: Cadence.constant(7)}
    async with ZuoraClient(TENANT, send=send) as client, JobWatcher(client, cadence=cadences) as watcher:
        await asyncio.gather(
            watcher.watch_all([a, b]),
            watcher.watch(c, cadence=Cadence.constant(10)),
            watcher.watch(d, cadence=Cadence.adaptive(min_interval=2)),
        )
    gaps = {name: looks[1] - looks[0] for name, looks in send.looks.items()}
    assert gaps == pytest.approx({"0": 4, "1": 7, "2": 10, "3": 2}, abs=0.02)


@pytest.mark.parametrize(
    "options",
    [
        {"durations": [5]},
        {"durations": {OPERATION: 5}},
        {"durations": {OPERATION: [-5]}},
        {"durations": {"aqua": [5]}},
        {"cadence": {"aqua": Cadence.constant(5)}},
        {"cadence": 5},
    ],
)
def test_nonsense_is_refused_before_anything_is_sent(options):
    with pytest.raises(ConfigurationError):
        JobWatcher(ZuoraClient(TENANT), **options)


async def test_a_call_takes_one_cadence_and_no_mapping():
    async with ZuoraClient(TENANT, send=Queue(1)) as client, JobWatcher(client) as watcher:
        with pytest.raises(ConfigurationError, match=r"Cadence\.constant\(5\)"):
            await watcher.watch(OPERATION.handle("0"), cadence={OPERATION: Cadence.constant(5)})  # type: ignore[arg-type]


# --- what is known before


async def looks_until_the_end(seconds: float, **options: Any) -> tuple[int, float]:
    send = Queue(1, seconds=seconds)
    cadence = Cadence.adaptive(lateness=2, max_interval=1e5)
    async with ZuoraClient(TENANT, send=send) as client, JobWatcher(client, cadence=cadence, **options) as watcher:
        await watcher.watch(OPERATION.handle("0"))
    return len(send.sent), send.lateness()


async def test_durations_that_are_known_spare_the_looks_that_come_too_early():
    rng = Random(1)
    known = [rng.gauss(300, 10) for _ in range(100)]
    cold, _ = await looks_until_the_end(300)
    warm, late = await looks_until_the_end(300, durations={OPERATION: known})
    assert warm < cold / 2
    assert late < 5


@pytest.mark.unmeasured
async def test_a_journal_remembers_how_long_jobs_took(tmp_path):
    send = Queue(40, at_a_time=40, seconds=300)
    async with ZuoraClient(TENANT, send=send) as client:
        async with JobWatcher(client, journal=Journal.open(tmp_path / "run.db")) as watcher:
            await watcher.watch_all(handles(40))
        async with Journal.open(tmp_path / "run.db") as journal:
            stays = await journal.stays()
    assert len(stays) == 40
    assert {(kind, status) for kind, status, _ in stays} == {(OPERATION, "Processing")}
    assert all(seconds == pytest.approx(300, abs=3) for _, _, seconds in stays)
    send = Queue(41, at_a_time=41, seconds=300)
    cadence = Cadence.adaptive(lateness=2)
    async with (
        ZuoraClient(TENANT, send=send) as client,
        JobWatcher(client, cadence=cadence, journal=Journal.open(tmp_path / "run.db")) as watcher,
    ):
        await watcher.watch(OPERATION.handle("40"))
    assert len(send.sent) < 300 / 4 / 2


# --- what does not move


async def stalls(zuora: emulator.Emulator, jobs: list[Any], seconds: float, **options: Any) -> list[Stalled]:
    told: list[Any] = []
    async with ZuoraClient(zuora.settings(), rng=Random(1)) as client, JobWatcher(client, **options) as watcher:
        async with watcher.stream([_handle(job) for job in jobs]) as events:

            async def read() -> None:
                async for event in events:
                    told.append(event)

            reading = asyncio.create_task(read())
            await asyncio.sleep(seconds)
            reading.cancel()
    assert any(isinstance(event, Finished) for event in told) or len(jobs) <= 2
    return [event for event in told if isinstance(event, Stalled)]


def _handle(job: Any) -> JobHandle[Any]:
    return JobHandle.parse(job.handle)


@pytest.mark.unmeasured
async def test_a_job_that_takes_far_longer_than_its_like_is_told_once(zuora):
    jobs = zuora.add_jobs("operation", 20, ends="Completed", seconds=20)
    jobs.append(zuora.add_job("operation", life=[Step("Processing", seconds=FAR), Step("Completed")]))
    (told,) = await stalls(zuora, jobs, 1000)
    assert (told.handle.id, told.status) == (jobs[-1].id, "Processing")
    assert told.usual is not None
    assert told.usual <= 21
    assert told.seconds == pytest.approx(5 * told.usual, abs=2)


async def test_where_nothing_is_known_of_others_an_hour_is_long(zuora):
    job = zuora.add_job("operation", life=[Step("Processing", seconds=FAR), Step("Completed")])
    (told,) = await stalls(zuora, [job], 8000, cadence=Cadence.constant(60))
    assert told.usual is None
    assert told.seconds == pytest.approx(3600, abs=61)


async def test_another_step_is_a_move(zuora):
    steps = ("JobCreated", "TasksCreated", "GenerateMissPDF", "PdfToZip", "PostProcessing")
    life = [Step("Executing", seconds=3000, fields={"stepStatus": step}) for step in steps]
    moving = zuora.add_job("bulk-pdf", life=[*life, Step("Completed")])
    standing = zuora.add_job("bulk-pdf", life=[Step("Executing", seconds=FAR), Step("Completed")])
    told = await stalls(zuora, [moving, standing], 14_900, cadence=Cadence.constant(60))
    assert [event.handle.id for event in told] == [standing.id]


@pytest.mark.unmeasured
async def test_who_waits_behind_others_that_move_is_not_stalled(zuora):
    jobs = [
        zuora.add_job(
            "operation",
            life=[Step("Pending", seconds=600.0 * place), Step("Processing", seconds=60), Step("Completed")],
        )
        for place in range(20)
    ]
    assert not await stalls(zuora, jobs, 12_500, cadence=Cadence.constant(20))


@pytest.mark.unmeasured
@pytest.mark.parametrize(("fields", "is_told"), [({"partner": "p", "project": "q"}, False), ({}, True)])
async def test_a_stateful_query_that_waits_for_another_is_not_stalled(zuora, fields, is_told):
    job = zuora.add_job("aqua", life=[Step("submitted", seconds=FAR), Step("completed")], fields=fields)
    assert bool(await stalls(zuora, [job], 30_000, cadence=Cadence.constant(60))) is is_told


# --- what it costs


@pytest.mark.unmeasured
@pytest.mark.looptime(noop_cycles=1)
async def test_a_job_that_waits_costs_less_than_six_hundred_bytes():
    """All told: its handle and its id, its entry, its place in the schedule and in the stream, and its last document."""
    document = (
        b'{"success": true, "processId": "0A1B2C3D4E5F6071", "id": "%s", "objectId": "2c92c8fb7df2a6b6017df30bd7a50d12",'
        b' "objectType": "Invoice", "operationType": "Delete", "status": "Processing", "reasons": null}'
    )

    async def send(request: Request) -> Response:
        return Response(200, {}, document % request.path.rsplit("/", 1)[1].encode())

    cadence = Cadence.adaptive(min_interval=36_000, max_interval=360_000)
    count = 10_000
    async with (
        ZuoraClient(TENANT, Budget(rate=1e6), send=send) as client,
        JobWatcher(client, cadence=cadence) as watcher,
    ):
        await watcher.watch_all([OPERATION.handle("warm")], timeout=1)
        gc.collect()
        tracemalloc.start()
        try:
            many = (OPERATION.handle(f"{number:032x}") for number in range(count))
            async with watcher.stream(many) as events:

                async def read() -> None:
                    async for _ in events:
                        pass

                reading = asyncio.create_task(read())
                await asyncio.sleep(100)
                assert watcher.statistics().polls == count + 1
                gc.collect()
                each = tracemalloc.get_traced_memory()[0] / count
                reading.cancel()
        finally:
            tracemalloc.stop()
    assert 300 < each < 600


def test_full_collections_are_put_off_and_come_back():
    before = gc.get_threshold()
    with no_full_collection():
        assert gc.get_threshold()[:2] == before[:2]
        assert gc.get_threshold()[2] > 1_000_000
        with no_full_collection():
            pass
        assert gc.get_threshold()[2] > 1_000_000
    assert gc.get_threshold() == before


def test_what_somebody_sets_meanwhile_stays():
    before = gc.get_threshold()
    try:
        with no_full_collection():
            gc.set_threshold(1000, 20, 30)
        assert gc.get_threshold() == (1000, 20, 30)
    finally:
        gc.set_threshold(*before)
