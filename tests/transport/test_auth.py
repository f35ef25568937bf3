"""The bearer token: one request for everybody, ahead of its end, and once more when it is refused."""

import asyncio
import traceback
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from zuora_jobs import OPERATION, Budget, Settings, ZuoraClient
from zuora_jobs.errors import (
    ApiError,
    ConnectionFailed,
    MalformedResponse,
    ResponseTimeout,
    ServerError,
    TokenRefused,
    Unauthorized,
    ZuoraJobsError,
)
from zuora_jobs.protocol.messages import Request
from zuora_jobs.transport.auth import DOUBT, FEWEST_REFUSALS, MARGIN, RENEW_AGAIN, Bearer, authorized
from zuora_jobs.transport.retry import Patience, retrying

pytestmark = pytest.mark.looptime

ASK = Request("GET", "/v1/operations/jobs/x")
HANDLE = OPERATION.handle("x")
PLENTY = Budget(rate=1e6, concurrency=1000)


def once(send: Any) -> Any:
    """Raise what is no document, and try nothing again."""
    return retrying(send, Patience(again=0, briefly=0), Random(1))


@pytest.fixture
def refused(answer: Callable[..., Any]) -> Any:
    return answer(401, {"message": "Authentication error"})


@pytest.fixture
def outage(answer: Callable[..., Any]) -> Any:
    return answer(503, b"<html><title>Maintenance</title></html>", content_type="text/html")


# --- one token for everybody


