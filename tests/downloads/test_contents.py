"""Whether what came is what it should be."""

import gzip
import io
import zipfile

import pytest

from zuora_jobs.downloads import contents
from zuora_jobs.downloads.contents import Findings, GivenUp, examine


def never():
    return False


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


@pytest.fixture
def look(tmp_path):
    def look_at(content, suffix, expected=None, counted=None):
        path = tmp_path / "it"
        path.write_bytes(content)
        return examine(path, suffix, expected, counted, never)

    return look_at


TABLE = b"Id,Name\n" + b'1,"a\nb"\n' * 1000


@pytest.mark.parametrize("expected", [None, 1000])
def test_what_is_right(look, expected):
    assert look(TABLE, ".csv", expected, 1000) == Findings(1000)
    assert look(gzip.compress(TABLE[:5000]) + gzip.compress(TABLE[5000:]), ".csv.gz", expected) == Findings(1000)
    counted = 1000 if expected else None
    assert look(zipped(t_csv=TABLE, readme_txt=b"hello"), ".zip", expected) == Findings(counted)
    assert look(b"\x85sealed", ".csv.pgp", expected) == Findings(None)
    assert look(b"anything", "", expected) == Findings(None)


def test_wrong_counts_are_told_with_both_figures(look):
    for found in (
        look(TABLE, ".csv", 1001, 1000),
        look(gzip.compress(TABLE), ".csv.gz", 1001),
        look(zipped(t_csv=TABLE), ".zip", 1001),
    ):
        assert found == Findings(1000, "has 1000 records, and Zuora counted 1001")


def test_a_count_is_right_if_it_is_in_one_way_of_reading(look):
    odd = b'Id,Name\n1,5" pipe\n2,b\n'
    assert look(odd, ".csv", 2, 1) == Findings(2)
    assert look(gzip.compress(odd), ".csv.gz", 2) == Findings(2)
    assert look(zipped(t_csv=odd), ".zip", 2) == Findings(2)


def test_an_archive_of_several_tables_is_not_counted(look):
    assert look(zipped(a_csv=TABLE, b_csv=TABLE), ".zip", 1) == Findings(None)


def damaged(content, at):
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


@pytest.mark.parametrize("suffix", [".csv.gz", ".zip"])
def test_damage_is_found(look, suffix):
    import random

    body = random.Random(1).randbytes(50_000)
    good = gzip.compress(body, mtime=0) if suffix == ".csv.gz" else zipped(a_pdf=body)
    assert look(good, suffix).problem is None
    bad = [good[:-10], good[:1000], b"", b"<html>", damaged(good, 0), damaged(good, 30_000), good[:40] * 3]
    for content in bad:
        assert "is damaged" in (look(content, suffix).problem or ""), content[:20]


def test_what_python_cannot_unpack_is_let_pass(look):
    locked = bytearray(zipped(a_csv=TABLE))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + place] |= 1  # says that it is encrypted
    assert look(bytes(locked), ".zip", 1000) == Findings(None)


def test_it_ends_when_nobody_wants_to_know(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "_BLOCK", 100)
    path = tmp_path / "it"
    path.write_bytes(gzip.compress(TABLE))
    with pytest.raises(GivenUp):
        examine(path, ".csv.gz", None, None, lambda: True)


def test_the_slow_count_ends_as_well(tmp_path):
    path = tmp_path / "it"
    path.write_bytes(b"Id\n" + b"1\n" * 100_000)
    with pytest.raises(GivenUp):
        examine(path, ".csv", 5, 6, lambda: True)
