"""The pytest plugin: a fixture `zuora_emulator`, a fresh emulator on the test's own loop.

    async def test_my_integration(zuora_emulator):
        job = zuora_emulator.add_job("aqua", ends="completed", seconds=60)

- It imports nothing of the emulator before the fixture is used: pytest loads plugins in every run of every project.
- Where pytest-asyncio is missing the fixture still exists, and fails with what to do about it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from zuora_jobs.emulator.tenant import Emulator

if find_spec("pytest_asyncio") is not None:
    import pytest_asyncio

    @pytest_asyncio.fixture
    async def zuora_emulator() -> AsyncIterator[Emulator]:
        """A local Zuora on the test's own loop, gone after the test."""
        from zuora_jobs.emulator.server import running  # noqa: PLC0415 - see the rules above

        async with running() as zuora:
            yield zuora

else:

    @pytest.fixture
    def zuora_emulator() -> Emulator:
        """Fail with what is missing."""
        pytest.fail("the fixture zuora_emulator needs pytest-asyncio: pip install 'zuora_jobs[pytest]'", pytrace=False)
