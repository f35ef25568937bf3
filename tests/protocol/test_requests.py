"""What can be submitted: every limit is checked before sending, and every field has the vendor's own name."""

import ast
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from attrs import fields
from hypothesis import given
from hypothesis import strategies as st

from zuora_jobs import (
    ApplyCreditMemo,
    ConfigurationError,
    DeletedRecords,
    DeleteInvoice,
    DocumentIds,
    InvoiceAmount,
    Query,
    ReverseInvoice,
    RunQueries,
    UnapplyCreditMemo,
    ZipPdfs,
)
from zuora_jobs.protocol import jsontext, wire
from zuora_jobs.protocol.requests import in_parts

QUERY = Query("Invoices", "select Id from Invoice")
STATEFUL: dict[str, Any] = {"partner": "Salesforce", "project": "00170000011K3Ub"}
INVOICES = (DocumentIds(doc_type="Invoice", object_ids=("a", "b")),)
PART = InvoiceAmount(invoice_id="I1", amount="12.50")


def queries(count: int) -> list[Query]:
    return [Query(f"q{number}", "select Id from Invoice") for number in range(count)]


def zipped(**options: Any) -> ZipPdfs:
    return ZipPdfs(**{"documents": INVOICES, "file_name": "zip", **options})


def refused(make: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        make()
    return str(caught.value)


# --- AQuA


def test_the_least_that_can_be_asked_for() -> None:
    job = RunQueries([QUERY])
    assert job.queries == (QUERY,)
    assert (job.format, job.version, QUERY.type) == ("csv", "1.1", "zoqlexport")
    assert not job.is_stateful


def test_fifty_queries_and_no_more() -> None:
    assert len(RunQueries(queries(50)).queries) == 50
    assert refused(lambda: RunQueries(queries(51))).startswith("queries has 51 entries, and Zuora takes 50 at a time")


@pytest.mark.parametrize("name", ["n" * 32, "ü" * 32])
def test_a_name_of_32_characters_and_no_more(name: str) -> None:
    assert RunQueries([QUERY], name=name).name == name
    assert "name has 33 characters, and Zuora takes 32" in refused(lambda: RunQueries([QUERY], name=name + "x"))


def test_partner_and_project_go_together() -> None:
    assert RunQueries([QUERY], **STATEFUL).is_stateful
    assert "give both" in refused(lambda: RunQueries([QUERY], partner="p"))
    assert "give both" in refused(lambda: RunQueries([QUERY], project="p"))


def test_the_oldest_version_has_no_stateful_jobs() -> None:
    assert not RunQueries([QUERY], version="1.0").is_stateful
    assert "version 1.0" in refused(lambda: RunQueries([QUERY], version="1.0", **STATEFUL))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("offset", 0),
        ("offset", 3600),
        ("incremental_time", "2026-11-24 00:00:00"),
        ("use_last_completed_job_queries", True),
    ],
)
def test_what_is_for_stateful_jobs_only(name: str, value: Any) -> None:
    assert getattr(RunQueries([QUERY], **STATEFUL, **{name: value}), name) == value
    assert f"{name} is for stateful jobs only" in refused(lambda: RunQueries([QUERY], **{name: value}))


def test_deleted_records_are_told_in_stateful_jobs_only() -> None:
    query = Query("q", "select Id from Account", deleted=DeletedRecords(column="Gone", format="Boolean"))
    assert RunQueries([query], **STATEFUL).queries == (query,)
    assert "deleted is for stateful jobs only" in refused(lambda: RunQueries([QUERY, query]))


@pytest.mark.parametrize(
    "deleted",
    [DeletedRecords(format="Boolean"), DeletedRecords(column="x"), DeletedRecords(column="x", format="Text"), "x"],
)
def test_how_deleted_records_are_told_must_be_said_whole(deleted: Any) -> None:
    assert "deleted" in refused(lambda: Query("q", "select", deleted=deleted))


@pytest.mark.parametrize("offset", [-1, 3601, 1.5, True, "60"])
def test_an_offset_is_whole_seconds_up_to_an_hour(offset: Any) -> None:
    assert "0 to 3600 whole seconds" in refused(lambda: RunQueries([QUERY], **STATEFUL, offset=offset))


