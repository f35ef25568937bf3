"""client.submit against the emulator, which counts what was received and what was carried out; and the life of a key."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from zuora_jobs import (
    ApplyCreditMemo,
    Budget,
    DeleteInvoice,
    DocumentIds,
    InvoiceAmount,
    Query,
    RateLimited,
    ReverseInvoice,
    RunQueries,
    Settings,
    SubmitUncertain,
    UnapplyCreditMemo,
    ZipPdfs,
    ZuoraClient,
    emulator,
)
from zuora_jobs.emulator import Answer, Delay, Drop, Fault, Hang, LoseReply, Reset
from zuora_jobs.errors import ConnectionFailed, ResponseTimeout
from zuora_jobs.protocol.messages import Request, Response
from zuora_jobs.transport.retry import Patience
from zuora_jobs.transport.tries import Tries

pytestmark = pytest.mark.looptime

QUERIES = RunQueries([Query("Invoices", "select Id from Invoice")])
STATEFUL = RunQueries([Query("Invoices", "select Id from Invoice")], partner="p", project="q")
UNLIMITED = Budget(rate=1e6, concurrency=500)


class Tenant:
    """An emulator with an invoice and a credit memo, and a request of each kind about them."""

    def __init__(self, zuora: emulator.Emulator) -> None:
        self.zuora = zuora
        self.invoice = zuora.add_invoice(Balance=Decimal(1000), CreditMemoAmount=Decimal(100))
        self.memo = zuora.add_credit_memo(amount=Decimal(100), appliedAmount=Decimal(50))
        self.part = InvoiceAmount(invoice_id=self.invoice, amount=1)

    def request(self, name: str) -> Any:
        return {
            "aqua": QUERIES,
            "bulk-pdf": ZipPdfs(
                documents=[DocumentIds(doc_type="Invoice", object_ids=(self.invoice,))], file_name="zip"
            ),
            "invoice-delete": DeleteInvoice(self.invoice),
            "invoice-reverse": ReverseInvoice(self.invoice),
            "credit-memo-apply": ApplyCreditMemo(self.memo, [self.part]),
            "credit-memo-unapply": UnapplyCreditMemo(self.memo, [self.part]),
        }[name]

    @property
    def received(self) -> list[emulator.RequestRecord]:
        return [record for record in self.zuora.requests if record.method in {"PUT", "DELETE"} or self._is_post(record)]

    @staticmethod
    def _is_post(record: emulator.RequestRecord) -> bool:
        return record.method == "POST" and record.path != "/oauth/token"


POSTS = ["aqua", "bulk-pdf"]
OTHERS = ["invoice-delete", "invoice-reverse", "credit-memo-apply", "credit-memo-unapply"]


METHODS = {"invoice-delete": "DELETE"} | dict.fromkeys(POSTS, "POST")


def on_submit(name: str, effect: Any, times: int) -> Fault:
    """Have *effect* strike the next submits of that name, and nothing else."""
    return Fault(effect, path="^/v1/", method=METHODS.get(name, "PUT"), times=times)


def bug(number: int) -> pytest.MarkDecorator:
    """Mark a test of what is known to be wrong; it fails for that reason and no other."""
    return pytest.mark.xfail(strict=True, raises=(AssertionError, pytest.fail.Exception), reason=f"BUG {number}")


@pytest.fixture
async def tenant() -> AsyncIterator[Tenant]:
    async with emulator.running(rate_limits=(), concurrency_limit=None) as zuora:
        yield Tenant(zuora)


@pytest.fixture(params=["fresh", "kept"])
def opened(request: pytest.FixtureRequest, tenant: Tenant) -> Callable[..., Any]:
    """Open a client, with a connection that has served before or without one."""

    @asynccontextmanager
    async def open_it(**options: Any) -> AsyncIterator[ZuoraClient]:
        settings = Settings(base_url=tenant.zuora.url, access_token=tenant.zuora.issue_token(), request_timeout=10)
        async with ZuoraClient(settings, UNLIMITED, rng=Random(1), **options) as client:
            if request.param == "kept":
                await client.credit_memo(tenant.memo)
            yield client
            assert client.limiter.gate.in_flight == 0, "a permit was not given back"

    return open_it


# --- what the server has received, and what it has done


@pytest.mark.parametrize("name", [*POSTS, *OTHERS])
async def test_each_kind_of_submit_is_carried_out_once(name: str, tenant: Tenant, opened: Any) -> None:
    async with opened() as client:
        result = await client.submit(tenant.request(name))
    (done,) = tenant.zuora.submitted
    assert done.name == name
    assert done.handle == str(result.handle)
    assert bool(done.idempotency_key) == (name in POSTS)
    assert len(tenant.received) == 1


@pytest.mark.parametrize("effect", [LoseReply(), Reset(), Drop()], ids=repr)
@pytest.mark.parametrize("name", POSTS)
async def test_a_post_that_was_cut_off_ends_as_one_job(name: str, effect: Any, tenant: Tenant, opened: Any) -> None:
    tenant.zuora.fault(on_submit(name, effect, times=2))
    async with opened() as client:
        result = await client.submit(tenant.request(name))
    (done,) = tenant.zuora.submitted
    assert done.handle == str(result.handle)
    assert len(tenant.received) == 3
    assert {record.headers["Idempotency-Key"] for record in tenant.received} == {done.idempotency_key}


@pytest.mark.parametrize("effect", [LoseReply(), Reset(), Drop()], ids=repr)
@pytest.mark.parametrize("name", OTHERS)
async def test_a_put_or_delete_that_was_cut_off_is_received_once(
    name: str, effect: Any, tenant: Tenant, opened: Any
) -> None:
    tenant.zuora.fault(on_submit(name, effect, times=1))
    async with opened() as client:
        with pytest.raises(SubmitUncertain) as caught:
            await client.submit(tenant.request(name))
        await asyncio.sleep(1000)
    assert isinstance(caught.value.__cause__, ConnectionFailed)
    assert len(tenant.received) == 1
    assert len(tenant.zuora.submitted) == (effect == LoseReply())


@pytest.mark.parametrize(
    "effect", [Hang(), Delay(11), Answer(502), Answer(504), Answer(200, "<html>maintenance</html>")], ids=repr
)
@pytest.mark.parametrize("name", OTHERS)
async def test_a_put_or_delete_that_was_not_answered_is_received_once(
    name: str, effect: Any, tenant: Tenant, opened: Any
) -> None:
    tenant.zuora.fault(on_submit(name, effect, times=1))
    async with opened() as client:
        began = asyncio.get_running_loop().time()
        with pytest.raises(SubmitUncertain) as caught:
            await client.submit(tenant.request(name))
        took = asyncio.get_running_loop().time() - began
        await asyncio.sleep(1000)
    slow = isinstance(effect, Hang | Delay)
    assert isinstance(caught.value.__cause__, ResponseTimeout) == slow
    assert took == pytest.approx(10 if slow else 0)
    assert len(tenant.received) == 1


@pytest.mark.parametrize("name", [*POSTS, *OTHERS])
async def test_a_token_that_has_ended_costs_one_more_request_and_no_more_jobs(name: str, tenant: Tenant) -> None:
    async with ZuoraClient(tenant.zuora.settings(), UNLIMITED, rng=Random(1)) as client:
        await client.credit_memo(tenant.memo)
        tenant.zuora.revoke_tokens()
        result = await client.submit(tenant.request(name))
    assert [done.handle for done in tenant.zuora.submitted] == [str(result.handle)]
    assert [record.status for record in tenant.received] == [401, 200]
    assert len({record.headers.get("Idempotency-Key") for record in tenant.received}) == 1


@pytest.mark.parametrize("name", [*POSTS, *OTHERS])
@pytest.mark.parametrize("fault", ["lock-contention", "temporary-code", "throttled", "concurrency"])
async def test_what_was_refused_for_now_is_carried_out_once_later(
    name: str, fault: str, tenant: Tenant, opened: Any
) -> None:
    tenant.zuora.fault(on_submit(name, fault, times=1))
    async with opened() as client:
        result = await client.submit(tenant.request(name))
    assert [done.handle for done in tenant.zuora.submitted] == [str(result.handle)]
    assert len(tenant.received) == 2


async def test_where_nobody_listens_nothing_was_begun() -> None:
    async with emulator.running() as zuora:
        settings = Settings(base_url=zuora.url, access_token=zuora.issue_token())
    async with ZuoraClient(settings, UNLIMITED, rng=Random(1), patience=Patience(again=20)) as client:
        with pytest.raises(ConnectionFailed) as caught:
            await client.submit(DeleteInvoice("INV00000001"))
    assert not caught.value.sent


# --- a refusal is kept for its key: the next try needs another


async def test_a_job_for_which_there_was_no_room_is_begun_when_there_is() -> None:
    async with emulator.running(aqua_jobs_at_once=1) as zuora:
        zuora.on_submit("aqua", ends="completed", seconds=30)
        async with ZuoraClient(zuora.settings(), UNLIMITED, rng=Random(1)) as client:
            first = await client.submit(QUERIES)
            second = await client.submit(QUERIES)
            assert 30 <= asyncio.get_running_loop().time() <= 30 + client.patience.longest
        assert [done.handle for done in zuora.submitted] == [str(first.handle), str(second.handle)]


class Script:
    """An in-memory Send: plays its steps in turn, the last for ever."""

    def __init__(self, *steps: Any) -> None:
        self.steps = steps
        self.keys: list[str | None] = []

    async def __call__(self, request: Request) -> Response:
        self.keys.append(request.headers.get("Idempotency-Key"))
        step = self.steps[min(len(self.keys), len(self.steps)) - 1]
        if isinstance(step, Exception):
            raise step
        status, document = step
        return Response(status, {}, json.dumps(document).encode())


DONE = (200, {"id": "J", "status": "submitted"})
THROTTLED = (429, {"reasons": [{"code": 70, "message": "slow down"}]})
FULL = (200, {"success": False, "reasons": [{"code": 50000070, "message": "no room"}]})
LOST = ResponseTimeout("no whole answer")
REFUSED = ConnectionFailed("nobody there", sent=False)


async def keys_of(
    *steps: Any, key: str | None = None, key_age: float | None = None, patience: Patience | None = None
) -> tuple[Any, list[str | None], list[str | None]]:
    """Submit; give what came of it, the keys that were sent, and those that were told before each was."""
    script = Script(*steps)
    told: list[str | None] = []

    async def tell(key: str | None) -> None:
        assert len(told) == len(script.keys), "told too late, or too often"
        told.append(key)

    settings = Settings(base_url="https://rest.example.com", access_token="not-a-secret")
    async with ZuoraClient(settings, UNLIMITED, send=script, rng=Random(1)) as client:
        try:
            tries = Tries(QUERIES, key, key_age=key_age, before=tell)
            result: Any = await client.submit_by(tries, patience)
        except (SubmitUncertain, ConnectionFailed, RateLimited) as error:
            result = error
    return result, script.keys, told


async def test_after_a_certain_refusal_the_next_try_has_another_key_which_is_told_before() -> None:
    result, keys, told = await keys_of(FULL, FULL, DONE)
    assert result.handle.id == "J"
    assert len(set(keys)) == 3
    assert told == keys


async def test_what_never_left_keeps_its_key() -> None:
    _, keys, told = await keys_of(REFUSED, REFUSED, DONE)
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert told == keys


@pytest.mark.parametrize("then", [THROTTLED, FULL], ids=["429", "no room"])
async def test_once_a_try_is_in_doubt_the_key_stays_whatever_follows(then: Any) -> None:
    result, keys, told = await keys_of(LOST, then, then, LOST, then, DONE)
    assert result.handle.id == "J"
    assert len(keys) == 6
    assert len(set(keys)) == 1
    assert told == keys


async def test_doubt_after_a_certain_refusal_is_about_the_new_key() -> None:
    result, keys, _ = await keys_of(FULL, LOST, THROTTLED, patience=Patience(throttled=30))
    assert type(result) is SubmitUncertain
    assert keys[0] != keys[1]
    assert set(keys[1:]) == {result.idempotency_key}


@pytest.mark.parametrize("age", [0.0, 80_000.0])
@pytest.mark.parametrize("first", [THROTTLED, FULL], ids=["429", "no room"])
async def test_the_key_of_an_earlier_try_is_in_doubt_from_the_beginning(first: Any, age: float) -> None:
    _, keys, told = await keys_of(first, DONE, key="of-an-earlier-try", key_age=age)
    assert keys == ["of-an-earlier-try"] * 2
    assert told == keys


@pytest.mark.parametrize("first", [REFUSED, THROTTLED], ids=["nobody there", "429"])
async def test_of_an_earlier_try_nobody_can_say_that_nothing_was_begun(first: Any) -> None:
    patience = Patience(again=10, throttled=10)
    result, keys, _ = await keys_of(first, key="of-an-earlier-try", key_age=0.0, patience=patience)
    assert type(result) is SubmitUncertain
    assert set(keys) == {result.idempotency_key} == {"of-an-earlier-try"}


async def test_a_key_that_users_give_is_of_an_earlier_try() -> None:
    script = Script(FULL, DONE)
    settings = Settings(base_url="https://rest.example.com", access_token="not-a-secret")
    async with ZuoraClient(settings, UNLIMITED, send=script, rng=Random(1)) as client:
        await client.submit(QUERIES, idempotency_key="of-an-earlier-try")
    assert script.keys == ["of-an-earlier-try"] * 2


@pytest.mark.parametrize(
    ("steps", "times"),
    [((FULL, FULL, DONE), 2), ((REFUSED, THROTTLED, DONE), 2), ((LOST, FULL, DONE), 0), ((FULL, LOST, FULL, DONE), 1)],
    ids=["refused", "throttled", "in doubt", "refused, then in doubt"],
)
async def test_it_is_told_as_often_as_nothing_can_have_come_of_it(steps: Any, times: int) -> None:
    refused = 0

    def note() -> None:
        nonlocal refused
        refused += 1

    settings = Settings(base_url="https://rest.example.com", access_token="not-a-secret")
    async with ZuoraClient(settings, UNLIMITED, send=Script(*steps), rng=Random(1)) as client:
        tries = Tries(QUERIES, refused=note)
        await client.submit_by(tries)
        assert not tries.in_doubt or times < 2
    assert refused == times


async def test_a_new_key_that_has_been_taken_down_is_not_in_doubt() -> None:
    _, keys, told = await keys_of(FULL, DONE, key="just-taken-down")
    assert told == keys
    assert keys[0] == "just-taken-down" != keys[1]


# --- how many at a time


async def test_a_refusal_for_want_of_room_for_jobs_does_not_slow_the_polls_down() -> None:
    script = Script(FULL)
    settings = Settings(base_url="https://rest.example.com", access_token="not-a-secret")
    async with ZuoraClient(settings, Budget(rate=100, concurrency=10), send=script, rng=Random(1)) as client:
        gate, before = client.limiter.gate, client.limiter.rate
        with pytest.raises(RateLimited):
            await client.submit(QUERIES, patience=Patience(throttled=60))
        assert len(script.keys) > 3
        assert client.limiter.rate == before
        assert client.limiter.refusals == 0
        assert gate.held_until <= asyncio.get_running_loop().time()
        script.steps = (THROTTLED,)
        with pytest.raises(RateLimited):
            await client.submit(QUERIES, patience=Patience(throttled=0))
        assert client.limiter.refusals == 1


async def test_there_are_fifty_places_for_each_mode_of_aqua_and_no_end_of_others() -> None:
    settings = Settings(base_url="https://rest.example.com", access_token="not-a-secret")
    client = ZuoraClient(settings)
    inside = {"stateless": 0, "stateful": 0, "others": 0}

    async def stay(name: str, request: Any) -> None:
        async with client.place_for(request):
            inside[name] += 1
            await asyncio.sleep(10)

    async with asyncio.TaskGroup() as group:
        for name, request in (("stateless", QUERIES), ("stateful", STATEFUL), ("others", DeleteInvoice("I1"))):
            for _ in range(120):
                group.create_task(stay(name, request))
        seen = []
        for _ in range(3):
            await asyncio.sleep(9)
            seen.append(dict(inside))
            await asyncio.sleep(1)
    assert [(count["stateless"], count["stateful"], count["others"]) for count in seen] == [
        (50, 50, 120),
        (100, 100, 120),
        (120, 120, 120),
    ]
    assert asyncio.get_running_loop().time() == 30
