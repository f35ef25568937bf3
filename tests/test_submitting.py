"""client.submit: what is begun is begun once, whatever becomes of the answers."""

import asyncio
import json
import pickle
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import accumulate, pairwise
from random import Random
from typing import Any

import pytest

from zuora_jobs import (
    AQUA,
    BULK_PDF,
    CREDIT_MEMO_APPLY,
    CREDIT_MEMO_UNAPPLY,
    OPERATION,
    ApplyCreditMemo,
    Budget,
    ConfigurationError,
    DeleteInvoice,
    DocumentIds,
    InvoiceAmount,
    NotFound,
    Query,
    RateLimited,
    Rejected,
    ReverseInvoice,
    RunQueries,
    ServerError,
    Settings,
    SubmitUncertain,
    UnapplyCreditMemo,
    ZipPdfs,
    ZuoraClient,
    ZuoraJobsError,
)
from zuora_jobs.errors import ConnectionFailed, MalformedResponse, ResponseTimeout
from zuora_jobs.protocol.messages import Request, Response
from zuora_jobs.transport.retry import Patience

pytestmark = pytest.mark.looptime

JOB = "2c92c8fb84d2f8f40184d2ff0d6b0001"
INVOICE = "2c92c8955bd63cc1015bd7c151af02ab"
CANARY = "canary-token-5f1d"
UNLIMITED = Budget(rate=1e6, concurrency=500)

QUERIES = RunQueries([Query("Invoices", "select Id from Invoice")])
PDFS = ZipPdfs(documents=[DocumentIds(doc_type="Invoice", object_ids=(INVOICE,))], file_name="invoices")
DELETE = DeleteInvoice(INVOICE)
REVERSE = ReverseInvoice("INV00000123")
APPLY = ApplyCreditMemo("CM00000007", [InvoiceAmount(invoice_id=INVOICE, amount="12.50")])
UNAPPLY = UnapplyCreditMemo("CM00000007", [InvoiceAmount(invoice_id=INVOICE, amount="12.50")])

KEYED = [QUERIES, PDFS]
UNKEYED = [DELETE, REVERSE, APPLY, UNAPPLY]


def name_of(request: object) -> str:
    return type(request).__name__


def answer(status: int, document: Any = None, /, **headers: str) -> Response:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def refusal(code: int | str, status: int = 200, /, **headers: str) -> Response:
    document = {"success": False, "processId": "p-1", "reasons": [{"code": code, "message": "no"}]}
    return answer(status, document, **headers)


GOOD: dict[str, tuple[Any, Response]] = {
    "RunQueries": (AQUA, answer(200, {"id": JOB, "status": "submitted"})),
    "ZipPdfs": (BULK_PDF, answer(200, {"success": True, "jobId": JOB, "invalidIds": []})),
    "DeleteInvoice": (OPERATION, answer(200, {"success": True, "id": INVOICE, "jobId": JOB, "jobStatus": "Pending"})),
    "ReverseInvoice": (OPERATION, answer(200, {"success": True, "id": INVOICE, "jobId": JOB, "jobStatus": "Pending"})),
    "ApplyCreditMemo": (CREDIT_MEMO_APPLY, answer(200, {"success": True, "id": JOB, "status": "Pending"})),
    "UnapplyCreditMemo": (CREDIT_MEMO_UNAPPLY, answer(200, {"success": True, "id": JOB, "status": "Pending"})),
}

PAGE = b"<html><head><title>Bad gateway</title></head><body>try later</body></html>"

LOST: dict[str, Callable[[], Any]] = {
    "timeout": lambda: ResponseTimeout("no whole answer within 30 s"),
    "reset": lambda: ConnectionFailed("the connection failed: reset"),
    "502": lambda: answer(502, PAGE),
    "504": lambda: answer(504, PAGE),
    "503-page": lambda: answer(503, PAGE),
    "500-empty": lambda: answer(500, b""),
    "html": lambda: answer(200, PAGE),
    "empty": lambda: answer(200, b""),
    "half": lambda: answer(200, b'{"id": "2c92'),
    "code-60": lambda: refusal(50000060),
    "code-60-under-500": lambda: refusal("50000060", 500),
    "code-99": lambda: refusal(50000099),
    "408": lambda: answer(408, b""),
    "redirect": lambda: answer(302, b"", location="https://elsewhere.invalid/"),
    "no-job": lambda: answer(200, {"something": "else"}),
}
"""After these nobody knows whether the request was carried out."""

