"""`zuora-jobs submit` and `zuora-jobs download`: a job begun by hand, and the files of jobs that there are."""

import asyncio
import json
import os
import shlex
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from zuora_jobs import emulator
from zuora_jobs.emulator import Fault, Step
from zuora_jobs.emulator.effects import Answer

BODY = {"queries": [{"name": "A", "query": "select Id from Account"}]}
SOON = 0.1


@pytest.fixture
async def zuora() -> AsyncIterator[emulator.Emulator]:
    async with emulator.running(rate_limits=()) as running:
        for name in ("aqua", "bulk-pdf", "invoice-delete", "invoice-reverse", "credit-memo-apply"):
            running.on_submit(name, seconds=SOON)
        yield running


def names_in(folder):
    return {path.name for path in folder.iterdir()}


def size_of(file):
    return Path(file["path"]).stat().st_size


def file_requests(zuora):
    return [record for record in zuora.requests if record.path.startswith("/v1/files/") or record.door == "store"]


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what it waits for is in another process
            await asyncio.sleep(0.02)


@pytest.fixture
def body(tmp_path):
    """Write a request to a file."""

    def write(document):
        path = tmp_path / "body.json"
        path.write_text(json.dumps(document))
        return str(path)

    return write


@pytest.fixture
async def credit(zuora, body):
    """What submits a credit memo's application, which is a PUT."""
    document = body({"invoices": [{"invoiceId": zuora.add_invoice(), "amount": 1}]})
    return ["submit", "credit-memo-apply", "--key", zuora.add_credit_memo(), "--body", document]


# --- submit


async def test_submit_prints_the_handle_and_nothing_else(zuora, run):
    ran = await run("submit", "aqua", "--body", "-", environ=zuora.environment(), stdin=json.dumps(BODY))
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"{zuora.submitted[0].handle}\n"
    assert zuora.submitted[0].body["queries"] == [{**BODY["queries"][0], "type": "zoqlexport"}]
    assert zuora.jobs[0].polls == 0


@pytest.mark.parametrize("name", ["invoice-delete", "invoice-reverse"])
async def test_submit_of_what_a_key_says_it_all_needs_no_body(zuora, run, name):
    invoice = zuora.add_invoice()
    ran = await run("submit", name, "--key", invoice, environ=zuora.environment())
    assert (ran.status, ran.out) == (0, f"{zuora.submitted[0].handle}\n")
    assert zuora.submitted[0].key == invoice


async def test_the_key_may_stand_in_the_body_and_amounts_stay_exact(zuora, run):
    memo, invoice = zuora.add_credit_memo(), zuora.add_invoice()
    text = f'{{"creditMemoKey": "{memo}", "invoices": [{{"invoiceId": "{invoice}", "amount": 0.10}}]}}'
    ran = await run("submit", "credit-memo-apply", "--body", "-", environ=zuora.environment(), stdin=text)
    assert ran.status == 0, ran.err
    assert zuora.submitted[0].key == memo
    assert str(zuora.submitted[0].body["invoices"][0]["amount"]) == "0.10"


async def test_submit_as_a_json_line(zuora, run):
    arguments = ["submit", "aqua", "--body", "-", "--format", "jsonl"]
    ran = await run(*arguments, environ=zuora.environment(), stdin=json.dumps(BODY))
    [line] = ran.events
    handle = zuora.submitted[0].handle
    assert {**line, "at": ""} == {
        "event": "submitted",
        "at": "",
        "handle": handle,
        "kind": "aqua",
        "id": handle.removeprefix("aqua:"),
        "from_journal": False,
        "invalid_ids": [],
    }


