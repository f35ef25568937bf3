"""What is logged: which levels, which extras, as JSON lines; and nothing where nobody asked for it."""

import asyncio
import io
import json
import logging
import re
import subprocess
import sys
import timeit
from collections.abc import Iterator
from pathlib import Path

import pytest
from pythonjsonlogger.json import JsonFormatter

import zuora_jobs
from zuora_jobs import AQUA, OPERATION, Cadence, JobHandle, JobWatcher, Query, RunQueries, ZuoraClient, logs
from zuora_jobs.emulator import Fault, Step
from zuora_jobs.watching import events, logbook

ROOT = Path(zuora_jobs.__file__).parents[1]
EVERY_SECOND = Cadence.constant(1)
NAMES = set(re.findall(r"\bzuora_\w+", logs.__doc__ or "")) - {"zuora_jobs"}


class Lines:
    """The log as JSON lines, by a formatter that knows nothing of us."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.setFormatter(JsonFormatter("{levelname}{name}{message}", style="{"))

    def __call__(self, event=None):
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in lines if event is None or line.get("zuora_event") == event]


@pytest.fixture
def lines() -> Iterator[Lines]:
    logger, lines = logging.getLogger("zuora_jobs"), Lines()
    level = logger.level
    logger.addHandler(lines.handler)
    logger.setLevel(logging.DEBUG)
    yield lines
    logger.removeHandler(lines.handler)
    logger.setLevel(level)


@pytest.fixture
async def watcher(zuora):
    async with ZuoraClient(zuora.settings()) as client, JobWatcher(client, cadence=EVERY_SECOND) as watcher:
        yield watcher


def handle_of(job):
    return JobHandle.parse(job.handle)


# --- the table


def test_every_event_has_its_line():
    every = {one for one in vars(events).values() if isinstance(one, type) and issubclass(one, events.Event)}
    assert set(logbook._LINES) == every - {events.Event, events.JobEvent}


def test_no_extra_has_a_name_that_logging_uses_itself():
    record = logging.LogRecord("n", logging.INFO, "p", 1, "m", None, None)
    assert not NAMES & set(vars(record))
    assert all(name.startswith("zuora_") for name in NAMES)


@pytest.mark.looptime
async def test_a_watch_as_json_lines(zuora, watcher, lines):
    job = handle_of(zuora.add_job("operation", life=[Step("Pending", seconds=1.5), Step("Completed")]))
    await watcher.watch(job)
    about_job = {"zuora_handle": str(job), "zuora_kind": "operation", "zuora_id": job.id, "name": "zuora_jobs"}
    began, *observed, changed, finished = [line for line in lines() if line["name"] == "zuora_jobs"]
    assert began == about_job | {
        "levelname": "DEBUG",
        "message": f"{job}: watching",
        "zuora_event": "watch_began",
    }
    assert observed[-1] == about_job | {
        "levelname": "DEBUG",
        "message": f"{job}: Completed",
        "zuora_event": "observed",
        "zuora_status": "Completed",
        "zuora_phase": "succeeded",
        "zuora_polls": 3,
    }
    assert changed == about_job | {
        "levelname": "DEBUG",
        "message": f"{job}: from Pending to Completed",
        "zuora_event": "status_changed",
        "zuora_status": "Completed",
        "zuora_previous_status": "Pending",
    }
    elapsed = finished.pop("zuora_elapsed")
    assert elapsed == pytest.approx(2, abs=0.1)
    assert finished == about_job | {
        "levelname": "INFO",
        "message": f"{job}: succeeded (Completed), after {elapsed:.1f} s, polls 3",
        "zuora_event": "finished",
        "zuora_outcome": "succeeded",
        "zuora_partial": False,
        "zuora_status": "Completed",
        "zuora_polls": 3,
        "zuora_from_journal": False,
    }
    answers = [line for line in lines() if line["name"] == "zuora_jobs.http"]
    assert {line["levelname"] for line in answers} == {"DEBUG"}
    assert answers[-1]["zuora_http_path"] == f"/v1/operations/jobs/{job.id}"
    assert (answers[-1]["zuora_http_method"], answers[-1]["zuora_http_status"]) == ("GET", 200)
    assert answers[-1]["zuora_http_bytes"] > 0


@pytest.mark.looptime
async def test_levels_are_those_of_what_is_to_be_done_about_it(zuora, watcher, lines):
    odd = zuora.add_job("operation", life=[Step("Pondering", seconds=3), Step("Completed")])
    stuck = zuora.add_job("operation", life=[Step("Processing", seconds=8000), Step("Completed")])
    failed, ended = zuora.add_job("aqua", ends="aborted", seconds=3), zuora.add_job("aqua", life=[Step("completed")])
    zuora.fault(Fault("throttled", times=1, after=4))
    zuora.on_submit("aqua", ends="completed", seconds=1)
    minutely = Cadence.constant(60)
    await watcher.watch_all([*map(handle_of, (odd, failed)), OPERATION.handle("nobody")])
    await watcher.cancel(handle_of(ended))
    await watcher.run(RunQueries([Query("All", "select Id from Account")]))
    zuora.outage(60, "dropped")
    await watcher.watch_all([handle_of(stuck), OPERATION.handle("nobody-else")], cadence=minutely)
    left = asyncio.create_task(watcher.watch(handle_of(zuora.add_job("aqua", ends="completed", seconds=1000))))
    await asyncio.sleep(2)
    left.cancel()
    await asyncio.wait([left])
    levels: dict[str, set[str]] = {}
    for line in lines():
        if "zuora_event" in line:
            levels.setdefault(line["zuora_event"], set()).add(line["levelname"])
    assert levels == {
        "submitted": {"INFO"},
        "watch_began": {"DEBUG"},
        "watch_left": {"DEBUG"},
        "observed": {"DEBUG"},
        "status_changed": {"DEBUG"},
        "unknown_status": {"WARNING"},
        "stalled": {"WARNING"},
        "retrying": {"INFO"},
        "cancel_refused": {"INFO"},
        "finished": {"INFO", "WARNING"},
        "throttled": {"INFO"},
        "lost_contact": {"WARNING"},
        "recovered": {"WARNING"},
    }
    assert {line["zuora_outcome"]: line["levelname"] for line in lines("finished")} == {
        "succeeded": "INFO",
        "failed": "INFO",
        "lost": "WARNING",
    }
    (lost, _) = (line for line in lines("finished") if line["zuora_outcome"] == "lost")
    assert lost["zuora_error"] == "NotFound"
    assert lost["zuora_error_message"] in lost["message"]
    retried = lines("retrying")[0]
    assert retried["message"].startswith(
        f"{retried['zuora_handle']}: trying again in {retried['zuora_seconds']:.1f} s: "
    )
    used = {name for line in lines() for name in line if name.startswith("zuora_")}
    assert used <= NAMES, "each is documented"


@pytest.mark.looptime
async def test_what_is_a_template_is_not_filled_in_before_somebody_listens(zuora, watcher, caplog):
    job = handle_of(zuora.add_job("aqua", ends="completed", seconds=2))
    with caplog.at_level(logging.DEBUG, "zuora_jobs"):
        await watcher.watch(job)
    templates = {record.msg for record in caplog.records if getattr(record, "zuora_event", None) == "observed"}
    assert templates == {"%(handle)s: %(status)s"}, "what collects records sees one text for all"


# --- quiet


PROGRAM = """
import asyncio, logging
from zuora_jobs import OPERATION, Cadence, JobWatcher, ZuoraClient, emulator
from zuora_jobs.emulator import Fault, Step

