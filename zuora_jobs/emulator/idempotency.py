"""Idempotency keys: the same request twice is carried out once, and answered twice.

Source: https://developer.zuora.com/docs/guides/idempotent-requests
- Status, headers and body of what a POST was answered are kept for 24 hours under its key, whether it was done or refused.
  What went wrong before it was looked at (limits, token, a gateway) is not kept.
- A request with the key of one that is still being answered gets 409; one with the key of another request, 422.
- PUT refuses the header, as has been seen live: https://github.com/matsuzj/zuora-cli . On GET and DELETE it is ignored.
- The bodies of these refusals are not documented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, evolve, field

from zuora_jobs.emulator.replies import (
    BAD_REQUEST,
    CODE_BAD_VALUE,
    CODE_LOCKED,
    CODE_METHOD,
    CONFLICT,
    UNPROCESSABLE,
    Reply,
    refused,
)

if TYPE_CHECKING:
    from zuora_jobs.emulator.calls import Call

HEADER = "Idempotency-Key"
LONGEST = 255
KEPT = 86_400.0
"""Seconds."""


@define
class _Entry:
    request: tuple[str, str, bytes]
    reply: Reply | None = None
    """None while it is being answered."""
    until: float = field(default=0.0)


class Ticket:
    """One request on its way."""

    def __init__(self, ready: Reply | None = None, entry: _Entry | None = None) -> None:
        self.ready = ready
        """The answer, if there is one without carrying the request out."""
        self._entry = entry

    def keep(self, reply: Reply, request_id: str, now: float) -> None:
        """Keep the answer for those who ask again."""
        if self._entry is not None:
            headers = {"Zuora-Request-Id": request_id, **reply.headers}
            self._entry.reply, self._entry.until = evolve(reply, headers=headers), now + KEPT


class IdempotencyKeys:
    """Every key of the last 24 hours."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def arrive(self, call: Call, now: float) -> Ticket:
        """Take a request in."""
        key = call.headers.get(HEADER, "")
        if not key or call.method not in {"POST", "PATCH", "PUT"}:
            return Ticket()
        if call.method == "PUT":
            message = f"Request method 'PUT' not supported with {HEADER} header"
            return Ticket(refused(BAD_REQUEST, CODE_METHOD, message, **call.ids))
        if len(key) > LONGEST:
            message = f"The {HEADER} has more than {LONGEST} characters"
            return Ticket(refused(BAD_REQUEST, CODE_BAD_VALUE, message, **call.ids))
        request, entry = (call.method, call.path, call.body), self._entries.get(key)
        if entry is None or (entry.reply is not None and now >= entry.until):
            self._entries[key] = entry = _Entry(request)
            return Ticket(entry=entry)
        if entry.reply is None:
            message = f"A request with the {HEADER} {key!r} is still in progress"
            return Ticket(refused(CONFLICT, str(CODE_LOCKED), message, **call.ids))
        if entry.request != request:
            message = f"The {HEADER} {key!r} was used for another request"
            return Ticket(refused(UNPROCESSABLE, CODE_BAD_VALUE, message, **call.ids))
        return Ticket(entry.reply)

    def leave(self, call: Call, ticket: Ticket) -> None:
        """Let a request go. Of one that was never carried out nothing remains."""
        entry = ticket._entry  # noqa: SLF001 - it is ours
        if entry is not None and entry.reply is None:
            del self._entries[call.headers[HEADER]]
