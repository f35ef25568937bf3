"""The store behind presigned URLs, on a port of its own: no part of Zuora, and it knows none of Zuora's ways.

- A presigned URL carries its own authority: signature and expiry are checked, and a second authority beside it, any
  Authorization header at all, is refused. https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
  Refusals as they have been seen: https://github.com/electron-userland/electron-builder/issues/5595 (two authorities,
  the header's value repeated in the answer), https://github.com/aws/aws-sdk-php/issues/1333 (expired).
- A URL tells whole seconds, hence so do its beginning and its life. As long as URLs are renewed, one that expires is
  followed at that moment by the next; which one a job shows is a function of the time and of nothing else.
- Whether Zuora renews URLs is not documented: its FAQ has one submit a new job, its page signs at the time of asking.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.sax.saxutils import escape

from attrs import frozen

from zuora_jobs.emulator.replies import BAD_REQUEST, FORBIDDEN, NOT_FOUND, XML, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOM = "/billing-file-repository/bulk-pdf-generation"
LIFETIME = 259_199
"""Seconds a presigned URL is good for, as in the vendor's sample: a second less than three days."""
AMZ_DATE = "%Y%m%dT%H%M%SZ"
ISO = "%Y-%m-%dT%H:%M:%SZ"
TWO_AUTHORITIES = (
    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or "
    "the Authorization header should be specified"
)
FORGED = (
    "The request signature we calculated does not match the signature you provided. Check your key and signing method."
)


def refused_by_store(status: int, code: str, message: str, **details: str) -> Reply:
    """Refuse as the store does: XML, and nothing of Zuora's."""
    parts = {"Code": code, "Message": message, **{name.replace("_", "-"): text for name, text in details.items()}}
    inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in parts.items())
    xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'
    return Reply(status, xml.encode(), content_type=XML)


def no_such_key(path: str) -> Reply:
    """Say that there is nothing under that path."""
    return refused_by_store(NOT_FOUND, "NoSuchKey", "The specified key does not exist.", Key=path.lstrip("/"))


def denied() -> Reply:
    """Refuse a request without a signature."""
    return refused_by_store(FORBIDDEN, "AccessDenied", "Access Denied")


def signature(path: str, date: str, expires: str) -> str:
    """The signature of *path* at *date*. It keeps nobody out; it lets a test notice a mangled URL."""
    return hashlib.sha256(f"emulator {path} {date} {expires}".encode()).hexdigest()


@frozen
class Store:
    """Signs URLs, and checks them."""

    url: str
    lifetime: int = LIFETIME
    renewed: bool = True

    def urls(self, job_id: str, names: Sequence[str], ended: datetime, now: datetime) -> list[str]:
        """The download URLs, *now*, of a job that completed when it *ended*."""
        signed_at = ended.astimezone(UTC).replace(microsecond=0)
        if self.renewed:
            signed_at += (now - signed_at) // timedelta(seconds=self.lifetime) * timedelta(seconds=self.lifetime)
        return [self.signed(f"{ROOM}/{job_id}/{name}", signed_at) for name in names]

    def signed(self, path: str, at: datetime) -> str:
        """The URL of *path*, signed *at* that moment."""
        date = at.strftime(AMZ_DATE)
        return (
            f"{self.url}{quote(path)}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={date}"
            f"&X-Amz-SignedHeaders=host&X-Amz-Expires={self.lifetime}"
            f"&X-Amz-Credential=fakeEmulatorKey%2F{at:%Y%m%d}%2Fus-west-2%2Fs3%2Faws4_request"
            f"&X-Amz-Signature={signature(path, date, str(self.lifetime))}"
        )

    def refusal(self, path: str, query: Mapping[str, str], headers: Mapping[str, str], now: datetime) -> Reply | None:
        """Why the store does not serve this request *now*, or None if it does."""
        if "X-Amz-Signature" not in query:
            return denied()
        if "Authorization" in headers:
            told = {"ArgumentName": "Authorization", "ArgumentValue": headers["Authorization"]}
            return refused_by_store(BAD_REQUEST, "InvalidArgument", TWO_AUTHORITIES, **told)
        date, expires = query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")
        if query["X-Amz-Signature"] != signature(path, date, expires):
            return refused_by_store(FORBIDDEN, "SignatureDoesNotMatch", FORGED)
        until = datetime.strptime(date, AMZ_DATE).replace(tzinfo=UTC) + timedelta(seconds=int(expires))
        if now < until:
            return None
        told = {"X_Amz_Expires": expires, "Expires": until.strftime(ISO), "ServerTime": now.strftime(ISO)}
        return refused_by_store(FORBIDDEN, "AccessDenied", "Request has expired", **told)
