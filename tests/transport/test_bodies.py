"""A body of any kind and in any pieces, read into bounded memory."""

import gzip
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zuora_jobs.transport import bodies
from zuora_jobs.transport.bodies import LARGEST, TooLarge, Undecodable, read_body

TEXT = b'{"id": "2c92c8955bd63cc1015bd7c151af02ab", "status": "Completed"}' * 50
MIB = 1024 * 1024


def giving(chunks: Iterable[bytes]) -> Callable[[], Awaitable[bytes]]:
    """A stream that gives these, and then nothing for ever."""
    left: Iterator[bytes] = iter(chunks)

    async def next_chunk() -> bytes:
        return next(left, b"")

    return next_chunk


def read(chunks: Iterable[bytes], encoding: str = "") -> bytes:
    """Read them without a loop: nobody has to wait here, and a loop would count as memory."""
    reading: Any = read_body(giving(chunks), encoding)
    try:
        reading.send(None)
    except StopIteration as end:
        return bytes(end.value)
    raise AssertionError("it waits")


def cut(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def deflated(body: bytes) -> bytes:
    return zlib.compress(body)


def gzipped_by_pieces(body: bytes) -> bytes:
    """As one who streams it does: a flush after each piece, and no sizes known beforehand."""
    packing = zlib.compressobj(wbits=31)
    pieces = [packing.compress(piece) + packing.flush(zlib.Z_SYNC_FLUSH) for piece in cut(body, 100)]
    return b"".join(pieces) + packing.flush()


PACKINGS = [("", bytes), ("identity", bytes), ("gzip", gzip.compress), ("x-gzip", gzip.compress), ("gzip", gzipped_by_pieces),
            ("deflate", deflated), ("GZip", gzip.compress), (" gzip ", gzip.compress)]  # fmt: skip


# --- as it should be


@pytest.mark.parametrize("size", [1, 2, 3, 7, 17, 18, 19, 100, 10_000])
@pytest.mark.parametrize(("encoding", "pack"), PACKINGS)
def test_a_body_is_the_same_in_pieces_of_any_size(encoding: str, pack: Callable[[bytes], bytes], size: int) -> None:
    assert read(cut(pack(TEXT), size), encoding) == TEXT


@given(body=st.binary(max_size=3000), data=st.data(), packing=st.sampled_from(PACKINGS))
def test_any_body_cut_anywhere_is_read_as_it_was_sent(
    body: bytes, data: st.DataObject, packing: tuple[str, Callable[[bytes], bytes]]
) -> None:
    encoding, pack = packing
    sent = pack(body)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(sent) - 1)), max_size=10)))
    chunks = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert read(filter(None, chunks), encoding) == body


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate", "br"])
def test_nothing_at_all_is_an_empty_body_whatever_its_header_says(encoding: str) -> None:
    assert read([], encoding) == b""


def test_an_empty_body_that_was_compressed_is_empty() -> None:
    assert read([gzip.compress(b"")], "gzip") == b""


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "nonsense"])
def test_a_packing_that_we_did_not_ask_for_is_left_as_it_is(encoding: str) -> None:
    assert read([b"\x00 whatever"], encoding) == b"\x00 whatever"


# --- too large


@pytest.mark.parametrize("encoding", ["", "gzip"])
@pytest.mark.parametrize("size", [1, 100, 4096, 65_536])
def test_the_largest_body_is_read_and_one_byte_more_is_not(
    encoding: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "LARGEST", 20_000)
    pack = gzip.compress if encoding else bytes
    assert len(read(cut(pack(b"x" * 20_000), size), encoding)) == 20_000
    with pytest.raises(TooLarge):
        read(cut(pack(b"x" * 20_001), size), encoding)


