"""However a watch ends, and whoever is told: outcomes, events and what carries them show no secret."""

import asyncio
import gc
from typing import Any

import pytest

from zuora_jobs import (
    AQUA,
    BULK_PDF,
    Cadence,
    Event,
    JobFailed,
    JobLost,
    JobWatcher,
    Lost,
    Patience,
    ServerError,
    WatchTimedOut,
    ZuoraClient,
)
from zuora_jobs.transport.http import HttpTransport

HANDLE = BULK_PDF.handle("j1")
IMPATIENT = Patience(again=0, throttled=0, briefly=0)
OFTEN = Cadence.constant(0.02)


async def test_a_success_is_a_document_with_its_urls_and_nothing_shows_them(
    marked, peer, with_secret, ears, talkative_loop
):
    zuora = peer(marked.answer(200, marked.bulk_pdf("Executing")), marked.answer(200, marked.bulk_pdf()))
    seen: list[Event] = []
    async with (
        ZuoraClient(with_secret(zuora.url)) as client,
        JobWatcher(client, cadence=OFTEN, observers=[seen.append]) as watcher,
    ):
        outcome = await watcher.watch(HANDLE)
        async with watcher.stream([HANDLE]) as events:
            seen += [event async for event in events]
        ears.hear(client, vars(client), watcher, vars(watcher), watcher.statistics())
    job = outcome.unwrap()
    assert job.file_urls == (marked.url,)
    assert job.raw["fileUrls"] == [marked.url]
    assert [file.url for file in outcome.files] == [marked.url]
    assert {event.name for event in seen} == {"watch_began", "observed", "status_changed", "finished"}
    ears.hear(job, outcome, outcome.files, *outcome.files, *seen, {HANDLE: outcome})
    ears.assert_no_secret(logged="GET /v1/operations/bulk-pdf/j1: HTTP 200")


async def test_a_failed_job_raised_shows_its_reasons_and_not_its_urls(marked, peer, with_secret, ears):
    document = marked.bulk_pdf("Error", reasons=[{"code": "5", "message": "The archive is too large"}])
    zuora = peer(marked.answer(200, document))
    async with ZuoraClient(with_secret(zuora.url)) as client, JobWatcher(client) as watcher:
        outcome = await watcher.watch(HANDLE)
        with pytest.raises(JobFailed, match="5: The archive is too large") as caught:
            outcome.unwrap()
        with pytest.raises(ExceptionGroup) as together:
            async with asyncio.TaskGroup() as group:
                group.create_task(_unwrapped(watcher))
    assert caught.value.outcome.job.file_urls == (marked.url,)
    ears.hear(caught.value, together.value)
    ears.hear_with_locals(caught.value)
    ears.hear_with_locals(together.value)
    ears.assert_no_secret()


async def _unwrapped(watcher):
    return (await watcher.watch(HANDLE)).unwrap()


async def test_a_watch_out_of_time_tells_no_more_than_its_last_error(marked, peer, with_secret, ears, quick):
    zuora = peer(marked.answer(200, marked.bulk_pdf("Executing")), marked.page(502, "502 Bad Gateway"))
    async with (
        ZuoraClient(with_secret(zuora.url), rng=quick) as client,
        JobWatcher(client, cadence=OFTEN, observers=[ears.hear]) as watcher,
    ):
        outcome = await watcher.watch(HANDLE, timeout=0.4)
    assert isinstance(outcome, Lost)
    assert isinstance(outcome.error, WatchTimedOut)
    assert isinstance(outcome.error.__cause__, ServerError)
    assert outcome.job is not None
    assert outcome.job.raw["fileUrls"] == [marked.url]
    with pytest.raises(JobLost) as caught:
        outcome.unwrap()
    ears.hear(outcome, caught.value)
    ears.hear_with_locals(caught.value)
    ears.assert_no_secret(logged="trying again")


@pytest.mark.parametrize("by", ["cancel", "timeout"])
async def test_a_call_that_is_cut_off_tells_nothing(by, marked, peer, with_secret, ears, talkative_loop):
    zuora = peer(None)
    async with ZuoraClient(with_secret(zuora.url)) as client:
        caught = await _cut_off(client.job(HANDLE), by, ears)
    assert zuora.was_told(f"Bearer {marked.fetched}")
    ears.hear(caught)
    ears.assert_no_secret()


@pytest.mark.parametrize("by", ["cancel", "timeout"])
async def test_a_call_that_is_cut_off_tells_nothing_even_with_each_frames_variables(
    by, marked, peer, with_secret, ears
):
    zuora = peer(None)
    async with ZuoraClient(with_secret(zuora.url)) as client:
        caught = await _cut_off(client.job(HANDLE), by, ears)
    assert zuora.was_told(f"Bearer {marked.fetched}")
    ears.hear_with_locals(caught)
    ears.assert_no_secret()


