"""The pipelines that are ready to be used, against a whole tenant: one result for each thing that was asked for."""

import asyncio
import csv
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from zuora_jobs import (
    ConfigurationError,
    DocumentIds,
    InvoiceAmount,
    JobFailed,
    NotFound,
    NotProved,
    Query,
    Rejected,
    Succeeded,
    emulator,
)
from zuora_jobs.downloads import Downloaded
from zuora_jobs.emulator import Fault
from zuora_jobs.errors import FileGone, WrongContent
from zuora_jobs.pipelines import (
    Applied,
    Deleted,
    Reversed,
    StageFailed,
    Zipped,
    apply_credit,
    bulk_pdfs,
    delete_invoices,
    export,
    reverse_invoices,
)

pytestmark = pytest.mark.looptime

SELECT = "select Id, Balance from Invoice"


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def failures(results: list[Any]) -> list[StageFailed]:
    return [result for result in results if isinstance(result, StageFailed)]


# --- export


async def test_queries_become_files_with_as_many_records_as_zuora_counted(
    zuora: Any, watching: Any, all_of: Any, into: Path
) -> None:
    async with watching(zuora) as watcher:
        files = await all_of(export(watcher, {"Invoices": SELECT, "Accounts": "select Id from Account"}, into=into))
    assert [type(file) for file in files] == [Downloaded] * 2
    assert sorted(file.file.name for file in files) == ["Accounts", "Invoices"]
    assert {file.path.name for file in files} == names_in(into)
    for file in files:
        with file.path.open(newline="") as opened:
            assert len(list(csv.reader(opened))) == file.records + 1
        assert file.records == file.file.records
    (one,) = zuora.submitted
    assert (one.body["useQueryLabels"], one.body["dateTimeUtc"], len(one.body["queries"])) == (True, True, 2)


async def test_more_queries_than_a_job_may_have_are_split(zuora: Any, watching: Any, all_of: Any, into: Path) -> None:
    queries = [Query(f"q{number:03}", SELECT) for number in range(120)]
    async with watching(zuora) as watcher:
        files = await all_of(export(watcher, queries, into=into, concurrency=8))
    assert sorted(file.file.name for file in files) == [query.name for query in queries]
    assert [[query["name"] for query in one.body["queries"]] for one in zuora.submitted] == [
        [query.name for query in queries[start : start + 50]] for start in (0, 50, 100)
    ]


@pytest.mark.parametrize(("a_job", "jobs"), [(1, 7), (3, 3), (7, 1), (1000, 1)])
async def test_so_many_queries_a_job(a_job: int, jobs: int, zuora: Any, watching: Any, all_of: Any, into: Path) -> None:
    async with watching(zuora) as watcher:
        files = await all_of(export(watcher, {f"q{number}": SELECT for number in range(7)}, into=into, a_job=a_job))
    assert (len(files), len(zuora.submitted)) == (7, jobs)


async def test_a_query_called_as_a_path_stays_in_the_folder(zuora: Any, watching: Any, all_of: Any, into: Path) -> None:
    async with watching(zuora) as watcher:
        (file,) = await all_of(export(watcher, {"../../evil": SELECT}, into=into))
    assert names_in(into) == {file.path.name}
    assert names_in(into.parent) == {"results"}
    assert names_in(into.parent.parent) & {"evil", "evil.csv"} == set()


async def test_options_are_the_requests_and_win_over_the_usual(
    zuora: Any, watching: Any, all_of: Any, into: Path
) -> None:
    async with watching(zuora) as watcher:
        (file,) = await all_of(export(watcher, {"q": SELECT}, into=into, format="gzip", use_query_labels=False))
    assert file.path.suffixes == [".csv", ".gz"]
    (one,) = zuora.submitted
    assert (one.body["format"], one.body["useQueryLabels"], one.body["dateTimeUtc"]) == ("gzip", False, True)


async def test_a_job_that_failed_is_told_and_the_others_files_come(
    zuora: Any, watching: Any, all_of: Any, into: Path
) -> None:
    zuora.on_submit("aqua", ends="aborted", seconds=1, times=1)
    async with watching(zuora) as watcher:
        results = await all_of(export(watcher, {"a": SELECT, "b": SELECT, "c": SELECT}, into=into, a_job=1))
    (failed,) = failures(results)
    assert (failed.stage, type(failed.error)) == ("run", JobFailed)
    assert [query.name for query in failed.item.queries] == ["a"]
    assert {file.file.name for file in results if isinstance(file, Downloaded)} == {"b", "c"}


async def test_a_query_with_a_syntax_error_is_told_and_the_others_files_come(
    zuora: Any, watching: Any, all_of: Any, into: Path
) -> None:
    async with watching(zuora) as watcher:
        results = await all_of(export(watcher, {"a": "elect", "b": SELECT}, into=into, a_job=1))
    (failed,) = failures(results)
    assert type(failed.error) is Rejected
    assert "syntax error" in str(failed.error)
    assert len(results) == 2


