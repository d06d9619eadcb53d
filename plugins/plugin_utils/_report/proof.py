# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof's counts, and the MX methods side by side, as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Say = Callable[[str], str]

# Verdicts in the order to tell them; those to look at are written large.
_VERDICTS = {
    "delivered": "delivered",
    "held": "held",
    "blocked": "blocked",
    "exposed": "EXPOSED",
    "loop": "LOOP",
    "lost": "LOST",
}
_SENDERS = {
    "mx": "Sender follows MX",
    "direct": "Connects straight",
    "relay": "Tries to relay",
    "inside": "From inside",
}


def proof_table(scenarios: Sequence[Mapping[str, Any]], say: Say) -> tuple[list[str], list[list[str]]]:
    """Return head and rows, a row for each of the proof's ``scenarios`` as mail_plan returns them."""
    senders = [sender for sender in _SENDERS if any(sender in each["senders"] for each in scenarios)]
    rows = [
        [_scenario(each, say), *(_counts(each["senders"].get(sender, {}), say) for sender in senders)]
        for each in scenarios
    ]
    return [say("Scenario"), *(say(_SENDERS[sender]) for sender in senders)], rows


def _scenario(scenario: Mapping[str, Any], say: Say) -> str:
    kind, host = str(scenario["scenario"]), str(scenario.get("host", ""))
    if kind.endswith("_down"):
        return f"{host} {say('down')}"
    words = {"all_up": "all up", "border_open": "border without its rule"}
    return " ".join(each for each in (say(words.get(kind, kind)), host) if each)


def _counts(counts: Mapping[str, int], say: Say) -> str:
    return ", ".join(f"{counts[name]} {say(word)}" for name, word in _VERDICTS.items() if counts.get(name)) or "0"


# What is compared: where the number stands in a method's part of the plan, and its words.
_COMPARED = (
    ("work", "zone_lines", "MX lines to change"),
    ("work", "outside_lines", "lines of zone copies for outside"),
    ("work", "static_lines", "STATIC lines needed"),
    ("work", "hosts", "hosts to change"),
    ("border_open", "domains", "domains exposed by MX when the border loses its rule"),
    ("blocked", "", "connections blocked and logged, a message a domain"),
    ("gateway_down", "held", "domains held while a gateway is down"),
    ("hub_down", "held", "domains held while a hub is down"),
)


def methods_table(methods: Mapping[str, Mapping[str, Any]], say: Say) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the plan's ``methods``: a column for each, a row for each number."""
    rows = []
    for part, field, words in _COMPARED:
        values = [each.get(part) for each in methods.values()]
        found = [value.get(field) if isinstance(value, Mapping) else value for value in values]
        if any(value is not None for value in found):
            rows.append([say(words), *("-" if value is None else str(value) for value in found)])
    return [say("Compared"), *(say(name) for name in methods)], rows
