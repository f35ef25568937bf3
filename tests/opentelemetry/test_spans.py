"""The span of a watch, in virtual time."""

import asyncio
import gc
import weakref

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from zuora_jobs import AQUA, BULK_PDF, OPERATION, Cadence, JobHandle
from zuora_jobs.emulator import Fault, Step
from zuora_jobs.integrations.opentelemetry import names
from zuora_jobs.integrations.opentelemetry.spans import MOST_EVENTS

pytestmark = pytest.mark.looptime

LATE = 0.1  # seconds that requests take on the way


def handle_of(job):
    return JobHandle.parse(job.handle)


def after(span, moment):
    """Seconds from the beginning of *span*."""
    return pytest.approx((moment - span.start_time) / 1e9, abs=LATE)


def events_of(span):
    return [(event.name.removeprefix("zuora.job."), dict(event.attributes)) for event in span.events]


async def test_a_watch_is_a_span_from_its_beginning_to_its_end(zuora, watching, lab):
    life = [Step("Pending", seconds=2.5), Step("Processing", seconds=3), Step("Completed")]
    job = zuora.add_job("operation", life=life)
    async with watching(zuora) as watcher:
        await watcher.watch(handle_of(job))
    span = lab.span(job.id)
    assert (span.name, span.kind) == ("watch operation", SpanKind.INTERNAL)
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes) == {
        names.SERVER_ADDRESS: "127.0.0.1",
        names.SERVER_PORT: int(zuora.url.rsplit(":", 1)[1]),
        names.KIND: "operation",
        names.ID: job.id,
        names.STATUS: "Completed",
        names.OUTCOME: "succeeded",
        names.POLLS: 7,
    }
    assert after(span, span.end_time) == 6
    assert [(after(span, event.timestamp), event.name, dict(event.attributes)) for event in span.events] == [
        (0, names.STATUS_CHANGED, {names.STATUS: "Pending"}),
        (3, names.STATUS_CHANGED, {names.STATUS: "Processing", names.PREVIOUS_STATUS: "Pending"}),
        (6, names.STATUS_CHANGED, {names.STATUS: "Completed", names.PREVIOUS_STATUS: "Processing"}),
    ]
    assert span.instrumentation_scope.name == "zuora_jobs"


async def test_it_says_how_the_watch_did(zuora, watching, lab):
    ends = {
        "failed": zuora.add_job("aqua", ends="aborted", seconds=2),
        "cancelled": zuora.add_job("aqua", ends="cancelled", seconds=2),
        "partial": zuora.add_job("bulk-pdf", ends="PartialComplete", seconds=2),
    }
    async with watching(zuora) as watcher:
        outcomes = await watcher.watch_all([*map(handle_of, ends.values()), OPERATION.handle("nobody")])
    failed, cancelled, partial = (lab.span(job.id) for job in ends.values())
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description == "; ".join(map(str, outcomes[handle_of(ends["failed"])].reasons))
    assert failed.attributes[names.OUTCOME] == "failed"
    assert names.ERROR_TYPE not in failed.attributes, "that is ours, and the failure is the job's"
    assert (cancelled.status.status_code, cancelled.attributes[names.OUTCOME]) == (StatusCode.UNSET, "cancelled")
    assert (partial.status.status_code, partial.attributes[names.PARTIAL]) == (StatusCode.UNSET, True)
    lost = lab.span("nobody")
    assert lost.status.status_code is StatusCode.ERROR
    assert lost.status.description == str(outcomes[OPERATION.handle("nobody")].error)
    assert (lost.attributes[names.OUTCOME], lost.attributes[names.ERROR_TYPE]) == ("lost", "NotFound")
    assert (lost.attributes[names.POLLS], names.STATUS in lost.attributes) == (0, False)


