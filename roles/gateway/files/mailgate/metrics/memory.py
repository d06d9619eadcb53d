# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of the metrics that workers count, a row for each worker and one for the supervisor.

Each process writes its own row only, without locks; the exporter adds them up. The row of a worker that exits stays and
its successor continues in it, so that no counter goes back. A row has a cell for each combination of labels that is
known beforehand, and a table for the others, which are names of rules.
"""

from __future__ import annotations

import itertools
import mmap
import struct
from collections.abc import Iterator, Mapping

from mailgate.metrics.series import COUNTED, Series, Type

Labels = tuple[str, ...]
# Combinations of stage, rule and code that a row has place for; others are counted as OTHER.
MAX_REFUSALS = 256
OTHER: Labels = ("recipient", "other", "other")
_NAME_BYTES = 64
_NUMBER = 8


def _layout() -> tuple[dict[str, dict[Labels, int]], int]:
    """Return the first cell by metric and labels, and the number of cells.

    A histogram has a cell for each bucket, the last one for what is above all bounds, and one for the sum.
    """
    cells: dict[str, dict[Labels, int]] = {}
    end = 0
    for name, series in COUNTED.items():
        cells[name] = {}
        if series.type is Type.COUNTER and () in series.labels.values():
            continue
        for labels in itertools.product(*series.labels.values()):
            cells[name][labels] = end
            end += len(series.bounds) + 2 if series.type is Type.HISTOGRAM else 1
    return cells, end


CELLS, _FIXED = _layout()
_ROW = (_FIXED + MAX_REFUSALS) * _NUMBER + MAX_REFUSALS * _NAME_BYTES


class MetricMemory:
    """The rows of all processes, and what the supervisor tells the exporter; create it before any process is forked.

    Attributes:
        processes: Process ID by number of the worker, 0 if it does not run.
        draining: One number, 1 once the service stops.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        view = memoryview(mmap.mmap(-1, rows * _ROW + (rows + 1) * _NUMBER))
        numbers = (_FIXED + MAX_REFUSALS) * _NUMBER
        starts = range(0, rows * _ROW, _ROW)
        self.cells = [view[start : start + numbers].cast("d") for start in starts]
        self._names = [view[start + numbers : start + _ROW] for start in starts]
        state = view[rows * _ROW :].cast("Q")
        self.processes, self.draining = state[:rows], state[rows:]

    def refusals(self, row: int) -> dict[Labels, int]:
        """Return the cells of a row's refusals by labels."""
        found: dict[Labels, int] = {}
        for number in range(MAX_REFUSALS):
            (length,) = struct.unpack_from("B", self._names[row], number * _NAME_BYTES)
            if not length:
                break
            start = number * _NAME_BYTES + 1
            text = bytes(self._names[row][start : start + length]).decode("ascii", "replace")
            found[tuple(text.split("\n"))] = _FIXED + number
        return found

    def add_refusal(self, row: int, number: int, labels: Labels) -> int:
        """Name the cell `number` of a row's refusals; return the cell."""
        text = "\n".join(labels).encode("ascii", "replace")[: _NAME_BYTES - 1]
        start = number * _NAME_BYTES
        self._names[row][start + 1 : start + 1 + len(text)] = text
        # Last, since a process may be killed, or read, at any time.
        struct.pack_into("B", self._names[row], start, len(text))
        return _FIXED + number

    def totals(self, name: str) -> Mapping[Labels, float]:
        """Return the sum of all rows of a counter by labels."""
        found = {labels: sum(cells[cell] for cells in self.cells) for labels, cell in CELLS[name].items()}
        if name == "refusals":
            for row, cells in enumerate(self.cells):
                for labels, cell in self.refusals(row).items():
                    found[labels] = found.get(labels, 0.0) + cells[cell]
        return found

    def histogram(self, name: str) -> Iterator[tuple[Labels, list[float], float]]:
        """Yield labels, cumulative counts by bucket (the last one is the number of all) and sum of a histogram."""
        series: Series = COUNTED[name]
        for labels, first in CELLS[name].items():
            end = first + len(series.bounds) + 1
            counts = [sum(cells[cell] for cells in self.cells) for cell in range(first, end)]
            yield labels, list(itertools.accumulate(counts)), sum(cells[end] for cells in self.cells)