@pytest.mark.parametrize("output", ["table", "jsonl"])
async def test_ids_that_zuora_leaves_out_are_told(zuora, run, body, output):
    document = {"documents": [{"docType": "Invoice", "objectIds": [zuora.add_invoice(), "no_such"]}], "fileName": "x"}
    arguments = ["submit", "bulk-pdf", "--body", body(document), "--format", output]
    ran = await run(*arguments, environ=zuora.environment())
    assert ran.status == 0
    if output == "table":
        assert ran.out == f"{zuora.submitted[0].handle}\n"
        assert ran.err == "without a PDF, or unknown, and so not in it: no_such\n"
    else:
        assert ran.of("submitted")[0]["invalid_ids"] == ["no_such"]


async def test_the_same_idempotency_key_begins_one_job(zuora, run, body):
    arguments = ["submit", "aqua", "--body", body(BODY), "--idempotency-key", "of-an-earlier-try"]
    first, second = [await run(*arguments, environ=zuora.environment()) for _ in range(2)]
    assert (first.status, second.status) == (0, 0)
    assert first.out == second.out == f"{zuora.submitted[0].handle}\n"
    assert [one.idempotency_key for one in zuora.submitted] == ["of-an-earlier-try"]


async def test_what_was_submitted_with_a_key_and_a_journal_is_in_the_journal(zuora, run, body, tmp_path):
    arguments = ["submit", "aqua", "--body", body(BODY), "--journal", str(tmp_path / "run.db")]
    keyed = await run(*arguments, "--idempotency-key", "k", environ=zuora.environment())
    if keyed.status == 2:
        assert "--journal" in keyed.err, "or else the two are refused together"
        return
    await run(*arguments, environ=zuora.environment())
    assert len(zuora.submitted) == 1


@pytest.mark.parametrize("watching", [["--watch"], ["--download", "into"]], ids=["watch", "download"])
async def test_submit_may_watch_to_the_end_and_fetch(zuora, run, body, tmp_path, monkeypatch, watching):
    monkeypatch.chdir(tmp_path)
    ran = await run("submit", "aqua", "--body", body(BODY), *watching, environ=zuora.environment())
    assert ran.status == 0, ran.err
    handle, *rest = ran.out.splitlines()
    assert handle == zuora.submitted[0].handle
    [row] = [line for line in rest if line.strip().startswith(handle)]
    assert "succeeded" in row
    assert "1 job: 1 succeeded" in ran.err
    if watching[0] == "--download":
        [name] = names_in(tmp_path / "into")
        assert rest[0].startswith(f"{tmp_path / 'into' / name}  ")
    else:
        assert not file_requests(zuora)


async def test_submit_with_download_as_json_lines(zuora, run, body, tmp_path):
    arguments = ["--download", str(tmp_path / "into"), "--format", "jsonl"]
    ran = await run("submit", "aqua", "--body", body(BODY), *arguments, environ=zuora.environment())
    assert ran.status == 0, ran.err
    names = [event["event"] for event in ran.events]
    assert (names[0], names[-1]) == ("submitted", "downloaded")
    assert [names.count(name) for name in ("submitted", "finished", "downloaded")] == [1, 1, 1]
    assert {event["handle"] for event in ran.events} == {zuora.submitted[0].handle}
    assert ran.of("downloaded")[0]["size"] == size_of(ran.of("downloaded")[0])


@pytest.mark.parametrize(
    ("life", "more", "status", "outcome"),
    [
        ({"ends": "aborted", "seconds": SOON}, [], 1, "failed"),
        ({"ends": "cancelled", "seconds": SOON}, [], 1, "cancelled"),
        ({"seconds": 1000}, ["--timeout", "0.3"], 3, "lost"),
        ({"at_once": True}, [], 0, "succeeded"),
        ({"at_once": True, "ends": "aborted"}, [], 1, "failed"),
    ],
    ids=["failed", "cancelled", "lost", "at once", "failed at once"],
)
async def test_submit_and_watch_ends_as_the_job_does(zuora, run, body, life, more, status, outcome):
    zuora.on_submit("aqua", **life)
    arguments = ["submit", "aqua", "--body", body(BODY), "--watch", "--format", "jsonl", *more]
    ran = await run(*arguments, environ=zuora.environment())
    assert ran.status == status, ran.err
    assert [event["outcome"] for event in ran.of("finished")] == [outcome]


