"""Bytes to JSON values and back, exactly: no key twice, no infinity, no digit of an amount lost, no depth without end.

Nothing here knows what the values mean; that is `wire.py`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from math import isinf
from typing import Any, NoReturn

from zuora_jobs.errors import MalformedResponse

_BLANKS = " \t\n\r"
"""What may stand around JSON."""

DEEPEST = 200
"""Lists and objects within each other that are read: what comes in must also be written again, by whoever keeps it."""


def parse(body: bytes, *, exact: bool = False) -> Any:
    """Read JSON. With *exact*, fractions become Decimal instead of float.

    Raises:
        MalformedResponse: not UTF-8, not JSON (NaN and Infinity are not), nested too deeply, or a field is there twice:
            which of two statuses is meant, nobody can tell.
    """
    problems: tuple[str, ...] = ()
    try:
        text = body.decode(_encoding(body), "surrogatepass").strip(_BLANKS)
        document, end = (_exact if exact else _usual).raw_decode(text)
        if end != len(text):
            what = "is not JSON"
        elif text.count("[") + text.count("{") > DEEPEST and _is_deep(document):
            what = "is nested too deeply"
        else:
            return document
    except RecursionError:
        what = "is nested too deeply"
    except _TwiceError:
        what, problems = "has a field twice", ("a field is there twice",)
    except (ValueError, ArithmeticError):
        what = "is not JSON"
    message = f"the answer {what} ({len(body)} bytes)"
    # not above, where the parser's error, which has the body in it, would become its context
    raise MalformedResponse(message, problems=problems)


def write(document: Any) -> bytes:
    """Write JSON, every Decimal digit for digit."""
    try:
        return json.dumps(document, separators=(",", ":")).encode()
    except TypeError:  # the library's encoder knows no Decimal; only amounts have them
        return _exactly(document).encode()


def _exactly(value: Any) -> str:
    match value:
        case Decimal():
            return format(value, "f")
        case Mapping():
            return "{" + ",".join(f"{json.dumps(str(key))}:{_exactly(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(_exactly, value)) + "]"
        case _:
            return json.dumps(value)


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


class _TwiceError(ValueError):
    """A field is there twice."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise _TwiceError
    return document


def _finite(text: str) -> float | Decimal:
    """Keep what is too large for a float, since infinity could not be given back as JSON."""
    value = float(text)
    return Decimal(text) if isinf(value) else value


def _is_deep(document: Any) -> bool:
    """Tell whether more than `DEEPEST` lists and objects are within each other; not by recursion."""
    level = [document]
    for _ in range(DEEPEST):
        inside = [node.values() if isinstance(node, dict) else node for node in level]
        level = [value for values in inside for value in values if isinstance(value, dict | list)]
        if not level:
            return False
    return True


def _encoding(body: bytes) -> str:
    """Tell UTF-8 at its first two characters, as nearly always; a mark, or a zero among them, is for the library."""
    return "utf-8" if body[:2].isascii() and b"\0" not in body[:2] else json.detect_encoding(body)


_usual = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_each_once)
_exact = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=Decimal, object_pairs_hook=_each_once)