NOT_DONE: dict[str, Callable[[], Any]] = {
    "429": lambda: answer(429, {"reasons": [{"code": 70, "message": "slow down"}]}),
    "refused": lambda: ConnectionFailed("no connection: refused", sent=False),
    "lock": lambda: refusal(50000050),
    "lock-under-400": lambda: refusal("50000050", 400),
    "temporary": lambda: refusal(50000061),
    "temporary-under-503": lambda: refusal(50000061, 503),
    "limit": lambda: refusal(50000070),
}
"""After these everybody knows that it was not."""


class Script:
    """An in-memory Send: plays its steps in turn, the last for ever."""

    def __init__(self, *steps: Any) -> None:
        self.steps = steps
        self.sent: list[Request] = []
        self.times: list[float] = []

    async def __call__(self, request: Request) -> Response:
        self.sent.append(request)
        self.times.append(asyncio.get_running_loop().time())
        step = self.steps[min(len(self.sent), len(self.steps)) - 1]
        step = step() if callable(step) else step
        if isinstance(step, Exception):
            raise step
        assert isinstance(step, Response)
        return step

    @property
    def keys(self) -> list[str | None]:
        return [request.headers.get("Idempotency-Key") for request in self.sent]


@asynccontextmanager
async def client_of(script: Script, **options: Any) -> AsyncIterator[ZuoraClient]:
    settings = Settings(base_url="https://rest.example.com", access_token=CANARY)
    async with ZuoraClient(settings, UNLIMITED, send=script, rng=Random(1), **options) as client:
        yield client
        assert client.limiter.gate.in_flight == 0, "a permit was not given back"


def delays(count: int) -> list[float]:
    """The first delays before further tries, of a client whose chance is Random(1)."""
    each = Patience().delays(Random(1))
    return [next(each) for _ in range(count)]


async def submitted(request: object, *steps: Any, **options: Any) -> tuple[Any, Script]:
    """Submit *request* to a tenant that plays *steps*; give what came of it, and the script."""
    script = Script(*steps)
    async with client_of(script) as client:
        try:
            result: Any = await client.submit(request, **options)
        except ZuoraJobsError as error:
            result = error
        count = len(script.sent)
        await asyncio.sleep(10_000)
        assert len(script.sent) == count, "something was sent after the end"
    return result, script


# --- the usual case


@pytest.mark.parametrize("request_", [*KEYED, *UNKEYED], ids=name_of)
async def test_a_request_is_sent_once_and_its_answer_becomes_a_handle(request_: Any) -> None:
    kind, good = GOOD[name_of(request_)]
    result, script = await submitted(request_, good)
    assert result.handle == kind.handle(JOB)
    assert result.request is request_
    assert not result.from_journal
    assert not result.has_ended
    (sent,) = script.sent
    assert script.times == [0]
    assert sent.submits
    assert sent.kind is kind


@pytest.mark.parametrize("request_", KEYED, ids=name_of)
async def test_each_post_has_a_key_of_its_own(request_: Any) -> None:
    _, good = GOOD[name_of(request_)]
    script = Script(good)
    async with client_of(script) as client:
        await client.submit(request_)
        await client.submit(request_)
    first, second = script.keys
    assert first
    assert second
    assert first != second


@pytest.mark.parametrize("request_", UNKEYED, ids=name_of)
async def test_what_zuora_refuses_a_key_on_bears_none_even_if_one_is_given(request_: Any) -> None:
    _, good = GOOD[name_of(request_)]
    result, script = await submitted(request_, good, idempotency_key="mine")
    assert result.handle.id == JOB
    assert script.keys == [None]
    assert "idempotency-key" not in {name.lower() for name in script.sent[0].headers}


