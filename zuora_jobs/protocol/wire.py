"""Bytes to documents and back: the only importer of cattrs.

What becomes what:
- null and absent alike take the field's default; unknown fields stay in `raw`.
- `snake_case` is `camelCase` on the wire, `CapitalCase` for the invoice; a field's "wire" metadata is the exception.
- a job's document is refused only for its `status`, or for a `success` that is neither true nor false; whatever else
  cannot be read is left out, and stands in `raw`: no job is lost over a caption. An invoice is read whole or not at all.
- `str` is taken as it is; a `Text` also from a number; a `Count` also from digits in text; a lone value is a list of one.
- an `Amount` is a Decimal of the digits that were sent: the invoice is parsed without ever making a float.
- a document that cannot be read is a MalformedResponse that names every fault with its path, and quotes none of it:
  a body may hold presigned URLs.
- what is to be sent (`requests.py`) is read strictly: a field that does not exist was meant to do something.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
from functools import partial
from operator import eq
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from attrs import NOTHING, fields, has
from cattrs import ClassValidationError, Converter, transform_error
from cattrs.cols import list_structure_factory
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from zuora_jobs.errors import ConfigurationError, MalformedResponse, Reason
from zuora_jobs.protocol import models
from zuora_jobs.protocol.jsontext import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

T = TypeVar("T")

EXACT = frozenset({models.Invoice, models.InvoiceBalance, models.CreditMemo})
"""Documents with money in them; their numbers are read as Decimal."""

_CAPITAL = frozenset({models.Invoice})
"""Documents whose fields begin with capitals: those of the CRUD interface."""

_LARGEST_COUNT = 10**15

MOST_OBJECTS = 1000
"""Reasons, batches and the like that are read of a list; what comes after them stands in `raw` only. AQuA has 50."""

_SHOWN = 5
"""Problems that an error's text names; all are in its `problems`."""


def structure(model: type[T], document: Any) -> T:
    """Read a parsed JSON object as *model*.

    Raises:
        MalformedResponse: not an object, or a field that matters is missing or of the wrong type.
    """
    if not isinstance(document, dict):
        message = f"the answer is no {model.__name__}: expected an object, got {_json_name(document)}"
        raise MalformedResponse(message, problems=[f"expected an object, got {_json_name(document)} @ $"])
    try:
        return _converter.structure(document, model)
    except ClassValidationError as error:
        problems = transform_error(error, format_exception=_describe)
        _forget(error)
    except TypeError as error:
        problems = [f"{error} @ $"]
    shown = "; ".join(problems[:_SHOWN]) + (f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else "")
    message = f"the answer is no {model.__name__}: {shown}"
    raise MalformedResponse(message, problems=problems)


def status_in(document: Any, model: type[Any]) -> str:
    """Give the status of a job's document; of the rest only what it could be refused for is looked at.

    Raises:
        MalformedResponse: as `structure` would.
    """
    name = _status_name(model)
    if name is not None and isinstance(document, dict):
        status, success = document.get(name), document.get("success")
        if isinstance(status, str) and status.strip() and (success is None or success is True or success is False):
            return status
    return cast("str", structure(model, document).status)


def _status_name(model: type[Any]) -> str | None:
    """Give the status's name on the wire, where nothing but it and `success` can make a document be refused."""
    if model not in _status_names:
        _status_names[model] = _find_status_name(model)
    return _status_names[model]


def _find_status_name(model: type[Any]) -> str | None:
    own_code = hasattr(model, "__attrs_post_init__") or any(
        field.validator or field.converter for field in fields(model)
    )
    required = [field.name for field in fields(model) if field.default is NOTHING]
    types = get_type_hints(model, include_extras=True)
    names = {wire: name for name, wire in _wire_names(model).items()}
    success = types[names["success"]] if "success" in names else bool | None
    if own_code or required != ["status"] or success != bool | None or model in EXACT:
        return None
    return _wire_names(model)["status"]


def read(body: bytes, model: type[T]) -> T:
    """Read *body* as *model*: `structure(model, parse(body))`, with exact numbers where the model has money."""
    return structure(model, parse(body, exact=model in EXACT))


def to_json(document: object) -> dict[str, Any]:
    """Give back the JSON object that *document* was read from; one made by hand is written with Zuora's names."""
    raw = cast("Mapping[str, Any] | None", getattr(document, "raw", None))
    return dict(raw) if raw else cast("dict[str, Any]", _converter.unstructure(document))


def request_from(model: type[T], document: Any) -> T:
    """Read what a user wants to submit, under Zuora's names, as *model*; strictly.

    Raises:
        ConfigurationError: a field is unknown, missing, of the wrong type, or of a value that Zuora would refuse.
    """
    if not isinstance(document, dict):
        message = f"expected an object, got {_json_name(document)}"
        raise ConfigurationError(message)
    try:
        return _strictly.structure(document, model)
    except ClassValidationError as error:
        told = [problem.removesuffix(" @ $") for problem in transform_error(error, format_exception=_describe_request)]
        _forget(error)
    raise ConfigurationError("; ".join(told[:_SHOWN]))


