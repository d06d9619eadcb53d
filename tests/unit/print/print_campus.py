# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans for the tests of the reports, computed from facts as an inventory would give them."""

from __future__ import annotations

import ast
import copy
import datetime
import functools
from typing import Any

from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.findings import HostFacts
from ansible_collections.campus.mailgate.plugins.plugin_utils._pipeline import make_plan
from ansible_collections.campus.mailgate.plugins.plugin_utils._report import plan as report_plan

TODAY = datetime.date(2026, 4, 1)
CAMPUS = {
    "mailgate_campus": "Small University",
    "mailgate_networks": ["198.18.0.0/15", "2001:db8:18::/48"],
    "mailgate_method": "gateway",
    "mailgate_delivery": "direct",
    "mailgate_language": "en",
}
PERMIT = {"reason": "measurements", "owner": "netlab", "until": "2099-03-31"}

Hosts = dict[str, dict[str, Any]]


def hosts() -> Hosts:
    """Two faculties with hubs, one without, two gateways, a border, a DNS server with two zones."""
    return copy.deepcopy(
        {
            "gw1.univ.example": {"ansible_host": "198.18.0.25", "mailgate_gateway": {"preference": 0}},
            "gw2.univ.example": {
                "ansible_host": "198.18.0.26",
                "mailgate_address6": "2001:db8:18::26",
                "mailgate_gateway": {"preference": 10},
            },
            "border.univ.example": {"ansible_host": "198.18.0.1", "mailgate_border": {"outside_interface": "outside0"}},
            "ns1.univ.example": {
                "ansible_host": "198.18.0.53",
                "mailgate_dns": {
                    "named_conf": "/etc/bind/named.conf",
                    "zones": ["univ.example", "eng.univ.example"],
                },
            },
            "mail.eng.univ.example": server("engineering", "198.18.1.25", "eng.univ.example", hub="mail.eng"),
            "mech.eng.univ.example": server(
                "engineering", "198.18.1.30", "mech.eng.univ.example", "*.lab.mech.eng.univ.example", hub="mail.eng"
            ),
            "civil.eng.univ.example": server("engineering", "198.18.1.31", "civil.eng.univ.example", hub="mail.eng"),
            "mail.sci.univ.example": server("science", "198.18.2.25", "sci.univ.example", hub="mail.sci"),
            "bio.sci.univ.example": server("science", "198.18.2.30", "bio.sci.univ.example", hub="mail.sci"),
            "quake.univ.example": server("research", "198.18.3.40", "quake.univ.example") | {"mailgate_permit": PERMIT},
        }
    )


def server(faculty: str, address: str, *domains: str, hub: str = "") -> dict[str, Any]:
    """One inner server; the campus's domain is added to the hub's name."""
    own: dict[str, Any] = {"mailgate_faculty": faculty, "ansible_host": address, "mailgate_domains": list(domains)}
    return own | ({"mailgate_hub": f"{hub}.univ.example"} if hub else {})


def big() -> Hosts:
    """142 servers in 18 faculties, 168 domains."""
    found = {name: own for name, own in hosts().items() if not own.get("mailgate_domains")}
    for number in range(142):
        faculty = number % 18
        hub = f"s{faculty}.f{faculty}"
        domains = [f"d{number}.f{faculty}.univ.example"]
        if number < 26:
            domains.append(f"*.lab{number}.f{faculty}.univ.example")
        name = f"s{number}.f{faculty}.univ.example"
        found[name] = server(f"faculty{faculty}", f"198.18.{faculty + 1}.{number + 1}", *domains, hub=hub)
        if number % 30 == 0:
            found[name]["mailgate_permit"] = PERMIT
    return found


def result_of(facts: Hosts, **campus: Any) -> dict[str, Any]:
    """Return what the module mail_plan returns."""
    whole = CAMPUS | campus
    return make_plan([HostFacts(name, ["all"], {**whole, **own}) for name, own in facts.items()], TODAY)


def plan_of(facts: Hosts, **campus: Any) -> report_plan.Plan:
    return _plan(repr(facts), repr(campus))


@functools.cache  # tests only read plans, and most read the same ones
def _plan(facts: str, campus: str) -> report_plan.Plan:
    return report_plan.read(result_of(ast.literal_eval(facts), **ast.literal_eval(campus)))
