"""How it is said. Every layer is `Send -> Send`: `in_turn(authorized(limited(http)))`, repeated by `persist`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from zuora_jobs.protocol.messages import Request, Response

Send: TypeAlias = Callable[[Request], Awaitable[Response]]
"""Takes a request and gives its answer, whatever its status; raises a TransportError where there is none."""
