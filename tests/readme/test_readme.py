"""Every code block of the README does what it says."""

import asyncio
import os
import re
import shlex
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

import zuora_jobs
from zuora_jobs import AQUA, ENVIRONMENTS, KINDS, SUBMITS, JobHandle, JobWatcher, ZuoraClient, emulator
from zuora_jobs.cli.jsonl import _DETAILS
from zuora_jobs.emulator import Step

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code for language, code in BLOCKS if language == "sh"]
WATCH, *PIPELINES, SERVICE, CADENCE, NIGHTLY, TELEMETRY, KIND, TEST = PYTHON
EXPORT, PDFS, INVOICES, CREDIT, OWN = PIPELINES
DEMO, TESTS, *READY, RESUME, TENANT = SHELL

DRAFT, WRONG = "2c92c8955bd63cc1015bd7c151af02ae", "2c92c8955bd63cc1015bd7c151af02af"
INVOICE, MEMO = "2c92c8955bd63cc1015bd7c151af02ad", "2c92c8955bd63cc1015bd7c151af02b0"


@pytest.fixture
async def tenant():
    """A tenant that has what the README asks for."""
    async with emulator.running() as zuora:
        zuora.add_job("aqua", id="e20b07474688ad5001468daf10e501de", ends="completed", seconds=0.2)
        zuora.add_job("aqua", id="e20b07474688ad5001468daf10e501df", ends="completed", seconds=1000)
        zuora.add_job("operation", id="2c92c8955bd63cc1015bd7c151af02ab", ends="Completed", seconds=0.2)
        zuora.add_job("bulk-pdf", id="2c92c8955bd63cc1015bd7c151af02ac", life=[Step("PartialComplete")])
        for invoice in (INVOICE, DRAFT, WRONG):
            zuora.add_invoice(invoice)
        zuora.add_credit_memo(MEMO)
        for name in SUBMITS:
            zuora.on_submit(name, seconds=0.2)
        yield zuora


@pytest.fixture
async def watcher(tenant):
    async with ZuoraClient(tenant.settings()) as client, JobWatcher(client) as watcher:
        yield watcher


def names_in(code) -> dict[str, Any]:
    scope: dict[str, Any] = {"__name__": "readme"}
    exec(code, scope)
    return scope


async def run(*command, environ, cwd):
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **environ},
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode()


def test_there_are_the_blocks_that_are_tested_here():
    assert {language for language, _ in BLOCKS} == {"python", "sh", "toml"}


@pytest.mark.parametrize(
    "code", [WATCH, CADENCE, NIGHTLY, TELEMETRY, KIND], ids=["watch", "cadence", "nightly", "telemetry", "kind"]
)
async def test_a_python_block_runs_as_it_stands(tenant, tmp_path, code):
    script = tmp_path / "block.py"
    script.write_text(code, encoding="utf-8")
    status, out = await run(sys.executable, "-W", "error", str(script), environ=tenant.environment(), cwd=tmp_path)
    assert status == 0, out
    if code is WATCH:
        assert "completed" in out
        assert "operation:2c92c8955bd63cc1015bd7c151af02ab succeeded" in out
        assert "bulk-pdf:2c92c8955bd63cc1015bd7c151af02ac succeeded" in out
        assert "cancelled" in out


async def test_the_block_that_is_a_test_passes_with_the_fixture(tmp_path):
    (tmp_path / "test_block.py").write_text(TEST, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\n"  # a project that has set nothing
    )
    status, out = await run(sys.executable, "-m", "pytest", "-q", environ={}, cwd=tmp_path)
    assert status == 0, out
    assert "1 passed" in out


async def test_the_shell_block_against_a_tenant_works_line_by_line(tenant, tmp_path):
    (tmp_path / "handles.txt").write_text("operation:2c92c8955bd63cc1015bd7c151af02ab\n")
    (tmp_path / "queries.json").write_text('{"queries": [{"name": "All", "query": "select Id from Account"}]}')
    lines = [line for line in TENANT.splitlines() if line.startswith("zuora-jobs")]
    assert len(lines) == 6
    for line in lines:
        program = [sys.executable, "-m", "zuora_jobs", *shlex.split(line)[1:]]
        status, out = await run(*program, environ=tenant.environment(), cwd=tmp_path)
        assert status == 0, f"{line}: {out}"


async def test_an_export_prints_whole_files(watcher, tmp_path, capsys):
    await names_in(EXPORT)["export_to"](str(tmp_path), watcher)
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split("-e20b")[0] for line in lines) == [f"{tmp_path}/Invoices", f"{tmp_path}/Payments"]
    assert all(line.endswith(" records") for line in lines)
    assert len(list(tmp_path.iterdir())) == 2


async def test_pdfs_come_as_zip_files_and_what_is_missing_is_told(watcher, tmp_path, capsys):
    await names_in(PDFS)["pdfs_of"]([INVOICE, "no invoice"], str(tmp_path), watcher)
    out = capsys.readouterr().out
    assert "january_1-" in out
    assert "without: ('no invoice',)" in out


async def test_invoices_are_gone_and_reversed(watcher, capsys):
    await names_in(INVOICES)["clean_up"]([DRAFT], [WRONG, "2c92c8955bd63cc1015bd7c151af0fff"], watcher)
    gone, *reversed_ones = capsys.readouterr().out.splitlines()
    assert gone == f"{DRAFT} is gone"
    assert f"{WRONG}: 0" in reversed_ones
    assert any("Cannot find entity" in line for line in reversed_ones)


