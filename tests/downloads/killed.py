"""Not a test: downloads the files of one job, f0 f1 f2 …, until it is done or killed. Prints what was fetched."""

import asyncio
import json
import sys
from pathlib import Path

from zuora_jobs import AQUA, AquaBatch, AquaJob, Settings, ZuoraClient
from zuora_jobs.downloads import Downloaded, Downloader


async def main(url: str, into: str, files: int, records: int) -> None:
    """Download."""
    batches = tuple(AquaBatch(name="../b", file_id=f"f{number}", record_count=records) for number in range(files))
    settings = Settings(base_url=url, access_token="not-a-secret")
    async with ZuoraClient(settings) as client, Downloader(client, Path(into), concurrency=files) as downloader:
        results = await downloader.files_of((AQUA.handle("a"), AquaJob(status="completed", batches=batches)))
    told = [result.fetched if isinstance(result, Downloaded) else str(result) for result in results]
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