async def main():
    async with emulator.running() as zuora:
        zuora.add_job("operation", id="odd", life=[Step("Pondering", seconds=0.3), Step("Completed")])
        zuora.fault(Fault("bad-gateway", times=2))
        async with (
            ZuoraClient(zuora.settings()) as client,
            JobWatcher(client, cadence=Cadence.constant(0.05), observers=[lambda event: 1 / 0]) as watcher,
        ):
            outcomes = await watcher.watch_all([OPERATION.handle("odd"), OPERATION.handle("nobody")])
    print(*(outcome.name for outcome in outcomes.values()))

%s
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("set_up", "told"),
    [
        ("", []),
        ("logging.basicConfig(format='%(levelname)s %(message)s')", ["WARNING", "ERROR"]),
        ("logging.basicConfig(format='%(levelname)s %(message)s', level='INFO')", ["INFO", "WARNING", "ERROR"]),
    ],
    ids=["as it is", "with warnings", "with all"],
)
def test_a_program_that_has_not_set_up_logging_sees_nothing(set_up, told):
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", PROGRAM % set_up],
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "succeeded lost\n")
    levels = re.findall(r"^(DEBUG|INFO|WARNING|ERROR) ", done.stderr, re.MULTILINE)
    assert set(levels) == set(told), done.stderr
    if not told:
        assert done.stderr == ""