@pytest.mark.parametrize("request_", KEYED, ids=name_of)
async def test_the_key_of_an_earlier_try_is_sent_as_it_is(request_: Any) -> None:
    result, script = await submitted(request_, GOOD[name_of(request_)][1], idempotency_key="key-of-yesterday")
    assert result.handle.id == JOB
    assert script.keys == ["key-of-yesterday"]


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("k" * 256, id="long"),
        pytest.param("a\r\nX-Evil: 1", id="lines"),
        pytest.param("a\x00", id="nul"),
    ],
)
async def test_a_key_that_can_be_none_is_refused_before_any_request(key: str) -> None:
    result, script = await submitted(QUERIES, GOOD["RunQueries"][1], idempotency_key=key)
    assert isinstance(result, ConfigurationError)
    assert script.sent == []


@pytest.mark.parametrize("nothing", [None, "aqua", {"queries": []}, RunQueries, Query("a", "select Id from Account")])
async def test_what_is_no_request_is_refused_before_any(nothing: object) -> None:
    result, script = await submitted(nothing, GOOD["RunQueries"][1])
    assert isinstance(result, ConfigurationError)
    assert "use one of RunQueries, ZipPdfs" in str(result)
    assert script.sent == []


# --- answers that are lost


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("request_", KEYED, ids=name_of)
async def test_a_post_whose_answer_is_lost_is_sent_again_with_the_same_key(request_: Any, lost: str) -> None:
    kind, good = GOOD[name_of(request_)]
    result, script = await submitted(request_, LOST[lost], LOST[lost], good)
    assert result.handle == kind.handle(JOB)
    assert script.times == pytest.approx([0, *accumulate(delays(2))])
    assert len(set(script.keys)) == 1
    assert script.keys[0]
    assert len({sent.body for sent in script.sent}) == 1


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("request_", UNKEYED, ids=name_of)
async def test_a_put_or_delete_whose_answer_is_lost_is_never_sent_again(request_: Any, lost: str) -> None:
    result, script = await submitted(request_, LOST[lost], GOOD[name_of(request_)][1])
    assert type(result) is SubmitUncertain
    assert script.times == [0]
    assert result.request is request_
    assert result.idempotency_key is None
    assert isinstance(result.__cause__, ZuoraJobsError)
    assert result.find_out in str(result)
    assert "not submitted again" in str(result)


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (DELETE, f"`zuora-jobs invoice {INVOICE}`"),
        (REVERSE, "`zuora-jobs invoice INV00000123`"),
        (APPLY, "GET /v1/credit-memos/CM00000007, `unappliedAmount`"),
        (UNAPPLY, "GET /v1/credit-memos/CM00000007, `unappliedAmount`"),
        (QUERIES, "AQuA job finder"),
        (PDFS, "submitted anew"),
    ],
    ids=name_of,
)
async def test_what_is_uncertain_says_how_to_find_out(request_: Any, told: str) -> None:
    result, _ = await submitted(request_, LOST["timeout"])
    assert type(result) is SubmitUncertain
    assert told in result.find_out
    assert "{" not in str(result)


@pytest.mark.parametrize("request_", KEYED, ids=name_of)
async def test_a_post_that_is_never_answered_is_uncertain_and_tells_its_key(request_: Any) -> None:
    result, script = await submitted(request_, LOST["timeout"], patience=Patience(again=30))
    assert type(result) is SubmitUncertain
    assert isinstance(result.__cause__, ResponseTimeout)
    assert script.times[-1] >= 30
    assert script.times[-2] < 30
    assert set(script.keys) == {result.idempotency_key}
    assert f"idempotency key {result.idempotency_key}" in str(result)


# --- refusals


@pytest.mark.parametrize("why", NOT_DONE)
@pytest.mark.parametrize("request_", UNKEYED, ids=name_of)
async def test_a_put_or_delete_that_was_certainly_not_carried_out_is_sent_again(request_: Any, why: str) -> None:
    kind, good = GOOD[name_of(request_)]
    result, script = await submitted(request_, NOT_DONE[why], good)
    assert result.handle == kind.handle(JOB)
    assert script.times == pytest.approx([0, *delays(1)])


