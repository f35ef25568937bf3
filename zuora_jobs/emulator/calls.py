"""A request as the emulator sees it: no socket, no aiohttp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class Call:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names are compared ignoring case."""
    body: bytes
    ids: Mapping[str, str]
    """`processId` and `requestId`, as refusals name them."""
    at_store: bool = False
    """Whether it came in at the store's port, not at Zuora's."""
