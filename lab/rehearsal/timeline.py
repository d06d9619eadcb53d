# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drawing of a rehearsal over time, as shapes with coordinates, for a template to draw.

From top to bottom: names of the phases, messages by time of sending, and how late they arrived. Lengths are in units of
a thousandth of the drawing's width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lab.rehearsal.account import Message, is_lost, percentile

WIDTH = 1000
LEFT, RIGHT = 70.0, 990.0
COLUMNS = 184
_CHARACTER = 6.6
_LINE = 15
_BARS, _LATE, _GAP = 120.0, 110.0, 34.0
#: Lines of the scale of seconds.
SCALE = (0.1, 1.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True)
class Rect:
    """A filled box; `kind` is its style."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class Line:
    """A line through points, "x,y x,y …"."""

    points: str
    kind: str


@dataclass(frozen=True)
class Text:
    """A line of text from (x, y), or up to it."""

    x: float
    y: float
    text: str
    kind: str = ""


@dataclass
class Timeline:
    """Shapes in drawing order: boxes, lines, texts."""

    height: float = 0
    rects: list[Rect] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)


def kind(message: Message) -> str:
    """Return how a message is drawn."""
    if message.refusal or is_lost(message) or len(message.copies) > 1:
        return "bad"
    return "later" if message.put_off else "good"


def places(labels: Sequence[tuple[float, str]]) -> list[int]:
    """Return the row of each label, given its left end, so that none overlaps another one of its row."""
    ends: list[float] = []
    rows = []
    for x, text in labels:
        row = next((number for number, end in enumerate(ends) if end < x), len(ends))
        ends[row:] = [x + (len(text) + 1) * _CHARACTER, *ends[row + 1 :]]
        rows.append(row)
    return rows


def draw(
    phases: Sequence[tuple[str, float, float]],
    messages: Mapping[int, Message],
    remarks: Sequence[tuple[float, str]] = (),
) -> Timeline:
    """Return the drawing.

    Args:
        phases: name, begin and end of each phase, in order.
        messages: all messages.
        remarks: what was done beside the phases, with its time.
    """
    drawing = Timeline()
    if not phases:
        return drawing
    start, end = phases[0][1], max(phases[-1][2], phases[0][1] + 1)

    def x(time: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * min(1.0, max(0.0, (time - start) / (end - start))), 1)

    labels = [(min(x(began), WIDTH - (len(name) + 1) * _CHARACTER), name) for name, began, _ in phases]
    rows = places(labels)
    top = _LINE * (max(rows) + 1) + 8
    bars_bottom = top + _BARS
    late_top = bars_bottom + _GAP
    bottom = late_top + _LATE
    for number, (_, began, ended) in enumerate(phases):
        if number % 2 == 0:
            width = max(0.5, x(ended) - x(began))
            drawing.rects.append(Rect(x(began), top, round(width, 1), bottom - top, "band"))
    for (left, name), row, (_, began, _) in zip(labels, rows, phases, strict=True):
        baseline = _LINE * (row + 1)
        drawing.lines.append(Line(f"{x(began):g},{baseline - 10:g} {x(began):g},{bottom:g}", "edge"))
        drawing.texts.append(Text(left + 3, baseline, name, "small"))
    for time, _ in remarks:
        drawing.lines.append(Line(f"{x(time):g},{bars_bottom + 4:g} {x(time):g},{late_top - 4:g}", "remark"))
    _messages(drawing, list(messages.values()), (start, end), (top, late_top))
    _axis(drawing, end - start, bottom)
    return drawing


def _messages(
    drawing: Timeline, messages: Sequence[Message], times: tuple[float, float], tops: tuple[float, float]
) -> None:
    """Draw bars of the messages of each column, and how late they arrived."""
    start, end = times
    columns: list[list[Message]] = [[] for _ in range(COLUMNS)]
    for message in messages:
        columns[min(COLUMNS - 1, max(0, int((message.sent - start) / (end - start) * COLUMNS)))].append(message)
    most = max((len(column) for column in columns), default=0) or 1
    size = (RIGHT - LEFT) / COLUMNS
    bottom = tops[0] + _BARS
    drawing.texts.append(Text(LEFT - 6, tops[0] + 12, str(most), "scale"))
    drawing.texts.append(Text(LEFT - 6, bottom, "0", "scale"))
    for value in SCALE:
        height = tops[1] + _LATE - _height(value)
        drawing.lines.append(Line(f"{LEFT:g},{height:g} {RIGHT:g},{height:g}", "grid"))
        drawing.texts.append(Text(LEFT - 6, height + 4, f"{value:g} s", "scale"))
    for number, column in enumerate(columns):
        left = round(LEFT + number * size, 1)
        base = bottom
        for wanted in ("good", "later", "bad"):
            tall = sum(kind(message) == wanted for message in column) / most * (_BARS - 4)
            if tall:
                base -= tall
                drawing.rects.append(Rect(left, round(base, 1), round(size - 0.4, 1), round(tall, 1), wanted))
        late = [message.late for message in column if message.late is not None]
        for share, style in ((1.0, "slowest"), (0.5, "median")):
            slow = percentile(late, share)
            if slow is not None:
                height = round(_height(slow), 1)
                drawing.rects.append(Rect(left, tops[1] + _LATE - height, round(size - 0.4, 1), height, style))


def _height(value: float) -> float:
    """Return the height of a time on the scale, which is logarithmic."""
    low, high = math.log10(SCALE[0]), math.log10(SCALE[-1])
    return max(0.0, min(1.0, (math.log10(max(value, SCALE[0])) - low) / (high - low))) * _LATE


def _axis(drawing: Timeline, seconds: float, bottom: float) -> None:
    """Write minutes below the drawing, and what the colours are."""
    step = next(step for step in (1, 2, 5, 10, 30, 60, 10**6) if seconds / 60 / step <= 12)
    for minute in range(0, int(seconds // 60) + 1, step):
        x = round(LEFT + (RIGHT - LEFT) * minute * 60 / seconds, 1)
        if x < RIGHT - 6 * _CHARACTER:
            drawing.texts.append(Text(x, bottom + 16, f"{minute} min", "small"))
    row = bottom + 40
    names = (
        ("good", "accepted at the first attempt"),
        ("later", "at a later attempt"),
        ("bad", "refused, lost or doubled"),
        ("median", "late: half of them"),
        ("slowest", "late: all"),
    )
    left = LEFT
    for style, text in names:
        drawing.rects.append(Rect(left, row - 10, 12, 12, style))
        drawing.texts.append(Text(left + 17, row, text, "small"))
        left += 17 + (len(text) + 3) * _CHARACTER
    drawing.height = row + 12
