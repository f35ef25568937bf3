"""Observers that want to be there: while a watcher is open, and while a look lasts. What they do wrong is logged, and theirs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Self

from zuora_jobs.logs import about

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.watching.events import Attendant, Observer
    from zuora_jobs.watching.watcher import JobWatcher

log = logging.getLogger("zuora_jobs")


class Attended:
    """Enters what observers give for a watcher, and leaves it, whatever becomes of the watcher.

    Used as a block, it does so at its end, unless it is kept.
    """

    def __init__(self) -> None:
        self._entered: list[AbstractContextManager[Observer]] = []
        self._is_kept = False

    def by(self, observer: Observer | Attendant, watcher: JobWatcher) -> Observer:
        """Give who is to be told of the events of *watcher*."""
        if not hasattr(observer, "attend"):
            return observer
        attendance = observer.attend(watcher)
        told = attendance.__enter__()
        self._entered.append(attendance)
        return told

    def keep(self) -> Self:
        """Stay entered beyond the end of the block, until closed."""
        self._is_kept = True
        return self

    def close(self) -> None:
        """Leave all, the last first; what ended the watcher is none of their business."""
        while self._entered:
            try:
                self._entered.pop().__exit__(None, None, None)
            except Exception:
                log.exception("an observer failed when its watcher was closed", extra=about(event="closed"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._is_kept:
            self.close()


class Accompanied:
    """Enters what each observer gives for a look, and leaves it, whatever becomes of the look.

    Args:
        companions: give what is to be entered for a job.
        handle: the job.
    """

    __slots__ = ("_companions", "_entered", "_handle")

    def __init__(
        self,
        companions: Sequence[Callable[[JobHandle[Any]], AbstractContextManager[object]]],
        handle: JobHandle[Any],
    ) -> None:
        self._companions = companions
        self._handle = handle
        self._entered: list[AbstractContextManager[object]] = []

    def __enter__(self) -> None:
        for companion in self._companions:
            try:
                company = companion(self._handle)
                company.__enter__()
            except Exception:
                log.exception("an observer failed on a look", extra=about(self._handle, event="looking"))
            else:
                self._entered.append(company)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for company in reversed(self._entered):
            try:
                company.__exit__(None, None, None)  # how the look went, events tell
            except Exception:
                log.exception("an observer failed on a look", extra=about(self._handle, event="looking"))
