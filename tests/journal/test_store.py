"""The store by itself: what is written is what is read, whole or not at all, whatever comes between."""

import shutil
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zuora_jobs import (
    AQUA,
    BULK_PDF,
    CREDIT_MEMO_APPLY,
    OPERATION,
    AquaJob,
    BulkPdfJob,
    Cancelled,
    CorruptJournal,
    CreditMemoApplyJob,
    Failed,
    JournalError,
    JournalInUse,
    Lost,
    NewerJournal,
    NotFound,
    OperationJob,
    Reason,
    Succeeded,
)
from zuora_jobs.journal.entries import NEW, Accepted, Acknowledged, Began, Ended, Left, Saved, Seen, Spent, Stopped
from zuora_jobs.journal.files import resolved
from zuora_jobs.journal.reading import read_history
from zuora_jobs.journal.store import Store
from zuora_jobs.protocol import wire
from zuora_jobs.protocol.jsontext import parse

T0 = 1_790_000_000.25
A, B = AQUA.handle("a1"), BULK_PDF.handle("b1")


def succeeded(handle=A, *, polls=3, document=None):
    job = wire.structure(handle.kind.model, document or {"status": handle.kind.succeeded[0], "new": [1, None]})
    return Succeeded(handle=handle, job=job, polls=polls, elapsed=1.0)


def failed(handle=A, *, polls=3):
    job = wire.structure(
        handle.kind.model,
        {"status": handle.kind.failed[0], "reasons": [{"code": 5, "message": "no"}], "errorCode": "5", "message": "no"},
    )
    return Failed(handle=handle, job=job, polls=polls, elapsed=1.0)


def cancelled(handle=A, *, polls=3):
    job = wire.structure(handle.kind.model, {"status": handle.kind.cancelled[0]})
    return Cancelled(handle=handle, job=job, polls=polls, elapsed=1.0)


def lost(handle=A, *, polls=3, message="HTTP 404"):
    return Lost(handle=handle, job=None, polls=polls, elapsed=1.0, error=NotFound(message, status=404))


@pytest.fixture
def store(path):
    opened = Store(path)
    yield opened
    opened.close()


def moment(seconds):
    return datetime.fromtimestamp(seconds, UTC)


# --- one entry each


def test_a_job_that_was_never_seen_has_no_past(store):
    assert store.write([Accepted(A, T0)]) == [NEW]


def test_a_job_is_told_its_age_and_its_looks(store):
    store.write([Accepted(A, T0), Seen(A, T0 + 1, "executing", "running", 7)])
    (past,) = store.write([Accepted(A, T0 + 60)])
    assert (past.age, past.polls, past.status, past.outcome) == (60.0, 7, "executing", None)


def test_a_clock_that_was_set_back_makes_no_job_younger_than_new(store):
    store.write([Accepted(A, T0)])
    (past,) = store.write([Accepted(A, T0 - 3600)])
    assert past.age == 0.0


def test_only_what_asks_is_answered(store):
    answers = store.write([Accepted(A, T0), Seen(A, T0, "executing", "running", 1), Left(A, 1), Accepted(B, T0)])
    assert answers == [NEW, None, None, NEW]


@pytest.mark.parametrize("outcome", [succeeded(), failed(), cancelled(), succeeded(B), failed(B)])
def test_an_end_is_told_again_as_it_was(outcome, store):
    handle = outcome.handle
    store.write([Accepted(handle, T0), Ended(outcome, T0 + 30)])
    (past,) = store.write([Accepted(handle, T0 + 100)])
    assert past.outcome == type(outcome)(handle=handle, job=outcome.job, polls=3, elapsed=30.0)
    assert past.outcome.job.raw == outcome.job.raw
    assert past.acknowledged is False


def test_a_lost_job_is_watched_again_with_its_age_and_its_looks(store):
    store.write([Accepted(A, T0), Seen(A, T0, "executing", "running", 2), Ended(lost(polls=5), T0 + 30)])
    store.write([Acknowledged(A, T0 + 31)])
    (past,) = store.write([Accepted(A, T0 + 100)])
    assert (past.age, past.polls, past.status, past.outcome, past.acknowledged) == (100.0, 5, "executing", None, True)
    (job,) = read_history(store.path).jobs
    assert (job.ended, job.outcome, job.error, job.acknowledged) == (None, None, None, False)