@pytest.mark.parametrize(
    "moment",
    ["2026-11-24", "2026-11-24T00:00:00", "2026-13-01 00:00:00", "2026-11-24 25:00:00", "", 5, date(2026, 1, 1)],
)
def test_an_incremental_time_is_written_as_aqua_reads_it(moment: Any) -> None:
    told = refused(lambda: RunQueries([QUERY], **STATEFUL, incremental_time=moment))
    assert "'2026-11-24 00:00:00'" in told


def test_without_queries_there_must_be_those_of_the_last_job() -> None:
    assert "nothing to do" in refused(lambda: RunQueries([]))
    job = RunQueries([], use_last_completed_job_queries=True, **STATEFUL)
    assert job.queries == ()


def test_two_queries_of_one_name_cannot_be_told_apart() -> None:
    assert "two queries are named 'a'" in refused(lambda: RunQueries([Query("a", "select 1"), Query("a", "select 2")]))


def test_a_callout_url_has_less_than_5000_characters() -> None:
    assert RunQueries([QUERY], notify_url="u" * 4999).notify_url
    assert "at most 4999 characters" in refused(lambda: RunQueries([QUERY], notify_url="u" * 5000))
    assert "notify_url" in refused(lambda: RunQueries([QUERY], notify_url=""))


def test_a_callout_url_is_quoted_nowhere_since_it_may_bear_a_secret() -> None:
    url = "https://example.com/callout?token=canary-5f1d"
    assert "canary" not in repr(RunQueries([QUERY], notify_url=url))
    assert "canary" not in refused(lambda: RunQueries([QUERY], notify_url=url + "u" * 5000))


@pytest.mark.parametrize(
    "options",
    [
        {"format": "json"},
        {"format": None},
        {"version": "2.0"},
        {"version": 1.1},
        {"encrypted": "aes"},
        {"source_data": "CACHE"},
        {"use_query_labels": "true"},
        {"date_time_utc": 1},
        {"use_last_completed_job_queries": "yes", **STATEFUL},
        {"name": " "},
        {"null_replacement": ""},
        {"partner": "", "project": "x"},
    ],
    ids=str,
)
def test_a_value_that_aqua_does_not_know_is_refused_and_its_field_is_named(options: dict[str, Any]) -> None:
    assert refused(lambda: RunQueries([QUERY], **options)).startswith(next(iter(options)))


@pytest.mark.parametrize(("given", "sent"), [("CSV", "CSV"), ("Zip", "Zip"), ("gzip", "gzip")])
def test_a_format_may_be_written_in_any_case(given: str, sent: str) -> None:
    assert RunQueries([QUERY], format=given).format == sent


@pytest.mark.parametrize(
    ("make", "spelled"),
    [
        (lambda: Query("q", "select", type="ZOQL").type, "zoql"),
        (lambda: RunQueries([QUERY], source_data="live").source_data, "LIVE"),
        (lambda: RunQueries([QUERY], encrypted="PGP").encrypted, "pgp"),
        (lambda: zipped(index_file_format="json").index_file_format, "JSON"),
    ],
    ids=["type", "sourceData", "encrypted", "indexFileFormat"],
)
def test_other_words_are_spelled_as_zuora_does(make: Any, spelled: str) -> None:
    assert make() == spelled


@pytest.mark.parametrize("queries_", ["select Id from Invoice", QUERY, [QUERY, "select"], None, {"a": "select"}])
def test_queries_are_a_list_of_queries(queries_: Any) -> None:
    assert "queries must be a list of Query" in refused(lambda: RunQueries(queries_))


@pytest.mark.parametrize(("name", "query"), [("", "select"), ("q", " "), (None, "select"), ("q", 5)])
def test_a_query_has_a_name_and_a_text(name: Any, query: Any) -> None:
    assert "must be text that is not blank" in refused(lambda: Query(name, query))


