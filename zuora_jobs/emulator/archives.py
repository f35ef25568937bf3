"""The archives of a bulk PDF job: PDFs and their index, a pure function of the job.

Source: https://developer.zuora.com/v1-api-reference/api/operation/Get_BulkPDFToZIPGeneration/ : an archive is called
`<fileName>_<number>.zip`; a job that no request made, but a script, has the file name `invoices`.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MOST = 3
STEM = "invoices"


def count_of(job_id: str, asked: Mapping[str, Any]) -> int:
    """How many archives a job fills: one to three, and none of them empty."""
    drawn = 1 + int(hashlib.sha256(job_id.encode()).hexdigest()[0], 16) % MOST
    return min(drawn, len(asked["numbers"])) if "numbers" in asked else drawn


def names_of(job_id: str, asked: Mapping[str, Any]) -> list[str]:
    """The names of a job's archives."""
    return [f"{asked.get('fileName', STEM)}_{number}.zip" for number in range(1, count_of(job_id, asked) + 1)]


def places_of(handle: str, job_id: str, asked: Mapping[str, Any]) -> list[str]:
    """Where on the shelf a job's archives are."""
    return [f"{handle}/{number}" for number in range(1, count_of(job_id, asked) + 1)]


def archive(job_id: str, number: int, asked: Mapping[str, Any], without: Collection[str] = ()) -> bytes:
    """The archive of that number.

    Args:
        job_id: Whose.
        number: From 1.
        asked: What the request for the job asked for; `numbers` are the documents' numbers by their ids.
        without: The ids of documents that failed.
    """
    documents = _share(job_id, number, asked, without) if "numbers" in asked else _drawn(job_id, number)
    members = {f"{document}.pdf": f"%PDF-1.4\n% {document}\n%%EOF\n" for document in documents}
    if not asked.get("persistIndexFile", True):
        return zipped(members)
    return zipped({**_INDEXES[asked.get("indexFileFormat", "CSV")](documents), **members})


def _share(job_id: str, number: int, asked: Mapping[str, Any], without: Collection[str]) -> list[str]:
    mine = list(asked["numbers"].items())[number - 1 :: count_of(job_id, asked)]
    return [document for document_id, document in mine if document_id not in without]


def _drawn(job_id: str, number: int) -> list[str]:
    rng = random.Random(f"{job_id}/{number}")  # noqa: S311 - plausible, not secret
    return [f"INV{rng.randrange(10**8):08d}" for _ in range(rng.randint(2, 5))]


def _csv_index(documents: list[str]) -> dict[str, str]:
    rows = "".join(f"{document},{document}.pdf\n" for document in documents)
    return {"index.csv": f"DocumentNumber,FileName\n{rows}"}


def _json_index(documents: list[str]) -> dict[str, str]:
    return {"index.json": json.dumps([{"DocumentNumber": number, "FileName": f"{number}.pdf"} for number in documents])}


_INDEXES = {"CSV": _csv_index, "JSON": _json_index}


def zipped(members: Mapping[str, str]) -> bytes:
    """An archive of *members*, the same bytes for the same members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, text in members.items():
            opened.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()
