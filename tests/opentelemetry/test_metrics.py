"""What is counted and measured, in virtual time."""

import asyncio
import json

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from zuora_jobs import (
    AQUA,
    BULK_PDF,
    OPERATION,
    Cadence,
    JobHandle,
    JobWatcher,
    Journal,
    Query,
    ReverseInvoice,
    RunQueries,
    ZuoraClient,
)
from zuora_jobs.emulator import Fault, Step
from zuora_jobs.integrations.opentelemetry import Telemetry, names

pytestmark = pytest.mark.looptime

LATE = 0.1  # seconds that requests take on the way


def handle_of(job):
    return JobHandle.parse(job.handle)


def around(seconds):
    return pytest.approx(seconds, abs=LATE)


async def test_jobs_are_counted_by_kind_and_outcome(zuora, watching, lab):
    jobs = [
        zuora.add_job("aqua", ends="completed", seconds=3),
        zuora.add_job("aqua", ends="aborted", seconds=3),
        zuora.add_job("aqua", ends="cancelled", seconds=3),
        zuora.add_job("operation", ends="Completed", seconds=1),
        zuora.add_job("operation", ends="Completed", seconds=2),
        zuora.add_job("bulk-pdf", ends="PartialComplete", seconds=2),
    ]
    async with watching(zuora) as watcher:
        await watcher.watch_all([*map(handle_of, jobs), OPERATION.handle("nobody")])
    assert lab.figures("zuora.jobs.finished", names.KIND, names.OUTCOME, names.PARTIAL, names.ERROR_TYPE) == {
        ("aqua", "succeeded", None, None): 1,
        ("aqua", "failed", None, None): 1,
        ("aqua", "cancelled", None, None): 1,
        ("operation", "succeeded", None, None): 2,
        ("operation", "lost", None, "NotFound"): 1,
        ("bulk-pdf", "succeeded", True, None): 1,
    }
    assert lab.figures("zuora.jobs.watched", names.KIND) == {"aqua": 0, "operation": 0, "bulk-pdf": 0}


async def test_durations_and_delays_are_those_of_the_looks(zuora, watching, lab):
    late, soon = zuora.add_job("aqua", ends="completed", seconds=9.5), zuora.add_job("aqua", life=[Step("completed")])
    async with watching(zuora, cadence=Cadence.constant(4)) as watcher:
        await watcher.watch_all([handle_of(late), handle_of(soon)])
    duration = lab.figures("zuora.job.duration", names.OUTCOME)["succeeded"]
    assert (duration.count, duration.sum, duration.max) == (2, around(12), around(12))
    assert duration.explicit_bounds == names.DURATION_BOUNDARIES
    delay = lab.figures("zuora.job.notice_delay", names.KIND)["aqua"]
    assert (delay.count, delay.sum) == (1, around(4)), "who was never seen running was perhaps noticed at once"
    assert delay.explicit_bounds == names.DELAY_BOUNDARIES


async def test_polls_are_counted_as_answered_or_by_what_came_instead(zuora, watching, lab):
    job = zuora.add_job("aqua", ends="completed", seconds=5)
    zuora.fault(Fault("bad-gateway", times=2, after=1, path="batch-query"))
    zuora.fault(Fault("dropped", times=2, after=3, path="batch-query"))  # a kept connection is tried twice
    async with watching(zuora) as watcher:
        outcome = await watcher.watch(handle_of(job))
        statistics = watcher.statistics()
    polls = lab.figures("zuora.polls", names.KIND, names.ERROR_TYPE)
    assert polls == {("aqua", None): outcome.polls, ("aqua", "ServerError"): 2, ("aqua", "ConnectionFailed"): 1}
    assert lab.figures("zuora.requests.sent") == {(): statistics.requests}


async def test_what_is_watched_is_told_while_it_is(zuora, watching, lab):
    jobs = [handle_of(zuora.add_job("operation", ends="Completed", seconds=10)) for _ in range(7)]
    jobs += [handle_of(zuora.add_job("aqua", ends="completed", seconds=20)) for _ in range(3)]
    async with watching(zuora) as watcher:
        watch = asyncio.create_task(watcher.watch_all(jobs))
        await asyncio.sleep(5)
        assert lab.figures("zuora.jobs.watched", names.KIND) == {"operation": 7, "aqua": 3}
        assert lab.figures("zuora.watchers.open") == {(): 1}
        await asyncio.sleep(10)
        assert lab.figures("zuora.jobs.watched", names.KIND) == {"operation": 0, "aqua": 3}
        await watch
    assert lab.figures("zuora.watchers.open") == {(): 0}


