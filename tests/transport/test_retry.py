"""Which failures deserve another try, and after how long."""

import asyncio
import json
from collections.abc import Callable
from itertools import islice, pairwise
from random import Random
from typing import Any

import looptime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zuora_jobs import OPERATION, Budget, Settings, ZuoraClient
from zuora_jobs.errors import (
    ApiError,
    CancellationNotSupported,
    ConfigurationError,
    ConnectionFailed,
    Forbidden,
    MalformedResponse,
    NotFound,
    RateLimited,
    Reason,
    Rejected,
    ResponseTimeout,
    ServerError,
    TokenRefused,
    TransportError,
    Unauthorized,
    UnknownStatus,
    WatcherClosed,
    ZuoraJobsError,
)
from zuora_jobs.protocol.messages import Request, Response, fault
from zuora_jobs.timing import LONGEST_HOLD
from zuora_jobs.transport.retry import (
    LONGEST_GAP,
    Patience,
    Trouble,
    Verdict,
    delay_before_retry,
    may_send_again,
    retrying,
    verdict,
)

GET = Request("GET", "/v1/operations/jobs/x")
DELETE = Request("DELETE", "/v1/batch-query/jobs/x")
POST = Request("POST", "/v1/batch-query/")
POST_ONCE = Request("POST", "/v1/batch-query/", headers={"Idempotency-Key": "k"})
PUT = Request("PUT", "/v1/invoices/x/reverse")
HANDLE = OPERATION.handle("x")
AGAIN, THROTTLED, BRIEFLY, FINAL = Verdict.AGAIN, Verdict.THROTTLED, Verdict.BRIEFLY, Verdict.FINAL


# --- the table


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionFailed("cut"), AGAIN),
        (ConnectionFailed("refused", sent=False), AGAIN),
        (ResponseTimeout("slow"), AGAIN),
        (RateLimited("r", status=429), THROTTLED),
        (RateLimited("r", status=200), THROTTLED),
        (ServerError("s", status=500), AGAIN),
        (ServerError("s", status=502), AGAIN),
        (ServerError("s", status=503), AGAIN),
        (ServerError("s", status=504), AGAIN),
        (ServerError("s", status=501), BRIEFLY),
        (ServerError("s", status=200, reasons=[Reason("90010")]), BRIEFLY),
        (Unauthorized("GET /x: HTTP 401: Failed to get user info", status=401), AGAIN),
        (Unauthorized("GET /x: HTTP 401: Authentication error", status=401), FINAL),
        (Forbidden("f", status=403, reasons=[Reason(None, "no")]), FINAL),
        (Forbidden("f", status=403), BRIEFLY),
        (NotFound("n", status=404), FINAL),
        (NotFound("n", status=500), BRIEFLY),
        (NotFound("n", status=500, reasons=[Reason("50000040")]), FINAL),
        (Rejected("r", status=200), BRIEFLY),  # without any reason
        (Rejected("r", status=200, reasons=[Reason("53100020")]), FINAL),
        (Rejected("r", status=400, reasons=[Reason("50000020")]), FINAL),
        (Rejected("r", status=400), BRIEFLY),
        (Rejected("r", status=409, reasons=[Reason("50000030")]), FINAL),
        (Rejected("r", status=408), AGAIN),
        (Rejected("r", status=302), AGAIN),  # to a maintenance page, say; it is not followed
        (TokenRefused("t", status=401), AGAIN),
        (ApiError("a", status=418, reasons=[Reason("teapot")]), FINAL),
        (MalformedResponse("the answer is not JSON"), AGAIN),
        (MalformedResponse("no document", problems=["required field missing @ $.status"]), BRIEFLY),
        (ConfigurationError("c"), FINAL),
        (CancellationNotSupported("c"), FINAL),
        (WatcherClosed("c"), FINAL),
        (UnknownStatus("u", status="Paused"), FINAL),
        (TransportError("t"), AGAIN),
        (ZuoraJobsError("z"), FINAL),
    ],
)
def test_every_error_has_its_verdict(error: ZuoraJobsError, expected: Verdict) -> None:
    assert verdict(error) is expected


