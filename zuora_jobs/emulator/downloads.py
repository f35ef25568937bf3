"""How files are handed out, at both doors: whole, or from where a download broke off.

Range, If-Range, ETag and Last-Modified are as HTTP has them (RFC 9110, sections 8.8, 13 and 14).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from attrs import evolve

from zuora_jobs.emulator import archives, files, store
from zuora_jobs.emulator.contents import Content, etag_of, portion
from zuora_jobs.emulator.families import BULK_PDF
from zuora_jobs.emulator.replies import (
    CODE_NOT_FOUND,
    NOT_FOUND,
    PARTIAL_CONTENT,
    RANGE_NOT_SATISFIABLE,
    ZIP,
    Reply,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zuora_jobs.emulator.calls import Call
    from zuora_jobs.emulator.jobs import Job
    from zuora_jobs.emulator.tenant import Emulator


def result_file(zuora: Emulator, call: Call, file_id: str) -> Reply:
    """Answer with a result file of AQuA's.

    Wire: GET /v1/files/{fileId} -> the file; one that was purged is not found
    """
    found = zuora.stock.file(file_id)
    if found is None or zuora.shelf.purged(file_id):
        return refused(NOT_FOUND, str(CODE_NOT_FOUND), f"Cannot find entity by key: '{file_id}'.", **call.ids)
    job, batch, job_format = found
    name, content_type, make = files.batch_file(batch, job_format, file_id)
    content, modified = zuora.shelf.own(file_id) or (make(), job.begun)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    reply = Reply(body=content, headers=headers, content_type=content_type, handle=job.handle)
    return ranged(reply, content, modified, call.headers) if zuora.options.file_ranges else reply


def archive(zuora: Emulator, call: Call, job_id: str) -> Reply:
    """Answer with an archive of PDFs, if the URL is good for it.

    Wire: GET <presigned URL> -> the archive; refusals are XML
    """
    refusal = zuora.store.refusal(call.path, call.query, call.headers, zuora.clock.wall(zuora.clock.now()))
    if refusal is not None:
        return refusal
    name = call.path.rpartition("/")[2]
    job = zuora.stock.job(BULK_PDF, job_id)
    if job is None or name not in (names := archives.names_of(job_id, job.asked)):
        return store.no_such_key(call.path)
    place = job.places[names.index(name)]
    if zuora.shelf.purged(place):
        return evolve(store.no_such_key(call.path), handle=job.handle)
    own = zuora.shelf.own(place)
    content, modified = own or (_usual_archive(job, names.index(name) + 1), job.begun)
    return ranged(Reply(body=content, content_type=ZIP, handle=job.handle), content, modified, call.headers)


def _usual_archive(job: Job, number: int) -> bytes:
    failed = {one for part in job.document().get("failedDocuments", []) for one in part["objectIds"]}
    return archives.archive(job.id, number, job.asked, failed)


def ranged(reply: Reply, content: Content, modified: datetime, asked: Mapping[str, str]) -> Reply:
    """Serve the part of a file that `Range: bytes=N-` asks for, unless `If-Range` names another file."""
    validators = {
        "ETag": etag_of(content),
        "Last-Modified": format_datetime(modified.astimezone(UTC).replace(microsecond=0), usegmt=True),
    }
    headers = {**reply.headers, "Accept-Ranges": "bytes", **validators}
    part = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.get("Range", ""))
    if part is None or asked.get("If-Range", validators["ETag"]) not in validators.values():
        return evolve(reply, headers=headers)
    first, last = int(part[1]), min(int(part[2] or len(content) - 1), len(content) - 1)
    if first > last:
        headers["Content-Range"] = f"bytes */{len(content)}"
        return evolve(reply, status=RANGE_NOT_SATISFIABLE, body=b"", headers=headers)
    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    return evolve(reply, status=PARTIAL_CONTENT, body=portion(content, first, last + 1), headers=headers)
