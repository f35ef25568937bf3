"""What a journal keeps of submits: the intent before the request, the job's handle after it, and nothing of its contents.

An intent without more is one whose answer never came: whether it was carried out, only Zuora knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zuora_jobs.errors import MalformedResponse
from zuora_jobs.journal import documents
from zuora_jobs.journal.entries import Intended, Intent, Settled, Withdrawn
from zuora_jobs.protocol.kinds import KINDS
from zuora_jobs.protocol.submits import SUBMITS

if TYPE_CHECKING:
    import sqlite3

    from zuora_jobs.protocol.kinds import JobHandle

_KNOWN = "SELECT idempotency_key, intended, note, settled, kind, id, name, answer FROM submits WHERE request = ?"

_INTEND = (
    "INSERT INTO submits (request, name, idempotency_key, intended, note) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (request) DO UPDATE SET idempotency_key = excluded.idempotency_key, note = excluded.note, intended ="
    " CASE WHEN idempotency_key IS excluded.idempotency_key THEN intended ELSE excluded.intended END"
)

_WATCH = "INSERT INTO jobs (kind, id, accepted) VALUES (?, ?, ?) ON CONFLICT (kind, id) DO NOTHING"
"""So that a resumed watch goes on with it, though the process ended before it was watched."""


def known(database: sqlite3.Connection, request: str, now: float) -> Intent | None:
    """Give what is known of a request; None: nothing."""
    found = database.execute(_KNOWN, (request,)).fetchone()
    if found is None:
        return None
    key, since, note, settled_at, kind, identifier, name, answer = found
    handle, stranger = job_of(kind, identifier)
    return Intent(
        idempotency_key=key,
        age=max(0.0, now - since),
        note=note,
        is_settled=settled_at is not None,
        handle=handle,
        stranger=stranger,
        answer=answer_of(name, answer),
    )


def intended(database: sqlite3.Connection, entry: Intended) -> None:
    """Take down an intent."""
    database.execute(_INTEND, (entry.request, entry.name, entry.idempotency_key, entry.at, entry.note))


def settled(database: sqlite3.Connection, entry: Settled) -> None:
    """Take down what became of an intent."""
    handle = entry.handle
    job = (handle.kind.name, handle.id) if handle is not None else (None, None)
    database.execute(
        "UPDATE submits SET settled = ?, kind = ?, id = ?, answer = ? WHERE request = ?",
        (entry.at, *job, documents.to_text(entry.answer, entry.secrets), entry.request),
    )
    if handle is not None:
        database.execute(_WATCH, (*job, entry.at))


def job_of(kind: str | None, identifier: str) -> tuple[JobHandle[Any] | None, str | None]:
    """Give the handle of a job on record, or the handle's text where this program does not know its kind."""
    if kind in KINDS:
        return KINDS[kind].handle(identifier), None
    return None, f"{kind}:{identifier}" if kind is not None else None


def answer_of(name: str, text: str | None) -> object:
    """Give Zuora's answer on record, typed; None: there is none, or it cannot be read any more."""
    if text is None or name not in SUBMITS:
        return None
    try:
        return documents.from_text(text, SUBMITS[name].answer)
    except MalformedResponse:
        return None


def withdrawn(database: sqlite3.Connection, entry: Withdrawn) -> None:
    """Forget an intent that came to nothing."""
    database.execute("DELETE FROM submits WHERE request = ? AND settled IS NULL", (entry.request,))
