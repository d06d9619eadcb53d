# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of several gateways as one; pure functions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from mailgate.commands.report_data import LISTS
from mailgate.event_index.shard import time_of
from mailgate.period_report.sums import TOTALS


def reports(answers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sum of reports; of the delays, the largest of each percentile."""
    found: dict[str, Any] = {"totals": Counter(), "before": Counter(), "days": {}, "domains": {}, "delays": {}}
    lists: dict[str, Counter[str]] = {name: Counter() for name in LISTS}
    kept: Counter[str] = Counter()
    for answer in answers:
        for name in TOTALS:
            if name in answer:
                found["totals"][name] += answer[name]
                found["before"][name] += answer.get("before", {}).get(name, 0)
        for part in ("days", "domains"):
            for key, numbers in answer.get(part, {}).items():
                found[part].setdefault(key, Counter()).update(numbers)
        for name, counts in lists.items():
            counts.update(answer.get(name, {}))
        for name, seconds in answer.get("delays", {}).items():
            if isinstance(seconds, int | float):
                found["delays"][name] = max(seconds, found["delays"].get(name, 0))
        quarantine = answer.get("quarantine") or {}
        kept.update({name: int(quarantine.get(name, 0)) for name in ("messages", "bytes")})
    return {**found, "lists": {name: counts.most_common(20) for name, counts in lists.items() if counts}, "kept": kept}


def events(answers: Mapping[str, Iterable[Mapping[str, Any]]], limit: int) -> list[tuple[str, Mapping[str, Any]]]:
    """Return gateway and event of the newest events of all, newest first.

    With an event database, each gateway answers with the events of all.
    """
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for asked, own in answers.items():
        for event in own:
            gateway = str(event.get("gateway", asked))
            plain = {name: value for name, value in event.items() if name != "gateway"}
            found.setdefault(json.dumps([gateway, plain], sort_keys=True), (gateway, plain))
    return sorted(found.values(), key=lambda pair: time_of(pair[1]), reverse=True)[:limit]
