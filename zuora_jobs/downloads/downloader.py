"""Downloader: the face of downloading. What it does is in `fetching.py`, `parts.py` and `contents.py`."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final, Self

from zuora_jobs.checks import whole
from zuora_jobs.downloads import contents
from zuora_jobs.downloads.disk import Room, in_thread
from zuora_jobs.downloads.fetching import Fetching
from zuora_jobs.downloads.names import file_name
from zuora_jobs.downloads.outcomes import Downloaded, Progress
from zuora_jobs.downloads.parts import Part, told
from zuora_jobs.downloads.segments import shortages
from zuora_jobs.errors import (
    CannotSave,
    ConfigurationError,
    DownloadError,
    FileGone,
    JournalError,
    WatcherClosed,
    WrongContent,
    ZuoraJobsError,
)
from zuora_jobs.logs import about
from zuora_jobs.protocol.kinds import JobHandle
from zuora_jobs.together import together
from zuora_jobs.transport.retry import Verdict, verdict

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import Executor
    from types import TracebackType

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.journal.journal import Journal
    from zuora_jobs.protocol.models import JobDocument, ResultFile
    from zuora_jobs.watching.outcome import Outcome

log = logging.getLogger("zuora_jobs")

AT_ONCE: Final = 4
"""Files at once; a tenant may allow 20 requests for files at a time, and one connection is often faster than the disk."""

TELL_EVERY: Final = 0.1
"""Seconds between two reports of one file's progress."""

LOOK_AGAIN: Final = 0.5
"""Seconds between two looks whether another process has done with a file."""


