"""What can be submitted: one frozen class for each way to begin a job, checked when it is made and so before it is sent.

Rules of this file:
1. None means that Zuora's own default is meant, and is not sent. Names on the wire are `wire.py`'s business; a field whose
   metadata says "path" is part of the path and not of the body.
2. Dates may be given as `date` or as `2026-11-24`; amounts as Decimal, whole number or text, never as a float: 0.1 is none.
3. A ConfigurationError names the field and what to do. What only Zuora can know (an object's name, a right), Zuora says.

Fields and limits: `zuora-sdk` models create_batch_query_job_request, bulk_pdf_generation_job_request,
reverse_invoice_request, async_apply_credit_memo_request; AQuA's error codes https://docs.zuora.com (Aggregate Query API).
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, NoReturn

from attrs import Attribute, field, frozen
from attrs.validators import optional

from zuora_jobs.checks import whole
from zuora_jobs.errors import ConfigurationError
from zuora_jobs.protocol.kinds import IDENTIFIER
from zuora_jobs.protocol.models import DeletedRecords, DocumentIds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MOST_QUERIES: Final = 50
"""Of one AQuA job; https://docs.zuora.com (Aggregate Query API, limits)."""

MOST_INVOICES: Final = 1000
"""Of one credit memo, applied or unapplied at a time."""

LARGEST_AMOUNT: Final = 15
"""As a power of ten."""

LONGEST_NAME: Final = 32
LONGEST_COMMENT: Final = 255
LONGEST_NOTIFY_URL: Final = 4999

_RETRIEVAL_TIME: Final = "%Y-%m-%d %H:%M:%S"


def _refuse(message: str) -> NoReturn:
    raise ConfigurationError(message)


def _texts(value: object) -> Any:
    """Make a tuple of a list; whatever else is left as it is, and refused by who checks.

    So is a set: a journal knows a request by its contents, and a set has another order in the next run.
    """
    return tuple(value) if isinstance(value, list) else value


def _day(value: object) -> Any:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value.strip())
        except ValueError:
            _refuse(f"{value[:40]!r} is no date: write it like 2026-11-24")
    return value.date() if isinstance(value, datetime) else value


def _amount(value: object) -> Any:
    if isinstance(value, str | int) and not isinstance(value, bool):
        try:
            return Decimal(value)
        except InvalidOperation:
            _refuse(f"{str(value)[:40]!r} is no amount: write it like 12.50")
    return value


def _text(most: int | None = None) -> Callable[[Any, Attribute[Any], Any], None]:
    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        if not isinstance(value, str) or not value.strip():
            _refuse(f"{attribute.name} must be text that is not blank, not {value!r:.60}")
        if most is not None and len(value) > most:
            _refuse(f"{attribute.name} has {len(value)} characters, and Zuora takes {most} at most: {value!r:.60}")

    return check


_SPELLINGS: Final = {
    word.casefold(): word for word in ("zoqlexport", "zoql", "none", "pgp", "LIVE", "WAREHOUSE", "CSV", "JSON")
}


def _spelled(value: Any) -> Any:
    """Spell a word as Zuora does; of most it is not known whether it takes them in another case."""
    return _SPELLINGS.get(value.casefold(), value) if isinstance(value, str) else value


def _one_of(*words: str) -> Callable[[Any, Attribute[Any], Any], None]:
    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        if not isinstance(value, str) or value.casefold() not in {word.casefold() for word in words}:
            _refuse(f"{attribute.name} must be one of {', '.join(words)}, not {value!r:.60}")

    return check


def _truth(_: Any, attribute: Attribute[Any], value: Any) -> None:
    if not isinstance(value, bool):
        _refuse(f"{attribute.name} must be true or false, not {value!r:.60}")


def _is_day(_: Any, attribute: Attribute[Any], value: Any) -> None:
    if not isinstance(value, date):
        _refuse(f"{attribute.name} must be a date such as 2026-11-24, not {value!r:.60}")


def _list_of(item: type, most: int, *, least: int = 1) -> Callable[[Any, Attribute[Any], Any], None]:
    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        if not isinstance(value, tuple) or not all(isinstance(one, item) for one in value):
            _refuse(f"{attribute.name} must be a list of {item.__name__}, not {value!r:.60}")
        if len(value) < least:
            _refuse(f"{attribute.name} is empty: there is nothing to do")
        if len(value) > most:
            _refuse(f"{attribute.name} has {len(value)} entries, and Zuora takes {most} at a time: split them")

    return check