async def test_what_is_done_at_once_without_a_job_is_said_and_needs_no_watching(zuora, run):
    invoice = zuora.add_invoice()
    zuora.fault(Fault(Answer(200, {"success": True, "id": invoice}), method="DELETE"))
    arguments = ["submit", "invoice-delete", "--key", invoice, "--watch"]
    ran = await run(*arguments, environ=zuora.environment())
    assert (ran.status, ran.out, ran.err) == (0, "", "done at once, without a job\n")
    ran = await run(*arguments, "--format", "jsonl", environ=zuora.environment())
    [line] = ran.events
    assert line["event"] == "submitted"
    assert "handle" not in line


async def test_a_submit_that_zuora_refuses_is_a_sentence_and_status_1(zuora, run):
    ran = await run("submit", "invoice-delete", "--key", "nobody", environ=zuora.environment())
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("zuora-jobs: DELETE /v1/invoices/nobody: HTTP 404: 50000040")
    assert ran.err.count("\n") == 1


async def test_an_uncertain_put_is_not_sent_again_until_that_is_asked_for(zuora, run, credit, tmp_path):
    zuora.fault(Fault("lose-reply", times=1, path="apply-async$"))
    arguments = [*credit, "--journal", str(tmp_path / "run.db")]
    first, second = [await run(*arguments, environ=zuora.environment()) for _ in range(2)]
    for ran in (first, second):
        assert (ran.status, ran.out) == (3, "")
        assert "whether Zuora has begun this job is not known, so it is not submitted again" in ran.err
        assert "To find out: " in ran.err
        assert ran.err.count("\n") == 1
    assert "no answer is on record" in second.err
    assert len(zuora.submitted) == 1
    again = await run(*arguments, "--again", environ=zuora.environment())
    assert (again.status, again.out) == (0, f"{zuora.submitted[1].handle}\n")
    assert len(zuora.submitted) == 2
    known = await run(*arguments, environ=zuora.environment())
    assert (known.status, known.out) == (0, again.out)
    assert known.err == "it was submitted in an earlier run\n"
    assert len(zuora.submitted) == 2


async def test_a_lost_answer_to_a_post_is_asked_for_again_with_its_key(zuora, run, body):
    zuora.fault(Fault("lose-reply", times=2, method="POST", path="batch-query"))
    ran = await run("submit", "aqua", "--body", body(BODY), environ=zuora.environment())
    assert (ran.status, ran.out) == (0, f"{zuora.submitted[0].handle}\n")
    assert len(zuora.submitted) == 1


async def test_the_sentence_about_a_cut_has_no_name_of_a_class_of_ours(zuora, run, credit):
    zuora.fault(Fault("lose-reply", times=1, path="apply-async$"))
    assert "_CutOff" not in (await run(*credit, environ=zuora.environment())).err


async def test_submit_and_watch_goes_on_with_its_journal(zuora, start, run, body, tmp_path):
    zuora.on_submit("aqua", seconds=1000)
    arguments = ["submit", "aqua", "--body", body(BODY), "--watch", "--journal", str(tmp_path / "run.db")]
    command = await start(arguments, zuora.environment())
    await until(lambda: zuora.jobs and zuora.jobs[0].polls)
    command.interrupt()
    stopped = await command.ended()
    handle = zuora.submitted[0].handle
    assert (stopped.status, stopped.out.splitlines()[0]) == (130, handle)
    assert f"zuora-jobs watch --journal {tmp_path / 'run.db'}" in stopped.err
    zuora.jobs[0].become("completed")
    ran = await run("watch", "--journal", str(tmp_path / "run.db"), "--format", "jsonl", environ=zuora.environment())
    assert (ran.status, [end["handle"] for end in ran.of("finished")]) == (0, [handle])
    again = await run(*arguments, environ=zuora.environment())
    assert (again.status, len(zuora.submitted)) == (0, 1)


