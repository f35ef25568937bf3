"""What is counted without asking any instrument: polls are many, and an instrument takes its time with each.

An observable instrument asks for these when somebody collects, which is in another thread: what is counted here is written
by one thread only, its watcher's, and summed up by whoever asks.
"""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator, Mapping

    from zuora_jobs.transport.limits import Allowance, Limiter

Attributes: TypeAlias = "tuple[tuple[str, Any], ...]"
"""Of a tenant: sorted, so that they can be a key."""


class OfKind:
    """What one watcher has to do with jobs of one kind."""

    __slots__ = ("answered", "retried", "watched")

    def __init__(self) -> None:
        self.watched = 0
        """Jobs that are."""
        self.answered = 0
        """Looks that were."""
        self.retried: Counter[str] = Counter()
        """Looks that were not, by the class of the error."""


class Figures:
    """What one watcher counts.

    Args:
        attributes: of its tenant.
        limiter: of its client.
        loop: it runs in.
    """

    def __init__(self, attributes: Mapping[str, Any], limiter: Limiter, loop: asyncio.AbstractEventLoop) -> None:
        self.attributes: Attributes = tuple(sorted((name, _hashable(value)) for name, value in attributes.items()))
        self.limiter = limiter
        self.in_contact = True
        self._loop = loop
        self._kinds: dict[str, OfKind] = {}

    def of(self, kind: str) -> OfKind:
        """Give what is counted of a *kind*."""
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = OfKind()
        return found

    def kinds(self) -> list[tuple[str, OfKind]]:
        """Give all that is counted, to any thread."""
        return list(self._kinds.items())

    def allowance(self) -> Allowance:
        """Give what the client may spend, to any thread."""
        return self.limiter.allowance(self._loop.time())


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Spent:
    """What was spent on a tenant, and only ever grows."""

    __slots__ = ("held_seconds", "refused", "requests")

    def __init__(self, requests: int = 0, refused: int = 0, held_seconds: float = 0.0) -> None:
        self.requests = requests
        self.refused = refused
        self.held_seconds = held_seconds

    def add(self, now: Allowance, before: Allowance) -> None:
        """Add what was spent in between."""
        self.requests += now.requests - before.requests
        self.refused += now.refused - before.refused
        self.held_seconds += now.held_seconds - before.held_seconds


class Tenant:
    """All figures that have the same attributes, at one moment."""

    def __init__(self) -> None:
        self.watchers = 0
        self.out_of_contact = 0
        self.watched: Counter[str] = Counter()
        self.polls: Counter[tuple[str, str | None]] = Counter()
        """By kind and class of error; None: it was answered."""
        self.spent = Spent()
        self.told = 0
        """The most requests that were ever told: a place in the budget that is given back makes them one less."""
        self.allowances: list[Allowance] = []
        """Of each client."""

    def count(self, figures: Figures) -> None:
        """Take in what a watcher has counted in all."""
        for kind, of_kind in figures.kinds():
            self.polls[kind, None] += of_kind.answered
            for error, retries in list(of_kind.retried.items()):
                self.polls[kind, error] += retries


class Ledger:
    """The figures of all watchers, those that were closed included: what is a counter must never go back."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._live: list[Figures] = []
        self._before: dict[tuple[Attributes, Limiter], Allowance] = {}
        """What had been spent when a client's first watcher opened."""
        self._past: dict[Attributes, Tenant] = {}

    def open(self, figures: Figures) -> None:
        """A watcher opens."""
        with self._lock:
            self._live.append(figures)
            self._past.setdefault(figures.attributes, Tenant())
            self._before.setdefault((figures.attributes, figures.limiter), figures.allowance())

    def close(self, figures: Figures) -> None:
        """A watcher is closed, and counts no more."""
        with self._lock:
            self._live.remove(figures)
            past = self._past[figures.attributes]
            past.count(figures)
            if not any(one.attributes == figures.attributes and one.limiter is figures.limiter for one in self._live):
                past.spent.add(figures.allowance(), self._before.pop((figures.attributes, figures.limiter)))

    def tenants(self) -> Iterator[tuple[dict[str, Any], Tenant]]:
        """Give the figures of this moment by their attributes, to any thread."""
        with self._lock:
            now = {attributes: self._so_far(past) for attributes, past in self._past.items()}
            for figures in self._live:
                tenant = now[figures.attributes]
                tenant.watchers += 1
                tenant.out_of_contact += not figures.in_contact
                tenant.count(figures)
                for kind, of_kind in figures.kinds():
                    tenant.watched[kind] += of_kind.watched
            for attributes, limiter, before in self._clients():
                allowance = limiter.allowance()
                now[attributes].allowances.append(allowance)
                now[attributes].spent.add(allowance, before)
            for attributes, tenant in now.items():
                past = self._past[attributes]
                past.told = tenant.spent.requests = max(past.told, tenant.spent.requests)
        return ((dict(attributes), tenant) for attributes, tenant in now.items())

    def _clients(self) -> Iterator[tuple[Attributes, Figures, Allowance]]:
        """Give each client once, however many watchers it has."""
        one_of = {(figures.attributes, figures.limiter): figures for figures in self._live}
        return ((key[0], figures, self._before[key]) for key, figures in one_of.items())

    @staticmethod
    def _so_far(past: Tenant) -> Tenant:
        tenant = Tenant()
        tenant.polls.update(past.polls)
        tenant.watched.update(dict.fromkeys((kind for kind, _ in past.polls), 0))
        tenant.spent = Spent(past.spent.requests, past.spent.refused, past.spent.held_seconds)
        return tenant
