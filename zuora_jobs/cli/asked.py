"""Reads what is asked for on the command line: queries and amounts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from zuora_jobs.cli.handles import text_of
from zuora_jobs.errors import ConfigurationError, MalformedResponse
from zuora_jobs.protocol import jsontext, wire
from zuora_jobs.protocol.requests import InvoiceAmount, Query

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMED: Final = re.compile(r"\s*([^=]{1,80}?)\s*=\s*(select\b.*)", re.IGNORECASE | re.DOTALL)
_SELECT: Final = re.compile(r"\s*select\b", re.IGNORECASE)
_OBJECT: Final = re.compile(r"\bfrom\s+(\w+)", re.IGNORECASE)

_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


def queries(texts: Sequence[str], source: str | None) -> list[Query]:
    """Read the queries of the command line, then those of a file.

    Raises:
        ConfigurationError: one is none, or there are none.
    """
    found: list[Query] = []
    for text in texts:
        named = _NAMED.fullmatch(text)
        if named is None and not _SELECT.match(text):
            message = f"{text[:80]!r} is no query: write 'select …', or NAME='select …'"
            raise ConfigurationError(message)
        found.append(Query(named[1], named[2]) if named else Query(_free_name(text, found), text))
    if source is not None:
        found += _from_file(source)
    if not found:
        message = "no queries: give some with --query 'select Id from Invoice', or a file of them with --queries"
        raise ConfigurationError(message)
    return found


def _free_name(text: str, before: Sequence[Query]) -> str:
    """Name a query after the object it asks for; the second of that name gets a number."""
    about = _OBJECT.search(text)
    stem, taken = about[1] if about else "Query", {query.name for query in before}
    names = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(before) + 2))
    return next(name for name in names if name not in taken)


def _from_file(source: str) -> list[Query]:
    where = "standard input" if source == "-" else source
    try:
        document: Any = jsontext.parse(text_of(source).encode())
    except MalformedResponse as error:
        message = f"{where} {str(error).removeprefix('the answer ')}"
        raise ConfigurationError(message) from None
    if isinstance(document, dict):
        document = [{"name": name, "query": query} for name, query in document.items()]
    if not isinstance(document, list):
        message = f'{where} has no queries: write {{"NAME": "select …"}}'
        raise ConfigurationError(message)
    try:
        return [wire.request_from(Query, one) for one in document]
    except ConfigurationError as error:
        message = f"{where}: {error}"
        raise ConfigurationError(message) from None


def invoice_amount(text: str) -> InvoiceAmount:
    """Read `INVOICE=AMOUNT`, where the invoice is named by id or number.

    Raises:
        ConfigurationError: it is none.
    """
    name, equals, amount = (part.strip() for part in text.partition("="))
    if not equals or not name:
        message = f"{text[:80]!r} is no amount for an invoice: write INVOICE=AMOUNT, such as INV00000123=12.50"
        raise ConfigurationError(message)
    if _ID.fullmatch(name):
        return InvoiceAmount(invoice_id=name, amount=amount)
    return InvoiceAmount(invoice_number=name, amount=amount)
