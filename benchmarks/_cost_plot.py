"""Draws what `_cost_report.bars` gives: a script for an interpreter that has matplotlib.

python _cost_plot.py FILE.svg < bars.json
"""

import json
import sys
from typing import Final

import matplotlib as mpl
from matplotlib import pyplot as plt

OURS: Final = "#1b6ca8"
OTHERS: Final = "#b8bec5"
SETTINGS: Final = {"svg.hashsalt": "zuora_jobs", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}
"""So that the same figures give the same file, whose text is text."""


def draw(path: str, panels: dict[str, dict[str, float]]) -> None:
    """Draw a panel of bars for each, the shortest bar above."""
    mpl.use("svg")
    heights = [len(panel) + 1.5 for panel in panels.values()]
    with mpl.rc_context(SETTINGS):
        figure, axes = plt.subplots(
            len(panels), figsize=(7.5, 0.26 * sum(heights)), height_ratios=heights, layout="constrained"
        )
        for axis, (title, panel) in zip(axes, panels.items(), strict=True):
            ranked = sorted(panel.items(), key=lambda bar: bar[1], reverse=True)
            names, values = zip(*ranked, strict=True)
            drawn = axis.barh(
                names, values, color=[OURS if name.startswith("zuora_jobs") else OTHERS for name in names]
            )
            axis.bar_label(drawn, fmt="{:,.3g}", padding=3)
            axis.set_title(title, loc="left", fontweight="bold")
            axis.spines[["top", "right", "bottom"]].set_visible(False)
            axis.tick_params(length=0, labelbottom=False)
            axis.margins(x=0.12, y=0.02)
        figure.savefig(path, metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    draw(sys.argv[1], json.load(sys.stdin))
