"""Checks of numbers that callers give, for attrs fields and plain arguments alike: a sentence, before any request."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from attrs import Attribute


def number(name: str, value: object, *, above: float | None = None, least: float | None = None) -> float:
    """Make sure that *value* is a finite number greater than *above*, or *least* or greater.

    Raises:
        ConfigurationError: it is not.
    """
    fits = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max  # which also leaves out nan
        and (above is None or value > above)
        and (least is None or value >= least)
    )
    if not fits:
        bound = f" above {above:g}" if above is not None else f", {least:g} or more" if least is not None else ""
        message = f"{name} must be a number{bound}, not {_shown(value)}"
        raise ConfigurationError(message)
    return float(value)  # type: ignore[arg-type]


def whole(name: str, value: object, *, least: int) -> int:
    """Make sure that *value* is a whole number, *least* or greater.

    Raises:
        ConfigurationError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        message = f"{name} must be a whole number, {least} or more, not {_shown(value)}"
        raise ConfigurationError(message)
    return value


def _shown(value: object) -> str:
    try:
        return f"{value!r:.60}"
    except ValueError:  # a whole number of more digits than Python writes
        return "a number beyond all bounds"


def is_number(*, above: float | None = None, least: float | None = None) -> Callable[[Any, Attribute[Any], Any], None]:
    """Give `number` as an attrs validator."""

    def validate(_: Any, attribute: Attribute[Any], value: Any) -> None:
        number(attribute.name, value, above=above, least=least)

    return validate


def is_whole(*, least: int) -> Callable[[Any, Attribute[Any], Any], None]:
    """Give `whole` as an attrs validator."""

    def validate(_: Any, attribute: Attribute[Any], value: Any) -> None:
        whole(attribute.name, value, least=least)

    return validate
