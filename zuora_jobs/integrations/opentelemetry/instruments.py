"""The instruments, one set for each meter provider: several `Telemetry` over one provider share it.

What happens once a job is counted by the instruments themselves, with the watch's span as its exemplar; what is counted with
every look, and what is a state, they ask the ledger for when somebody collects.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from zuora_jobs.integrations.opentelemetry import names
from zuora_jobs.integrations.opentelemetry.figures import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.metrics import CallbackT, Meter

    from zuora_jobs.integrations.opentelemetry.figures import Tenant
    from zuora_jobs.transport.limits import Allowance
    from zuora_jobs.transport.quota import WindowLeft

_SHARED: WeakKeyDictionary[MeterProvider, Instruments] = WeakKeyDictionary()
_LOCK: Final = Lock()


def instruments_of(provider: MeterProvider, version: str) -> Instruments:
    """Give the instruments of a provider; asked again, the same."""
    with _LOCK:
        found = _SHARED.get(provider)
        if found is None:
            meter = provider.get_meter(names.SCOPE, version, schema_url=names.SCHEMA_URL)
            found = _SHARED[provider] = Instruments(meter)
        return found


class Instruments:
    """All instruments.

    Args:
        meter: makes them.
    """

    def __init__(self, meter: Meter) -> None:
        self.ledger = Ledger()
        self.finished = meter.create_counter(
            "zuora.jobs.finished",
            "{job}",
            "Jobs whose watch has ended, by how; lost ones may not have ended themselves.",
        )
        self.replayed = meter.create_counter(
            "zuora.jobs.replayed", "{job}", "Jobs whose ends were told from the journal of an earlier run."
        )
        self.left = meter.create_counter(
            "zuora.jobs.left", "{job}", "Jobs that nobody watches any more, though no end of theirs was told."
        )
        self.submitted = meter.create_counter("zuora.jobs.submitted", "{job}", "Jobs that were begun.")
        self.stalled = meter.create_counter(
            "zuora.jobs.stalled", "{job}", "Jobs that have not moved for far longer than their like."
        )
        self.unknown_status = meter.create_counter(
            "zuora.jobs.unknown_status", "{job}", "Statuses that the job's kind does not list, once for each job."
        )
        self.contact_losses = meter.create_counter(
            "zuora.contact.losses", "{loss}", "How often no look at any job was answered for a while."
        )
        self.duration = meter.create_histogram(
            "zuora.job.duration",
            "s",
            "From when the watch began, over all runs, until it ended.",
            explicit_bucket_boundaries_advisory=names.DURATION_BOUNDARIES,
        )
        self.notice_delay = meter.create_histogram(
            "zuora.job.notice_delay",
            "s",
            "By how much the end was noticed late at most: from the last look that saw the job run to the one that saw its"
            " end. The true delay is anything from 0 to this, and half of it on average.",
            explicit_bucket_boundaries_advisory=names.DELAY_BOUNDARIES,
        )
        self._observe_watchers(meter)
        self._observe_clients(meter)

    def _observe_watchers(self, meter: Meter) -> None:
        watched = self._each(lambda of: ((of.watched[kind], {names.KIND: kind}) for kind in of.watched))
        meter.create_observable_up_down_counter(
            "zuora.jobs.watched", [watched], "{job}", "Jobs that are being watched."
        )
        meter.create_observable_counter(
            "zuora.polls",
            [self._each(_polls)],
            "{poll}",
            "Looks at jobs: those that were answered, and with error.type those that were not, and were tried again.",
        )
        meter.create_observable_up_down_counter(
            "zuora.watchers.open", [self._total(lambda of: of.watchers)], "{watcher}", "Watchers that are open."
        )
        meter.create_observable_up_down_counter(
            "zuora.watchers.out_of_contact",
            [self._total(lambda of: of.out_of_contact)],
            "{watcher}",
            "Open watchers that nobody answers at present.",
        )

    def _observe_clients(self, meter: Meter) -> None:
        for name, unit, description, total in (
            ("zuora.requests.sent", "{request}", "Requests sent, without those for tokens.", "requests"),
            ("zuora.requests.refused", "{request}", "Requests that the tenant refused for want of quota.", "refused"),
            ("zuora.throttled.time", "s", "How long the server has made everybody wait.", "held_seconds"),
        ):
            meter.create_observable_counter(name, [self._total(_spent(total))], unit, description)
        for name, unit, description, sum_of in (
            ("zuora.budget.rate", "{request}/s", "Requests a second that may go; 0 during a wait.", "rate"),
            ("zuora.budget.concurrency", "{request}", "Requests that may be under way at once.", "concurrency"),
            ("zuora.budget.in_flight", "{request}", "Requests that are under way.", "in_flight"),
            ("zuora.budget.waiting", "{request}", "Requests that wait for a place in the budget.", "waiting"),
        ):
            meter.create_observable_gauge(name, [self._each(_sum(sum_of))], unit, description)
        meter.create_observable_gauge(
            "zuora.quota.remaining",
            [self._each(lambda of: _windows(of, lambda left: left.remaining))],
            "{request}",
            "Requests that are left of the tenant's quota in a window.",
        )
        meter.create_observable_gauge(
            "zuora.quota.limit",
            [self._each(lambda of: _windows(of, lambda left: left.limit))],
            "{request}",
            "Requests that the tenant allows in a window.",
        )

    def _each(self, figures_of: Callable[[Tenant], Iterable[tuple[float, dict[str, Any]]]]) -> CallbackT:
        """Give what observes, for each tenant, figures and the attributes that tell them apart."""

        def observe(_: CallbackOptions) -> Iterator[Observation]:
            for attributes, tenant in self.ledger.tenants():
                for figure, more in figures_of(tenant):
                    yield Observation(figure, attributes | more)

        return observe

    def _total(self, figure_of: Callable[[Tenant], float]) -> CallbackT:
        return self._each(lambda tenant: ((figure_of(tenant), {}),))


def _spent(name: str) -> Callable[[Tenant], float]:
    return lambda tenant: getattr(tenant.spent, name)


def _sum(name: str) -> Callable[[Tenant], Iterable[tuple[float, dict[str, Any]]]]:
    """Give what sums up a figure over a tenant's clients; nothing where all are closed, since a gauge is of now."""

    def summed(tenant: Tenant) -> Iterator[tuple[float, dict[str, Any]]]:
        if tenant.allowances:
            yield sum(getattr(allowance, name) for allowance in tenant.allowances), {}

    return summed


def _polls(tenant: Tenant) -> Iterator[tuple[int, dict[str, Any]]]:
    for (kind, error), polls in tenant.polls.items():
        yield polls, {names.KIND: kind} | ({names.ERROR_TYPE: error} if error is not None else {})


def _windows(tenant: Tenant, figure_of: Callable[[WindowLeft], float]) -> Iterator[tuple[float, dict[str, Any]]]:
    """Give a figure of each window; where several go by one name, of the one that is nearest to its end."""
    tightest: dict[str, WindowLeft] = {}
    for left in _all_windows(tenant.allowances):
        name = "minute" if left.seconds <= 60 else "hour" if left.seconds <= 3600 else "day"  # noqa: PLR2004
        if name not in tightest or left.remaining < tightest[name].remaining:
            tightest[name] = left
    for name, left in tightest.items():
        yield figure_of(left), {names.WINDOW: name}


def _all_windows(allowances: Iterable[Allowance]) -> Iterator[WindowLeft]:
    for allowance in allowances:
        yield from allowance.windows
