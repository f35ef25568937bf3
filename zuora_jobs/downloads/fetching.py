"""Fetches one file into its part: asks for the rest after each cut, and for another URL where one has expired.

How long it keeps trying is counted from the last byte that it did not have before. So neither many cuts end it nor does a
server that lets it begin anew for ever go on for ever.
"""

from __future__ import annotations

import logging
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from attrs import evolve

from zuora_jobs.downloads import ranges
from zuora_jobs.downloads.disk import in_thread
from zuora_jobs.errors import ApiError, ConnectionFailed, FileGone, MalformedResponse, NotFound
from zuora_jobs.logs import about
from zuora_jobs.protocol import messages
from zuora_jobs.protocol.secrets import HIDDEN
from zuora_jobs.transport.retry import persist

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Executor

    from zuora_jobs.client import ZuoraClient
    from zuora_jobs.downloads.disk import Room
    from zuora_jobs.downloads.parts import Part
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.protocol.models import ResultFile

log = logging.getLogger("zuora_jobs")

_REFUSES_AN_URL: Final = frozenset({400, 401, 403, 404, 410})
"""How a store says that an URL has expired, was signed with what has, or leads nowhere."""

_NOT_SATISFIABLE: Final = 416

_SUBMIT_AGAIN: Final = "submit the job again, since Zuora keeps what a job left behind for three days"


def has_usable_url(file: ResultFile) -> bool:
    """Tell whether there is nothing to be asked before *file* is fetched: a journal keeps no URL's signature."""
    return file.url is None or HIDDEN not in file.url


def successor(file: ResultFile, files: Iterable[ResultFile]) -> ResultFile | None:
    """Find *file* among the job's files of today: by its id, its URL's path, its name, or else its place."""

    def path(one: ResultFile) -> str | None:
        return urlsplit(one.url).path if one.url is not None else one.file_id

    today = tuple(files)
    for same in (path, lambda one: one.name, lambda one: one.number):
        for one in today:
            if same(file) is not None and same(one) == same(file):
                return one
    return None


class Fetching:
    """One file being fetched.

    Args:
        client: carries the requests.
        handle: the job.
        file: which of its files.
        part: where it goes.
        room: of the disk.
        executor: runs what waits for the disk.
        on_progress: told the bytes that are there, and those of the whole where they are known.
    """

    def __init__(
        self,
        client: ZuoraClient,
        handle: JobHandle[Any],
        file: ResultFile,
        part: Part,
        *,
        room: Room,
        executor: Executor | None,
        on_progress: Callable[[int, int | None], None],
    ) -> None:
        self._client = client
        self._handle = handle
        self._file = file
        self._part = part
        self._room = room
        self._run = partial(in_thread, executor)
        self._on_progress = on_progress
        self._headers = messages.job_headers(client.settings, handle.kind)
        self._is_fresh = False
        """Whether the URL has just been asked for."""
        self._most = 0
        """Bytes that there have been at most."""

    async def until_whole(self) -> None:
        """Fetch what is missing.

        Raises:
            FileGone: there is no such file any more.
            CannotSave: the disk says no.
            ZuoraJobsError: it could not be fetched for as long as the client has patience.
        """
        if self._part.is_whole:
            return
        self._most = self._part.have
        if not has_usable_url(self._file):
            await self._ask_for_url()
        request = messages.file_request(self._file, self._headers)
        await persist(self._attempt, request, self._client.patience, self._client.rng, went_on=self._went_on)

    async def _attempt(self) -> None:
        while True:
            at = self._part.goes_on_at
            try:
                await self._fetch_from(at)
            except ApiError as error:
                refusal = error
            else:
                return
            if refusal.status == _NOT_SATISFIABLE and at:
                self._part.begin_anew()
            else:
                await self._answer_to(refusal)

    async def _fetch_from(self, at: int) -> None:
        part = self._part
        request = messages.file_request(self._file, self._headers)
        headers = {**request.headers, **ranges.asking(at, part.source)}
        await self._client.fetch(evolve(request, headers=headers, sink=_PartSink(self, at)))
        if part.source is not None and part.source.size is not None and not part.is_whole:
            message = f"GET {request.path}: {part.have} of {part.source.size} bytes came"
            raise ConnectionFailed(message)

    async def _answer_to(self, refusal: ApiError) -> None:
        """Get another URL, where that may help.

        Raises:
            FileGone: nothing helps any more.
            ApiError: *refusal*, where it may pass, or is final.
        """
        if self._file.url is not None and refusal.status in _REFUSES_AN_URL:
            if not self._is_fresh:
                await self._ask_for_url()
                return
            if refusal.reasons or isinstance(refusal, NotFound):
                message = f"the store does not take a fresh URL of it either ({refusal}): {_SUBMIT_AGAIN}"
                raise FileGone(message) from refusal
        if isinstance(refusal, NotFound):
            message = f"there is no such file any more ({refusal}): {_SUBMIT_AGAIN}"
            raise FileGone(message) from refusal
        raise refusal

    async def _ask_for_url(self) -> None:
        """Ask the job for its files of today."""
        text = "%s: asking the job for a fresh URL of its file %d"
        log.info(text, self._handle, self._file.number, extra=about(self._handle))
        try:
            job = await self._client.job(self._handle)
        except NotFound as error:
            message = f"there is no such job any more ({error}): {_SUBMIT_AGAIN}"
            raise FileGone(message) from error
        found = successor(self._file, self._handle.kind.files(job))
        if found is None:
            message = f"the job names no such file any more: {_SUBMIT_AGAIN}"
            raise FileGone(message)
        self._file, self._is_fresh = found, True

    def _went_on(self) -> bool:
        went_on = self._part.have > self._most
        if went_on:
            self._most, self._is_fresh = self._part.have, False
        return went_on

    async def begin(self, at: int, status: int, headers: Mapping[str, str]) -> None:
        """Get ready for an answer, to a request for what there is from *at* on."""
        part = self._part
        if headers.get("content-encoding", "identity").strip().lower() not in {"identity", ""}:
            problem = "the answer is compressed, though it was to be the file as it is"
            raise MalformedResponse(problem, problems=[problem])
        comes = ranges.incoming(status, headers, at, part.source)
        if comes is None:
            part.begin_anew()
            message = "the answer is not the rest of the file that was asked for: it is fetched from its beginning"
            raise MalformedResponse(message)
        missing = (comes.source.size or 0) - comes.at
        usage = await self._run(shutil.disk_usage, part.path.parent)
        self._room.claim(part.path, missing, usage.free + (part.have if comes.at == 0 else 0))
        await self._run(part.begin_at, comes.at, comes.source)

    async def write(self, data: bytes | bytearray) -> None:
        """Take some bytes of an answer."""
        part = self._part
        await self._run(part.write, data)
        self._room.use(part.path, len(data))
        self._on_progress(part.have, part.source.size if part.source is not None else None)


class _PartSink:
    """The sink of one attempt."""

    def __init__(self, fetching: Fetching, at: int) -> None:
        self._fetching = fetching
        self._at = at

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        await self._fetching.begin(self._at, status, headers)

    async def write(self, data: bytes | bytearray) -> None:
        await self._fetching.write(data)
