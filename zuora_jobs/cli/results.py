"""Results of pipelines on stdout: for each kind of result a row of how it is told, as JSON and in words."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from rich.filesize import decimal

from zuora_jobs.cli import jsonl
from zuora_jobs.cli.view import plural
from zuora_jobs.downloads import Downloaded
from zuora_jobs.errors import (
    ApiError,
    CannotSave,
    DownloadError,
    FileGone,
    Forbidden,
    JobError,
    JobLost,
    MalformedResponse,
    NotFound,
    Rejected,
    SubmitUncertain,
    TransportError,
    WrongContent,
)
from zuora_jobs.pipelines import Applied, Deleted, Reversed, StageFailed, Zipped
from zuora_jobs.protocol import wire
from zuora_jobs.protocol.kinds import JobHandle
from zuora_jobs.protocol.messages import one_line
from zuora_jobs.watching.clock import WallClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zuora_jobs.protocol.models import DocumentIds

OUR_TROUBLE: Final = (JobLost, SubmitUncertain, TransportError, ApiError, MalformedResponse, DownloadError)
"""What leaves something unknown; unless it is one of the next."""

AN_ANSWER: Final = (Rejected, NotFound, Forbidden, FileGone, WrongContent, CannotSave)
"""What would be the same again: Zuora's own no, or a file that is not what it should be."""


_OF_A_FILE: Final = (FileGone, WrongContent, CannotSave)


class Results:
    """Tells results as they come, and counts them.

    Args:
        output: `table` or `jsonl`; anything else: they are only counted.
    """

    def __init__(self, output: str) -> None:
        self._output = output
        self._clock = WallClock()
        self.outcomes: list[str] = []
        """Of each result in a word, as the exit status goes by."""

    def tell(self, result: Any) -> None:
        """Write *result* to stdout; a failure, where people read, to stderr."""
        self.outcomes.append(outcome_word(result))
        name, as_object, in_words = _ROWS[type(result)]
        if self._output == "jsonl":
            self.line(name, _handle_of(result), **as_object(result))
        elif self._output == "table":
            print(in_words(result), file=sys.stderr if isinstance(result, StageFailed) else sys.stdout, flush=True)

    def line(self, name: str, handle: JobHandle[Any] | None, /, **details: Any) -> None:
        """Write a JSON line."""
        jsonl.write_line(jsonl.about(name, self._clock.now(), handle) | details)

    def summary(self, noun: str = "result") -> str:
        """Say in a few words how it went."""
        failed = sum(word != "succeeded" for word in self.outcomes)
        told = plural(len(self.outcomes), noun)
        return f"{told}, {failed} of them failed" if failed else told


def outcome_word(result: Any) -> str:
    """Name a result as the exit status takes it: succeeded, failed, or lost where something is not known."""
    error = result.error if isinstance(result, StageFailed) else result
    if isinstance(error, DownloadError) and isinstance(error.__cause__, AN_ANSWER):
        return "failed"
    if not isinstance(error, Exception):
        return "succeeded"
    about_a_job = isinstance(result, StageFailed) and isinstance(result.item, JobHandle)
    answer = _OF_A_FILE if about_a_job else AN_ANSWER  # a job that is not found is lost, as when it is watched
    unknown = isinstance(error, OUR_TROUBLE) and not isinstance(error, answer)
    return "lost" if unknown else "failed"


def _handle_of(result: Any) -> JobHandle[Any] | None:
    """Give the job that a result is about, as far as it is known."""
    if isinstance(result, JobHandle):
        return result
    if isinstance(result, StageFailed):
        return _handle_of(result.error) or _handle_of(result.item)
    if isinstance(result, JobError):
        return result.outcome.handle  # type: ignore[no-any-return]
    if isinstance(result, Zipped):
        return result.ran.submitted.handle
    found = getattr(result, "handle", None)
    return found if found is not None else getattr(getattr(result, "outcome", None), "handle", None)