async def test_a_hundred_first_calls_cost_one_token_request(
    scripted: Callable[..., Any], after: Any, answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    grant = answer(200, {"access_token": "t", "expires_in": 3600})
    script = scripted(done, tokens=[after(2, grant)])
    send = authorized(script, Bearer(with_credentials, once(script)))
    answers = await asyncio.gather(*(send(ASK) for _ in range(100)))
    assert {response.status for response in answers} == {200}
    assert len(script.token_requests) == 1
    assert {sent.authorization for sent in script.sent} == {"Bearer t"}
    assert set(script.times) == {2.0}


async def test_the_token_request_is_a_form_without_authorization(
    scripted: Callable[..., Any], done: Any, with_credentials: Settings, canaries: tuple[str, str]
) -> None:
    script = scripted(done)
    await Bearer(with_credentials, once(script)).token()
    (sent,) = script.token_requests
    assert (sent.request.method, sent.request.path) == ("POST", "/oauth/token")
    assert sent.authorization is None
    assert sent.request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    body = sent.request.body.decode()
    assert sorted(body.split("&")) == [
        "client_id=the-client",
        f"client_secret={canaries[1]}",
        "grant_type=client_credentials",
    ]


async def test_a_hundred_refusals_at_once_cost_one_token_request(
    scripted: Callable[..., Any], after: Any, refused: Any, done: Any, with_credentials: Settings
) -> None:
    def only_the_second(request: Request) -> Any:
        return after(1, done if request.authorization == "Bearer token-2" else refused)

    script = scripted(only_the_second)
    send = authorized(script, Bearer(with_credentials, once(script)))
    answers = await asyncio.gather(*(send(ASK) for _ in range(100)))
    assert {response.status for response in answers} == {200}
    assert len(script.token_requests) == 2, "the first token, and one more for all the refused"
    assert len(script.sent) == 200


async def test_refusals_that_come_in_late_find_the_new_token(
    scripted: Callable[..., Any], after: Any, refused: Any, done: Any, with_credentials: Settings
) -> None:
    seconds = iter(range(1, 51))

    def slowly_refused(request: Request) -> Any:
        return done if request.authorization == "Bearer token-2" else after(next(seconds), refused)

    script = scripted(slowly_refused)
    send = authorized(script, Bearer(with_credentials, once(script)))
    await asyncio.gather(*(send(ASK) for _ in range(50)))
    assert len(script.token_requests) == 2


async def test_the_same_token_handed_out_again_is_not_asked_for_by_everyone_in_turn(
    scripted: Callable[..., Any], after: Any, answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    script = scripted(done, tokens=[after(1, answer(200, {"access_token": "same", "expires_in": 100}))])
    send = authorized(script, Bearer(with_credentials, once(script)))
    await send(ASK)
    await asyncio.sleep(200)
    await asyncio.gather(*(send(ASK) for _ in range(20)))
    assert len(script.token_requests) == 2


# --- ahead of its end


@pytest.mark.parametrize(
    ("life", "renewed_after"),
    [(3600, 3600 - MARGIN), (10_000, 10_000 - MARGIN), (1000, 900), (100, 90), (1, 0.9), ("3600", 3600 - MARGIN)],
    ids=repr,
)
async def test_a_token_is_renewed_a_little_ahead_of_its_end(
    life: Any, renewed_after: float, scripted: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    script = scripted(done, expires_in=life)
    bearer = Bearer(with_credentials, once(script))
    await asyncio.sleep(12.5)  # lifetimes begin when a token is asked for, not when the loop began
    assert await bearer.token() == "token-1"
    await asyncio.sleep(renewed_after - 0.001)
    assert await bearer.token() == "token-1"
    await asyncio.sleep(0.002)
    assert await bearer.token() == "token-2"


async def test_a_life_is_counted_from_the_moment_the_token_was_asked_for(
    scripted: Callable[..., Any], after: Any, answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    script = scripted(done, tokens=[after(50, answer(200, {"access_token": "t", "expires_in": 100}))])
    bearer = Bearer(with_credentials, once(script))
    await bearer.token()
    await asyncio.sleep(41)
    await bearer.token()
    assert [sent.at for sent in script.token_requests] == [0, 91]


async def test_the_old_token_serves_all_others_while_one_renews_it(
    scripted: Callable[..., Any], after: Any, answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    first = answer(200, {"access_token": "old", "expires_in": 1000})
    second = answer(200, {"access_token": "new", "expires_in": 1000})
    script = scripted(done, tokens=[first, after(30, second)])
    send = authorized(script, Bearer(with_credentials, once(script)))
    await send(ASK)
    await asyncio.sleep(950)
    renewing = asyncio.create_task(send(ASK))
    await asyncio.sleep(1)
    await asyncio.gather(*(send(ASK) for _ in range(10)))
    assert asyncio.get_running_loop().time() == 951, "nobody else had to wait"
    assert [sent.authorization for sent in script.sent[1:]] == ["Bearer old"] * 10
    await renewing
    assert script.sent[-1].authorization == "Bearer new"
    assert len(script.token_requests) == 2


async def test_a_token_that_ends_while_it_is_renewed_serves_nobody_any_more(
    scripted: Callable[..., Any], after: Any, answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    first = answer(200, {"access_token": "old", "expires_in": 1000})
    second = answer(200, {"access_token": "new", "expires_in": 1000})
    script = scripted(done, tokens=[first, after(100, second)])
    send = authorized(script, Bearer(with_credentials, once(script)))
    await send(ASK)
    await asyncio.sleep(950)
    renewing = asyncio.create_task(send(ASK))
    await asyncio.sleep(60)
    await send(ASK)
    await renewing
    assert [sent.authorization for sent in script.sent] == ["Bearer old", "Bearer new", "Bearer new"]


async def test_a_renewal_that_fails_leaves_the_old_token_in_service_and_is_tried_again_later(
    scripted: Callable[..., Any], answer: Callable[..., Any], outage: Any, done: Any, with_credentials: Settings
) -> None:
    first = answer(200, {"access_token": "old", "expires_in": 1000})
    script = scripted(done, tokens=[first, outage, outage, answer(200, {"access_token": "new", "expires_in": 1000})])
    bearer = Bearer(with_credentials, once(script))
    await bearer.token()
    await asyncio.sleep(900)
    for _ in range(10):
        assert await bearer.token() == "old"
    assert len(script.token_requests) == 2, "not one for every request"
    await asyncio.sleep(RENEW_AGAIN)
    assert await bearer.token() == "old"
    await asyncio.sleep(RENEW_AGAIN)
    assert await bearer.token() == "new"


async def test_without_a_good_token_a_failure_to_renew_is_raised(
    scripted: Callable[..., Any], answer: Callable[..., Any], outage: Any, done: Any, with_credentials: Settings
) -> None:
    script = scripted(done, tokens=[answer(200, {"access_token": "old", "expires_in": 1000}), outage])
    bearer = Bearer(with_credentials, once(script))
    await bearer.token()
    await asyncio.sleep(1000)
    with pytest.raises(ServerError):
        await bearer.token()


@pytest.mark.parametrize(
    "expires_in", [0, -1, "string", "", None, "NaN", "Infinity", "-inf", [], {}, "0", -3600.5, 1e400], ids=repr
)
async def test_a_nonsense_lifetime_does_not_cost_a_token_request_per_call(
    expires_in: Any, scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    grant = b'{"access_token": "t", "expires_in": 1e400}' if expires_in == 1e400 else None
    tokens = [answer(200, grant or {"access_token": "t", "expires_in": expires_in})]
    script = scripted(done, tokens=tokens)
    send = authorized(script, Bearer(with_credentials, once(script)))
    for _ in range(50):
        await send(ASK)
        await asyncio.sleep(10)
    assert len(script.token_requests) == 1


@pytest.mark.parametrize("expires_in", [0, -1, "string", None], ids=repr)
async def test_a_nonsense_lifetime_does_not_cost_a_token_request_for_each_of_those_who_wait(
    expires_in: Any,
    scripted: Callable[..., Any],
    after: Any,
    answer: Callable[..., Any],
    done: Any,
    with_credentials: Settings,
) -> None:
    script = scripted(done, tokens=[after(1, answer(200, {"access_token": "t", "expires_in": expires_in}))])
    send = authorized(script, Bearer(with_credentials, once(script)))
    await asyncio.gather(*(send(ASK) for _ in range(20)))
    assert len(script.token_requests) == 1


async def test_no_lifetime_at_all_means_until_it_is_refused(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, refused: Any, with_credentials: Settings
) -> None:
    tokens = [answer(200, {"access_token": "one"}), answer(200, {"access_token": "two"})]
    script = scripted(done, done, refused, done, tokens=tokens)
    send = authorized(script, Bearer(with_credentials, once(script)))
    for _ in range(4):
        assert (await send(ASK)).status == 200
        await asyncio.sleep(100_000)
    assert [sent.authorization for sent in script.sent] == [
        f"Bearer {name}" for name in ("one", "one", "one", "two", "two")
    ]
    assert len(script.token_requests) == 2


async def test_a_lifetime_beyond_all_bounds_is_nonsense_like_any_other(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    script = scripted(done, tokens=[answer(200, {"access_token": "t", "expires_in": 10**400})])
    assert await Bearer(with_credentials, once(script)).token() == "t"


# --- what is no token


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        None,
        "token",
        {"access_token": ""},
        {"access_token": None},
        {"access_token": 5},
        {"access_token": "two\r\nlines"},
        {"access_token": "tök"},
        {"token": "t"},
    ],
)
async def test_an_answer_without_a_token_is_malformed_and_nothing_is_sent_without_one(
    document: Any, scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    script = scripted(done, tokens=[answer(200, document)])
    with pytest.raises(MalformedResponse, match=r"\$\.access_token|/oauth/token"):
        await authorized(script, Bearer(with_credentials, once(script)))(ASK)
    assert script.sent == []


@pytest.mark.parametrize("body", [b"<html>busy</html>", b"", b'{"access_token": "canary', b"\xff\xfe"])
async def test_garbage_from_the_token_endpoint_is_malformed_and_not_quoted(
    body: bytes, scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    script = scripted(done, tokens=[answer(200, body)])
    with pytest.raises(MalformedResponse) as caught:
        await Bearer(with_credentials, once(script)).token()
    assert "canary" not in "".join(traceback.format_exception(caught.value))


# --- refused


async def test_a_token_refused_twice_is_unauthorized_and_no_third_is_asked_for(
    scripted: Callable[..., Any], refused: Any, with_credentials: Settings
) -> None:
    script = scripted(refused)
    async with ZuoraClient(with_credentials, PLENTY, send=script) as client:
        with pytest.raises(Unauthorized):
            await client.job(HANDLE)
    assert [sent.authorization for sent in script.sent] == ["Bearer token-1", "Bearer token-2"]
    assert len(script.token_requests) == 2
    assert asyncio.get_running_loop().time() == 0, "a refusal is not waited out"


async def test_a_fixed_token_is_never_renewed(
    scripted: Callable[..., Any], refused: Any, with_fixed_token: Settings, canaries: tuple[str, str]
) -> None:
    script = scripted(refused)
    async with ZuoraClient(with_fixed_token, PLENTY, send=script) as client:
        for _ in range(3):
            with pytest.raises(Unauthorized):
                await client.job(HANDLE)
            await asyncio.sleep(100_000)
    assert script.token_requests == []
    assert [sent.authorization for sent in script.sent] == [f"Bearer {canaries[0]}"] * 3


async def test_failed_to_get_user_info_is_tried_again_with_the_same_token(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    script = scripted(answer(401, {"message": "Failed to get user info"}), done)
    async with ZuoraClient(with_credentials, PLENTY, send=script) as client:
        assert (await client.job(HANDLE)).status == "Completed"
    assert [sent.authorization for sent in script.sent] == ["Bearer token-1"] * 2
    assert len(script.token_requests) == 1


@pytest.mark.parametrize(
    ("status", "document", "renews"),
    [
        (401, {"message": "Authentication error"}, True),
        (401, None, True),
        (401, {"success": False, "reasons": [{"code": "90000011", "message": "Unauthorized"}]}, True),
        (200, {"success": False, "reasons": [{"code": 90000011, "message": "Authentication error"}]}, True),
        (200, {"success": False, "reasons": [{"code": 50000011, "message": "no"}]}, True),
        (401, {"message": "failed to get USER info"}, False),
        (403, {"message": "no"}, False),
        (404, {"message": "no"}, False),
        (500, {"message": "no"}, False),
        (200, {"success": False, "reasons": [{"code": 50000040, "message": "no"}]}, False),
    ],
)
async def test_only_what_is_about_the_token_costs_a_new_one(
    status: int,
    document: Any,
    renews: bool,
    scripted: Callable[..., Any],
    answer: Callable[..., Any],
    done: Any,
    with_credentials: Settings,
) -> None:
    script = scripted(answer(status, document), done)
    response = await authorized(script, Bearer(with_credentials, once(script)))(ASK)
    assert len(script.token_requests) == (2 if renews else 1)
    assert response.status == (200 if renews else status)
    assert len(script.sent) == (2 if renews else 1)


async def test_wrong_credentials_are_asked_about_once_and_not_per_call(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    script = scripted(done, tokens=[answer(401, {"message": "Invalid client secret"})])
    async with ZuoraClient(with_credentials, PLENTY, send=script) as client:
        ends = await asyncio.gather(*(client.job(HANDLE) for _ in range(100)), return_exceptions=True)
        assert {type(end) for end in ends} == {Unauthorized}
        with pytest.raises(Unauthorized, match="Invalid client secret"):
            await client.job(HANDLE)
    assert script.sent == []
    assert len(script.token_requests) == 1


@pytest.mark.parametrize("document", [{"error": "invalid_client"}, {"code": 50000020, "message": "no"}])
async def test_a_refusal_under_400_is_final_as_well(
    document: Any, scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    script = scripted(done, tokens=[answer(400, document)])
    bearer = Bearer(with_credentials, once(script))
    for _ in range(5):
        with pytest.raises(ApiError):
            await bearer.token()
    assert len(script.token_requests) == 1


async def test_a_refusal_told_a_hundred_times_does_not_grow(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    script = scripted(done, tokens=[answer(401, {"message": "no"})])
    bearer = Bearer(with_credentials, once(script))
    for _ in range(100):
        with pytest.raises(Unauthorized):
            await bearer.token()
    with pytest.raises(Unauthorized) as caught:
        await bearer.token()
    assert len(list(traceback.walk_tb(caught.value.__traceback__))) < 20


# --- refused by a tenant that has accepted us

BAD_MINUTE = (100.0, 100.0 + DOUBT - 5)


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture(params=["the tokens", "the credentials", "the client's id"])
def bad_minute(request: pytest.FixtureRequest, answer: Callable[..., Any], done: Any, refused: Any) -> Any:
    """Give what a tenant answers, and its token endpoint, that accepts nothing of ours from 100 s on, until a moment."""
    no = {"the credentials": refused, "the client's id": answer(400, {"error": "invalid_client"})}.get(request.param)
    grants = iter(range(1000))

    def tenant(until: float) -> tuple[Any, list[Any]]:
        def bad() -> bool:
            return BAD_MINUTE[0] <= now() < until

        def endpoint(_: Request) -> Any:
            grant = answer(200, {"access_token": f"token-{next(grants)}", "expires_in": 3600})
            return no if bad() and no is not None else grant

        return (lambda _: refused if bad() else done), [endpoint]

    return tenant


@pytest.mark.parametrize("callers", [1, 50])
async def test_a_tenant_that_has_a_bad_minute_loses_us_nothing_and_is_asked_for_a_handful_of_tokens(
    callers: int, bad_minute: Any, scripted: Callable[..., Any], with_credentials: Settings
) -> None:
    step, tokens = bad_minute(BAD_MINUTE[1])
    script = scripted(step, tokens=tokens)
    async with ZuoraClient(with_credentials, PLENTY, send=script, rng=Random(1)) as client:
        await client.job(HANDLE)
        await asyncio.sleep(100)
        documents = await asyncio.gather(*(client.job(HANDLE) for _ in range(callers)))
    assert {document.status for document in documents} == {"Completed"}
    assert BAD_MINUTE[1] <= now() <= BAD_MINUTE[1] + 25
    assert 4 <= len(script.token_requests) <= 20
    assert len(script.sent) <= 2 * callers + 40


@pytest.mark.parametrize("callers", [1, 50])
async def test_refusals_that_go_on_are_believed_and_then_the_tenant_is_left_alone(
    callers: int, bad_minute: Any, scripted: Callable[..., Any], with_credentials: Settings
) -> None:
    step, tokens = bad_minute(float("inf"))
    script = scripted(step, tokens=tokens)
    async with ZuoraClient(with_credentials, PLENTY, send=script, rng=Random(1)) as client:
        await client.job(HANDLE)
        await asyncio.sleep(100)
        ends = await asyncio.gather(*(client.job(HANDLE) for _ in range(callers)), return_exceptions=True)
        assert all(isinstance(end, ApiError) and not isinstance(end, TokenRefused) for end in ends), ends
        assert 100 + DOUBT <= now() <= 100 + DOUBT + 30
        asked = len(script.token_requests)
        assert asked <= 25
        for _ in range(20):
            with pytest.raises(ApiError):
                await client.job(HANDLE)
        assert len(script.token_requests) <= asked + 1
    assert len(script.sent) <= 2 * callers + 60


async def test_what_is_doubted_says_what_the_tenant_said(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    no = {"success": False, "reasons": [{"code": 90000011, "message": "Authentication error"}], "requestId": "r-1"}
    script = scripted(done, answer(401, no))
    send = authorized(script, Bearer(with_credentials, once(script)))
    await send(ASK)
    with pytest.raises(TokenRefused, match="Authentication error") as caught:
        await send(ASK)
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (401, "90000011", "r-1")
    assert [sent.authorization for sent in script.sent] == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


async def test_while_it_is_doubted_nobody_sends_anything_until_it_is_time_to_ask_again(
    scripted: Callable[..., Any], refused: Any, done: Any, with_credentials: Settings
) -> None:
    script = scripted(done, refused)
    send = authorized(script, Bearer(with_credentials, once(script)))
    await send(ASK)
    for _ in range(100):
        with pytest.raises(TokenRefused):
            await send(ASK)
    assert len(script.sent) == 3
    assert len(script.token_requests) == 2


async def test_one_that_is_accepted_begins_the_doubt_anew(
    scripted: Callable[..., Any], refused: Any, done: Any, with_credentials: Settings
) -> None:
    script = scripted(lambda _: done if int(now()) % 50 == 0 else refused)
    send = authorized(script, Bearer(with_credentials, once(script)))
    for second in range(0, 1000, 10):
        assert now() == second
        if second % 50 == 0:
            assert (await send(ASK)).status == 200
        else:
            with pytest.raises(TokenRefused):
                await send(ASK)
        await asyncio.sleep(10)


async def test_a_clock_that_jumps_between_two_refusals_does_not_make_them_final(
    scripted: Callable[..., Any], refused: Any, done: Any, with_credentials: Settings
) -> None:
    script = scripted(done, refused)
    send = authorized(script, Bearer(with_credentials, once(script)))
    await send(ASK)
    for _ in range(FEWEST_REFUSALS - 1):
        with pytest.raises(TokenRefused):
            await send(ASK)
        await asyncio.sleep(8 * 3600)
    assert (await send(ASK)).status == 401, "five in five nights are believed"


async def test_a_crowd_refused_in_one_moment_is_refused_once(
    scripted: Callable[..., Any], after: Any, refused: Any, done: Any, with_credentials: Settings
) -> None:
    """Or a crowd, and a machine that sleeps, would make a bad moment final for all jobs."""
    script = scripted(done, after(1, refused))
    send = authorized(script, Bearer(with_credentials, once(script)))
    await send(ASK)
    ends = await asyncio.gather(*(send(ASK) for _ in range(20)), return_exceptions=True)
    assert {type(end) for end in ends} == {TokenRefused}
    await asyncio.sleep(8 * 3600)
    ends = await asyncio.gather(*(send(ASK) for _ in range(20)), return_exceptions=True)
    assert {type(end) for end in ends} == {TokenRefused}


async def test_a_fixed_token_is_not_doubted_for_there_is_no_other(
    scripted: Callable[..., Any], refused: Any, done: Any, with_fixed_token: Settings
) -> None:
    script = scripted(done, refused)
    async with ZuoraClient(with_fixed_token, PLENTY, send=script) as client:
        await client.job(HANDLE)
        with pytest.raises(Unauthorized) as caught:
            await client.job(HANDLE)
    assert not isinstance(caught.value, TokenRefused)
    assert len(script.sent) == 2


# --- trouble at the token endpoint


@pytest.mark.parametrize("trouble", ["refused", "503", "429"])
async def test_trouble_that_passes_is_waited_out(
    trouble: str, scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    step = ConnectionFailed("refused", sent=False) if trouble == "refused" else answer(int(trouble), {})
    grant = answer(200, {"access_token": "t", "expires_in": 3600})
    script = scripted(done, tokens=[step, step, step, grant])
    async with ZuoraClient(with_credentials, PLENTY, send=script, rng=Random(1)) as client:
        documents = await asyncio.gather(*(client.job(HANDLE) for _ in range(20)))
    assert len(documents) == 20
    assert len(script.token_requests) == 4


async def test_a_throttled_token_endpoint_is_left_alone_for_as_long_as_it_asks(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    grant = answer(200, {"access_token": "t", "expires_in": 3600})

    def throttled(_: Request) -> Any:
        return grant if asyncio.get_running_loop().time() >= 30 else answer(429, {}, retry_after="30")

    script = scripted(done, tokens=[throttled])
    async with ZuoraClient(with_credentials, PLENTY, send=script, rng=Random(1)) as client:
        await asyncio.gather(*(client.job(HANDLE) for _ in range(50)))
    early = [sent.at for sent in script.token_requests if sent.at < 30]
    assert len(early) == 1


@pytest.mark.parametrize("trouble", ["503", "silence"])
async def test_a_token_endpoint_that_stays_down_keeps_nobody_longer_than_his_patience(
    trouble: str, scripted: Callable[..., Any], after: Any, outage: Any, done: Any, with_credentials: Settings
) -> None:
    step = outage if trouble == "503" else after(1, ConnectionFailed("refused", sent=False))
    script = scripted(done, tokens=[step])
    patience = Patience(again=60, longest=20)
    ended: list[float] = []

    async def call(client: ZuoraClient) -> None:
        with pytest.raises(ZuoraJobsError):
            await client.job(HANDLE)
        ended.append(asyncio.get_running_loop().time())

    async with ZuoraClient(with_credentials, PLENTY, patience=patience, send=script, rng=Random(1)) as client:
        await asyncio.gather(*(call(client) for _ in range(20)))
    assert len(ended) == 20
    assert max(ended) <= 2 * (patience.again + patience.longest)


async def test_garbage_for_a_token_is_not_asked_for_by_each_caller_in_turn(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    async def token_requests_of(callers: int) -> int:
        script = scripted(done, tokens=[answer(200, {"no": "token"})])
        async with ZuoraClient(with_credentials, PLENTY, send=script, rng=Random(1)) as client:
            ends = await asyncio.gather(*(client.job(HANDLE) for _ in range(callers)), return_exceptions=True)
        assert {type(end) for end in ends} == {MalformedResponse}
        return len(script.token_requests)

    alone = await token_requests_of(1)
    assert 1 <= alone <= 30
    assert await token_requests_of(50) <= 5 * alone


@pytest.mark.parametrize("trouble", [ConnectionFailed("reset"), ResponseTimeout("slow")])
async def test_a_token_request_that_was_cut_is_sent_again(
    trouble: Exception, scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    # a POST, but one that does no harm when it is carried out twice
    grant = answer(200, {"access_token": "t", "expires_in": 3600})
    script = scripted(done, tokens=[trouble, grant])
    async with ZuoraClient(with_credentials, PLENTY, send=script, rng=Random(1)) as client:
        await client.job(HANDLE)
    assert len(script.token_requests) == 2


# --- giving up


async def test_the_one_who_renews_may_be_cancelled_and_the_next_goes_on(
    scripted: Callable[..., Any], after: Any, answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    grant = answer(200, {"access_token": "t", "expires_in": 3600})
    script = scripted(done, tokens=[after(1000, grant), after(5, grant)])
    send = authorized(script, Bearer(with_credentials, once(script)))
    first, *others = (asyncio.create_task(send(ASK)) for _ in range(10))
    await asyncio.sleep(1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert {response.status for response in await asyncio.gather(*others)} == {200}
    assert asyncio.get_running_loop().time() == 6
    assert len(script.token_requests) == 2


async def test_any_number_of_those_who_wait_for_a_token_may_be_cancelled(
    scripted: Callable[..., Any], after: Any, answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    script = scripted(done, tokens=[after(10, answer(200, {"access_token": "t", "expires_in": 3600}))])
    send = authorized(script, Bearer(with_credentials, once(script)))
    tasks = [asyncio.create_task(send(ASK)) for _ in range(10)]
    await asyncio.sleep(1)
    for task in tasks[1:9]:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(end, asyncio.CancelledError) for end in ends] == [False, *[True] * 8, False]
    assert len(script.token_requests) == 1
    assert asyncio.get_running_loop().time() == 10


async def test_a_renewal_ahead_of_the_end_that_is_cancelled_is_taken_up_by_the_next(
    scripted: Callable[..., Any], after: Any, answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    old, new = (answer(200, {"access_token": name, "expires_in": 1000}) for name in ("old", "new"))
    script = scripted(done, tokens=[old, after(30, new), new])
    send = authorized(script, Bearer(with_credentials, once(script)))
    await send(ASK)
    await asyncio.sleep(950)
    renewing = asyncio.create_task(send(ASK))
    await asyncio.sleep(1)
    renewing.cancel()
    await asyncio.gather(renewing, return_exceptions=True)
    await send(ASK)
    assert script.sent[-1].authorization == "Bearer new"


async def test_a_call_that_waited_for_its_turn_does_not_go_out_with_a_token_that_has_ended(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings
) -> None:
    script = scripted(answer(429, {}, retry_after="3600"), done)
    ended: list[float] = []

    async with ZuoraClient(with_credentials, PLENTY, send=script) as client:
        await asyncio.gather(*(client.job(HANDLE) for _ in range(3)))
        await client.job(HANDLE)
        ended.append(asyncio.get_running_loop().time())
    late = [sent.authorization for sent in script.sent if sent.at >= 3600]
    assert late
    assert "Bearer token-1" not in late


# --- secrets


async def test_neither_token_nor_secret_is_seen_in_any_repr(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_credentials: Settings,
    with_fixed_token: Settings, canaries: tuple[str, str],
) -> None:  # fmt: skip
    token, secret = canaries
    script = scripted(done, tokens=[answer(200, {"access_token": token, "expires_in": 3600})])
    bearer = Bearer(with_credentials, once(script))
    await authorized(script, bearer)(ASK)
    seen = [bearer, with_credentials, with_fixed_token, Bearer(with_fixed_token, once(script))]
    seen += [sent.request for sent in (*script.sent, *script.token_requests)]
    seen += [script.tokens[0], ZuoraClient(with_credentials)]
    text = " ".join(map(repr, seen)) + " ".join(map(str, seen))
    assert script.sent[0].authorization == f"Bearer {token}", "it was there to be seen"
    assert token not in text
    assert secret not in text
