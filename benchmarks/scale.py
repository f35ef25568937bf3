"""What a poll costs however many jobs are watched: from 100 to 1,000,000, by one stream of one JobWatcher.

    python benchmarks/scale.py [--quick] [--only decisions,polls] [--rounds N] [--plot FILE.svg] [--readme]

The decision alone is the schedule's, without a socket or a loop: who is next, what was seen, until when he waits. The whole
poll is measured against the server of cost.py, a process of its own, with 20 requests in flight all the time, of jobs that
never end. Each figure comes from a fresh process, the numbers of jobs take turns, and of the rounds the median counts. CPU
is the watching process's own, and divided by its own count of polls. Needs /proc, and 1 GB of memory for a million jobs.
Exit status 1 where a poll's cost is not flat.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from _cost_report import goal_table
from _scale_lab import FULL, PARTS, QUICK, Results, measure
from _scale_plot import Line, drawn
from _scale_report import FLAT, decisions, goals, polls, tables
from attrs import evolve

HERE: Final = Path(__file__).parent
PICTURE: Final = "scale.svg"
BETWEEN: Final = ("<!-- what benchmarks/scale.py printed -->\n", "<!-- until here it was benchmarks/scale.py -->\n")
"""What is replaced in README.md by `--readme`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and tell whether a poll's cost is flat."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="little of everything: to see that it runs")
    parser.add_argument("--only", default=",".join(PARTS), help="what to measure, with commas")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--plot", type=Path, help="draw the costs")
    parser.add_argument("--readme", action="store_true", help=f"put the tables into README.md, and draw {PICTURE}")
    options = parser.parse_args(arguments)
    plan = QUICK if options.quick else FULL
    if options.rounds is not None:
        plan = evolve(plan, rounds=options.rounds)
    results = measure(plan, options.only.split(","))
    judged = list(goals(results))
    text = "\n".join((*tables(results), *(goal_table(judged) if judged else ()), "")).lstrip("\n")
    print(text)
    if options.readme:
        publish(HERE / "README.md", text)
    for path in {options.plot, HERE / PICTURE if options.readme else None} - {None}:
        path.write_text(picture(results), encoding="utf-8")
    return 0 if all(goal.is_met for goal in judged) else 1


def publish(readme: Path, text: str) -> None:
    """Put *text* where the last one was."""
    begin, end = map(re.escape, BETWEEN)
    before = readme.read_text(encoding="utf-8")
    after = re.sub(f"({begin}).*?({end})", lambda found: f"{found[1]}\n{text}\n{found[2]}", before, flags=re.DOTALL)
    readme.write_text(after, encoding="utf-8")


def picture(results: Results) -> str:
    """Draw the cost of a poll, and of its decision, over the number of jobs."""
    first, later = polls(results, "first"), polls(results, "later")
    alone = decisions(results, "later")
    lines = [
        Line("a poll, later looks", later, "#0072b2"),
        Line("a poll, first looks", first, "#c2571a", shift=18, is_below=True),
        Line("the decision alone", alone, "#555555"),
    ]
    title = "What a poll costs, by how many jobs are watched (median and range)"
    return drawn(title, [line for line in lines if line.curve], FLAT, {"first": first, "later": later})


if __name__ == "__main__":
    sys.exit(main())
