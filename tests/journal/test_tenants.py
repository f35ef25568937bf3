"""A journal is one tenant's: what was learnt of a sandbox is not told of production."""

import pytest
from attrs import evolve

from zuora_jobs import OPERATION, ConfigurationError, JobWatcher, Journal, Settings, ZuoraClient
from zuora_jobs.protocol.messages import Request, Response

pytestmark = pytest.mark.looptime

HANDLE = OPERATION.handle("a")
SANDBOX = Settings(base_url="https://rest.apisandbox.zuora.com", access_token="not-a-secret")
PRODUCTION = evolve(SANDBOX, base_url="https://rest.zuora.com")
EMULATOR = evolve(SANDBOX, base_url="http://127.0.0.1:8080")


@pytest.fixture
def run(path, inline):
    """Watch one job to its end; tell how often it was asked about."""

    async def run_once(settings):
        asked = 0

        async def send(_: Request) -> Response:
            nonlocal asked
            asked += 1
            return Response(200, {}, b'{"status": "Completed"}')

        async with (
            ZuoraClient(settings, send=send) as client,
            JobWatcher(client, journal=Journal.open(path, executor=inline)) as watcher,
        ):
            assert (await watcher.watch(HANDLE)).name == "succeeded"
        return asked

    return run_once


async def test_the_same_tenant_is_told_what_is_known(run):
    assert [await run(SANDBOX), await run(SANDBOX)] == [1, 0]


@pytest.mark.parametrize("other", [PRODUCTION, evolve(SANDBOX, entity_id="2c92c0f9")], ids=["host", "entity"])
async def test_another_tenant_is_refused_before_anything_is_sent_and_the_journal_can_be_used_again(run, other):
    await run(SANDBOX)
    with pytest.raises(ConfigurationError, match=r"has jobs of https://rest\.apisandbox.*a journal of its own"):
        await run(other)
    assert await run(SANDBOX) == 0


async def test_an_emulator_has_another_address_each_time(run):
    assert [await run(EMULATOR), await run(evolve(EMULATOR, base_url="http://127.0.0.1:8081"))] == [1, 0]
