"""The vendor's SDK, which blocks: a thread for each job."""

import threading
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from _cost_work import ENDS, HEADERS, Work
from zuora_sdk.api.operations_api import OperationsApi
from zuora_sdk.api_client import ApiClient
from zuora_sdk.configuration import Configuration


class Threads:
    """A thread for each job."""

    def __init__(self, api: OperationsApi, interval: float) -> None:
        self._api = api
        self._interval = interval
        self._threads: list[threading.Thread] = []

    def start(self, jobs: Iterable[str]) -> None:
        """Watch these too."""
        for job in jobs:
            self._threads.append(threading.Thread(target=self._watch, args=(job,), daemon=True))
            self._threads[-1].start()

    def _watch(self, job: str) -> None:
        while self._api.get_operation_job(job_id=job).status not in ENDS:
            time.sleep(self._interval)

    def taken(self) -> int:
        """Tell how many jobs are being watched."""
        return len(self._threads)

    def check(self) -> None:
        """Raise where a watch has ended; why, its thread has printed."""
        if not all(thread.is_alive() for thread in self._threads):
            message = "a job that never ends has ended"
            raise AssertionError(message)


@asynccontextmanager
async def threads(work: Work) -> AsyncIterator[Threads]:
    """Ask through the SDK, look at the status, sleep: it has no way to wait for a job."""
    configuration = Configuration(host=work.base_url)
    configuration.connection_pool_maxsize = work.at_once
    client = ApiClient(configuration)
    for name, value in HEADERS.items():
        client.set_default_header(name, value)
    yield Threads(OperationsApi(client), work.pause)