def _file(result: Downloaded) -> dict[str, Any]:
    return {
        "path": str(result.path),
        "size": result.size,
        "records": result.records,
        "name": result.file.name,
        "fetched": result.fetched,
    }


def _file_in_words(result: Downloaded) -> str:
    records = f", {plural(result.records, 'record')}" if result.records is not None else ""
    return f"{result.path}  {decimal(result.size)}{records}{'' if result.fetched else ', was there already'}"


def _ids(documents: Iterable[DocumentIds]) -> list[dict[str, Any]]:
    return [{"docType": one.doc_type, "objectIds": list(one.object_ids)} for one in documents]


def _zipped(result: Zipped) -> dict[str, Any]:
    return {
        "files": [_file(file) for file in result.files],
        "invalid_ids": list(result.invalid_ids),
        "failed_documents": _ids(result.failed_documents),
        "skipped_documents": _ids(result.skipped_documents),
    }


def _zipped_in_words(result: Zipped) -> str:
    lines = [_file_in_words(file) for file in result.files]
    missing = {
        "without a PDF, or unknown": list(result.invalid_ids),
        "failed": [one for documents in result.failed_documents for one in documents.object_ids],
        "skipped, being archived": [one for documents in result.skipped_documents for one in documents.object_ids],
    }
    lines += [f"not in them, {why}: {', '.join(map(one_line, ids))}" for why, ids in missing.items() if ids]
    return "\n".join(lines)


def _applied(result: Applied) -> dict[str, Any]:
    return {
        "before": wire.to_json(result.before) if result.before is not None else None,
        "after": wire.to_json(result.after),
        "balances": {name: {"before": one.before, "after": one.after} for name, one in result.balances.items()},
    }


def _applied_in_words(result: Applied) -> str:
    before = result.before.unapplied_amount if result.before is not None else "?"
    lines = [f"{result.after.number or result.after.id}: {before} to apply before, {result.after.unapplied_amount} now"]
    lines += [
        f"  {name}: {'?' if one.before is None else one.before} to pay before, {one.after} now"
        for name, one in result.balances.items()
    ]
    return "\n".join(lines)


def _failed(result: StageFailed) -> dict[str, Any]:
    return {
        "stage": result.stage,
        "about": _about(result.item),
        "error": {"type": type(result.error).__name__, "message": one_line(str(result.error), 2000)},
    }


def _about(item: Any) -> str | None:
    """Say what a failure was about, where that is not a job: an invoice, the names of queries."""
    request = getattr(item, "request", item)
    if isinstance(request, str | JobHandle):
        return str(request)
    key = getattr(request, "invoice", None) or getattr(request, "credit_memo", None)
    names = [query.name for query in getattr(request, "queries", ())]
    return key or ", ".join(names) or None


def _failed_in_words(result: StageFailed) -> str:
    about = _about(result.item)
    return f"{f'{about}: ' if about else ''}{type(result.error).__name__}: {one_line(str(result.error), 2000)}"


_ROWS: Final[dict[type, tuple[str, Callable[[Any], dict[str, Any]], Callable[[Any], str]]]] = {
    Downloaded: ("downloaded", _file, _file_in_words),
    Zipped: ("zipped", _zipped, _zipped_in_words),
    Deleted: (
        "deleted",
        lambda result: {"about": result.asked_for, "invoice": result.invoice},
        lambda result: f"{result.asked_for}  deleted, and gone",
    ),
    Reversed: (
        "reversed",
        lambda result: {
            "about": result.asked_for,
            "invoice": wire.to_json(result.invoice),
            "credit_memos": list(result.credit_memos),
        },
        lambda result: f"{result.asked_for}  reversed, {result.invoice.balance} to pay",
    ),
    Applied: ("applied", _applied, _applied_in_words),
    StageFailed: ("failed", _failed, _failed_in_words),
}
