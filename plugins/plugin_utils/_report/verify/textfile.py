# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verification as metrics, for the textfile collector of Prometheus' node_exporter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .fault import KINDS
from .verdict import Verdict

PREFIX = "mailgate_verify_"
_GAUGES: Mapping[str, tuple[str, frozenset[str]]] = {
    "timestamp_seconds": ("When the campus was verified last.", frozenset()),
    "duration_seconds": ("How long that took.", frozenset()),
    "faults": ("Faults that count, by level and kind.", frozenset({"level", "kind"})),
    "acknowledged_faults": ("Faults that the baseline acknowledges.", frozenset()),
    "hosts": ("Hosts that were read.", frozenset()),
    "vantage_points": ("Vantage points that probed.", frozenset()),
    "checks": ("Answers that were compared with the plan.", frozenset()),
    "certificate_expiry_timestamp_seconds": (
        "When the first certificate of a mail server expires; missing if none was seen.",
        frozenset(),
    ),
}
#: The labels by name of each metric.
LABELS = {PREFIX + name: labels for name, (_help, labels) in _GAUGES.items()}


def as_textfile(verdict: Verdict, now: float, *, seconds: float | None, expiry: float | None) -> str:
    """Return the metrics in the text format of Prometheus.

    Args:
        verdict: The result.
        now: The time of the verification, in seconds since 1970.
        seconds: How long it took; None if that is not known.
        expiry: When the first certificate expires, in seconds since 1970; None if none was seen.
    """
    found: dict[str, float | None] = {
        "timestamp_seconds": now,
        "duration_seconds": seconds,
        "acknowledged_faults": len(verdict.acknowledged),
        "hosts": verdict.hosts,
        "vantage_points": verdict.probes,
        "checks": verdict.checks,
        "certificate_expiry_timestamp_seconds": expiry,
    }
    lines: list[str] = []
    for name, (text, _labels) in _GAUGES.items():
        values = list(_faults(verdict)) if name == "faults" else [("", found[name])]
        lines += _metric(PREFIX + name, text, values)
    return "\n".join([*lines, ""])


def first_expiry(probes: Sequence[Mapping[str, Any]]) -> float | None:
    """Return when the first certificate that a vantage point has seen expires, in seconds since 1970."""
    answers = (server.get("tls") for probe in probes for server in probe["smtp"]["servers"])
    return min((float(tls["not_after"]) for tls in answers if tls and not tls["error"]), default=None)


def _faults(verdict: Verdict) -> Iterator[tuple[str, float]]:
    """Yield the labels and number of each kind of fault, also of those that there are none of."""
    number = Counter(fault.kind for fault in verdict.faults)
    for kind, declared in KINDS.items():
        yield f'{{level="{declared.level}",kind="{kind}"}}', number[kind]


def _metric(name: str, text: str, values: Iterable[tuple[str, float | None]]) -> list[str]:
    samples = [f"{name}{labels} {value:.15g}" for labels, value in values if value is not None]
    return [f"# HELP {name} {text}", f"# TYPE {name} gauge", *samples] if samples else []