class Downloader:
    """Saves result files in a folder: `async with Downloader(client, "results") as downloader: ...`.

    What a file is called depends on its job only. A file that has its name is whole, and is not fetched again; one that was
    cut goes on where it was cut, in the next run as well.

    Args:
        client: an open ZuoraClient.
        into: the folder; made where there is none. Nothing is ever written outside of it.
        concurrency: files that are fetched at once.
        journal: is told what was saved.
        on_progress: told of each file now and then, and at its end.
        executor: runs what waits for the disk; by default threads of the loop's own.
    """

    def __init__(
        self,
        client: ZuoraClient,
        into: str | os.PathLike[str],
        *,
        concurrency: int = AT_ONCE,
        journal: Journal | None = None,
        on_progress: Callable[[Progress], object] | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._client = client
        self._into = Path(into)
        self._places = asyncio.Semaphore(whole("concurrency", concurrency, least=1))
        self._journal = journal
        self._on_progress = on_progress
        self._executor = executor
        self._room = Room()
        self._turns: dict[Path, tuple[asyncio.Lock, int]] = {}
        """Who has a file in hand, and how many want to."""
        self._is_open = False

    def __repr__(self) -> str:
        return f"<Downloader {self._into} {'open' if self._is_open else 'closed'}>"

    async def __aenter__(self) -> Self:
        self._client.check_open()
        self._into = await in_thread(self._executor, prepared, self._into)
        self._is_open = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False

    async def files_of(
        self, job: Outcome[Any] | tuple[JobHandle[Any], JobDocument] | JobHandle[Any]
    ) -> tuple[Downloaded | DownloadError, ...]:
        """Save all that a job has left behind; a failed or cancelled one may have left something too.

        Args:
            job: how it ended, or its handle and document, or its handle only: then it is asked.

        Returns:
            What became of each file, in the job's order: one that could not be had does not keep the others from being.
            After them a WrongContent for each query whose segments have other records together than Zuora counted.

        Raises:
            ZuoraJobsError: the job could not be asked, the journal cannot be written, or the client is closed.
        """
        if isinstance(job, JobHandle):
            handle, files = job, job.kind.files(await self._client.job(job))
        elif isinstance(job, tuple):
            handle, files = job[0], job[0].kind.files(job[1])
        else:
            handle, files = job.handle, job.files

        async def one(file: ResultFile) -> Downloaded | DownloadError:
            try:
                return await self.file(handle, file)
            except DownloadError as error:
                return error

        results = await together(one(file) for file in files)
        return (*results, *await shortages(files, results, self._count))

    async def _count(self, segment: Downloaded) -> int | None:
        """Give the records of a segment, which in an earlier run may have been counted, and are not known any more."""
        if segment.records is not None:
            return segment.records

        def look() -> int | None:
            with told(segment.path):
                return contents.count(segment.path, segment.file.suffix, given_up.is_set)

        given_up = Event()
        return await in_thread(self._executor, look, give_up=given_up.set)

    async def file(self, handle: JobHandle[Any], file: ResultFile) -> Downloaded:
        """Save one file of a job, or find that it has been.

        Wire: GET /v1/files/{fileId} with the token, or GET the presigned URL without one
        https://developer.zuora.com/v1-api-reference/api/operation/GET_Files/

        Raises:
            FileGone: there is no such file any more.
            WrongContent: it is damaged, or has other records than Zuora counted; it is kept beside, under another name.
            CannotSave: the disk says no.
            DownloadError: it could not be fetched for as long as the client has patience; the next try goes on from there.
            JournalError: it was saved, and the journal could not be told.
        """
        if not self._is_open:
            message = "the downloader is closed: use it inside `async with Downloader(...) as downloader`"
            raise WatcherClosed(message)
        path = self._into / file_name(handle, file)
        try:
            async with self._turn(path), self._places:
                return await self._saved(handle, file, path)
        except (WatcherClosed, ConfigurationError, JournalError):
            raise
        except DownloadError as error:
            error.handle, error.path = handle, error.path or path
            raise
        except ZuoraJobsError as error:
            later = "" if verdict(error) is Verdict.FINAL else "; the next try goes on with what is there of it"
            message = f"{path.name} could not be fetched whole: {error}{later}"
            raise DownloadError(message, handle=handle, path=path) from error

    async def _saved(self, handle: JobHandle[Any], file: ResultFile, path: Path) -> Downloaded:
        part = Part(path, counts=file.suffix == contents.CSV)
        while True:
            size = await self._run(part.saved_size)
            if size is not None:
                records = file.records if file.suffix in contents.TABLES else None
                return Downloaded(handle=handle, file=file, path=path, size=size, records=records, fetched=False)
            if await self._run(part.open):
                break
            await asyncio.sleep(LOOK_AGAIN)
        try:
            records = await self._fetched(handle, file, part)
        except FileGone as error:
            await self._run(part.discard)
            message = f"{path.name} is gone: {error}"
            raise FileGone(message) from error.__cause__
        finally:
            self._room.give_back(path)
            await self._run(part.close)
        if self._journal is not None:
            await self._journal.saved(handle, path, part.have)
        return Downloaded(handle=handle, file=file, path=path, size=part.have, records=records, fetched=True)

    async def _fetched(self, handle: JobHandle[Any], file: ResultFile, part: Part) -> int | None:
        """Fetch a file until it is whole and right, and give it its name; give its records."""
        tell = self._teller(handle, file, part.path)
        fetching = Fetching(
            self._client, handle, file, part, room=self._room, executor=self._executor, on_progress=tell
        )
        while True:
            await fetching.until_whole()
            findings = await self._examined(file, part)
            if findings.problem is None:
                await self._run(part.keep)
                tell(part.have, part.have, at_the_end=True)
                return findings.records
            if not part.was_resumed:
                break
            text = "%s %s: it is fetched once more, from its beginning"
            log.warning(text, part.path.name, findings.problem, extra=about(handle, path=str(part.path)))
            part.begin_anew()
        beside = await self._run(part.reject)
        message = f"{part.path.name} {findings.problem}: it is kept as {beside.name}, and the next try fetches it anew"
        raise WrongContent(message, path=beside)

    async def _examined(self, file: ResultFile, part: Part) -> contents.Findings:
        def look() -> contents.Findings:
            part.end()
            with told(part.path):
                return contents.examine(part.place, file.suffix, file.records, part.records, given_up.is_set)

        given_up = Event()
        return await in_thread(self._executor, look, give_up=given_up.set)

    def _teller(self, handle: JobHandle[Any], file: ResultFile, path: Path) -> Callable[..., None]:
        """Give what tells of a file's progress, but not too often."""
        loop = asyncio.get_running_loop()
        told_at = float("-inf")

        def tell(received: int, size: int | None, *, at_the_end: bool = False) -> None:
            nonlocal told_at
            now = loop.time()
            if self._on_progress is None or (now - told_at < TELL_EVERY and not at_the_end):
                return
            told_at = now
            progress = Progress(handle=handle, file=file, path=path, received=received, size=size)
            try:
                self._on_progress(progress)
            except Exception:
                log.exception("whoever is told of progress failed", extra=about(handle))

        return tell

    @asynccontextmanager
    async def _turn(self, path: Path) -> AsyncIterator[None]:
        """Wait until nobody else has this file in hand."""
        lock, wanted = self._turns.get(path) or (asyncio.Lock(), 0)
        self._turns[path] = (lock, wanted + 1)
        try:
            async with lock:
                yield
        finally:
            lock, wanted = self._turns[path]
            if wanted > 1:
                self._turns[path] = (lock, wanted - 1)
            else:
                del self._turns[path]

    async def _run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await in_thread(self._executor, work, *arguments)


def prepared(folder: Path) -> Path:
    """Make sure that files can be written into a folder, and give its whole path.

    Raises:
        CannotSave: they cannot.
    """
    try:
        resolved = folder.expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # too long, links in a circle, ~nobody
        message = (
            f"cannot save anything in {str(folder)!r}: {getattr(error, 'strerror', None) or error}: name another folder"
        )
        raise CannotSave(message) from None
    with told(resolved):
        resolved.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=resolved):
            return resolved
