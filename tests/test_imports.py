"""Importing: every module alone, `import zuora_jobs` for little, and every public name there and documented."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import zuora_jobs

PACKAGE = Path(zuora_jobs.__file__).parent


def is_imported_here(path: Path) -> bool:
    """Leave out what runs when imported, and what needs Airflow, which is in an environment of its own: see tests/airflow."""
    needs_airflow = re.search(r"^from airflow[. ]", path.read_text(encoding="utf-8"), re.MULTILINE)
    return path.name != "__main__.py" and (not needs_airflow or find_spec("airflow") is not None)


MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if is_imported_here(path)
)
DEPENDENCIES = ("aiohttp", "attrs", "cattrs", "backoff")


def fresh(code: str, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run *code* in an interpreter that has imported nothing of ours."""
    return subprocess.run(
        [sys.executable, "-P", "-W", "error", *options, "-c", code, *arguments],
        cwd=PACKAGE.parent,
        env={"PYTHONPATH": str(PACKAGE.parent), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


ONE_BY_ONE = """
import aiohttp, attrs, backoff, cattrs, importlib, json, os, sys, traceback
package, *names = sys.argv[1:]
told = {}
for name in [package, *names]:
    if name != package:
        importlib.import_module(package)
    readable, writable = os.pipe()
    if (child := os.fork()) == 0:
        os.dup2(writable, 1)
        os.dup2(writable, 2)
        try:
            importlib.import_module(name)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    os.close(writable)
    with open(readable) as said:
        told[name] = said.read()
    os.waitpid(child, 0)
print(json.dumps(told))
"""
"""A fork for each module, of an interpreter that has nothing of ours but the package itself.

Which is what Python imports before any module of a package, and all of it. It is imported in a fork of its own first.
"""


def test_every_module_can_be_imported_first_and_alone() -> None:
    assert MODULES[0] == "zuora_jobs"
    done = fresh(ONE_BY_ONE, *MODULES)
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, str] = json.loads(done.stdout)
    assert told == dict.fromkeys(MODULES, "")


@cache
def loaded_by(*modules: str) -> frozenset[str]:
    """Give the names of all modules that are there after importing *modules*."""
    done = fresh(f"import sys; import {', '.join(modules)}; print(*sorted(sys.modules), sep='\\n')")
    assert done.returncode == 0, done.stderr
    return frozenset(done.stdout.split())


@pytest.mark.parametrize(
    "unwanted",
    [
        "aiohttp.web",
        "aiohttp.test_utils",
        "click",
        "rich",
        "simplejson",
        "pytest",
        "_pytest",
        "hypothesis",
        "zuora_jobs.cli",
        "zuora_jobs.emulator",
        "zuora_jobs.integrations",
        "opentelemetry",
    ],
)
def test_importing_the_package_leaves_out(unwanted: str) -> None:
    # aiohttp itself imports its server's protocol, so whatever it brings along is not ours to answer for
    assert not {name for name in loaded_by("zuora_jobs") if name == unwanted or name.startswith(unwanted + ".")}


def test_importing_the_package_brings_little_more_than_its_dependencies() -> None:
    ours = loaded_by("zuora_jobs")
    theirs = loaded_by(*DEPENDENCIES, "cattrs.gen", "cattrs.strategies")
    assert {name for name in ours - theirs if name.startswith("zuora_jobs")} >= {"zuora_jobs.client"}
    others = {name for name in ours - theirs if name.partition(".")[0] != "zuora_jobs"}
    assert len(others) <= 13, sorted(others)


def test_our_own_modules_take_less_time_than_their_dependencies() -> None:
    """Measured in one run, as the share of the whole, so that a slow machine slows both."""
    shares = []
    for _ in range(3):
        ours = theirs = 0
        done = fresh("import zuora_jobs", options=("-X", "importtime"))
        for own, name in re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", done.stderr):
            if name.startswith("zuora_jobs"):
                ours += int(own)
            else:
                theirs += int(own)
        assert ours > 0
        shares.append(ours / theirs)
    assert min(shares) < 1.0, shares


# --- public names


def test_the_public_names_exist_are_sorted_and_are_all_there_is() -> None:
    names = zuora_jobs.__all__
    assert len(names) == len(set(names))
    assert all(hasattr(zuora_jobs, name) for name in names)
    imported = {
        alias.name
        for node in ast.parse(inspect.getsource(zuora_jobs)).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == set(names)


CONTRACT = [
    "AQUA",
    "BULK_PDF",
    "CREDIT_MEMO_APPLY",
    "OPERATION",
    "Budget",
    "Cadence",
    "JobHandle",
    "JobWatcher",
    "Settings",
    "ZuoraClient",
    "Observed",
    "Finished",
    "StatusChanged",
    "UnknownStatusSeen",
    "Throttled",
    "Retrying",
    "LostContact",
    "Recovered",
    "Succeeded",
    "Failed",
    "Cancelled",
    "Lost",
    "Outcome",
    "JobFailed",
    "JobCancelled",
    "JobLost",
    "UnknownStatus",
    "CancellationNotSupported",
]  # DESIGN section 5


@pytest.mark.parametrize("name", CONTRACT)
def test_what_the_contract_names_is_public(name: str) -> None:
    assert name in zuora_jobs.__all__


PUBLIC_CLASSES = [value for name in zuora_jobs.__all__ if inspect.isclass(value := getattr(zuora_jobs, name))]


@pytest.mark.parametrize("cls", PUBLIC_CLASSES)
def test_every_public_class_is_documented_itself_and_so_are_its_methods(cls: type[Any]) -> None:
    own = vars(cls).get("__doc__")
    assert own
    assert not own.startswith(f"{cls.__name__}(")  # what dataclasses write by themselves
    for name, member in vars(cls).items():
        if name.startswith("_") or not (callable(member) or isinstance(member, property | classmethod | staticmethod)):
            continue
        if isinstance(member, type):
            continue
        assert _doc_of(cls, name), f"{cls.__name__}.{name}"


def _doc_of(cls: type[Any], name: str) -> str | None:
    """A method that carries out what a base class has promised is documented there."""
    docs = (getattr(vars(base).get(name), "__doc__", None) for base in cls.__mro__ if name in vars(base))
    doc = next((doc for doc in docs if doc), None)
    if doc is None and isinstance(vars(cls)[name], Callable):  # type: ignore[arg-type]
        return inspect.getdoc(getattr(cls, name))
    return doc


@pytest.mark.parametrize("name", ["ENVIRONMENTS", "KINDS"])
def test_a_public_table_has_a_text_beneath_it(name: str) -> None:
    for path in PACKAGE.rglob("*.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for node, below in zip(body, body[1:], strict=False):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
                assert isinstance(below, ast.Expr)
                assert isinstance(below.value, ast.Constant)
                assert isinstance(below.value.value, str)
                return
    pytest.fail(f"{name} is assigned nowhere")


@pytest.mark.parametrize("module", MODULES)
def test_every_module_begins_with_its_rules(module: str) -> None:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source))