async def test_a_file_with_another_number_of_records_is_told_and_kept_apart(
    zuora: Any, watching: Any, all_of: Any, into: Path
) -> None:
    counted = 0

    def shorten(handle: str) -> None:
        nonlocal counted
        counted += 1
        zuora.set_file(handle, "Id\r\nonly-one\r\n")

    async with watching(zuora) as watcher:
        async with export(watcher, {"q": SELECT}, into=into) as results:
            await asyncio.sleep(1)
            shorten(zuora.submitted[0].handle)
            (failed,) = [result async for result in results]
    assert counted == 1
    assert type(failed.error) is WrongContent
    assert [name.endswith(".rejected") for name in names_in(into)] == [True]


async def test_a_purged_file_is_told(zuora: Any, watching: Any, all_of: Any, into: Path) -> None:
    async with watching(zuora) as watcher, export(watcher, {"a": SELECT, "b": SELECT}, into=into) as results:
        await asyncio.sleep(1)
        zuora.purge_files(zuora.job(zuora.submitted[0].handle).places[0])
        got = [result async for result in results]
    assert [type(failed.error) for failed in failures(got)] == [FileGone]
    assert len(got) == 2


@pytest.mark.parametrize("nothing", [{}, [], (), iter([])], ids=lambda nothing: type(nothing).__name__)
async def test_without_queries_there_is_nothing_to_export(nothing: Any, zuora: Any, watching: Any, into: Path) -> None:
    async with watching(zuora) as watcher:
        with pytest.raises(ConfigurationError, match="nothing was given"):
            export(watcher, nothing, into=into)
    assert zuora.requests == []


@pytest.mark.parametrize(
    "options", [{"format": "json"}, {"a_job": 0}, {"a_job": 1.5}, {"partner": "p"}, {"concurrency": 0}]
)
async def test_what_zuora_would_refuse_is_refused_before_anything_is_sent(
    options: Any, zuora: Any, watching: Any, all_of: Any, into: Path
) -> None:
    async with watching(zuora) as watcher:
        with pytest.raises(ConfigurationError):
            await all_of(export(watcher, {"q": SELECT}, into=into, **options))
    assert zuora.requests == []


@pytest.mark.unmeasured
async def test_more_jobs_than_a_tenant_may_have_are_run_fifty_at_a_time(
    zuora: Any, watching: Any, all_of: Any, into: Path
) -> None:
    async with watching(zuora) as watcher:
        files = await all_of(export(watcher, {f"q{n:03}": SELECT for n in range(60)}, into=into, a_job=1))
    assert [type(file) for file in files] == [Downloaded] * 60
    assert sum(record.method == "POST" for record in zuora.requests) == 60
    assert max(sum(one.at == at for one in zuora.submitted) for at in {one.at for one in zuora.submitted}) <= 50


# --- bulk PDFs


async def test_documents_become_zip_files(zuora: Any, watching: Any, all_of: Any, into: Path) -> None:
    ids = [zuora.add_invoice() for _ in range(5)]
    async with watching(zuora) as watcher:
        (zipped,) = await all_of(bulk_pdfs(watcher, ids, into=into))
    assert isinstance(zipped, Zipped)
    assert (zipped.invalid_ids, zipped.failed_documents, zipped.skipped_documents) == ((), (), ())
    assert {file.path.name for file in zipped.files} == names_in(into)
    assert isinstance(zipped.ran.outcome, Succeeded)
    (one,) = zuora.submitted
    assert one.body == {
        "documents": [{"docType": "Invoice", "objectIds": ids}],
        "fileName": "documents",
        "indexFileFormat": "CSV",
    }
    assert not any(record.bore_authorization for record in zuora.requests if record.door == "store")


async def test_more_documents_than_a_job_should_have_are_split_in_their_order(
    zuora: Any, watching: Any, all_of: Any, into: Path
) -> None:
    ids = [zuora.add_invoice() for _ in range(25)]
    async with watching(zuora) as watcher:
        results = await all_of(bulk_pdfs(watcher, ids, into=into, a_job=10, doc_type="CreditMemo", file_name="memos"))
    assert [type(result) for result in results] == [Zipped] * 3
    sent = [one.body["documents"][0] for one in zuora.submitted]
    assert [part["objectIds"] for part in sent] == [ids[:10], ids[10:20], ids[20:]]
    assert {part["docType"] for part in sent} == {"CreditMemo"}
    assert sum(len(result.files) for result in results) == len(names_in(into))


