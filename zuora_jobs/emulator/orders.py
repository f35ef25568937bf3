"""What a request for a job is made into, and how its body is read.

Refusals of v1 come under HTTP 200, as they have been seen, or under 400: `options.submit_refusal_status`.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from zuora_jobs.emulator.replies import (
    CODE_MALFORMED,
    CODE_NOT_FOUND,
    OK,
    UNSUPPORTED_MEDIA_TYPE,
    Document,
    Reply,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zuora_jobs.emulator.calls import Call
    from zuora_jobs.emulator.jobs import Job
    from zuora_jobs.emulator.ledger import Consequence
    from zuora_jobs.emulator.tenant import Emulator


@frozen(kw_only=True)
class Order:
    """A request for a job, found sensible."""

    body: Any = None
    """The request's document, for the record."""
    fields: Mapping[str, Any] = field(factory=dict)
    """What it says about the job's document."""
    asked: Mapping[str, Any] = field(factory=dict)
    """What else it asks for."""
    answer: Callable[[Job], Document]
    """What the submit answers, given the job."""
    consequence: Callable[[Job], Consequence] | None = None
    """What follows from the job's end."""
    subject: str | None = None
    """The object that the job works on, which no other may touch meanwhile."""
    queue: str | None = None
    """Jobs of one queue run one after another."""


class Refusal(Exception):
    """A request makes no sense; `reply` says so. Never leaves the emulator."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def refuse(zuora: Emulator, call: Call, code: int | str, message: str, **more: Any) -> Refusal:
    """A refusal as v1 says it."""
    status = zuora.options.submit_refusal_status
    reply = refused(status, int(code) if status == OK else str(code), message, **call.ids)
    return Refusal(Reply(status, {**_document(reply), **more}))


def not_found(zuora: Emulator, call: Call, key: str) -> Refusal:
    """A refusal because there is no such object."""
    return Refusal(unknown(zuora, call, key))


def unknown(zuora: Emulator, call: Call, key: str) -> Reply:
    """Say that there is no such object, as `options.unknown_job_status` has it."""
    status = zuora.options.unknown_job_status
    code: int | str = CODE_NOT_FOUND if status == OK else str(CODE_NOT_FOUND)
    return refused(status, code, f"Cannot find entity by key: '{key}'.", **call.ids)


def _document(reply: Reply) -> Document:
    return reply.body if isinstance(reply.body, dict) else {}


def read_json(body: bytes) -> Any:
    """The document in *body*, numbers with a point as exact ones; ValueError if it is none."""
    return json.loads(body, parse_float=Decimal)


def read_object(zuora: Emulator, call: Call) -> Document:
    """The JSON object in the body.

    Raises:
        Refusal: There is none. A body that is missing altogether is told from one that makes no sense: it has no media
            type. Seen at https://github.com/matsuzj/zuora-cli (docs/e2e-test-skips.md).
    """
    if not call.body:
        reply = refused(UNSUPPORTED_MEDIA_TYPE, str(CODE_MALFORMED), "Unsupported Media Type", **call.ids)
        raise Refusal(reply)
    try:
        document = read_json(call.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise refuse(zuora, call, CODE_MALFORMED, "Oops, request is malformed. It must be a JSON object.")
    return document
