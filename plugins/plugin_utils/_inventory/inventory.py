# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the inventory into a checked campus, and report all problems at once."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Sequence

from .claims import check_claims
from .findings import (
    CAMPUS_VARIABLES,
    Findings,
    HostFacts,
    Locate,
    Unreadable,
    is_list,
    items,
    quoted,
    text,
)
from .host import HostReader
from .model import METHODS, Campus
from .names import network
from .problems import Place, PlanRefused

DELIVERIES = ("direct", "tiered")
LANGUAGES = ("en", "ja")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def read_campus(
    facts: Sequence[HostFacts],
    today: datetime.date,
    locate: Locate = lambda _facts, _values: Place(),
) -> tuple[Campus, list[str]]:
    """Return the campus and the warnings; raise PlanRefused with all problems of the inventory."""
    findings = Findings(facts, locate)
    campus = _CampusReader(findings, today).read()
    if findings.problems:
        raise PlanRefused(findings.problems, findings.warnings)
    return campus, findings.warnings


class _CampusReader:
    def __init__(self, findings: Findings, today: datetime.date) -> None:
        self.findings = findings
        self.facts = findings.facts
        self.problem = findings.problem
        self.hosts = HostReader(findings, today)

    def read(self) -> Campus:
        """Return the campus."""
        settings = {name: self.campus_value(name) for name in CAMPUS_VARIABLES}
        networks = self.networks(settings["mailgate_networks"])
        campus = Campus(
            name="" if isinstance(settings["mailgate_campus"], Unreadable) else text(settings["mailgate_campus"]),
            networks=tuple(str(net) for net in networks),
            method=self.choice("mailgate_method", settings["mailgate_method"], METHODS),
            delivery=self.choice("mailgate_delivery", settings["mailgate_delivery"], DELIVERIES),
            language=self.choice("mailgate_language", settings["mailgate_language"], LANGUAGES),
            hosts={host.name: self.hosts.host(host) for host in self.facts.values()},
        )
        self.check_campus(campus, networks)
        return campus

    def campus_value(self, name: str) -> object:
        """Return a campus-wide setting; it must be the same for every host."""
        found: HostFacts | None = None
        for host in self.facts.values():
            if name not in host.variables:
                continue
            if isinstance(value := host.variables[name], Unreadable):
                if value.reason:
                    self.problem(host, name, f"cannot be read: {value.reason}", "Correct its template", [value])
                return value
            if found is None:
                found = host
            elif value != found.variables[name]:
                self.problem(
                    host,
                    name,
                    f"differs from the value of {found.name}, but applies to the whole campus",
                    "Set it once, under all: vars:",
                    [value],
                )
        return found.variables[name] if found else None

    def networks(self, value: object) -> list[Network]:
        """Return the valid networks; report the others."""
        if value is None or isinstance(value, Unreadable):
            return []
        if not is_list(value):
            self.problem(None, "mailgate_networks", "is not a list", "Use a list of networks in CIDR form", [value])
            return []
        good = []
        for item in items(value):
            if isinstance(self.findings.settled(None, "mailgate_networks", item), Unreadable):
                continue
            try:
                good.append(network(item))
            except ValueError as error:
                self.problem(None, "mailgate_networks", str(error), "Use CIDR form: 198.18.0.0/16", [item, value])
        return good

    def choice(self, variable: str, value: object, allowed: Sequence[str]) -> str:
        """Return one of the allowed values, the first by default."""
        if value is None or isinstance(value, Unreadable):
            return allowed[0]
        if not isinstance(value, str) or value not in allowed:
            known = " or ".join(allowed)
            self.problem(None, variable, f"{quoted(value)} is not a valid choice", f"Use {known}", [value])
            return allowed[0]
        return text(value)

    def check_campus(self, campus: Campus, networks: Sequence[Network]) -> None:
        """Report problems of the campus as a whole."""
        if not campus.of_kind("gateways"):
            hint = "Set mailgate_gateway: {preference: 0} on one host"
            self.problem(None, "mailgate_gateway", "no host is a gateway", hint)
        if not any("mailgate_domains" in host.variables for host in self.facts.values()):
            hint = "List each inner server's mail domains in its mailgate_domains"
            self.problem(None, "mailgate_domains", "no host has mail domains", hint)
        if not campus.of_kind("borders"):
            self.findings.warnings.append(
                "no host has mailgate_border: external senders can connect to the inner servers"
            )
        elif not networks and "mailgate_networks" not in {problem.variable for problem in self.findings.problems}:
            hint = "List the networks of the campus under all: vars:, for example [198.18.0.0/16]"
            self.problem(None, "mailgate_networks", "is missing, so the border has no networks to protect", hint)
        self.check_addresses(campus, networks)
        check_claims(campus, self.findings)

    def check_addresses(self, campus: Campus, networks: Sequence[Network]) -> None:
        """Report addresses that two hosts have, and those outside the networks of the campus."""
        owners: dict[str, str] = {}
        for host in campus.hosts.values():
            if not host.kinds and not host.permit:
                continue
            facts = self.facts[host.name]
            for address in host.addresses:
                variable = "mailgate_address" if "mailgate_address" in facts.variables else "ansible_host"
                if address == host.address6:
                    variable = "mailgate_address6"
                first = owners.setdefault(address, host.name)
                if first != host.name:
                    message = f"'{address}' is also the address of {first}"
                    if "gateways" in {*host.kinds, *campus.hosts[first].kinds}:
                        message += ": the gateway would be its own next hop"
                    self.problem(facts, variable, message, "Correct one of them")
                # Routers and name servers may be outside; hosts that the border protects may not.
                protected = host.permit or {"gateways", "servers"} & set(host.kinds)
                if protected and networks and not _inside(address, networks):
                    hint = "Correct it, or add its network to mailgate_networks"
                    self.problem(facts, variable, f"'{address}' is outside mailgate_networks", hint)


def _inside(address: str, networks: Iterable[Network]) -> bool:
    ip = ipaddress.ip_address(address)
    return any(ip in net for net in networks)
