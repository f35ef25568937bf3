"""The command line's contract: exit statuses, JSON lines, sentences."""

import asyncio
import json
import os
import shlex
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from zuora_jobs import KINDS
from zuora_jobs.emulator import Fault, Step
from zuora_jobs.emulator.effects import Answer, Delay

SAMPLES = Path(__file__).parents[1] / "samples"


def handles_of(*jobs):
    return [job.handle for job in jobs]


# --- watch


async def test_when_every_job_succeeds_the_status_is_0(zuora, run):
    jobs = [
        zuora.add_job("operation", ends="Completed", polls=1),
        zuora.add_job("bulk-pdf", ends="PartialComplete", polls=1),
        zuora.add_job("aqua", ends="completed", seconds=0),
        zuora.add_job("credit-memo-apply", ends="Processed", seconds=0),
    ]
    ran = await run("watch", *handles_of(*jobs), "--format", "jsonl", environ=zuora.environment())
    assert ran.status == 0, ran.err
    finished = {event["handle"]: event for event in ran.of("finished")}
    assert len(ran.of("finished")) == 4
    for job in jobs:
        event = finished[job.handle]
        assert event["job"] == json.loads(json.dumps(job.document()))
        assert (event["kind"], event["id"], event["outcome"]) == (job.kind, job.id, "succeeded")
        assert event["partial"] == (job.kind == "bulk-pdf")
        assert (event["reasons"], event["error"]) == ([], None)
        assert event["polls"] == job.polls
        assert event["elapsed"] >= 0
        assert event["at"].endswith("+00:00")
    observed = [event for event in ran.of("observed") if event["handle"] == jobs[0].handle]
    assert observed[0]["phase"] in {"pending", "running"}
    assert observed[-1] | {"at": ""} == {
        "event": "observed",
        "at": "",
        "handle": jobs[0].handle,
        "kind": "operation",
        "id": jobs[0].id,
        "status": "Completed",
        "phase": "succeeded",
        "polls": jobs[0].polls,
    }


@pytest.mark.parametrize(
    ("kind", "end", "outcome", "reason"),
    [
        ("operation", "Failed", "failed", "code"),
        ("bulk-pdf", "Aborted", "failed", "message"),
        ("bulk-pdf", "Cancelled", "cancelled", None),
        ("aqua", "aborted", "failed", "message"),
        ("credit-memo-apply", "Error", "failed", "message"),
    ],
)
async def test_when_some_job_failed_or_was_cancelled_the_status_is_1(zuora, run, kind, end, outcome, reason):
    good = zuora.add_job("operation", ends="Completed", seconds=0)
    bad = zuora.add_job(kind, life=[Step(end)])
    ran = await run("watch", bad.handle, good.handle, "--format", "jsonl", environ=zuora.environment())
    assert ran.status == 1
    [event] = [event for event in ran.of("finished") if event["handle"] == bad.handle]
    assert (event["outcome"], event["status"], event["partial"], event["error"]) == (outcome, end, False, None)
    if reason:
        assert event["reasons"][0][reason]


async def test_when_some_job_was_lost_the_status_is_3_even_if_another_failed(zuora, run):
    bad = zuora.add_job("operation", ends="Failed", seconds=0)
    ran = await run("watch", "aqua:nobody", bad.handle, "--format", "jsonl", environ=zuora.environment())
    assert ran.status == 3
    [lost] = [event for event in ran.of("finished") if event["outcome"] == "lost"]
    assert lost["error"]["type"] == "NotFound"
    assert "90002" in lost["error"]["message"]
    assert (lost["job"], lost["status"], lost["polls"]) == (None, None, 0)


async def test_a_timeout_is_lost_with_the_last_document(zuora, run):
    job = zuora.add_job("aqua", ends="completed", seconds=1000)
    ran = await run("watch", job.handle, "--timeout", "0.5", "--format", "jsonl", environ=zuora.environment())
    assert ran.status == 3
    [lost] = ran.of("finished")
    assert lost["error"]["type"] == "WatchTimedOut"
    assert lost["job"]["id"] == job.id


@pytest.mark.parametrize("sample", ["operation", "bulk-pdf", "aqua-cancelled", "credit-memo-apply"])
async def test_the_vendors_sample_documents_come_out_as_they_went_in(zuora, run, sample):
    document = json.loads((SAMPLES / f"{sample}.json").read_text())
    document["aFieldOfNextYear"] = {"deep": [1, 2.5, None, "ü", {"x": False}]}
    kind = sample.removesuffix("-cancelled")
    identifier = zuora.add_document(kind, document)
    ran = await run("watch", f"{kind}:{identifier}", "--format", "jsonl", environ=zuora.environment())
    [event] = ran.of("finished")
    assert event["job"] == document
    assert list(event["job"]) == list(document)


