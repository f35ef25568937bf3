"""Whatever is answered, and whoever is asked: errors, logs, events and outcomes tell no secret.

Each case makes sure that the secrets were there to be told: the peer heard the token, and said the rest.
"""

import asyncio
import pickle
import socket
from collections.abc import Callable
from typing import Any

import pytest

from zuora_jobs import (
    BULK_PDF,
    Cadence,
    ConnectionFailed,
    Finished,
    Forbidden,
    JobLost,
    JobWatcher,
    Lost,
    MalformedResponse,
    NotFound,
    Patience,
    RateLimited,
    Rejected,
    ResponseTimeout,
    ServerError,
    Unauthorized,
    ZuoraClient,
    ZuoraJobsError,
)

HANDLE = BULK_PDF.handle("j1")
IMPATIENT = Patience(again=0, throttled=0, briefly=0)
OFTEN = Cadence.constant(0.02)


def reasons(code, message="Nothing to see here"):
    return {"success": False, "reasons": [{"code": code, "message": message}]}


# what is answered to a look at a job, and what it is taken for; `m` has the secrets
ANSWERS: dict[str, tuple[Callable[[Any], Any], type[ZuoraJobsError]]] = {
    "401": (lambda m: m.answer(401, {"message": "Authentication error"}), Unauthorized),
    "401, and no JSON": (lambda m: m.page(401, "Who are you?"), Unauthorized),
    "403": (lambda m: m.answer(403, reasons(50000010)), Forbidden),
    "404": (lambda m: m.answer(404, reasons(50000040)), NotFound),
    "429": (lambda m: m.answer(429, reasons(70), Retry_After="1"), RateLimited),
    "500": (lambda m: m.answer(500, reasons(50000060) | {"fileUrls": [m.url]}), ServerError),
    "502, a page": (lambda m: m.page(502, "502 Bad Gateway"), ServerError),
    "503, empty": (lambda m: m.answer(503), ServerError),
    "refused under 200": (lambda m: m.answer(200, m.bulk_pdf(success=False)), Rejected),
    "a page under 200": (lambda m: m.page(200, "Maintenance"), MalformedResponse),
    "another type under 200": (lambda m: m.answer(200, m.url.encode(), Content_Type="text/plain"), MalformedResponse),
    "cut JSON": (lambda m: m.answer(200, f'{{"fileUrls": ["{m.url}"'.encode()), MalformedResponse),
    "not UTF-8": (lambda m: m.answer(200, f'{{"fileUrls": "{m.url}\xff"}}'.encode("latin-1")), MalformedResponse),
    "no JSON number": (lambda m: m.answer(200, f'{{"fileUrls": ["{m.url}"], "n": NaN}}'.encode()), MalformedResponse),
    "JSON without end": (lambda m: m.answer(200, f'["{m.url}",'.encode() + b"[" * 99_999), MalformedResponse),
    "status is a number": (lambda m: m.answer(200, m.bulk_pdf() | {"status": 5}), MalformedResponse),
    "status is a list": (lambda m: m.answer(200, {"status": [m.url]}), MalformedResponse),
    "status is an object": (lambda m: m.answer(200, {"status": {m.url: m.url}}), MalformedResponse),
    "no status": (lambda m: m.answer(200, {"fileUrls": [m.url], m.url: m.url}), MalformedResponse),
    "success is text": (lambda m: m.answer(200, m.bulk_pdf(success=m.url)), MalformedResponse),
    "a list": (lambda m: m.answer(200, [m.url]), MalformedResponse),
    "a text": (lambda m: m.answer(200, m.url), MalformedResponse),
    "body cut short": (
        lambda m: m.answer(200, m.bulk_pdf(), Content_Length="4000", Connection="close"),
        ConnectionFailed,
    ),
    "not gzip": (lambda m: m.answer(200, m.url.encode(), Content_Encoding="gzip"), ZuoraJobsError),
    "not HTTP": (lambda m: f"220 {m.url}\r\nConnection: close\r\n\r\n".encode(), ConnectionFailed),
    "a bad header": (
        lambda m: f"HTTP/1.1 200 OK\r\nLocation {m.url}\r\nConnection: close\r\n\r\n".encode(),
        ConnectionFailed,
    ),
    "a bad length": (lambda m: m.answer(200, b"{}", Content_Length=m.url, Connection="close"), ConnectionFailed),
    "a header without end": (lambda m: m.answer(200, b"{}", X=m.url * 500, Connection="close"), ConnectionFailed),
    "a cut": (lambda _: "reset", ConnectionFailed),
    "silence": (lambda _: None, ResponseTimeout),
}


