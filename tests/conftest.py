"""What all tests share."""

import asyncio
import gc
import inspect
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
FORKED = Path(__file__).with_name("forked.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Do not measure what is `unmeasured`: tracing every line of a fleet of thousands costs three times the test itself.

    So coverage is a little less than it could be, and never more.
    """
    measuring = sys.modules["coverage"].Coverage.current() if "coverage" in sys.modules else None
    if measuring is None or item.get_closest_marker("unmeasured") is None:
        return (yield)
    measuring.stop()
    for_processes = os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    try:
        return (yield)
    finally:
        if for_processes is not None:
            os.environ["COVERAGE_PROCESS_CONFIG"] = for_processes
        measuring.start()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let who is ready early take from others what they have not begun, unless another way was asked for."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling  # type: ignore[import-untyped]

    return WorkStealingScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker is left alone with it, and keep together what shares much."""

    def place(item: pytest.Item) -> int:
        if item.path.parent.name == "vendor":  # whose one session takes ten seconds
            return 0
        return 1 if item.get_closest_marker("unmeasured") else 2

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Spare the collector what is there for good: every `gc.collect()` of a test would walk over it, for a tenth of a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def zuora_jobs_command() -> Iterator[tuple[str, ...]]:
    """What to run for `zuora-jobs` as a process of its own, without waiting each time until all is imported."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/commands")
        listening.listen()
        serve = [sys.executable, "-P", str(FORKED), "serve", str(listening.fileno())]
        with subprocess.Popen(serve, pass_fds=[listening.fileno()], stdin=subprocess.PIPE):  # until that is closed
            listening.close()  # should the server die, who connects is told so
            yield sys.executable, "-IS", str(FORKED), f"{folder}/commands"


@pytest.fixture
def benchmark_named(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import a module of the benchmarks, found as it finds its helpers: beside it; all are forgotten afterwards."""
    if not BENCHMARKS.is_dir():
        pytest.skip("tests of the installed wheel have no benchmarks")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def a_loop_to_be_found(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have a current loop in tests that are not async, and close it.

    The plugin for virtual time asks for the current loop around every test; before Python 3.14 that makes one where
    there is none, and nobody would close it.
    """
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield
        return
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()
