"""Each ready-made pipeline, cut off at many moments as by a power cut, and begun again with its journal."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest

from zuora_jobs import SubmitUncertain, emulator
from zuora_jobs.downloads import Downloaded
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

LATENCY = 0.5
MOMENTS = [0.05, 0.3, 0.45, 0.55, 0.75, 1.2, 2.0, 3.4, 3.6, 4.1, 5.0, 6.5]
"""Seconds: before the first intent is on the disk, while requests and answers are on their way, while jobs run, at their ends,
while files and invoices are fetched."""


@pytest.fixture
async def zuora() -> AsyncIterator[emulator.Emulator]:
    """A tenant whose answers take half a second, and whose jobs three."""
    async with emulator.running(rate_limits=(), concurrency_limit=None, latency=LATENCY) as running:
        for name, end in (
            ("aqua", "completed"),
            ("bulk-pdf", "Completed"),
            ("invoice-delete", "Completed"),
            ("invoice-reverse", "Completed"),
            ("credit-memo-apply", "Processed"),
        ):
            running.on_submit(name, ends=end, seconds=3)
        yield running


class Case:
    """A pipeline that can be begun again with just the same requests."""

    def __init__(self, zuora: emulator.Emulator, name: str, into: Path) -> None:
        self.zuora = zuora
        self.name = name
        self.into = into
        owed: dict[str, Any] = {
            "Amount": Decimal(100),
            "Balance": Decimal(100),
            "PaymentAmount": 0,
            "CreditMemoAmount": Decimal(0),
        }
        self.invoices = [zuora.add_invoice(**owed) for _ in range(4)]
        self.memo = zuora.add_credit_memo(amount=Decimal(50))

    def pipeline(self, watcher: Any, **options: Any) -> Any:
        queries = {f"q{number}": "select Id from Invoice" for number in range(4)}
        make: dict[str, Any] = {
            "export": lambda: export(watcher, queries, into=self.into, a_job=2),
            "bulk_pdfs": lambda: bulk_pdfs(watcher, self.invoices, into=self.into, a_job=2),
            "delete_invoices": lambda: delete_invoices(watcher, self.invoices, concurrency=3, **options),
            "reverse_invoices": lambda: reverse_invoices(watcher, self.invoices, concurrency=3, **options),
            "apply_credit": lambda: apply_credit(watcher, self.memo, dict.fromkeys(self.invoices, "2.50"), **options),
        }
        return make[self.name]()

    @property
    def good(self) -> tuple[Any, int]:
        """What comes out when all goes well, and how many of it."""
        return {
            "export": (Downloaded, 4),
            "bulk_pdfs": (Zipped, 2),
            "delete_invoices": (Deleted, 4),
            "reverse_invoices": (Reversed, 4),
            "apply_credit": (Applied, 1),
        }[self.name]

    def carried_out(self) -> Counter[str]:
        """What the tenant has done, how often."""
        return Counter(repr((one.name, one.key, one.body)) for one in self.zuora.submitted)


NAMES = ["export", "bulk_pdfs", "delete_invoices", "reverse_invoices", "apply_credit"]
WITH_KEYS = ["export", "bulk_pdfs"]


async def cut_off(watching: Any, case: Case, moment: float, folder: Path) -> None:
    """Run it for so long, and keep of its journal what a power cut at that moment would leave."""

    async def run() -> None:
        async with watching(case.zuora, "run.db") as watcher, case.pipeline(watcher) as results:
            async for _ in results:
                pass

    running = asyncio.create_task(run())
    await asyncio.sleep(moment)
    for end in ("", "-wal"):
        if (folder / f"run.db{end}").exists():
            copyfile(folder / f"run.db{end}", folder / f"left.db{end}")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def go_on(watching: Any, case: Case, **options: Any) -> list[Any]:
    async with watching(case.zuora, "left.db") as watcher, case.pipeline(watcher, **options) as results:
        return [result async for result in results]


@pytest.mark.unmeasured
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", NAMES)
async def test_cut_off_at_any_moment_it_goes_on_and_nothing_is_done_twice(
    name: str, moment: float, zuora: Any, watching: Any, into: Path, tmp_path: Path
) -> None:
    case = Case(zuora, name, into)
    await cut_off(watching, case, moment, tmp_path)
    results = await go_on(watching, case)
    kind, count = case.good
    assert max(case.carried_out().values(), default=0) <= 1, "done twice"
    assert len(results) == count
    assert {type(result) for result in results} <= {kind, StageFailed}
    uncertain = [result for result in results if isinstance(result, StageFailed)]
    assert {type(result.error) for result in uncertain} <= {SubmitUncertain}
    if name in WITH_KEYS:
        assert uncertain == []
        assert len(zuora.submitted) == 2
    elif not uncertain:
        assert len(zuora.submitted) == count
    else:  # told by what they are about; and what is told of was not begun anew
        assert {result.item for result in uncertain} <= set(results_items(case))
        assert len(zuora.submitted) <= count


def results_items(case: Case) -> list[Any]:
    """What the last stage of a pipeline without idempotency keys is given."""
    from zuora_jobs import ApplyCreditMemo, DeleteInvoice, InvoiceAmount, ReverseInvoice

    if case.name == "apply_credit":
        return [ApplyCreditMemo(case.memo, [InvoiceAmount(invoice_id=one, amount="2.50") for one in case.invoices])]
    return [
        {"delete_invoices": DeleteInvoice, "reverse_invoices": ReverseInvoice}[case.name](one) for one in case.invoices
    ]


@pytest.mark.parametrize("name", NAMES)
async def test_of_all_moments_some_leave_doubt_and_some_do_not(
    name: str, zuora: Any, watching: Any, into: Path, tmp_path: Path
) -> None:
    """Guards the test above: cut off in the middle of a request, a PUT or DELETE is told as uncertain."""
    case = Case(zuora, name, into)
    await cut_off(watching, case, 1.2 if name == "apply_credit" else 0.3, tmp_path)
    results = await go_on(watching, case)
    doubtful = [result for result in results if isinstance(result, StageFailed)]
    assert bool(doubtful) == (name not in WITH_KEYS)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITH_KEYS])
async def test_who_has_found_out_that_it_was_not_done_has_it_done_again_and_only_that(
    name: str, zuora: Any, watching: Any, into: Path, tmp_path: Path
) -> None:
    case = Case(zuora, name, into)
    await cut_off(watching, case, 1.2 if name == "apply_credit" else 0.3, tmp_path)
    assert zuora.submitted == []
    kind, count = case.good
    results = await go_on(watching, case, again=True)
    assert [type(result) for result in results] == [kind] * count
    assert set(case.carried_out().values()) == {1}
    assert len(zuora.submitted) == count


@pytest.mark.parametrize("name", NAMES)
async def test_what_was_over_is_told_again_without_submitting_or_watching_anything(
    name: str, zuora: Any, watching: Any, into: Path
) -> None:
    case = Case(zuora, name, into)
    kind, count = case.good
    for number in range(2):
        before = len(zuora.requests)
        async with watching(zuora, "run.db") as watcher, case.pipeline(watcher) as results:
            got = [result async for result in results]
        assert [type(result) for result in got] == [kind] * count
        if number:
            asked = [record for record in zuora.requests[before:] if "invoice" not in record.path.lower()]
            assert {record.method for record in zuora.requests[before:]} <= {"GET"}
            assert not [record for record in asked if "/jobs/" in record.path or "bulk-pdf/" in record.path]
            assert all(not file.fetched for file in got if isinstance(file, Downloaded))
    assert max(case.carried_out().values()) == 1


async def test_what_a_memo_had_before_is_told_by_a_run_that_came_after(zuora: Any, watching: Any, into: Path) -> None:
    case = Case(zuora, "apply_credit", into)
    for _ in range(2):
        async with watching(zuora, "run.db") as watcher, case.pipeline(watcher) as results:
            (applied,) = [result async for result in results]
        assert (applied.before.unapplied_amount, applied.after.unapplied_amount) == (50, 40)
        assert {(one.before, one.after) for one in applied.balances.values()} == {(100, Decimal("97.5"))}


@pytest.mark.parametrize("name", ["delete_invoices", "reverse_invoices"])
async def test_results_name_what_was_asked_for(name: str, zuora: Any, watching: Any, into: Path) -> None:
    case = Case(zuora, name, into)
    case.invoices = [zuora.invoice(one)["InvoiceNumber"] for one in case.invoices]
    async with watching(zuora, "run.db") as watcher, case.pipeline(watcher) as results:
        assert {result.asked_for async for result in results} == set(case.invoices)
