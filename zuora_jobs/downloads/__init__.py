"""A result file to disk: resumed after a cut, verified, and under its name only when it is whole."""

from __future__ import annotations

from zuora_jobs.downloads.downloader import Downloader
from zuora_jobs.downloads.outcomes import Downloaded, Progress

__all__ = ["Downloaded", "Downloader", "Progress"]