def _is_key(_: Any, attribute: Attribute[Any], value: Any) -> None:
    """Check the id or number of a business object, which becomes part of the path."""
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        _refuse(
            f"{str(value)[:80]!r} cannot be the id or number of the {attribute.name.replace('_', ' ')}:"
            " it has 1 to 128 letters, digits, - or _"
        )


# --- AQuA


@frozen
class Query:
    """One query of an AQuA job; its result becomes a file."""

    name: str = field(validator=_text())
    """Unique within the job; the file is named after it."""
    query: str = field(validator=_text())
    """ZOQL, or Export ZOQL: `select Id, Balance from Invoice where Balance > 0`."""
    type: str = field(
        default="zoqlexport",
        converter=_spelled,
        validator=_one_of("zoqlexport", "zoql"),
        kw_only=True,
    )
    api_version: str | None = field(default=None, validator=optional(_text()), kw_only=True)
    """WSDL version, such as `137.0`, which fixes what there is to be asked for."""
    convert_to_currencies: str | None = field(default=None, validator=optional(_text()), kw_only=True)
    """ISO codes with commas between them."""
    deleted: DeletedRecords | None = field(default=None, kw_only=True)
    """How deleted records are told; in stateful mode only."""

    @deleted.validator
    def _check_deleted(self, _: object, value: object) -> None:
        if value is None:
            return
        if not isinstance(value, DeletedRecords) or not value.column:
            _refuse(f"deleted must be DeletedRecords with a column, not {value!r:.60}")
        elif value.format not in {"Boolean", "Numeric"}:
            _refuse(f"the format of deleted records is Boolean or Numeric, not {value.format!r:.60}")


@frozen
class RunQueries:
    """An AQuA job: up to 50 queries, run one after another in one read-only transaction, each into a file.

    With *partner* and *project* it is stateful: Zuora remembers when they ran last, gives what has changed since, and runs
    such jobs one after another. Zuora recommends stateless jobs.

    Wire: POST /v1/batch-query/
    https://developer.zuora.com/v1-api-reference/api/operation/POST_BatchQueryJob

    Raises:
        ConfigurationError: Zuora would refuse it.
    """

    queries: tuple[Query, ...] = field(converter=_texts, validator=_list_of(Query, MOST_QUERIES, least=0))
    name: str | None = field(default=None, validator=optional(_text(LONGEST_NAME)), kw_only=True)
    format: str = field(default="csv", validator=_one_of("csv", "zip", "gzip"), kw_only=True)
    version: str = field(default="1.1", validator=_one_of("1.0", "1.1", "1.2"), kw_only=True)
    encrypted: str | None = field(
        default=None,
        converter=_spelled,
        validator=optional(_one_of("none", "pgp")),
        kw_only=True,
    )
    partner: str | None = field(default=None, validator=optional(_text()), kw_only=True)
    project: str | None = field(default=None, validator=optional(_text()), kw_only=True)
    use_query_labels: bool | None = field(default=None, validator=optional(_truth), kw_only=True)
    """True: API names in the header of a CSV file, instead of what users see."""
    date_time_utc: bool | None = field(default=None, validator=optional(_truth), kw_only=True)
    """True: moments with their offset from UTC."""
    null_replacement: str | None = field(default=None, validator=optional(_text()), kw_only=True)
    offset: int | None = field(default=None, kw_only=True)
    """Seconds before the job's beginning that are left for the next; in stateful mode only."""
    incremental_time: str | None = field(default=None, kw_only=True)
    """`2026-11-24 00:00:00` in the data centre's own zone: what has changed since then; in stateful mode only."""
    notify_url: str | None = field(default=None, repr=False, kw_only=True)
    """Is called when the job has completed; with `${JOBID}` and `${STATUS}` in it."""
    source_data: str | None = field(
        default=None,
        converter=_spelled,
        validator=optional(_one_of("LIVE", "WAREHOUSE")),
        kw_only=True,
    )
    use_last_completed_job_queries: bool | None = field(default=None, validator=optional(_truth), kw_only=True)
    """True: the queries of the last job of this partner and project are run as well."""

    @property
    def is_stateful(self) -> bool:
        """Whether Zuora remembers when it ran last."""
        return self.partner is not None and self.project is not None

    def __attrs_post_init__(self) -> None:
        if (self.partner is None) != (self.project is None):
            _refuse("partner and project go together: give both for a stateful job, or neither")
        if self.is_stateful and self.version == "1.0":
            _refuse("version 1.0 knows no stateful jobs: use 1.1, or leave out partner and project")
        if not self.queries and not self.use_last_completed_job_queries:
            _refuse("queries is empty: there is nothing to do")
        names = [query.name for query in self.queries]
        if twice := next((name for name in names if names.count(name) > 1), None):
            _refuse(f"two queries are named {twice!r:.60}: a name tells them apart, so it must be unique")
        stateful_only: dict[str, object] = {"offset": self.offset, "incremental_time": self.incremental_time}
        stateful_only["deleted"] = next((query.deleted for query in self.queries if query.deleted), None)
        stateful_only["use_last_completed_job_queries"] = self.use_last_completed_job_queries or None
        for name, value in stateful_only.items():
            if value is not None and not self.is_stateful:
                _refuse(f"{name} is for stateful jobs only: give partner and project as well")

    @offset.validator
    def _check_offset(self, _: object, value: object) -> None:
        most = 3600
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most):
            _refuse(f"offset must be 0 to {most} whole seconds, not {value!r:.60}")

    @notify_url.validator
    def _check_notify_url(self, _: object, value: object) -> None:
        """Quote nothing of it: its query may be a secret."""
        if value is not None and (not isinstance(value, str) or not 1 <= len(value) <= LONGEST_NOTIFY_URL):
            _refuse(f"notify_url must be an URL of at most {LONGEST_NOTIFY_URL} characters")

    @incremental_time.validator
    def _check_incremental_time(self, _: object, value: object) -> None:
        if value is None:
            return
        try:
            datetime.strptime(value, _RETRIEVAL_TIME)  # type: ignore[arg-type]  # noqa: DTZ007 - Zuora names no zone
        except (TypeError, ValueError):
            _refuse(f"incremental_time must be written like '2026-11-24 00:00:00', not {value!r:.60}")


