"""What all tests share."""

import asyncio
import inspect
from collections.abc import Iterator

import pytest


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
