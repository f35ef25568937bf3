"""What is told of files: how far one has come, and that it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from pathlib import Path

    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.protocol.models import ResultFile


@frozen(kw_only=True)
class Downloaded:
    """A result file that is on the disk, whole."""

    handle: JobHandle[Any]
    file: ResultFile
    path: Path
    size: int
    records: int | None
    """How many it has; None: it was not counted, for it is no table, is encrypted, or was there before and Zuora does not say."""
    fetched: bool
    """False: it was there already, and nothing was fetched."""


@frozen(kw_only=True)
class Progress:
    """How far a file has come."""

    handle: JobHandle[Any]
    file: ResultFile
    path: Path
    """Where it will be."""
    received: int
    """Bytes that are there, with those of earlier runs."""
    size: int | None
    """Bytes of the whole, where the server says."""