# --- bulk PDF


def _is_no_path(_: Any, attribute: Attribute[Any], value: str) -> None:
    if "/" in value or "\\" in value:
        _refuse(f"{attribute.name} is the beginning of a name, and no path: {value!r:.60}")


def _check_documents(_: Any, __: Attribute[Any], value: tuple[DocumentIds, ...]) -> None:
    for documents in value:
        ids = documents.object_ids
        if (
            not documents.doc_type
            or not isinstance(ids, tuple)
            or not ids
            or not all(isinstance(one, str) and one.strip() for one in ids)
        ):
            _refuse(f"documents must each have a doc_type, such as Invoice, and ids: {documents!r:.80}")


@frozen(kw_only=True)
class ZipPdfs:
    """A bulk-PDF job: the PDF files of billing documents, packed into ZIP files.

    Wire: POST /v1/operations/bulk-pdf
    https://developer.zuora.com/v1-api-reference/api/operation/Post_BulkPDFToZIPGeneration

    Raises:
        ConfigurationError: Zuora would refuse it.
    """

    documents: tuple[DocumentIds, ...] = field(
        converter=_texts, validator=[_list_of(DocumentIds, 10**9), _check_documents]
    )
    file_name: str = field(validator=[_text(LONGEST_NAME), _is_no_path])
    """What the names of the ZIP files begin with; `_1`, `_2` … follow."""
    index_file_format: str = field(default="CSV", converter=_spelled, validator=_one_of("CSV", "JSON"))
    name: str | None = field(default=None, validator=optional(_text(LONGEST_NAME)))
    generate_missing_pdf: bool | None = field(
        default=None, validator=optional(_truth), metadata={"wire": "generateMissingPDF"}
    )
    """True: make those that are missing, which takes long; otherwise their ids come back as invalid."""
    persist_index_file: bool | None = field(default=None, validator=optional(_truth))
    ignore_archived_files: bool | None = field(default=None, validator=optional(_truth))
    """True: leave archived files out, and tell which; otherwise one of them fails the job."""


# --- invoices


