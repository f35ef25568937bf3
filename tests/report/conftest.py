"""A browser to look at pages with, and plausible histories to make them of: a night's billing run, with a crash in it,
throttled minutes, failures and losses.
"""

from __future__ import annotations

import math
import os
import shutil
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from attrs import evolve

from zuora_jobs.errors import Reason
from zuora_jobs.journal.history import Change, History, JobRecord, Minute, Run
from zuora_jobs.report.page import render

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from playwright.async_api import Page

    Opened = Callable[..., AbstractAsyncContextManager[Page]]

BEGAN = datetime(2026, 11, 21, 22, 0, 7, tzinfo=UTC)
HOURS = 6.5
CRASHED, RESTARTED = 2.6, 2.85
"""Hours into the run."""
THROTTLED = ((0.4, 0.55), (3.6, 3.7))

FAMILIES = {
    # share, first and last hour, median seconds, spread, statuses: pending, running, succeeded, failed
    "operation": (0.46, 0.0, 2.2, 40, 0.7, ("Pending", "Processing", "Completed", "Failed")),
    "bulk-pdf": (0.08, 0.5, 6.3, 900, 0.5, ("Submitted", "Executing", "Completed", "Error")),
    "aqua": (0.16, 0.0, 6.45, 260, 0.9, ("submitted", "executing", "completed", "error")),
    "credit-memo-apply": (0.30, 1.5, 4.5, 90, 0.6, ("Pending", "Processing", "Processed", "Error")),
}

REASONS = {
    "operation": [
        "50000040: Cannot find entity by key: '{id}'.",
        "58490030: Cannot reverse the invoice INV-{number} because a payment has been applied to it.",
        "58490050: The operation is locked by another process on account A-{number}. Try again later.",
    ],
    "bulk-pdf": ["90000: PDF generation failed for {number} of the invoices: template not found."],
    "aqua": [
        "90005: The query exceeded the time limit of 120 minutes.",
        "90006: There is a syntax error in one of the queries in the AQuA input: No such column 'Discount__c'.",
    ],
    "credit-memo-apply": [
        "58730022: The unapplied amount of credit memo CM-{number} is less than the amount to apply.",
        "58730045: Invoice INV-{number} is not in Posted status.",
    ],
}
ERRORS = [
    ("NotFound", "no such job: HTTP 404, 50000040: Cannot find entity by key: '{id}'."),
    ("WatchTimedOut", "the watch ran out of its time; the job was left alone"),
    ("Forbidden", "HTTP 403: This user has no permission for the tenant's entity."),
]


def at(hours: float) -> datetime:
    return BEGAN + timedelta(hours=hours)


@pytest.fixture(scope="session")
def night() -> Callable[..., History]:
    """Histories by their number of jobs."""
    return night_of


@cache
def night_of(count: int, *, seed: int = 7, allowed: float = 1200) -> History:
    """A run of *count* jobs in one night: two processes, the first of which was killed."""
    dice = Random(seed)
    jobs = sorted((_job(kind, dice) for kind in _kinds(count, dice)), key=lambda job: job.accepted)
    return History(
        jobs=tuple(jobs),
        minutes=tuple(_minutes(jobs, dice, allowed)),
        runs=(
            Run(began=BEGAN, ended=None, rate=allowed / 60, concurrency=20),
            Run(began=at(RESTARTED), ended=at(HOURS), rate=allowed / 60, concurrency=20),
        ),
    )


def _kinds(count: int, dice: Random) -> list[str]:
    shares = [family[0] for family in FAMILIES.values()]
    return [*FAMILIES, *dice.choices([*FAMILIES], shares, k=max(count - 4, 0))][:count]


