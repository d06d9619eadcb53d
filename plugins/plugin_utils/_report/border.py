# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that the administrators of a router get: its port-25 rule in several forms, and how it is verified."""

from __future__ import annotations

import re
from dataclasses import replace

from ...module_utils._iptables import handover
from . import tables
from .plan import Plan
from .translations import Translations

_UNSAFE = re.compile(r"[^\w.-]+")
_PROBE = "campus.mailgate.mail_probe"


def handover_files(plan: Plan, catalog: Translations) -> dict[str, str]:
    """Return the content of each file by its name, for every router that others maintain."""
    files: dict[str, str] = {}
    for router, border in plan.data.get("border", {}).items():
        if border.get("managed", True):
            continue
        guard = handover.guard_of(border)
        own = replace(plan, rules=tuple(rule for rule in plan.rules if rule.border == router))
        name = f"border-{_UNSAFE.sub('_', router)}"
        files[f"{name}.v4.rules"] = handover.iptables_text(router, guard, "ipv4")
        files[f"{name}.v6.rules"] = handover.iptables_text(router, guard, "ipv6")
        files[f"{name}.nft"] = handover.nft_text(router, guard)
        files[f"{name}.txt"] = tables.as_text("rules", own, (), catalog) + _how_to_verify(name, catalog)
        files[f"{name}.csv"] = tables.as_csv("rules", own, catalog)
        files[f"{name}.probe.json"] = tables.to_json(_probe(plan, router)) + "\n"
    return files


def _how_to_verify(name: str, catalog: Translations) -> str:
    text = catalog.gettext("When the rule is installed, verify it from a host outside the campus:")
    return f'\n{text}\n  ansible all -i HOST, -m {_PROBE} -a "$(cat {name}.probe.json)"\n'


def _probe(plan: Plan, router: str) -> dict[str, object]:
    """Return the options of mail_probe outside: the gateways accept the domains, and no other server answers."""
    hosts = plan.data["hosts"]
    servers = [
        (name, [address for address in (host["address"], host["address6"]) if address])
        for name, host in hosts.items()
        if {"servers", "destinations"} & set(host["kinds"])
    ]
    border = plan.data["border"][router]
    domains = [route["domain"] for route in plan.data["routes"]]
    return {
        "smtp": [
            {"host": gateway.host, "address": gateway.addresses[0], "domains": domains, "verifies": True}
            for gateway in plan.gateways
        ],
        "closed": handover.closed(border, servers),
    }
