# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The guard's count, kept in a file over reboots, and its form for Prometheus."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

JSON, METRICS = "guard.json", "guard.prom"
_NAMES_KEPT = 20


@dataclass(frozen=True)
class Count:
    """What the guard did.

    Attributes:
        repairs: How often it put the rules back.
        by: How often by the name of the process that changed them, `unknown` if it could not be known.
        last: The time of the last repair in seconds since 1970, 0 without one.
        last_by: The processes then.
        last_found: What was missing or changed then.
        open_seconds: The time from the report of the change to the rules in place then.
        stopped: Why the guard stopped, "" while it runs.
    """

    repairs: int = 0
    by: dict[str, int] = field(default_factory=dict)
    last: int = 0
    last_by: list[str] = field(default_factory=list)
    last_found: list[str] = field(default_factory=list)
    open_seconds: float = 0.0
    stopped: str = ""

    def repaired(self, now: int, by: list[str], found: list[str], seconds: float) -> Count:
        """Return the count after a repair."""
        counts = dict(self.by)
        for name in dict.fromkeys(each.split(" ")[0] for each in by) or ["unknown"]:
            key = name if name in counts or len(counts) < _NAMES_KEPT else "others"
            counts[key] = counts.get(key, 0) + 1
        return replace(
            self,
            repairs=self.repairs + 1,
            by=counts,
            last=now,
            last_by=list(by),
            last_found=list(found),
            open_seconds=round(seconds, 2),
        )

    def metrics(self) -> str:
        """Return the count in the text format of Prometheus."""
        values = (
            ("repairs_total", "counter", "Times the port-25 rules were put back.", self.repairs),
            ("last_repair_timestamp_seconds", "gauge", "Time of the last repair, 0 without one.", self.last),
            ("stopped", "gauge", "1 if the guard gave up.", int(bool(self.stopped))),
        )
        return "".join(
            f"# HELP mailgate_border_guard_{name} {text}\n# TYPE mailgate_border_guard_{name} {kind}\n"
            f"mailgate_border_guard_{name} {value}\n"
            for name, kind, text, value in values
        )

    def text(self) -> str:
        """Return the count as a sentence for the admin."""
        if not self.repairs and not self.stopped:
            return "guard: the port-25 rules were never changed by others"
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.by.items(), key=lambda each: -each[1]))
        when = f"{datetime.fromtimestamp(self.last, UTC):%Y-%m-%dT%H:%M:%SZ}"
        text = f"guard: put the port-25 rules back {self.repairs} times (by the program that changed them: {counts}); "
        text += f"last {when}: {'; '.join(self.last_found)}"
        return f"{text}. STOPPED: {self.stopped}" if self.stopped else text


def read(directory: Path) -> Count:
    """Return the count in the file, a new one without it or if it is damaged."""
    try:
        values = json.loads((directory / JSON).read_text(encoding="utf-8"))
        return Count(**{name: values[name] for name in asdict(Count()) if name in values})
    except (OSError, ValueError, TypeError):
        return Count()


def write(directory: Path, count: Count) -> None:
    """Replace both files atomically. Raises OSError."""
    for name, text in ((JSON, json.dumps(asdict(count), indent=1) + "\n"), (METRICS, count.metrics())):
        staged = directory / f".{name}"
        staged.write_text(text, encoding="utf-8")
        staged.chmod(0o644)
        staged.replace(directory / name)