@pytest.mark.parametrize("command", ["submit", "delete-invoices"])
async def test_an_interrupt_while_the_answer_is_awaited_says_that_a_job_may_have_begun(zuora, start, credit, command):
    zuora.fault(Fault("hang", path="apply-async$"))
    zuora.fault(Fault("hang", method="DELETE"))
    invoice = zuora.add_invoice()
    running = await start(credit if command == "submit" else [command, invoice], zuora.environment())
    await until(lambda: any(record.method in {"PUT", "DELETE"} for record in zuora.requests))
    await asyncio.sleep(0.1)
    running.interrupt()
    ran = await running.ended()
    assert (ran.status, ran.out) == (130, "")
    assert (credit[3] if command == "submit" else invoice) in ran.err
    assert "whether Zuora has begun this job is not known" in ran.err
    assert "To find out: " in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
async def test_a_handle_that_cannot_be_written_to_stdout_is_told_on_stderr(zuora):
    line = shlex.join([sys.executable, "-m", "zuora_jobs", "submit", "invoice-delete", "--key", zuora.add_invoice()])
    process = await asyncio.create_subprocess_shell(
        f"{line} > /dev/full", stderr=asyncio.subprocess.PIPE, env={**os.environ, **zuora.environment()}
    )
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 3
    assert zuora.submitted[0].handle in err.decode()


# --- download


def finished(zuora, kind, **fields):
    return zuora.add_job(kind, life=[Step({"aqua": "completed"}.get(kind, "Completed"))], fields=fields)


@pytest.mark.parametrize("output", ["table", "jsonl"])
async def test_download_fetches_the_files_of_all_jobs_once(zuora, run, tmp_path, output):
    jobs, into = [finished(zuora, "aqua"), finished(zuora, "bulk-pdf")], tmp_path / "deep" / "into"
    listed = tmp_path / "handles"
    listed.write_text("\n".join(job.handle for job in jobs))
    arguments = ["download", "--from", str(listed), "--into", str(into), "--format", output]
    ran = await run(*arguments, environ=zuora.environment())
    assert ran.status == 0, ran.err
    fetched = len(file_requests(zuora))
    again = await run(*arguments, environ=zuora.environment())
    assert again.status == 0, again.err
    assert len(file_requests(zuora)) == fetched == len(names_in(into))
    assert not any(record.bore_authorization for record in zuora.requests if record.door == "store")
    if output == "table":
        assert {line.split("  ")[0] for line in ran.out.splitlines()} == {str(path) for path in into.iterdir()}
        assert all(line.endswith(", was there already") for line in again.out.splitlines())
    else:
        files = ran.of("downloaded")
        assert {file["path"] for file in files} == {str(path) for path in into.iterdir()}
        assert {file["handle"] for file in files} == {job.handle for job in jobs}
        assert all(file["size"] == size_of(file) for file in files)
        assert {file["fetched"] for file in files} == {True}
        assert {file["fetched"] for file in again.of("downloaded")} == {False}
        assert {file["path"] for file in again.of("downloaded")} == {file["path"] for file in files}


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "a/b\\c", "..", "con"])
async def test_download_puts_nothing_outside_the_folder_whatever_a_batch_is_called(zuora, run, tmp_path, name):
    job, into = finished(zuora, "aqua", batches=[{"name": name, "recordCount": 3}]), tmp_path / "nest" / "into"
    ran = await run("download", job.handle, "--into", str(into), environ=zuora.environment())
    assert ran.status == 0, ran.err
    assert names_in(tmp_path) == {"nest"}
    assert names_in(tmp_path / "nest") == {"into"}
    [path] = into.iterdir()
    assert path.is_file()
    assert ran.out.startswith(f"{path}  ")