@pytest.mark.parametrize("request_", [*KEYED, *UNKEYED], ids=name_of)
async def test_the_server_is_given_the_time_it_asks_for(request_: Any) -> None:
    throttled = answer(429, {"reasons": [{"code": 70, "message": "retry after 40 seconds"}]}, retry_after="40")
    result, script = await submitted(request_, throttled, GOOD[name_of(request_)][1])
    assert result.handle.id == JOB
    assert script.times == pytest.approx([0, 40])


@pytest.mark.parametrize("request_", UNKEYED, ids=name_of)
async def test_after_a_lock_comes_a_lost_answer_and_then_nothing_more(request_: Any) -> None:
    result, script = await submitted(request_, NOT_DONE["lock"], LOST["reset"], GOOD[name_of(request_)][1])
    assert type(result) is SubmitUncertain
    assert script.times == pytest.approx([0, *delays(1)])


@pytest.mark.parametrize("request_", [*KEYED, *UNKEYED], ids=name_of)
async def test_when_nobody_is_reached_nothing_was_begun_and_that_is_told(request_: Any) -> None:
    result, script = await submitted(request_, NOT_DONE["refused"])
    assert type(result) is ConnectionFailed
    assert not result.sent
    assert script.times[-1] >= Patience().again > script.times[-2]
    assert all(later - before <= Patience().longest for before, later in pairwise(script.times))


@pytest.mark.parametrize("request_", UNKEYED, ids=name_of)
async def test_patience_with_a_lock_ends_and_it_was_not_begun(request_: Any) -> None:
    result, script = await submitted(request_, NOT_DONE["lock"], patience=Patience(again=7))
    assert isinstance(result, ServerError | Rejected)
    assert result.code == "50000050"
    assert script.times[-1] >= 7 > script.times[-2]


async def test_patience_with_throttling_ends_and_it_was_not_begun() -> None:
    result, script = await submitted(APPLY, NOT_DONE["429"], patience=Patience(throttled=50))
    assert type(result) is RateLimited
    assert script.times[-1] >= 50 > script.times[-2]


@pytest.mark.parametrize("request_", [*KEYED, *UNKEYED], ids=name_of)
@pytest.mark.parametrize(
    ("no", "error"),
    [(refusal(50000020), Rejected), (refusal("50000030", 400), Rejected), (refusal(50000040), NotFound)],
    ids=["bad value", "business rule", "not found"],
)
async def test_a_refusal_is_told_at_once_and_not_tried_again(request_: Any, no: Response, error: Any) -> None:
    result, script = await submitted(request_, no, GOOD[name_of(request_)][1])
    assert type(result) is error
    assert script.times == [0]


async def test_what_aqua_refuses_under_200_without_an_id_is_rejected() -> None:
    said = {"status": "error", "errorCode": "90005", "message": "There is a syntax error in one of the queries"}
    result, script = await submitted(QUERIES, answer(200, said))
    assert type(result) is Rejected
    assert "90005: There is a syntax error" in str(result)
    assert script.times == [0]


# --- refusals after an answer was lost: was it the first that was refused, or the second?


@pytest.mark.parametrize("request_", KEYED, ids=name_of)
async def test_zuoras_own_refusal_for_the_key_says_what_became_of_the_first(request_: Any) -> None:
    result, script = await submitted(request_, LOST["reset"], refusal(50000020))
    assert type(result) is Rejected
    assert len(script.sent) == 2


@pytest.mark.parametrize(
    "then",
    [
        lambda: answer(401, {"message": "Authentication error"}),
        lambda: answer(403, {"message": "Forbidden"}),
        lambda: answer(404, {"message": "no such route"}),
        lambda: refusal(50000010, 403),
    ],
    ids=["401", "403", "404", "permission"],
)
@pytest.mark.parametrize("request_", KEYED, ids=name_of)
async def test_any_other_refusal_after_a_lost_answer_leaves_it_uncertain(request_: Any, then: Any) -> None:
    result, script = await submitted(request_, LOST["reset"], then)
    assert type(result) is SubmitUncertain
    assert set(script.keys) == {result.idempotency_key}