def test_what_is_larger_on_the_wire_than_it_may_be_inflated_is_too_large_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bodies, "LARGEST", 20_000)
    named = b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"n" * 20_000 + b"\0" + gzip.compress(b"x")[10:]
    assert gzip.decompress(named) == b"x"
    with pytest.raises(TooLarge):
        read(cut(named, 1000), "gzip")


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_after_too_much_the_rest_is_left_unread(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LARGEST", 20_000)
    given_out = 0

    def endless() -> Iterator[bytes]:
        nonlocal given_out
        packing = zlib.compressobj(wbits=31)
        while True:
            piece = b"y" * 1000
            given_out += 1
            yield packing.compress(piece) + packing.flush(zlib.Z_SYNC_FLUSH) if encoding else piece

    with pytest.raises(TooLarge):
        read(endless(), encoding)
    assert given_out == 21


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """64 MiB in 64 kB."""
    packing = zlib.compressobj(9, wbits=31)
    return b"".join(packing.compress(b"\0" * MIB) for _ in range(64)) + packing.flush()


def peak_of(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [100, 4096, 100_000])
def test_a_bomb_costs_no_more_memory_than_twice_the_largest_body(size: int, bomb: bytes) -> None:
    def explode() -> None:
        with pytest.raises(TooLarge):
            read(cut(bomb, size), "gzip")

    assert len(bomb) < 100_000
    assert peak_of(explode) <= 2.2 * LARGEST


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_the_largest_body_costs_no_more_memory_than_twice_itself(encoding: str) -> None:
    sent = gzip.compress(b"z" * LARGEST, 1) if encoding else b"z" * LARGEST
    assert peak_of(lambda: read(cut(sent, 65_536), encoding)) <= 2.2 * LARGEST


@pytest.mark.parametrize("size", [2, 10])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_body_that_comes_in_crumbs_costs_no_more_memory_than_one_in_one_piece(encoding: str, size: int) -> None:
    body = bytes(range(256)) * 512
    packing = zlib.compressobj(level=0, wbits=31)
    sent = packing.compress(body) + packing.flush() if encoding else body
    assert peak_of(lambda: read(cut(sent, size), encoding)) <= 3 * len(body)


# --- not as it says


@pytest.mark.parametrize("kept", [1, 2, 9, 10, 11, 100, -9, -8, -5, -1])
@pytest.mark.parametrize("size", [1, 10_000])
def test_gzip_that_is_cut_short_is_no_body(kept: int, size: int) -> None:
    noise = bytes(number * number % 251 for number in range(2000))
    with pytest.raises(Undecodable):
        read(cut(gzip.compress(noise)[:kept], size), "gzip")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "x-gzip"])
@pytest.mark.parametrize(
    "body", [TEXT, b"{", b"\x1f\x8b", b"\x1f\x8b\x08\x00garbage", b"\x78\x9cgarbage", b"\xff" * 100]
)
def test_what_is_not_compressed_as_it_says_is_no_body(body: bytes, encoding: str) -> None:
    with pytest.raises(Undecodable):
        read([body], encoding)


@pytest.mark.parametrize("where", [20, 30, -8, -4])
def test_a_byte_that_was_changed_on_the_way_is_noticed(where: int) -> None:
    sent = bytearray(gzip.compress(TEXT))
    sent[where] ^= 0x55
    with pytest.raises(Undecodable):
        read([bytes(sent)], "gzip")


@given(body=st.binary(max_size=300), encoding=st.sampled_from(["gzip", "deflate", "", "br"]), size=st.integers(1, 50))
def test_no_bytes_whatever_raise_anything_else(body: bytes, encoding: str, size: int) -> None:
    try:
        read(cut(body, size), encoding)
    except Undecodable:
        assert encoding in {"gzip", "deflate"}


@settings(max_examples=50)
@given(kept=st.integers(10, 100), rest=st.binary(max_size=100), size=st.integers(1, 200))
def test_a_good_beginning_with_a_bad_end_is_never_taken_for_the_whole(kept: int, rest: bytes, size: int) -> None:
    whole = gzip.compress(TEXT + rest, mtime=0)
    sent = whole[: min(kept, len(whole) - 9)] + rest
    try:
        assert read(cut(sent, size), "gzip") == TEXT + rest
    except Undecodable:
        assert sent != whole


# --- after the end


@pytest.mark.parametrize("rest", [b"\0", b"\0" * 512, b"\n", b"\r\n", b"garbage", b"\x1f", b"\x8b\x1f"])
@pytest.mark.parametrize("size", [1, 10_000])
def test_garbage_after_a_whole_body_is_left_out(rest: bytes, size: int) -> None:
    """Its checksum has proved the body to be whole. gunzip does the same."""
    assert read(cut(gzip.compress(TEXT) + rest, size), "gzip") == TEXT


@pytest.mark.parametrize("size", [1, 20, 100, 10_000])
@pytest.mark.parametrize(
    "members", [[TEXT[:1000], TEXT[1000:]], [b"", TEXT], [TEXT, b""], [b"1", b"2", b"3", b"", b"4"]]
)
def test_of_several_gzip_members_none_is_lost_unnoticed(members: list[bytes], size: int) -> None:
    """RFC 1952, 2.2: they are one body. Whoever reads only the first has not read it to the end, and must say so."""
    try:
        assert read(cut(b"".join(map(gzip.compress, members)), size), "gzip") == b"".join(members)
    except Undecodable:
        assert len(members) > 1


def test_members_without_end_come_to_an_end_with_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LARGEST", 20_000)
    member = gzip.compress(b"m" * 5_000)
    with pytest.raises((TooLarge, Undecodable)):
        read((member for _ in range(1_000)), "gzip")
