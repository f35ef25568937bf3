"""Has the disk begin with a file while the rest of it is still coming, so that in the end there is little left to wait for.

Linux only writes after some seconds by itself; then `fsync` at the end of a gigabyte waits for nearly all of it. Elsewhere
nothing is done here, and it does.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

STRETCH: Final = 8 * 1024 * 1024
"""Bytes that are handed to the disk at a time."""

_WRITE: Final = 2
"""SYNC_FILE_RANGE_WRITE: begin, and do not wait; https://man7.org/linux/man-pages/man2/sync_file_range.2.html"""


@cache
def _begin_writing() -> Callable[..., Any] | None:
    """Give what has the disk begin; None where there is no such thing."""
    import ctypes  # noqa: PLC0415 - only who downloads needs it

    if not sys.platform.startswith("linux"):
        return None
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function  # type: ignore[no-any-return]


def write_back(file: int, start: int, end: int) -> int:
    """Have the disk begin with the bytes of *file* from *start* to *end*, where they are worth it.

    What it says to that does not matter: `fsync` comes anyway, and tells.

    Returns:
        Up to where it has been told.
    """
    begin = _begin_writing() if end - start >= STRETCH else None
    if begin is None:
        return start
    begin(file, start, end - start, _WRITE)
    return end
