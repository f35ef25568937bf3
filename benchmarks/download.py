"""How fast a result file is downloaded, beside curl: one file over loopback, from one process, again and again in turn.

    python benchmarks/download.py [--bytes 1073741824] [--rounds 7] [--folder /dev/shm]

Both write the file; ours also has it on the disk before it is renamed, which costs nothing where the folder is memory, as
it is by default. Times are of the transfer, from the request to the file's last byte; memory is of the whole process.
Exit status 1: ours has less than 0.9 of curl's speed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from attrs import define, field

HERE = Path(__file__).parent
GOAL = 0.9
WAYS = {
    "curl": "curl -o",
    "counted": "a table, its records counted",
    "as it is": "the same, not counted",
    "presigned": "behind a presigned URL",
}


@define
class Figures:
    """What was measured of one way."""

    seconds: list[float] = field(factory=list)
    memory: list[int] = field(factory=list)
    """Bytes at most."""


def write_table(path: Path, size: int) -> int:
    """Write a CSV file of about *size* bytes; give its records."""
    rows = [
        f"2c92c0f8{row:024x},INV{row:08d},Posted,{row % 9999}.{row % 100:02d},2026-11-24,USD\n" for row in range(10_000)
    ]
    block = "".join(rows).encode()
    times = max(1, size // len(block))
    with path.open("wb") as file:
        file.write(b"Id,Number,Status,Amount,Date,Currency\n")
        for _ in range(times):
            file.write(block)
    return times * len(rows)


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """Serve a file from a process of its own; give its URL."""
    command = [sys.executable, str(HERE / "_download_server.py"), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.kill()


def run(command: Sequence[str]) -> tuple[float, int]:
    """Run a command that prints its seconds; give them, and its memory at most."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    return float(told), usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(folder: Path, size: int, rounds: int) -> dict[str, Figures]:
    """Download the same file in every way, in turn."""
    source, into = folder / "source.csv", folder / "into"
    records = write_table(source, size)
    figures: dict[str, Figures] = defaultdict(Figures)
    with serving(source) as url:
        for number in range(rounds):
            for way in [*WAYS][number % len(WAYS) :] + [*WAYS][
                : number % len(WAYS)
            ]:  # none always comes after the same
                os.sync()
                into.mkdir()
                curl = ["curl", "-s", "-o", str(into / "table.csv"), "-w", "%{time_total}", f"{url}/table.csv"]
                ours = [sys.executable, str(HERE / "_download_child.py"), way, url, str(into), str(records)]
                seconds, memory = run(curl if way == "curl" else ours)
                (saved,) = into.iterdir()
                assert saved.stat().st_size == source.stat().st_size
                shutil.rmtree(into)
                figures[way].seconds.append(seconds)
                figures[way].memory.append(memory)
    return figures


def share_of_curl(figures: dict[str, Figures], way: str) -> float:
    """Give the median, over all rounds, of a way's speed by curl's in the same round."""
    pairs = zip(figures["curl"].seconds, figures[way].seconds, strict=True)
    return median(curl / ours for curl, ours in pairs)


def table(figures: dict[str, Figures], size: int) -> str:
    """Give the figures as a table in Markdown."""
    lines = ["| | seconds | GB/s | of curl | memory, MiB |", "|---|---|---|---|---|"]
    for way, told in figures.items():
        seconds = median(told.seconds)
        lines.append(
            f"| {WAYS[way]} | {seconds:.2f} | {size / seconds / 1e9:.2f} | {share_of_curl(figures, way):.2f}"
            f" | {max(told.memory) / 2**20:.0f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=2**30)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", default="/dev/shm" if Path("/dev/shm").is_dir() else None)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        figures = measure(Path(folder), options.bytes, options.rounds)
    print(table(figures, options.bytes))
    slow = [WAYS[way] for way in figures if share_of_curl(figures, way) < GOAL]
    for way in slow:
        print(f"missed: {way}: less than {GOAL} of curl", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    raise SystemExit(main())
