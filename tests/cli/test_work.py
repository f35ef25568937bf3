"""Commands that have Zuora do something, from the submit to the proof: what they print, what they leave, how they end."""

import asyncio
import csv
import gzip
import json
import os
import shlex
import sys
import zipfile
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from zuora_jobs import emulator
from zuora_jobs.emulator import Fault
from zuora_jobs.emulator.effects import Answer

NAMES = ("aqua", "bulk-pdf", "invoice-delete", "invoice-reverse", "credit-memo-apply")
SOON = 0.1
"""Seconds that a job takes."""


@pytest.fixture
async def zuora() -> AsyncIterator[emulator.Emulator]:
    """A tenant whose jobs end soon, and as they should."""
    async with emulator.running(rate_limits=()) as running:
        for name in NAMES:
            running.on_submit(name, seconds=SOON)
        yield running


def names_in(folder):
    return {path.name for path in folder.iterdir()}


def size_of(file):
    return Path(file["path"]).stat().st_size


def file_requests(zuora):
    return [record for record in zuora.requests if record.path.startswith("/v1/files/") or record.door == "store"]


def paths_in(out):
    """The paths that were printed, a line each."""
    return [Path(line.split("  ")[0]) for line in out.splitlines()]


def records_in(path):
    with path.open(newline="") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def plain(path):
    """The bytes of a file, unpacked."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return archive.read(archive.namelist()[0])
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what it waits for is in another process
            await asyncio.sleep(0.02)


@pytest.fixture
def asked(zuora, tmp_path):
    """For each command what it takes to do one thing."""

    def arguments(command):
        into = ["--into", str(tmp_path / "into")]
        if command == "export":
            return ["export", "--query", "select Id from Invoice", *into]
        if command == "apply-credit":
            return [command, zuora.add_credit_memo(), f"{zuora.add_invoice()}=1.50"]
        return [command, zuora.add_invoice(), *(into if command == "bulk-pdfs" else [])]

    return arguments


EVERY = ("export", "bulk-pdfs", "delete-invoices", "reverse-invoices", "apply-credit")
WORD = dict(zip(EVERY, ("downloaded", "zipped", "deleted", "reversed", "applied"), strict=True))
SUBMIT = dict(zip(EVERY, NAMES, strict=True))


# --- export


async def test_export_prints_the_path_of_each_file_that_is_there_and_counted(zuora, run, tmp_path):
    into = tmp_path / "deep" / "exports"
    queries = ["select Id, Balance from Invoice", "Paid = select Id from Payment", "select Id from Invoice"]
    typed = [word for query in queries for word in ("--query", query)]
    ran = await run("export", *typed, "--into", str(into), environ=zuora.environment())
    assert ran.status == 0, ran.err
    paths = paths_in(ran.out)
    assert {path.name.rpartition("-")[0] for path in paths} == {"Invoice", "Paid", "Invoice-2"}
    assert {path.parent for path in paths} == {into}
    assert names_in(into) == {path.name for path in paths}
    for path, line in zip(paths, ran.out.splitlines(), strict=True):
        assert line.endswith(f"B, {records_in(path)} records")
    counted = {batch["name"]: batch["recordCount"] for batch in zuora.jobs[0].document()["batches"]}
    assert {path.name.rpartition("-")[0]: records_in(path) for path in paths} == counted
    assert ran.err == f"3 results; {len(zuora.requests) - 1} requests\n", "the token's is not counted"


async def test_export_asks_for_what_a_program_can_read(zuora, run, tmp_path):
    await run("export", "--query", "A=select Id from Account", "--into", str(tmp_path), environ=zuora.environment())
    [submission] = zuora.submitted
    assert submission.body == {
        "format": "csv",
        "version": "1.1",
        "queries": [{"name": "A", "query": "select Id from Account", "type": "zoqlexport"}],
        "useQueryLabels": True,
        "dateTimeUtc": True,
    }
    assert submission.idempotency_key


async def test_export_tells_each_file_as_a_json_line(zuora, run, tmp_path):
    arguments = ["export", "--query", "A=select Id from Account", "--into", str(tmp_path), "--format", "jsonl"]
    ran = await run(*arguments, environ=zuora.environment())
    assert (ran.status, ran.err) == (0, "")
    handle = zuora.submitted[0].handle
    [submitted], [finished], [downloaded] = map(ran.of, ("submitted", "finished", "downloaded"))
    assert ran.events[0] == submitted
    assert ran.events[-1] == downloaded
    assert {event["handle"] for event in ran.events} == {handle}
    assert (submitted["from_journal"], finished["outcome"]) == (False, "succeeded")
    [name] = names_in(tmp_path)
    assert downloaded["path"] == str(tmp_path / name)
    assert downloaded["size"] == (tmp_path / name).stat().st_size
    assert downloaded["records"] == records_in(tmp_path / name)
    assert downloaded["fetched"] is True
    assert (downloaded["kind"], downloaded["id"]) == tuple(handle.split(":"))


@pytest.mark.parametrize(
    ("file_format", "suffix"), [("csv", ".csv"), ("gzip", ".csv.gz"), ("zip", ".zip")], ids=["csv", "gzip", "zip"]
)
async def test_export_in_every_format_is_whole(zuora, run, tmp_path, file_format, suffix):
    arguments = ["--query", "A=select Id from Account", "--into", str(tmp_path), "--file-format", file_format]
    ran = await run("export", *arguments, "--warehouse", environ=zuora.environment())
    assert ran.status == 0, ran.err
    [path] = paths_in(ran.out)
    assert path.name.endswith(suffix)
    count = zuora.jobs[0].document()["batches"][0]["recordCount"]
    assert ran.out.endswith(f", {count} records\n")
    assert len(list(csv.reader(plain(path).decode().splitlines()))) == count + 1
    assert zuora.submitted[0].body["format"].casefold() == file_format
    assert zuora.submitted[0].body["sourceData"] == "WAREHOUSE"


async def test_export_splits_51_queries_over_two_jobs(zuora, run, tmp_path):
    for _ in range(2):
        zuora.on_submit("aqua", seconds=SOON, fields={"batches": [{"recordCount": 2}] * 50}, times=1)
    queries = tmp_path / "queries.json"
    queries.write_text(json.dumps({f"q{number}": "select Id from Account" for number in range(51)}))
    arguments = ["--queries", str(queries), "--into", str(tmp_path / "into"), "--files", "20"]
    ran = await run("export", *arguments, environ=zuora.environment())
    assert ran.status == 0, ran.err
    assert sorted(len(one.body["queries"]) for one in zuora.submitted) == [1, 50]
    assert {path.name.split("-")[0] for path in paths_in(ran.out)} == {f"q{number}" for number in range(51)}
    assert len(names_in(tmp_path / "into")) == 51


async def test_queries_come_from_standard_input_with_all_that_zuora_knows_of_one(zuora, run, tmp_path):
    typed = [{"name": "A", "query": "select Id from Account", "apiVersion": "137.0", "type": "zoql"}]
    arguments = ["export", "--queries", "-", "--into", str(tmp_path)]
    ran = await run(*arguments, environ=zuora.environment(), stdin=json.dumps(typed))
    assert ran.status == 0, ran.err
    assert zuora.submitted[0].body["queries"] == typed


async def export_of(content, zuora, start, into, *arguments):
    """Export one query whose file has this content; None: it has been purged."""
    zuora.on_submit("aqua", seconds=0.4, fields={"batches": [{"recordCount": 7}]}, times=1)
    typed = ["export", "--query", "A=select Id from Account", "--into", str(into), *arguments]
    command = await start(typed, zuora.environment())
    await until(lambda: zuora.submitted)
    [file_id] = zuora.jobs[0].file_ids
    zuora.purge_files(file_id) if content is None else zuora.set_file(file_id, content)
    return await command.ended(), f"A-{file_id}.csv"


async def test_a_file_with_another_number_of_records_is_told_and_kept_beside(zuora, start, tmp_path):
    ran, name = await export_of("Id\n1\n2\n", zuora, start, tmp_path)
    assert (ran.status, ran.out) == (1, "")
    assert f"WrongContent: {name} has 2 records, and Zuora counted 7" in ran.err
    assert "1 result, 1 of them failed; " in ran.err
    assert names_in(tmp_path) == {f"{name}.rejected"}


@pytest.mark.parametrize("content", ["Id\n1\n", None], ids=["wrong", "purged"])
async def test_a_file_that_failed_is_a_json_line_about_its_job(zuora, start, tmp_path, content):
    ran, name = await export_of(content, zuora, start, tmp_path, "--format", "jsonl")
    assert ran.status == 1, ran.err
    [failed] = ran.of("failed")
    assert failed["handle"] == zuora.submitted[0].handle
    assert failed["stage"] == "download"
    assert failed["error"]["type"] == ("WrongContent" if content else "FileGone")
    assert name in failed["error"]["message"]
    assert ran.of("finished")[0]["outcome"] == "succeeded", "the job is not the file"


# --- PDFs


MISSING = {"failedDocuments": [{"docType": "Invoice", "objectIds": ["f1", "f2"]}]} | {
    "skippedDocuments": [{"docType": "Invoice", "objectIds": ["s1"]}]
}


async def test_bulk_pdfs_prints_the_archives_and_what_is_not_in_them(zuora, run, tmp_path):
    zuora.on_submit("bulk-pdf", ends="PartialComplete", seconds=SOON, fields=MISSING)
    ids, into = [zuora.add_invoice() for _ in range(4)], tmp_path / "pdfs"
    arguments = [*ids, "no_such", "--into", str(into), "--file-name", "january", "--generate-missing"]
    ran = await run("bulk-pdfs", *arguments, "--ignore-archived", environ=zuora.environment())
    assert ran.status == 0, ran.err
    *archives, invalid, failed, skipped = ran.out.splitlines()
    assert names_in(into) == {path.name for path in paths_in("\n".join(archives))}
    assert all(name.startswith("january_") and zipfile.is_zipfile(into / name) for name in names_in(into))
    assert invalid == "not in them, without a PDF, or unknown: no_such"
    assert failed == "not in them, failed: f1, f2"
    assert skipped == "not in them, skipped, being archived: s1"
    assert zuora.submitted[0].body == {
        "documents": [{"docType": "Invoice", "objectIds": [*ids, "no_such"]}],
        "fileName": "january",
        "indexFileFormat": "CSV",
        "generateMissingPDF": True,
        "ignoreArchivedFiles": True,
    }
    fetched = [record for record in zuora.requests if record.door == "store"]
    assert len(fetched) == len(archives)
    assert not any(record.bore_authorization for record in fetched)


async def test_bulk_pdfs_tells_one_json_line_a_job(zuora, run, tmp_path):
    zuora.on_submit("bulk-pdf", ends="PartialComplete", seconds=SOON, fields=MISSING)
    listed = f"# ids\n{zuora.add_invoice()}\n\nno_such\n"
    arguments = ["bulk-pdfs", "--from", "-", "--into", str(tmp_path), "--format", "jsonl"]
    ran = await run(*arguments, environ=zuora.environment(), stdin=listed)
    assert ran.status == 0, ran.err
    [zipped] = ran.of("zipped")
    assert {Path(file["path"]).name for file in zipped["files"]} == names_in(tmp_path)
    assert [file["size"] for file in zipped["files"]] == list(map(size_of, zipped["files"]))
    assert zipped["invalid_ids"] == ["no_such"]
    assert zipped["failed_documents"] == MISSING["failedDocuments"]
    assert zipped["skipped_documents"] == MISSING["skippedDocuments"]
    assert zipped["handle"] == zuora.submitted[0].handle


# --- invoices


@pytest.mark.parametrize("output", ["table", "jsonl"])
async def test_delete_invoices_proves_that_each_is_gone_and_tells_what_was_refused(zuora, run, tmp_path, output):
    one, other = zuora.add_invoice(), zuora.add_invoice()
    listed = tmp_path / "ids"
    listed.write_text(f"{other}\nnobody\n{one}\n")
    arguments = ["delete-invoices", one, "--from", str(listed), "--format", output]
    ran = await run(*arguments, environ=zuora.environment())
    assert ran.status == 1
    assert zuora.invoice(one) is zuora.invoice(other) is None
    assert sorted(one.key for one in zuora.submitted) == sorted([one, other]), "each once"
    if output == "table":
        assert sorted(ran.out.splitlines()) == sorted(f"{gone}  deleted, and gone" for gone in (one, other))
        assert "nobody: NotFound: " in ran.err
        assert "3 results, 1 of them failed" in ran.err
        return
    assert {(line["about"], line["invoice"], line["handle"]) for line in ran.of("deleted")} == {
        (done.key, done.key, done.handle) for done in zuora.submitted
    }
    [failed] = ran.of("failed")
    assert (failed["stage"], failed["about"], failed["error"]["type"]) == ("delete", "nobody", "NotFound")
    assert "handle" not in failed, "there is no job"


async def test_reverse_invoices_shows_the_reversed_invoice(zuora, run):
    zuora.add_invoice(InvoiceNumber="INV00000077", Balance=Decimal("12.30"))
    options = ["--memo-date", "2026-11-23", "--apply-date", "2026-11-24", "--reason-code", "Oops", "--comment", "ü"]
    ran = await run("reverse-invoices", "INV00000077", *options, environ=zuora.environment())
    assert (ran.status, ran.out) == (0, "INV00000077  reversed, 0 to pay\n")
    [submission] = zuora.submitted
    assert submission.body == {
        "memoDate": "2026-11-23",
        "applyEffectiveDate": "2026-11-24",
        "reasonCode": "Oops",
        "comment": "ü",
    }
    other = zuora.add_invoice()
    ran = await run("reverse-invoices", other, "--format", "jsonl", environ=zuora.environment())
    [told] = ran.of("reversed")
    assert (told["about"], told["invoice"]["Id"], told["invoice"]["Balance"]) == (other, other, 0)
    assert isinstance(told["credit_memos"], list)


# --- credit


async def test_apply_credit_tells_balances_before_and_after_to_the_last_digit(zuora, run):
    memo = zuora.add_credit_memo(amount=Decimal("100.10"), number="CM00000009")
    invoice = zuora.add_invoice(Balance=Decimal("50.05"))
    ran = await run("apply-credit", memo, f"{invoice}=0.05", "--date", "2026-11-24", environ=zuora.environment())
    assert ran.status == 0, ran.err
    assert ran.out.splitlines() == [
        "CM00000009: 100.10 to apply before, 100.05 now",
        f"  {invoice}: 50.05 to pay before, 50.00 now",
    ]
    assert zuora.submitted[0].body == {
        "effectiveDate": "2026-11-24",
        "invoices": [{"amount": Decimal("0.05"), "invoiceId": invoice}],
    }
    ran = await run("apply-credit", memo, f"{invoice}=1", "--format", "jsonl", environ=zuora.environment())
    [applied] = [json.loads(line, parse_float=Decimal) for line in ran.out.splitlines() if '"applied"' in line]
    assert applied["balances"] == {invoice: {"before": Decimal("50.00"), "after": Decimal("49.00")}}
    assert (applied["before"]["unappliedAmount"], applied["after"]["unappliedAmount"]) == (
        Decimal("100.05"),
        Decimal("99.05"),
    )
    assert applied["handle"] == zuora.submitted[1].handle


async def test_apply_credit_takes_numbers_of_invoices(zuora, run):
    memo, _ = zuora.add_credit_memo(), zuora.add_invoice(InvoiceNumber="INV00000005", Balance=Decimal(9))
    ran = await run("apply-credit", memo, "INV00000005 = 2.50", environ=zuora.environment())
    assert ran.status == 0, ran.err
    assert zuora.submitted[0].body["invoices"] == [{"amount": Decimal("2.5"), "invoiceNumber": "INV00000005"}]


# --- all of them


@pytest.mark.parametrize("command", EVERY)
async def test_the_same_with_the_same_journal_submits_nothing_twice(zuora, run, tmp_path, asked, command):
    arguments = [*asked(command), "--journal", str(tmp_path / "run.db")]
    first = await run(*arguments, environ=zuora.environment())
    assert first.status == 0, first.err
    fetched = len(file_requests(zuora))
    second = await run(*arguments, environ=zuora.environment())
    assert second.status == 0, second.err
    assert len(zuora.submitted) == 1
    assert len(file_requests(zuora)) == fetched
    assert second.out.replace(", was there already", "") == first.out, "balances before are on record as well"
    assert ("was there already" in second.out) is (command in {"export", "bulk-pdfs"})


@pytest.mark.parametrize("command", EVERY)
async def test_what_is_known_from_the_journal_is_told_to_be(zuora, run, tmp_path, asked, command):
    arguments = [*asked(command), "--journal", str(tmp_path / "run.db"), "--format", "jsonl"]
    for from_journal in (False, True):
        ran = await run(*arguments, environ=zuora.environment())
        assert ran.status == 0, ran.err
        [submitted], [finished], [result] = (ran.of(name) for name in ("submitted", "finished", WORD[command]))
        assert submitted["from_journal"] is finished["from_journal"] is from_journal
        assert {event["handle"] for event in (submitted, finished, result)} == {zuora.submitted[0].handle}


ENDS = dict(zip(EVERY, ("aborted", "Error", "Failed", "Failed", "Error"), strict=True))


@pytest.mark.parametrize("command", EVERY)
async def test_a_job_that_fails_is_told_with_its_reason_and_status_1(zuora, run, asked, command):
    zuora.on_submit(SUBMIT[command], ends=ENDS[command], seconds=SOON)
    arguments = asked(command)
    ran = await run(*arguments, "--format", "jsonl", environ=zuora.environment())
    assert ran.status == 1, ran.err
    [failed], [finished] = ran.of("failed"), ran.of("finished")
    assert failed["handle"] == finished["handle"] == zuora.submitted[0].handle
    assert finished["outcome"] == "failed"
    assert failed["error"]["type"] == "JobFailed"
    assert finished["reasons"][0]["message"] in failed["error"]["message"]
    about = {"export": "Invoice", "bulk-pdfs": None}.get(command, arguments[1])
    assert failed["about"] == about
    assert ran.of(WORD[command]) == []


@pytest.mark.parametrize("command", EVERY)
async def test_a_refused_submit_is_a_line_on_stderr_and_status_1(zuora, run, asked, command):
    zuora.fault(
        Fault(
            Answer(400, {"success": False, "reasons": [{"code": "50000020", "message": "not so"}]}),
            path="/v1/",
            method=zuora_method(command),
        )
    )
    ran = await run(*asked(command), environ=zuora.environment())
    assert (ran.status, ran.out, zuora.submitted) == (1, "", [])
    assert "Rejected: " in ran.err
    assert "50000020: not so" in ran.err
    assert "1 result, 1 of them failed" in ran.err


def zuora_method(command):
    return {"delete-invoices": "DELETE", "export": "POST", "bulk-pdfs": "POST"}.get(command, "PUT")


@pytest.mark.parametrize("command", EVERY)
async def test_a_job_that_does_not_end_in_time_is_lost_and_status_3(zuora, run, asked, command):
    zuora.on_submit(SUBMIT[command], seconds=1000)
    ran = await run(*asked(command), "--timeout", "0.3", "--format", "jsonl", environ=zuora.environment())
    assert ran.status == 3, ran.err
    [failed], [finished] = ran.of("failed"), ran.of("finished")
    assert finished["outcome"] == "lost"
    assert (failed["error"]["type"], failed["handle"]) == ("JobLost", finished["handle"])


async def test_where_some_failed_and_some_were_lost_the_status_is_3(zuora, run):
    zuora.on_submit("invoice-delete", seconds=1000)
    ran = await run("delete-invoices", "nobody", zuora.add_invoice(), "--timeout", "0.3", environ=zuora.environment())
    assert ran.status == 3
    assert "NotFound" in ran.err
    assert "JobLost" in ran.err


async def test_a_lost_answer_is_uncertain_unless_the_invoice_itself_tells(zuora, run):
    zuora.on_submit("invoice-delete", at_once=True)
    zuora.fault(Fault("lose-reply", times=1, method="DELETE"))
    zuora.fault(Fault("lose-reply", times=1, method="PUT"))
    invoice, memo = zuora.add_invoice(), zuora.add_credit_memo()
    proved = await run("delete-invoices", invoice, environ=zuora.environment())
    assert (proved.status, proved.out) == (0, f"{invoice}  deleted, and gone\n")
    credit = ["apply-credit", memo, f"{zuora.add_invoice()}=1", "--format", "jsonl"]
    uncertain = await run(*credit, environ=zuora.environment())
    assert uncertain.status == 3
    [failed] = uncertain.of("failed")
    assert (failed["about"], failed["error"]["type"]) == (memo, "SubmitUncertain")
    assert "To find out: " in failed["error"]["message"]
    assert len(zuora.submitted) == 2


@pytest.mark.parametrize("command", EVERY)
async def test_an_interrupt_says_what_is_left_and_the_journal_finishes_it(zuora, start, run, tmp_path, asked, command):
    zuora.on_submit(SUBMIT[command], seconds=1000)
    arguments = [*asked(command), "--journal", str(tmp_path / "run.db")]
    running = await start(arguments, zuora.environment())
    await until(lambda: zuora.jobs and zuora.jobs[-1].polls)
    await asyncio.sleep(0.2)
    running.interrupt()
    ran = await running.ended()
    assert (ran.status, ran.out) == (130, "")
    assert "1 job left running" in ran.err
    assert "The same again goes on from there, and submits nothing twice." in ran.err
    assert "Traceback" not in ran.err
    zuora.jobs[-1].become({"export": "completed", "apply-credit": "Processed"}.get(command, "Completed"))
    finished = await run(*arguments, environ=zuora.environment())
    assert (finished.status, len(zuora.submitted)) == (0, 1), finished.err
    assert finished.out


async def test_an_interrupt_without_a_journal_names_the_jobs(zuora, start, asked):
    zuora.on_submit("aqua", seconds=1000)
    command = await start(asked("export"), zuora.environment())
    await until(lambda: zuora.jobs and zuora.jobs[-1].polls)
    command.interrupt()
    ran = await command.ended()
    assert ran.status == 130
    assert f"zuora-jobs watch {zuora.submitted[0].handle}" in ran.err


async def shell(zuora, arguments, redirected):
    """Run a command with its stdout redirected by a shell; give its status and stderr."""
    line = f"set -o pipefail; {shlex.join([sys.executable, '-m', 'zuora_jobs', *arguments])} {redirected}"
    environ = {**os.environ, **zuora.environment()}
    process = await asyncio.create_subprocess_exec("bash", "-c", line, stderr=asyncio.subprocess.PIPE, env=environ)
    _, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, err.decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("output", ["table", "jsonl"])
@pytest.mark.parametrize(("redirected", "status", "says"), [("> /dev/full", 3, "cannot write"), ("| true", 130, "")])
async def test_results_that_nobody_takes_end_the_command_in_order(zuora, asked, output, redirected, status, says):
    ended, err = await shell(zuora, [*asked("export"), "--format", output], redirected)
    assert ended == status, err
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [*EVERY, "submit", "download"])
async def test_help_has_an_example(run, command):
    ran = await run(command, "--help")
    assert ran.status == 0
    assert f"Example: zuora-jobs {command} " in ran.out
    assert "--journal" in ran.out
