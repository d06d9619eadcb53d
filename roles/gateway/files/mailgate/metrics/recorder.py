# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the events of one process as metrics.

Every event of a message passes here, so a message costs some twenty function calls and a few additions to memory: no
lock, no system call, no text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

from mailgate.failure_log import FailureLog
from mailgate.metrics.memory import CELLS, MAX_REFUSALS, OTHER, Labels, MetricMemory
from mailgate.metrics.series import BYTES, SECONDS

Fields = Mapping[str, Any]
# Names of the report's counters, and values of the label `limit`.
_LIMITS = {"rate_exceeded": "rate", "ban_refused": "ban"}
_SECONDS_ABOVE, _BYTES_ABOVE = len(SECONDS) + 1, len(BYTES) + 1


class Recorder:
    """Adds to the row of one process.

    Args:
        memory: The memory of all processes.
        row: Number of the row, which no other process writes to.
    """

    def __init__(self, memory: MetricMemory, row: int) -> None:
        self._memory = memory
        self._row = row
        self._cells = memory.cells[row]
        self._refusals = memory.refusals(row)
        self._failures = FailureLog("cannot count metrics")
        self._events = {labels[0]: cell for labels, cell in CELLS["events"].items()}
        self._stages = {labels[0]: cell for labels, cell in CELLS["stage_seconds"].items()}
        self._limits = {name: CELLS["limits_exceeded"][(label,)] for name, label in _LIMITS.items()}
        self._size = CELLS["message_size_bytes"][()]
        self._handlers: dict[str, Callable[[Fields], None]] = {
            "connection": self._served,
            "connection_refused": self._refused_connection,
            "command_refused": self._refusal("command"),
            "relay_refused": self._refusal("relay"),
            "recipient_refused": self._refusal("recipient"),
            "unknown_recipients": self._summary,
            "recipient": self._recipient,
            "finding": self._finding,
            "delivered": self._delivered,
            "queued": self._queued,
            "hop_refused": self._adder("deliveries", "server", "refused"),
            "next_hop_lost": self._adder("deliveries", "server", "failed"),
            "queue_refused": self._adder("deliveries", "queue", "refused"),
            "queue_down": self._adder("deliveries", "queue", "failed"),
            "message": self._message,
        }

    def record(self, event: str, fields: Fields) -> None:
        """Count an event; never raises."""
        try:
            if event in self._events:
                self._cells[self._events[event]] += 1
            if event in self._handlers:
                self._handlers[event](fields)
        except Exception as error:
            self._failures.failed(error)

    def count(self, name: str, number: int) -> None:
        """Count what only the report has."""
        if name in self._limits:
            self._cells[self._limits[name]] += number

    def observe(self, stage: str, seconds: float) -> None:
        """Count the duration of a stage."""
        first = self._stages[stage]
        self._cells[first + bisect_left(SECONDS, seconds)] += 1
        self._cells[first + _SECONDS_ABOVE] += seconds

    def _add(self, name: str, *labels: str) -> None:
        cell = CELLS[name].get(labels)
        if cell is not None:
            self._cells[cell] += 1

    def _adder(self, name: str, *labels: str) -> Callable[[Fields], None]:
        cell = CELLS[name][labels]

        def add(_fields: Fields) -> None:
            self._cells[cell] += 1

        return add

    def _served(self, _fields: Fields) -> None:
        self._cells[CELLS["connections"]["served",]] += 1

    def _refused_connection(self, fields: Fields) -> None:
        self._cells[CELLS["connections"]["refused",]] += 1
        self._refuse("connection", fields)

    def _refusal(self, stage: str) -> Callable[[Fields], None]:
        def refuse(fields: Fields) -> None:
            self._refuse(stage, fields)

        return refuse

    def _refuse(self, stage: str, fields: Fields) -> None:
        # A reply of a server has any code; clients get these as they are.
        code = fields["reply"].code
        labels = (stage, fields.get("rule") or "", str(code) if 400 <= code < 600 else "other")
        self._cells[self._cell_of(labels)] += 1

    def _summary(self, fields: Fields) -> None:
        self._cells[self._cell_of(("summarized", "", "other"))] += fields["refused"]

    def _cell_of(self, labels: Labels) -> int:
        """Return the cell of a refusal; the first time, take a free one."""
        if labels in self._refusals:
            return self._refusals[labels]
        used = len(self._refusals)
        if used >= MAX_REFUSALS - 1:
            # The last one is for all that have no place.
            labels = OTHER
            if labels in self._refusals:
                return self._refusals[labels]
        cell = self._refusals[labels] = self._memory.add_refusal(self._row, used, labels)
        return cell

    def _recipient(self, fields: Fields) -> None:
        self._cells[CELLS["recipients"][fields["verified"],]] += 1

    def _finding(self, fields: Fields) -> None:
        self._add("findings", fields["finding"], fields["action"])

    def _delivered(self, fields: Fields) -> None:
        self._cells[CELLS["deliveries"]["server", "accepted"]] += 1
        self.observe("delivery", fields["seconds"])

    def _queued(self, fields: Fields) -> None:
        self._cells[CELLS["deliveries"]["queue", "accepted"]] += 1
        self.observe("delivery", fields["seconds"])

    def _message(self, fields: Fields) -> None:
        code = fields["reply"].code
        if code < 400:
            outcome = "queued" if fields["queued"] else "accepted"
        else:
            outcome = "deferred" if code < 500 else "refused"
            self._refuse("message", fields)
        cells = self._cells
        cells[CELLS["messages"][outcome,]] += 1
        if "size" not in fields:
            # Refused while it was received.
            return
        size = fields["size"]
        cells[self._size + bisect_left(BYTES, size)] += 1
        cells[self._size + _BYTES_ABOVE] += size
        self.observe("message", fields["seconds"])
        if "spam" in fields:
            self._add("spam", fields["spam"])
        if "spf" in fields or "dkim" in fields:
            for method in ("spf", "dkim", "dmarc", "arc"):
                self._add("authentication", method, fields.get(method, ""))