@pytest.mark.parametrize("by", ["cancel", "timeout"])
async def test_a_watch_that_is_left_tells_nothing(by, marked, peer, with_secret, ears, talkative_loop):
    zuora = peer(marked.answer(200, marked.bulk_pdf("Executing")), None)
    async with ZuoraClient(with_secret(zuora.url)) as client, JobWatcher(client, cadence=OFTEN) as watcher:
        caught = await _cut_off(watcher.watch(HANDLE), by, ears)
    assert zuora.told(marked.url)
    ears.hear(caught)
    ears.hear_with_locals(caught)
    ears.assert_no_secret()


async def _cut_off(work, by, ears) -> BaseException:
    """Await *work* for a moment; hear all tasks while it is under way."""
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0.1)
    ears.hear(*asyncio.all_tasks() - {asyncio.current_task()})
    for running in asyncio.all_tasks():
        ears.hear(*map(repr, running.get_stack()))
    try:
        if by == "timeout":
            async with asyncio.timeout(0.05):
                await task
        else:
            task.cancel()
            await task
    except (TimeoutError, asyncio.CancelledError) as error:
        return error
    raise AssertionError(by)


async def test_an_observer_that_raises_with_all_it_was_told_is_logged_without_a_secret(marked, peer, with_secret, ears):
    def observe(event):
        message = f"no room for {event!r} {event}"
        raise RuntimeError(message)

    zuora = peer(marked.page(502, "502 Bad Gateway"), marked.answer(200, marked.bulk_pdf()))
    async with (
        ZuoraClient(with_secret(zuora.url)) as client,
        JobWatcher(client, cadence=OFTEN, observers=[observe]) as watcher,
    ):
        (await watcher.watch(HANDLE)).unwrap()
    assert "BulkPdfJob" in "".join(ears.everything()), "the observer's text is in the log"
    ears.assert_no_secret(logged="an observer failed on finished")


async def test_a_task_that_nobody_awaits_is_reported_by_asyncio_without_a_secret(
    marked, peer, with_secret, ears, talkative_loop
):
    zuora = peer(marked.answer(200, m := marked.bulk_pdf() | {"status": 5}))
    assert m["fileUrls"] == [marked.url]
    async with ZuoraClient(with_secret(zuora.url), patience=IMPATIENT) as client:
        task = asyncio.create_task(client.job(HANDLE))
        await asyncio.wait([task])
        ears.hear(task)
        del task
        gc.collect()
        await asyncio.sleep(0)
    assert "MalformedResponse" in "".join(ears.everything())
    ears.assert_no_secret(logged="Task exception was never retrieved")


async def test_a_cancellation_that_nobody_answers_tells_nothing(marked, peer, with_secret, ears, quick):
    zuora = peer(marked.page(502, "502 Bad Gateway"))
    handle = AQUA.handle("j1")
    async with ZuoraClient(with_secret(zuora.url), patience=IMPATIENT, rng=quick) as client:
        async with JobWatcher(client, observers=[ears.hear], cancel_remote=True) as watcher:
            with pytest.raises(ServerError) as caught:
                await watcher.cancel(handle)
            outcome = await watcher.watch(handle, timeout=0.1)
        ears.hear(caught.value, outcome)
    assert zuora.was_told("DELETE /v1/batch-query/jobs/j1")
    assert zuora.told(marked.url)
    ears.assert_no_secret(logged="was left, and could not be cancelled")


# --- what carries it


async def test_a_request_and_an_answer_hide_what_they_carry(marked, peer, with_secret, ears):
    zuora = peer(marked.answer(200, marked.bulk_pdf()))
    settings = with_secret(zuora.url)
    seen: list[Any] = []
    async with HttpTransport(settings) as http:

        async def send(request):
            response = await http(request)
            seen.extend([request, response])
            return response

        async with ZuoraClient(settings, send=send) as client:
            await client.job(HANDLE)
        ears.hear(http, vars(http))
    ask_for_token, token, look, answer = seen
    assert marked.client_secret.encode() in ask_for_token.body
    assert token.json["access_token"] == marked.fetched
    assert look.authorization == f"Bearer {marked.fetched}"
    assert answer.json["fileUrls"] == [marked.url]
    assert marked.mark in answer.headers["set-cookie"]
    ears.hear(*seen, seen)
    ears.assert_no_secret()


async def test_an_unforeseen_error_that_quotes_its_request_is_logged_without_the_token(marked, with_token, ears):
    async def send(request):
        assert request.authorization == f"Bearer {marked.token}"
        message = f"no way to send {request}"
        raise RuntimeError(message)

    settings = with_token("https://rest.example.com")
    async with ZuoraClient(settings, send=send) as client, JobWatcher(client) as watcher:
        outcome = await watcher.watch(HANDLE)
        with pytest.raises(RuntimeError, match="no way to send") as caught:
            await client.job(HANDLE)
    assert isinstance(outcome, Lost)
    ears.hear(outcome, outcome.error, caught.value)
    assert "no way to send Request(" in "".join(ears.everything())
    ears.assert_no_secret(logged="looking at bulk-pdf:j1 went wrong")
