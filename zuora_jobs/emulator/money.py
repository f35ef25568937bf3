"""Sums of money: exact, whatever they were written as."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from zuora_jobs.errors import ConfigurationError


def money(value: Any) -> Decimal:
    """*value* as the number that its text says: 0.1 is a tenth, and nothing is nought."""
    try:
        return Decimal(str(value)) if value is not None else Decimal(0)
    except InvalidOperation:
        msg = f"{value!r} is no sum of money"
        raise ConfigurationError(msg) from None
