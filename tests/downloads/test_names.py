"""Names: whatever a server says, one part of a path."""

import re
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zuora_jobs import AQUA, BULK_PDF
from zuora_jobs.downloads import names
from zuora_jobs.protocol.models import AquaBatch, AquaJob, BulkPdfJob, ResultFile

JOB = BULK_PDF.handle("2c92c8fd8e4b2a1c018e4b3f4a5d0001")
BESIDE = (names.part_name, names.note_name, names.rejected_name)
SUFFIXES = st.sampled_from([".csv", ".csv.gz", ".zip", ".csv.pgp", "", "/../x", ".a/b"])
ANY_TEXT = st.text(st.characters(codec=None), max_size=400)


@given(ANY_TEXT, st.none() | ANY_TEXT, SUFFIXES)
def test_a_name_never_leads_anywhere(name, file_id, suffix):
    told = names.file_name(JOB, ResultFile(name=name, file_id=file_id, suffix=suffix))
    for one in (told, *(beside(told) for beside in BESIDE)):
        assert one not in {"", ".", ".."}
        assert len(one.encode()) <= 255
        assert PurePosixPath(one).parts == (one,)
        assert PureWindowsPath(one).parts == (one,)
    assert told[0].isalnum()
    assert not told.endswith((".", " "))
    assert not PureWindowsPath(told).is_reserved()
    assert re.fullmatch(r"[\w.\-]+", told)


@given(st.lists(st.text("aB .-_/1", max_size=6), unique=True, max_size=12))
def test_the_archives_of_one_job_never_share_a_name(parts):
    urls = tuple(f"https://store.example/{part.replace('/', '%2F')}.zip?X-Amz-Signature=1" for part in parts)
    files = BULK_PDF.files(BulkPdfJob(status="Completed", file_urls=urls))
    assert len(files) == len(urls)
    told = [names.file_name(JOB, file).casefold() for file in files]
    assert len(set(told)) == len(told)
    assert [file.url for file in files] == list(urls)


@given(st.lists(ANY_TEXT, max_size=6))
def test_the_files_of_one_aqua_job_never_share_a_name(texts):
    batches = tuple(AquaBatch(name=text, file_id=f"f{number}") for number, text in enumerate(texts))
    files = AQUA.files(AquaJob(status="completed", batches=batches))
    assert len({names.file_name(AQUA.handle("a"), file) for file in files}) == len(texts)


def test_what_is_cut_is_told_apart():
    one, other = (names.safe_stem("ä" * 300 + end, 100) for end in "xy")
    assert one != other
    assert {len(one.encode()), len(other.encode())} <= {99, 100}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../../evil", "evil-f1.csv"),
        ("/etc/passwd", "etc_passwd-f1.csv"),
        ("C:\\boot.ini", "C__boot.ini-f1.csv"),
        ("nul.txt", "file_nul.txt-f1.csv"),
        ("con", "con-f1.csv"),
        (None, "aqua-f1.csv"),
        ("...", "file-f1.csv"),
        ("Rechnungen März", "Rechnungen_März-f1.csv"),
        ("a\x00b\nc", "a_b_c-f1.csv"),
    ],
)
def test_names_by_example(name, told):
    assert names.file_name(AQUA.handle("a"), ResultFile(name=name, file_id="f1", suffix=".csv")) == told


@pytest.mark.parametrize(
    ("format", "encrypted", "suffix"),
    [
        ("CSV", "none", ".csv"),
        ("GZIP", None, ".csv.gz"),
        ("zip", "none", ".zip"),
        ("CSV", "PGP", ".csv.pgp"),
        (None, None, ".csv"),
        ("PARQUET", None, ""),
    ],
)
def test_the_end_of_a_name_tells_what_is_in_the_file(format, encrypted, suffix):  # noqa: A002
    job = AquaJob(status="completed", format=format, encrypted=encrypted, batches=(AquaBatch(file_id="f1"),))
    assert AQUA.files(job)[0].suffix == suffix