def refusal(code: Any, status: int) -> ZuoraJobsError:
    body = json.dumps({"success": False, "reasons": [{"code": code, "message": "m"}]}).encode()
    error = fault(GET, Response(status, {}, body))
    assert error is not None
    return error


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("resource", ["500000", "679999", "535701"])
@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("50", AGAIN), ("61", AGAIN), ("70", THROTTLED), ("99", AGAIN), ("60", BRIEFLY),
        ("10", FINAL), ("11", FINAL), ("20", FINAL), ("21", FINAL), ("22", FINAL), ("23", FINAL), ("27", FINAL),
        ("30", FINAL), ("40", FINAL), ("45", FINAL), ("90", FINAL),
    ],
)  # fmt: skip
def test_zuoras_categories_decide(category: str, resource: str, status: int, expected: Verdict) -> None:
    assert verdict(refusal(int(resource + category), status)) is expected
    assert verdict(refusal(resource + category, status)) is expected, "as text too"


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        (70, 429, THROTTLED),  # the gateway's own code of two digits
        (50000040, 500, FINAL),  # not found stays not found
        (50000010, 500, FINAL),
        (50000060, 200, BRIEFLY),  # an internal error is tried "a few times"
        (50000060, 500, AGAIN),  # and a 500 as long as any other 500
        (50000050, 409, AGAIN),
        ("ObjectNotFound", 500, BRIEFLY),  # a word, under a status that passes
        ("ObjectNotFound", 404, FINAL),
        ("90006", 200, BRIEFLY),  # AQuA's codes have no categories
        ("90010", 400, BRIEFLY),
        ("90050", 400, FINAL),
        ("1234567850", 400, FINAL),  # nor has anything else that is not eight digits
        (None, 400, FINAL),
        (None, 503, AGAIN),
    ],
)
def test_a_code_goes_before_the_http_status_and_a_number_that_is_no_code_does_not(
    code: Any, status: int, expected: Verdict
) -> None:
    assert verdict(refusal(code, status)) is expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (502, b"<html><title>Bad Gateway</title></html>", AGAIN),
        (503, b"", AGAIN),
        (504, b"upstream timed out", AGAIN),
        (429, b"slow down", THROTTLED),
        (200, b"<html>maintenance</html>", AGAIN),
        (200, b"", AGAIN),
        (200, b'{"id": "2c', AGAIN),
        (301, b"", AGAIN),
        (400, b"<html>", BRIEFLY),
        (403, b"<security:max-object-size>2047MB</security:max-object-size>", FINAL),
        (404, b"<html>", FINAL),
        (404, b'{"done": true, "records": [], "size": 0}', FINAL),
        (401, b"<html>", FINAL),
    ],
)
def test_answers_of_gateways_are_judged_by_their_status(status: int, body: bytes, expected: Verdict) -> None:
    error = fault(GET, Response(status, {}, body))
    assert error is not None
    assert verdict(error) is expected


# --- how long to wait


@given(seed=st.integers(), longest=st.floats(1, 100))
def test_delays_are_jittered_over_1_2_4_and_so_on_up_to_the_longest(seed: int, longest: float) -> None:
    delays = list(islice(Patience(longest=longest).delays(Random(seed)), 30))
    for number, delay in enumerate(delays):
        assert 0.1 <= delay <= min(2.0**number, longest)


def test_delays_use_the_whole_range() -> None:
    fifth = [list(islice(Patience(longest=20).delays(Random(seed)), 5))[4] for seed in range(200)]
    assert min(fifth) < 1
    assert max(fifth) > 15


def test_the_same_seed_gives_the_same_delays_and_another_seed_others() -> None:
    def delays(seed: int) -> list[float]:
        return list(islice(Patience().delays(Random(seed)), 10))

    assert delays(7) == delays(7)
    assert delays(7) != delays(8)


