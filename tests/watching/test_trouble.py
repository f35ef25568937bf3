"""A failed look is not a failed job: outages, nonsense and refusals, told from ends."""

import asyncio
from typing import Any

import pytest

from zuora_jobs import (
    AQUA,
    OPERATION,
    Cadence,
    ConnectionFailed,
    Failed,
    Forbidden,
    JobHandle,
    Lost,
    LostContact,
    MalformedResponse,
    Observed,
    Recovered,
    Rejected,
    Retrying,
    ServerError,
)
from zuora_jobs.emulator import Fault, Step
from zuora_jobs.emulator.effects import Answer, Patch

pytestmark = pytest.mark.looptime

TRANSIENT = [
    "unavailable",
    "server-error",
    "bad-gateway",
    "gateway-timeout",
    "no-user-info",
    "throttled",
    "lock-contention",
    "truncated",
    "dropped",
    "invalid-json",
    "html",
    "empty",
    "no-status",
    Answer(200, {"success": False, "reasons": [{"code": 50000061, "message": "temporary"}]}),
    Answer(200, {"success": False, "reasons": [{"code": "50000099", "message": "external"}]}),
    Answer(400, {"code": 70, "message": "limit"}),
    Answer(200, {"status": "error", "errorCode": "90010", "message": "internal server error"}),
    Answer(302, b"", headers={"Location": "https://elsewhere.example.com/"}),
    Answer(200, b"\xff\xfe{}"),
    Answer(200, b"[]"),
    Answer(200, b"null"),
    Answer(200, b'{"status": null, "id": "x"}'),
]


@pytest.mark.parametrize("effect", TRANSIENT, ids=str)
async def test_what_passes_is_ridden_out(zuora, watching, effect):
    job = zuora.add_job("aqua", ends="completed", seconds=10)
    fault = zuora.fault(Fault(effect, times=4, after=2, path="batch-query"))
    told: list[Any] = []
    async with watching(zuora, observers=[told.append]) as watcher:
        outcome = await watcher.watch(AQUA.handle(job.id))
    assert outcome.name == "succeeded"
    assert fault.struck == 4
    assert [event.name for event in told].count("finished") == 1
    assert 2 <= sum(isinstance(event, Retrying) for event in told) <= 4
    assert outcome.polls == sum(isinstance(event, Observed) for event in told)


@pytest.mark.parametrize(
    ("effect", "error", "code"),
    [
        (Answer(403, {"code": 90009, "message": "not authorised"}), Forbidden, "90009"),
        (Answer(400, {"success": False, "reasons": [{"code": "50000020", "message": "bad"}]}), Rejected, "50000020"),
        (Answer(200, {"success": False, "reasons": [{"code": 50000090, "message": "Oops"}]}), Rejected, "50000090"),
    ],
)
async def test_what_is_final_ends_as_lost_at_once(zuora, watching, looptime, effect, error, code):
    job = zuora.add_job("aqua", ends="completed", seconds=10)
    zuora.fault(Fault(effect, path="batch-query"))
    async with watching(zuora) as watcher:
        outcome = await watcher.watch(AQUA.handle(job.id))
    assert isinstance(outcome, Lost)
    assert type(outcome.error) is error
    assert getattr(outcome.error, "code", None) == code
    assert looptime < 1


@pytest.mark.parametrize("effect", ["unavailable", "html", "dropped", "bad-gateway"])
async def test_fifteen_minutes_without_service_are_no_end(zuora, watching, looptime, effect):
    jobs = zuora.add_jobs("aqua", 5, ends="completed", seconds=30)
    told: list[Any] = []
    async with watching(zuora, observers=[told.append]) as watcher:
        watch = asyncio.create_task(watcher.watch_all([JobHandle.parse(job.handle) for job in jobs]))
        await asyncio.sleep(10)
        zuora.outage(900, effect)
        outcomes = await watch
    assert {outcome.name for outcome in outcomes.values()} == {"succeeded"}
    assert 910 < float(looptime) < 931
    assert sum(isinstance(event, LostContact) for event in told) == 1
    recovered = [event for event in told if isinstance(event, Recovered)]
    assert len(recovered) == 1
    assert recovered[0].seconds > 890