async def test_handles_come_from_a_file_and_from_standard_input(zuora, run, tmp_path):
    first, second = zuora.add_jobs("operation", 2, ends="Completed", seconds=0)
    listed = tmp_path / "handles"
    listed.write_text(f"# two jobs\n{first.handle}\n\n  {second.handle}  \n{first.handle}\n")
    from_file = await run("watch", "--from", str(listed), "--format", "jsonl", environ=zuora.environment())
    from_stdin = await run(
        "watch", "--from", "-", "--format", "jsonl", environ=zuora.environment(), stdin=listed.read_text()
    )
    assert from_file.status == from_stdin.status == 0
    assert len(from_file.of("finished")) == len(from_stdin.of("finished")) == 2


async def test_the_table_names_each_job_its_outcome_and_why(zuora, run):
    good = zuora.add_job("aqua", ends="completed", seconds=0)
    bad = zuora.add_job("credit-memo-apply", ends="Error", seconds=0)
    ran = await run("watch", good.handle, bad.handle, "operation:nobody", environ=zuora.environment())
    assert ran.status == 3
    lines = {line.split()[0]: line for line in ran.out.splitlines() if ":" in line}
    assert "succeeded" in lines[good.handle]
    assert "completed" in lines[good.handle]
    assert "file" in lines[good.handle]
    assert bad.document()["error"] in lines[bad.handle]
    assert "NotFound" in lines["operation:nobody"]
    assert "3 jobs: 1 succeeded, 1 failed, 1 lost" in ran.err


async def test_the_rate_is_obeyed(zuora, run):
    jobs = zuora.add_jobs("operation", 6, ends="Completed", seconds=0)
    ran = await run("watch", *handles_of(*jobs), "--rate", "2", environ=zuora.environment())
    assert ran.status == 0
    looks = [record.at for record in zuora.requests if record.handle]
    assert len(looks) == 6
    assert looks[-1] - looks[0] >= 0.93 * 5 / 2  # the first may have been long on its way


async def test_the_number_at_once_is_obeyed(zuora, run):
    jobs = zuora.add_jobs("operation", 6, ends="Completed", seconds=0)
    zuora.fault(Fault(Delay(0.2), path="operations"))
    ran = await run("watch", *handles_of(*jobs), "--concurrency", "2", environ=zuora.environment())
    assert ran.status == 0
    looks = [record.at for record in zuora.requests if record.handle]
    assert len(looks) == 6
    assert all(third - first >= 0.2 for first, third in zip(looks, looks[2:], strict=False))


async def test_throttling_is_a_line_of_its_own(zuora, run):
    job = zuora.add_job("operation", ends="Completed", seconds=0)
    zuora.fault(
        Fault(
            Answer(429, {"reasons": [{"code": 70, "message": "limit"}]}, headers={"Retry-After": "1"}),
            times=1,
            path="operations",
        )
    )
    ran = await run("watch", job.handle, "--format", "jsonl", environ=zuora.environment())
    assert ran.status == 0
    assert [event["seconds"] for event in ran.of("throttled")] == [1]
    assert [event["error"]["type"] for event in ran.of("retrying")] == ["RateLimited"]


# --- interruption


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what it waits for is in another process
            await asyncio.sleep(0.02)


async def test_an_interrupt_says_what_was_running_and_how_to_watch_it_again(zuora, start):
    done = zuora.add_job("operation", ends="Completed", seconds=0)
    running = zuora.add_jobs("aqua", 2, ends="completed", seconds=1000)
    command = await start(["watch", *handles_of(done, *running), "--format", "jsonl"], zuora.environment())
    await until(lambda: all(job.polls for job in [done, *running]))
    await asyncio.sleep(0.2)
    command.interrupt()
    ran = await command.ended()
    assert ran.status == 130
    assert [event["handle"] for event in ran.of("finished")] == [done.handle]
    assert "of 3 jobs 2 had not ended" in ran.err
    assert f"zuora-jobs watch {running[0].handle} {running[1].handle}" in ran.err
    assert "Traceback" not in ran.err
    assert not any(record.method == "DELETE" for record in zuora.requests)