@pytest.mark.parametrize(
    ("error", "jittered", "waits"),
    [
        (RateLimited("r", status=429, retry_after=120), 3.0, 120),
        (RateLimited("r", status=429, retry_after=1), 3.0, 3),
        (RateLimited("r", status=429, retry_after=0), 3.0, 3),
        (RateLimited("r", status=429), 3.0, 3),
        (ServerError("s", status=503, retry_after=9), 3.0, 9),
        (ConnectionFailed("c"), 3.0, 3),
        (MalformedResponse("m"), 3.0, 3),
    ],
)
def test_what_the_server_asked_for_raises_a_delay_and_never_shortens_it(
    error: ZuoraJobsError, jittered: float, waits: float
) -> None:
    assert delay_before_retry(error, jittered) == waits


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("status", "headers", "at_least"),
    [
        (429, {"retry_after": "120"}, 120),
        (429, {"ratelimit_reset": "45"}, 45),
        (503, {"retry_after": "33"}, 33),
        (429, {"retry_after": "Sun, 22 Nov 2026 10:00:20 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 20),
        (429, {"retry_after": "string", "ratelimit_reset": "string"}, 0.1),
    ],
)
async def test_another_try_waits_as_long_as_the_server_asks(
    status: int,
    headers: dict[str, str],
    at_least: float,
    scripted: Callable[..., Any],
    answer: Callable[..., Any],
    done: Any,
) -> None:
    script = scripted(answer(status, {}, **headers), done)
    await retrying(script, Patience(), Random(3))(GET)
    first, second = script.times
    assert at_least <= second - first <= max(at_least, 1.0)


@pytest.mark.looptime
async def test_an_absurd_retry_after_does_not_keep_a_call_for_ever(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any
) -> None:
    script = scripted(answer(503, {}, retry_after="999999999"), done)
    async with asyncio.timeout(2 * LONGEST_HOLD):
        await retrying(script, Patience(), Random(3))(GET)
    assert script.times[1] <= LONGEST_HOLD


# --- how long to go on


@pytest.mark.looptime
@pytest.mark.parametrize("seed", range(10))
async def test_an_outage_is_tried_for_as_long_as_patience_lasts_and_no_longer(
    seed: int, scripted: Callable[..., Any], answer: Callable[..., Any], looptime: looptime.Chronometer
) -> None:
    script = scripted(answer(503, {}))
    patience = Patience(again=300, longest=20)
    with pytest.raises(ServerError):
        await retrying(script, patience, Random(seed))(GET)
    assert 300 <= looptime <= 320
    assert len(script.sent) >= 300 / 20
    assert all(0.1 <= later - earlier <= 20.001 for earlier, later in pairwise(script.times))
    assert looptime == script.times[-1], "it does not sleep before giving up"


@pytest.mark.unmeasured
@pytest.mark.looptime
async def test_patience_is_time_and_not_a_count_of_tries(
    scripted: Callable[..., Any], after: Any, answer: Callable[..., Any], looptime: looptime.Chronometer
) -> None:
    slow = scripted(after(100, answer(503, {})))
    with pytest.raises(ServerError):
        await retrying(slow, Patience(again=150, longest=1), Random(1))(GET)
    assert len(slow.sent) == 3
    assert 300 < looptime <= 302
    quick = scripted(*[ConnectionFailed("cut")] * 2000, answer(200, {"status": "Completed"}))
    await retrying(quick, Patience(again=1e6, longest=1), Random(1))(GET)
    assert len(quick.sent) == 2001


@pytest.mark.looptime
async def test_an_answer_that_may_mean_it_is_tried_for_a_short_time_only(
    scripted: Callable[..., Any], answer: Callable[..., Any], looptime: looptime.Chronometer
) -> None:
    script = scripted(answer(200, {"success": False, "reasons": [{"code": 50000060, "message": "internal"}]}))
    with pytest.raises(ServerError):
        await retrying(script, Patience(again=1000, briefly=15, longest=5), Random(1))(GET)
    assert 15 <= looptime <= 20
    assert len(script.sent) > 3


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("status", "document", "expected"),
    [
        (404, {"message": "no"}, NotFound),
        (403, {"message": "no"}, Forbidden),
        (400, {"code": 50000020, "message": "no"}, Rejected),
        (401, {"message": "no"}, Unauthorized),
        (200, {"success": False, "reasons": [{"code": 50000040, "message": "no"}]}, NotFound),
        (200, {"status": "error", "errorCode": "90003", "message": "no"}, Rejected),
    ],
)
async def test_what_is_final_is_raised_at_once(
    status: int,
    document: Any,
    expected: type[Exception],
    scripted: Callable[..., Any],
    answer: Callable[..., Any],
    looptime: looptime.Chronometer,
) -> None:
    script = scripted(answer(status, document))
    with pytest.raises(expected):
        await retrying(script, Patience(), Random(1))(GET)
    assert len(script.sent) == 1
    assert looptime == 0


@pytest.mark.looptime
async def test_an_error_that_is_not_ours_is_not_tried_again(scripted: Callable[..., Any]) -> None:
    script = scripted(RuntimeError("a bug"))
    with pytest.raises(RuntimeError):
        await retrying(script, Patience(), Random(1))(GET)
    assert len(script.sent) == 1


@pytest.mark.looptime
async def test_the_earlier_errors_are_notes_on_the_last(
    scripted: Callable[..., Any], answer: Callable[..., Any]
) -> None:
    script = scripted(ConnectionFailed("the first trouble"), answer(404, {"message": "gone"}))
    with pytest.raises(NotFound) as caught:
        await retrying(script, Patience(), Random(1))(GET)
    assert any("the first trouble" in note for note in getattr(caught.value, "__notes__", []))


