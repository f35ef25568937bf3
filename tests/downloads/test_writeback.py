"""The disk is told of long stretches only, in turn, and what it says to that does not matter."""

import pytest

from zuora_jobs.downloads import writeback
from zuora_jobs.downloads.writeback import STRETCH, write_back


@pytest.fixture
def told(monkeypatch):
    calls: list[tuple[int, int, int, int]] = []

    def begin(*arguments):
        calls.append(arguments)
        return -1

    monkeypatch.setattr(writeback, "_begin_writing", lambda: begin)
    return calls


def test_a_long_stretch_is_handed_over_once_and_a_short_one_waits(told):
    assert write_back(7, 0, STRETCH - 1) == 0
    assert write_back(7, 0, STRETCH) == STRETCH
    assert write_back(7, STRETCH, 2 * STRETCH - 1) == STRETCH
    assert write_back(7, STRETCH, 3 * STRETCH) == 3 * STRETCH
    assert told == [(7, 0, STRETCH, 2), (7, STRETCH, 2 * STRETCH, 2)]


def test_where_there_is_no_such_call_nothing_is_done(monkeypatch):
    monkeypatch.setattr(writeback, "_begin_writing", lambda: None)
    assert write_back(7, 0, 10 * STRETCH) == 0


def test_a_file_is_what_was_written_to_it(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        file.write(b"x" * (2 * STRETCH))
        file.flush()
        assert write_back(file.fileno(), 0, 2 * STRETCH) in {0, 2 * STRETCH}
    assert (tmp_path / "file").read_bytes() == b"x" * (2 * STRETCH)
