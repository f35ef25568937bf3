"""The last answer of a job that waits: kept in little, given back as it was."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zuora_jobs import AQUA, BULK_PDF, CREDIT_MEMO_APPLY, OPERATION, JobKind
from zuora_jobs.watching.keepsake import Keepsakes

KINDS: tuple[JobKind[Any], ...] = (OPERATION, BULK_PDF, AQUA, CREDIT_MEMO_APPLY)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
ENCODINGS = st.sampled_from(
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
BODIES = (
    st.builds(
        lambda value, encoding: json.dumps(value, ensure_ascii=False).encode(encoding, "replace"), JSON, ENCODINGS
    )
    | st.binary().filter(lambda body: not body.startswith(b"\x01"))
    | st.binary(min_size=1, max_size=30).map(lambda body: b" " + body * 400)
)


def aqua(number: int) -> bytes:
    """As Zuora answers about a query."""
    batches = [
        {
            "batchId": f"2c92c0f96bd69165016bdcbdd6ce{number + place:04d}",
            "batchType": "zoqlexport",
            "name": f"Accounts {place}",
            "query": "select Id, AccountNumber, Balance, CreatedDate, Status from Account where Status = 'Active'",
            "status": "executing",
            "recordCount": 0,
            "segments": None,
            "full": True,
        }
        for place in range(3)
    ]
    job = {
        "batches": batches,
        "encrypted": "none",
        "format": "CSV",
        "id": f"2c92c0f96bd69165016bdcbdd6ce{number:04d}",
        "name": f"Export {number}",
        "status": "executing",
        "startTime": f"2026-03-05T07:32:{number % 60:02d}.000+0000",
        "version": "1.2",
    }
    return json.dumps(job).encode()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(answers=st.lists(st.tuples(st.sampled_from(KINDS), BODIES, st.booleans()), max_size=12))
def test_whatever_is_packed_comes_back_though_many_and_few_take_turns(answers: list[tuple[Any, bytes, bool]]) -> None:
    keepsakes = Keepsakes()
    kept = [keepsakes.pack(kind, body, many=many) for kind, body, many in answers]
    assert [keepsakes.unpack(kind, packed) for (kind, _, _), packed in zip(answers, kept, strict=True)] == [
        body for _, body, _ in answers
    ]


@pytest.mark.parametrize("first", [b"", b"{}", b"x" * 10_000, bytes(range(256)) * 40], ids=len)
@pytest.mark.parametrize("body", [b"", b"{}", b"0", b"\xff\xfe{\x00}\x00", b"y" * 100_000, b"\x00{\x00}"], ids=len)
def test_whatever_the_first_answer_was_the_next_come_back(first: bytes, body: bytes) -> None:
    keepsakes = Keepsakes()
    for one in (first, body, first):
        assert keepsakes.unpack(OPERATION, keepsakes.pack(OPERATION, one, many=True)) == one


def test_few_are_kept_as_they_are() -> None:
    body = aqua(1)
    assert Keepsakes().pack(AQUA, body, many=False) is body


def test_of_many_a_tenth_is_kept_or_less() -> None:
    keepsakes = Keepsakes()
    kept = [keepsakes.pack(AQUA, aqua(number), many=True) for number in range(50)]
    assert all(len(packed) < len(aqua(1)) / 10 for packed in kept)
    assert [keepsakes.unpack(AQUA, packed) for packed in kept] == [aqua(number) for number in range(50)]


def test_kinds_do_not_mix() -> None:
    keepsakes = Keepsakes()
    bodies = {kind: json.dumps({"kind": kind.name, "id": "x" * place}).encode() for place, kind in enumerate(KINDS)}
    kept = {kind: keepsakes.pack(kind, body, many=True) for kind, body in bodies.items()}
    for kind, other in product(KINDS, KINDS):
        keepsakes.pack(kind, bodies[other], many=True)
    assert {kind: keepsakes.unpack(kind, packed) for kind, packed in kept.items()} == bodies


def test_what_is_kept_does_not_grow() -> None:
    keepsakes = Keepsakes()
    for number in range(300):
        keepsakes.pack(AQUA, aqua(number), many=True)
    assert keepsakes._samples == {AQUA: aqua(0)}
