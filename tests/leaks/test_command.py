"""The command line, at its most talkative: what it writes tells no secret but the documents, which are the result."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from zuora_jobs import emulator
from zuora_jobs.cli.app import run as run_here

HANDLE = "bulk-pdf:j1"
SITUATIONS: dict[str, Any] = {
    "success": lambda m: ([m.answer(200, m.bulk_pdf("Executing")), m.answer(200, m.bulk_pdf())], 0),
    "failure": lambda m: ([m.answer(200, m.bulk_pdf("Error"))], 1),
    "throttled": lambda m: ([m.answer(429, b"{}", Retry_After="1"), m.answer(200, m.bulk_pdf())], 0),
    "forbidden": lambda m: ([m.answer(403, {"message": "no"})], 3),
    "unauthorized": lambda m: ([m.answer(401, {"message": "no"})], 3),
    "a page": lambda m: ([m.page(502, "502 Bad Gateway")], 3),
    "nonsense": lambda m: ([m.answer(200, m.bulk_pdf() | {"status": 5})], 3),
    "unknown": lambda m: ([m.answer(200, m.bulk_pdf("Musing"))], 3),
    "redirect": lambda m: ([m.answer(302, b"", Location=m.url)], 3),
    "cut": lambda m: ([m.answer(200, m.bulk_pdf("Executing"), Connection="close"), "reset"], 3),
}


TERMINAL = {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "TERM": "xterm-256color"}
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def on_a_terminal(monkeypatch) -> Callable[[bool], None]:
    """Have standard error taken for a terminal, or for a file."""

    def choose(terminal: bool) -> None:
        for name in ("NO_COLOR", "COLUMNS", *TERMINAL):
            monkeypatch.delenv(name, raising=False)
        for name, value in TERMINAL.items() if terminal else ():
            monkeypatch.setenv(name, value)

    return choose


@pytest.fixture
def environ(marked, monkeypatch) -> None:
    """The credentials where the command looks for them."""
    for name in [name for name in os.environ if name.startswith("ZUORA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ZUORA_CLIENT_ID", marked.client_id)
    monkeypatch.setenv("ZUORA_CLIENT_SECRET", marked.client_secret)


def without_the_document(out: str) -> tuple[list[str], list[Any]]:
    """Split JSON lines into what may not, and what may hold URLs: the documents."""
    events = [json.loads(line) for line in out.splitlines()]
    documents = [event.pop("job") for event in events if event["event"] == "finished"]
    return [json.dumps(event) for event in events], documents


@pytest.mark.parametrize(("output", "terminal"), [("table", True), ("jsonl", False)], ids=["live", "jsonl"])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_watch_tells_nothing(situation, output, terminal, on_a_terminal, marked, peer, environ, ears, capfd):
    on_a_terminal(terminal)
    replies, status = SITUATIONS[situation](marked)
    zuora = peer(*replies)
    arguments = ["watch", HANDLE, "-vv", "--format", output, "--base-url", zuora.url, "--timeout", "3"]
    if status == 3:
        arguments[-1] = "0.4"
    assert run_here(arguments) == status
    out, err = capfd.readouterr()
    assert zuora.was_told(marked.client_secret)
    assert zuora.was_told(f"Bearer {marked.fetched}")
    assert zuora.told(marked.mark)
    assert "POST /oauth/token: HTTP 200" in COLOURS.sub("", err)
    assert ("\x1b[" in err) is terminal, "the live view was drawn, or not"
    if output == "jsonl":
        lines, documents = without_the_document(out)
        assert len(documents) == 1
        if situation in {"success", "failure", "unknown", "throttled"}:
            assert documents[0]["fileUrls"] == [marked.url], "the document is the result"
        ears.hear(*lines, err)
    else:
        assert HANDLE in out
        ears.hear(out, err)
    ears.assert_no_secret(logged="POST /oauth/token: HTTP 200")


@pytest.mark.parametrize(
    "answer", [{"access_token": ["{}"]}, {"token": "{}"}, ["{}"], "{}", {"access_token": "{}\n"}], ids=repr
)
def test_a_token_that_is_none_is_not_told(answer, marked, peer, environ, ears):
    token = json.dumps(answer).replace("{}", marked.fetched).encode()
    zuora = peer(marked.answer(200, marked.bulk_pdf()), tokens=[marked.answer(200, token)])
    assert run_here(["watch", HANDLE, "-vv", "--base-url", zuora.url, "--timeout", "0.3"]) == 3
    assert zuora.told(marked.fetched)
    assert run_here(["invoice", "i1", "-vv", "--base-url", zuora.url, "--timeout", "0.1"]) == 3
    ears.assert_no_secret(logged="POST /oauth/token: HTTP 200")


def test_neither_invoice_nor_cancel_tells(marked, peer, environ, ears):
    zuora = peer(marked.page(502, "502 Bad Gateway"))
    assert run_here(["invoice", "i1", "-vv", "--base-url", zuora.url, "--timeout", "0.1"]) in {1, 3}
    assert run_here(["cancel", "aqua:j1", "-vv", "--base-url", zuora.url, "--timeout", "0.3"]) == 3
    assert zuora.was_told("DELETE /v1/batch-query/jobs/j1")
    assert zuora.told(marked.url)
    ears.assert_no_secret(logged="HTTP 502")


def test_bad_usage_is_said_without_the_secrets_of_the_environment(marked, environ, ears, capfd, monkeypatch):
    monkeypatch.setenv("ZUORA_ACCESS_TOKEN", marked.token)
    for more in ([], ["--base-url", "http://rest.zuora.com"], ["--base-url", "x"], ["--no-such-option"], ["--help"]):
        assert run_here(["watch", HANDLE, *more, "-vv"]) in {0, 2}
    monkeypatch.setenv("ZUORA_CLIENT_SECRET", f"{marked.client_secret} and a blank")
    assert run_here(["watch", HANDLE, "--base-url", "https://rest.zuora.com"]) == 2
    err = capfd.readouterr().err
    assert "client_secret" in err
    ears.hear(err)
    ears.assert_no_secret()


# --- as a process of its own, against the emulator


@pytest.fixture
async def zuora(marked) -> AsyncIterator[emulator.Emulator]:
    async with emulator.running(client_secret=marked.client_secret) as running:
        yield running


@pytest.fixture
async def fetched(zuora, ears) -> emulator.ActiveFault:
    """Have the emulator give out a token that is known here; tells how often it did."""
    token = zuora.issue_token()
    ears.secrets.append(token)
    answer = emulator.Answer(200, {"access_token": token, "token_type": "bearer", "expires_in": 3600})
    active: emulator.ActiveFault = zuora.fault(emulator.Fault(answer, path="/oauth/token"))
    return active


async def ended(*command: str, **environ: str) -> tuple[int, str, str]:
    """Run a command to its end, with asyncio in debug mode."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ZUORA_", "COLUMNS"))}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**clean, "PYTHONASYNCIODEBUG": "1", **environ},
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), COLOURS.sub("", err.decode())


