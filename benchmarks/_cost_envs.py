"""Environments for the peers: made when they are missing, kept for the next time, outside the repository.

All but the vendor's SDK share one with zuora_jobs' own dependencies, each in the version that is installed here, so that
everybody stands on the same aiohttp. The SDK pins an old urllib3, and the drawing of pictures is nobody's business.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REPOSITORY: Final = Path(__file__).parents[1]
OURS: Final = ("aiohttp", "attrs", "cattrs", "backoff")
PEERS: Final[Mapping[str, tuple[str, ...]]] = {
    "tenacity": ("tenacity",),
    "google-api-core": ("google-api-core", "grpcio", "googleapis-common-protos"),
    "azure-core": ("azure-core",),
    "uvloop": ("uvloop",),
}
"""What is installed for whom."""
SDK: Final = "zuora-sdk"
_LIST: Final = "import json; from importlib import metadata; print(json.dumps({one.name: one.version for one in metadata.distributions()}))"


class Environments:
    """Which interpreter runs whom; whoever could not be installed has none."""

    def __init__(self) -> None:
        self._pythons: dict[str, Path] = dict.fromkeys(("aiohttp", "backoff", "zuora_jobs"), Path(sys.executable))
        self.versions: dict[str, str] = {name: metadata.version(name) for name in OURS}

    def __contains__(self, peer: object) -> bool:
        return peer in self._pythons

    def python(self, peer: str) -> Path:
        """Give the interpreter that has *peer*."""
        return self._pythons[peer]

    def make(self, peers: Iterable[str]) -> None:
        """Install these, as far as that can be done, and have all that can share an environment share it."""
        wanted = set(peers)
        shared = [peer for peer in PEERS if peer in wanted]
        pins = [f"{name}=={self.versions[name]}" for name in OURS]
        if shared and (python := self._installed("peers", "zuora_jobs' own dependencies", pins)):
            self._pythons = dict.fromkeys(self._pythons, python)
            for peer in shared:
                if self._installed("peers", peer, PEERS[peer]):
                    self._pythons[peer] = python
        if SDK in wanted and (python := self._installed("sdk", SDK, [SDK])):
            self._pythons[SDK] = python

    def _installed(self, folder: str, what: str, requirements: Iterable[str]) -> Path | None:
        try:
            python = _environment(folder)
            have = _versions(python)
            if any(not _is_met(requirement, have) for requirement in requirements):
                print(f"installing {what} ...", file=sys.stderr, flush=True)
                command = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *requirements]
                subprocess.run(command, check=True, timeout=900, stdout=sys.stderr)
                have = _versions(python)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"{what} could not be installed, and is left out: {error}", file=sys.stderr, flush=True)
            return None
        self.versions |= {name: have[name] for name in (one.partition("==")[0] for one in requirements)}
        return python


def drawing() -> Path | None:
    """Give an interpreter that can draw, if there can be one."""
    return Environments()._installed("drawing", "matplotlib", ["matplotlib"])  # noqa: SLF001 - of this file


def _environment(folder: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "zuora_jobs-benchmarks" / f"{folder}-{sys.implementation.cache_tag}"
    python = path / "bin" / "python"
    if not python.exists():
        venv.create(path, with_pip=True, clear=True)
    return python


def _versions(python: Path) -> dict[str, str]:
    said = subprocess.run([python, "-c", _LIST], check=True, capture_output=True, text=True, timeout=60).stdout
    return {name.replace("_", "-").lower(): version for name, version in json.loads(said).items()}


def _is_met(requirement: str, have: Mapping[str, str]) -> bool:
    name, _, version = requirement.partition("==")
    return name in have and version in {"", have[name]}