CASES = {
    "unfinished": (lambda zuora: zuora.add_job("aqua", seconds=1000), 3, "DownloadError", "has not ended"),
    "failed": (lambda zuora: zuora.add_job("bulk-pdf", life=[Step("Error")]), 1, "JobFailed", ""),
    "no files": (lambda zuora: finished(zuora, "operation"), 1, "FileGone", "has left no files"),
}


@pytest.mark.parametrize("output", ["table", "jsonl"])
@pytest.mark.parametrize("case", CASES)
async def test_download_of_a_job_without_files_says_why_and_fetches_the_others(zuora, run, tmp_path, case, output):
    make, status, error, says = CASES[case]
    job, good = make(zuora), finished(zuora, "bulk-pdf")
    arguments = ["download", job.handle, good.handle, "--into", str(tmp_path), "--format", output]
    ran = await run(*arguments, environ=zuora.environment())
    assert ran.status == status, ran.err
    assert names_in(tmp_path)
    assert all(zipfile.is_zipfile(path) for path in tmp_path.iterdir())
    if output == "table":
        [line] = [line for line in ran.err.splitlines() if error in line]
        assert job.handle in line
        assert says in line
        assert "1 of them failed" in ran.err
    else:
        [failed] = ran.of("failed")
        assert (failed["handle"], failed["error"]["type"]) == (job.handle, error)
        assert says in failed["error"]["message"]


@pytest.mark.parametrize("kind", ["aqua", "bulk-pdf"])
async def test_download_of_purged_files_says_that_they_are_gone(zuora, run, tmp_path, kind):
    job = finished(zuora, kind)
    zuora.purge_files(job)
    arguments = ["download", job.handle, "--into", str(tmp_path), "--format", "jsonl"]
    ran = await run(*arguments, environ=zuora.environment())
    assert ran.status == 1, ran.err
    assert {(failed["handle"], failed["error"]["type"]) for failed in ran.of("failed")} == {(job.handle, "FileGone")}
    assert all("submit the job again" in failed["error"]["message"] for failed in ran.of("failed"))
    assert names_in(tmp_path) == set()


async def test_download_of_a_job_that_is_not_there_names_it_in_its_line(zuora, run, tmp_path):
    arguments = ["download", "aqua:nobody", "--into", str(tmp_path), "--format", "jsonl"]
    ran = await run(*arguments, environ=zuora.environment())
    [failed] = ran.of("failed")
    assert failed["error"]["type"] == "NotFound"
    assert (failed["handle"], failed["kind"], failed["id"]) == ("aqua:nobody", "aqua", "nobody")


async def test_download_of_a_job_that_is_not_there_is_lost_as_it_is_to_watch(zuora, run, tmp_path):
    ran = await run("download", "aqua:nobody", "--into", str(tmp_path), environ=zuora.environment())
    assert ran.status == 3


@pytest.mark.parametrize("end", ["aborted", "cancelled"])
async def test_download_of_a_job_that_did_not_succeed_fetches_what_it_left_and_says_so(zuora, run, tmp_path, end):
    job = zuora.add_job("aqua", ends=end, seconds=0)
    left = {f"{batch['name']}-{batch['fileId']}.csv" for batch in job.document()["batches"] if "fileId" in batch}
    assert left, "it left something"
    ran = await run("download", job.handle, "--into", str(tmp_path), environ=zuora.environment())
    assert names_in(tmp_path) == left
    assert ran.status == 1
    assert job.handle in ran.err


async def test_a_file_that_zuora_does_not_give_out_has_failed_with_zuoras_words(zuora, run, tmp_path):
    zuora.fault(Fault(Answer(403, {"reasons": [{"code": 90009, "message": "not yours"}]}), path="/v1/files/"))
    job = finished(zuora, "aqua")
    arguments = ["download", job.handle, "--into", str(tmp_path), "--format", "jsonl"]
    ran = await run(*arguments, environ=zuora.environment())
    assert ran.status == 1, ran.err
    assert {failed["error"]["type"] for failed in ran.of("failed")} == {"DownloadError"}
    assert "not yours" in ran.of("failed")[0]["error"]["message"]
