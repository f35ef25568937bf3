"""The plugin as a user's project meets it: in a pytest of its own."""

import subprocess
import sys
import textwrap
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import zuora_jobs

ROOT = str(Path(zuora_jobs.__file__).parents[1])
TEST = """
    import asyncio, pytest

    @pytest.mark.looptime
    async def test_one(zuora_emulator, looptime):
        job = zuora_emulator.add_job("aqua", ends="completed", seconds=600)
        await asyncio.sleep(600)
        assert (job.status, job.ended_at) == ("completed", 600)

    async def test_another(zuora_emulator):
        assert zuora_emulator.jobs == []
"""


ASYNC = "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"


def run(tmp_path: Any, test: Any, *, before: Any = "", options: Any = (), ini: Any = ASYNC) -> Any:
    (tmp_path / "test_it.py").write_text(textwrap.dedent(test))
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{ini}")
    program = f"import sys; sys.path.insert(0, {ROOT!r}); {before}\nimport pytest; sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "-q", "-p", "no:cacheprovider", *options, str(tmp_path)]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)


BY_NAME = ("-p", "zuora_jobs.emulator.pytest_plugin")


@pytest.fixture
def plugin() -> Any:
    """Name the plugin where no installation does: from a tree that is only on the path."""
    installed = "zuora_jobs" in entry_points(group="pytest11").names
    return () if installed else BY_NAME


def test_the_fixture_is_a_fresh_emulator_on_the_tests_own_loop(tmp_path: Any, plugin: Any) -> None:
    result = run(tmp_path, TEST, options=plugin)
    assert "2 passed" in result.stdout, result.stdout


def test_it_costs_nothing_before_it_is_used(tmp_path: Any, plugin: Any) -> None:
    test = """
        import sys

        def test_it():
            assert "zuora_jobs.emulator.server" not in sys.modules
    """
    assert "1 passed" in run(tmp_path, test, options=plugin).stdout


def test_without_pytest_asyncio_it_says_what_to_do(tmp_path: Any, monkeypatch: Any) -> None:
    test = """
        def test_it(zuora_emulator):
            pass

        def test_other():
            pass
    """
    hide = (
        "from importlib import util; find_spec = util.find_spec; "
        "util.find_spec = lambda name: None if name == 'pytest_asyncio' else find_spec(name)"
    )
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = run(tmp_path, test, before=hide, options=BY_NAME, ini="")
    assert "pip install 'zuora_jobs[pytest]'" in result.stdout, result.stdout
    assert "1 passed, 1 error" in result.stdout