def request_fields(request: Any) -> dict[str, Any]:
    """Give what of *request* goes into its body, under Zuora's names; what is None is left to Zuora."""
    in_the_path = {field.name for field in fields(type(request)) if field.metadata.get("path")}
    names = _wire_names(type(request))
    written = ((name, _strictly.unstructure(getattr(request, name))) for name in names if name not in in_the_path)
    return {names[name]: _without_none(value) for name, value in written if value is not None}


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list | tuple) else value


def _json_name(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _describe(error: BaseException, _: type | None) -> str:
    return "required field missing" if isinstance(error, KeyError) else str(error)


def _describe_request(error: BaseException, _: type | None) -> str:
    if isinstance(error, ForbiddenExtraKeysError):
        known = ", ".join(_wire_names(error.cl).values())
        return f"there is no field {', '.join(sorted(error.extra_fields))}; there are {known}"
    return f"the field {error} is missing" if isinstance(error, KeyError) else str(error)


def _forget(error: BaseException) -> None:
    """Free the frames an error came through: they hold the answer, and in a circle the errors themselves."""
    error.__traceback__ = None
    for inner in getattr(error, "exceptions", ()):
        _forget(inner)


def _expected(what: str, value: object) -> NoReturn:
    message = f"expected {what}, got {_json_name(value)}"
    raise TypeError(message)


def _strict(expected: type[T], what: str) -> Callable[[Any, Any], T]:
    def hook(value: Any, _: Any) -> T:
        return value if isinstance(value, expected) else _expected(what, value)

    return hook


def _truth(value: Any, _: Any) -> bool:
    if isinstance(value, str) and value.casefold() in {"true", "false"}:
        return value.casefold() == "true"
    return value if isinstance(value, bool) else _expected("true or false", value)


def _text(value: Any, _: Any) -> str | None:
    if type(value) is str:  # as nearly always
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float | Decimal) else None


def _required_text(value: Any, _: Any) -> str:
    """Read what a document says nothing without: a job's status."""
    if not isinstance(value, str):
        _expected("text", value)
    return value if value.strip() else _expected("a word", value)


def _count(value: Any, _: Any) -> int | None:
    if isinstance(value, str) and not value.strip():
        return None
    if isinstance(value, bool):
        _expected("a whole number", value)
    if isinstance(value, int):
        return value
    if isinstance(value, float | Decimal) and -_LARGEST_COUNT <= value <= _LARGEST_COUNT and value == int(value):
        return int(value)
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value)
    return _expected("a whole number", value)


def _amount(value: Any, _: Any) -> Decimal:
    if isinstance(value, int | Decimal | str) and not isinstance(value, bool):
        try:
            amount = Decimal(value)
        except InvalidOperation:
            _expected("an amount", value)
        if amount.is_finite():
            return amount
    return _expected("an amount", value)