@pytest.mark.parametrize(("output", "terminal"), [("table", TERMINAL), ("jsonl", {})], ids=["live", "jsonl"])
async def test_a_whole_run_with_all_that_can_go_wrong_tells_nothing(
    output, terminal, zuora, zuora_jobs_command, marked, ears
):
    urls = {"fileUrls": [marked.url]}
    done, failed = (
        zuora.add_job("bulk-pdf", life=[emulator.Step(status, fields=urls)]) for status in ("Completed", "Error")
    )
    for name in ("unavailable", "html", "truncated", "dropped", "throttled", "invalid-json"):
        effect = emulator.Answer(429, headers={"Retry-After": "1"}) if name == "throttled" else name
        zuora.fault(emulator.Fault(effect, times=1, path="/v1/"))
    token = zuora.issue_token()
    ears.secrets.append(token)
    status, out, err = await ended(
        *(*zuora_jobs_command, "watch", done.handle, failed.handle, "bulk-pdf:nobody"),
        *("-vv", "--format", output, "--timeout", "50"),
        ZUORA_BASE_URL=zuora.url,
        ZUORA_ACCESS_TOKEN=token,
        **terminal,
    )
    assert status == 3, err
    assert zuora.statistics().faults_struck == 6
    assert any(request.authorized for request in zuora.requests)
    assert "HTTP 503" in err
    if output == "jsonl":
        lines, documents = without_the_document(out)
        assert [document["fileUrls"] for document in documents if document] == [[marked.url]] * 2
        ears.hear(*lines, err)
    else:
        assert "1 file" in out
        ears.hear(out, err)
    ears.assert_no_secret()