async def test_contact_that_stays_lost_ends_as_lost(zuora, watching, looptime):
    job = zuora.add_job("aqua", ends="completed", seconds=30)
    zuora.outage(100_000)
    async with watching(zuora, contact_timeout=600) as watcher:
        outcome = await watcher.watch(AQUA.handle(job.id))
    assert isinstance(outcome, Lost)
    assert isinstance(outcome.error, ServerError)
    assert 600 <= float(looptime) < 700


@pytest.mark.unmeasured
async def test_patience_counts_from_the_last_good_answer_and_not_the_failures(zuora, watching):
    """Every second look fails, for an hour: never longer than a few seconds without a good answer."""
    job = zuora.add_job("aqua", life=[Step("executing", seconds=3600), Step("completed")])
    zuora.fault(Fault("server-error", probability=0.5, path="batch-query"))
    async with watching(zuora, contact_timeout=300) as watcher:
        outcome = await watcher.watch(AQUA.handle(job.id))
        assert watcher.statistics().retries > 500
    assert outcome.name == "succeeded"


async def test_an_answer_without_a_status_is_never_a_success_and_ends_as_lost_when_it_lasts(zuora, watching, looptime):
    job = zuora.add_job("operation", life=[Step("Completed")])
    zuora.fault(Fault(Patch(remove=("status",))))
    async with watching(zuora) as watcher:
        outcome = await watcher.watch(OPERATION.handle(job.id))
    assert isinstance(outcome, Lost)
    assert isinstance(outcome.error, MalformedResponse)
    assert "$.status" in outcome.error.problems[0]
    assert 120 <= float(looptime) < 145


async def test_a_refusal_in_a_completed_document_is_no_success(zuora, watching):
    job = zuora.add_job("operation", life=[Step("Completed")])
    zuora.fault(Fault(Patch({"success": False, "reasons": [{"code": 53100020, "message": "no"}]}), path="operations"))
    async with watching(zuora) as watcher:
        outcome = await watcher.watch(OPERATION.handle(job.id))
    assert isinstance(outcome, Lost)


async def test_a_failed_job_is_failed_even_when_its_document_says_success_false(zuora, watching):
    """Even where its reason's code would, of a call, deserve another try."""
    job = zuora.add_job("operation", ends="Failed", seconds=2)
    zuora.fault(
        Fault(
            Patch({"success": False, "reasons": [{"code": 50000050, "message": "locked"}]}), after=3, path="operations"
        )
    )
    async with watching(zuora) as watcher:
        outcome = await watcher.watch(OPERATION.handle(job.id))
    assert isinstance(outcome, Failed) or outcome.name == "failed"


async def test_one_jobs_trouble_is_not_its_neighbours(zuora, watching, looptime):
    sick, well = (
        zuora.add_job("aqua", ends="completed", seconds=10),
        zuora.add_job("aqua", ends="completed", seconds=10),
    )
    zuora.fault(Fault("server-error", path=sick.id, lasts=200))
    async with watching(zuora) as watcher:
        first = asyncio.create_task(watcher.watch(AQUA.handle(sick.id)))
        assert (await watcher.watch(AQUA.handle(well.id))).elapsed == 10
        assert (await first).name == "succeeded"


async def test_a_revoked_token_costs_one_more_token_and_no_job(zuora, watching):
    jobs = zuora.add_jobs("aqua", 40, ends="completed", seconds=20)
    async with watching(zuora) as watcher:
        watch = asyncio.create_task(watcher.watch_all([JobHandle.parse(job.handle) for job in jobs]))
        await asyncio.sleep(10.5)
        zuora.revoke_tokens()
        outcomes = await watch
    assert {outcome.name for outcome in outcomes.values()} == {"succeeded"}
    assert zuora.token_requests == 2