@frozen
class DeleteInvoice:
    """The deletion of an invoice, by its id or number.

    Wire: DELETE /v1/invoices/{invoiceKey}
    https://developer.zuora.com/v1-api-reference/api/operation/DELETE_Invoice
    """

    invoice: str = field(validator=_is_key, metadata={"path": True, "wire": "invoiceKey"})


@frozen
class ReverseInvoice:
    """The reversal of a posted invoice, by its id or number: a credit memo over all of it, applied to it.

    Wire: PUT /v1/invoices/{invoiceKey}/reverse
    https://developer.zuora.com/v1-api-reference/api/operation/PUT_ReverseInvoice
    """

    invoice: str = field(validator=_is_key, metadata={"path": True, "wire": "invoiceKey"})
    apply_effective_date: date | None = field(default=None, converter=_day, validator=optional(_is_day), kw_only=True)
    """By default, as for `memo_date`, the day of the reversal."""
    memo_date: date | None = field(default=None, converter=_day, validator=optional(_is_day), kw_only=True)
    comment: str | None = field(default=None, validator=optional(_text(LONGEST_COMMENT)), kw_only=True)
    reason_code: str | None = field(default=None, validator=optional(_text()), kw_only=True)


# --- credit memos


@frozen(kw_only=True)
class InvoiceAmount:
    """How much of a credit memo goes to an invoice, or comes back from it; named by its id, its number or both."""

    amount: Decimal = field(converter=_amount)
    """In the account's currency."""
    invoice_id: str | None = field(default=None, validator=optional(_text()))
    invoice_number: str | None = field(default=None, validator=optional(_text()))

    @amount.validator
    def _check_amount(self, _: object, value: object) -> None:
        if isinstance(value, float):
            _refuse(f"amount is a float, {value!r}, which no money is: give Decimal('{value:.2f}'), or text")
        if isinstance(value, Decimal) and value.is_finite() and value.adjusted() > LARGEST_AMOUNT:
            _refuse(f"amount is beyond all invoices: {value!s:.60}")
        if not isinstance(value, Decimal) or not value.is_finite() or value <= 0:
            _refuse(f"amount must be more than nothing, not {value!r:.60}")

    def __attrs_post_init__(self) -> None:
        if self.invoice_id is None and self.invoice_number is None:
            _refuse("an amount needs an invoice: give invoice_id or invoice_number")


@frozen
class _OfCreditMemo:
    """What is done with a credit memo and up to 1,000 invoices."""

    credit_memo: str = field(validator=_is_key, metadata={"path": True, "wire": "creditMemoKey"})
    """Its id or number."""
    invoices: tuple[InvoiceAmount, ...] = field(converter=_texts, validator=_list_of(InvoiceAmount, MOST_INVOICES))
    effective_date: date | None = field(default=None, converter=_day, validator=optional(_is_day), kw_only=True)
    """By default today."""

    def __attrs_post_init__(self) -> None:
        names = [part.invoice_id or part.invoice_number for part in self.invoices]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            _refuse(f"the invoice {twice} is there twice: give one amount for each")


@frozen
class ApplyCreditMemo(_OfCreditMemo):
    """A credit memo to be applied to invoices.

    Wire: PUT /v1/credit-memos/{creditMemoKey}/apply-async
    https://developer.zuora.com/v1-api-reference/api/operation/PUT_ApplyCreditMemoAsync
    """


@frozen
class UnapplyCreditMemo(_OfCreditMemo):
    """A credit memo to be taken back from invoices.

    Wire: PUT /v1/credit-memos/{creditMemoKey}/unapply-async
    https://developer.zuora.com/v1-api-reference/api/operation/PUT_UnapplyCreditMemoAsync
    """


def in_parts(items: Iterable[Any], most: int) -> list[tuple[Any, ...]]:
    """Split *items* into parts of at most *most*, in their order: what one job cannot hold, several can.

    Raises:
        ConfigurationError: there are none.
    """
    if isinstance(items, str | set | frozenset):
        _refuse(f"give a list, whose order is the same in the next run, and not {items!r:.60}")
    everything = tuple(items)
    if not everything:
        _refuse("nothing was given, so there is nothing to submit")
    whole("the number in one job", most, least=1)
    return [everything[start : start + most] for start in range(0, len(everything), most)]