async def test_an_interrupt_may_cancel_what_can_be_cancelled(zuora, start):
    aqua = zuora.add_job("aqua", ends="completed", seconds=1000)
    stays = zuora.add_job("operation", ends="Completed", seconds=1000)
    command = await start(
        ["watch", aqua.handle, stays.handle, "--cancel-on-interrupt", "--format", "jsonl"], zuora.environment()
    )
    await until(lambda: aqua.polls and stays.polls)
    command.interrupt()
    ran = await command.ended()
    assert ran.status == 130
    assert aqua.status == "cancelled"
    assert [(event["handle"], event["outcome"]) for event in ran.of("finished")] == [(aqua.handle, "cancelled")]
    assert stays.handle in ran.err
    assert "of 2 jobs 1 had not ended" in ran.err


async def test_a_second_interrupt_does_not_wait_for_the_cancelling(zuora, start):
    aqua = zuora.add_job("aqua", ends="completed", seconds=1000)
    zuora.fault(Fault("hang", method="DELETE"))
    command = await start(["watch", aqua.handle, "--cancel-on-interrupt"], zuora.environment())
    await until(lambda: aqua.polls)
    command.interrupt()
    await until(lambda: any(record.method == "DELETE" for record in zuora.requests))
    command.interrupt()
    ran = await command.ended()
    assert ran.status == 130
    assert "Traceback" not in ran.err


async def test_a_reader_who_goes_away_ends_the_command_quietly(zuora, start):
    jobs = zuora.add_jobs("operation", 3, polls=3, ends="Completed")
    command = await start(["watch", *handles_of(*jobs), "--format", "jsonl"], zuora.environment())
    await command.process.stdout.readline()
    command.process.stdout._transport.close()
    assert await asyncio.wait_for(command.process.wait(), 20) == 130
    assert b"Traceback" not in await command.process.stderr.read()


# --- cancel


async def test_cancel_ends_with_0_when_every_job_was_cancelled(zuora, run):
    jobs = zuora.add_jobs("aqua", 2, ends="completed", seconds=1000)
    ran = await run("cancel", *handles_of(*jobs), "--format", "jsonl", environ=zuora.environment())
    assert ran.status == 0, ran.err
    assert {event["outcome"] for event in ran.of("finished")} == {"cancelled"}
    assert [record.method for record in zuora.requests].count("DELETE") == 2


async def test_cancel_ends_with_1_when_a_job_had_ended_another_way(zuora, run):
    running, ended = (
        zuora.add_job("aqua", ends="completed", seconds=1000),
        zuora.add_job("aqua", life=[Step("completed")]),
    )
    ran = await run("cancel", running.handle, ended.handle, environ=zuora.environment())
    assert ran.status == 1
    assert "succeeded" in ran.out
    assert "cancelled" in ran.out


async def test_cancel_ends_with_3_when_nobody_can_tell(zuora, run):
    zuora.fault(Fault(Answer(403, {"code": 90009, "message": "not yours"}), method="DELETE"))
    job = zuora.add_job("aqua", ends="completed", seconds=1000)
    ran = await run("cancel", job.handle, "--format", "jsonl", environ=zuora.environment())
    assert ran.status == 3
    assert ran.of("finished")[0]["error"]["type"] == "Forbidden"


async def test_cancel_of_a_kind_without_a_way_to_is_refused_before_any_request(zuora, run):
    job, other = zuora.add_job("operation"), zuora.add_job("aqua")
    ran = await run("cancel", other.handle, job.handle, environ=zuora.environment())
    assert (ran.status, ran.out) == (2, "")
    assert "Zuora offers no way to cancel" in ran.err
    assert not zuora.requests


# --- the rest


async def test_an_invoice_is_printed_to_the_last_digit(zuora, run):
    invoice = zuora.add_invoice(Amount=Decimal("0.1"), Balance=Decimal("12345678901234567.89"), Colour__c="red")
    ran = await run("invoice", invoice, environ=zuora.environment())
    assert ran.status == 0
    printed = json.loads(ran.out, parse_float=Decimal)
    assert (printed["Amount"], printed["Balance"]) == (Decimal("0.1"), Decimal("12345678901234567.89"))
    assert printed["Colour__c"] == "red"


async def test_only_the_fields_that_were_asked_for_are_fetched(zuora, run):
    invoice = zuora.add_invoice()
    ran = await run("invoice", invoice, "--fields", "Id, Balance", environ=zuora.environment())
    assert set(json.loads(ran.out)) == {"Id", "Balance"}
    assert zuora.requests[-1].query["fields"] == "Id,Balance"


async def test_an_invoice_that_is_not_there_is_a_sentence_and_status_1(zuora, run):
    ran = await run("invoice", "nobody", environ=zuora.environment())
    assert (ran.status, ran.out) == (1, "")
    assert "no such object" in ran.err
    assert "Traceback" not in ran.err