@pytest.mark.looptime
async def test_whoever_wants_to_know_is_told_of_each_try_and_its_delay(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any
) -> None:
    told: list[tuple[str, float]] = []
    script = scripted(ConnectionFailed("cut"), answer(503, {}, retry_after="30"), done)
    send = retrying(script, Patience(), Random(1), lambda error, delay: told.append((type(error).__name__, delay)))
    await send(GET)
    assert [name for name, _ in told] == ["ConnectionFailed", "ServerError"]
    assert [delay for _, delay in told] == pytest.approx(
        [later - earlier for earlier, later in pairwise(script.times)], abs=1e-5
    )
    assert told[1][1] == 30


# --- how long it has been like that

CUT = ConnectionFailed("cut")
ASKS_30 = ServerError("s", status=503, retry_after=30)
ASKS_WEEKS = ServerError("s", status=503, retry_after=1e6)
SLOW_DOWN = RateLimited("r", status=429, retry_after=60)
ODD = ServerError("s", status=200, reasons=[Reason("50000060")])


@pytest.mark.parametrize(
    ("failures", "lasting"),
    [
        ([(0, CUT)], 0),
        ([(0, CUT), (10, CUT), (25, CUT)], 25),
        ([(1e6, CUT), (1e6 + 10, CUT)], 10),
        ([(0, CUT), (10, ServerError("s", status=500)), (25, ResponseTimeout("t"))], 25),  # one outage, by many names
        # what was asked to wait is no part of it
        ([(0, ASKS_30), (30, CUT)], 0),
        ([(0, ASKS_30), (35, CUT), (40, CUT)], 10),
        ([(0, ASKS_30), (10, CUT)], 0),
        ([(0, ASKS_WEEKS), (LONGEST_HOLD + 5, CUT)], 5),
        # nor is time in which nobody was asking
        ([(0, CUT), (LONGEST_GAP, CUT)], LONGEST_GAP),
        ([(0, CUT), (LONGEST_GAP + 1, CUT)], LONGEST_GAP),
        ([(0, CUT), (1e9, CUT)], LONGEST_GAP),
        ([(0, CUT), (1e9, CUT), (1e9 + 5, CUT)], LONGEST_GAP + 5),
        ([(0, CUT), (100, CUT), (1e9, CUT), (1e9 + 100, CUT)], 200 + LONGEST_GAP),
        ([(0, ASKS_30), (1e9, CUT)], LONGEST_GAP),
        ([(100, CUT), (0, CUT), (10, CUT)], 10),  # a clock that went back
        # whoever throttles us has not gone away
        ([(0, CUT), (100, SLOW_DOWN), (200, CUT)], 0),
        ([(0, CUT), (100, SLOW_DOWN), (200, CUT), (230, CUT)], 30),
        ([(0, SLOW_DOWN), (60, SLOW_DOWN), (100, SLOW_DOWN)], 100),  # with the waits, which it asked for itself
        ([(0, SLOW_DOWN), (1e5, SLOW_DOWN)], 1e5),
        # what may be an answer counts only while it is the same
        ([(0, ODD), (10, ODD), (14, ODD)], 14),
        ([(0, ODD), (1e6, ODD)], LONGEST_GAP),
        ([(0, CUT), (50, ODD)], 0),
        ([(0, CUT), (50, ODD), (60, ODD)], 10),
        ([(0, ODD), (50, CUT)], 50),  # while that was no answer either
        ([(0, ODD), (10, ODD), (20, CUT), (30, ODD), (35, ODD)], 5),
    ],
)
def test_trouble_lasts_as_long_as_somebody_asked_and_got_nothing(
    failures: list[tuple[float, ZuoraJobsError]], lasting: float
) -> None:
    trouble = Trouble()
    told = [trouble.add(error, now) for now, error in failures]
    assert told[-1] == pytest.approx(lasting)
    assert trouble.attempts == len(failures)
    assert trouble.last is failures[-1][1]


@given(
    failures=st.lists(
        st.tuples(st.floats(0, 1e4), st.sampled_from([CUT, ASKS_30, ODD, MalformedResponse("m"), TokenRefused("t", status=401)])),
        min_size=1,
    )
)  # fmt: skip
def test_trouble_lasts_no_longer_than_its_gaps_may_be(failures: list[tuple[float, ZuoraJobsError]]) -> None:
    trouble, now = Trouble(), 50.0
    for number, (gap, error) in enumerate(failures):
        now += gap
        assert 0 <= trouble.add(error, now) <= min(now - 50.0 - failures[0][0], number * LONGEST_GAP) + 1e-6


