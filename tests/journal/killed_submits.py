"""Not a test: forks a process a line of its input, lets it submit with a journal, and kills it (-9) in the middle.

As `killed.py`, for submits. What it tells, a line each: `begun NAME KEY HANDLE`, `uncertain NAME KEY`.
"""

import asyncio
import os
from random import Random
from typing import Any

from killed import main  # type: ignore[import-not-found]  # which is beside this script

from zuora_jobs import (
    ApplyCreditMemo,
    Budget,
    DeleteInvoice,
    DocumentIds,
    InvoiceAmount,
    JobWatcher,
    Journal,
    Query,
    ReverseInvoice,
    RunQueries,
    Settings,
    SubmitUncertain,
    ZipPdfs,
    ZuoraClient,
)
from zuora_jobs.journal import writer

vars(writer)["PAUSE"] = 0.05  # so that a run is over soon, and is killed in more different places


def request_of(name: str, key: str) -> Any:
    """Make the request of that name which is about *key*, or named after it."""
    if name == "aqua":
        return RunQueries([Query("q", f"select Id from Invoice where Id = '{key}'")], name=key)
    if name == "bulk-pdf":
        return ZipPdfs(documents=[DocumentIds(doc_type="Invoice", object_ids=(key,))], file_name="zip")
    if name == "credit-memo-apply":
        return ApplyCreditMemo(key, [InvoiceAmount(invoice_number="INV00000001", amount=1)])
    return {"invoice-delete": DeleteInvoice, "invoice-reverse": ReverseInvoice}[name](key)


async def submit_all(order: dict[str, Any], told: int) -> None:
    """Submit each, some at a time, and tell what became of it; stay until killed if so ordered."""
    settings = Settings(base_url=order["url"], access_token=order["token"])
    places = asyncio.Semaphore(order["at_once"])
    async with (
        ZuoraClient(settings, Budget(rate=1e5, concurrency=100), rng=Random(1)) as client,
        JobWatcher(client, journal=Journal.open(order["journal"])) as watcher,
    ):

        async def one(name: str, key: str) -> None:
            async with places:
                try:
                    again = [name, key] in order["again"]
                    submitted = await watcher.submit(request_of(name, key), again=again)
                except SubmitUncertain:
                    os.write(told, f"uncertain {name} {key}\n".encode())
                else:
                    os.write(told, f"begun {name} {key} {submitted.handle}\n".encode())

        async with asyncio.TaskGroup() as group:
            for name, key in order["requests"]:
                group.create_task(one(name, key))


if __name__ == "__main__":
    main(submit_all)