def said_all(peer, marked, reply):
    """Whether the secrets were really there."""
    return peer.was_told(f"Bearer {marked.mark}") and (not isinstance(reply, bytes) or peer.told(marked.mark))


@pytest.mark.parametrize("case", ANSWERS)
async def test_no_answer_makes_a_call_tell(case, marked, peer, with_token, ears):
    build, kind = ANSWERS[case]
    zuora = peer(reply := build(marked))
    settings = with_token(zuora.url, request_timeout=0.1 if reply is None else 10)
    async with ZuoraClient(settings, patience=IMPATIENT) as client:
        with pytest.raises(kind) as caught:
            await client.job(HANDLE)
        ears.hear(client, settings, client.limiter, caught.value)
    assert said_all(zuora, marked, reply)
    ears.assert_no_secret()


@pytest.mark.unmeasured
@pytest.mark.parametrize("case", ANSWERS)
async def test_no_answer_makes_a_call_tell_even_with_each_frames_variables(case, marked, peer, with_token, ears):
    build, kind = ANSWERS[case]
    zuora = peer(reply := build(marked))
    settings = with_token(zuora.url, request_timeout=0.1 if reply is None else 10)
    async with ZuoraClient(settings, patience=IMPATIENT) as client:
        with pytest.raises(kind) as caught:
            await client.job(HANDLE)
    assert said_all(zuora, marked, reply)
    ears.hear_with_locals(caught.value)
    ears.assert_no_secret()


@pytest.mark.unmeasured
@pytest.mark.parametrize("case", ANSWERS)
async def test_no_answer_makes_a_watch_tell(case, marked, peer, with_secret, ears, quick, talkative_loop):
    build, _ = ANSWERS[case]
    zuora = peer(reply := build(marked))
    settings = with_secret(zuora.url, request_timeout=0.05 if reply is None else 10)
    async with (
        ZuoraClient(settings, rng=quick) as client,
        JobWatcher(client, cadence=OFTEN, observers=[ears.hear]) as watcher,
        watcher.stream([HANDLE], timeout=0.5) as events,
    ):
        async for event in events:
            ears.hear(event, watcher, watcher.statistics(), *asyncio.all_tasks() - {asyncio.current_task()})
    assert isinstance(event, Finished)
    outcome = event.outcome
    assert isinstance(outcome, Lost)
    ears.hear(outcome, outcome.error)
    with pytest.raises(JobLost) as caught:
        outcome.unwrap()
    ears.hear(caught.value, pickle.dumps(outcome, 0).decode("latin-1"), pickle.dumps(caught.value, 0).decode("latin-1"))
    ears.hear_with_locals(caught.value)
    assert said_all(zuora, marked, reply)
    assert zuora.was_told(marked.client_secret)
    ears.assert_no_secret(logged="POST /oauth/token: HTTP 200")


# --- tokens


