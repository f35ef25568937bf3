"""The house in order: lint, types, who may import whom, and nothing at the top level that does not belong there."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.skipif(not (ROOT / "zuora_jobs").is_dir(), reason="tests of the installed wheel have no sources"),
    pytest.mark.unmeasured,
]


def run(*command):
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def tool(name):
    return str(Path(sys.executable).with_name(name))


def test_the_code_is_linted_and_formatted():
    run(tool("ruff"), "check")
    run(tool("ruff"), "format", "--check")


def test_the_types_hold():
    assert "no issues found" in run(tool("mypy"))


def test_nobody_imports_from_a_floor_above():
    assert "0 broken" in run(tool("lint-imports"))


def test_nothing_stands_at_the_top_level_that_does_not_belong_there():
    tracked = run("git", "ls-tree", "--name-only", "HEAD").split() if (ROOT / ".git").exists() else []
    visible = {name for name in tracked if not name.startswith(".")}
    assert visible <= {"CHANGELOG.md", "LICENSE", "README.md", "benchmarks", "pyproject.toml", "tests", "zuora_jobs"}


def test_every_file_fits_in_a_head():
    for path in (ROOT / "zuora_jobs").rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, path
