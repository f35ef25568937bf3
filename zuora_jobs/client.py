"""ZuoraClient: one method per endpoint, over `persist(in_turn(authorized(limited(http))))`."""

from __future__ import annotations

from asyncio import CancelledError, Semaphore, current_task, get_running_loop
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import evolve

from zuora_jobs.errors import (
    CancellationNotSupported,
    ConnectionFailed,
    SubmitUncertain,
    WatcherClosed,
    ZuoraJobsError,
)
from zuora_jobs.protocol import messages, submits
from zuora_jobs.protocol.kinds import CREDIT_MEMO_APPLY, OPERATION, JobHandle, JobKind, JobT
from zuora_jobs.protocol.models import CreditMemo, Invoice, InvoiceBalance
from zuora_jobs.protocol.sighting import Sighting
from zuora_jobs.protocol.submits import Submitted
from zuora_jobs.transport.auth import Bearer, authorized
from zuora_jobs.transport.http import HttpTransport
from zuora_jobs.transport.limits import Allowance, Budget, Limiter, Permit, in_turn, limited
from zuora_jobs.transport.retry import Patience, is_zuoras_answer, persist, was_not_carried_out
from zuora_jobs.transport.tries import Tries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from zuora_jobs.settings import Settings
    from zuora_jobs.transport import Send


T = TypeVar("T")