async def test_the_table_of_kinds_is_printed(run):
    ran = await run("kinds")
    assert ran.status == 0
    for kind in KINDS.values():
        [line] = [line for line in ran.out.splitlines() if line.split()[:1] == [kind.name]]
        for word in (*kind.pending, *kind.running, *kind.succeeded, *kind.partial, *kind.failed, *kind.cancelled):
            assert word in line
        assert kind.watch in line


async def test_the_demo_runs_to_its_end(run):
    ran = await run("demo")
    assert ran.status == 0, ran.err
    for word in (
        "operation:",
        "bulk-pdf:",
        "aqua:",
        "credit-memo-apply:",
        "cancelled",
        "PartialComplete",
        "invoice: {",
        "fetched, and found whole: 16 files\n",
        "Invoices-",
        "Payments-",
        " records\n",
    ):
        assert word in ran.out
    assert "was cancelled" in ran.err


async def test_an_emulator_of_ones_own_can_be_watched(start, run, tmp_path):
    scenario = tmp_path / "scenario.json"
    scenario.write_text(
        json.dumps(
            {
                "jobs": [
                    {
                        "kind": "aqua",
                        "id": "mine",
                        "life": [{"status": "executing", "seconds": 0.3}, {"status": "completed"}],
                    }
                ]
            }
        )
    )
    command = await start(["emulate", "--scenario", str(scenario)])
    lines = [(await command.process.stdout.readline()).decode() for _ in range(5)]
    environ = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines if line.startswith("export"))
    ran = await run("watch", "aqua:mine", "--format", "jsonl", environ=environ)
    assert ran.status == 0
    assert "zuora-jobs watch aqua:mine" in lines[4]
    command.interrupt()
    assert (await command.ended()).status == 130


async def test_logging_at_debug_goes_to_stderr_and_holds_no_secret(zuora, run):
    job = zuora.add_job("bulk-pdf", ends="Completed", seconds=0)
    ran = await run("watch", job.handle, "-vv", environ=zuora.environment())
    assert ran.status == 0
    assert f"GET /v1/operations/bulk-pdf/{job.id}: HTTP 200" in ran.err
    secrets = [zuora.environment()["ZUORA_CLIENT_SECRET"], "X-Amz-Signature", "Bearer ", *zuora.tokens._expiry]
    for secret in secrets:
        assert secret not in ran.err + ran.out


@pytest.mark.parametrize("command", [[], ["watch"], ["cancel"], ["invoice"], ["kinds"], ["emulate"], ["demo"]])
async def test_help_has_an_example(run, command):
    ran = await run(*command, "--help")
    assert ran.status == 0
    assert "Example: zuora-jobs" in ran.out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("output", ["jsonl", "table"])
async def test_results_that_cannot_be_written_are_a_sentence_and_told_by_the_next_run(zuora, run, tmp_path, output):
    job = zuora.add_job("operation", ends="Completed", seconds=0 if output == "table" else 1000)
    arguments = ["watch", job.handle, "--format", output, "--journal", str(tmp_path / "run.db")]
    command = shlex.join([sys.executable, "-m", "zuora_jobs", *arguments])
    process = await asyncio.create_subprocess_shell(
        f"{command} > /dev/full", stderr=asyncio.subprocess.PIPE, env={**os.environ, **zuora.environment()}
    )
    _, err = await process.communicate()
    assert process.returncode == 3
    assert "cannot write the results: No space left on device" in err.decode()
    assert "Traceback" not in err.decode()
    job.become("Completed")
    ran = await run("watch", "--format", "jsonl", *arguments[4:], environ=zuora.environment())
    # the table is all that was to be written; of the lines the first was that it is still running
    assert [(end["handle"], end["from_journal"]) for end in ran.of("finished")] == [(job.handle, output == "table")]


async def test_a_journal_without_jobs_is_nothing_to_go_on_from(zuora, run, tmp_path):
    (tmp_path / "run.db").touch()
    ran = await run("watch", "--journal", str(tmp_path / "run.db"), environ=zuora.environment())
    assert (ran.status, ran.out) == (2, "")
    assert "has no jobs yet: give their handles as well" in ran.err
    assert zuora.requests == []


async def test_a_stdout_that_is_closed_is_said_before_anything_is_sent(zuora):
    command = shlex.join([sys.executable, "-m", "zuora_jobs", "watch", "aqua:1"])
    process = await asyncio.create_subprocess_shell(
        f"{command} >&-", stderr=asyncio.subprocess.PIPE, env={**os.environ, **zuora.environment()}
    )
    _, err = await process.communicate()
    assert (process.returncode, err.decode()) == (2, "zuora-jobs: there is no stdout to write to: it was closed\n")
    assert zuora.requests == []
