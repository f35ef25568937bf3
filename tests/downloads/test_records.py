"""Counting records as they go by, held against Python's own reader of CSV."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zuora_jobs.downloads.records import RecordCounter, ways_to_count

FIELDS = st.text('ab,"\n é', max_size=6)
ROWS = st.lists(st.lists(FIELDS, min_size=1, max_size=3), max_size=8)


def count(content, cuts=()):
    counter = RecordCounter()
    edges = [0, *sorted(cuts), len(content)]
    for start, end in zip(edges, edges[1:], strict=False):
        counter.feed(content[start:end])
    assert counter.bytes == len(content)
    return counter.records


@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]), st.data())
def test_it_counts_what_a_reader_reads_however_it_is_cut(rows, line_end, quoting, data):
    text = io.StringIO()
    csv.writer(text, lineterminator=line_end, quoting=quoting).writerows(rows)
    content = text.getvalue().encode()
    assert list(csv.reader(io.StringIO(text.getvalue(), newline=""))) == rows
    cuts = data.draw(st.lists(st.integers(0, len(content)), max_size=5))
    expected = max(0, len(rows) - 1)
    assert count(content, cuts) == expected
    assert expected in ways_to_count(io.BytesIO(content))
    bare = content.removesuffix(line_end.encode())
    if rows and rows[-1] != [""]:  # the last line may lack its end, unless it is empty
        assert count(bare, [cut for cut in cuts if cut <= len(bare)]) == expected


@pytest.mark.parametrize(
    ("content", "records"),
    [
        (b"", 0),
        (b"Id", 0),
        (b"Id\n", 0),
        (b"Id\n1", 1),
        (b"Id\r\n1\r\n2\r\n", 2),
        (b'Id,"A\nB"\n1,2\n', 1),
        (b'Id\n"""quoted"""\n"a""\n""b"\n', 2),
        (b'\xef\xbb\xbf"Id"\n1\n', 1),
        (b"Id\n\x00\n\x00\n", 2),
        (b"Id\n\n\n", 2),
        (b'Id\n"never ended\n\n', 1),
    ],
)
def test_records_by_example(content, records):
    assert count(content) == records
    assert count(content, range(len(content))) == records


def test_a_quote_in_the_middle_of_a_field_may_be_just_that():
    content = b'Id,Name\n1,a 5" pipe\n2,b\n3,c\n\n'
    assert count(content) != 3
    assert 3 in ways_to_count(io.BytesIO(content))
    assert ways_to_count(io.BytesIO(b"Id\n" + b"x" * 200_000)) == set()