async def test_a_watch_that_is_left_ends_without_an_outcome(zuora, watching, lab):
    job = handle_of(zuora.add_job("aqua", ends="completed", seconds=1000))
    async with watching(zuora) as watcher:
        watch = asyncio.create_task(watcher.watch(job))
        await asyncio.sleep(3.5)
        watch.cancel()
        await asyncio.wait([watch])
    span = lab.span(job.id)
    assert span.status.status_code is StatusCode.UNSET
    assert (span.attributes[names.LEFT], span.attributes[names.POLLS]) == (True, 4)
    assert names.OUTCOME not in span.attributes
    assert after(span, span.end_time) == 3.5


# --- whose it is


async def test_its_parent_is_the_span_of_who_asked_to_watch(zuora, watching, lab):
    jobs = {name: handle_of(zuora.add_job("aqua", ends="completed", seconds=5)) for name in "abcd"}

    async def handles():
        yield jobs["c"]
        await asyncio.sleep(2)
        yield jobs["d"]

    async def stream():
        with lab.tracer.start_as_current_span("asks for c and d"):
            async with watcher.stream(handles()) as events:
                async for _ in events:
                    pass

    async def watch(name):
        with lab.tracer.start_as_current_span(f"asks for {name}"):
            await watcher.watch(jobs[name])

    with lab.tracer.start_as_current_span("opens"):
        async with watching(zuora) as watcher:
            await asyncio.gather(watch("a"), watch("b"), stream(), watcher.nudge(jobs["a"]) or asyncio.sleep(0))
    parents = {span.context.span_id: span.name for span in lab.exporter.get_finished_spans()}
    told = {span.attributes[names.ID]: parents[span.parent.span_id] for span in lab.spans()}
    assert told == {
        jobs["a"].id: "asks for a",
        jobs["b"].id: "asks for b",
        jobs["c"].id: "asks for c and d",
        jobs["d"].id: "asks for c and d",
    }
    assert lab.spans("opens")[0].parent is None


async def test_without_a_span_of_the_callers_it_stands_alone(zuora, watching, lab):
    job = handle_of(zuora.add_job("aqua", ends="completed", seconds=2))
    async with watching(zuora) as watcher:
        await watcher.watch(job)
    assert lab.span(job.id).parent is None


async def test_it_is_the_current_one_during_a_look_and_not_after(zuora, watching, lab):
    current = []
    telemetry = lab.telemetry()

    class Beside:
        def __call__(self, event):
            current.append((event.name, trace.get_current_span().get_span_context().span_id))

    job = handle_of(zuora.add_job("aqua", ends="completed", seconds=3))
    async with watching(zuora, observers=[telemetry, Beside()]) as watcher:
        attended = watcher._fleet._herald._observers[0]
        watch = asyncio.create_task(watcher.watch(job))
        await asyncio.sleep(0.5)
        with attended.looking(job):
            within = trace.get_current_span().get_span_context().span_id
        assert trace.get_current_span() is trace.INVALID_SPAN
        with attended.looking(AQUA.handle("nobody")):
            assert trace.get_current_span() is trace.INVALID_SPAN
        await watch
    assert within == lab.span(job.id).context.span_id
    assert {span_id for name, span_id in current if name == "observed"} == {0}, (
        "what is made of an answer is no request"
    )


# --- what happens meanwhile


async def test_troubles_are_told_when_they_begin_and_counted(zuora, watching, lab):
    job = zuora.add_job("aqua", ends="completed", seconds=60)
    zuora.fault(Fault("bad-gateway", times=5, after=2, path="batch-query"))
    zuora.fault(Fault("unavailable", times=1, after=7, path="batch-query"))
    zuora.fault(Fault("invalid-json", times=2, after=8, path="batch-query"))
    zuora.fault(Fault("invalid-json", times=1, after=15, path="batch-query"))
    async with watching(zuora) as watcher:
        await watcher.watch(handle_of(job))
    span = lab.span(job.id)
    told = [attributes for name, attributes in events_of(span) if name == "retrying"]
    assert [one[names.ERROR_TYPE] for one in told] == ["ServerError", "MalformedResponse", "MalformedResponse"]
    assert "HTTP 502" in told[0][names.MESSAGE]
    assert span.attributes[names.RETRIES] == 9


