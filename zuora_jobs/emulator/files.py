"""Result files: CSV of an AQuA batch, ZIP of PDFs behind a presigned URL.

- A file is a pure function of its job, so it is the same at every download; nothing is stored.
- A presigned URL carries its own authority: signature and expiry are checked, and a bearer token is refused, as the
  store of the real thing does. https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import re
import zipfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from zuora_jobs.emulator.replies import CSV, ZIP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STORE = "/billing-file-repository/bulk-pdf-generation"
LIFETIME = 259_199
"""Seconds a presigned URL is good for, as in the vendor's sample: a second less than three days."""
AMZ_DATE = "%Y%m%dT%H%M%SZ"
MOST_ZIPS = 3


def zips_of(job_id: str) -> int:
    """How many archives a bulk PDF job fills: one to three."""
    return 1 + int(hashlib.sha256(job_id.encode()).hexdigest()[0], 16) % MOST_ZIPS


def presigned_urls(base_url: str, job_id: str, signed_at: datetime) -> list[str]:
    """The download URLs of a bulk PDF job that completed at *signed_at*."""
    return [
        f"{base_url}{path}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={signed_at.strftime(AMZ_DATE)}"
        f"&X-Amz-SignedHeaders=host&X-Amz-Expires={LIFETIME}"
        f"&X-Amz-Credential=fakeEmulatorKey%2F{signed_at:%Y%m%d}%2Fus-west-2%2Fs3%2Faws4_request"
        f"&X-Amz-Signature={signature(path, signed_at.strftime(AMZ_DATE))}"
        for path in (f"{STORE}/{job_id}/invoices-{number}.zip" for number in range(1, zips_of(job_id) + 1))
    ]


def signature(path: str, date: str) -> str:
    """The signature of *path* at *date*. It keeps nobody out; it lets a test notice a mangled URL."""
    return hashlib.sha256(f"emulator {path} {date} {LIFETIME}".encode()).hexdigest()


def refusal_of_url(path: str, query: Mapping[str, str], now: datetime) -> str | None:
    """Why the store does not serve this URL *now*, or None if it does."""
    date = query.get("X-Amz-Date", "")
    if query.get("X-Amz-Signature") != signature(path, date) or query.get("X-Amz-Expires") != str(LIFETIME):
        return "The request signature we calculated does not match the signature you provided."
    signed_at = datetime.strptime(date, AMZ_DATE).replace(tzinfo=UTC)
    return "Request has expired" if now >= signed_at + timedelta(seconds=LIFETIME) else None


def fingerprint(content: bytes) -> str:
    """What an ETag of *content* says."""
    return hashlib.sha256(content).hexdigest()[:32]


def pdf_archive(job_id: str, number: int) -> bytes:
    """A small archive of PDFs and their index."""
    rng = random.Random(f"{job_id}/{number}")  # noqa: S311 - plausible, not secret
    invoices = [f"INV{rng.randrange(10**8):08d}" for _ in range(rng.randint(2, 5))]
    index = "".join(f"{invoice},{invoice}.pdf\n" for invoice in invoices)
    pdfs = {f"{invoice}.pdf": f"%PDF-1.4\n% {invoice}\n%%EOF\n" for invoice in invoices}
    return zipped({"index.csv": f"DocumentNumber,FileName\n{index}", **pdfs})


def zipped(members: Mapping[str, str]) -> bytes:
    """An archive of *members*, the same bytes for the same members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()


def batch_file(batch: Mapping[str, Any], job_format: str) -> tuple[str, str, bytes]:
    """The result file of a completed batch in its job's format: its name, its content type, its bytes."""
    stem = str(batch.get("name", "result"))
    suffix, content_type, pack = _FORMATS.get(job_format.upper(), _FORMATS["CSV"])
    return f"{stem}.{suffix}", content_type, pack(stem, csv_of(batch))


def csv_of(batch: Mapping[str, Any]) -> str:
    """A header of the query's columns, and as many rows as `recordCount` says."""
    selected = re.match(r"\s*select\s+(.+?)\s+from\s", str(batch.get("query", "")), re.IGNORECASE | re.DOTALL)
    columns = [column.strip() for column in selected[1].split(",")] if selected else ["Id"]
    name = batch.get("name", "Row")
    rows = (",".join(f"{column}-{number}" for column in columns) for number in range(1, int(batch["recordCount"]) + 1))
    return "\n".join([",".join(f"{name}.{column}" for column in columns), *rows]) + "\n"


_FORMATS: Mapping[str, tuple[str, str, Callable[[str, str], bytes]]] = {
    "CSV": ("csv", CSV, lambda _stem, text: text.encode()),
    "GZIP": ("csv.gz", "application/gzip", lambda _stem, text: gzip.compress(text.encode(), mtime=0)),
    "ZIP": ("zip", ZIP, lambda stem, text: zipped({f"{stem}.csv": text})),
}
