import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zuora_jobs.emulator.replies import overlay, to_json

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=50)
@given(plain)
def test_numbers_survive_json_exactly(value: Any) -> None:
    def exact(item: Any) -> Any:
        match item:
            case Decimal():
                return format(item, "f")
            case bool() | None | str():
                return item
            case int():
                return str(item)
            case list():
                return [exact(part) for part in item]
        return {key: exact(part) for key, part in item.items()}

    assert json.loads(to_json(value), parse_float=str, parse_int=str) == exact(value)


@pytest.mark.parametrize("number", ["NaN", "Infinity"])
def test_what_is_no_number_is_not_written(number: Any) -> None:
    with pytest.raises(ValueError, match="JSON number"):
        to_json({"Amount": Decimal(number)})


@pytest.mark.parametrize(
    ("base", "patch", "result"),
    [
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}),
        ([{"a": 1}, {"b": 2}], [{"b": 3}], [{"a": 1, "b": 3}, {"b": 2}]),
        ([{"a": 1}], [{}, {"b": 2}], [{"a": 1}, {"b": 2}]),
        ([{"a": 1}], [], []),
        (["x"], ["y"], ["y"]),
        ({"a": 1}, None, None),
    ],
)
def test_overlay(base: Any, patch: Any, result: Any) -> None:
    assert overlay(base, patch) == result
