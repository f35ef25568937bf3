"""The commands that submit and fetch, at their most talkative: no secret in what they write, to whatever it is written.

JSON lines hold Zuora's documents, presigned URLs included, for these are the result; nothing else does.
"""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from zuora_jobs import Query, RunQueries, StageFailed, emulator
from zuora_jobs.emulator import Answer, CutAfter, Fault, Step
from zuora_jobs.protocol.submits import uncertain

TERMINAL = {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "TERM": "xterm-256color"}
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SIGNED = ("X-Amz-Signature", "X-Amz-Credential")
SOON = 0.1


@pytest.fixture
async def zuora(marked: Any) -> AsyncIterator[emulator.Emulator]:
    """A tenant whose secret bears the mark, and whose jobs end soon."""
    async with emulator.running(client_secret=marked.client_secret, rate_limits=()) as running:
        for name in ("aqua", "bulk-pdf", "invoice-delete", "invoice-reverse", "credit-memo-apply"):
            running.on_submit(name, seconds=SOON)
        yield running


@pytest.fixture
async def fetched(zuora: Any, ears: Any) -> Any:
    """Have a token given out that is known here; tells how often."""
    token = zuora.issue_token()
    ears.secrets.append(token)
    answer = Answer(200, {"access_token": token, "token_type": "bearer", "expires_in": 3600})
    return zuora.fault(Fault(answer, path="/oauth/token"))


Ran = tuple[int | None, str, str]


@pytest.fixture
def command(zuora: Any, tmp_path: Path, zuora_jobs_command: tuple[str, ...]) -> Callable[..., Any]:
    """Begin a command with -vv, in a folder of the test's, with asyncio in debug mode."""

    async def begin(*typed: str, terminal: bool = False, stdin: str = "") -> asyncio.subprocess.Process:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("ZUORA_", "COLUMNS"))}
        more = TERMINAL if terminal else {}
        process = await asyncio.create_subprocess_exec(
            *(*zuora_jobs_command, *typed, "-vv"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**clean, "PYTHONASYNCIODEBUG": "1", **zuora.environment(), **more},
            cwd=tmp_path,
        )
        assert process.stdin is not None
        process.stdin.write(stdin.encode())
        process.stdin.close()
        return process

    return begin


@pytest.fixture
def ran(command: Callable[..., Any]) -> Callable[..., Any]:
    """Run a command to its end."""

    async def run(*typed: str, **how: Any) -> Ran:
        return await ended(await command(*typed, **how))

    return run


async def ended(process: asyncio.subprocess.Process) -> Ran:
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = await asyncio.wait_for(asyncio.gather(process.stdout.read(), process.stderr.read()), 60)
    await process.wait()
    return process.returncode, out.decode(), COLOURS.sub("", err.decode())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what it waits for is in another process
            await asyncio.sleep(0.02)


