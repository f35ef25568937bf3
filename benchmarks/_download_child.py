"""One download in a process of its own, so that its memory can be told: prints its seconds.

python _download_child.py WAY URL FOLDER RECORDS
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from zuora_jobs import AQUA, ResultFile, Settings, ZuoraClient
from zuora_jobs.downloads import Downloader

HANDLE = AQUA.handle("2c92c8fd8e4b2a1c018e4b3f4a5d0001")


def file_of(way: str, url: str, records: int) -> ResultFile:
    """Name the file in one of three ways."""
    if way == "presigned":
        return ResultFile(name="archive", url=f"{url}/archive.zip?X-Amz-Signature=none")
    if way == "counted":
        return ResultFile(name="table", file_id="f1", suffix=".csv", records=records)
    return ResultFile(name="table", file_id="f1")


async def download(way: str, url: str, folder: Path, records: int) -> float:
    """Download into *folder*; give the seconds."""
    settings = Settings(base_url=url, access_token="not-a-secret")
    async with ZuoraClient(settings) as client, Downloader(client, folder) as downloader:
        began = time.perf_counter()
        await downloader.file(HANDLE, file_of(way, url, records))
        return time.perf_counter() - began


if __name__ == "__main__":
    print(asyncio.run(download(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
