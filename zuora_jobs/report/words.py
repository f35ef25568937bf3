"""Figures, moments and text from outside, as people read them."""

from __future__ import annotations

import unicodedata
from datetime import UTC
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

LONGEST: Final = 4000
"""Characters of one text from outside; what is longer is no reason but a page."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TENTHS: Final = 9.95
"""Seconds from which tenths do not matter."""
_CONTROL_PICTURES: Final = 0x2400
_DELETE: Final = 0x7F
_INVISIBLE: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def plural(number: int, noun: str) -> str:
    """Count: 1 job, 2,000 jobs."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """Say how long, in two units at most."""
    if seconds is None:
        return "-"
    if not seconds:
        return "0 s"
    if seconds < _TENTHS:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _two(whole, _MINUTE, 1, "min", "s")
    whole = round(seconds / _MINUTE) * _MINUTE
    if whole < _DAY:
        return _two(whole, _HOUR, _MINUTE, "h", "min")
    return _two(round(seconds / _HOUR) * _HOUR, _DAY, _HOUR, "d", "h")


def _two(whole: int, large: int, small: int, larger: str, smaller: str) -> str:
    rest = whole % large // small
    return f"{whole // large} {larger}" + (f" {rest} {smaller}" if rest else "")


def moment(at: datetime) -> str:
    """Say when, in UTC."""
    return f"{at.astimezone(UTC):%-d %b %Y, %H:%M:%S}"


def period(began: datetime, ended: datetime) -> str:
    """Say from when until when, in UTC, without saying a day twice."""
    began, ended = began.astimezone(UTC), ended.astimezone(UTC)
    if began.replace(microsecond=0) == ended.replace(microsecond=0):
        return f"{moment(began)} UTC"
    later = f"{ended:%H:%M:%S}" if began.date() == ended.date() else moment(ended)
    return f"{moment(began)} to {later} UTC"


def clean(text: str, longest: int = LONGEST) -> str:
    """Make what is invisible in *text* visible: control characters, marks that turn the direction, halves of characters.

    Escaping for HTML comes on top: this makes the text honest, not safe.
    """
    kept = "".join(map(_visible, text[:longest]))
    return kept if len(text) <= longest else f"{kept}… ({len(text):,} characters)"


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    if char.isspace():
        return " "
    if unicodedata.category(char) not in _INVISIBLE:
        return char  # private, or younger than this Python
    code = ord(char)
    if code < ord(" "):
        return chr(_CONTROL_PICTURES + code)
    return "␡" if code == _DELETE else f"\\u{code:04x}"
