"""POST /v1/batch-query/: what an AQuA job may ask for, and how it is refused.

Sources: `zuora-sdk` models create_batch_query_job_request and create_batch_query_job_response
  https://docs.zuora.com/en/zuora-platform/data/aggregate-query-api-aqua/ (error codes, limits, modes)
- A body that cannot be read is refused flatly, `{success, code, message}`; one whose queries make no sense under HTTP
  200, `{status: "error", errorCode, message}` without an id. Both were seen live:
  https://github.com/Edrolo/airbyte-source-zuora (docs/superpowers/specs/2026-08-20-zuora-aqua-backend-design.md)
- How a bad format, a long name or a bad offset is refused is not documented; here, as a body that cannot be read.
- Both partner and project, and a version from 1.1 on, make a job stateful. Its load is full unless the job before it had
  the same queries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from zuora_jobs.emulator.aqua import only
from zuora_jobs.emulator.documents import BLANK_SEPARATED
from zuora_jobs.emulator.families import AQUA
from zuora_jobs.emulator.orders import Order, Refusal, read_json
from zuora_jobs.emulator.replies import CODE_BAD_VALUE, CODE_CONCURRENCY, CODE_MALFORMED, OK, Document, Reply

if TYPE_CHECKING:
    from zuora_jobs.emulator.calls import Call
    from zuora_jobs.emulator.jobs import Job
    from zuora_jobs.emulator.tenant import Emulator

MOST_QUERIES = 50
LONGEST_NAME = 32
NOTIFY_URL_BELOW = 5000
MOST_OFFSET = 3600
FORMATS = ("CSV", "ZIP", "GZIP")
ENCRYPTIONS = ("none", "pgp")
TYPES = ("zoql", "zoqlexport")
FIRST_STATEFUL = 1.1
ECHOED = ("name", "partner", "project", "offset", "useLastCompletedJobQueries")
"""What the job's document repeats, at every look."""
ECHOED_ONCE = ("notifyUrl", "incrementalTime")
"""What only the answer to the submit repeats."""
ANSWER_FIELDS = (
    "batches", "encrypted", "format", "id", "name", *ECHOED_ONCE, "offset", "partner", "project", "sourceData", "status",
    "localizedStatus", "useLastCompletedJobQueries", "version",
)  # fmt: skip
ANSWER_BATCH_FIELDS = (
    "apiVersion", "batchId", "batchType", "deleted", "full", "name", "query", "recordCount", "localizedStatus", "status",
)  # fmt: skip


def order_of_queries(zuora: Emulator, call: Call, _: str) -> Order:
    """An AQuA job."""
    body = _body(zuora, call)
    stateful = _stateful(body)
    pair = f"{body.get('partner')}/{body.get('project')}"
    queries = _queries(zuora, body, stateful=stateful, pair=pair)
    for valid, code, message in _rules(body, queries, stateful=stateful):
        if not valid:
            raise Refusal(Reply(body={"status": "error", "errorCode": str(code), "message": message}))
    _check_room(zuora, call, stateful=stateful)
    full = not stateful or _queries_before(zuora, pair) != queries
    fields = {name: body[name] for name in ECHOED if name in body}
    fields |= {
        "encrypted": str(body.get("encrypted", "none")).lower(),
        "format": str(body.get("format", "csv")).upper(),
        "sourceData": str(body.get("sourceData", "LIVE")).upper(),
        "version": str(body.get("version", "1.0")),
    }
    once = {name: body[name] for name in ECHOED_ONCE if name in body}
    return Order(
        body=body,
        fields=fields,
        asked={"batches": [_batch(query, full=full) for query in queries], "queries": queries, "pair": pair},
        answer=lambda job: only({**job.document(), **once}, ANSWER_FIELDS, ANSWER_BATCH_FIELDS),
        queue=pair if stateful else None,
    )


def _body(zuora: Emulator, call: Call) -> Document:
    try:
        body = read_json(call.body)
    except ValueError:
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("queries", []), list):
        raise _malformed(zuora, CODE_MALFORMED, "Oops, request is malformed. It must be a JSON object with queries.")
    for valid, what in (
        (str(body.get("format", "csv")).upper() in FORMATS, f"format must be one of {', '.join(FORMATS)}"),
        (str(body.get("encrypted", "none")).lower() in ENCRYPTIONS, f"encrypted must be {' or '.join(ENCRYPTIONS)}"),
        (len(str(body.get("name", ""))) <= LONGEST_NAME, f"name has more than {LONGEST_NAME} characters"),
        (_is_version(body.get("version", "1.0")), "version must be 1.0 or 1.1"),
        (_is_offset(body.get("offset", 0)), f"offset must be a whole number from 0 to {MOST_OFFSET}"),
        (all(isinstance(query, dict) for query in body.get("queries", [])), "queries must be objects"),
    ):
        if not valid:
            raise _malformed(zuora, int(CODE_BAD_VALUE), f"Oops, request is malformed: {what}.")
    return body


