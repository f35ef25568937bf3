"""What a result file is called on the disk: pure, and the same at every run.

Whatever a server calls it, a name here is one part of a path, begins with a letter or a digit, means the same to Windows, and
leaves room for what stands beside it while it is on its way.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.protocol.models import ResultFile

LONGEST: Final = 255
"""Bytes of a name, nearly everywhere."""

_PART: Final = ".{}.part"
_NOTE: Final = ".{}.part.json"
_REJECTED: Final = "{}.rejected"
_ROOM: Final = max(len(pattern.format("")) for pattern in (_PART, _NOTE, _REJECTED))

_DEVICES: Final = re.compile(r"(?:con|prn|aux|nul|(?:com|lpt)[\d¹²³])\.", re.IGNORECASE)
"""What Windows takes for a device, whatever comes after the dot."""


def file_name(handle: JobHandle[Any], file: ResultFile) -> str:
    """Give the name of a job's result file: AQuA's `<batch>-<file id>.csv`, bulk PDF's `<archive>-<job id>.zip`."""
    end = f"-{_safe(file.file_id or handle.id)}{_safe_suffix(file.suffix)}"
    return safe_stem(file.name or handle.kind.name, LONGEST - _ROOM - len(end.encode())) + end


def safe_stem(text: str, longest: int) -> str:
    """Make of *text* the beginning of a file's name, of at most *longest* bytes; what is cut is told by a hash."""
    stem = _safe(text) or "file"
    if _DEVICES.match(stem):
        stem = f"file_{stem}"
    if len(stem.encode()) <= longest:
        return stem
    end = "-" + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return stem.encode()[: longest - len(end)].decode("utf-8", "ignore") + end


def part_name(name: str) -> str:
    """Name the file on its way to be *name*."""
    return _PART.format(name)


def note_name(name: str) -> str:
    """Name the note of where the part comes from."""
    return _NOTE.format(name)


def rejected_name(name: str) -> str:
    """Name a file that is not what it should be."""
    return _REJECTED.format(name)


def _safe(text: str) -> str:
    plain = unicodedata.normalize("NFC", text)
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in plain).strip("._-")


def _safe_suffix(suffix: str) -> str:
    return "".join(f".{word}" for word in _safe(suffix).split(".") if word)