TOKEN_ANSWERS: dict[str, tuple[Callable[[Any], Any], type[ZuoraJobsError]]] = {
    "a list of tokens": (lambda m: m.answer(200, {"access_token": [m.fetched]}), MalformedResponse),
    "an object": (lambda m: m.answer(200, {"access_token": {"value": m.fetched}}), MalformedResponse),
    "another name": (lambda m: m.answer(200, {"token": m.fetched}), MalformedResponse),
    "only a refresh token": (
        lambda m: m.answer(200, {"access_token": "", "refresh_token": m.fetched}),
        MalformedResponse,
    ),
    "two lines": (lambda m: m.answer(200, {"access_token": f"{m.fetched}\r\nX: y"}), MalformedResponse),
    "beyond ASCII": (lambda m: m.answer(200, {"access_token": f"{m.fetched}é"}), MalformedResponse),
    "a text": (lambda m: m.answer(200, m.fetched), MalformedResponse),
    "a list": (lambda m: m.answer(200, [m.fetched]), MalformedResponse),
    "no JSON": (lambda m: m.answer(200, f"access_token={m.fetched}".encode()), MalformedResponse),
    "cut JSON": (lambda m: m.answer(200, f'{{"access_token": "{m.fetched}'.encode()), MalformedResponse),
    "a page": (lambda m: m.page(200, "Sign in"), MalformedResponse),
    "a page and 500": (lambda m: m.page(500, "Sorry"), ServerError),
    "refused": (lambda m: m.answer(401, {"message": "Invalid client secret"}), Unauthorized),
    "refused as by RFC 6749": (lambda m: m.answer(400, {"error": "invalid_client"}), Unauthorized),
    "throttled": (lambda m: m.answer(429, reasons(70), Retry_After="1"), RateLimited),
    "refused, with the token of somebody": (
        lambda m: m.answer(403, {"access_token": m.fetched, "code": 403, "message": "no"}),
        Forbidden,
    ),
    "a cut": (lambda _: "reset", ConnectionFailed),
    "silence": (lambda _: None, ResponseTimeout),
}


@pytest.mark.parametrize("case", TOKEN_ANSWERS)
async def test_no_answer_to_the_request_for_a_token_tells(case, marked, peer, with_secret, ears, quick, talkative_loop):
    build, kind = TOKEN_ANSWERS[case]
    zuora = peer(marked.answer(200, marked.bulk_pdf()), tokens=[reply := build(marked)])
    settings = with_secret(zuora.url, request_timeout=0.1 if reply is None else 10)
    async with ZuoraClient(settings, patience=IMPATIENT, rng=quick) as client:
        with pytest.raises(kind) as caught:
            await client.job(HANDLE)
        async with JobWatcher(client, observers=[ears.hear]) as watcher:
            outcome = await watcher.watch(HANDLE, timeout=0.2)
        ears.hear(caught.value, outcome, client)
    assert isinstance(outcome, Lost)
    assert zuora.was_told(f"client_secret={marked.client_secret}")
    assert not zuora.was_told("Authorization")
    assert zuora.told(marked.mark) is isinstance(reply, bytes)
    ears.assert_no_secret()


@pytest.mark.unmeasured
@pytest.mark.parametrize("case", TOKEN_ANSWERS)
async def test_nor_does_it_with_each_frames_variables(case, marked, peer, with_secret, ears):
    build, kind = TOKEN_ANSWERS[case]
    zuora = peer(marked.answer(200, marked.bulk_pdf()), tokens=[reply := build(marked)])
    settings = with_secret(zuora.url, request_timeout=0.1 if reply is None else 10)
    async with ZuoraClient(settings, patience=IMPATIENT) as client:
        with pytest.raises(kind) as caught:
            await client.job(HANDLE)
    assert zuora.was_told(marked.client_secret)
    ears.hear_with_locals(caught.value)
    ears.assert_no_secret()


async def test_nobody_there_to_give_a_token(with_secret, ears):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with ZuoraClient(with_secret(url), patience=IMPATIENT) as client:
            with pytest.raises(ConnectionFailed, match="POST /oauth/token: no connection") as caught:
                await client.job(HANDLE)
    ears.hear(caught.value)
    ears.hear_with_locals(caught.value)
    ears.assert_no_secret()


async def test_a_token_that_is_refused_and_renewed_is_told_by_nobody(marked, peer, with_secret, ears, talkative_loop):
    zuora = peer(
        marked.answer(401, {"message": "Authentication error"}),
        marked.answer(200, marked.bulk_pdf()),
        tokens=[
            marked.answer(200, {"access_token": f"{marked.fetched}{number}", "expires_in": 3600}) for number in (1, 2)
        ],
    )
    async with ZuoraClient(with_secret(zuora.url)) as client:
        ears.hear(await client.job(HANDLE), client, vars(client))
    assert zuora.was_told(f"Bearer {marked.fetched}1")
    assert zuora.was_told(f"Bearer {marked.fetched}2")
    ears.assert_no_secret(logged="HTTP 401")
