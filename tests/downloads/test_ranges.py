"""What an answer to a request for the rest of a file gives: literals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zuora_jobs.downloads.ranges import Incoming, Source, asking, incoming, validator_of

KNOWN = Source('"one"', 1000)
LATER = {"date": "Tue, 24 Nov 2026 18:45:01 GMT"}
CHANGED = "Tue, 24 Nov 2026 18:45:00 GMT"


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"etag": '"one"'}, '"one"'),
        ({"etag": 'W/"one"'}, None),
        ({"etag": "one"}, None),
        ({"etag": '"o\nne"'}, None),
        ({"etag": 'W/"one"', "last-modified": CHANGED, **LATER}, CHANGED),
        ({"last-modified": CHANGED}, None),
        ({"last-modified": CHANGED, "date": CHANGED}, None),
        ({"last-modified": "yesterday", **LATER}, None),
        ({"last-modified": "Tue, 24 Nov 2026 18:45:00 -0000", **LATER}, None),
        ({}, None),
    ],
)
def test_what_tells_a_file_from_another(headers, validator):
    assert validator_of(headers) == validator


def test_only_what_can_be_told_from_another_is_asked_for_in_part():
    assert asking(5, KNOWN) == {"Range": "bytes=5-", "If-Range": '"one"'}
    assert asking(0, KNOWN) == asking(5, None) == asking(5, Source(None, 1000)) == {}


@pytest.mark.parametrize("asked", [0, 400])
def test_a_200_is_the_whole_whatever_was_asked_for(asked):
    headers = {"etag": '"two"', "content-length": "7", "content-range": "bytes 400-999/1000"}
    assert incoming(200, headers, asked, KNOWN) == Incoming(0, Source('"two"', 7))
    assert incoming(200, {"transfer-encoding": "chunked", "content-length": "7"}, asked, None) == Incoming(
        0, Source(None, None)
    )


@pytest.mark.parametrize(
    ("content_range", "more"),
    [
        ("bytes 400-999/1000", {}),
        ("Bytes 400-999/1000", {"etag": '"one"', "content-length": "600"}),
        ("bytes 400-999/*", {}),
        ("bytes 400-499/1000", {"content-length": "100"}),
    ],
)
def test_a_206_that_fits(content_range, more):
    assert incoming(206, {"content-range": content_range, **more}, 400, KNOWN) == Incoming(400, KNOWN)


@pytest.mark.parametrize(
    ("content_range", "more"),
    [
        ("bytes 0-999/1000", {}),
        ("bytes 401-999/1000", {}),
        ("bytes 399-999/1000", {}),
        ("bytes 400-999/1001", {}),
        ("bytes 400-1000/1000", {}),
        ("bytes 400-399/1000", {}),
        ("bytes 400-999/1000", {"content-length": "599"}),
        ("bytes 400-999/1000", {"etag": '"two"'}),
        ("bytes */1000", {}),
        ("items 400-999/1000", {}),
        ("", {}),
    ],
)
def test_a_206_that_does_not(content_range, more):
    assert incoming(206, {"content-range": content_range, **more}, 400, KNOWN) is None


def test_a_206_that_nobody_asked_for():
    assert incoming(206, {"content-range": "bytes 0-999/1000"}, 0, None) is None


@given(
    st.sampled_from([200, 206]),
    st.dictionaries(
        st.sampled_from(["etag", "date", "last-modified", "content-range", "content-length"]), st.text(max_size=40)
    ),
    st.integers(0, 2000),
)
def test_no_header_makes_it_fail(status, headers, asked):
    found = incoming(status, headers, asked, KNOWN)
    assert found is None or found.at in {0, asked}
