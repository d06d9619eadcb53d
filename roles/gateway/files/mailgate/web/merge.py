# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of several gateways as one; pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from mailgate.commands.report_data import LISTS
from mailgate.event_index.shard import time_of
from mailgate.period_report.sums import TOTALS, added_delays, nested, summed

# Entries of a list.
_TOP = 20


def reports(answers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sum of reports, as the report of several gateways; what none of them has is empty."""
    every = list(answers)
    whole = [answer for answer in every if "before" in answer]
    lists = {name: summed(answer.get(name) or {} for answer in every) for name in LISTS}
    delays = added_delays((answer.get("delays") or {}).get("buckets") or {} for answer in every)
    return {
        "totals": {name: sum(answer[name] for answer in whole) for name in TOTALS} if whole else {},
        "before": {name: sum(answer["before"][name] for answer in whole) for name in TOTALS},
        "days": nested(answer.get("days") or {} for answer in every),
        "domains": nested(answer.get("domains") or {} for answer in every),
        "lists": {name: list(counts.items())[:_TOP] for name, counts in lists.items() if counts},
        "delays": delays if delays["buckets"] else {},
    }


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