@pytest.mark.parametrize("request_", KEYED, ids=name_of)
async def test_an_answer_lost_and_then_nobody_there_is_uncertain(request_: Any) -> None:
    result, _ = await submitted(request_, LOST["timeout"], NOT_DONE["refused"])
    assert type(result) is SubmitUncertain
    assert isinstance(result.__cause__, ConnectionFailed)


@pytest.mark.parametrize("said", [{}, {"message": "in progress"}, {"success": False}], ids=str)
@pytest.mark.parametrize("request_", KEYED, ids=name_of)
async def test_a_conflict_with_ones_own_first_try_is_waited_for(request_: Any, said: Any) -> None:
    kind, good = GOOD[name_of(request_)]
    result, script = await submitted(request_, LOST["reset"], answer(409, said), answer(409, said), good)
    assert result.handle == kind.handle(JOB)
    assert len(set(script.keys)) == 1
    assert script.times == pytest.approx([0, *accumulate(delays(3))])


@pytest.mark.parametrize("request_", KEYED, ids=name_of)
async def test_the_first_answer_that_comes_again_under_409_is_the_answer(request_: Any) -> None:
    kind, good = GOOD[name_of(request_)]
    result, script = await submitted(request_, LOST["reset"], Response(409, {}, good.body))
    assert result.handle == kind.handle(JOB)
    assert len(script.sent) == 2


@pytest.mark.parametrize("request_", KEYED, ids=name_of)
async def test_a_conflict_of_another_kind_after_a_lost_answer_leaves_it_uncertain(request_: Any) -> None:
    result, _ = await submitted(request_, LOST["reset"], refusal("50000030", 409))
    assert type(result) is SubmitUncertain


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (PDFS, {"success": True, "jobId": "a b/../c"}),
        (QUERIES, {"id": "../../evil", "status": "submitted"}),
        (DELETE, {"success": True, "id": INVOICE, "jobId": "ünicode", "jobStatus": "Pending"}),
        (APPLY, {"success": True, "id": "x" * 129, "status": "Pending"}),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_job_with_an_id_that_can_be_none_was_begun_all_the_same(request_: Any, named: Any) -> None:
    result, _ = await submitted(request_, answer(200, named))
    assert type(result) is SubmitUncertain
    assert isinstance(result.__cause__, MalformedResponse)


# --- what is told meanwhile, and what is not


async def test_each_further_try_is_told_with_its_delay() -> None:
    told: list[Any] = []
    await submitted(
        QUERIES,
        LOST["timeout"],
        NOT_DONE["lock"],
        GOOD["RunQueries"][1],
        on_retry=lambda error, delay: told.append((type(error), delay)),
    )
    first, second = delays(2)
    assert told == [(ResponseTimeout, pytest.approx(first)), (ServerError, pytest.approx(second))]


@pytest.mark.parametrize("request_", [*KEYED, *UNKEYED], ids=name_of)
@pytest.mark.parametrize(
    "echo",
    [
        lambda: answer(502, f"<title>Bearer {CANARY}</title>".encode()),
        lambda: answer(500, {"reasons": [{"code": "50000060", "message": f"token {CANARY} broke"}]}),
        lambda: answer(200, {"token": CANARY}),
    ],
    ids=["page", "reason", "document"],
)
async def test_what_is_uncertain_tells_no_secret(request_: Any, echo: Any) -> None:
    result, _ = await submitted(request_, echo, patience=Patience(again=5, briefly=5))
    assert type(result) is SubmitUncertain
    whole = "".join(traceback.TracebackException.from_exception(result, capture_locals=True).format())
    assert CANARY not in whole + repr(vars(result)) + repr(vars(result.__cause__))
    again = pickle.loads(pickle.dumps(result))
    assert (str(again), again.find_out, again.request) == (str(result), result.find_out, request_)


async def test_cancelling_the_caller_stops_trying_and_leaves_nothing_behind() -> None:
    script = Script(NOT_DONE["refused"])
    async with client_of(script) as client:
        submitting = asyncio.create_task(client.submit(QUERIES))
        await asyncio.sleep(3)
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        count = len(script.sent)
        await asyncio.sleep(100)
    assert len(script.sent) == count > 1
