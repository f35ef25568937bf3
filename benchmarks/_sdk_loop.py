"""The vendor's SDK in a loop, as a script, to be run with an interpreter that has `zuora-sdk`.

Its import takes some 15 seconds, so one process serves all storms. Each line of standard input is a storm:

    {"url": …, "client_id": …, "client_secret": …, "jobs": [[kind, id], …], "ends": [status, …], "seconds": …}

and each line of standard output, after a first one that says `"ready"`, what came of it: for each job the status it was seen to end with, the name of an
exception with an exclamation mark before it, or null where it was still being polled.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import redirect_stdout
from typing import Any

from zuora_sdk.zuora_client import ZuoraClient


def calls(client: ZuoraClient) -> dict[str, Any]:
    """Kind -> the SDK's method that gives such a job."""
    return {
        "operation": client.operations_api().get_operation_job,
        "bulk-pdf": client.operations_api().get_bulk_pdfto_zip_generation,
        "aqua": client.aggregate_queries_api().get_batch_query_job,
        "credit-memo-apply": client.credit_memos_api().get_apply_credit_memo_async_job,
    }


def watch(call: Any, job_id: str, ends: list[str]) -> str:
    """Ask every second until the job has ended."""
    while True:
        status = call(job_id).status
        word = str(getattr(status, "value", status))
        if word in ends:
            return word
        time.sleep(1)


def note(seen: dict[int, str], number: int, call: Any, job_id: str, ends: list[str]) -> None:
    """Watch one job, and write down what came of it."""
    try:
        seen[number] = watch(call, job_id, ends)
    except Exception as error:  # noqa: BLE001 - whatever it is, this job is lost
        seen[number] = f"!{type(error).__name__}"


def ride_out(plan: dict[str, Any]) -> list[str | None]:
    """Watch all jobs, a thread each, for so many seconds."""
    client = ZuoraClient(plan["client_id"], plan["client_secret"], env=None)
    client.set_base_url(plan["url"])
    client.initialize()
    call_of = calls(client)
    seen: dict[int, str] = {}
    until = time.perf_counter() + plan["seconds"]
    threads = [
        threading.Thread(target=note, args=(seen, number, call_of[kind], job_id, plan["ends"]), daemon=True)
        for number, (kind, job_id) in enumerate(plan["jobs"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.perf_counter()))
    return [seen.get(number) for number in range(len(threads))]


if __name__ == "__main__":
    answers = sys.stdout
    with redirect_stdout(sys.stderr):  # the SDK prints
        print(json.dumps("ready"), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(ride_out(json.loads(line))), file=answers, flush=True)
