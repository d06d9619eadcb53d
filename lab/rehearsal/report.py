# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a rehearsal as text: one line for each phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.rehearsal.account import Message, Row

HEAD = (
    "phase",
    "sent",
    "delivered",
    "refused",
    "deferred",
    "late p50",
    "late p99",
    "lost",
    "doubled",
    "astray",
    "time",
)
#: Lines of messages that are not as they should be.
SHOWN = 40


@dataclass(frozen=True)
class Report:
    """Everything that is printed."""

    title: str
    settings: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    total: Row
    reached: tuple[int, int]
    troubles: Sequence[str]
    remarks: Sequence[tuple[float, str]]
    messages: Mapping[int, Message]
    phases: Sequence[tuple[str, float, float]]
    failure: str = ""

    @property
    def sound(self) -> bool:
        """Whether all steps were complete, and no message was refused, lost, doubled or delivered to another server."""
        return not self.failure and self.total.sound and self.reached[0] == self.reached[1]

    @property
    def verdict(self) -> str:
        """Return one sentence."""
        total = self.total
        return ("Not complete: " if self.failure else "") + (
            f"{total.lost} lost, {total.refused} refused for good, {total.doubled} doubled of {total.sent} messages; "
            f"{self.reached[0]} of {self.reached[1]} domains; {duration(total.seconds)}"
        )


def seconds(value: float | None) -> str:
    """Return a time as shown in a cell."""
    return "-" if value is None else f"{value:.1f} s"


def duration(value: float) -> str:
    """Return a duration in minutes and seconds."""
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a row, in the order of HEAD."""
    numbers = (row.sent, row.delivered, row.refused, row.put_off)
    last = (row.lost, row.doubled, row.astray)
    return (
        row.name, *map(str, numbers), seconds(row.late_p50), seconds(row.late_p99),
        *map(str, last), duration(row.seconds),
    )  # fmt: skip


def text(report: Report) -> str:
    """Return the report as plain text."""
    table = [HEAD, *(cells(row) for row in (*report.rows, report.total))]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD))]
    lines = [report.title, *(f"{name}: {value}" for name, value in report.settings if value), ""]
    for line in table:
        first, *rest = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        lines.append("  ".join([line[0].ljust(len(first)), *rest]))
    lines.append("")
    if report.failure:
        lines += ["The rehearsal was not complete:", report.failure, ""]
    if report.troubles:
        lines += [f"Messages that are not as they should be ({len(report.troubles)}):"]
        lines += [f"  {line}" for line in report.troubles[:SHOWN]]
        more = len(report.troubles) - SHOWN
        lines += [f"  and {more} more", ""] if more > 0 else [""]
    lines.append(report.verdict)
    return "\n".join([*lines, ""])
