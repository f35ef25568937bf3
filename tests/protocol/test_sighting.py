"""What one look tells: the status at once, the document when asked for, and every refusal at once as well."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zuora_jobs.errors import MalformedResponse, Rejected, ZuoraJobsError
from zuora_jobs.protocol import models, wire
from zuora_jobs.protocol.kinds import KINDS, OPERATION, JobKind
from zuora_jobs.protocol.messages import Request, Response, decipher, sighting
from zuora_jobs.protocol.models import OperationJob
from zuora_jobs.protocol.sighting import Sighting

ASK = Request("GET", "/v1/operations/jobs/x", kind=OPERATION)


def outcome_of(read: Callable[[], Any]) -> Any:
    """What comes of reading: the status and the document, or which error in which words."""
    try:
        document = read()
    except ZuoraJobsError as error:
        return type(error), str(error), getattr(error, "problems", None)
    return document.status, document.job if isinstance(document, Sighting) else document


def seen(document: Any, kind: JobKind[Any] = OPERATION) -> Sighting[Any]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return sighting(attrs.evolve(ASK, kind=kind), Response(200, {}, body), kind.model)


def test_the_status_is_as_it_was_received() -> None:
    assert seen({"status": " processing "}).status == " processing "


def test_the_body_is_kept_and_reads_as_the_same_document() -> None:
    body = b'{"status":"Failed","success":false,"id":"x","reasons":[{"code":1,"message":"m"}],"more":{"a":[1.5]}}'
    sight = seen(body)
    assert sight.body is not None
    assert sight.body == body
    assert wire.read(sight.body, OPERATION.model) == sight.job
    assert sight.job.raw == json.loads(body)


def test_the_document_is_made_once_and_not_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    structure = wire.structure

    def structured(*given: Any) -> Any:
        made.append(given)
        return structure(*given)

    monkeypatch.setattr(wire, "structure", structured)
    sight = seen({"status": "Pending", "id": "x"})
    assert made == []
    assert sight.job is sight.job
    assert sight.job == OperationJob(status="Pending", id="x", raw={"status": "Pending", "id": "x"})
    assert len(made) == 1


def test_it_shows_nothing_of_the_document() -> None:
    assert repr(seen({"status": "Pending", "fileUrls": ["https://x?Signature=y"]})) == "<Sighting OperationJob Pending>"


def test_it_is_small() -> None:
    assert not hasattr(seen({"status": "Pending"}), "__dict__")


REFUSED: list[Any] = [
    {},
    {"id": "x"},
    {"id": "x", "status": None},
    {"id": "x", "status": ""},
    {"id": "x", "status": "  "},
    {"id": "x", "status": 5},
    {"id": "x", "status": ["Pending"]},
    {"status": "Pending", "success": 1},
    {"status": "Pending", "success": 0},
    {"status": "Pending", "success": "maybe"},
    {"status": "Pending", "success": []},
    {"id": "x", "status": 1, "success": 1},
    [],
    "text",
    5,
    None,
    b"",
    b"<html>",
    b'{"status": "Pending", "status": "Completed"}',
    b'{"status": NaN}',
    b'{"status": "Pending"} {}',
]


@pytest.mark.parametrize("document", REFUSED, ids=repr)
@pytest.mark.parametrize("kind", KINDS.values(), ids=repr)
def test_what_is_no_document_is_refused_at_once_in_the_same_words(document: Any, kind: JobKind[Any]) -> None:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    request = attrs.evolve(ASK, kind=kind)
    whole = outcome_of(lambda: decipher(request, Response(200, {}, body), kind.model))
    assert whole[0] is MalformedResponse
    assert outcome_of(lambda: sighting(request, Response(200, {}, body), kind.model)) == whole


def test_what_zuora_refuses_is_refused() -> None:
    with pytest.raises(Rejected):
        seen({"success": False, "reasons": [{"code": 50000020, "message": "no"}]})


@pytest.mark.parametrize("success", [None, True, False, "true", "FALSE"])
def test_whatever_success_may_be_is_no_hindrance(success: Any) -> None:
    sight = seen({"status": "Failed", "success": success})
    assert sight.status == "Failed"
    assert sight.job.status == "Failed"


@pytest.mark.unmeasured
@pytest.mark.parametrize("kind", KINDS.values(), ids=repr)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_it_tells_and_refuses_what_reading_the_whole_would(kind: JobKind[Any], data: st.DataObject) -> None:
    names = ["status", "success", *(wire_name for wire_name in wire._wire_names(kind.model).values()), "errorCode"]
    value = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", " ", "Pending", "true", "x"])
    some = value | st.lists(value, max_size=2) | st.dictionaries(st.sampled_from(names), value, max_size=2)
    document = data.draw(st.dictionaries(st.sampled_from(names), some, max_size=5) | some)
    request, body = attrs.evolve(ASK, kind=kind), json.dumps(document).encode()
    whole = outcome_of(lambda: decipher(request, Response(200, {}, body), kind.model))
    assert outcome_of(lambda: sighting(request, Response(200, {}, body), kind.model)) == whole
    if isinstance(whole[0], str):
        assert wire.read(body, kind.model) == whole[1]


# --- models of a user's own, which may be stricter


@attrs.frozen(kw_only=True)
class Renamed:
    status: str = attrs.field(metadata={"wire": "jobState"})
    raw: models.Raw = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class NeedsMore:
    status: str
    owner: str
    raw: models.Raw = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class OtherSuccess:
    status: str
    success: models.Text | None = None
    raw: models.Raw = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class Checked:
    status: str = attrs.field(validator=attrs.validators.in_(["Pending"]))
    raw: models.Raw = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class Particular:
    status: str
    raw: models.Raw = attrs.field(factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.status != "Pending":
            raise ValueError("no")


@attrs.frozen(kw_only=True)
class Typed:
    status: Annotated[str, "text"]
    raw: models.Raw = attrs.field(factory=dict, repr=False)


@pytest.mark.parametrize("model", [Renamed, NeedsMore, OtherSuccess, Checked, Particular, Typed])
@pytest.mark.parametrize(
    "document",
    [
        {"status": "Pending"},
        {"status": "Done"},
        {"jobState": "Done"},
        {"status": "Pending", "owner": "me"},
        {"status": "Pending", "success": 1},
        {"jobState": "Done", "success": True},
        {"status": 5},
    ],
    ids=repr,
)
def test_a_model_of_ones_own_is_refused_for_what_it_needs_and_at_once(model: type[Any], document: Any) -> None:
    whole = outcome_of(lambda: wire.structure(model, document))
    assert outcome_of(lambda: Sighting(model, b"", document)) == whole