def _job(kind: str, dice: Random) -> JobRecord:
    _, first, last, median, spread, (pending, running, succeeded, failed) = FAMILIES[kind]
    accepted = _noticed(at(first + (last - first) * dice.random() ** 1.3))
    seen, started, ended = (
        _noticed(accepted + timedelta(seconds=seconds))
        for seconds in (
            dice.uniform(0.2, 4),
            median * 0.25 * math.exp(dice.gauss(0, 0.8)),
            median * math.exp(dice.gauss(0, spread)),
        )
    )
    started = max(started, seen)
    ended = max(ended, started + timedelta(seconds=1))
    job_id = f"{dice.getrandbits(128):032x}"
    changes = [Change(at=seen, status=pending, phase="pending"), Change(at=started, status=running, phase="running")]
    if dice.random() < 0.01:
        changes.append(Change(at=started + (ended - started) / 2, status="Archiving", phase=None))
    polls = 2 + int((ended - accepted).seconds ** 0.5)
    job = JobRecord(kind=kind, id=job_id, accepted=accepted, changes=tuple(changes), polls=polls)
    chance = dice.random()
    if ended > at(HOURS):
        return evolve(job, changes=tuple(change for change in changes if change.at <= at(HOURS)))
    if chance < 0.008:
        error, message = dice.choice(ERRORS)
        message = message.format(id=job_id)
        return evolve(job, ended=ended, outcome="lost", error=(error, message))
    outcome = "failed" if chance < 0.045 else "cancelled" if chance < 0.055 and kind == "aqua" else "succeeded"
    status, phase = {"failed": failed, "cancelled": "cancelled"}.get(outcome, succeeded), outcome
    changes.append(Change(at=ended, status=status, phase=phase))
    reason = dice.choice(REASONS[kind]).format(id=job_id, number=f"{dice.randrange(10**8):08}")
    code, _, message = reason.partition(": ")
    return evolve(
        job,
        changes=tuple(changes),
        ended=ended,
        outcome=outcome,
        partial=outcome == "succeeded" and kind == "bulk-pdf" and dice.random() < 0.08,
        reasons=(Reason(code, message),) if outcome == "failed" else (),
    )


def _noticed(moment: datetime) -> datetime:
    """Nobody was looking between the crash and the restart."""
    return at(RESTARTED) + (moment - at(CRASHED)) / 20 if at(CRASHED) < moment < at(RESTARTED) else moment


def _minutes(jobs: list[JobRecord], dice: Random, allowed: float) -> Iterator[Minute]:
    looks: dict[int, float] = {}
    for job in jobs:
        end = ((job.ended or at(HOURS)) - BEGAN).total_seconds() / 60
        begin = (job.accepted - BEGAN).total_seconds() / 60
        for minute in range(int(begin), int(end) + 1):
            looks[minute] = looks.get(minute, 0) + job.polls / (int(end) - int(begin) + 1)
    whole = BEGAN.replace(second=0)
    for minute, requests in sorted(looks.items()):
        hour = minute / 60
        if CRASHED <= hour <= RESTARTED:
            continue
        slow = any(begin <= hour <= end for begin, end in THROTTLED)
        wanted = round(requests * dice.uniform(0.85, 1.15)) + 1
        yield Minute(
            began=whole + timedelta(minutes=minute),
            requests=wanted,
            refused=wanted // 6 if slow else 0,
            held_seconds=dice.uniform(8, 40) if slow else 0.0,
            allowed=min(allowed, wanted * 1.4 + 5) if slow else allowed,
        )


# --- the browser

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Any]:
    """One for a module. Where there is none the tests are skipped, but not in CI."""
    if not os.environ.get("CI"):
        pytest.importorskip("playwright")
        if not CHROMIUM:
            pytest.skip("there is no Chromium here")
    from playwright.async_api import async_playwright

    assert CHROMIUM, "CI has to have Chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        await browser.close()


@pytest.fixture
def opened(browser, tmp_path) -> Opened:
    """Open the page of a history; complain of every error, and of every request but the one for the page."""

    @asynccontextmanager
    async def opened(history, *, width=1280, suffix="", title="Nightly billing", **options: Any) -> AsyncIterator[Page]:
        path = tmp_path / "report.html"
        path.write_text(render(history, title=title), encoding="utf-8")
        context = await browser.new_context(viewport={"width": width, "height": 900}, **options)
        page = await context.new_page()
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("request", lambda request: wrong.append(request.url) if request.url != path.as_uri() else None)
        await page.goto(path.as_uri() + suffix)
        yield page
        assert wrong == []
        await context.close()

    return opened
