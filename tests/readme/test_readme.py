"""Every code block of the README does what it says."""

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from zuora_jobs import ENVIRONMENTS, KINDS, JobHandle, emulator
from zuora_jobs.cli.jsonl import _DETAILS
from zuora_jobs.emulator import Step

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code for language, code in BLOCKS if language == "sh"]
WATCH, CADENCE, NIGHTLY, KIND, TEST = PYTHON
DEMO, TESTS, RESUME, TENANT = SHELL


@pytest.fixture
async def tenant():
    """A tenant that has what the README asks for."""
    async with emulator.running() as zuora:
        zuora.add_job("aqua", id="e20b07474688ad5001468daf10e501de", ends="completed", seconds=0.2)
        zuora.add_job("aqua", id="e20b07474688ad5001468daf10e501df", ends="completed", seconds=1000)
        zuora.add_job("operation", id="2c92c8955bd63cc1015bd7c151af02ab", ends="Completed", seconds=0.2)
        zuora.add_job("bulk-pdf", id="2c92c8955bd63cc1015bd7c151af02ac", life=[Step("PartialComplete")])
        zuora.add_invoice("2c92c8955bd63cc1015bd7c151af02ad")
        yield zuora


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


@pytest.mark.parametrize("code", [WATCH, CADENCE, NIGHTLY, KIND], ids=["watch", "cadence", "nightly", "kind"])
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
    lines = [line for line in TENANT.splitlines() if line.startswith("zuora-jobs")]
    assert len(lines) == 4
    for line in lines:
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
    scope: dict[str, Any] = {}
    exec(NIGHTLY, scope)
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
        assert (ROOT / target).exists(), target
    assert "<svg" in (ROOT / ".images/live.svg").read_text(encoding="utf-8")
