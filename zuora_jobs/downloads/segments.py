"""Checks what no segment shows by itself: whether those of a query hold together as many records as Zuora counted.

Source: https://docs.zuora.com (Aggregate Query API, file segmentation): `recordCount` is of the query, not of a segment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zuora_jobs.downloads.outcomes import Downloaded
from zuora_jobs.errors import DownloadError, WrongContent
from zuora_jobs.protocol.messages import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from zuora_jobs.protocol.models import ResultFile


async def shortages(
    files: Sequence[ResultFile],
    results: Sequence[Downloaded | DownloadError],
    count: Callable[[Downloaded], Awaitable[int | None]],
) -> list[WrongContent]:
    """Say of which queries all segments have come, but hold other records together than Zuora counted.

    Args:
        files: of one job.
        results: what became of each of them.
        count: gives the records of a segment; None: it is no table.
    """
    queries: dict[int, list[Downloaded | DownloadError]] = {}
    for file, result in zip(files, results, strict=True):
        if file.query is not None and file.records_of_query is not None:
            queries.setdefault(file.query, []).append(result)
    return [error for query in queries.values() if (error := await _shortage(query, count)) is not None]


async def _shortage(
    segments: Sequence[Downloaded | DownloadError], count: Callable[[Downloaded], Awaitable[int | None]]
) -> WrongContent | None:
    whole = [segment for segment in segments if isinstance(segment, Downloaded)]
    if len(whole) < len(segments):
        return None  # which is told as it is
    counts = [await count(segment) for segment in whole]
    first, expected = whole[0], whole[0].file.records_of_query
    found = sum(number or 0 for number in counts)
    if None in counts or found == expected:
        return None
    message = (
        f"the {len(whole)} segments of the query {one_line(first.file.name or '?', 60)} have {found} records together, and"
        f" Zuora counted {expected}: they are kept, {first.path.name} among them"
    )
    return WrongContent(message, handle=first.handle, path=first.path)
