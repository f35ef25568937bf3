"""Scenario files: an emulator's jobs, documents, submits, faults and limits as TOML or JSON.

    [limits]
    rate = [[100, 60]]                      # requests, seconds
    concurrency = 20

    [[jobs]]                                # any argument of Emulator.add_job, and count
    kind = "aqua"
    life = [{ status = "submitted", seconds = 1 }, { status = "executing", polls = 3 }, { status = "completed" }]

    [[invoices]]                            # the vendor's field names
    Id = "2c92c8955bd63cc1015bd7c151af02ab"
    Amount = 0.10                           # kept digit for digit

    [[credit_memos]]                        # the vendor's field names
    id = "8a8082e65b27f6c3015ba45ff82c7172"
    amount = 12.50

    [[submits]]                             # any argument of Emulator.on_submit
    name = "invoice-delete"
    at_once = true

    [[faults]]                              # any argument of Fault
    effect = "unavailable"                  # or { kind = "delay", seconds = 2.5 }
    times = 2

`[[documents]]` has `kind` and `document`. What makes no sense is refused with the place where it stands, and nothing
of the file is used then.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zuora_jobs.emulator.families import family_named
from zuora_jobs.emulator.faults import EFFECTS, Fault
from zuora_jobs.emulator.limits import Window
from zuora_jobs.emulator.lives import Step
from zuora_jobs.emulator.scripts import Rule
from zuora_jobs.emulator.submits import submit_named
from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    from os import PathLike

    from zuora_jobs.emulator.effects import Effect
    from zuora_jobs.emulator.tenant import Emulator


def load_scenario(zuora: Emulator, source: str | PathLike[str] | Mapping[str, Any]) -> None:
    """Add to *zuora* what a file, TOML or JSON by its suffix, or a mapping of the same form describes.

    Raises:
        ConfigurationError: One sentence that names the place.
    """
    if isinstance(source, Mapping):
        _apply(zuora, source)
        return
    with _at(str(Path(source))):
        _apply(zuora, _load(Path(source)))


def _load(path: Path) -> object:
    loads = _LOADERS.get(path.suffix.lower())
    if loads is None:
        msg = f"a scenario is a file ending in {' or '.join(_LOADERS)}"
        raise ConfigurationError(msg)
    try:
        return loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"cannot be read: {' '.join(str(error).split())}"
        raise ConfigurationError(msg) from error


def _apply(zuora: Emulator, table: object) -> None:
    parts = _table(
        "", table,
        limits=_limits, jobs=_each(_job), invoices=_each(_object), documents=_each(_document), faults=_each(_fault),
        submits=_each(_submit), credit_memos=_each(_object),
    )  # fmt: skip
    with zuora.stock.all_or_nothing():
        for number, (count, job) in enumerate(parts.get("jobs", [])):
            with _at(f"jobs[{number}]"):
                for _ in range(count):
                    zuora.add_job(**job)
        for invoice in parts.get("invoices", []):
            zuora.add_invoice(**invoice)
        for number, document in enumerate(parts.get("documents", [])):
            with _at(f"documents[{number}]"):
                zuora.add_document(**document)
        for number, memo in enumerate(parts.get("credit_memos", [])):
            with _at(f"credit_memos[{number}]"):
                zuora.add_credit_memo(**memo)
    # Nothing of the rest can fail any more.
    limits = parts.get("limits", {})
    if "rate" in limits:
        zuora.limit_rate(limits["rate"])
    if "concurrency" in limits:
        zuora.limit_concurrency(limits["concurrency"])
    for fault in parts.get("faults", []):
        zuora.fault(fault)
    for name, rule in parts.get("submits", []):
        zuora.scripts.add(name, rule)


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Name *place* in the complaint of whatever fails in the block."""
    try:
        yield
    except (ConfigurationError, TypeError, ValueError) as error:
        raise _fail(place, str(error)) from error


_LOADERS: Mapping[str, Callable[[str], Any]] = {
    ".toml": lambda text: tomllib.loads(text, parse_float=Decimal),
    ".json": lambda text: json.loads(text, parse_float=Decimal),
}