def _strict_count(value: Any, _: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else _expected("a whole number", value)


def _amount_or_float(value: Any, _: Any) -> Any:
    return value  # the class reads it, and says what is wrong with a float


def reasons_in(value: Any) -> tuple[Reason, ...]:
    """Read a list of reasons, whatever the case of its keys; text alone becomes a reason without a code."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    return tuple(_reason(item) for item in items[:MOST_OBJECTS])


def _reason(item: Any) -> Reason:
    if not isinstance(item, dict):
        return Reason(message=_text(item, None))
    folded = {key.lower(): value for key, value in item.items()}
    return Reason(code=_text(folded.get("code"), None), message=_text(folded.get("message"), None))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _capital(name: str) -> str:
    return "".join(map(str.capitalize, name.split("_")))


def _make_converter() -> Converter:
    converter = Converter(omit_if_default=True)
    converter.register_structure_hook(str, _strict(str, "text"))
    converter.register_structure_hook(bool, _truth)
    for alias, hook in (
        (models.Text, _text),
        (models.Count, _count),
        (models.Amount, _amount),
        (models.Raw, lambda value, _: value),
    ):
        converter.register_structure_hook_func(partial(eq, alias), hook)
    converter.register_structure_hook_factory(_is_list, partial(_structure_list, converter))
    converter.register_structure_hook_func(lambda kind: kind == tuple[Reason, ...], lambda value, _: reasons_in(value))
    converter.register_unstructure_hook(Decimal, lambda value: value)
    converter.register_structure_hook_factory(has, partial(_structure_class, converter))
    converter.register_unstructure_hook_factory(has, partial(_unstructure_class, converter))
    return converter


def _make_strict_converter() -> Converter:
    converter = Converter()
    for kind, hook in ((str, _strict(str, "text")), (bool, _truth), (int, _strict_count), (Decimal, _amount_or_float)):
        converter.register_structure_hook(kind, hook)
    converter.register_structure_hook_func(partial(eq, models.Text), _strict(str, "text"))
    converter.register_structure_hook_factory(_is_list, partial(_structure_list_strictly, converter))
    converter.register_structure_hook(date, lambda value, _: value)  # the class reads it
    converter.register_unstructure_hook(date, date.isoformat)
    converter.register_unstructure_hook(Decimal, lambda value: value)
    converter.register_structure_hook_factory(has, partial(_structure_strictly, converter))
    converter.register_unstructure_hook_factory(has, partial(_unstructure_class, converter, defaults=True))
    return converter


def _structure_list_strictly(converter: Converter, kind: Any) -> Callable[[Any, Any], Any]:
    read_list = list_structure_factory(cast("type", list[get_args(kind)[0]]), converter)  # type: ignore[misc]
    return lambda value, _: tuple(read_list(value if isinstance(value, list) else _expected("a list", value), list))


def _structure_strictly(converter: Converter, cls: type) -> Callable[[Any, Any], Any]:
    overrides: dict[str, Any] = {name: override(rename=wire) for name, wire in _wire_names(cls).items()}
    read_fields: Callable[[Any, Any], Any] = make_dict_structure_fn(
        cls, converter, _cattrs_forbid_extra_keys=True, **overrides
    )
    return lambda value, _: read_fields(value if isinstance(value, dict) else _expected("an object", value), cls)


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _structure_list(converter: Converter, kind: Any) -> Callable[[Any, Any], tuple[Any, ...]]:
    item = get_args(kind)[0]
    read_item, of_objects = converter.get_structure_hook(item), has(item)

    def read_list(value: Any, _: Any) -> tuple[Any, ...]:
        items = value if isinstance(value, list) else [value]
        if of_objects:
            items = items[:MOST_OBJECTS]
        try:
            return tuple([read_item(one, item) for one in items])
        except (TypeError, ClassValidationError) as error:
            _forget(error)
        return tuple(read for _, read in _legible(lambda one: read_item(one, item), items))

    return read_list


def _legible(read: Callable[[T], Any], items: Iterable[T]) -> Iterator[tuple[T, Any]]:
    """Read each of *items*, and leave out those that cannot be read."""
    for item in items:
        try:
            result = read(item)
        except (TypeError, ClassValidationError) as error:
            _forget(error)
        else:
            yield item, result


def _wire_names(cls: type) -> dict[str, str]:
    case = _capital if cls in _CAPITAL else _camel
    return {field.name: field.metadata.get("wire", case(field.name)) for field in fields(cls)}


def _structure_class(converter: Converter, cls: type) -> Callable[[Any, Any], Any]:
    names = _wire_names(cls)
    keeps_raw = names.pop("raw", None) is not None
    required = {field.name for field in fields(cls) if field.default is NOTHING}
    types = get_type_hints(cls, include_extras=True)
    overrides: dict[str, Any] = {
        name: override(rename=wire, struct_hook=_required_text if name in required else _reader(converter, types[name]))
        for name, wire in names.items()
    }
    indispensable = {names[name] for name in required} | {"success"}
    read_fields: Callable[[Any, Any], Any] = make_dict_structure_fn(cls, converter, **overrides)

    def read_object(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            _expected("an object", value)
        present = {key: item for key, item in value.items() if item is not None}
        own = {"raw": value} if keeps_raw else {}
        try:
            document = read_fields(present | own, cls)
        except ClassValidationError as error:
            if cls in EXACT:
                raise
            _forget(error)
            essential = {key: item for key, item in present.items() if key in indispensable} | own
            others = [pair for pair in present.items() if pair[0] not in indispensable]
            legible = dict(
                pair for pair, _ in _legible(lambda pair: read_fields(essential | dict([pair]), cls), others)
            )
            document = read_fields(essential | legible, cls)
        if keeps_raw and not value:
            _expected("at least one field", value)
        return document

    return read_object


def _reader(converter: Converter, kind: Any) -> Callable[[Any, Any], Any] | None:
    """Find once what reads a field that may be None, which cattrs looks up anew for each document; None comes as absent."""
    *some, other = get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)
    if other is not NoneType or len(some) != 1:
        return None
    return converter.get_structure_hook(some[0])  # all of them are of this file, and know what they read


def _unstructure_class(converter: Converter, cls: type, *, defaults: bool = False) -> Callable[[Any], dict[str, Any]]:
    names = _wire_names(cls)
    names.pop("raw", None)
    overrides: dict[str, Any] = {name: override(rename=wire) for name, wire in names.items()}
    if any(field.name == "raw" for field in fields(cls)):
        overrides["raw"] = override(omit=True)
    return make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=not defaults, **overrides)


_status_names: dict[type[Any], str | None] = {}

_converter = _make_converter()
_strictly = _make_strict_converter()
