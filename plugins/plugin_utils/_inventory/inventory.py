# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the inventory into a checked campus, and report all problems at once."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Mapping, Sequence

from .claims import check_claims
from .families import check_families
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
from .kinds import check_kinds
from .model import METHODS, Campus, EventDatabase
from .names import domain_pattern, network
from .problems import Place, PlanRefused

LANGUAGES = ("en", "ja")
POSTGRESQL_PORT = 5432
ONCE = "Set it once, under all: vars:"

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
        self.mail = {host.name for host in findings.facts.values() if findings.is_mail_host(host)}

    def read(self) -> Campus:
        """Return the campus."""
        settings = {name: self.campus_value(name) for name in CAMPUS_VARIABLES}
        networks = self.networks(settings["mailgate_networks"])
        self.hosts.expire_permits = self.flag("mailgate_expire_permits", settings["mailgate_expire_permits"])
        campus = Campus(
            name="" if isinstance(settings["mailgate_campus"], Unreadable) else text(settings["mailgate_campus"]),
            networks=tuple(str(net) for net in networks),
            method=self.hosts.choice(None, "mailgate_method", settings["mailgate_method"], METHODS),
            language=self.hosts.choice(None, "mailgate_language", settings["mailgate_language"], LANGUAGES),
            retired=frozenset(
                self.hosts.names(None, "mailgate_retired", settings["mailgate_retired"] or [], domain_pattern)
            ),
            hosts={host.name: self.hosts.host(host) for host in self.facts.values()},
            expire_permits=self.hosts.expire_permits,
            event_database=self.event_database(settings["mailgate_event_database"]),
        )
        self.check_campus(campus, networks)
        return campus

    def campus_value(self, name: str) -> object:
        """Return a campus-wide setting; every host of the mail system must have the same value."""
        first: HostFacts | None = None
        unreadable: Unreadable | None = None
        for host in self.facts.values():
            if name not in host.variables:
                continue
            if isinstance(value := host.variables[name], Unreadable):
                if value.reason:
                    self.problem(host, name, f"cannot be read: {value.reason}", "Correct its template", [value])
                unreadable = value
            elif first is None:
                first = host
            elif value != first.variables[name]:
                message = f"differs from the value of {first.name}, but applies to the whole campus"
                self.problem(host, name, message, ONCE, [value])
        without = [host.name for host in self.facts.values() if host.name in self.mail and name not in host.variables]
        if without and first is not None:
            more = f" and {len(without) - 1} more" if len(without) > 1 else ""
            message = f"is not set for {without[0]}{more}, but applies to the whole campus"
            self.problem(first, name, message, ONCE, [first.variables[name]])
        return unreadable if unreadable else first.variables[name] if first else None

    def flag(self, name: str, value: object) -> bool:
        """Return a campus-wide switch, by default off; report another value."""
        if value is None or isinstance(value, bool | Unreadable):
            return value is True
        self.problem(None, name, f"{quoted(value)} is neither true nor false", "Use true or false", [value])
        return False

    def event_database(self, value: object) -> EventDatabase | None:
        """Return host and port of the event database; None without one, or if the value is not valid (reported)."""
        name, form = "mailgate_event_database", "Use the form {host: db1.univ.example}"
        if value is None or isinstance(value, Unreadable):
            return None
        if not isinstance(value, Mapping):
            self.problem(None, name, f"{quoted(value)} is not a mapping", form, [value])
            return None
        for key in value:
            if key not in ("host", "port"):
                self.problem(None, name, f"unknown key {quoted(key)}", form, [key, value[key], value])
        port = value.get("port", POSTGRESQL_PORT)
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
            self.problem(
                None, name, f"{quoted(port)} is not a valid port", "Use a number, or leave it out", [port, value]
            )
            return None
        host = self.findings.settled(None, name, value.get("host", ""))
        if isinstance(host, Unreadable):
            return None
        if not isinstance(host, str) or host not in self.facts:
            hint = "Name a host of the inventory, a gateway or another one, as host"
            self.problem(None, name, f"{quoted(host)} is not a host of the inventory", hint, [host, value])
            return None
        return EventDatabase(text(host), port)

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
        self.check_event_database(campus)
        self.check_delivery(campus)
        check_kinds(campus, self.findings)
        check_families(campus, self.findings)
        check_claims(campus, self.findings)

    def check_delivery(self, campus: Campus) -> None:
        """Report mailgate_delivery on other hosts than servers, where it would have no effect."""
        name = "mailgate_delivery"
        without = [host.name for host in campus.of_kind("servers") if name not in self.facts[host.name].variables]
        for host in campus.hosts.values():
            if without and host.kinds and "servers" not in host.kinds and name in self.facts[host.name].variables:
                message = f"has no effect here: it is a setting of the servers, and {without[0]} has none"
                hint = "Set it under all: vars:, or under the vars: of a faculty"
                self.problem(self.facts[host.name], name, message, hint)

    def check_event_database(self, campus: Campus) -> None:
        """Report a host of the event database that the gateways have no address of."""
        if campus.event_database and not campus.hosts[campus.event_database.host].addresses:
            message = f"{campus.event_database.host} has no address"
            hint = "Set its ansible_host, or mailgate_address if Ansible connects to another address"
            self.problem(None, "mailgate_event_database", message, hint)

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
                if host.name in campus.beyond_border:
                    continue  # a server of others may be anywhere
                if protected and networks and not _inside(address, networks):
                    hint = "Correct it, or add its network to mailgate_networks"
                    self.problem(facts, variable, f"'{address}' is outside mailgate_networks", hint)


def _inside(address: str, networks: Iterable[Network]) -> bool:
    ip = ipaddress.ip_address(address)
    return any(ip in net for net in networks)
