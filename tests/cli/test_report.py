"""`zuora-jobs report`: a run in figures, and as a page."""

import asyncio
import os
from pathlib import Path
from shutil import copyfile

import pytest

OLD = Path(__file__).parents[1] / "samples" / "journal-v1.db"


@pytest.fixture
def journal(tmp_path):
    """A journal that an older version wrote: nine jobs, of which one was lost and one had not ended."""
    return copyfile(OLD, tmp_path / "run.db")


def names_in(folder):
    return sorted(one.name for one in folder.iterdir())


async def test_a_run_is_told_in_figures_and_the_journal_stays_as_it_was(run, journal):
    before = journal.read_bytes()
    ran = await run("report", str(journal))
    assert (ran.status, ran.err) == (0, "")
    assert "9 jobs: 4 succeeded, 1 partly, 1 failed, 1 cancelled, 1 lost, 1 open" in ran.out
    assert "NotFound" in ran.out
    assert journal.read_bytes() == before
    assert names_in(journal.parent) == ["run.db"]


async def test_a_page_is_written_whole_and_said_so(run, journal, tmp_path):
    page = tmp_path / "report.html"
    ran = await run("report", str(journal), "-o", str(page))
    assert (ran.status, ran.out) == (0, "")
    assert f"wrote {page}: 9 jobs" in ran.err
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    assert "run.db" in text
    assert names_in(tmp_path) == ["report.html", "run.db"]


async def test_a_page_may_go_to_stdout(run, journal):
    ran = await run("report", str(journal), "-o", "-")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.rstrip().endswith("</html>")


async def test_it_can_be_looked_at_while_it_is_written(run, start, zuora, tmp_path):
    job = zuora.add_job("operation", ends="Completed", seconds=3600)
    journal = tmp_path / "run.db"
    command = await start(["watch", job.handle, "--journal", str(journal)], zuora.environment())
    async with asyncio.timeout(30):
        while len(zuora.requests) < 3:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.05)
    ran = await run("report", str(journal))
    assert "1 job: 1 open" in ran.out
    command.interrupt()
    assert (await command.ended()).status == 130


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.db"], "there is no journal"),
        (["."], "is a folder"),
        (["text.db"], "is no journal"),
        (["run.db", "-o", "nowhere/report.html"], "cannot write nowhere/report.html: No such file or directory"),
        (["run.db", "-o", "run.db"], "run.db is the journal itself, or a file of it: name another file for the page"),
        (["run.db", "-o", "./run.db-wal"], "is the journal itself, or a file of it"),
        (["run.db", "-o", "pipe"], "pipe is a device or a pipe: name a file for the page, or - for stdout"),
        (["pipe"], "is a device or a pipe"),
        (["run.db", "-o", "."], ". is a folder: name a file for the page, such as report.html"),
    ],
)
async def test_what_cannot_be_is_a_sentence_and_status_2(run, journal, monkeypatch, arguments, sentence):
    monkeypatch.chdir(journal.parent)
    (journal.parent / "text.db").write_text("this is no database, and long enough to be told from an empty one" * 9)
    os.mkfifo(journal.parent / "pipe")
    before = names_in(journal.parent)
    ran = await run("report", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1
    assert names_in(journal.parent) == before