# --- bulk PDF


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("file_name", "x" * 33, "32 at most"),
        ("file_name", "", "not blank"),
        ("file_name", "a/b", "file_name"),
        ("file_name", "..\\\\b", "file_name"),
        ("file_name", None, "not blank"),
        ("name", "x" * 33, "32 at most"),
        ("index_file_format", "XML", "one of CSV, JSON"),
        ("generate_missing_pdf", "yes", "true or false"),
        ("persist_index_file", 1, "true or false"),
        ("ignore_archived_files", "false", "true or false"),
        ("documents", [], "nothing to do"),
        ("documents", ["a"], "a list of DocumentIds"),
        ("documents", INVOICES[0], "a list of DocumentIds"),
        ("documents", [DocumentIds(doc_type="Invoice")], "and ids"),
        ("documents", [DocumentIds(object_ids=("a",))], "doc_type"),
        ("documents", [DocumentIds(doc_type="Invoice", object_ids=("a", " "))], "and ids"),
        ("documents", [DocumentIds(doc_type="Invoice", object_ids="2c92")], "and ids"),  # type: ignore[arg-type]
        ("documents", [DocumentIds(doc_type="Invoice", object_ids=(1,))], "and ids"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_a_bulk_pdf_job_is_checked(field: str, value: Any, told: str) -> None:
    message = refused(lambda: zipped(**{field: value}))
    assert field in message
    assert told in message


def test_a_bulk_pdf_job_of_the_longest_names() -> None:
    job = zipped(file_name="f" * 32, name="n" * 32)
    assert (job.file_name, job.name, job.index_file_format) == ("f" * 32, "n" * 32, "CSV")


# --- keys that become part of a path

KEYED: list[Callable[[Any], Any]] = [
    DeleteInvoice,
    ReverseInvoice,
    lambda key: ApplyCreditMemo(key, [PART]),
    lambda key: UnapplyCreditMemo(key, [PART]),
]


@pytest.mark.parametrize("make", KEYED, ids=["delete", "reverse", "apply", "unapply"])
@pytest.mark.parametrize(
    "key",
    ["", " ", "a b", "a/b", "../x", "..", ".", "a?b=c", "a#b", "a%2fb", "a\n", "\na", "a\r\nb", "ü", "٣", "-a", "x" * 129,
     None, 5, b"a", ["a"]],
)  # fmt: skip
def test_a_key_that_could_change_the_path_is_refused(make: Any, key: Any) -> None:
    assert "cannot be the id or number of the" in refused(lambda: make(key))


@pytest.mark.parametrize("make", KEYED, ids=["delete", "reverse", "apply", "unapply"])
@pytest.mark.parametrize("key", ["INV00000123", "2c92c8955bd63cc1015bd7c151af02ab", "a", "x" * 128, "CM-0_1"])
def test_an_id_or_a_number_is_a_key(make: Any, key: str) -> None:
    assert key in repr(make(key))


# --- dates, comments


@pytest.mark.parametrize("name", ["apply_effective_date", "memo_date"])
@pytest.mark.parametrize(
    "given", ["2026-11-24", " 2026-11-24 ", date(2026, 11, 24), datetime(2026, 11, 24, 23, 59, tzinfo=UTC)]
)
def test_a_date_is_a_date_or_its_text(name: str, given: Any) -> None:
    assert getattr(ReverseInvoice("I1", **{name: given}), name) == date(2026, 11, 24)


@pytest.mark.parametrize("name", ["apply_effective_date", "memo_date"])
@pytest.mark.parametrize("given", ["24.11.2026", "2026-02-30", "2026-11-24T00:00", "", 20261124, 1.0, True])
def test_what_is_no_date_is_refused(name: str, given: Any) -> None:
    assert "2026-11-24" in refused(lambda: ReverseInvoice("I1", **{name: given}))


def test_a_credit_memo_is_applied_on_a_date() -> None:
    assert ApplyCreditMemo("C1", [PART], effective_date="2026-11-24").effective_date == date(2026, 11, 24)
    assert "2026-11-24" in refused(lambda: UnapplyCreditMemo("C1", [PART], effective_date="soon"))


def test_a_comment_of_255_characters_and_no_more() -> None:
    assert ReverseInvoice("I1", comment="c" * 255).comment
    assert "255 at most" in refused(lambda: ReverseInvoice("I1", comment="c" * 256))


# --- amounts


@pytest.mark.parametrize(("given", "amount"), [("12.50", "12.50"), (7, "7"), (Decimal("0.01"), "0.01")])
def test_an_amount_is_kept_to_its_last_digit(given: Any, amount: str) -> None:
    part = InvoiceAmount(invoice_id="a", amount=given)
    assert str(part.amount) == amount
    assert isinstance(part.amount, Decimal)


@pytest.mark.parametrize("given", [0.1, 1.0, float("nan"), float("inf")])
def test_an_amount_is_never_a_float(given: float) -> None:
    told = refused(lambda: InvoiceAmount(invoice_id="a", amount=given))
    assert "which no money is" in told


@pytest.mark.parametrize(
    "given", [0, "0.00", -1, "-0.01", "NaN", "Infinity", "sNaN", "ten", "", "1,5", None, True, [1]]
)
def test_an_amount_is_more_than_nothing(given: Any) -> None:
    assert "amount" in refused(lambda: InvoiceAmount(invoice_id="a", amount=given))


def test_an_amount_goes_to_an_invoice_by_id_or_number_or_both() -> None:
    assert InvoiceAmount(invoice_number="INV1", amount=1).invoice_id is None
    assert InvoiceAmount(invoice_id="a", invoice_number="INV1", amount=1).invoice_number == "INV1"
    assert "needs an invoice" in refused(lambda: InvoiceAmount(amount=1))
    assert "not blank" in refused(lambda: InvoiceAmount(amount=1, invoice_id=""))


@pytest.mark.parametrize("make", [ApplyCreditMemo, UnapplyCreditMemo])
def test_a_thousand_invoices_and_no_more(make: Any) -> None:
    parts = [InvoiceAmount(invoice_id=f"I{number}", amount=1) for number in range(1001)]
    assert len(make("C1", parts[:1000]).invoices) == 1000
    assert "takes 1000 at a time" in refused(lambda: make("C1", parts))
    assert "nothing to do" in refused(lambda: make("C1", []))
    assert "list of InvoiceAmount" in refused(lambda: make("C1", [{"invoiceId": "a", "amount": 1}]))


@pytest.mark.parametrize("make", [ApplyCreditMemo, UnapplyCreditMemo])
def test_an_invoice_is_there_once(make: Any) -> None:
    assert "the invoice I1 is there twice" in refused(
        lambda: make("C1", [PART, InvoiceAmount(invoice_id="I1", amount=1)])
    )
    number = InvoiceAmount(invoice_number="I1", amount=1)
    assert "is there twice" in refused(lambda: make("C1", [number, number]))


@pytest.mark.parametrize("given", [10**16, "10000000000000001", "1e16", "1E+400", "1e999999"])
def test_an_amount_that_no_invoice_has_is_refused(given: Any) -> None:
    assert "amount" in refused(lambda: InvoiceAmount(invoice_id="a", amount=given))


amounts = st.decimals(min_value="0.0000001", max_value=10**15, places=7, allow_nan=False, allow_infinity=False)


@given(amounts)
def test_every_amount_comes_back_from_the_wire_as_it_was(amount: Decimal) -> None:
    request = ApplyCreditMemo("C1", [InvoiceAmount(invoice_id="a", amount=amount)])
    body = jsontext.write(wire.request_fields(request))
    (part,) = json.loads(body, parse_float=Decimal, parse_int=Decimal)["invoices"]
    assert part["amount"] == amount
    assert b"E" not in body.upper().split(b'"AMOUNT":')[1].split(b"}")[0].split(b",")[0]
    document = {"creditMemoKey": "C1", **jsontext.parse(body, exact=True)}
    assert wire.request_from(ApplyCreditMemo, document) == request


# --- in parts


@given(st.lists(st.integers(), min_size=1, max_size=200), st.integers(min_value=1, max_value=60))
def test_parts_are_everything_in_order_and_none_is_too_large_or_smaller_than_need_be(
    items: list[int], most: int
) -> None:
    parts = in_parts(items, most)
    assert [item for part in parts for item in part] == items
    assert all(len(part) == most for part in parts[:-1])
    assert 1 <= len(parts[-1]) <= most


@pytest.mark.parametrize("nothing", [[], (), iter([]), {}])
def test_nothing_has_no_parts(nothing: Any) -> None:
    assert "nothing was given" in refused(lambda: in_parts(nothing, 5))


@pytest.mark.parametrize("items", ["abc", {"a", "b"}, frozenset("a")])
def test_text_and_sets_are_no_lists(items: Any) -> None:
    assert "give a list" in refused(lambda: in_parts(items, 5))


@pytest.mark.parametrize("most", [0, -1, 1.5, True, "5", None])
def test_a_part_has_a_whole_number_of_items(most: Any) -> None:
    refused(lambda: in_parts([1], most))


# --- the vendor's names

_SDK = {
    RunQueries: "create_batch_query_job_request",
    Query: "create_batch_query_request",
    DeletedRecords: "deleted_record",
    ZipPdfs: "bulk_pdf_generation_job_request",
    DocumentIds: "document_id_list",
    ReverseInvoice: "reverse_invoice_request",
    ApplyCreditMemo: "async_apply_credit_memo_request",
    UnapplyCreditMemo: "async_unapply_credit_memo_request",
    InvoiceAmount: "async_apply_credit_memo_to_invoice",
}
_DOCUMENTED_ELSEWHERE = {
    RunQueries: {"encrypted", "incrementalTime", "sourceData", "useLastCompletedJobQueries"},
    ReverseInvoice: {"invoiceKey"},
    ApplyCreditMemo: {"creditMemoKey"},
    UnapplyCreditMemo: {"creditMemoKey"},
}
"""zuora-api.md section 2; the keys are part of the path."""


def vendors_names(module: str) -> set[str]:
    """The fields of a model of the vendor's client; read, since importing it takes 14 s."""
    spec = find_spec("zuora_sdk")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the vendor's client is not installed")
    text = (Path(spec.submodule_search_locations[0]) / "models" / f"{module}.py").read_text()
    line = next(line for line in text.splitlines() if line.strip().startswith("__properties:"))
    names: list[str] = ast.literal_eval(line.partition("=")[2].strip())
    return set(names)


@pytest.mark.parametrize("model", _SDK, ids=lambda model: model.__name__)
def test_every_field_has_the_vendors_name_and_none_is_missing(model: Any) -> None:
    ours = set(wire._wire_names(model).values())
    assert ours == vendors_names(_SDK[model]) | _DOCUMENTED_ELSEWHERE.get(model, set())


def test_a_request_goes_out_whole_under_those_names() -> None:
    query = Query(
        "q",
        "select Id from Account",
        type="zoql",
        api_version="137.0",
        convert_to_currencies="EUR,GBP",
        deleted=DeletedRecords(column="Gone", format="Numeric"),
    )
    job = RunQueries(
        [query],
        name="nightly",
        format="zip",
        version="1.1",
        encrypted="none",
        use_query_labels=True,
        date_time_utc=False,
        null_replacement="NULL",
        offset=0,
        incremental_time="2026-11-24 00:00:00",
        notify_url="https://example.com/${JOBID}/${STATUS}",
        source_data="WAREHOUSE",
        use_last_completed_job_queries=False,
        **STATEFUL,
    )
    assert wire.request_fields(job) == {
        "queries": [
            {
                "name": "q",
                "query": "select Id from Account",
                "type": "zoql",
                "apiVersion": "137.0",
                "convertToCurrencies": "EUR,GBP",
                "deleted": {"column": "Gone", "format": "Numeric"},
            }
        ],
        "name": "nightly",
        "format": "zip",
        "version": "1.1",
        "encrypted": "none",
        "partner": "Salesforce",
        "project": "00170000011K3Ub",
        "useQueryLabels": True,
        "dateTimeUtc": False,
        "nullReplacement": "NULL",
        "offset": 0,
        "incrementalTime": "2026-11-24 00:00:00",
        "notifyUrl": "https://example.com/${JOBID}/${STATUS}",
        "sourceData": "WAREHOUSE",
        "useLastCompletedJobQueries": False,
    }
    assert {field.name for field in fields(RunQueries)} == {*STATEFUL, *vars_of(job)}


def vars_of(job: RunQueries) -> set[str]:
    """The fields of *job* that have been given a value, other than those that make it stateful."""
    return {field.name for field in fields(RunQueries) if getattr(job, field.name) is not None} - STATEFUL.keys()