def test_an_end_may_be_acknowledged_and_what_has_not_ended_may_not(store):
    store.write([Accepted(A, T0), Accepted(B, T0), Ended(succeeded(), T0 + 1)])
    store.write([Acknowledged(A, T0 + 2), Acknowledged(B, T0 + 2), Acknowledged(OPERATION.handle("nobody"), T0)])
    past, other = store.write([Accepted(A, T0 + 3), Accepted(B, T0 + 3)])
    assert (past.acknowledged, other.acknowledged) == (True, False)
    assert [job.acknowledged for job in read_history(store.path).jobs] == [True, False]


def test_what_is_to_be_resumed_is_all_but_ends_that_were_acknowledged(store):
    handles = [AQUA.handle(f"a{number}") for number in range(6)]
    store.write([Accepted(handle, T0) for handle in handles])
    store.write([Ended(succeeded(handles[1]), T0), Ended(failed(handles[2]), T0), Ended(lost(handles[3]), T0)])
    store.write([Ended(lost(handles[4]), T0), Ended(cancelled(handles[5]), T0)])
    store.write([Acknowledged(handles[1], T0), Acknowledged(handles[4], T0), Acknowledged(handles[5], T0)])
    assert store.to_resume() == [handles[0], handles[2], handles[3], handles[4]]
    assert store.outcomes() == {"succeeded": 1, "failed": 1, "lost": 2, "cancelled": 1}
    assert set(store.open_since()) == {("aqua", handle.id) for handle in (handles[0], handles[3], handles[4])}


def test_durations_are_those_of_jobs_that_ended_in_ascending_order(store):
    handles = [AQUA.handle(f"a{number}") for number in range(4)]
    store.write([*(Accepted(handle, T0) for handle in handles), Accepted(B, T0)])
    store.write(
        [Ended(succeeded(handles[0]), T0 + 9), Ended(failed(handles[1]), T0 + 2), Ended(cancelled(handles[2]), T0 + 5)]
    )
    store.write([Ended(lost(handles[3]), T0 + 1), Ended(succeeded(B), T0 + 4)])
    assert store.durations() == {"aqua": [2.0, 5.0, 9.0], "bulk-pdf": [4.0]}


def test_a_life_is_kept_status_by_status(store):
    store.write([Accepted(A, T0), Seen(A, T0 + 1, "submitted", "pending", 1)])
    store.write([Seen(A, T0 + 2, "Rekindled", None, 2), Seen(A, T0 + 3, "submitted", "pending", 3), Left(A, 9)])
    (job,) = read_history(store.path).jobs
    assert [(change.at, change.status, change.phase) for change in job.changes] == [
        (moment(T0 + 1), "submitted", "pending"),
        (moment(T0 + 2), "Rekindled", None),
        (moment(T0 + 3), "submitted", "pending"),
    ]
    assert (job.handle, job.accepted, job.polls, job.status, job.seconds) == (
        "aqua:a1",
        moment(T0),
        9,
        "submitted",
        None,
    )


def test_why_a_job_failed_or_was_lost_is_kept(store):
    store.write([Accepted(A, T0), Accepted(B, T0), Ended(failed(), T0 + 2), Ended(lost(B), T0 + 3)])
    one, other = read_history(store.path).jobs
    assert one.reasons == (Reason("5", "no"),)
    assert (one.outcome, one.seconds, one.error) == ("failed", 2.0, None)
    assert (other.outcome, other.seconds, other.error) == ("lost", 3.0, ("NotFound", "HTTP 404"))


def test_a_partial_success_is_one(store):
    store.write([Accepted(B, T0), Ended(succeeded(B, document={"status": "PartialComplete"}), T0)])
    assert read_history(store.path).jobs[0].partial is True


def test_saved_files_are_kept(store):
    store.write([Accepted(A, T0), Saved(A, T0 + 1, "/tmp/é.csv", 12), Ended(succeeded(), T0 + 2)])
    store.write([Saved(A, T0 + 3, "/tmp/b.csv", 2**40)])
    saved = read_history(store.path).jobs[0].files
    assert [(file.at, file.path, file.size) for file in saved] == [
        (moment(T0 + 1), "/tmp/é.csv", 12),
        (moment(T0 + 3), "/tmp/b.csv", 2**40),
    ]


def test_runs_are_kept_also_those_that_were_killed(path):
    for number, killed in enumerate([False, True, False]):
        store = Store(path)
        store.write([Began(T0 + number, 100.0, 20)])
        if not killed:
            store.write([Stopped(T0 + number + 0.5)])
        store.close()
    runs = read_history(path).runs
    assert [(run.began, run.ended) for run in runs] == [
        (moment(T0), moment(T0 + 0.5)),
        (moment(T0 + 1), None),
        (moment(T0 + 2), moment(T0 + 2.5)),
    ]
    assert {(run.rate, run.concurrency) for run in runs} == {(100.0, 20)}


