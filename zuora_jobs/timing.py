"""What everybody who waits on the loop's clock has to know."""

from __future__ import annotations

from typing import Final

LONGEST_HOLD: Final = 3600.0
"""Seconds that a server may make us wait at one word; after them one request asks again."""

TICK: Final = 1e-5
"""Seconds: two moments closer than this are one.

A loop may call back a hair before the moment that was asked for (asyncio: its clock's resolution; a virtual clock: its
unit). Whoever then found it too early, and asked for the same moment again, would spin.
"""
