"""What watching costs: CPU and time a poll, memory a watched job, the stall of taking many in, and the start.

    python benchmarks/cost.py [--quick] [--only cpu,memory,…] [--peers tenacity,…] [--plot FILE.svg] [--readme]

Everybody asks the same fast server, which is a process of its own, for jobs that never end; each figure comes from a fresh
process. CPU is the asking process's own, divided by the looks that the server counted, and compared with what aiohttp in
a loop took in the same round. Memory is the growth of the resident set from before the jobs are known until each has been
looked at once and waits. A stall is the most CPU between two ticks of a timer of a millisecond while jobs are taken in.
Environments for the peers are made below the user's cache directory, and kept; a peer that cannot be installed is left out.
Needs /proc. Exit status 1 where a goal is missed.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from _cost_envs import PEERS, SDK, Environments, drawing
from _cost_lab import PARTS, Lab, Results
from _cost_plan import FULL, QUICK
from _cost_report import bars, goal_table, goals, tables
from attrs import evolve

HERE: Final = Path(__file__).parent
PICTURE: Final = "cost.svg"
BETWEEN: Final = ("<!-- what benchmarks/cost.py printed -->\n", "<!-- until here -->\n")
"""What is replaced in README.md by `--readme`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and tell whether all goals are met."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="little of everything: to see that it runs")
    parser.add_argument("--peers", default=",".join((*PEERS, SDK)), help="which to install, with commas; '' for none")
    parser.add_argument("--only", default=",".join(PARTS), help="what to measure, with commas")
    parser.add_argument("--rounds", type=int, help="of CPU a poll")
    parser.add_argument("--plot", type=Path, help="draw CPU a poll and memory a job")
    parser.add_argument("--readme", action="store_true", help=f"put the tables into README.md, and draw {PICTURE}")
    options = parser.parse_args(arguments)
    environments = Environments()
    environments.make(filter(None, options.peers.split(",")))
    plan = QUICK if options.quick else FULL
    if options.rounds is not None:
        plan = evolve(plan, contests=tuple(evolve(contest, rounds=options.rounds) for contest in plan.contests))
    results = Lab(environments, plan).measure(options.only.split(","))
    judged = list(goals(results))
    text = "\n".join((*tables(results, environments.versions), *goal_table(judged), "")).lstrip("\n")
    print(text)
    if options.readme:
        publish(HERE / "README.md", text)
    for path in {options.plot, HERE / PICTURE if options.readme else None} - {None}:
        draw(results, path)
    return 0 if all(goal.is_met for goal in judged) else 1


def publish(readme: Path, text: str) -> None:
    """Put *text* where the last one was."""
    begin, end = BETWEEN
    pattern = re.compile(f"({re.escape(begin)}).*({re.escape(end)})", re.DOTALL)
    readme.write_text(
        pattern.sub(lambda found: f"{found[1]}\n{text}\n{found[2]}", readme.read_text(encoding="utf-8")),
        encoding="utf-8",
    )


def draw(results: Results, path: Path) -> None:
    """Draw a picture, if there is somebody who can."""
    python = drawing()
    if python is not None:
        command = [str(python), str(HERE / "_cost_plot.py"), str(path)]
        subprocess.run(command, input=json.dumps(bars(results)), text=True, check=True)


if __name__ == "__main__":
    sys.exit(main())
