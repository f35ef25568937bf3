"""What `import zuora_jobs` costs beyond its four dependencies.

    python benchmarks/startup.py [--runs 15]

Each run is a fresh interpreter; the candidates take turns, so that a machine whose speed drifts treats them alike. CPU
seconds are the children's own, as the operating system counts them.
"""

import argparse
import resource
import statistics
import subprocess
import sys

CANDIDATES = {
    "nothing": "pass",
    "the four dependencies": "import aiohttp, attrs, cattrs, backoff",
    "zuora_jobs": "import zuora_jobs",
    "zuora_jobs and its emulator": "import zuora_jobs; from zuora_jobs.emulator import running",
}


def cpu_seconds(code: str) -> float:
    """Give the CPU seconds of a fresh interpreter that runs *code*."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    seconds: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    for code in CANDIDATES.values():
        cpu_seconds(code)  # so that everything is compiled
    for _ in range(runs):
        for name, code in CANDIDATES.items():
            seconds[name].append(cpu_seconds(code))
    base = statistics.median(seconds["the four dependencies"])
    print("| what | median CPU ms | of the dependencies' |")
    print("|---|---|---|")
    for name, measured in seconds.items():
        middle = statistics.median(measured)
        print(f"| {name} | {middle * 1000:.0f} | {middle / base:.2f} |")


if __name__ == "__main__":
    main()
