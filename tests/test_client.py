"""One client, whole, against the emulator on the test's own loop."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from random import Random
from typing import Any

import looptime
import pytest

from zuora_jobs import (
    AQUA,
    BULK_PDF,
    CREDIT_MEMO_APPLY,
    KINDS,
    OPERATION,
    Budget,
    CancellationNotSupported,
    ConfigurationError,
    JobHandle,
    JobKind,
    NotFound,
    RateLimited,
    Rejected,
    ServerError,
    Unauthorized,
    WatcherClosed,
    ZuoraClient,
    ZuoraJobsError,
    emulator,
)
from zuora_jobs.emulator import Answer, Delay, Fault, Hang, Step
from zuora_jobs.errors import ConnectionFailed, MalformedResponse, ResponseTimeout
from zuora_jobs.protocol import wire
from zuora_jobs.transport.retry import Patience

pytestmark = pytest.mark.looptime

FULL = {
    "track_id": "track-1",
    "entity_id": "entity-1",
    "org_ids": "org-1,org-2",
    "zuora_version": "2025-08-12",
    "wsdl_version": "127",
}


@pytest.fixture
async def zuora() -> AsyncIterator[emulator.Emulator]:
    async with emulator.running() as running:
        yield running


@pytest.fixture
def client_of() -> Callable[..., ZuoraClient]:
    def make(zuora: emulator.Emulator, budget: Budget | None = None, **options: Any) -> ZuoraClient:
        settings = options.pop("settings", {})
        return ZuoraClient(zuora.settings(**settings), budget, rng=Random(1), **options)

    return make


def handle_of(job: emulator.Job) -> JobHandle[Any]:
    return JobHandle.parse(job.handle)


def job_requests(zuora: emulator.Emulator) -> list[emulator.RequestRecord]:
    return [record for record in zuora.requests if record.path != "/oauth/token"]


# --- the endpoints


@pytest.mark.parametrize(
    ("kind", "status"),
    [(OPERATION, "Completed"), (BULK_PDF, "PartialComplete"), (AQUA, "aborted"), (CREDIT_MEMO_APPLY, "Processed")],
    ids=repr,
)
async def test_a_job_of_each_kind_comes_back_as_its_own_document(
    kind: JobKind[Any], status: str, zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]
) -> None:
    job = zuora.add_job(kind.name, life=[Step(status)])
    async with client_of(zuora) as client:
        document = await client.job(kind.handle(job.id))
        assert type(document) is kind.model
        assert document.status == status
        assert (await client.look(kind.handle(job.id))).status == status
    assert [record.path for record in job_requests(zuora)] == [kind.watch.format(id=job.id)] * 2


async def test_an_invoice_keeps_its_money_to_the_last_digit(
    zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]
) -> None:
    invoice_id = zuora.add_invoice(Balance=Decimal("12345678901234567.89"))
    async with client_of(zuora) as client:
        invoice = await client.invoice(invoice_id, fields=["Id", "Balance"])
    assert invoice.balance == Decimal("12345678901234567.89")
    (record,) = job_requests(zuora)
    assert (record.method, record.path) == ("GET", f"/v1/object/invoice/{invoice_id}")
    assert record.query == {"fields": "Id,Balance"}


async def test_a_cancelled_job_comes_back_as_it_stands(
    zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]
) -> None:
    job = zuora.add_job("aqua", ends="completed", seconds=1000)
    async with client_of(zuora) as client:
        assert (await client.cancel_job(AQUA.handle(job.id))).status == "cancelled"
    assert [record.method for record in job_requests(zuora)] == ["DELETE"]


@pytest.mark.parametrize("refusal_status", [200, 400])
async def test_a_cancel_that_comes_too_late_is_refused_once_and_not_repeated(
    refusal_status: Any, client_of: Callable[..., ZuoraClient]
) -> None:
    async with emulator.running(aqua_refusal_status=refusal_status) as zuora:
        job = zuora.add_job("aqua", life=[Step("completed")])
        async with client_of(zuora) as client:
            with pytest.raises(Rejected):
                await client.cancel_job(AQUA.handle(job.id))
        assert len(job_requests(zuora)) == 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.cancel is None], ids=repr)
async def test_a_kind_without_a_cancel_route_is_refused_before_any_request(
    kind: JobKind[Any], zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]
) -> None:
    async with client_of(zuora) as client:
        with pytest.raises(CancellationNotSupported, match=kind.name):
            await client.cancel_job(kind.handle("x"))
    assert zuora.requests == []


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("kind", KINDS.values(), ids=repr)
async def test_an_unknown_job_is_not_found_whatever_the_http_status_and_asked_for_once(
    kind: JobKind[Any], status: Any, client_of: Callable[..., ZuoraClient]
) -> None:
    async with emulator.running(unknown_job_status=status) as zuora, client_of(zuora) as client:
        with pytest.raises(NotFound):
            await client.job(kind.handle("nobody"))
        assert len(job_requests(zuora)) == 1


async def test_an_unknown_invoice_is_not_found(zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]) -> None:
    async with client_of(zuora) as client:
        with pytest.raises(NotFound):
            await client.invoice("nobody")


@pytest.mark.parametrize(
    ("invoice_id", "fields"),
    [("../jobs", None), ("", None), ("a/b", None), ("x?y", None), ("x", ["Id,Amount"]), ("x", ["a b"]), ("x", "Id")],
)
async def test_what_could_change_the_path_is_refused_before_any_request(
    invoice_id: str, fields: Any, zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]
) -> None:
    async with client_of(zuora) as client:
        with pytest.raises(ConfigurationError):
            await client.invoice(invoice_id, fields)
    assert zuora.requests == []


# --- headers, as each page of the vendor's offers them


JOB_HEADERS = {"Zuora-Track-Id": "track-1", "Zuora-Entity-Ids": "entity-1", "Zuora-Version": "2025-08-12"}
WITH_ORGS = {**JOB_HEADERS, "Zuora-Org-Ids": "org-1,org-2"}
INVOICE_HEADERS = {"Zuora-Track-Id": "track-1", "Zuora-Entity-Ids": "entity-1", "X-Zuora-WSDL-Version": "127"}
OPTIONAL = {*WITH_ORGS, *INVOICE_HEADERS, "Idempotency-Key", "Content-Encoding", "Cookie"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("operation", WITH_ORGS),
        ("bulk-pdf", JOB_HEADERS),
        ("aqua", WITH_ORGS),
        ("credit-memo-apply", WITH_ORGS),
        ("invoice", INVOICE_HEADERS),
        ("token", {"Zuora-Track-Id": "track-1"}),
        ("cancel", WITH_ORGS),
    ],
)
@pytest.mark.parametrize("full", [True, False])
async def test_each_request_bears_the_headers_of_its_page_and_no_others(
    path: str, expected: dict[str, str], full: bool, zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]
) -> None:
    async with client_of(zuora, settings=FULL if full else {}) as client:
        if path == "invoice":
            await client.invoice(zuora.add_invoice())
        elif path == "cancel":
            await client.cancel_job(AQUA.handle(zuora.add_job("aqua", ends="completed", seconds=9).id))
        else:
            kind = KINDS["aqua" if path == "token" else path]
            await client.job(kind.handle(zuora.add_job(kind.name, ends="completed" if kind is AQUA else None).id))
    token, request = zuora.requests
    headers = token.headers if path == "token" else request.headers
    assert {name: headers[name] for name in OPTIONAL if name in headers} == (expected if full else {})
    assert headers["Accept-Encoding"] == "gzip"
    assert headers["Accept"] == "application/json"
    assert request.authorized
    assert not token.authorized


async def test_a_long_answer_comes_compressed_and_is_read(
    zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]
) -> None:
    urls = [f"https://files.example.com/{number}.zip?{'x' * 100}" for number in range(100)]
    job = zuora.add_job("bulk-pdf", life=[Step("Completed")], fields={"fileUrls": urls})
    async with client_of(zuora) as client:
        document = await client.job(BULK_PDF.handle(job.id))
    assert list(document.file_urls) == urls


# --- tokens


async def test_a_hundred_first_calls_cost_one_token(client_of: Callable[..., ZuoraClient]) -> None:
    async with emulator.running(latency=1, concurrency_limit=None) as zuora:
        handle = handle_of(zuora.add_job("operation", ends="Completed", seconds=0))
        async with client_of(zuora, Budget(rate=1e6, concurrency=100)) as client:
            await asyncio.gather(*(client.job(handle) for _ in range(100)))
        assert zuora.token_requests == 1
        assert all(record.authorized for record in job_requests(zuora))


async def test_tokens_revoked_under_way_cost_one_more_and_nobody_notices(client_of: Callable[..., ZuoraClient]) -> None:
    async with emulator.running(latency=1, concurrency_limit=None) as zuora:
        handle = handle_of(zuora.add_job("operation", ends="Completed", seconds=0))
        async with client_of(zuora, Budget(rate=1e6, concurrency=100)) as client:
            await client.job(handle)
            zuora.revoke_tokens()
            documents = await asyncio.gather(*(client.job(handle) for _ in range(100)))
        assert {document.status for document in documents} == {"Completed"}
        assert zuora.token_requests == 2


async def test_a_day_of_polling_costs_a_token_an_hour_and_never_a_401(
    zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]
) -> None:
    handle = handle_of(zuora.add_job("operation", ends="Completed", seconds=0))
    async with client_of(zuora) as client:
        for _ in range(24 * 6):
            await client.job(handle)
            await asyncio.sleep(600)
    assert zuora.token_requests == 24
    assert 401 not in zuora.statistics().statuses


async def test_a_wrong_secret_is_said_at_once_and_asked_about_once(
    zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient], looptime: looptime.Chronometer
) -> None:
    async with client_of(zuora, settings={"client_secret": "canary-secret"}) as client:
        ends = await asyncio.gather(*(client.job(OPERATION.handle("x")) for _ in range(20)), return_exceptions=True)
    assert {type(end) for end in ends} == {Unauthorized}
    assert all("canary" not in f"{end!r} {end}" for end in ends)
    assert zuora.token_requests == 1
    assert looptime < 1


async def test_a_token_that_is_fixed_and_dead_is_said_at_once(
    zuora: emulator.Emulator, looptime: looptime.Chronometer
) -> None:
    settings = zuora.settings(client_id=None, client_secret=None, access_token=zuora.issue_token(100))
    handle = handle_of(zuora.add_job("operation", ends="Completed", seconds=0))
    async with ZuoraClient(settings) as client:
        await client.job(handle)
        await asyncio.sleep(100)
        with pytest.raises(Unauthorized):
            await client.job(handle)
    assert looptime == 100
    assert zuora.token_requests == 0


# --- trouble


@pytest.mark.parametrize(
    ("trouble", "times"),
    [
        ("unavailable", 2), ("server-error", 2), ("bad-gateway", 2), ("gateway-timeout", 2), ("unauthorized", 1),
        ("no-user-info", 2), ("throttled", 2), ("lock-contention", 2), ("truncated", 2), ("dropped", 2),
        ("invalid-json", 2), ("html", 2), ("empty", 2),
        ("slow", 1), ("wrong-type", 1),  # no trouble at all
    ],
)  # fmt: skip
async def test_trouble_that_passes_is_got_over(
    trouble: str,
    times: int,
    zuora: emulator.Emulator,
    client_of: Callable[..., ZuoraClient],
    looptime: looptime.Chronometer,
) -> None:
    handle = handle_of(zuora.add_job("operation", ends="Completed", seconds=0))
    async with client_of(zuora) as client:
        fault = zuora.fault(Fault(trouble, times=times, path="/v1/"))
        assert (await client.job(handle)).status == "Completed"
        assert client.limiter.gate.in_flight == 0
    assert fault.struck == times
    assert looptime < 30


async def test_a_document_without_a_status_is_asked_for_again(
    zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]
) -> None:
    handle = handle_of(zuora.add_job("operation", ends="Completed", seconds=0))
    zuora.fault(Fault("no-status", times=1, path="/v1/"))
    async with client_of(zuora) as client:
        assert (await client.job(handle)).status == "Completed"


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        ("unavailable", ServerError),
        ("throttled", RateLimited),
        ("dropped", ConnectionFailed),
        ("html", MalformedResponse),
        ("hang", ResponseTimeout),
    ],
)
async def test_trouble_that_stays_ends_the_call_when_patience_does(
    trouble: str,
    expected: type[Exception],
    zuora: emulator.Emulator,
    client_of: Callable[..., ZuoraClient],
    looptime: looptime.Chronometer,
) -> None:
    handle = handle_of(zuora.add_job("operation", ends="Completed", seconds=0))
    zuora.fault(Fault(trouble, path="/v1/"))
    patience = Patience(again=40, throttled=40, briefly=10, longest=5)
    async with client_of(zuora, patience=patience, settings={"request_timeout": 7}) as client:
        with pytest.raises(expected):
            await client.job(handle)
        assert client.limiter.gate.in_flight == 0
    assert 10 <= looptime <= 40 + 5 + 7 + 7


async def test_one_look_is_one_attempt(zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]) -> None:
    handle = handle_of(zuora.add_job("operation", ends="Completed", seconds=0))
    zuora.fault(Fault("unavailable", path="/v1/"))
    async with client_of(zuora) as client:
        permit = await client.limiter.acquire()
        with pytest.raises(ServerError):
            await client.look(handle, permit)
        assert client.limiter.gate.in_flight == 0
        assert client.limiter.requests == 1
    assert len(job_requests(zuora)) == 1


@pytest.mark.parametrize("kind", KINDS.values(), ids=repr)
async def test_a_sighting_is_a_look_whose_document_is_read_later(
    kind: JobKind[Any], zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]
) -> None:
    handle = handle_of(zuora.add_job(kind.name, life=[Step(kind.succeeded[0])]))
    async with client_of(zuora) as client:
        permit = client.limiter.try_acquire()
        sighting = await client.sight(handle, permit)
        assert sighting.status == kind.succeeded[0]
        assert sighting.job == await client.look(handle) == wire.read(sighting.body, kind.model)
        assert client.limiter.gate.in_flight == 0
        assert client.limiter.requests == 2


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"<html>", MalformedResponse),
        (b'{"id": "x"}', MalformedResponse),
        (b'{"status": "Pending", "success": 1}', MalformedResponse),
        (b'{"success": false, "reasons": [{"code": 50000040, "message": "gone"}]}', NotFound),
    ],
)
async def test_a_sighting_is_refused_for_what_a_look_is(
    body: bytes, error: type[ZuoraJobsError], zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]
) -> None:
    zuora.fault(Fault(Answer(200, body), path="/v1/"))
    told = []
    async with client_of(zuora) as client:
        for ask in (client.look, client.sight):
            with pytest.raises(error) as caught:
                await ask(OPERATION.handle("x"), client.limiter.try_acquire())
            told.append(str(caught.value).partition(" (request id")[0])
            assert client.limiter.gate.in_flight == 0
    assert told[0] == told[1]


async def test_a_token_is_fetched_even_when_every_place_is_taken_by_those_who_need_it(
    zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]
) -> None:
    handle = handle_of(zuora.add_job("operation", ends="Completed", seconds=0))
    async with client_of(zuora, Budget(concurrency=1)) as client:
        permit = await client.limiter.acquire()
        async with asyncio.timeout(5):
            assert (await client.look(handle, permit)).status == "Completed"


async def test_a_request_that_hangs_ends_with_its_own_timeout(
    zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient], looptime: looptime.Chronometer
) -> None:
    zuora.fault(Fault(Hang(), path="/v1/"))
    async with client_of(zuora, settings={"request_timeout": 130}) as client:
        with pytest.raises(ResponseTimeout, match="30 s"):
            await asyncio.wait_for(client.look(OPERATION.handle("x")), 1000)
        assert looptime == 30


async def test_waiting_for_a_turn_is_no_part_of_a_requests_timeout(client_of: Callable[..., ZuoraClient]) -> None:
    async with emulator.running(latency=3) as zuora:
        handle = handle_of(zuora.add_job("operation", ends="Completed", seconds=0))
        async with client_of(zuora, Budget(concurrency=1), settings={"request_timeout": 5}) as client:
            documents = await asyncio.gather(*(client.job(handle) for _ in range(20)))
        assert len(documents) == 20
        assert zuora.peak_concurrency == 1
        assert len(job_requests(zuora)) == 20, "none had to be sent twice"


# --- the budget


async def test_all_calls_of_a_client_share_its_budget(
    client_of: Callable[..., ZuoraClient], looptime: looptime.Chronometer
) -> None:
    async with emulator.running(latency=0.5) as zuora:
        handle = handle_of(zuora.add_job("operation", ends="Completed", seconds=0))
        invoice_id = zuora.add_invoice()
        async with client_of(zuora, Budget(rate=10, concurrency=3)) as client:
            await asyncio.gather(
                *(client.job(handle) for _ in range(20)), *(client.invoice(invoice_id) for _ in range(20))
            )
        assert zuora.peak_concurrency == 3
        times = [record.at for record in job_requests(zuora)]
        assert all(later - times[number] >= 1 - 0.01 for number, later in enumerate(times[11:]))
        assert 40 / 3 * 0.5 <= looptime <= 40 / 3 * 0.5 + 2


async def test_a_throttled_tenant_is_left_alone_until_its_window_ends(
    zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient], looptime: looptime.Chronometer
) -> None:
    handle = handle_of(zuora.add_job("operation", ends="Completed", seconds=0))
    zuora.limit_rate([(10, 60)])
    async with client_of(zuora, Budget(rate=1e6, concurrency=4), patience=Patience(again=600)) as client:
        await asyncio.gather(*(client.job(handle) for _ in range(30)))
    assert zuora.statistics().statuses.get(429, 0) == 0, "its answers say how many are left, and until when"
    assert 120 <= looptime <= 200


async def test_waiting_as_long_as_the_server_asks_uses_up_no_patience(
    zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]
) -> None:
    handle = handle_of(zuora.add_job("operation", ends="Completed", seconds=0))
    zuora.fault(Fault(Answer(429, headers={"Retry-After": "60"}), times=1, path="/v1/"))
    zuora.fault(Fault("unavailable", times=1, after=1, path="/v1/"))
    async with client_of(zuora) as client:
        assert (await client.job(handle)).status == "Completed"


# --- leaving


async def test_a_client_works_inside_its_block_only(
    zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]
) -> None:
    handle = handle_of(zuora.add_job("aqua", ends="completed", seconds=0))
    client = client_of(zuora)
    assert "closed" in repr(client)
    for _ in range(2):
        calls: list[Callable[[], Any]] = [
            lambda: client.job(handle),
            lambda: client.look(handle),
            lambda: client.cancel_job(handle),
            lambda: client.invoice("x"),
        ]
        for call in calls:
            with pytest.raises(WatcherClosed, match="async with"):
                await call()
        async with client:
            assert "open" in repr(client)
            assert (await client.job(handle)).status == "completed"


@pytest.mark.parametrize("budget", [Budget(concurrency=2), Budget(rate=0.001)], ids=["by concurrency", "by rate"])
async def test_leaving_ends_the_calls_under_way_and_those_that_wait_with_an_error_of_ours_at_once(
    budget: Budget, zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient], looptime: looptime.Chronometer
) -> None:
    zuora.fault(Fault(Hang(), path="/v1/"))
    async with client_of(zuora, budget) as client:
        tasks = [asyncio.create_task(client.job(OPERATION.handle("x"))) for _ in range(5)]
        await asyncio.sleep(1)
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, ZuoraJobsError) for end in ends)
    assert looptime < 3
    assert client.limiter.gate.in_flight == 0


async def test_a_block_that_is_cancelled_leaves_no_task_and_no_connection(
    zuora: emulator.Emulator, client_of: Callable[..., ZuoraClient]
) -> None:
    zuora.fault(Fault(Delay(1000), path="/v1/"))
    before = asyncio.all_tasks()
    clients: list[ZuoraClient] = []

    async def work() -> None:
        async with client_of(zuora) as client, asyncio.TaskGroup() as group:
            clients.append(client)
            for _ in range(10):
                group.create_task(client.job(OPERATION.handle("x")))

    task = asyncio.create_task(work())
    await asyncio.sleep(5)
    assert zuora.in_flight == 4, "the first few go to see"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clients[0].limiter.gate.in_flight == 0
    for _ in range(20):
        await asyncio.sleep(0)
    assert zuora.in_flight == 0, "the emulator saw them hang up"
    assert {one for one in asyncio.all_tasks() - before if "zuora_jobs/emulator" not in repr(one.get_coro())} == set()


@pytest.mark.parametrize("moment", [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10])
async def test_a_call_cancelled_at_any_moment_gives_everything_back(
    moment: float, client_of: Callable[..., ZuoraClient]
) -> None:
    """Its stations: the token (1 s), an outage (1 s), a pause, a refused token (1 s), a new one (1 s), the answer."""
    async with emulator.running(latency=1) as zuora:
        handle = handle_of(zuora.add_job("operation", ends="Completed", seconds=0))
        zuora.fault(Fault("unavailable", times=1, path="/v1/"))
        zuora.fault(Fault("unauthorized", times=1, after=1, path="/v1/"))
        async with client_of(zuora, Budget(rate=1e6, concurrency=1)) as client:
            task = asyncio.create_task(client.job(handle))
            await asyncio.sleep(moment)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert client.limiter.gate.in_flight == 0
            assert (await client.job(handle)).status == "Completed"
            assert client.limiter.gate.in_flight == 0


# --- secrets


async def test_no_secret_is_told_by_logs_reprs_or_errors_whatever_goes_wrong(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    async with emulator.running(client_secret="canary-secret-77ab") as zuora:
        handle = handle_of(zuora.add_job("operation", ends="Completed", seconds=0))
        zuora.fault(Fault(Answer(200, {"access_token": "canary-token-5f1d", "expires_in": 60}), path="/oauth/token"))
        troubles = ["unavailable", "truncated", "dropped", "html", "invalid-json", "hang", "unauthorized"]
        for trouble in troubles:
            fault = zuora.fault(Fault(trouble, path="/v1/"))
            settings = zuora.settings(request_timeout=1)
            async with ZuoraClient(settings, patience=Patience(again=2, briefly=2, longest=1), rng=Random(1)) as client:
                with pytest.raises(ZuoraJobsError) as caught:
                    await client.job(handle)
                told += [repr(client), repr(settings), repr(client.limiter), repr(caught.value), str(caught.value)]
                told += traceback.format_exception(caught.value)
            fault.remove()
        assert sum(record.path == "/oauth/token" for record in zuora.requests) >= len(troubles)
    assert "HTTP 503" in "".join(told)
    assert "canary" not in "".join(told)
    assert "canary" not in caplog.text
    assert "zuora_jobs.http" in caplog.text, "something was logged"
