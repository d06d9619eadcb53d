# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof's counts as a table for people."""

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
