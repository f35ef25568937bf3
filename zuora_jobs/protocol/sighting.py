"""A job as one look found it: its status at once, the rest of its document when somebody wants it.

Of thousands of looks only the last is read to the end; all others are asked for no more than the status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from zuora_jobs.protocol import wire
from zuora_jobs.protocol.kinds import JobT

if TYPE_CHECKING:
    from collections.abc import Mapping


class Sighting(Generic[JobT]):
    """One answer about a job. Whoever keeps many keeps their `body`: `wire.read(body, kind.model)` is `job` again.

    Args:
        model: how the document is read.
        body: the answer's bytes, not compressed.
        document: what they say, parsed.

    Raises:
        MalformedResponse: as reading the whole would; nothing is left to be refused later.
    """

    __slots__ = ("_document", "_job", "_model", "body", "status")

    def __init__(self, model: type[JobT], body: bytes, document: Any) -> None:
        self.status: str = wire.status_in(document, model)
        """Zuora's own word, as received."""
        self.body = body
        self._model = model
        self._document: Mapping[str, Any] = document
        self._job: JobT | None = None

    def __repr__(self) -> str:
        return f"<Sighting {self._model.__name__} {self.status}>"

    @property
    def job(self) -> JobT:
        """The whole document, made once."""
        if self._job is None:
            self._job = wire.structure(self._model, self._document)
        return self._job
