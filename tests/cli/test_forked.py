"""The processes that all other tests start in place of `python -m zuora_jobs` differ from it in nothing that can be seen."""

import asyncio
import signal

import pytest


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["kinds"], None),
        (["watch"], None),
        (["watch", "--from", "-"], "nonsense"),
        (["submit", "aqua", "--help"], None),
    ],
)
async def test_a_fork_prints_what_the_command_prints_and_ends_as_it_does(run, arguments, stdin):
    plain, forked = await asyncio.gather(
        *(run(*arguments, stdin=stdin, imported_anew=anew, environ={"COLUMNS": "90"}) for anew in (True, False))
    )
    assert forked == plain
    assert forked.out or forked.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
async def test_a_signal_does_to_a_fork_what_it_does_to_the_command(zuora, start, number):
    ran = []
    for anew in (True, False):
        job = zuora.add_job("aqua", ends="completed", seconds=1000)
        command = await start(["watch", job.handle], zuora.environment(), imported_anew=anew)
        async with asyncio.timeout(20):
            while not job.polls:  # noqa: ASYNC110 - what it waits for is in another process
                await asyncio.sleep(0.02)
        command.process.send_signal(number)
        ended = await command.ended()
        asked = job.polls
        ran.append((ended.status, ended.out, job.handle in ended.err))
        await asyncio.sleep(0.6)  # twice a second it would be asked for
        assert job.polls == asked, "it is gone"
    assert ran[0] == ran[1]
