"""How far files have come: a bar for each that is under way, and what there is in all."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console, RenderableType
    from rich.progress import TaskID

    from zuora_jobs.downloads import Progress as FileProgress
    from zuora_jobs.protocol.kinds import JobHandle

MOST_BARS: Final = 8
"""Files that are drawn at a time."""

LONGEST_NAME: Final = 40


class Transfers:
    """Files that are being fetched."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            auto_refresh=False,
        )
        self._bars: dict[Path, TaskID] = {}
        self._bytes: dict[Path, int] = {}
        self._handles: dict[Path, JobHandle[Any]] = {}
        self._whole: set[Path] = set()

    def __len__(self) -> int:
        return len(self._bytes)

    @property
    def unfinished(self) -> int:
        """Files that were begun, and are not whole."""
        return len(self._bytes.keys() - self._whole)

    def how_to_go_on(self) -> str:
        """Say how many files are not whole yet, and what goes on with them."""
        left = [path for path in self._bytes if path not in self._whole]
        handles = dict.fromkeys(str(self._handles[path]) for path in left)
        some = shlex.join([*list(handles)[:MOST_BARS], "--into", str(left[0].parent)])
        more = "" if len(handles) <= MOST_BARS else f", and {len(handles) - MOST_BARS} jobs more"
        told = "1 file is" if len(left) == 1 else f"{len(left)} files are"
        return f"{told} not whole yet; zuora-jobs download {some} goes on from there{more}"

    def forget(self, path: Path | None) -> None:
        """Take note that a file is not being fetched any more, whole or not."""
        if path is None:
            return
        path = path.with_name(path.name.removesuffix(".rejected"))
        self._bytes.pop(path, None)
        self._whole.discard(path)
        if path in self._bars:
            self._progress.remove_task(self._bars.pop(path))

    def take(self, progress: FileProgress) -> None:
        """Take note of how far a file has come."""
        path, is_whole = progress.path, progress.received == progress.size
        self._bytes[path] = progress.received
        self._handles[path] = progress.handle
        self._whole.discard(path)
        if is_whole:
            self._whole.add(path)
            if path in self._bars:
                self._progress.remove_task(self._bars.pop(path))
        elif path in self._bars or len(self._bars) < MOST_BARS:
            if path not in self._bars:
                self._bars[path] = self._progress.add_task(_short(path.name), total=progress.size)
            self._progress.update(self._bars[path], completed=progress.received, total=progress.size)

    def bars(self) -> list[RenderableType]:
        """Give what there is to be drawn."""
        return [self._progress.get_renderable()] if self._bars else []

    def told(self) -> str:
        """Say how much there is."""
        return f"{len(self._whole)} of {len(self)} files whole, {decimal(sum(self._bytes.values()))}"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME // 2]}…{name[1 - LONGEST_NAME // 2 :]}"
