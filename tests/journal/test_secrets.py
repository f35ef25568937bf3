"""Nothing that is secret gets into any of a journal's files, wherever and however the server gives it back."""

import asyncio
import json
from contextlib import suppress
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from zuora_jobs import AQUA, BULK_PDF, OPERATION, Failed, Finished, JobWatcher, Journal, Settings, ZuoraClient
from zuora_jobs.protocol.messages import Response

pytestmark = pytest.mark.looptime

TOKEN = "Zm9vL2Jhcg+s3cr3t/T0ken=="
CLIENT_SECRET = "cl1ent/5ecret+=with+signs"
URL = "https://bucket.s3.amazonaws.com/a.zip?X-Amz-Credential=4kia4kia%2F2026&X-Amz-Signature=519na7ur3"
TRACES = [b"s3cr3t", b"T0ken", b"cl1ent", b"5ecret", b"4kia4kia", b"519na7ur3"]

FORMS = {
    "plain": TOKEN,
    "in a query": quote_plus(TOKEN),
    "in a path": quote(TOKEN),
    "in JSON": TOKEN.replace("/", "\\/"),
    "in JSON in JSON": json.dumps(json.dumps({"a": TOKEN})),
    "cut": "x" * 1990 + TOKEN,
    "an url": URL,
    "an url in JSON": json.dumps(URL),
    "an url in an url": quote(URL, safe=""),
    "an url in an url, in another order": quote(URL.replace("Credential=4kia4kia%2F2026&X-Amz-", ""), safe=""),
    "in HTML": f'<a href="{URL}">{TOKEN}</a>',
}
PLACES = [
    "status",
    "status for ever",
    "status of an end",
    "key",
    "value",
    "reason",
    "code",
    "batch",
    "url",
    "refusal",
    "error",
    "title",
]


def answers(place: str, text: str) -> list[Any]:
    """Give what is answered about an AQuA job, in turn."""
    end: dict[str, Any] = {"status": "aborted"}
    by_place: dict[str, list[Any]] = {
        "status": [{"status": text}, {"status": f"again {text}"}, end],
        "status for ever": [{"status": text}],
        "status of an end": [{"status": "executing", "message": text}, end | {"localizedStatus": text}],
        "key": [end | {text: {text: text}}],
        "value": [end | {"new": [{"deep": [text]}]}],
        "reason": [end | {"message": text, "errorCode": "1"}],
        "code": [end | {"message": "no", "errorCode": text}],
        "batch": [end | {"batches": [{"name": text, "message": text, "status": text, "query": text}]}],
        "url": [end | {"fileUrls": [text, text]}],
        "refusal": [(404, {"success": False, "reasons": [{"code": 50000040, "message": text}], "requestId": text})],
        "error": [(400, {"code": text, "message": text})],
        "title": [(403, f"<html><title>{text}</title></html>")],
    }
    return by_place[place]


@pytest.fixture
def assert_no_trace(files_of: Any) -> Any:
    def look(path: Any) -> None:
        for one in files_of(path):
            raw = one.read_bytes()
            for trace in TRACES:
                at = raw.find(trace)
                assert at < 0, (one.name, raw[max(0, at - 80) : at + 40])

    return look


@pytest.mark.unmeasured
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", PLACES)
async def test_what_was_given_back_is_in_none_of_the_files(place, form, watching, script, path, assert_no_trace):
    script.journal = None
    script.answers["q"] = answers(place, FORMS[form])
    handle = AQUA.handle("q")
    async with watching(script, token=TOKEN, unknown_status_timeout=1.5) as (watcher, journal):
        async with watcher.stream([handle]) as events:
            (end,) = [event async for event in events if isinstance(event, Finished)]
        await journal.flush()
        assert_no_trace(path)
        outcome = end.outcome
    assert_no_trace(path)
    async with watching(script, token=TOKEN) as (watcher, _):
        asked = script.asked_about("q")
        again = await watcher.watch(handle, timeout=5)
        if outcome.name != "lost":
            assert (again.name, script.asked_about("q")) == (outcome.name, asked)
    assert_no_trace(path)


async def test_credentials_and_every_token_of_late_are_in_none_of_the_files(path, inline, assert_no_trace):
    tokens = iter(["first-s3cr3t-a", "second-s3cr3t-b"])
    given: list[str] = []

    async def send(request: Any) -> Response:
        if request.path == "/oauth/token":
            given.append(next(tokens))
            body: Any = {"access_token": given[-1], "token_type": "bearer", "expires_in": 3599}
        elif len(given) == 1:
            return Response(401, {}, json.dumps({"message": f"not {given[0]}"}).encode())
        else:
            body = {"status": "Failed", "note": [*given, CLIENT_SECRET, quote_plus(CLIENT_SECRET)]}
        return Response(200, {}, json.dumps(body).encode())

    settings = Settings(base_url="https://rest.example.com", client_id="me", client_secret=CLIENT_SECRET)
    async with (
        ZuoraClient(settings, send=send) as client,
        JobWatcher(client, journal=Journal.open(path, executor=inline)) as watcher,
    ):
        outcome = await watcher.watch(OPERATION.handle("a"), timeout=60)
        assert isinstance(outcome, Failed)
        assert CLIENT_SECRET in outcome.job.raw["note"]
        assert_no_trace(path)
    assert len(given) == 2
    assert_no_trace(path)


async def test_a_job_that_is_left_leaves_no_trace_either(watching, script, path, assert_no_trace):
    script.journal = None
    script.default = [{"status": f"Rekindled {TOKEN} {URL}"}]
    async with watching(script, token=TOKEN) as (watcher, _):
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                await watcher.watch(BULK_PDF.handle("b"))
    assert_no_trace(path)
