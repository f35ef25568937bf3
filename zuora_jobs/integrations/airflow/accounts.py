"""How watches ended, as small values of JSON: what a trigger tells its task, and a task its successors (XCom).

No presigned URL and no other secret is in them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from zuora_jobs.errors import JobError
from zuora_jobs.journal.documents import clean, to_text
from zuora_jobs.watching.outcome import account_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zuora_jobs.watching.outcome import Outcome

Account = dict[str, Any]

MOST_DOCUMENTS: Final = 48_000
"""Characters of the jobs' documents that are told together; Airflow keeps them in its database, so the rest is left out."""

SHOWN: Final = 10
"""Jobs that are named in a message."""


def accounts(outcomes: Iterable[Outcome[Any]], secrets: Sequence[str] = ()) -> list[Account]:
    """Give how watches ended: the fields of a `finished` line, and `message`, a sentence on what did not end well.

    `job` is Zuora's own document; None where there is none, or where it was left out for its size.
    """
    room = MOST_DOCUMENTS
    listed = []
    for outcome in outcomes:
        document = to_text(outcome.job, secrets) if outcome.job is not None else "null"
        if len(document) > room:
            document = "null"
        room -= len(document)
        listed.append(_account(outcome, secrets) | {"job": json.loads(document)})
    return listed


def _account(outcome: Outcome[Any], secrets: Sequence[str]) -> Account:
    handle = outcome.handle
    told = {"handle": str(handle), "kind": handle.kind.name, "id": handle.id} | account_of(outcome)
    for about in (*told["reasons"], *filter(None, (told["error"],))):
        about["message"] = clean(about["message"] or "", secrets)
    return told | {"message": clean(_complaint(outcome), secrets)}


def _complaint(outcome: Outcome[Any]) -> str:
    try:
        outcome.unwrap()
    except JobError as error:
        return str(error)
    return ""


def complaints(bad: Sequence[Mapping[str, Any]]) -> str:
    """Say what became of those that did not end well; of many, of the first few."""
    said = "; ".join(told["message"] for told in bad[:SHOWN])
    return f"{said}; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else said