def everything_in(folder: Path) -> list[str]:
    """The bytes of every file, and its name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files, "there is something to be looked at"
    return [f"{path.name}\n{path.read_bytes().decode('latin-1')}" for path in files]


def without_documents(out: str) -> list[str]:
    """JSON lines without what may hold presigned URLs."""
    events = [json.loads(line) for line in out.splitlines()]
    return [json.dumps({name: value for name, value in event.items() if name != "job"}) for event in events]


WORK: dict[str, Callable[[Any], list[str]]] = {
    "export": lambda zuora: ["export", "--query", "select Id from Invoice", "--into", "into"],
    "bulk-pdfs": lambda zuora: ["bulk-pdfs", zuora.add_invoice(), "no_such", "--into", "into"],
    "delete-invoices": lambda zuora: ["delete-invoices", zuora.add_invoice(), "nobody"],
    "reverse-invoices": lambda zuora: ["reverse-invoices", zuora.add_invoice()],
    "apply-credit": lambda zuora: ["apply-credit", zuora.add_credit_memo(), f"{zuora.add_invoice()}=1"],
    "submit": lambda zuora: ["submit", "bulk-pdf", "--body", "-", "--download", "into"],
    "download": lambda zuora: ["download", done(zuora).handle, "--into", "into"],
    "watch": lambda zuora: ["watch", done(zuora).handle, "--download", "into"],
}
PDFS = json.dumps({"documents": [{"docType": "Invoice", "objectIds": ["2c92c8"]}], "fileName": "x"})


def done(zuora: Any) -> Any:
    return zuora.add_job("bulk-pdf", life=[Step("Completed")])


@pytest.mark.parametrize("output", ["table", "jsonl"])
@pytest.mark.parametrize("work", WORK)
async def test_a_whole_run_tells_no_secret_to_anybody(work, output, zuora, fetched, ran, ears, marked, tmp_path):
    arguments = [*WORK[work](zuora), "--journal", "run.db", "--format", output]
    status, out, err = await ran(*arguments, terminal=output == "table", stdin=PDFS)
    assert status == (1 if work == "delete-invoices" else 0), err
    assert fetched.struck >= 1
    assert any(record.authorized for record in zuora.requests), "the token was sent"
    assert "HTTP 200" in err
    if work in {"bulk-pdfs", "submit", "download", "watch"}:
        asked = [record for record in zuora.requests if record.door == "store"]
        assert asked
        assert all(set(SIGNED) <= set(record.query) for record in asked), "there were signatures to be told"
        if output == "jsonl" and work != "download":
            assert any(name in out for name in SIGNED), "the document is the result"
    ears.hear(*([out] if output == "table" else without_documents(out)), err, *everything_in(tmp_path))
    ears.assert_no_secret()


TROUBLES: dict[str, Any] = {
    "purged": None,
    "refused": Answer(403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>", content_type="text/xml"),
    "a page": Answer(400, "<html>nothing of the sort</html>"),
    "cut": CutAfter(100, seconds=0.05),
    "reset": emulator.Reset(),
    "not a zip": Answer(200, b"this is no archive at all", content_type="application/zip"),
}


@pytest.mark.parametrize("output", ["table", "jsonl"])
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_presigned_url_that_fails_is_told_without_its_query(
    trouble, output, zuora, fetched, command, ears, tmp_path
):
    job = done(zuora)
    passes = trouble in {"cut", "reset"}
    if trouble == "purged":
        zuora.purge_files(job)
    else:
        zuora.fault(Fault(TROUBLES[trouble], path="bulk-pdf-generation", times=2 if passes else None))
    arguments = ["download", job.handle, "--into", "into", "--journal", "run.db", "--format", output]
    process = await command(*arguments, terminal=output == "table")
    if trouble == "a page":  # a store that says nothing certain is asked for two minutes
        await until(lambda: sum(record.door == "store" for record in zuora.requests) >= 2)
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGINT)
    status, out, err = await ended(process)
    assert status in ({0} if passes else {1, 3, 130}), err
    assert "bulk-pdf-generation" in err, "the request is told, but for its query"
    ears.hear(*([out] if output == "table" else without_documents(out)), err, *everything_in(tmp_path))
    ears.assert_no_secret()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["INT", "KILL"])
async def test_a_part_and_its_note_keep_no_secret_when_a_run_is_cut_short(
    number, zuora, fetched, command, ears, tmp_path
):
    job, into = done(zuora), tmp_path / "into"
    for archive in range(len(job.document()["fileUrls"])):
        zuora.set_file(job, b"PK\x03\x04" + bytes(5000), number=archive + 1)
    zuora.fault(Fault(CutAfter(1000, seconds=1000), path="bulk-pdf-generation"))
    process = await command("watch", job.handle, "--download", "into", "--journal", "run.db")
    await until(lambda: into.exists() and any(path.stat().st_size == 1000 for path in into.iterdir()))
    process.send_signal(number)
    status, out, err = await ended(process)
    assert status == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert {path.suffix for path in into.iterdir()} == {".part", ".json"}
    ears.hear(out, err, *everything_in(tmp_path))
    ears.assert_no_secret()


@pytest.mark.parametrize("life", [{}, {"ends": "aborted"}], ids=["completed", "aborted"])
async def test_the_query_of_a_notify_url_is_told_to_zuora_only(life, zuora, fetched, ran, ears, marked, tmp_path):
    zuora.on_submit("aqua", seconds=SOON, **life)
    notify = f"https://me.example/callout?token={marked.mark}Callout&job=${{JOBID}}"
    body = json.dumps({"queries": [{"name": "A", "query": "select Id from Account"}], "notifyUrl": notify})
    arguments = ["submit", "aqua", "--body", "-", "--download", "into", "--journal", "run.db"]
    for _ in range(2):  # the second time it is known from the journal
        status, out, err = await ran(*arguments, terminal=True, stdin=body)
        assert status == (1 if life else 0), err
        ears.hear(out, err, *everything_in(tmp_path))
    assert [one.body["notifyUrl"] for one in zuora.submitted] == [notify]
    ears.assert_no_secret()


BAD: dict[str, Any] = {
    "refused": Answer(400, {"success": False, "reasons": [{"code": 50000020, "message": "not so"}]}),
    "uncertain": emulator.Drop(),
    "nonsense": Answer(200, {"success": True}),
}


@pytest.mark.parametrize("trouble", BAD)
async def test_a_submit_that_goes_wrong_tells_neither_its_url_nor_the_token(
    trouble, zuora, fetched, command, ears, marked, tmp_path
):
    notify = f"https://me.example/callout?token={marked.mark}Callout"
    body = json.dumps({"queries": [{"name": "A", "query": "select Id from Account"}], "notifyUrl": notify})
    zuora.fault(Fault(BAD[trouble], path="batch-query"))
    process = await command("submit", "aqua", "--body", "-", "--journal", "run.db", stdin=body)
    if trouble != "refused":  # it is asked for again and again, which is safe
        await until(lambda: sum("batch-query" in record.path for record in zuora.requests) >= 2)
        process.send_signal(signal.SIGINT)
    status, out, err = await ended(process)
    assert status == (1 if trouble == "refused" else 130), err
    ears.hear(out, err, *everything_in(tmp_path))
    ears.assert_no_secret()


ONE = [{"name": "A", "query": "select 1"}]


@pytest.mark.parametrize(
    "document",
    [
        {"queries": [], "notifyUrl": "{}"},
        {"queries": ONE, "notifyUrl": ["{}"]},
        {"queries": ONE, "notifyURL": "{}"},
        {"queries": ONE, "notifyUrl": "{}" + "x" * 5000},
    ],
    ids=["no queries", "a list", "misspelled", "too long"],
)
async def test_a_body_that_is_refused_here_is_told_without_its_url(document, zuora, ran, ears, marked):
    notify = f"https://me.example/callout?token={marked.mark}Callout"
    body = json.dumps(document).replace("{}", notify)
    status, out, err = await ran("submit", "aqua", "--body", "-", stdin=body)
    assert (status, out) == (2, "")
    assert err.startswith("zuora-jobs: aqua: ")
    assert zuora.requests == []
    ears.hear(err)
    ears.assert_no_secret()


def test_a_request_and_what_went_wrong_with_it_are_printed_without_its_url(ears, marked):
    request = RunQueries([Query("A", "select 1")], notify_url=f"https://me.example/?token={marked.mark}Callout")
    failed = StageFailed("run", request, uncertain("why", request, None))
    assert "select 1" in repr(failed)
    ears.hear(request, failed, vars(failed.error))
    ears.assert_no_secret()
