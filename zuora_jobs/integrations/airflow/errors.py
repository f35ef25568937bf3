"""How a task fails: a job's own failure is final, our losing sight of it is what Airflow's retries are for.

`failed` and `cancelled` end a task without another try, which would see the same end again. `lost` means that the job may be
running still: the next try watches the same job on. Whoever clears a task begins anew.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from zuora_jobs.errors import (
    ConfigurationError,
    FileGone,
    Forbidden,
    NotFound,
    Rejected,
    SubmitUncertain,
    WrongContent,
    ZuoraJobsError,
)
from zuora_jobs.integrations.airflow.accounts import complaints

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class ZuoraJobFailed(AirflowFailException):
    """A job ended badly; why is in the message, in Zuora's words. No other try is made."""


class ZuoraJobCancelled(AirflowFailException):
    """A job was cancelled, by whomever. No other try is made."""


class ZuoraSubmitUncertain(AirflowFailException):
    """Whether Zuora has begun a job is not known; the message says how to find out. No other try is made."""


class ZuoraJobLost(AirflowException):
    """A job may have ended well, badly, or not at all: nobody knows. The next try watches it on."""


_WORST_FIRST: Final[dict[str, type[Exception]]] = {
    "lost": ZuoraJobLost,
    "failed": ZuoraJobFailed,
    "cancelled": ZuoraJobCancelled,
}
"""Where some jobs were lost, another try may tell of them; then those that ended badly are told again."""

_THE_SAME_AGAIN: Final = (ConfigurationError, Rejected, Forbidden, NotFound, FileGone, WrongContent)
"""What another try would only hear once more."""


def check(accounts: Sequence[Mapping[str, Any]]) -> None:
    """Raise what became of *accounts*, unless all jobs succeeded.

    Raises:
        ZuoraJobLost: some job was lost.
        ZuoraJobFailed: none was, and some failed.
        ZuoraJobCancelled: none did, and some was cancelled.
    """
    bad = [account for word in _WORST_FIRST for account in accounts if account["outcome"] == word]
    if bad:
        raise _WORST_FIRST[bad[0]["outcome"]](complaints(bad))


def accounts_of(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give what a trigger tells of its jobs.

    Raises:
        ZuoraJobLost: it could not watch them; says why.
    """
    if "error" in event:
        message = f"the jobs could not be watched: {event['error']['message']}"
        raise ZuoraJobLost(message)
    return list(event["accounts"])


def _state_of(context: Mapping[str, Any] | None) -> str:
    """Give the address of what a task remembers, at Airflow's API server."""
    if context is None:
        return "its task state, in Airflow's API"
    ti = context["ti"]
    place = f"/api/v2/dags/{ti.dag_id}/dagRuns/{quote(ti.run_id)}/taskInstances/{ti.task_id}/state-store"
    return f"{place}?map_index={ti.map_index}" if ti.map_index is not None and ti.map_index >= 0 else place


@contextmanager
def as_airflow_has_it(context: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Raise this package's errors as Airflow's: for another try, or for none.

    Args:
        context: of a task that submits.

    Raises:
        ZuoraSubmitUncertain, AirflowFailException: without another try.
        AirflowException: with one.
    """
    try:
        yield
    except SubmitUncertain as error:
        message = (
            f"{error.doubt}. If it was not carried out, have this task forget it and clear the task:"
            f" DELETE {_state_of(context)}"
        )
        raise ZuoraSubmitUncertain(message) from None
    except _THE_SAME_AGAIN as error:
        raise AirflowFailException(str(error)) from None
    except ZuoraJobsError as error:
        raise AirflowException(str(error)) from None