async def test_tokens_are_renewed_on_a_long_watch_ahead_of_their_end(zuora, watching):
    job = zuora.add_job("aqua", life=[Step("executing", seconds=10_000), Step("completed")])
    async with watching(zuora, cadence=Cadence.constant(20)) as watcher:
        outcome = await watcher.watch(AQUA.handle(job.id))
    assert outcome.name == "succeeded"
    assert 401 not in zuora.statistics().statuses
    assert zuora.token_requests == 4  # at 0, 3300, 6600 and 9900 s


async def test_a_refused_connection_says_where_and_nothing_secret(script, local):
    from zuora_jobs import JobWatcher, ZuoraClient

    send = script([ConnectionFailed("GET /x: no connection", sent=False)] * 3 + [{"status": "Completed", "id": "x"}])
    async with ZuoraClient(local, send=send) as client, JobWatcher(client) as watcher:
        outcome = await watcher.watch(OPERATION.handle("x"))
    assert (outcome.name, outcome.polls) == ("succeeded", 1)


@pytest.mark.unmeasured
async def test_when_nobody_answers_for_too_long_all_who_wait_are_lost_though_few_were_asked_about(
    zuora, watching, looptime
):
    jobs = zuora.add_jobs("aqua", 500, ends="completed", seconds=100_000)
    late = zuora.add_job("aqua", ends="completed", seconds=2100)
    told: list[Any] = []
    async with watching(zuora, contact_timeout=600, observers=[told.append]) as watcher:
        many = asyncio.create_task(watcher.watch_all([JobHandle.parse(job.handle) for job in jobs]))
        await asyncio.sleep(10)
        before = len(zuora.requests)
        zuora.outage(1000)
        await asyncio.sleep(500)
        newcomer = asyncio.create_task(watcher.watch(AQUA.handle(late.id)))
        outcomes = await many
        assert 600 <= float(looptime) - 10 < 650
        assert {type(outcome) for outcome in outcomes.values()} == {Lost}
        assert len(zuora.requests) - before < 500 / 2, (
            "an outage costs a request every few seconds, not one for each job"
        )
        assert (await newcomer).name == "succeeded", "who came later has waited for less long"
    assert sum(isinstance(event, LostContact) for event in told) == 1


@pytest.mark.unmeasured
async def test_an_outage_costs_a_request_every_few_seconds_and_its_end_is_noticed_within_them(
    zuora, watching, looptime
):
    jobs = zuora.add_jobs("aqua", 1000, ends="completed", seconds=30)
    told: list[Any] = []
    async with watching(zuora, observers=[told.append], cadence=Cadence.constant(20)) as watcher:
        watch = asyncio.create_task(watcher.watch_all([JobHandle.parse(job.handle) for job in jobs]))
        await asyncio.sleep(25)
        zuora.outage(900, "bad-gateway")
        outcomes = await watch
    assert {outcome.name for outcome in outcomes.values()} == {"succeeded"}
    during = [request for request in zuora.requests if 25 < request.at < 925]
    assert 900 / 5 <= len(during) < 900 / 5 + 40
    first_good = min(request.at for request in zuora.requests if request.at >= 925)
    assert first_good - 925 <= 5
    assert float(looptime) < 925 + 5 + 1000 / 90, "and then all are looked at as fast as they may"


async def test_one_job_that_nobody_answers_about_is_no_lost_contact(zuora, watching):
    sick = zuora.add_job("aqua", ends="completed", seconds=900)
    well = zuora.add_jobs("aqua", 2, ends="completed", seconds=900)
    zuora.fault(Fault("unavailable", path=sick.id, lasts=850))
    told: list[Any] = []
    async with watching(zuora, observers=[told.append], cadence=Cadence.constant(20)) as watcher:
        outcomes = await watcher.watch_all([JobHandle.parse(job.handle) for job in [sick, *well]])
    assert {outcome.name for outcome in outcomes.values()} == {"succeeded"}
    assert not [event for event in told if isinstance(event, LostContact | Recovered)]


