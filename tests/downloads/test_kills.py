"""kill -9, for real, in the middle of files: what was on the disk is not fetched again, and what comes of it is whole."""

import asyncio
import json
import re
import signal
import sys
from pathlib import Path
from random import Random

import pytest
from aiohttp import web

FILES = 3
ROWS = 60_000


@pytest.fixture
def contents(table):
    return {f"f{number}": table(ROWS, seed=number) for number in range(FILES)}


async def run(liar, into, kill_when=None):
    """Run it, and kill it as soon as *kill_when* is true; give what it printed, and how it ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("killed.py")),
        *(liar.url, str(into), str(FILES), str(ROWS)),
        stdout=asyncio.subprocess.PIPE,
    )
    while kill_when is not None and process.returncode is None:
        if kill_when():
            process.kill()
            break
        await asyncio.sleep(0.002)
    told, _ = await asyncio.wait_for(process.communicate(), 60)
    return told, process.returncode


async def test_however_often_it_is_killed_every_file_is_whole_and_no_byte_is_fetched_twice(
    liar, into, contents, names_in
):
    rng = Random(20261124)
    sent: list[tuple[str, int]] = []

    async def slowly(request: web.BaseRequest) -> web.StreamResponse:
        name = request.path.rpartition("/")[2]
        content = contents[name]
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        assert not asked or request.headers["If-Range"] == f'"{name}"'
        sent.append((name, start))
        response = web.StreamResponse(status=206 if start else 200, headers={"ETag": f'"{name}"'})
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        response.content_length = len(content) - start
        await response.prepare(request)
        for at in range(start, len(content), 50_000):
            await response.write(content[at : at + 50_000])
            await asyncio.sleep(0.01)
        return response

    liar.lies = [slowly] * 1000

    def on_disk() -> int:
        return sum(path.stat().st_size for path in into.glob("*")) if into.exists() else 0

    kills = 0
    size = sum(map(len, contents.values()))
    for _ in range(5):
        enough = on_disk() + rng.uniform(0.05, 0.15) * size
        parts = {path.name: path.stat().st_size for path in into.glob(".*.part")} if into.exists() else {}
        sent.clear()
        _, status = await run(liar, into, lambda enough=enough: on_disk() >= enough)
        assert status == -signal.SIGKILL
        kills += 1
        assert dict(sent).items() >= {
            (name, parts[f".b-{name}.csv.part"]) for name in contents if parts.get(f".b-{name}.csv.part")
        }
    assert kills == 5
    parts = {path.name: path.stat().st_size for path in into.glob(".*.part")}
    assert all(parts.values())
    sent.clear()
    told, status = await run(liar, into)
    assert (json.loads(told), status) == ([True] * FILES, 0)
    assert {f".b-{name}.csv.part": start for name, start in sent} == parts
    assert names_in(into) == {f"b-{name}.csv" for name in contents}
    for name, content in contents.items():
        assert (into / f"b-{name}.csv").read_bytes() == content
    sent.clear()
    told, status = await run(liar, into)
    assert (json.loads(told), status, sent) == ([False] * FILES, 0, [])


async def test_two_processes_at_once_do_not_mix_their_bytes(liar, into, contents, names_in):
    async def slowly(request: web.BaseRequest) -> web.StreamResponse:
        content = contents[request.path.rpartition("/")[2]]
        response = web.StreamResponse(headers={"ETag": '"one"'})
        response.content_length = len(content)
        await response.prepare(request)
        for at in range(0, len(content), 100_000):
            await response.write(content[at : at + 100_000])
            await asyncio.sleep(0.01)
        return response

    liar.lies = [slowly] * 1000
    ran = await asyncio.gather(run(liar, into), run(liar, into))
    fetched = [json.loads(told) for told, _ in ran]
    assert [sum(both) for both in zip(*fetched, strict=True)] == [1] * FILES
    assert len(liar.heard) == FILES
    assert names_in(into) == {f"b-{name}.csv" for name in contents}
    for name, content in contents.items():
        assert (into / f"b-{name}.csv").read_bytes() == content
