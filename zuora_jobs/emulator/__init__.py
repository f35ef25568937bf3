"""A local Zuora for demos and tests: same routes, same manners, scripted jobs, faults on demand.

    async with emulator.running() as zuora:
        job = zuora.add_job("aqua", life=[Step("submitted", 1), Step("executing", 2), Step("completed")])
        ...                                 # talk to zuora.url; the running loop is the only clock
        assert job.polls == 3
        zuora.on_submit("invoice-delete", ends="Failed", times=1)           # what the next submit becomes

It is read from the vendor's own pages and shares no code with the client that it tests. Nothing is imported before it
is asked for, so that the pytest plugin costs nothing where it is not used. Units: floats are seconds of loop time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zuora_jobs.emulator.deliveries import (
        Bomb,
        CutAfter,
        Drop,
        EndlessHeaders,
        Flood,
        LoseReply,
        Reset,
        Trickle,
        Truncate,
    )
    from zuora_jobs.emulator.effects import Answer, Delay, Effect, Hang, Patch, Relabel, RetryAt, Retype
    from zuora_jobs.emulator.faults import ActiveFault, Fault
    from zuora_jobs.emulator.jobs import Job
    from zuora_jobs.emulator.limits import API_SANDBOX, DEVELOPER_SANDBOX, PRODUCTION, Window
    from zuora_jobs.emulator.lives import Step
    from zuora_jobs.emulator.log import RequestRecord, Statistics
    from zuora_jobs.emulator.scripts import Submission
    from zuora_jobs.emulator.server import running
    from zuora_jobs.emulator.tenant import Emulator

__all__ = [
    "API_SANDBOX",
    "DEVELOPER_SANDBOX",
    "PRODUCTION",
    "ActiveFault",
    "Answer",
    "Bomb",
    "CutAfter",
    "Delay",
    "Drop",
    "Effect",
    "Emulator",
    "EndlessHeaders",
    "Fault",
    "Flood",
    "Hang",
    "Job",
    "LoseReply",
    "Patch",
    "Relabel",
    "RequestRecord",
    "Reset",
    "RetryAt",
    "Retype",
    "Statistics",
    "Step",
    "Submission",
    "Trickle",
    "Truncate",
    "Window",
    "running",
]

_HOMES = {
    "deliveries": ("Bomb", "CutAfter", "Drop", "EndlessHeaders", "Flood", "LoseReply", "Reset", "Trickle", "Truncate"),
    "effects": ("Answer", "Delay", "Effect", "Hang", "Patch", "Relabel", "RetryAt", "Retype"),
    "faults": ("ActiveFault", "Fault"),
    "jobs": ("Job",),
    "limits": ("API_SANDBOX", "DEVELOPER_SANDBOX", "PRODUCTION", "Window"),
    "lives": ("Step",),
    "log": ("RequestRecord", "Statistics"),
    "scripts": ("Submission",),
    "server": ("running",),
    "tenant": ("Emulator",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import the module that holds *name*, the first time it is asked for (PEP 562)."""
    if name not in _HOME_OF:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