@pytest.mark.looptime
async def test_a_machine_that_slept_for_a_night_between_two_tries_has_not_lost_its_patience(
    scripted: Callable[..., Any], done: Any
) -> None:
    script = scripted(CUT, CUT, done)
    send = retrying(script, Patience(again=300), Random(1))
    task = asyncio.create_task(send(GET))
    await asyncio.sleep(0)
    loop: Any = asyncio.get_running_loop()
    loop.setup_looptime(start=loop.time() + 8 * 3600)
    assert (await task).status == 200
    assert script.times[1] >= 8 * 3600
    assert len(script.sent) == 3


# --- a first failure that comes late


@pytest.mark.looptime
async def test_a_request_that_got_no_answer_for_its_whole_timeout_is_tried_again(
    scripted: Callable[..., Any], after: Any, done: Any, with_fixed_token: Settings
) -> None:
    script = scripted(after(with_fixed_token.request_timeout, ResponseTimeout("no answer")), done)
    async with ZuoraClient(with_fixed_token, send=script, rng=Random(1)) as client:
        assert (await client.job(HANDLE)).status == "Completed"


@pytest.mark.looptime
async def test_waiting_for_ones_turn_uses_up_no_patience(
    scripted: Callable[..., Any], answer: Callable[..., Any], done: Any, with_fixed_token: Settings
) -> None:
    hiccups = iter([False] * 79 + [True] + [False] * 100)
    script = scripted(lambda _: answer(503, {}) if next(hiccups) else done)
    async with ZuoraClient(with_fixed_token, Budget(rate=1), send=script, rng=Random(1)) as client:
        ends = await asyncio.gather(*(client.job(HANDLE) for _ in range(100)), return_exceptions=True)
    assert [end for end in ends if isinstance(end, Exception)] == []


# --- what must not be done twice


@pytest.mark.parametrize(
    ("request_", "error", "expected"),
    [
        (GET, ConnectionFailed("cut"), True),
        (DELETE, ResponseTimeout("slow"), True),
        (POST_ONCE, ResponseTimeout("slow"), True),
        (POST_ONCE, ServerError("s", status=500), True),
        (POST, ConnectionFailed("refused", sent=False), True),
        (POST, ConnectionFailed("cut"), False),
        (POST, ResponseTimeout("slow"), False),
        (POST, ServerError("s", status=503), False),
        (PUT, ConnectionFailed("cut"), False),
        (PUT, ConnectionFailed("refused", sent=False), True),
    ],
)
def test_only_what_may_be_done_twice_or_was_not_done_is_sent_again(
    request_: Request, error: ZuoraJobsError, expected: bool
) -> None:
    assert may_send_again(request_, error) is expected


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("request_", "step", "sent"),
    [
        (POST, ConnectionFailed("cut"), 1),
        (POST, ResponseTimeout("slow"), 1),
        (POST, Response(503, {}, b""), 1),
        (POST, Response(200, {}, b"<html>"), 1),
        (POST, ConnectionFailed("refused", sent=False), 2),
        (POST_ONCE, ConnectionFailed("cut"), 2),
        (GET, Response(200, {}, b"<html>"), 2),
        (DELETE, ConnectionFailed("cut"), 2),
    ],
)
async def test_a_post_without_a_key_goes_out_twice_only_if_it_never_went_out(
    request_: Request, step: Any, sent: int, scripted: Callable[..., Any], done: Any
) -> None:
    script = scripted(step, done)
    send = retrying(script, Patience(), Random(1))
    if sent == 1:
        with pytest.raises(ZuoraJobsError):
            await send(request_)
    else:
        assert (await send(request_)).status == 200
    assert len(script.sent) == sent


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH"])
def test_an_idempotency_key_is_for_post_alone(method: str) -> None:
    with pytest.raises(ConfigurationError, match="POST only"):
        Request(method, "/x", headers={"Idempotency-Key": "k"})


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_an_idempotency_key_has_1_to_255_characters(key: str) -> None:
    with pytest.raises(ConfigurationError, match="1 to 255"):
        Request("POST", "/x", headers={"Idempotency-Key": key})
    assert Request("POST", "/x", headers={"Idempotency-Key": "k" * 255}).may_be_repeated


# --- giving up


@pytest.mark.looptime
async def test_a_call_may_be_cancelled_while_it_waits_for_another_try(
    scripted: Callable[..., Any], done: Any, live_timers: Callable[[], list[Any]]
) -> None:
    script = scripted(ConnectionFailed("cut"), done)
    task = asyncio.create_task(retrying(script, Patience(), Random(1))(GET))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(script.sent) == 1
    assert live_timers() == []
