"""One job of the emulator's, as its owner sees it: the handle that `add_job` gives.

- What it is comes from its family's row, when it is what from its life. The two meet here.
- Asking it anything is free; only a GET that was answered counts as a poll.
- Before it answers, whatever has ended by now takes its effect (`ledger.py`): the effect may decide how it ends.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from attrs import frozen

from zuora_jobs.emulator.documents import Birth, View
from zuora_jobs.emulator.lives import Life, Step
from zuora_jobs.emulator.replies import Document, overlay
from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zuora_jobs.emulator.clock import Clock
    from zuora_jobs.emulator.families import Family
    from zuora_jobs.emulator.store import Store

HALFWAY = 0.5
"""How far a job had come that a script, not a DELETE, says was cancelled."""


@frozen
class World:
    """What is around a job."""

    clock: Clock
    store: Store
    settle: Callable[[], None]
    """Has every job that has ended by now take its effect."""
    moved: Callable[[Job], None]
    """Is told when something else than time has moved a job."""


class Job:
    """A job with a scripted life."""

    def __init__(
        self,
        family: Family,
        job_id: str,
        life: Sequence[Step],
        world: World,
        *,
        fields: Mapping[str, Any],
        asked: Mapping[str, Any] | None = None,
        cancel_takes: float = 0.0,
        cancel_loses_to: str | None = None,
        verbatim: Document | None = None,
    ) -> None:
        self.family = family
        self.id = job_id
        self.polls = 0
        """GETs answered so far."""
        self.asked = asked or {}
        """What the request that submitted it asked for; empty for a job that a script made."""
        self._world = world
        self._clock = world.clock
        now = self._clock.now()
        self.begun = self._clock.wall(now)
        """When its life began, in documents' time."""
        self._life = Life(life, now)
        self._fields = fields
        self._cancel_takes = cancel_takes
        self._cancel_loses_to = cancel_loses_to
        self._stopped_at: float | None = None
        self._verbatim = verbatim
        rng = random.Random(job_id)  # noqa: S311 - plausible, not secret
        born = {} if verbatim is not None else family.birth(Birth(job_id, rng, self.begun, fields, self.asked))
        self._born: Document = overlay(born, fields)

    def __repr__(self) -> str:
        return f"<Job {self.handle} {self.status!r}, {self.polls} polls>"

    @property
    def kind(self) -> str:
        """The name of its family."""
        return self.family.name

    @property
    def handle(self) -> str:
        """`kind:id`."""
        return f"{self.family.name}:{self.id}"

    @property
    def file_ids(self) -> list[str]:
        """The ids of the result files that it may come to have."""
        return self.family.files(self._born)

    @property
    def places(self) -> list[str]:
        """Where on the shelf its files are, in order."""
        return self.family.places(self)

    @property
    def status(self) -> str:
        """Its status now."""
        self._world.settle()
        return self._life.at(self._clock.now()).status

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        self._world.settle()
        return self.end is not None

    @property
    def ended_at(self) -> float | None:
        """When it ended, as `loop.time()` tells it; None while it runs, or dwells in a status nobody knows."""
        self._world.settle()
        return None if self.end is None else self._clock.on_loop(self.end[0])

    @property
    def end(self) -> tuple[float, str] | None:
        """When its life came to an ending, as the emulator's clock tells it, and to which; None while it runs."""
        lived = self._life.lived(self._clock.now())
        return next(((moment, step.status) for moment, step in lived if step.status in self.family.endings), None)

    @property
    def foreseen_end(self) -> float:
        """When time alone brings its life to an ending, or has brought it there; infinity if it does not."""
        return self._life.foreseen(self.family.endings)

    def document(self) -> Document:
        """What a GET would answer now. It does not count as one."""
        if self._verbatim is not None:
            return self._verbatim
        self._world.settle()
        now = self._clock.now()
        step = self._life.at(now)
        ended = self.end and self.end[0]
        view = View(
            born=self._born,
            status=step.status,
            progress=self._progress(now, ended),
            now=self._clock.wall(now),
            ended=None if ended is None else self._clock.wall(ended),
            store=self._world.store,
            asked=self.asked,
        )
        document: Document = overlay({**self._born, **self.family.now(view)}, self._fields)
        for _, lived in self._life.lived(now):
            if lived.fields:
                document = overlay(document, lived.fields)
        return self.family.hide(document)

    def show(self) -> Document:
        """Answer a GET: the document, counted as seen."""
        document = self.document()
        self._life.show(self._clock.now())
        self._world.moved(self)
        self.polls += 1
        return document

    def become(self, status: str, **fields: Any) -> None:
        """Be *status* from now on, for ever, whatever the script said; *fields* are laid over the document."""
        self.live([Step(status, fields=fields)])

    def live(self, life: Sequence[Step]) -> None:
        """Begin *life* now in place of the rest of the script."""
        self.live_from(self._clock.now(), life)

    def live_from(self, moment: float, life: Sequence[Step]) -> None:
        """Begin *life* at *moment*, which may have passed, in place of the rest of the script."""
        self._life.replace(life, moment)
        self._world.moved(self)

    def end_otherwise(self, status: str, **fields: Any) -> None:
        """Have ended as *status*, at the moment its script ended it otherwise; *fields* are laid over the document."""
        self._life.end_otherwise(Step(status, fields=fields))

    def cancel(self) -> bool:
        """Do what a DELETE does; False if the job has ended, which it may do at this very moment if scripted so."""
        if self.family.cancel is None:
            msg = f"a job of the kind {self.kind!r} cannot be cancelled"
            raise ConfigurationError(msg)
        if self._verbatim is not None:
            return not self.ended
        if not self.ended and self._cancel_loses_to is not None:
            self.become(self._cancel_loses_to)
        if self.ended:
            return False
        if self._stopped_at is None:
            now = self._clock.now()
            self._stopped_at = self._life.progress(now)
            lasting = [Step(self.status, self._cancel_takes)] if self._cancel_takes else []
            self.live_from(now, [*lasting, Step(self.family.cancel.status)])
        return True

    def _progress(self, now: float, ended: float | None) -> float:
        if self._stopped_at is not None:
            return self._stopped_at
        if ended is None:
            return self._life.progress(now)
        cancel = self.family.cancel
        return HALFWAY if cancel is not None and self.status == cancel.status else 1.0