async def test_the_documents_go_to_stdout_and_not_to_the_terminal_on_which_the_live_view_is_drawn(
    zuora, zuora_jobs_command, marked, ears
):
    job = zuora.add_job("bulk-pdf", life=[emulator.Step("Completed", fields={"fileUrls": [marked.url]})])
    status, out, err = await ended(
        *zuora_jobs_command, "watch", job.handle, "--format", "jsonl", **zuora.environment(), **TERMINAL
    )
    assert status == 0, err
    assert "1/1" in err, "the live view was drawn"
    ears.hear(err)
    ears.assert_no_secret()
    lines, documents = without_the_document(out)
    assert [document["fileUrls"] for document in documents] == [[marked.url]]
    ears.hear(*lines)
    ears.assert_no_secret()


@pytest.mark.parametrize("command", ["cancel", "invoice", "watch"])
async def test_a_command_that_fetches_its_token_tells_neither_it_nor_the_secret(
    command, zuora, zuora_jobs_command, fetched, ears
):
    doomed = zuora.add_job("aqua", ends="completed", seconds=1000)
    arguments = {
        "cancel": [doomed.handle, "--format", "jsonl"],
        "invoice": [zuora.add_invoice()],
        "watch": [zuora.add_job("bulk-pdf", ends="Completed", seconds=0).handle],
    }
    status, out, err = await ended(
        *zuora_jobs_command, command, *arguments[command], "-vv", **zuora.environment(), **TERMINAL
    )
    assert status == 0, err
    assert fetched.struck == 1
    assert any(request.authorized for request in zuora.requests), "the token was sent"
    assert "HTTP 200" in err
    ears.hear(out, err)
    ears.assert_no_secret()


SCRIPT = """
import asyncio, logging, sys
from zuora_jobs import *
{install}
logging.basicConfig(level=logging.DEBUG)

async def main():
    settings = Settings.from_env()
    async with ZuoraClient(settings) as client, JobWatcher(client, observers=[print]) as watcher:
        handle = JobHandle.parse(sys.argv[1])
        outcome = await watcher.watch(handle, timeout={timeout})
        job, files, parts = outcome.job, outcome.files, [vars(client), vars(watcher)]
        outcome.unwrap()

asyncio.run(main())
"""
WITH_LOCALS = (
    "from rich.traceback import install; install(show_locals=True, locals_max_length=9999, locals_max_string=9999,"
    " max_frames=0, width=300)"
)


@pytest.mark.parametrize("install", ["", WITH_LOCALS], ids=["plain", "with locals"])
@pytest.mark.parametrize(("end", "raised"), [("Error", "JobFailed"), ("Executing", "JobLost")])
async def test_an_outcome_raised_and_caught_by_nobody_is_printed_without_secrets(
    end, raised, install, zuora, fetched, marked, ears, tmp_path
):
    job = zuora.add_job("bulk-pdf", life=[emulator.Step(end, fields={"fileUrls": [marked.url]})])
    script = Path(tmp_path) / "script.py"
    script.write_text(SCRIPT.format(install=install, timeout=0.5))
    status, out, err = await ended(sys.executable, str(script), job.handle, **zuora.environment())
    assert status == 1
    assert f"{raised}: {job.handle}" in " ".join(err.split())
    assert ("locals" in err) is bool(install)
    assert f"GET /v1/operations/bulk-pdf/{job.id}: HTTP 200" in "".join(err.split("\n")), "everything was logged"
    assert "Finished(" in out, "the observer printed its events"
    assert fetched.struck == 1
    ears.hear(out, err)
    ears.assert_no_secret()
