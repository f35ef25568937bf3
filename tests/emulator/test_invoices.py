"""GET /v1/object/invoice/{id}."""

from decimal import Decimal
from typing import Any

import pytest

from zuora_jobs.emulator.invoices import SINCE


async def fetch(caller: Any, path: Any, wsdl: Any = None) -> Any:
    headers = {} if wsdl is None else {"X-Zuora-WSDL-Version": str(wsdl)}
    response = await caller.get(f"/v1/object/invoice/{path}", headers=headers)
    return response.status, await response.json()


async def test_fields_depend_on_the_wsdl_version(calling: Any) -> None:
    async with calling() as caller:
        invoice = caller.zuora.add_invoice()
        for wsdl, missing in ((None, set(SINCE)), (79, set(SINCE)), (118, {"SequenceSetId"}), (127, set())):
            status, document = await fetch(caller, invoice, wsdl)
            assert status == 200
            assert set(SINCE) - set(document) == missing
        status, refusal = await fetch(caller, invoice, "new")
        assert (status, refusal["Success"]) == (400, False)


async def test_fields_can_be_chosen(calling: Any) -> None:
    async with calling() as caller:
        invoice = caller.zuora.add_invoice(Balance=5, Odd__c="yes")
        assert await fetch(caller, f"{invoice}?fields=Balance,%20Odd__c") == (
            200,
            {"Id": invoice, "Balance": 5, "Odd__c": "yes"},
        )
        for wanted, wsdl in (("SourceType", 117), ("SequenceSetId", 126), ("Nonsense", 127)):
            status, refusal = await fetch(caller, f"{invoice}?fields={wanted}", wsdl)
            assert (status, set(refusal), refusal["Success"]) == (400, {"Errors", "Success"}, False)
            assert refusal["Errors"][0]["Code"] == "INVALID_FIELD"
            assert wanted in refusal["Errors"][0]["Message"]
        assert (await fetch(caller, f"{invoice}?fields=SourceType", 118))[1]["SourceType"] == "Subscription"


async def test_money_is_exact(calling: Any) -> None:
    async with calling() as caller:
        invoice = caller.zuora.add_invoice(
            Amount=Decimal("0.1"),
            Balance=Decimal("0.10"),
            TaxAmount=Decimal("12345678901234567.89"),
            Text="0.1",
            Flag=True,
        )
        text = await (await caller.get(f"/v1/object/invoice/{invoice}")).text()
        for part in (
            '"Amount": 0.1,',
            '"Balance": 0.10,',
            '"TaxAmount": 12345678901234567.89,',
            '"Text": "0.1"',
            '"Flag": true',
        ):
            assert part in text


async def test_the_figures_agree(calling: Any) -> None:
    async with calling() as caller:
        for _ in range(20):
            _, invoice = await fetch(caller, caller.zuora.add_invoice())
            cents = {name: round(value * 100) for name, value in invoice.items() if isinstance(value, float)}
            assert cents["Amount"] == cents["AmountWithoutTax"] + cents["TaxAmount"]
            assert cents["Amount"] == cents["Balance"] + cents["PaymentAmount"]


async def test_missing_invoices(calling: Any) -> None:
    async with calling() as caller:
        invoice = caller.zuora.add_invoice(id="2c92c8955bd63cc1015bd7c151af02ab")
        assert (await fetch(caller, invoice))[0] == 200
        caller.zuora.remove_invoice(invoice)
        assert await fetch(caller, invoice) == (404, {"done": True, "records": [], "size": 0})


@pytest.mark.parametrize("header", ["", "Bearer expired"])
async def test_without_a_token(header: Any, calling: Any) -> None:
    async with calling() as caller:
        caller.authorization = {"Authorization": header}
        assert await fetch(caller, caller.zuora.add_invoice()) == (401, {"message": "Authentication error"})