async def test_credit_is_applied_and_the_balances_are_told(tenant, watcher, capsys):
    before = tenant.credit_memo(MEMO)["unappliedAmount"]
    await names_in(CREDIT)["credit"](MEMO, {INVOICE: "1.50"}, watcher)
    assert capsys.readouterr().out.startswith(f"{before - Decimal('1.50')} left;")


async def test_a_pipeline_of_ones_own_loads_files_and_tells_what_failed(watcher, tmp_path, capsys):
    handles = [AQUA.handle("e20b07474688ad5001468daf10e501de"), AQUA.handle("e20b07474688ad5001468daf10e50fff")]
    await names_in(OWN)["load_all"](handles, tmp_path, watcher)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.endswith(" rows") for line in lines) == 2
    assert sum("is lost" in line for line in lines) == 1


async def test_the_service_answers_when_the_job_has_ended(tenant, monkeypatch):
    for name, value in tenant.environment().items():
        monkeypatch.setenv(name, value)
    tenant.on_submit("invoice-reverse", ends="Failed", seconds=0.2, times=1)
    async with TestClient(TestServer(names_in(SERVICE)["application"]())) as browser:
        failed = await browser.post(f"/invoices/{WRONG}/reverse")
        assert (failed.status, (await failed.json())["reversed"]) == (409, False)
        done = await browser.post(f"/invoices/{WRONG}/reverse")
        assert (done.status, await done.json()) == (200, {"reversed": True})
        unknown = await browser.post("/invoices/2c92c8955bd63cc1015bd7c151af0fff/reverse")
        assert (unknown.status, (await unknown.json())["reversed"]) == (503, None)


@pytest.mark.parametrize("block", READY, ids=["export", "pdfs", "invoices", "credit"])
async def test_a_shell_block_of_a_ready_pipeline_works_line_by_line(tenant, tmp_path, block):
    for line in block.splitlines():
        program = [sys.executable, "-m", "zuora_jobs", *shlex.split(line)[1:]]
        status, out = await run(*program, environ=tenant.environment(), cwd=tmp_path)
        assert status == 0, f"{line}: {out}"


async def test_the_shell_block_about_resuming_works_line_by_line(tenant, tmp_path):
    (tmp_path / "handles.txt").write_text("operation:2c92c8955bd63cc1015bd7c151af02ab\n")
    for line in RESUME.splitlines():
        status, out = await run(
            sys.executable,
            "-m",
            "zuora_jobs",
            *shlex.split(line, comments=True)[1:],
            environ=tenant.environment(),
            cwd=tmp_path,
        )
        assert status == 0, f"{line}: {out}"
    assert "</html>" in (tmp_path / "report.html").read_text(encoding="utf-8")


async def test_the_nightly_run_stores_each_end_once_however_often_it_is_run(tenant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in tenant.environment().items():
        monkeypatch.setenv(name, value)
    scope = names_in(NIGHTLY)
    stored = []

    async def store(outcome):
        stored.append(str(outcome.handle))

    handles: list[JobHandle[Any]] = [
        JobHandle.parse("operation:2c92c8955bd63cc1015bd7c151af02ab"),
        JobHandle.parse("bulk-pdf:2c92c8955bd63cc1015bd7c151af02ac"),
    ]
    await scope["nightly"](handles, store)
    requests = len(tenant.requests)
    await scope["nightly"](handles, store)
    assert sorted(stored) == sorted(map(str, handles))
    assert len(tenant.requests) == requests


async def test_the_scenario_is_one(tmp_path):
    (scenario,) = (code for language, code in BLOCKS if language == "toml")
    (tmp_path / "night.toml").write_text(scenario)
    async with emulator.running(scenario=tmp_path / "night.toml") as zuora:
        assert repr(zuora).count("21 jobs") == 1


def test_the_two_commands_are_single_lines_that_set_up_everything():
    demo, tests = DEMO, TESTS
    assert demo.strip().count("\n") == tests.strip().count("\n") == 0
    assert demo.startswith("python3 -m venv .venv && ")
    assert demo.strip().endswith("zuora-jobs demo")
    assert "pytest" in tests


def test_the_table_of_kinds_is_the_table_of_kinds():
    def cell(words):
        return ", ".join(words)

    rows = [
        f"| `{kind.name}` | GET {kind.watch} | {cell(kind.pending + kind.running)} | {cell(kind.succeeded)} "
        f"| {cell(kind.partial)} | {cell(kind.failed)} | {cell(kind.cancelled)} "
        f"| {'DELETE ' + kind.cancel if kind.cancel else 'none'} |".replace("|  |", "| |").replace("|  |", "| |")
        for kind in KINDS.values()
    ]
    for row in rows:
        assert row in TEXT


def test_all_environments_and_all_events_are_named():
    assert ", ".join(f"`{name}`" for name in ENVIRONMENTS) + "." in TEXT
    for event in _DETAILS:
        assert f"`{event.name}`" in TEXT


def test_what_the_readme_points_to_is_there():
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", TEXT):
        root = Path(zuora_jobs.__file__).parents[1] if target.startswith("zuora_jobs/") else ROOT  # installed, perhaps
        assert (root / target).exists(), target
    assert "<svg" in (ROOT / ".images/live.svg").read_text(encoding="utf-8")