def test_what_is_spent_in_a_minute_is_added_up(store):
    whole = T0 // 60 * 60
    store.write(
        [Spent(whole, 3, 1, 0.5, 10.0), Spent(whole + 59.9, 4, 0, 1.0, 20.0), Spent(whole + 60, 5, 2, 0.0, 5.0)]
    )
    minutes = read_history(store.path).minutes
    assert [(m.began, m.requests, m.refused, m.held_seconds, m.allowed) for m in minutes] == [
        (moment(whole), 7, 1, 1.5, 1200.0),
        (moment(whole + 60), 5, 2, 0.0, 300.0),
    ]


# --- whole or not at all


@pytest.mark.parametrize("position", range(4))
def test_a_batch_with_one_bad_entry_leaves_nothing(position, store):
    store.write([Accepted(B, T0)])
    batch: list[Any] = [Accepted(A, T0), Seen(A, T0, "executing", "running", 1), Ended(succeeded(), T0 + 1)]
    batch.insert(position, object())
    with pytest.raises(Exception, match=r"object"):
        store.write(batch)
    assert [job.handle for job in read_history(store.path).jobs] == ["bulk-pdf:b1"]
    assert store.write([Accepted(A, T0)]) == [NEW]
    store.write([Ended(succeeded(), T0 + 1)])
    assert store.outcomes() == {"succeeded": 1}


def test_an_empty_batch_is_one_too(store):
    assert store.write([]) == []


# --- strange words


STRANGE = [
    "\ud800",
    "a\x00b",
    "😀" * 3000,
    "x" * 3_000_000,
    " ",
    "\n",
    "'; DROP TABLE jobs; --",
    "\udcff" * 5000,
    "%s{}",
]


@pytest.mark.parametrize("text", STRANGE, ids=range(len(STRANGE)))
def test_any_status_reason_and_path_can_be_kept(text, store):
    document = {"status": "failed", "message": text, "errorCode": text, text[:50]: text}
    outcome = Failed(handle=A, job=wire.structure(AquaJob, document), polls=1, elapsed=1.0)
    store.write([Accepted(A, T0), Seen(A, T0, text, None, 1), Saved(A, T0, text, 1), Ended(outcome, T0)])
    store.write([Accepted(B, T0), Ended(lost(B, message=text), T0)])
    one, other = read_history(store.path).jobs
    assert one.outcome == "failed"
    assert other.error is not None
    assert len(one.status or "") + len(one.reasons[0].message or "") + len(other.error[1]) < 30_000
    past, _ = store.write([Accepted(A, T0), Accepted(B, T0)])
    assert past.outcome.job == outcome.job


def test_the_error_that_no_secret_is_in_stays_as_it_is(store):
    store.write([Accepted(A, T0), Ended(lost(message='GET /v1/x: HTTP 404: "é"'), T0, ("a-long-secret",))])
    assert read_history(store.path).jobs[0].error == ("NotFound", 'GET /v1/x: HTTP 404: "é"')


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(Saved(B, T0, "/tmp/x", 1), id="a file of a job that was never accepted"),
        pytest.param(Saved(A, T0, "/tmp/x", 2**70), id="a file larger than any disk"),
        pytest.param(Ended(succeeded(document=parse(b'{"status": "completed", "n": 1e400}')), T0), id="a huge number"),
    ],
)
def test_one_entry_that_cannot_be_written_is_no_trouble_of_the_others(entry, store):
    store.write([Accepted(A, T0)])
    with suppress(JournalError):
        store.write([entry])


def test_the_deepest_document_that_is_read_can_be_written(store):
    deepest = None
    for depth in range(100, 2000, 10):
        try:
            deepest = wire.read(b'{"status": "completed", "x": ' + b"[" * depth + b"]" * depth + b"}", AquaJob)
        except Exception:  # noqa: BLE001 - too deep for the parser, and so for everybody
            break
    assert deepest is not None
    outcome = Succeeded(handle=A, job=deepest, polls=1, elapsed=1.0)
    store.write([Accepted(A, T0), Ended(outcome, T0)])
    assert store.outcomes() == {"succeeded": 1}


# --- documents that say nothing any more