async def test_what_is_not_in_the_zip_files_is_told(zuora: Any, watching: Any, all_of: Any, into: Path) -> None:
    gone, failed, skipped, good = (zuora.add_invoice() for _ in range(4))
    zuora.remove_invoice(gone)
    parts = {"failedDocuments": failed, "skippedDocuments": skipped}
    fields = {name: [{"docType": "Invoice", "objectIds": [one]}] for name, one in parts.items()}
    zuora.on_submit("bulk-pdf", ends="PartialComplete", seconds=2, fields=fields)
    async with watching(zuora) as watcher:
        (zipped,) = await all_of(bulk_pdfs(watcher, [gone, failed, skipped, good], into=into))
    assert zipped.invalid_ids == (gone,)
    assert zipped.failed_documents == (DocumentIds(doc_type="Invoice", object_ids=(failed,)),)
    assert zipped.skipped_documents == (DocumentIds(doc_type="Invoice", object_ids=(skipped,)),)
    assert zipped.ran.outcome.partial


async def test_a_job_of_which_no_document_is_known_is_told_and_others_go_on(
    zuora: Any, watching: Any, all_of: Any, into: Path
) -> None:
    gone, good = zuora.add_invoice(), zuora.add_invoice()
    zuora.remove_invoice(gone)
    async with watching(zuora) as watcher:
        results = await all_of(bulk_pdfs(watcher, [gone, good], into=into, a_job=1))
    assert {type(result) for result in results} == {StageFailed, Zipped}
    assert type(failures(results)[0].error) is NotFound


async def test_an_archive_that_is_gone_is_told_beside_what_the_job_did(zuora: Any, watching: Any, into: Path) -> None:
    async with watching(zuora) as watcher, bulk_pdfs(watcher, [zuora.add_invoice()], into=into) as results:
        await asyncio.sleep(1)
        zuora.purge_files(zuora.submitted[0].handle)
        got = [result async for result in results]
    assert {type(failed.error) for failed in failures(got)} == {FileGone}
    (zipped,) = [result for result in got if isinstance(result, Zipped)]
    assert zipped.files == ()


@pytest.mark.parametrize(
    "ids",
    ["2c92c8955bd63cc1015bd7c151af02ab", {"a", "b"}, [], [""], [5]],
    ids=["text", "set", "none", "blank", "number"],
)
async def test_what_are_no_ids_is_refused_before_anything_is_sent(
    ids: Any, zuora: Any, watching: Any, into: Path
) -> None:
    async with watching(zuora) as watcher:
        with pytest.raises(ConfigurationError):
            bulk_pdfs(watcher, ids, into=into)
    assert zuora.requests == []


# --- deletions and reversals


async def test_invoices_are_deleted_and_each_is_proved_to_be_gone(zuora: Any, watching: Any, all_of: Any) -> None:
    ids = [zuora.add_invoice() for _ in range(5)]
    number = zuora.invoice(ids[0])["InvoiceNumber"]
    async with watching(zuora) as watcher:
        results = await all_of(delete_invoices(watcher, [number, *ids[1:]]))
    assert [type(result) for result in results] == [Deleted] * 5
    assert {result.invoice for result in results} == set(ids)
    assert [zuora.invoice(one) for one in ids] == [None] * 5


async def test_each_invoice_that_is_not_deleted_is_told_and_the_others_are(
    zuora: Any, watching: Any, all_of: Any
) -> None:
    failing, good = zuora.add_invoice(), zuora.add_invoice()
    zuora.on_submit("invoice-delete", ends="Failed", seconds=1, times=1)
    async with watching(zuora) as watcher:
        results = await all_of(delete_invoices(watcher, [failing, good, "INV00000000", "not/a key"], concurrency=1))
    assert [type(getattr(result, "error", result)) for result in results] == [
        JobFailed,
        Deleted,
        NotFound,
        ConfigurationError,
    ]
    assert [failed.stage for failed in failures(results)] == ["delete", "delete", "DeleteInvoice"]
    assert zuora.invoice(failing) is not None


@pytest.mark.parametrize("make", [delete_invoices, reverse_invoices], ids=lambda make: make.__name__)
async def test_of_no_invoices_nothing_comes(make: Any, zuora: Any, watching: Any, all_of: Any) -> None:
    async with watching(zuora) as watcher:
        assert await all_of(make(watcher, [])) == []
    assert zuora.requests == []


@pytest.mark.parametrize("make", [delete_invoices, reverse_invoices], ids=lambda make: make.__name__)
async def test_one_number_alone_is_no_list_of_them(make: Any, zuora: Any, watching: Any) -> None:
    async with watching(zuora) as watcher:
        with pytest.raises(ConfigurationError):
            make(watcher, "INV00000001")
    assert zuora.requests == []


async def test_an_endless_list_of_invoices_is_worked_on_as_it_comes(zuora: Any, watching: Any) -> None:
    async def invoices() -> Any:
        while True:
            yield zuora.add_invoice()

    async with watching(zuora) as watcher, delete_invoices(watcher, invoices(), concurrency=3) as results:
        first = [await anext(results) for _ in range(9)]
    assert [type(result) for result in first] == [Deleted] * 9
    assert len(zuora.submitted) <= 9 + 8


