"""JSON read and written exactly: no digit of an amount is lost, nothing comes twice, nothing is too deep to be written."""

import json
from contextlib import suppress
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zuora_jobs.errors import MalformedResponse
from zuora_jobs.protocol.jsontext import DEEPEST, parse, write

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
amounts = st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal("-1e20"), max_value=Decimal("1e20"))


@given(plain)
def test_what_is_written_is_what_is_read(document: Any) -> None:
    assert parse(write(document)) == document


@given(st.dictionaries(st.text(max_size=5), amounts | plain, min_size=1, max_size=5))
def test_amounts_are_written_digit_for_digit_among_anything_else(document: Any) -> None:
    text = write(document)
    assert json.loads(text, parse_float=Decimal, parse_int=Decimal) == document
    assert parse(text, exact=True) == document


@given(amounts)
def test_an_amount_keeps_its_places_and_has_no_exponent(amount: Decimal) -> None:
    text = write({"amount": amount}).decode()
    digits = text.removeprefix('{"amount":').removesuffix("}")
    assert "e" not in digits.lower()
    assert Decimal(digits) == amount
    assert Decimal(digits).as_tuple().exponent == min(int(amount.as_tuple().exponent), 0)


@pytest.mark.parametrize(
    ("amount", "text"),
    [("12.50", b"12.50"), ("1E+3", b"1000"), ("0.0000001", b"0.0000001"), ("123456789012345678.01", b"123456789012345678.01")],
)  # fmt: skip
def test_amounts_that_others_round_or_shorten(amount: str, text: bytes) -> None:
    assert write([Decimal(amount)]) == b"[" + text + b"]"


def test_all_that_can_stand_beside_an_amount() -> None:
    document = {"a": Decimal("1.10"), "b": [True, None, 'x"\\\n', 2, 1.5, {}, []], "c": MappingProxyType({"d": ("e",)})}
    assert write(document) == b'{"a":1.10,"b":[true,null,"x\\"\\\\\\n",2,1.5,{},[]],"c":{"d":["e"]}}'


def test_only_ascii_goes_out() -> None:
    assert write({"name": "Zoë \ud800"}) == b'{"name":"Zo\\u00eb \\ud800"}'
    assert write({"name": "Zoë", "amount": Decimal(1)}).isascii()


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"0.1", Decimal("0.1")), (b"1.10", Decimal("1.10")), (b"1e400", Decimal("1e400")), (b"7", 7)],
)
def test_fractions_are_exact_where_that_is_asked_for(text: bytes, value: Any) -> None:
    read = parse(text, exact=True)
    assert (read, type(read), str(read)) == (value, type(value), str(value))


def test_otherwise_fractions_are_floats_unless_no_float_holds_them() -> None:
    assert parse(b"[0.5, 1e400]") == [0.5, Decimal("1e400")]
    assert [type(value) for value in parse(b"[0.5, 1e400]")] == [float, Decimal]


@pytest.mark.parametrize("text", [b'{"a":1,"a":1}', b'[{"b":{"a":1,"a":2}}]', b'{"\\u0061":1,"a":2}'])
@pytest.mark.parametrize("exact", [False, True])
def test_a_field_that_is_there_twice_is_refused(text: bytes, exact: bool) -> None:
    with pytest.raises(MalformedResponse, match="has a field twice") as caught:
        parse(text, exact=exact)
    assert caught.value.problems == ("a field is there twice",)


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b"NaN", b"[Infinity]", b"[-Infinity]", b"{", b'{"a":}', b"[1,]", b"1 2", b"<html>", b"\xff\xfe", b"'a'",
     b'{"a":1}x', b"\xef\xbb", b"tru", b"[" * 10_000, b'{"a":' * 10_000],
)  # fmt: skip
@pytest.mark.parametrize("exact", [False, True])
def test_what_is_no_json_is_refused_and_none_of_it_is_quoted(text: bytes, exact: bool) -> None:
    with pytest.raises(
        MalformedResponse, match=rf"^the answer (is not JSON|is nested too deeply) \({len(text)} bytes\)$"
    ):
        parse(text, exact=exact)


@given(st.binary(max_size=60) | plain.map(write))
def test_any_bytes_are_json_or_refused(text: bytes) -> None:
    with suppress(MalformedResponse):
        document = parse(text)
        assert parse(write(document)) == document


def test_what_is_refused_does_not_bear_the_parsers_own_error_which_has_the_text_in_it() -> None:
    with pytest.raises(MalformedResponse) as caught:
        parse(b'{"secret": "canary')
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def nested(levels: int, opening: str, closing: str) -> bytes:
    return (opening * levels + "1" + closing * levels).encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_what_is_read_is_never_too_deep_to_be_written(opening: str, closing: str) -> None:
    each = 2 if "[" in opening and "{" in opening else 1
    whole = parse(nested(DEEPEST // each, opening, closing))
    assert parse(write(whole)) == whole
    assert parse(write({"amount": Decimal(1), "rest": whole["a"] if isinstance(whole, dict) else whole[0]}))["rest"]
    with pytest.raises(MalformedResponse, match="nested too deeply"):
        parse(nested(DEEPEST // each + 2, opening, closing))


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_one_level_more_than_that_is_refused(opening: str, closing: str) -> None:
    with pytest.raises(MalformedResponse, match="nested too deeply"):
        parse(nested(DEEPEST + 1, opening, closing))


def test_much_that_is_side_by_side_is_not_deep() -> None:
    assert len(parse(b"[" + b"[1]," * 5000 + b"{}]")) == 5001


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_other_encodings_than_utf_8_are_known_by_their_mark(encoding: str) -> None:
    assert parse('{"name":"Zoë"}'.encode(encoding)) == {"name": "Zoë"}