@pytest.mark.parametrize("document", ["", "{", '{"status":"comp', "null", '{"status":"Rekindled"}', None])
def test_an_end_whose_document_says_nothing_is_no_end(document, store, caplog):
    store.write([Accepted(A, T0), Ended(succeeded(polls=4), T0 + 1), Acknowledged(A, T0 + 1)])
    store._database.execute("UPDATE jobs SET document = ?", (document,))
    (past,) = store.write([Accepted(A, T0 + 9)])
    assert (past.outcome, past.polls, past.age) == (None, 4, 9.0)
    assert store.to_resume() == [A]
    assert read_history(store.path).jobs[0].outcome is None


def test_a_job_of_a_kind_that_is_not_known_is_left_and_said_so(store, caplog):
    store.write([Accepted(A, T0)])
    store._database.execute("INSERT INTO jobs (kind, id, accepted) VALUES ('journal-run', 'j1', 1.0)")
    assert store.to_resume() == [A]
    assert "1 of its jobs are of the kind 'journal-run'" in caplog.text
    assert [job.handle for job in read_history(store.path).jobs] == ["aqua:a1", "journal-run:j1"]


# --- an older version


def test_a_journal_of_version_1_goes_on(version_1):
    before = read_history(version_1)
    store = Store(version_1)
    try:
        assert read_history(version_1) == before
        resumed = [str(handle) for handle in store.to_resume()]
        assert len(resumed) == 8  # all but the one that was acknowledged
        assert "operation:00000000000000000000000000000000" in resumed
        assert store.outcomes() == {"succeeded": 5, "cancelled": 1, "failed": 1, "lost": 1}
        handles = [record.handle for record in before.jobs]
        pasts = store.write([Accepted(handle, T0) for handle in _parsed(handles)])
        told = [past.outcome.name if past is not None and past.outcome is not None else None for past in pasts]
        assert told == [None if record.outcome in {None, "lost"} else record.outcome for record in before.jobs]
        assert [past is not None and past.acknowledged for past in pasts].count(True) == 2
    finally:
        store.close()


def _parsed(texts):
    from zuora_jobs import JobHandle

    return [JobHandle.parse(text) for text in texts]


def test_a_journal_of_version_1_is_read_without_becoming_another(version_1):
    raw = version_1.read_bytes()
    history = read_history(version_1)
    assert version_1.read_bytes() == raw
    assert [one.name for one in version_1.parent.iterdir()] == ["run.db"]
    assert (len(history.jobs), history.minutes, history.runs) == (9, (), ())


# --- who may write, and what


def test_the_second_is_told_at_once(store):
    with pytest.raises(JournalInUse, match=r"run\.db is in use by another process"):
        Store(store.path)
    store.write([Accepted(A, T0)])


@pytest.mark.parametrize("gone", ["run.db-lock", "run.db"])
def test_who_writes_notices_that_somebody_has_cleared_away_what_he_writes_to(gone, store):
    store.write([Accepted(A, T0)])
    store.path.with_name(gone).unlink()
    with pytest.raises(JournalError, match="was removed or replaced while it was being written"):
        store.write([Accepted(B, T0)])


def test_a_second_that_comes_when_the_lock_has_been_cleared_away_stops_the_first(store):
    store.path.with_name("run.db-lock").unlink()
    second = Store(store.path)
    with pytest.raises(JournalError, match="was removed or replaced"):
        store.write([Accepted(A, T0)])
    second.write([Accepted(B, T0)])
    second.close()
    assert [job.id for job in read_history(store.path).jobs] == [B.id]


def test_what_is_no_journal_is_left_without_a_lock_beside_it(path):
    path.write_text("handles, say, and not a few of them\n" * 50)
    with pytest.raises(CorruptJournal, match="is no journal"):
        Store(path)
    assert [one.name for one in path.parent.iterdir()] == ["run.db"]


def test_when_the_first_has_closed_the_second_may(path):
    Store(path).close()
    Store(path).close()


@pytest.mark.parametrize("through", ["folder", "symlink", "hardlink"])
def test_the_second_is_refused_by_whatever_name_it_comes(through, store, tmp_path):
    other = tmp_path / "other.db"
    if through == "symlink":
        other.symlink_to(store.path)
    elif through == "hardlink":
        other.hardlink_to(store.path)
    else:
        (tmp_path / "elsewhere").symlink_to(tmp_path)
        other = tmp_path / "elsewhere" / store.path.name
    with pytest.raises(JournalError, match=r"is in use by another|has another name"):
        Store(resolved(other)).close()