_T = TypeVar("_T")


def _fail(place: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"{place}: {what}" if place else what)


def _limits(place: str, value: object) -> dict[str, Any]:
    return _table(place, value, rate=_each(_window), concurrency=_whole)


def _window(place: str, value: object) -> Window:
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004 - a pair
        raise _fail(place, f"a rate limit is a pair [requests, seconds], not {value!r}")
    return _built(place, Window, _whole(place, value[0]), _number(place, value[1]))


def _job(place: str, value: object) -> tuple[int, dict[str, Any]]:
    job = _table(
        place, value, "kind",
        kind=_kind, life=_each(_step), ends=_text, seconds=_number, polls=_whole, id=_text, fields=_object,
        cancel_takes=_number, cancel_loses_to=_text, count=_whole,
    )  # fmt: skip
    count = job.pop("count", 1)
    if count > 1 and "id" in job:
        raise _fail(place, "several jobs cannot share one id")
    return count, job


def _step(place: str, value: object) -> Step:
    return _built(
        place, Step, **_table(place, value, "status", status=_text, seconds=_number, polls=_whole, fields=_object)
    )


def _submit(place: str, value: object) -> tuple[str, Rule]:
    rule = _table(
        place, value, "name",
        name=_text, life=_each(_step), ends=_text, seconds=_number, polls=_whole, at_once=_yes_or_no, fields=_object,
        times=_whole,
    )  # fmt: skip
    name = _built(f"{place}.name", submit_named, rule.pop("name")).name
    return name, _built(place, Rule, **rule)


def _document(place: str, value: object) -> dict[str, Any]:
    return _table(place, value, "kind", "document", kind=_text, document=_object)


def _fault(place: str, value: object) -> Fault:
    options = _table(
        place, value, "effect",
        effect=_effect, times=_whole, probability=_number, path=_text, method=_text, after=_whole, lasts=_number,
    )  # fmt: skip
    return _built(place, Fault, options.pop("effect"), **options)


def _effect(place: str, value: object) -> Effect | str:
    if isinstance(value, str):
        return value
    options = _object(place, value)
    kind = options.pop("kind", None)
    if kind not in EFFECTS:
        raise _fail(place, f"there is no effect of the kind {kind!r}; there are {', '.join(EFFECTS)}")
    numbers = {name: float(item) if isinstance(item, Decimal) else item for name, item in options.items()}
    return _built(place, EFFECTS[kind], **numbers)


def _kind(place: str, value: object) -> str:
    return _built(place, family_named, _text(place, value)).name


def _built(place: str, make: Callable[..., _T], *args: Any, **options: Any) -> _T:
    with _at(place):
        return make(*args, **options)


def _table(place: str, value: object, *needed: str, **readers: Callable[[str, Any], Any]) -> dict[str, Any]:
    """The table's values, each read by the reader of its name."""
    table = _object(place, value)
    for name in needed:
        if name not in table:
            raise _fail(place, f"{name!r} is missing")
    for name in table:
        if name not in readers:
            raise _fail(place, f"there is no {name!r} here; there are {', '.join(readers)}")
    return {name: readers[name](f"{place}.{name}".lstrip("."), item) for name, item in table.items()}


def _each(reader: Callable[[str, Any], Any]) -> Callable[[str, object], list[Any]]:
    def read(place: str, value: object) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise _fail(place, f"a list is needed, not {value!r}")
        return [reader(f"{place}[{number}]", item) for number, item in enumerate(value)]

    return read


def _object(place: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise _fail(place, f"a table is needed, not {value!r}")
    return dict(value)


def _text(place: str, value: object) -> str:
    if not isinstance(value, str):
        raise _fail(place, f"a text is needed, not {value!r}")
    return value


def _number(place: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise _fail(place, f"a number is needed, not {value!r}")
    return float(value)


def _whole(place: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _fail(place, f"a whole number is needed, not {value!r}")
    return value


def _yes_or_no(place: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _fail(place, f"true or false is needed, not {value!r}")
    return value
