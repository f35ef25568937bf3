"""The benchmark of downloads runs: a megabyte, once."""

import shutil
import sys

import pytest

pytestmark = [
    pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl to be compared with"),
    pytest.mark.skipif(sys.platform != "linux", reason="its server sends files as Linux does"),
]


def test_a_small_file_goes_all_ways(benchmark_named, tmp_path, capsys):
    download = benchmark_named("download")
    assert download.main(["--bytes", "1000000", "--rounds", "1", "--folder", str(tmp_path)]) in {0, 1}
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(download.WAYS)
    assert {line.count("|") for line in lines} == {6}
    assert list(tmp_path.iterdir()) == []


def test_what_is_slow_is_named(benchmark_named, monkeypatch, capsys):
    download = benchmark_named("download")
    figures = {way: download.Figures([1.0 if way == "curl" else 1.2] * 3, [2**20]) for way in download.WAYS}
    monkeypatch.setattr(download, "measure", lambda *_: figures)
    assert download.main([]) == 1
    told = capsys.readouterr()
    assert "| 0.83 |" in told.out
    assert told.err.count("missed") == len(download.WAYS) - 1