def is_untouched(path, raw):
    return path.read_bytes() == raw and not path.with_name(path.name + "-wal").exists()


@pytest.mark.parametrize("size", [2, 15, 16, 100, 512, 4096, 20_000])
def test_garbage_is_refused_and_stays_as_it_was(size, path):
    raw = bytes((number * 37 + size) % 251 for number in range(size))
    path.write_bytes(raw)
    with pytest.raises(CorruptJournal, match=r"damaged.*move it away"):
        Store(path)
    assert is_untouched(path, raw)
    with pytest.raises(CorruptJournal):
        read_history(path)
    assert is_untouched(path, raw)


@pytest.mark.parametrize("cut", [2, 99, 100, 4095, 4096, 10_000, 20_480])
def test_a_journal_that_was_cut_short_is_refused_or_whole(cut, version_1):
    version_1.write_bytes(version_1.read_bytes()[:cut])
    with pytest.raises(JournalError):
        read_history(version_1)
    with pytest.raises(CorruptJournal):
        Store(version_1)


def test_a_later_version_is_refused_and_stays_as_it_was(path):
    store = Store(path)
    store._database.execute("PRAGMA user_version = 99")
    store.close()
    raw = path.read_bytes()
    for attempt in (Store, read_history):
        with pytest.raises(NewerJournal) as caught:
            attempt(path)
        assert caught.value.version == 99
        assert is_untouched(path, raw)


@pytest.fixture
def foreign(path):
    """Another program's database, in the usual mode."""
    import sqlite3

    database = sqlite3.connect(path)
    database.execute("CREATE TABLE accounts (id)")
    database.commit()
    database.close()
    return path


def test_another_database_is_refused(foreign):
    for attempt in (Store, read_history):
        with pytest.raises(CorruptJournal, match="not a journal"):
            attempt(foreign)


def test_another_database_is_read_without_being_touched(foreign):
    raw = foreign.read_bytes()
    with pytest.raises(CorruptJournal):
        read_history(foreign)
    assert is_untouched(foreign, raw)


def test_another_database_is_refused_without_being_touched(foreign):
    raw = foreign.read_bytes()
    with pytest.raises(CorruptJournal):
        Store(foreign)
    assert is_untouched(foreign, raw)


def test_an_empty_file_becomes_a_journal_and_tells_nothing_before(path):
    path.touch()
    with pytest.raises(CorruptJournal, match="is empty"):
        read_history(path)
    Store(path).close()
    assert read_history(path).jobs == ()


# --- against a model


@define
class Row:
    """What the model knows of a job."""

    accepted: float
    changes: list[tuple[str, str | None]] = field(factory=list)
    polls: int = 0
    outcome: str | None = None
    ended: float | None = None
    acknowledged: bool = False
    files: list[str] = field(factory=list)
    documents: int = 0


HANDLES = [OPERATION.handle("o1"), AQUA.handle("a1"), AQUA.handle("a2"), BULK_PDF.handle("b1")]
HANDLES += [CREDIT_MEMO_APPLY.handle("c1")]
STATUSES = ["Pending", "executing", "\ud800", "Rekindled?", ""]
MODELS = {"operation": OperationJob, "aqua": AquaJob, "bulk-pdf": BulkPdfJob, "credit-memo-apply": CreditMemoApplyJob}

handles = st.sampled_from(HANDLES)
steps = st.lists(
    st.tuples(st.just("accept"), handles)
    | st.tuples(st.just("see"), handles, st.sampled_from(STATUSES), st.integers(0, 99))
    | st.tuples(st.just("leave"), handles, st.integers(0, 99))
    | st.tuples(st.just("end"), handles, st.sampled_from(["succeeded", "failed", "lost"]), st.integers(0, 99))
    | st.tuples(st.just("acknowledge"), handles)
    | st.tuples(st.just("save"), handles, st.text(max_size=5)),
    min_size=1,
    max_size=6,
)