async def test_who_leaves_is_counted_and_takes_the_job_out_of_what_is_watched(zuora, watching, lab):
    jobs = [handle_of(zuora.add_job("aqua", ends="completed", seconds=1000)) for _ in range(4)]
    async with watching(zuora) as watcher:
        both = [asyncio.create_task(watcher.watch(jobs[0])) for _ in range(2)]
        other = asyncio.create_task(watcher.watch(jobs[1]))
        stay = asyncio.create_task(watcher.watch_all(jobs[2:]))
        await asyncio.sleep(2)
        both[0].cancel()
        other.cancel()
        await asyncio.sleep(2)
        assert lab.figures("zuora.jobs.watched", names.KIND) == {"aqua": 3}, "one of two who watch the first stays"
        assert lab.figures("zuora.jobs.left", names.KIND) == {"aqua": 1}
        both[1].cancel()
        await asyncio.sleep(2)
        assert lab.figures("zuora.jobs.watched", names.KIND) == {"aqua": 2}
        stay.cancel()
        await asyncio.wait([stay, other, *both])
    assert lab.figures("zuora.jobs.left", names.KIND) == {"aqua": 4}
    assert lab.figures("zuora.jobs.finished", names.KIND) == {}


async def test_a_watcher_that_is_closed_leaves_what_it_watches(zuora, watching, lab):
    jobs = [handle_of(zuora.add_job("aqua", ends="completed", seconds=1000)) for _ in range(3)]
    async with watching(zuora) as watcher:
        watch = asyncio.create_task(watcher.watch_all(jobs))
        await asyncio.sleep(2)
    with pytest.raises(Exception, match="closed"):
        await watch
    assert lab.figures("zuora.jobs.left", names.KIND) == {"aqua": 3}
    assert lab.figures("zuora.jobs.watched", names.KIND) == {"aqua": 0}


async def test_a_timeout_of_ones_own_is_a_loss(zuora, watching, lab):
    job = handle_of(zuora.add_job("aqua", ends="completed", seconds=1000))
    async with watching(zuora) as watcher:
        await watcher.watch(job, timeout=5)
    assert lab.figures("zuora.jobs.finished", names.OUTCOME, names.ERROR_TYPE) == {("lost", "WatchTimedOut"): 1}
    assert lab.figures("zuora.job.duration", names.OUTCOME)["lost"].sum == around(5)


async def test_stalls_and_unknown_statuses_are_counted(zuora, watching, lab):
    stuck = zuora.add_job("operation", life=[Step("Processing", seconds=8000), Step("Completed")])
    odd = zuora.add_job("operation", life=[Step("Pondering", seconds=60), Step("Completed")])
    async with watching(zuora, cadence=Cadence.constant(60)) as watcher:
        await watcher.watch_all([handle_of(stuck), handle_of(odd)])
    assert lab.figures("zuora.jobs.stalled", names.KIND) == {"operation": 1}
    assert lab.figures("zuora.jobs.unknown_status", names.KIND) == {"operation": 1}


async def test_throttling_and_what_is_left_of_the_budget(zuora, watching, lab):
    zuora.limit_rate([(100, 60), (1000, 3600)])
    job = zuora.add_job("aqua", ends="completed", seconds=30)
    zuora.fault(Fault("throttled", times=1, after=3, path="batch-query"))
    async with watching(zuora, cadence=Cadence.constant(2)) as watcher:
        watch = asyncio.create_task(watcher.watch(handle_of(job)))
        await asyncio.sleep(8)
        assert lab.figures("zuora.budget.rate") == {(): 0}, "nothing may go while all wait"
        await asyncio.sleep(6)
        (rate,) = lab.figures("zuora.budget.rate").values()
        assert 0 < rate < 100
        assert lab.figures("zuora.throttled.time") == {(): around(5)}
        assert lab.figures("zuora.requests.refused") == {(): 1}
        assert lab.figures("zuora.quota.limit", names.WINDOW) == {"minute": 100, "hour": 1000}
        left = lab.figures("zuora.quota.remaining", names.WINDOW)
        assert 80 < left["minute"] < 100
        assert left["minute"] + 900 == pytest.approx(left["hour"], abs=2)
        await watch
    assert lab.figures("zuora.throttled.time") == {(): around(5)}, "a counter stays when the watcher has gone"
    assert lab.figures("zuora.quota.remaining", names.WINDOW) == {}, "a gauge does not"


