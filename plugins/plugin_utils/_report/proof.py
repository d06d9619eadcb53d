# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The counts of the proof, and the comparison of the MX methods, as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .translations import N_, Translations, choice

# In the order of the report; those that need attention are in capitals.
_VERDICTS = {
    "delivered": N_("{count} delivered"),
    "held": N_("{count} held"),
    "blocked": N_("{count} blocked"),
    "exposed": N_("{count} EXPOSED"),
    "loop": N_("{count} LOOP"),
    "lost": N_("{count} LOST"),
}
_SENDERS = {
    "mx": N_("Sender follows MX"),
    "direct": N_("Direct connection"),
    "relay": N_("Relay attempt"),
    "inside": N_("Internal mail"),
}


def proof_title(ok: bool, catalog: Translations) -> str:
    """Return the title of the proof, with its result."""
    return catalog.gettext("Proof: passed") if ok else catalog.gettext("Proof: exposed domains found")


def proof_table(scenarios: Sequence[Mapping[str, Any]], catalog: Translations) -> tuple[list[str], list[list[str]]]:
    """Return head and rows, a row for each of the proof's ``scenarios`` as mail_plan returns them."""
    gettext = catalog.gettext
    senders = [sender for sender in _SENDERS if any(sender in each["senders"] for each in scenarios)]
    rows = [
        [_scenario(each, catalog), *(_counts(each["senders"].get(sender, {}), catalog) for sender in senders)]
        for each in scenarios
    ]
    return [gettext("Scenario"), *(gettext(_SENDERS[sender]) for sender in senders)], rows


def _scenario(scenario: Mapping[str, Any], catalog: Translations) -> str:
    gettext = catalog.gettext
    kind, host = str(scenario["scenario"]), str(scenario.get("host", ""))
    if kind.endswith("_down"):
        return gettext("{host} down").format(host=host)
    names = {"all_up": gettext("all hosts up"), "border_open": gettext("border rule missing")}
    return " ".join(each for each in (names.get(kind, kind), host) if each)


def _counts(counts: Mapping[str, int], catalog: Translations) -> str:
    gettext = catalog.gettext
    found = [gettext(text).format(count=counts[name]) for name, text in _VERDICTS.items() if counts.get(name)]
    return ", ".join(found) or "0"


# The criteria: where each number is in a method's part of the plan, and its text.
_CRITERIA = (
    ("work", "zone_lines", N_("MX records to change")),
    ("work", "outside_lines", N_("MX records in the external zones")),
    ("work", "static_lines", N_("STATIC lines needed")),
    ("work", "hosts", N_("hosts to change")),
    ("border_open", "domains", N_("domains exposed by MX while the border rule is missing")),
    ("blocked", "", N_("connections blocked and logged for one message per domain")),
    ("gateway_down", "held", N_("domains held while a gateway is down")),
    ("hub_down", "held", N_("domains held while a hub is down")),
)


def methods_table(methods: Mapping[str, Mapping[str, Any]], catalog: Translations) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the plan's ``methods``: a column for each method, a row for each criterion."""
    gettext = catalog.gettext
    rows = []
    for part, field, text in _CRITERIA:
        values = [each.get(part) for each in methods.values()]
        found = [value.get(field) if isinstance(value, Mapping) else value for value in values]
        if any(value is not None for value in found):
            rows.append([gettext(text), *("-" if value is None else str(value) for value in found)])
    return [gettext("Criterion"), *(choice(name, catalog) for name in methods)], rows