class ZuoraClient:
    """One tenant, and what may be spent on it. To be used inside `async with`, by any number of tasks and watchers.

    Args:
        settings: which tenant, as whom.
        budget: requests a second and at once, over everything this client does; by default what suits the tenant.
        patience: how long a call of this class keeps trying. A watcher has its own.
        send: carries a request instead of the aiohttp session: for tests, or for another HTTP library.
        rng: where jitter comes from.
    """

    def __init__(
        self,
        settings: Settings,
        budget: Budget | None = None,
        *,
        patience: Patience | None = None,
        send: Send | None = None,
        rng: Random | None = None,
    ) -> None:
        self.settings = settings
        self.budget = budget or Budget.for_tenant(settings.base_url)
        self.patience = patience or Patience()
        self.rng = rng or Random()  # noqa: S311 - jitter, not secrets
        self._given_send = send
        self._headers: dict[JobKind[Any], Mapping[str, str]] = {}
        self._places: dict[tuple[str, str], Semaphore] = {}
        self._open: AsyncExitStack | None = None

    def __repr__(self) -> str:
        return f"<ZuoraClient {self.settings.base_url} {'open' if self._open else 'closed'}>"

    async def __aenter__(self) -> Self:
        if self._open is not None:
            message = "the client is open already: use it in one `async with` at a time"
            raise WatcherClosed(message)
        async with AsyncExitStack() as stack:
            http = self._given_send
            if http is None:
                http = await stack.enter_async_context(HttpTransport(self.settings))
            self.limiter = Limiter(self.budget)
            self._loop = get_running_loop()
            stack.callback(self.limiter.close)
            self._plain_send: Send = http
            # token requests have a limit of their own at Zuora, and must not wait behind what waits for them
            self._bearer = Bearer(self.settings, http)
            self._send: Send = in_turn(authorized(limited(http, self.limiter), self._bearer), self.limiter)
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stack, self._open = self._open, None
        if stack is not None:
            await stack.__aexit__(exc_type, exc, traceback)

    def check_open(self) -> None:
        """Make sure that the client is in use as it should be.

        Raises:
            WatcherClosed: it is outside its `async with`.
        """
        if self._open is None:
            message = "the client is closed: use it inside `async with ZuoraClient(...) as client`"
            raise WatcherClosed(message)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be written down, though an answer may give it back: credentials and tokens."""
        return self._bearer.secrets

    def allowance(self) -> Allowance:
        """Give what may be spent at this moment, and has been; may be asked from any thread, for a gauge say.

        Raises:
            WatcherClosed: the client is outside its `async with`.
        """
        self.check_open()
        return self.limiter.allowance(self._loop.time())

    async def job(self, handle: JobHandle[JobT]) -> JobT:
        """Get a job's document, trying again what passes.

        Wire: GET, the path in the kind's row.

        Raises:
            ApiError: Zuora says no; NotFound among them.
            TransportError: nobody answered for as long as the client's patience lasted.
            MalformedResponse: the answer is no such document.
        """
        request = messages.job_request(handle, self._headers_for(handle.kind))
        return await self._ask(request, partial(messages.decipher, model=handle.kind.model))

    async def look(self, handle: JobHandle[JobT], permit: Permit | None = None) -> JobT:
        """Get a job's document in one attempt, using up *permit*; whoever schedules the attempts decides about another.

        Raises:
            ApiError, TransportError, MalformedResponse: as `job`, at the first.
        """
        return (await self.sight(handle, permit)).job

    async def sight(self, handle: JobHandle[JobT], permit: Permit | None = None) -> Sighting[JobT]:
        """Look as `look` does, and read no more of the document than its status: of many looks few are read whole.

        Raises:
            ApiError, TransportError, MalformedResponse: as `look`, and for the same answers.
        """
        request = messages.job_request(handle, self._headers_for(handle.kind), permit)
        return await self._ask_once(request, partial(messages.sighting, model=handle.kind.model))

    async def cancel_job(
        self, handle: JobHandle[JobT], *, on_retry: Callable[[ZuoraJobsError, float], None] | None = None
    ) -> JobT:
        """Ask Zuora to cancel a job; the answer is the job's document, whose status tells what came of it.

        You do not get the job's end from here where the job had ended before: then Zuora refuses, and this raises.
        `JobWatcher.cancel` looks again.

        Wire: DELETE /v1/batch-query/jobs/{jobid}
        https://developer.zuora.com/v1-api-reference/api/operation/DELETE_BatchQueryJob/

        Args:
            handle: which job.
            on_retry: told each failure that is going to be tried again, and in how many seconds.

        Raises:
            CancellationNotSupported: the kind has no cancel route; nothing was sent.
            ApiError: refused; Rejected where the job had ended.
            TransportError: nobody answered; the job may have been cancelled all the same.
        """
        return (await self.cancel_sight(handle, on_retry=on_retry)).job

    async def cancel_sight(
        self, handle: JobHandle[JobT], *, on_retry: Callable[[ZuoraJobsError, float], None] | None = None
    ) -> Sighting[JobT]:
        """Do as `cancel_job` does, and give what `sight` gives."""
        check_cancellable(handle)
        request = messages.cancel_request(handle, self._headers_for(handle.kind))
        return await self._ask(request, partial(messages.sighting, model=handle.kind.model), on_retry)

    async def invoice(self, id: str, fields: Iterable[str] | None = None) -> Invoice:  # noqa: A002
        """Get an invoice, or only some of its *fields* (by Zuora's names, such as `Id`, `Balance`).

        Wire: GET /v1/object/invoice/{id}?fields=…

        Raises:
            ConfigurationError: the id or a field's name cannot be one; nothing was sent.
            NotFound: there is no such invoice.
            ApiError, TransportError, MalformedResponse: as `job`.
        """
        request = messages.invoice_request(self.settings, id, fields)
        return await self._ask(request, partial(messages.decipher, model=Invoice))

    async def credit_memo(self, key: str) -> CreditMemo:
        """Get a credit memo by its id or number, with how much of it is left.

        Wire: GET /v1/credit-memos/{creditMemoKey}
        https://developer.zuora.com/v1-api-reference/api/operation/GET_CreditMemo

        Raises:
            ConfigurationError: *key* cannot be one; nothing was sent.
            NotFound: there is no such credit memo.
            ApiError, TransportError, MalformedResponse: as `job`.
        """
        request = messages.credit_memo_request(key, self._headers_for(CREDIT_MEMO_APPLY))
        return await self._ask(request, partial(messages.decipher, model=CreditMemo))

    async def invoice_balance(self, key: str) -> InvoiceBalance:
        """Get what is left to be paid of an invoice, by its id or number.

        Wire: GET /v1/invoices/{invoiceKey}
        https://developer.zuora.com/v1-api-reference/api/operation/GET_Invoice

        Raises:
            ConfigurationError: *key* cannot be one; nothing was sent.
            NotFound: there is no such invoice.
            ApiError, TransportError, MalformedResponse: as `job`.
        """
        request = messages.invoice_balance_request(key, self._headers_for(OPERATION))
        return await self._ask(request, partial(messages.decipher, model=InvoiceBalance))

    async def submit(
        self,
        request: object,
        *,
        idempotency_key: str | None = None,
        patience: Patience | None = None,
        on_retry: Callable[[ZuoraJobsError, float], None] | None = None,
    ) -> Submitted[Any]:
        """Begin a job: `submitted = await client.submit(DeleteInvoice("INV00000123"))`, then watch `submitted.handle`.

        A POST bears an Idempotency-Key made once, so that trying again does nothing twice. A PUT or a DELETE, for which
        Zuora offers no such key, is sent again only where it is certain that nothing was done. `JobWatcher.submit` keeps a
        journal of it as well.

        Args:
            request: `RunQueries`, `ZipPdfs`, `DeleteInvoice`, `ReverseInvoice`, `ApplyCreditMemo` or `UnapplyCreditMemo`.
            idempotency_key: of an earlier try of the same request, at most 24 hours ago.
            patience: how long to keep trying, instead of the client's.
            on_retry: told each failure that is going to be tried again, and in how many seconds.

        Raises:
            ConfigurationError: this is no request.
            SubmitUncertain: whether Zuora has begun the job is not known; says how to find out.
            ApiError: refused; Rejected where a query has a syntax error, say. Nothing was begun.
            TransportError: nobody was reached. Nothing was begun.
        """
        tries = Tries(request, idempotency_key, key_age=0.0 if idempotency_key is not None else None, on_retry=on_retry)
        return await self.submit_by(tries, patience)

    async def submit_by(self, tries: Tries, patience: Patience | None = None) -> Submitted[Any]:
        """Do what `submit` does, as *tries* says, which knows afterwards whether any of them is in doubt."""
        request = tries.request
        headers = self._headers_for(submits.submit_kind(request).kind)
        first = submits.submit_request(request, headers, tries.key_sent)

        async def attempt() -> Submitted[Any]:
            self.check_open()
            with await self.limiter.acquire() as permit:
                sent = evolve(first, headers={**first.headers, **await tries.header()}, permit=permit)
                with tries.on_the_way():
                    return await self._ask_once(sent, partial(submits.read_answer, request))

        try:
            return await persist(attempt, first, patience or self.patience, self.rng, tries.failed)
        except SubmitUncertain:
            raise
        except ZuoraJobsError as error:
            # after an answer that was lost only Zuora's own, which it keeps for the key, says what became of it
            if was_not_carried_out(error) and (is_zuoras_answer(error) or not tries.in_doubt):
                raise
            failure = submits.uncertain(error, request, tries.key_sent)
            failure.__cause__ = error
        raise failure

    def place_for(self, request: object) -> AbstractAsyncContextManager[object]:
        """Give what is to be entered before *request* is submitted, and left when its job has ended.

        It keeps this client from having more jobs of a kind at a time than a tenant may have.
        """
        row = submits.submit_kind(request)
        if row.at_once is None:
            return nullcontext()
        return self._places.setdefault((row.name, row.shares(request)), Semaphore(row.at_once))

    async def fetch(self, request: messages.Request) -> None:
        """Fetch a result file into the sink of *request*, in one attempt; whoever keeps it decides about another.

        A file of Zuora's own is fetched with the token and within the budget, one behind a presigned URL without either.

        Args:
            request: made by `messages.file_request`.

        Raises:
            ApiError: Zuora, or the store, says no.
            TransportError: the connection was cut, or fell silent; what came before that is in the sink.
            MalformedResponse: something else came than a file.
            ZuoraJobsError: what the sink says.
        """
        await self._ask_once(request, messages.check_poured)

    def _headers_for(self, kind: JobKind[Any]) -> Mapping[str, str]:
        if kind not in self._headers:
            self._headers[kind] = messages.job_headers(self.settings, kind)
        return self._headers[kind]

    async def _ask(
        self,
        request: messages.Request,
        read: Callable[[messages.Request, messages.Response], T],
        on_retry: Callable[[ZuoraJobsError, float], None] | None = None,
    ) -> T:
        attempt = partial(self._ask_once, request, read)
        return await persist(attempt, request, self.patience, self.rng, on_retry)

    async def _ask_once(self, request: messages.Request, read: Callable[[messages.Request, messages.Response], T]) -> T:
        self.check_open()
        try:
            send = self._send if request.url is None else self._plain_send
            return read(request, await send(request))
        except CancelledError as cancelled:
            failure: BaseException = cancelled if _meant_for_us() else _cut_off(request)
        except ZuoraJobsError as error:
            failure = error
        # the frames below hold the token and whole answers, and some tracebacks show each frame's variables
        failure.__context__ = None
        raise failure.with_traceback(None)


def _meant_for_us() -> bool:
    """Tell whether a CancelledError comes from who cancelled this task, and not from some future below."""
    task = current_task()
    return task is not None and task.cancelling() > 0


def _cut_off(request: messages.Request) -> ConnectionFailed:
    return ConnectionFailed(f"{request.method} {request.path}: whatever carried the request was cancelled")


def check_cancellable(handle: JobHandle[Any]) -> None:
    """Make sure that Zuora offers a way to cancel such a job.

    Raises:
        CancellationNotSupported: it does not.
    """
    if handle.kind.cancel is None:
        message = f"{handle} cannot be cancelled: Zuora offers no way to cancel a job of kind {handle.kind.name}"
        raise CancellationNotSupported(message)