@pytest.mark.unmeasured
async def test_a_lock_on_all_jobs_alike_is_no_outage_for_one_that_has_none(zuora, watching, looptime):
    locked = zuora.add_jobs("aqua", 40, ends="completed", seconds=30)
    zuora.fault(Fault("lock-contention", path="batch-query", lasts=300))
    free = zuora.add_job("operation", ends="Completed", seconds=210)
    told: list[Any] = []
    async with watching(zuora, observers=[told.append]) as watcher:
        watch = asyncio.create_task(watcher.watch_all([JobHandle.parse(job.handle) for job in locked]))
        await asyncio.sleep(200)
        assert (await watcher.watch(OPERATION.handle(free.id))).elapsed == 10
        assert {outcome.name for outcome in (await watch).values()} == {"succeeded"}
    assert not [event for event in told if isinstance(event, LostContact)]


async def test_what_may_be_an_answer_is_not_believed_for_being_seldom_asked_about(zuora, watching):
    """Three strange answers in ten minutes, since others' throttling held all up, are chance."""
    job = zuora.add_job("aqua", ends="completed", seconds=900)
    zuora.fault(Fault("no-status", times=5, path="batch-query"))
    async with watching(zuora, cadence=Cadence.constant(100)) as watcher:
        for _ in range(4):
            watcher._client.limiter.hold(120)
        watch = asyncio.create_task(watcher.watch(AQUA.handle(job.id)))
        for _ in range(5):
            await asyncio.sleep(110)
            watcher._client.limiter.hold(100)
        assert (await watch).name == "succeeded"


@pytest.mark.parametrize("lost", [{"status": None}, {"status": None, "reasons": None}], ids=repr)
async def test_a_failed_jobs_document_that_has_lost_its_status_is_no_refusal(zuora, watching, lost):
    """It says `success: false`, as a refusal does, but it names the job."""
    job = zuora.add_job("operation", ends="Failed", seconds=5)
    zuora.fault(Fault(Patch({"success": False, **lost}), times=3, after=5, path="operations"))
    async with watching(zuora) as watcher:
        outcome = await watcher.watch(OPERATION.handle(job.id))
    assert isinstance(outcome, Failed)


async def test_a_refusal_without_a_reason_is_doubted(zuora, watching):
    job = zuora.add_job("aqua", ends="completed", seconds=10)
    zuora.fault(Fault(Answer(200, {"success": False}), times=4, path="batch-query"))
    zuora.fault(
        Fault(Answer(500, {"reasons": [{"code": "ObjectNotFound", "message": "?"}]}), times=4, path="batch-query")
    )
    async with watching(zuora) as watcher:
        assert (await watcher.watch(AQUA.handle(job.id))).name == "succeeded"


async def test_unknown_statuses_without_end_are_told_twenty_times(zuora, watching):
    job = zuora.add_job("operation", life=[*(Step(f"{done} %", seconds=1) for done in range(200)), Step("Completed")])
    told: list[Any] = []
    async with watching(zuora, observers=[told.append]) as watcher:
        assert (await watcher.watch(OPERATION.handle(job.id))).name == "succeeded"
    assert sum(event.name == "unknown_status" for event in told) == 20


async def test_a_field_that_is_there_twice_is_never_believed(zuora, watching):
    job = zuora.add_job("operation", life=[Step("Processing", seconds=20), Step("Completed")])
    fault = zuora.fault(Fault("duplicate-keys", probability=0.5, path="operations"))
    async with watching(zuora) as watcher:
        outcome = await watcher.watch(OPERATION.handle(job.id))
    assert fault.struck > 5
    assert (outcome.name, outcome.elapsed >= 20) == ("succeeded", True)
