# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts as inline SVG: columns over time, and bars of the largest entries. Lengths are thousandths of the width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .characters import fit, width
from .markup import LINE, Markup, element, join

WIDTH = 1000
_SIZE = 13  # of texts
_CHARACTER = 8.0  # advance of a narrow character, in a wide font
# Attributes, for programs that do not apply style sheets to charts. They also differ in print without colours.
_COLOURS = {
    "number": "#4f86b8",
    "accepted": "#4f86b8",
    "queued": "#b9cde0",
    "refused": "#7d1018",
    "deferred": "#e0a030",
}
_LEFT, _RIGHT = 62.0, 992.0
_HEIGHT = 190.0
_LINE = 24.0
_NAMES = 340.0  # room for the names of bars
_NUMBERS = 80.0  # room for the numbers after bars


@dataclass(frozen=True)
class Chart:
    """Numbers to draw.

    Attributes:
        anchor: Id of the elements, unique on a page.
        title: What the chart shows.
        summary: The chart in a sentence, for those who cannot see it.
        series: Style and title of each series; several are stacked.
        names: Name of each column or bar.
        values: Numbers of each column or bar, one for each series.
    """

    anchor: str
    title: str
    summary: str
    series: Sequence[tuple[str, str]]
    names: Sequence[str]
    values: Sequence[Sequence[int]]

    @property
    def largest(self) -> int:
        """The largest sum, at least 1."""
        return max((sum(each) for each in self.values), default=0) or 1


def columns(chart: Chart) -> Markup:
    """Return the numbers as columns from left to right, with names below them where there is room."""
    top, step = scale(chart.largest)
    shapes: list[str] = []
    base = 12 + _HEIGHT
    for number in range(0, top + 1, step):
        y = base - number / top * _HEIGHT
        shapes.append(_line(_LEFT, y, _RIGHT, y))
        shapes.append(_text(_LEFT - 6, y + 4, str(number), "end"))
    size = (_RIGHT - _LEFT) / max(1, len(chart.names))
    longest = max((width(name) for name in chart.names), default=1)
    every = -(-int((longest + 1) * _CHARACTER) // max(1, int(size)))
    for place, (name, values) in enumerate(zip(chart.names, chart.values, strict=True)):
        left, low = _LEFT + place * size, base
        for (kind, title), value in zip(chart.series, values, strict=True):
            tall = value / top * _HEIGHT
            if value:
                low -= tall
                shapes.append(
                    _rect(left + size * 0.08, low, size * 0.84, tall, kind, title=f"{name}, {title}: {value}")
                )
        if place % every == 0:
            shapes.append(_text(left + size / 2, base + 18, name, "middle"))
    return _svg(chart, shapes, base + 26)


def bars(chart: Chart) -> Markup:
    """Return the numbers as bars from top to bottom, with their names before and their sums after them."""
    shapes: list[str] = []
    room = _RIGHT - _NAMES - _NUMBERS
    for place, (name, values) in enumerate(zip(chart.names, chart.values, strict=True)):
        y, left = 4 + place * _LINE, _NAMES
        shapes.append(_text(_NAMES - 8, y + 16, fit(name, int(_NAMES / _CHARACTER) - 1), "end", full=name))
        for (kind, title), value in zip(chart.series, values, strict=True):
            long = value / chart.largest * room
            if value:
                shapes.append(_rect(left, y + 3, long, _LINE - 7, kind, title=f"{name}, {title}: {value}"))
                left += long
        shapes.append(_text(left + 6, y + 16, str(sum(values)), "start"))
    return _svg(chart, shapes, 8 + len(chart.names) * _LINE)


def scale(largest: int) -> tuple[int, int]:
    """Return the top of a scale from zero and the step between its lines: 1, 2 or 5 times a power of ten."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if largest <= 5 * factor * step:
                return -(-largest // (factor * step)) * factor * step, factor * step
        step *= 10


def _svg(chart: Chart, shapes: list[str], height: float) -> Markup:
    if len(chart.series) > 1:
        shapes, height = [*shapes, *_legend(chart, height + 8)], height + 30
    title, summary = f"{chart.anchor}-title", f"{chart.anchor}-summary"
    return element(
        "svg",
        element("title", chart.title, id=title),
        element("desc", chart.summary, id=summary),
        join([LINE, *(each for shape in shapes for each in (shape, LINE))]),
        viewBox=f"0 0 {WIDTH} {height:g}",
        font_size=_SIZE,
        role="img",
        aria_labelledby=f"{title} {summary}",
        xmlns="http://www.w3.org/2000/svg",
    )


def _legend(chart: Chart, y: float) -> list[str]:
    shapes: list[str] = []
    left = _LEFT
    for kind, title in chart.series:
        shapes += [_rect(left, y + 2, 13, 13, kind), _text(left + 19, y + 13, title, "start")]
        left += 19 + (width(title) + 3) * _CHARACTER
    return shapes


def _rect(x: float, y: float, wide: float, tall: float, kind: str, *, title: str = "") -> Markup:
    tip = [element("title", title)] if title else []
    place = {"x": _short(x), "y": _short(y), "width": _short(wide), "height": _short(tall)}
    return element("rect", *tip, **place, fill=_COLOURS[kind], stroke="#fff", stroke_width="0.6")


def _line(x: float, y: float, to_x: float, to_y: float) -> Markup:
    place = {"x1": _short(x), "y1": _short(y), "x2": _short(to_x), "y2": _short(to_y)}
    return element("line", **place, stroke="#8a8a8a", stroke_width="0.5")


def _text(x: float, y: float, text: str, anchor: str, *, full: str = "") -> Markup:
    tip = [element("title", full)] if full not in ("", text) else []
    return element("text", *tip, text, x=_short(x), y=_short(y), text_anchor=anchor)


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
