"""Jobs that run one after another: stateful AQuA jobs of one partner and project.

The next begins at the moment when the one before it has ended, and is `submitted` until then.
https://docs.zuora.com/en/zuora-platform/data/aggregate-query-api-aqua/aqua-stateless-and-stateful-modes
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zuora_jobs.emulator.jobs import Job
    from zuora_jobs.emulator.ledger import Ledger
    from zuora_jobs.emulator.lives import Step


@define
class _Place:
    job: Job
    life: Sequence[Step] | None
    """The life that it has still to begin."""


class Queues:
    """Every queue by its name."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._places: dict[str, list[_Place]] = {}

    def busy(self, name: str) -> bool:
        """Whether a job of that queue has not ended."""
        return any(not place.job.ended for place in self._places.get(name, ()))

    def join(self, name: str, job: Job, life: Sequence[Step] | None) -> None:
        """Put *job* at the end. It begins *life* when its turn comes; None: it is its turn already."""
        self._places.setdefault(name, []).append(_Place(job, life))
        self._ledger.enter(job, lambda moment, _: self._move_up(name, moment))

    def _move_up(self, name: str, moment: float) -> None:
        self._places[name] = waiting = [place for place in self._places[name] if place.job.end is None]
        if waiting and waiting[0].life is not None:
            waiting[0].job.live_from(moment, waiting[0].life)
            waiting[0].life = None
