"""Segments of one query: each whole by itself, and together as many records as Zuora counted."""

import pytest

from zuora_jobs import AQUA, Downloaded, Downloader, WrongContent, ZuoraClient, emulator
from zuora_jobs.emulator import Job, Step

ROWS = "Account.Id\n1\n2\n"


def in_segments(zuora: emulator.Emulator, counted: int) -> Job:
    batch = {"name": "Accounts", "segments": ["first", "second"], "recordCount": counted, "status": "completed"}
    job = zuora.add_job("aqua", life=[Step("completed")], fields={"batches": [batch]})
    for segment in ("first", "second"):
        zuora.set_file(segment, ROWS)
    return job


@pytest.mark.parametrize(("counted", "is_told"), [(4, False), (5, True), (3, True)])
async def test_segments_hold_together_what_zuora_counted_or_that_is_told(tmp_path, counted, is_told):
    async with emulator.running() as zuora:
        job = in_segments(zuora, counted)
        async with ZuoraClient(zuora.settings()) as client:
            for _ in range(2):  # the second time they are there already
                async with Downloader(client, tmp_path) as downloader:
                    first, second, *told = await downloader.files_of(AQUA.handle(job.id))
                assert isinstance(first, Downloaded)
                assert isinstance(second, Downloaded)
                assert [type(one) for one in told] == [WrongContent] * is_told
                for error in told:
                    assert f"have 4 records together, and Zuora counted {counted}" in str(error)
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == [ROWS, ROWS]


async def test_of_segments_that_have_not_all_come_nothing_is_counted(tmp_path):
    async with emulator.running() as zuora:
        job = in_segments(zuora, 5)
        zuora.purge_files("second")
        async with ZuoraClient(zuora.settings()) as client, Downloader(client, tmp_path) as downloader:
            results = await downloader.files_of(AQUA.handle(job.id))
    assert [type(result).__name__ for result in results] == ["Downloaded", "FileGone"]