async def test_lost_contact_is_a_state_and_counted(zuora, watching, lab):
    jobs = [handle_of(zuora.add_job("aqua", ends="completed", seconds=100)) for _ in range(2)]
    async with watching(zuora) as watcher:
        watch = asyncio.create_task(watcher.watch_all(jobs))
        await asyncio.sleep(5)
        zuora.outage(60, "dropped")
        await asyncio.sleep(40)
        assert lab.figures("zuora.watchers.out_of_contact") == {(): 1}
        await watch
        assert lab.figures("zuora.watchers.out_of_contact") == {(): 0}
    assert lab.figures("zuora.contact.losses") == {(): 1}


async def test_submits_are_counted_and_a_job_that_ended_at_once_has_no_duration(zuora, watching, lab):
    invoice = "2c92c8955bd63cc1015bd7c151af02ad"
    zuora.add_invoice(invoice)
    zuora.on_submit("invoice-reverse", seconds=3)
    zuora.on_submit("aqua", life=[Step("completed")])
    async with watching(zuora) as watcher:
        await watcher.run(ReverseInvoice(invoice))
        await watcher.run(RunQueries([Query("All", "select Id from Account")]))
    assert lab.figures("zuora.jobs.submitted", names.KIND) == {"operation": 1, "aqua": 1}
    assert lab.figures("zuora.jobs.finished", names.KIND) == {"operation": 1, "aqua": 1}
    assert {kind: point.count for kind, point in lab.figures("zuora.job.duration", names.KIND).items()} == {
        "operation": 1
    }
    assert len(lab.spans()) == 1


# --- journals


@pytest.mark.looptime(False)
async def test_ends_of_an_earlier_run_are_not_counted_again(zuora, watching, lab, tmp_path):
    jobs = [handle_of(zuora.add_job("operation", ends="Completed", seconds=0.1)) for _ in range(3)]
    often = Cadence.constant(0.05)
    async with watching(zuora, cadence=often, journal=Journal.open(tmp_path / "run.db")) as watcher:
        await watcher.watch_all(jobs)
    assert lab.figures("zuora.job.duration", names.KIND)["operation"].count == 3
    async with watching(zuora, cadence=often, journal=Journal.open(tmp_path / "run.db")) as watcher:
        await watcher.watch_all(jobs)
        assert watcher.journal is not None
        await watcher.journal.acknowledge(jobs[0])
    async with (
        watching(zuora, cadence=often, journal=Journal.open(tmp_path / "run.db")) as watcher,
        watcher.stream(jobs) as events,
    ):
        assert len([event async for event in events]) == 2
    assert lab.figures("zuora.jobs.finished", names.KIND) == {"operation": 3}
    assert lab.figures("zuora.jobs.replayed", names.KIND) == {"operation": 3 + 2}
    assert lab.figures("zuora.jobs.left", names.KIND) == {"operation": 1}, "who is acknowledged is not told again"
    assert lab.figures("zuora.job.duration", names.KIND)["operation"].count == 3
    assert lab.figures("zuora.jobs.watched", names.KIND) == {"operation": 0}


@pytest.mark.looptime(False)
async def test_a_job_that_is_asked_for_again_while_its_end_is_written_down_is_counted_twice_and_forgotten(
    zuora, lab, watching, tmp_path
):
    job = handle_of(zuora.add_job("operation", ends="Completed", seconds=0.1))
    again = []

    def ask_again(event):
        if event.name == "observed" and event.phase.is_terminal:
            again.append(asyncio.create_task(watcher.watch(job)))

    options = {"cadence": Cadence.constant(0.05), "journal": Journal.open(tmp_path / "run.db")}
    async with watching(zuora, observers=[lab.telemetry(), ask_again], **options) as watcher:
        await watcher.watch(job)
        await asyncio.gather(*again)
        assert lab.figures("zuora.jobs.watched", names.KIND) == {"operation": 0}
    finished = sum(lab.figures("zuora.jobs.finished", names.KIND).values())
    replayed = sum(lab.figures("zuora.jobs.replayed", names.KIND).values())
    assert finished + replayed == 2
    assert len(lab.spans()) == 2


# --- several watchers