@pytest.mark.looptime
async def test_where_nobody_listens_no_event_is_put_into_words(zuora, watcher, monkeypatch):
    made = []
    monkeypatch.setattr("zuora_jobs.watching.herald.Herald.about", lambda *_, **__: made.append(1))
    monkeypatch.setattr(logging.getLogger("zuora_jobs"), "level", logging.WARNING)
    watch = asyncio.create_task(watcher.watch(handle_of(zuora.add_job("aqua", ends="completed", seconds=100))))
    await asyncio.sleep(10)
    assert made == []
    watch.cancel()
    await asyncio.wait([watch])


@pytest.mark.looptime
async def test_for_observers_alone_no_line_is_put_together(zuora, watching, monkeypatch):
    made = []
    monkeypatch.setattr(logbook, "about", lambda *_, **__: made.append(1))
    monkeypatch.setattr(logging.getLogger("zuora_jobs"), "level", logging.WARNING)
    async with watching(zuora) as watcher:
        await watcher.watch(handle_of(zuora.add_job("aqua", ends="completed", seconds=10)))
    assert made == []


def test_to_ask_whether_anybody_listens_costs_next_to_nothing():
    seconds = min(timeit.repeat(lambda: logbook.is_logged(events.Observed), number=10_000, repeat=5)) / 10_000
    assert seconds < 5e-6  # 0.2 us where nothing else runs


# --- what is not ours to tell


@pytest.mark.looptime
async def test_what_zuora_gives_back_of_ours_is_in_no_record_and_no_span(zuora, watching, lab, lines):
    """A status is Zuora's own words, and goes into texts, extras and attributes alike."""
    token = "k4n4r1e-t0ken-of-ours"
    life = [Step(f"Waiting for {token}", seconds=2), Step(f"https://b.s3.example/?X-Amz-Signature={token}", seconds=2)]
    job = zuora.add_job("aqua", life=[*life, Step("aborted")])
    job_settings = zuora.settings(access_token=token, client_id=None, client_secret=None)
    zuora.tokens.accepts = lambda *_: True
    async with (
        ZuoraClient(job_settings) as client,
        JobWatcher(client, cadence=EVERY_SECOND, observers=[lab.telemetry()]) as watcher,
    ):
        outcome = await watcher.watch(handle_of(job), timeout=60)
    assert outcome.name == "failed"
    told = lines.stream.getvalue() + "".join(span.to_json() for span in lab.spans())
    assert "Waiting for (hidden)" in told
    assert token not in told
    assert "X-Amz" not in told


def test_an_error_that_is_not_ours_is_told_by_its_class_only():
    extras = logs.about(AQUA.handle("j1"), error=RuntimeError("Authorization: Bearer k4n4r1e"), seconds=1.5)
    assert extras == {
        "zuora_handle": "aqua:j1",
        "zuora_kind": "aqua",
        "zuora_id": "j1",
        "zuora_error": "RuntimeError",
        "zuora_seconds": 1.5,
    }