class Histories(RuleBasedStateMachine):
    """A store, what it should hold, and whatever may happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="zuora-jobs-"))
        self.path = self.folder / "run.db"
        self.store = Store(self.path)
        self.now = T0
        self.rows: dict[Any, Row] = {}
        self.watched: set[Any] = set()
        self.copies = 0

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(steps=steps, fails=st.integers(0, 9))
    def write(self, steps: list[Any], fails: int) -> None:
        """Write a batch; now and then one that fails at its end."""
        import copy

        rows, watched = copy.deepcopy(self.rows), set(self.watched)
        entries: list[Any] = []
        expected: list[Any] = []
        for name, handle, *details in steps:
            self.now += 1
            entry, answer = self._step(rows, watched, name, handle, *details)
            if entry is not None:
                entries.append(entry)
                expected.append(answer)
        if fails == 0:
            with suppress(Exception):
                self.store.write([*entries, object()])  # type: ignore[list-item]
                raise AssertionError("it was written")
            self._reopen()  # a journal that has failed is done with
            return
        answers = self.store.write(entries)
        self.rows, self.watched = rows, watched
        for past, wanted in zip(answers, expected, strict=True):
            if wanted is None:
                assert past is None
            else:
                assert past is not None
                age, polls, outcome, acknowledged = wanted
                assert (past.polls, past.outcome and past.outcome.name, past.acknowledged) == (
                    polls,
                    outcome,
                    acknowledged,
                )
                assert outcome or past.age == pytest.approx(age)

    def _step(  # noqa: C901 - a case a kind of entry
        self, rows: dict[Any, Row], watched: set[Any], name: str, handle: Any, *details: Any
    ) -> Any:
        row = rows.get(handle)
        if name == "accept":
            watched.add(handle)
            if row is None:
                rows[handle] = Row(self.now)
                return Accepted(handle, self.now), (0.0, 0, None, False)
            known = row.outcome if row.outcome != "lost" else None
            answer = (self.now - row.accepted, row.polls, known, row.acknowledged)
            if row.outcome == "lost":
                row.outcome, row.ended, row.acknowledged = None, None, False
            if known is not None:
                watched.discard(handle)
            return Accepted(handle, self.now), answer
        if name == "acknowledge":
            if row is not None and row.outcome is not None:
                row.acknowledged = True
            return Acknowledged(handle, self.now), None
        if row is None:
            return None, None
        if name == "save":
            row.files.append(details[0])
            return Saved(handle, self.now, details[0], 1), None
        if handle not in watched:
            return None, None
        if name == "see":
            status, row.polls = details
            row.changes.append((status.encode("utf-8", "backslashreplace").decode(), None))
            return Seen(handle, self.now, status, None, row.polls), None
        watched.discard(handle)
        if name == "leave":
            row.polls = details[0]
            return Left(handle, row.polls), None
        row.outcome, row.polls = details
        row.ended = self.now
        make = {"succeeded": succeeded, "failed": failed, "lost": lost}[row.outcome]
        return Ended(make(handle, polls=row.polls), self.now), None

    def _reopen(self) -> None:
        self.store.close()
        self.store = Store(self.path)
        self.watched.clear()

    @rule()
    def reopen(self) -> None:
        self._reopen()

    @precondition(lambda self: self.copies < 4)
    @rule(shm=st.booleans())
    def crash(self, shm: bool) -> None:
        """Go on with what a power cut would have left."""
        self.copies += 1
        elsewhere = self.folder / f"cut-{self.copies}.db"
        for end in ("", "-wal", "-shm") if shm else ("", "-wal"):
            source = self.path.with_name(self.path.name + end)
            if source.exists():
                shutil.copyfile(source, elsewhere.with_name(elsewhere.name + end))
        self.store.close()
        self.path = elsewhere
        self.store = Store(self.path)
        self.watched.clear()

    @invariant()
    def what_is_read_is_what_was_written(self) -> None:
        jobs = read_history(self.path).jobs
        assert [job.handle for job in jobs] == [str(handle) for handle in self.rows]
        for job, (handle, row) in zip(jobs, self.rows.items(), strict=True):
            assert (job.polls, job.outcome, job.acknowledged) == (row.polls, row.outcome, row.acknowledged)
            assert job.accepted == moment(row.accepted)
            assert job.ended == (None if row.ended is None else moment(row.ended))
            assert [(change.status, change.phase) for change in job.changes] == row.changes
            assert [file.path for file in job.files] == row.files
            assert bool(job.reasons) == (row.outcome == "failed"), handle
            assert (job.error is not None) == (row.outcome == "lost")
        resumed = [h for h, row in self.rows.items() if row.outcome in {None, "lost"} or not row.acknowledged]
        assert self.store.to_resume() == resumed
        ended = [row.outcome for row in self.rows.values() if row.outcome is not None]
        assert self.store.outcomes() == {name: ended.count(name) for name in set(ended)}


TestHistories = pytest.mark.unmeasured(Histories.TestCase)
TestHistories.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
