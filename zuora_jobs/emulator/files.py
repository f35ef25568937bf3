"""Result files of AQuA: a table for each query, in the job's format, whole or in segments.

- A file is a pure function of its job, so it is the same at every download; nothing is stored. Its rows are as many as
  the batch's `recordCount` says; only `Emulator.set_file` makes it otherwise.
- Segments share the rows among them, and each has the header. They stand in place of `fileId`.
  https://docs.zuora.com/en/zuora-platform/data/aggregate-query-api-aqua/file-segmentation
"""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING, Any

from zuora_jobs.emulator.archives import zipped
from zuora_jobs.emulator.replies import CSV, ZIP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def files_of(batch: Mapping[str, Any]) -> list[str]:
    """The ids of a batch's files, in order."""
    if batch.get("segments"):
        return [str(segment) for segment in batch["segments"]]
    return [batch["fileId"]] if "fileId" in batch else []


def batch_file(batch: Mapping[str, Any], job_format: str, file_id: str) -> tuple[str, str, Callable[[], bytes]]:
    """A result file of a completed batch in its job's format: its name, its content type, and how to make its bytes."""
    segments = files_of(batch)
    stem = str(batch.get("name", "result"))
    if len(segments) > 1:
        stem += f"_{segments.index(file_id) + 1}"
    suffix, content_type, pack = _FORMATS.get(job_format.upper(), _FORMATS["CSV"])
    return f"{stem}.{suffix}", content_type, lambda: pack(stem, csv_of(batch, segments.index(file_id), len(segments)))


def csv_of(batch: Mapping[str, Any], part: int = 0, parts: int = 1) -> str:
    """A header of the query's columns, and of the rows, as many as `recordCount` says, the share of one of *parts*."""
    selected = re.match(r"\s*select\s+(.+?)\s+from\s", str(batch.get("query", "")), re.IGNORECASE | re.DOTALL)
    columns = [column.strip() for column in selected[1].split(",")] if selected else ["Id"]
    name, count = batch.get("name", "Row"), int(batch["recordCount"])
    numbers = range(part * count // parts + 1, (part + 1) * count // parts + 1)
    rows = (",".join(f"{column}-{number}" for column in columns) for number in numbers)
    return "\n".join([",".join(f"{name}.{column}" for column in columns), *rows]) + "\n"


_FORMATS: Mapping[str, tuple[str, str, Callable[[str, str], bytes]]] = {
    "CSV": ("csv", CSV, lambda _stem, text: text.encode()),
    "GZIP": ("csv.gz", "application/gzip", lambda _stem, text: gzip.compress(text.encode(), mtime=0)),
    "ZIP": ("zip", ZIP, lambda stem, text: zipped({f"{stem}.csv": text})),
}
