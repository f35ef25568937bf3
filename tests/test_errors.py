"""The tree of errors: as drawn, split by blame, and none that is not ours."""

from __future__ import annotations

import inspect
import pickle
import re
from typing import Any

import pytest

import zuora_jobs
from zuora_jobs import errors
from zuora_jobs.errors import (
    ApiError,
    ConnectionFailed,
    MalformedResponse,
    NotFound,
    Reason,
    UnknownStatus,
    ZuoraJobsError,
)

OURS = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
}

PARENTS = {
    "ConfigurationError": "ZuoraJobsError",
    "InvalidHandle": "ConfigurationError",
    "CancellationNotSupported": "ConfigurationError",
    "WatcherClosed": "ZuoraJobsError",
    "TransportError": "ZuoraJobsError",
    "ConnectionFailed": "TransportError",
    "ResponseTimeout": "TransportError",
    "ApiError": "ZuoraJobsError",
    "Unauthorized": "ApiError",
    "Forbidden": "ApiError",
    "NotFound": "ApiError",
    "RateLimited": "ApiError",
    "ServerError": "ApiError",
    "Rejected": "ApiError",
    "MalformedResponse": "ZuoraJobsError",
    "UnknownStatus": "ZuoraJobsError",
    "WatchTimedOut": "ZuoraJobsError",
    "JobError": "ZuoraJobsError",
    "JobFailed": "JobError",
    "JobCancelled": "JobError",
    "JobLost": "JobError",
}


@pytest.mark.parametrize(("child", "parent"), PARENTS.items())
def test_the_tree_is_split_by_blame(child: str, parent: str) -> None:
    assert OURS[child].__bases__[0] is OURS[parent]


def test_every_error_is_ours_public_and_documented() -> None:
    for name, error in OURS.items():
        assert issubclass(error, ZuoraJobsError)
        assert getattr(zuora_jobs, name) is error
        assert name in zuora_jobs.__all__
        assert vars(error).get("__doc__"), name


def test_the_drawing_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        if not (match := re.match(r"( {4,})((?:[A-Z][A-Za-z]+)(?: [A-Z][a-z]+[A-Z][A-Za-z]+)*)(?:  |$)", line)):
            continue
        depth = len(match[1])
        for name in match[2].split():
            if depth > 4:
                drawn[name] = above[depth - 2]
            above[depth] = name
    assert drawn == {name: error.__bases__[0].__name__ for name, error in OURS.items() if name != "ZuoraJobsError"}


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("ConfigurationError", ValueError),
        ("InvalidHandle", ValueError),
        ("WatcherClosed", RuntimeError),
        ("ConnectionFailed", ConnectionError),
        ("ResponseTimeout", TimeoutError),
        ("WatchTimedOut", TimeoutError),
    ],
)
def test_an_error_is_also_what_python_calls_it(name: str, builtin: type[Exception]) -> None:
    assert issubclass(OURS[name], builtin)


@pytest.mark.parametrize(
    ("code", "category"),
    [
        ("50000040", 40),
        ("53100320", 20),
        ("70", 70),
        ("00", 0),
        ("90000011", 11),
        ("90005", None),
        ("7", None),
        ("500000401", None),
        ("5000004", None),
        ("ObjectNotFound", None),
        ("", None),
        (None, None),
        ("\u0667\u0660", None),
        ("-1", None),
        ("7.", None),
        (" 70", None),
    ],
)
def test_a_reasons_category_is_the_end_of_an_eight_digit_code_or_a_two_digit_one(
    code: str | None, category: int | None
) -> None:
    assert Reason(code).category == category


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Reason("1", "m"), "1: m"),
        (Reason("1"), "1"),
        (Reason(None, "m"), "m"),
        (Reason("", ""), "no reason given"),
        (Reason(), "no reason given"),
    ],
)
def test_a_reason_reads_as_a_line(reason: Reason, text: str) -> None:
    assert str(reason) == text


def test_an_api_error_carries_what_was_said() -> None:
    reasons = [Reason(None, "first"), Reason("50000040", "second"), Reason("70", "third")]
    error = ApiError("said", status=200, reasons=reasons, request_id="r", retry_after=3.0)
    assert str(error) == "said"
    assert (error.status, error.request_id, error.retry_after) == (200, "r", 3.0)
    assert error.reasons == tuple(reasons)
    assert error.code == "50000040"
    assert error.categories == {40, 70}


def test_an_api_error_without_reasons_has_no_code() -> None:
    error = ApiError("said", status=500)
    assert (error.code, error.reasons, error.categories) == (None, (), frozenset())
    assert (error.request_id, error.retry_after) == (None, None)


def test_the_other_errors_carry_theirs() -> None:
    outcome: Any = object()
    assert MalformedResponse("m", problems=["a", "b"]).problems == ("a", "b")
    assert MalformedResponse("m").problems == ()
    assert UnknownStatus("m", status="Paused").status == "Paused"
    assert errors.ConnectionFailed("m").sent is True
    assert errors.ConnectionFailed("m", sent=False).sent is False
    assert errors.JobFailed("m", outcome=outcome).outcome is outcome


def test_lost_is_never_failed() -> None:
    assert not issubclass(errors.JobLost, errors.JobFailed)
    assert not issubclass(errors.JobFailed, errors.JobLost)
    assert not issubclass(errors.JobCancelled, errors.JobFailed)


@pytest.mark.parametrize(
    "error",
    [
        NotFound("gone", status=404, reasons=[Reason("50000040", "m")], request_id="r", retry_after=2.0),
        UnknownStatus("u", status="Paused"),
        ConnectionFailed("cut", sent=False),
        MalformedResponse("no", problems=["required field missing @ $.status"]),
    ],
)
def test_an_error_crosses_to_another_process_whole(error: ZuoraJobsError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