def _malformed(zuora: Emulator, code: int, message: str) -> Refusal:
    return Refusal(Reply(zuora.options.aqua_refusal_status, {"success": False, "code": code, "message": message}))


def _is_version(version: object) -> bool:
    return re.fullmatch(r"1\.\d", str(version)) is not None


def _is_offset(offset: object) -> bool:
    return isinstance(offset, int) and 0 <= offset <= MOST_OFFSET


def _stateful(body: Document) -> bool:
    return bool(body.get("partner") and body.get("project")) and float(body.get("version", "1.0")) >= FIRST_STATEFUL


def _queries(zuora: Emulator, body: Document, *, stateful: bool, pair: str) -> list[Document]:
    queries: list[Document] = body.get("queries", [])
    if stateful and body.get("useLastCompletedJobQueries"):
        mine = {query.get("name") for query in queries}
        return [
            *(query for query in _queries_before(zuora, pair, completed=True) if query.get("name") not in mine),
            *queries,
        ]
    return queries


def _queries_before(zuora: Emulator, pair: str, *, completed: bool = False) -> list[Document]:
    """The queries of the job before, of that partner and project; or of the last that completed."""
    jobs = [job for job in zuora.stock.of_family(AQUA) if job.asked.get("pair") == pair]
    return next((job.asked["queries"] for job in reversed(jobs) if not completed or job.status == AQUA.success), [])


def _rules(body: Document, queries: Sequence[Document], *, stateful: bool) -> list[tuple[bool, int, str]]:
    """What must hold, in this order; else a code of AQuA's, and why."""
    selects = [re.match(r"\s*select\s", str(query.get("query") or ""), re.IGNORECASE) for query in queries]
    deleted = any(query.get("deleted") for query in queries)
    return [
        (len(queries) <= MOST_QUERIES, 90004, f"There are more than {MOST_QUERIES} queries in the AQuA input"),
        (bool(queries), 90016, "There are no queries in the AQuA input"),
        (all(selects), 90005, "There is a syntax error in one of the queries in the AQuA input"),
        (all(query.get("type", TYPES[0]) in TYPES for query in queries), 90005, f"A type must be {' or '.join(TYPES)}"),
        (stateful or not deleted, 90012, "Retrieving a deleted column is not supported in stateless mode"),
        (
            len(str(body.get("notifyUrl", ""))) < NOTIFY_URL_BELOW,
            90014,
            "The notifyUrl must be less than 5000 characters",
        ),
        (_is_moment(body.get("incrementalTime")), 90015, "The incremental timestamp must be like 2026-01-05 09:00:00"),
    ]


def _is_moment(text: object) -> bool:
    if text is None:
        return True
    try:
        datetime.strptime(str(text), BLANK_SEPARATED)  # noqa: DTZ007 - checked, not used; it bears no zone
    except ValueError:
        return False
    return True


def _check_room(zuora: Emulator, call: Call, *, stateful: bool) -> None:
    limit = zuora.options.aqua_jobs_at_once
    if limit is None:
        return
    running = sum(not job.ended and is_stateful(job) == stateful for job in zuora.stock.of_family(AQUA))
    if running >= limit:
        mode = "stateful" if stateful else "stateless"
        message = f"The maximum number of concurrent AQuA jobs, {limit} {mode} ones, has been reached"
        reasons = [{"code": CODE_CONCURRENCY, "message": message}]
        raise Refusal(Reply(OK, {"success": False, **call.ids, "reasons": reasons}))


def is_stateful(job: Job) -> bool:
    """Whether a job is one of a partner's project."""
    document = job.document()
    return bool(document.get("partner") and document.get("project"))


_Reader = Callable[[Any], Any]
_TO_BATCH: Mapping[str, tuple[str, _Reader]] = {
    "name": ("name", str),
    "query": ("query", str),
    "type": ("batchType", str),
    "apiVersion": ("apiVersion", str),
    "deleted": ("deleted", dict),
}
"""A query's field -> the batch's, and what it is."""


def _batch(query: Document, *, full: bool) -> Document:
    said = {name: make(query[asked]) for asked, (name, make) in _TO_BATCH.items() if query.get(asked) is not None}
    return {"batchType": TYPES[0], "full": full, **said}