async def test_invoices_are_reversed_and_each_is_proved_to_be(
    zuora: Any, watching: Any, all_of: Any, owed: Any
) -> None:
    ids = [zuora.add_invoice(**owed) for _ in range(3)]
    async with watching(zuora) as watcher:
        results = await all_of(reverse_invoices(watcher, ids, memo_date="2026-11-24", comment="wrong"))
    assert [type(result) for result in results] == [Reversed] * 3
    assert {result.invoice.id for result in results} == set(ids)
    assert {result.invoice.balance for result in results} == {0}
    assert [one.body for one in zuora.submitted] == [{"memoDate": "2026-11-24", "comment": "wrong"}] * 3


async def test_an_invoice_that_is_paid_meanwhile_is_not_reversed(
    zuora: Any, watching: Any, all_of: Any, owed: Any
) -> None:
    invoice = zuora.add_invoice(**owed)
    paid = {"Balance": 0, "CreditMemoAmount": 0, "Reversed": False}
    zuora.fault(Fault(emulator.Patch(fields=paid), path="/object/invoice/"))
    async with watching(zuora) as watcher:
        (failed,) = await all_of(reverse_invoices(watcher, [invoice]))
    assert type(failed.error) is NotProved
    assert "no credit memo stands" in str(failed.error)


async def test_options_that_make_no_sense_are_told_of_each_invoice(zuora: Any, watching: Any, all_of: Any) -> None:
    async with watching(zuora) as watcher:
        results = await all_of(reverse_invoices(watcher, ["I1", "I2"], memo_date="soon"))
    assert [(failed.stage, type(failed.error)) for failed in results] == [("ReverseInvoice", ConfigurationError)] * 2
    assert zuora.requests == []


# --- credit memos


async def test_a_credit_memo_is_applied_and_the_balances_are_told(
    zuora: Any, watching: Any, all_of: Any, owed: Any
) -> None:
    first, second = (zuora.add_invoice(**owed) for _ in range(2))
    memo = zuora.add_credit_memo(amount=Decimal(50))
    async with watching(zuora) as watcher:
        (applied,) = await all_of(apply_credit(watcher, memo, {first: "12.50", second: 7}))
    assert type(applied) is Applied
    assert applied.before is not None
    assert applied.before.unapplied_amount == 50
    assert applied.after.unapplied_amount == Decimal("30.5")
    balances = {name: [one.before, one.after] for name, one in applied.balances.items()}
    assert balances == {first: [Decimal(100), Decimal("87.5")], second: [Decimal(100), Decimal(93)]}
    assert zuora.invoice(first)["Balance"] == Decimal("87.5")


@pytest.mark.unmeasured
async def test_more_invoices_than_a_memo_takes_at_a_time_are_split_one_after_another(
    zuora: Any, watching: Any, all_of: Any, owed: Any
) -> None:
    memo = zuora.add_credit_memo(amount=Decimal(10**6))
    parts = {zuora.add_invoice(**owed): 1 for _ in range(1001)}
    async with watching(zuora) as watcher:
        results = await all_of(apply_credit(watcher, memo, parts))
    assert [type(result) for result in results] == [Applied] * 2
    assert [len(one.body["invoices"]) for one in zuora.submitted] == [1000, 1]
    assert [one.at for one in zuora.submitted] == pytest.approx([0, 3])
    assert [result.after.applied_amount for result in results] == [1000, 1001]
    assert {zuora.invoice(one)["Balance"] for one in parts} == {99}


async def test_more_than_is_left_of_a_memo_is_told_and_nothing_is_applied(
    zuora: Any, watching: Any, all_of: Any, owed: Any
) -> None:
    invoice, memo = zuora.add_invoice(**owed), zuora.add_credit_memo(amount=Decimal(5))
    async with watching(zuora) as watcher:
        (failed,) = await all_of(apply_credit(watcher, memo, {invoice: 6}))
    assert type(failed.error) is JobFailed
    assert zuora.credit_memo(memo)["appliedAmount"] == 0


@pytest.mark.parametrize(
    "parts",
    [{}, [], {"a": 0}, {"a": 0.5}, {InvoiceAmount(invoice_id="a", amount=1)}, [("a", 1)]],
    ids=["empty", "none", "nothing", "float", "set", "pairs"],
)
async def test_amounts_that_make_no_sense_are_refused_before_anything_is_sent(
    parts: Any, zuora: Any, watching: Any
) -> None:
    async with watching(zuora) as watcher:
        with pytest.raises(ConfigurationError):
            apply_credit(watcher, "CM1", parts)
    assert zuora.requests == []