async def test_stalls_unknown_statuses_and_refusals_are_told(zuora, watching, lab):
    stuck = zuora.add_job("operation", life=[Step("Processing", seconds=8000), Step("Completed")])
    odd = zuora.add_job("operation", life=[Step("Pondering", seconds=200), Step("Completed")])
    ended = zuora.add_job("aqua", life=[Step("completed")])
    async with watching(zuora, cadence=Cadence.constant(60)) as watcher:
        await watcher.watch_all([handle_of(stuck), handle_of(odd)])
        await watcher.cancel(handle_of(ended))
    (stalled,) = (attributes for name, attributes in events_of(lab.span(stuck.id)) if name == "stalled")
    assert stalled == {names.SECONDS: pytest.approx(3600, abs=61)}
    assert events_of(lab.span(odd.id)) == [
        ("status_changed", {names.STATUS: "Pondering"}),
        ("unknown_status", {}),
        ("status_changed", {names.STATUS: "Completed", names.PREVIOUS_STATUS: "Pondering"}),
    ]
    (refused,) = (attributes for name, attributes in events_of(lab.span(ended.id)) if name == "cancel_refused")
    assert refused[names.ERROR_TYPE] == "Rejected"


async def test_a_status_that_grows_does_not_fill_the_span(zuora, watching, lab):
    life = [*(Step(f"{number} %", seconds=1) for number in range(300)), Step("completed")]
    job = zuora.add_job("aqua", life=life)
    async with watching(zuora) as watcher:
        await watcher.watch(handle_of(job))
    span = lab.span(job.id)
    assert len(span.events) == MOST_EVENTS
    assert span.attributes[names.STATUS] == "completed"


# --- what nobody wants


async def test_what_is_not_sampled_is_not_written(zuora, watching, lab):
    provider = TracerProvider(sampler=ALWAYS_OFF)
    provider.add_span_processor(SimpleSpanProcessor(lab.exporter))
    job = handle_of(zuora.add_job("aqua", ends="completed", seconds=3))
    async with watching(zuora, telemetry=lab.telemetry(tracer_provider=provider)) as watcher:
        assert (await watcher.watch(job)).name == "succeeded"
    assert lab.spans("") == []
    assert lab.figures("zuora.jobs.finished", names.KIND) == {"aqua": 1}


async def test_spans_have_an_end_that_hangs_together_with_what_was_measured(zuora, watching, lab):
    """An exemplar leads from a slow job's bucket to its trace."""
    job = handle_of(zuora.add_job("aqua", ends="completed", seconds=3))
    async with watching(zuora) as watcher:
        await watcher.watch(job)
    (exemplar,) = lab.figures("zuora.job.duration", names.KIND)["aqua"].exemplars
    assert exemplar.span_id == lab.span(job.id).context.span_id


async def test_a_callers_span_is_not_held_on_to(zuora, watching, lab):
    job = handle_of(zuora.add_job("aqua", ends="completed", seconds=3))
    async with watching(zuora) as watcher:
        span = lab.tracer.start_span("asks")
        with trace.use_span(span, end_on_exit=True):
            await watcher.watch(job)
        held = weakref.ref(span)
        del span
        await asyncio.sleep(3600)
        lab.exporter.clear()
        gc.collect()
        assert held() is None


@pytest.mark.parametrize("kind", [AQUA, BULK_PDF, OPERATION])
async def test_its_name_has_few_values(kind, zuora, watching, lab):
    async with watching(zuora) as watcher:
        await watcher.watch(kind.handle("nobody"))
    assert lab.span("nobody").name == f"watch {kind.name}"
