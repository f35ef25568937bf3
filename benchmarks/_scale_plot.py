"""Draws what a poll costs over the number of jobs: SVG, whose text is text."""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from _scale_report import Curve, Point

WIDTH, HEIGHT = 760, 424
LEFT, RIGHT, TOP, BOTTOM = 64, 736, 84, 370
"""The edges of the field."""
MARGIN: Final = 44
"""Within the field, beside the first and the last number of jobs."""
FONT: Final = 'font-family="Helvetica, Arial, sans-serif" font-size="13"'
INK, PALE, GRID, BAND = "#000000", "#555555", "#dddddd", "#e6eef5"
TICKS: Final = 5
"""How many, about."""


@frozen
class Line:
    """What one curve looks like."""

    name: str
    curve: Curve
    colour: str
    shift: float = 0.0
    """To the right, so that what is measured at the same place can be told apart."""
    is_below: bool = False
    """Whether its figures stand under its points."""


@frozen
class Field:
    """Where things are."""

    sizes: Sequence[int]
    most: float

    def x(self, jobs: float) -> float:
        """Give where a number of jobs is, by its logarithm."""
        least, most = self.sizes[0], self.sizes[-1]
        return LEFT + MARGIN + (RIGHT - LEFT - 2 * MARGIN) * math.log(jobs / least) / math.log(most / least)

    def y(self, microseconds: float) -> float:
        """Give where a cost is."""
        return BOTTOM - (BOTTOM - TOP) * microseconds / self.most


def drawn(title: str, lines: Sequence[Line], flat: float, judged: Mapping[str, Curve]) -> str:
    """Draw *lines*, and a band in which the medians of what is *judged* are to lie: from the least to *flat* times that."""
    sizes = sorted({jobs for line in lines for jobs in line.curve})
    points = [point for line in lines for point in line.curve.values()]
    step = _step(max(point.most for point in points))
    field = Field(sizes, step * math.ceil(1.08 * max(point.most for point in points) / step))
    least = min((point.middle for curve in judged.values() for point in curve.values()), default=None)
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" {FONT}>',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            _text(LEFT, 28, title, INK, "start", bold=True),
            *([] if least is None else _band(field, least, flat)),
            *_axes(field, step),
            *chain.from_iterable(_curve(field, line) for line in lines),
            *_legend(lines, None if least is None else f"within {flat:g} of the least"),
            "</svg>\n",
        )
    )


def _step(most: float) -> float:
    """Give a round distance between ticks."""
    size = 10 ** math.floor(math.log10(most / TICKS))
    return float(next(step * size for step in (1, 2, 5, 10) if step * size >= most / TICKS))


def _text(x: float, y: float, text: str, colour: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{text}</text>'


def _band(field: Field, least: float, flat: float) -> Iterator[str]:
    top, bottom = field.y(least * flat), field.y(least)
    yield f'<rect x="{LEFT}" y="{top:.1f}" width="{RIGHT - LEFT}" height="{bottom - top:.1f}" fill="{BAND}"/>'


def _axes(field: Field, step: float) -> Iterator[str]:
    for number in range(round(field.most / step) + 1):
        y = field.y(number * step)
        yield f'<path d="M{LEFT} {y:.1f}H{RIGHT}" stroke="{GRID}"/>'
        yield _text(LEFT - 8, y + 4, f"{number * step:g}", PALE, "end")
    for jobs in field.sizes:
        yield f'<path d="M{field.x(jobs):.1f} {BOTTOM}v5" stroke="{PALE}"/>'
        yield _text(field.x(jobs), BOTTOM + 20, f"{jobs:,}", PALE, "middle")
    yield _text((LEFT + RIGHT) / 2, BOTTOM + 44, "jobs that one stream watches (logarithmic)", PALE, "middle")
    middle = (TOP + BOTTOM) / 2
    yield (
        f'<text transform="translate(20 {middle:.0f}) rotate(-90)" text-anchor="middle" fill="{PALE}">'
        "microseconds of CPU</text>"
    )


def _curve(field: Field, line: Line) -> Iterator[str]:
    places = [(field.x(jobs) + line.shift, point) for jobs, point in line.curve.items()]
    path = " ".join(f"{x:.1f},{field.y(point.middle):.1f}" for x, point in places)
    yield f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="1.5"/>'
    for x, point in places:
        yield from _mark(field, line, x, point)


def _mark(field: Field, line: Line, x: float, point: Point) -> Iterator[str]:
    top, bottom = field.y(point.most), field.y(point.least)
    yield f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{line.colour}" stroke-width="1.5"/>'
    yield f'<circle cx="{x:.1f}" cy="{field.y(point.middle):.1f}" r="4" fill="{line.colour}"/>'
    shown = f"{point.middle:.0f}" if point.middle >= 100 else f"{point.middle:.2g}"
    middle = field.y(point.middle)
    y = max(bottom, middle + 4) + 15 if line.is_below else min(top, middle - 4) - 6
    yield _text(x, y, shown, line.colour, "middle")


def _legend(lines: Sequence[Line], band: str | None) -> Iterator[str]:
    x, y = float(LEFT), 54
    for line in lines:
        yield f'<path d="M{x:.1f} {y}h22" stroke="{line.colour}" stroke-width="1.5"/>'
        yield f'<circle cx="{x + 11:.1f}" cy="{y}" r="4" fill="{line.colour}"/>'
        yield _text(x + 28, y + 4, line.name, line.colour, "start")
        x += 28 + 6.6 * len(line.name) + 14
    if band is not None:
        yield f'<rect x="{x:.1f}" y="{y - 7}" width="22" height="14" fill="{BAND}" stroke="{GRID}"/>'
        yield _text(x + 28, y + 4, band, PALE, "start")
