# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bar charts as rectangles and texts for a template, which draws them as SVG; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 900, 220
_LEFT, _BOTTOM, _TOP = 70, 24, 10
# Texts below the bars, at most.
_LABELS = 8


@dataclass(frozen=True)
class Box:
    """A part of a bar."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Label:
    """A text, which ends at `x` or is centred on it, by its kind."""

    kind: str
    x: float
    y: float
    text: str


@dataclass
class Chart:
    """A chart: its bars, the lines behind them, and texts."""

    boxes: list[Box] = field(default_factory=list)
    lines: list[float] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT


def stacked(rows: Sequence[tuple[str, Mapping[str, int]]], kinds: Mapping[str, str]) -> Chart:
    """Return a chart of stacked bars.

    Args:
        rows: Label and numbers by kind of each bar.
        kinds: Names of the kinds, from the bottom up.
    """
    chart = Chart()
    largest = max((sum(numbers.get(kind, 0) for kind in kinds) for _label, numbers in rows), default=0)
    top = nice(largest)
    room = HEIGHT - _BOTTOM - _TOP
    for part in (0, 0.5, 1):
        y = _TOP + room * (1 - part)
        chart.lines.append(round(y, 1))
        if part != 0.5 or top % 2 == 0:
            chart.labels.append(Label("scale", _LEFT - 8, round(y + 4, 1), f"{int(top * part):,}"))
    step = (WIDTH - _LEFT) / max(1, len(rows))
    every = max(1, -(-len(rows) // _LABELS))
    for number, (label, numbers) in enumerate(rows):
        x, y = _LEFT + step * (number + 0.1), float(_TOP + room)
        for kind, name in kinds.items():
            if value := numbers.get(kind, 0):
                height = room * value / top
                y -= height
                size = (round(x, 1), round(y, 1), round(step * 0.8, 1), round(height, 1))
                chart.boxes.append(Box(kind, *size, f"{label}: {name} {value:,}"))
        if number % every == 0:
            chart.labels.append(Label("axis", round(_LEFT + step * (number + 0.5), 1), HEIGHT - 6, label))
    return chart


def nice(largest: int) -> int:
    """Return the end of a scale: 1, 2 or 5 times a power of ten, at least 1."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= largest:
                return factor * power
        power *= 10
