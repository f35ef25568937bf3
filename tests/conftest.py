"""What all tests share."""

import asyncio
import inspect
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


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