async def test_watchers_of_one_client_share_its_figures_and_add_up_their_own(zuora, watching, lab):
    telemetry = lab.telemetry()
    job, other = (handle_of(zuora.add_job("aqua", ends="completed", seconds=10)) for _ in range(2))
    async with (
        ZuoraClient(zuora.settings()) as client,
        JobWatcher(client, cadence=Cadence.constant(1), observers=[telemetry]) as one,
    ):
        watch = asyncio.create_task(one.watch(job))
        await asyncio.sleep(3)
        async with JobWatcher(client, cadence=Cadence.constant(1), observers=[telemetry]) as two:
            second = asyncio.create_task(two.watch(other))
            await asyncio.sleep(2)
            assert lab.figures("zuora.watchers.open") == {(): 2}
            assert lab.figures("zuora.jobs.watched", names.KIND) == {"aqua": 2}
            assert lab.figures("zuora.requests.sent") == {(): client.allowance().requests}
            await second
        await watch
        sent = client.allowance().requests
    assert lab.figures("zuora.requests.sent") == {(): sent}
    assert lab.figures("zuora.polls", names.KIND) == {"aqua": sent}


async def test_tenants_are_told_apart_by_their_host_or_by_what_they_are_given(zuora, watching, lab):
    job, other = (handle_of(zuora.add_job("aqua", ends="completed", seconds=5)) for _ in range(2))
    async with (
        watching(zuora, telemetry=lab.telemetry(attributes={"tenant": "one"})) as one,
        watching(zuora, telemetry=lab.telemetry(attributes={"tenant": "two", "lists": ["too"]})) as two,
    ):
        await asyncio.gather(one.watch(job), two.watch_all([job, other]))
        assert lab.figures("zuora.watchers.open", "tenant") == {"one": 1, "two": 1}
    assert lab.figures("zuora.jobs.finished", "tenant") == {"one": 1, "two": 2}
    tenant = {key: value for point in lab.points("zuora.jobs.finished", tenants=True) for key, value in point}
    port = int(zuora.url.rsplit(":", 1)[1])
    assert (tenant["server.address"], tenant["server.port"]) == ("127.0.0.1", port)


async def test_counters_go_on_where_a_watcher_or_a_client_is_opened_again(zuora, watching, lab):
    sent = []
    for _ in range(3):
        async with watching(zuora) as watcher:
            await watcher.watch(handle_of(zuora.add_job("aqua", ends="completed", seconds=3)))
            sent.append(watcher.statistics().requests)
        assert lab.figures("zuora.requests.sent") == {(): sum(sent)}
        assert lab.figures("zuora.polls", names.KIND) == {"aqua": sum(sent)}


async def test_a_request_that_was_let_go_and_not_sent_does_not_turn_the_counter_back(zuora, watching, lab):
    async with watching(zuora) as watcher:
        permit = await watcher.client.limiter.acquire()
        assert lab.figures("zuora.requests.sent") == {(): 1}
        permit.give_back()
        assert watcher.client.allowance().requests == 0
        assert lab.figures("zuora.requests.sent") == {(): 1}
        await watcher.watch(handle_of(zuora.add_job("aqua", ends="completed", seconds=3)))
        assert lab.figures("zuora.requests.sent") == {(): watcher.statistics().requests}


async def test_one_watcher_may_be_observed_into_two_places(zuora, watching, lab):
    reader = InMemoryMetricReader()
    observers = [lab.telemetry(), Telemetry(meter_provider=MeterProvider([reader]))]
    async with watching(zuora, observers=observers) as watcher:
        await watcher.watch(handle_of(zuora.add_job("aqua", ends="completed", seconds=3)))
    assert lab.figures("zuora.jobs.finished", names.KIND) == {"aqua": 1}
    assert "zuora.jobs.finished" in str(reader.get_metrics_data())


# --- what no metric may have


async def test_no_metric_has_an_attribute_of_many_values(zuora, watching, lab):
    jobs = [zuora.add_job(kind, ends=end, seconds=3) for kind, end in (("aqua", "completed"), ("bulk-pdf", "Error"))]
    zuora.fault(Fault("bad-gateway", times=2, path="batch-query"))
    async with watching(zuora) as watcher:
        await watcher.watch_all([*map(handle_of, jobs), AQUA.handle("nobody"), BULK_PDF.handle("nothing")])
        told = {
            (key, value)
            for name in lab.metrics()
            for attributes in lab.points(name, tenants=True)
            for key, value in attributes
        }
    assert {key for key, _ in told} == {
        names.KIND,
        names.OUTCOME,
        names.ERROR_TYPE,
        names.SERVER_ADDRESS,
        names.SERVER_PORT,
        names.WINDOW,
    }
    text = json.dumps([str(value) for _, value in told])
    for handle in [*(job.id for job in jobs), "nobody", "nothing"]:
        assert handle not in text
