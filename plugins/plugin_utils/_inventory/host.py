# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and check the variables of one host."""

from __future__ import annotations

import datetime
from difflib import get_close_matches

from .findings import CAMPUS_VARIABLES, KIND_VARIABLES, Findings, HostFacts, Unreadable, as_date, is_list, quoted, text
from .model import DELIVERIES, KINDS, MTAS, Host, Permit
from .names import domain_pattern, host_name, ipv4, ipv6
from .values import ValueReader

OWN_STEP = 10  # from one MX preference to the next: 0, 10, 20
MAX_PREFERENCE = 60000  # 16 bits (RFC 1035, section 3.3.9), with room for the domain's own servers
WARN_DAYS = 30
ASK = ("home", "hub")  # the verification server of a server's recipients; the first is the default


class HostReader(ValueReader):
    """Reads hosts into the model. Invalid values are reported in the findings and replaced by a default."""

    def __init__(self, findings: Findings, today: datetime.date) -> None:
        super().__init__(findings)
        self.today = today
        self.expire_permits = False
        self.external_lists: dict[str, tuple[str, ...]] = {}

    def host(self, facts: HostFacts) -> Host:
        """Return the host, and report all of its problems."""
        for name, value in facts.variables.items():
            if isinstance(value, Unreadable) and value.reason and name not in CAMPUS_VARIABLES:
                self.problem(facts, name, f"cannot be read: {value.reason}", "Correct its template", [value])
        self.unknown(facts)
        kinds = [kind for kind, name in zip(KINDS, KIND_VARIABLES, strict=True) if name in facts.variables]
        backs_up = "mailgate_backup_domains" in facts.variables
        if (backs_up or facts.name in self.findings.hub_names) and "servers" not in kinds:
            kinds.append("servers")
        permit = self.permit(facts)
        interfaces, border_managed = self.border(facts)
        # Nobody connects to a router that others maintain.
        needed = bool(permit or [kind for kind in kinds if kind != "borders" or border_managed])
        address, address6 = self.addresses(facts, needed)
        serves = "servers" in kinds
        domains = self.domains(facts)
        zones, kept_zones = self.zones(facts)
        host = Host(
            name=facts.name,
            exchange=self.exchange(facts) if serves or "gateways" in kinds else "",
            kinds=tuple(kinds),
            address=address,
            address6=address6,
            faculty=self.faculty(facts) if serves else "",
            hub=self.hub(facts) if serves else "",
            domains=domains,
            permit=permit,
            preference=self.preference(facts),
            outside_interfaces=interfaces,
            zones=zones,
            backup_domains=self.backup_domains(facts, domains),
            kept_domains=self.kept_domains(facts, domains),
            kept_zones=kept_zones,
            asked_by_hub=self.chosen(facts, "mailgate_ask", ASK, serves) == "hub",
            external_domains=self.external_domains(facts),
            delivery=self.chosen(facts, "mailgate_delivery", DELIVERIES, serves),
            mta=self.mta(facts) if serves else "",
            kept_routes=self.names(
                facts, "mailgate_keep_route", facts.variables.get("mailgate_keep_route", []), domain_pattern
            ),
            border_managed=border_managed,
        )
        if "gateways" in kinds:
            self.check_gateway(facts, host)
        return host

    def check_gateway(self, facts: HostFacts, host: Host) -> None:
        """Report variables that only an inner server may have, and a gateway that most senders cannot reach."""
        if host.domains or host.backup_domains:
            self.problem(
                facts,
                "mailgate_domains" if host.domains else "mailgate_backup_domains",
                "a gateway cannot be the final server of domains: it would deliver to itself",
                "Move the domains to an inner server",
            )
        if host.address6 and not host.address:
            message = "has no IPv4 address, and most senders outside have no IPv6"
            self.problem(facts, "mailgate_address", message, "Set mailgate_address to its IPv4 address")
        if host.permit:
            self.findings.warnings.append(
                f"{facts.name}: mailgate_permit: a gateway is always open and needs no permit"
            )

    def exchange(self, facts: HostFacts) -> str:
        """Return the host name for MX records and SMTP greetings: mailgate_name, else the name in the inventory."""
        value = facts.variables.get("mailgate_name")
        if isinstance(value, Unreadable):
            return ""
        try:
            return host_name(facts.name if value is None else value)
        except ValueError as error:
            variable = "inventory_hostname" if value is None else "mailgate_name"
            message = f"{error}, but MX records will name this host"
            hint = "Set mailgate_name to its full host name, such as mail.eng.univ.example"
            self.problem(facts, variable, message, hint, [value])
            return ""

    def addresses(self, facts: HostFacts, needed: bool) -> tuple[str, str]:
        """Return the IPv4 and the IPv6 address, each empty without one; a host that needs one may have either."""
        variable = "mailgate_address" if "mailgate_address" in facts.variables else "ansible_host"
        value = facts.variables.get(variable)
        address6 = self.address6(facts)
        if isinstance(value, Unreadable):
            return "", address6
        if value is None or (value == "" and variable == "mailgate_address"):
            if needed and "mailgate_address6" not in facts.variables:
                hint = "Set ansible_host, or mailgate_address if Ansible connects to another address"
                self.problem(facts, "ansible_host", "the host has no address", hint)
            return "", address6
        try:
            return ipv4(value), address6
        except ValueError as error:
            if "mailgate_address6" not in facts.variables:
                try:
                    return "", ipv6(value)
                except ValueError:
                    pass
            if needed:  # other hosts may have a name there
                hint = "Set mailgate_address to its IPv4 address, or to '' if it has only mailgate_address6"
                self.problem(facts, variable, str(error), hint, [value])
            return "", address6

    def address6(self, facts: HostFacts) -> str:
        """Return mailgate_address6, empty without one."""
        value = facts.variables.get("mailgate_address6")
        if value is None or value == "" or isinstance(value, Unreadable):
            return ""
        try:
            return ipv6(value)
        except ValueError as error:
            hint = "Set it to the IPv6 address, or remove it"
            self.problem(facts, "mailgate_address6", str(error), hint, [value])
            return ""

    def faculty(self, facts: HostFacts) -> str:
        """Return the faculty: mailgate_faculty, else the innermost group."""
        value = facts.variables.get("mailgate_faculty")
        if value is not None and not isinstance(value, Unreadable):
            if isinstance(value, str) and value:
                return text(value)
            self.problem(
                facts,
                "mailgate_faculty",
                f"{quoted(value)} is not a valid name",
                "Set it to the name of the faculty",
                [value],
            )
            return ""
        inner = self.findings.inner_groups(facts)
        if len(inner) > 1:
            self.problem(
                facts,
                "mailgate_faculty",
                f"any of the groups {', '.join(inner)} could be its faculty",
                "Set mailgate_faculty, preferably under the vars: of the faculty",
            )
        return text(inner[0]) if inner else ""

    def hub(self, facts: HostFacts) -> str:
        """Return the hub of a server; a hub is its own hub."""
        own = text(facts.name)
        is_hub = facts.name in self.findings.hub_names
        value = facts.variables.get("mailgate_hub")
        if value is None or value == "" or isinstance(value, Unreadable):
            return own if is_hub else ""
        hint = "Name a server of this inventory"
        if not isinstance(value, str) or value not in self.findings.facts:
            others = [name for name in self.findings.facts if name != facts.name]
            near = get_close_matches(value, others, 1) if isinstance(value, str) else []
            hint += f"; did you mean {near[0]}?" if near else ""
            self.problem(facts, "mailgate_hub", f"{quoted(value)} is not a host of the inventory", hint, [value])
            return own if is_hub else ""
        if "mailgate_gateway" in self.findings.facts[value].variables:
            self.problem(facts, "mailgate_hub", f"'{value}' is a gateway, which cannot be a hub", hint, [value])
        if is_hub and value != facts.name:
            cycle = self.hubs_from(facts)
            message = f"it is itself a hub, but names '{value}' as its hub"
            if cycle[-1] == own:
                message = f"hubs form a loop: {' -> '.join(cycle)}"
            hint = "A hub cannot have another hub: name one hub for both, or let this one name itself"
            self.problem(facts, "mailgate_hub", message, hint, [value])
            return own
        return text(value)

    def chosen(self, facts: HostFacts, variable: str, allowed: tuple[str, ...], serves: bool) -> str:
        """Return the server's choice, by default the first; the variable has no effect on other hosts."""
        return self.choice(facts, variable, facts.variables.get(variable), allowed) if serves else allowed[0]

    def hubs_from(self, facts: HostFacts) -> list[str]:
        """Return the host, its hub, the hub of that hub, and so on until one repeats or has none."""
        seen = [text(facts.name)]
        while isinstance(value := self.findings.facts[seen[-1]].variables.get("mailgate_hub"), str):
            seen.append(text(value))
            if value in seen[:-1] or value not in self.findings.facts:
                break
        return seen

    def domains(self, facts: HostFacts) -> tuple[str, ...]:
        """Return the domains whose final server the host is."""
        return self.names(facts, "mailgate_domains", facts.variables.get("mailgate_domains", []), domain_pattern)

    def backup_domains(self, facts: HostFacts, domains: tuple[str, ...]) -> tuple[str, ...]:
        """Return the domains that the host backs up."""
        variable = "mailgate_backup_domains"
        value = facts.variables.get(variable, [])
        backups = self.names(facts, variable, value, domain_pattern)
        for domain in sorted(set(backups) & set(domains)):
            message = f"'{domain}' is in its mailgate_domains too; a server cannot back up itself"
            self.problem(facts, variable, message, "Remove it from one of the two lists", [value])
        return tuple(domain for domain in backups if domain not in domains)

    def external_domains(self, facts: HostFacts) -> tuple[str, ...]:
        """Return the domains that a provider hosts, as this host's faculty or the whole campus lists them."""
        variable = "mailgate_external_domains"
        value = facts.variables.get(variable, [])
        key = repr(value)  # many hosts share a long list
        if key not in self.external_lists:
            self.external_lists[key] = self.names(facts, variable, value, domain_pattern)
        return self.external_lists[key]

    def kept_domains(self, facts: HostFacts, domains: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the host's domains whose MX records are not changed: all, or a list of them."""
        variable = "mailgate_keep_mx"
        value = facts.variables.get(variable, False)
        if isinstance(value, bool):
            if value and not domains:
                self.problem(facts, variable, "the host has no domains", "Set it on the final server of the domain")
            return domains if value else ()
        if not isinstance(value, Unreadable) and not is_list(value):
            hint = "Set it to true for all of its domains, or to a list of them"
            self.problem(facts, variable, f"{quoted(value)} is neither true nor a list", hint, [value])
            return ()
        kept = self.names(facts, variable, value, domain_pattern)
        return self.only_known(facts, variable, kept, domains)

    def zones(self, facts: HostFacts) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return a DNS server's zones, and those of them in which MX records are not changed."""
        variable = "mailgate_dns"
        example = "{named_conf: /etc/bind/named.conf, zones: [univ.example]}"
        dns = self.mapping(facts, variable, example, ("named_conf", "zones", "keep_mx"))
        if dns is None:
            return (), ()
        if "zones" not in dns:
            hint = "List the zones of which it is the primary server"
            self.problem(facts, variable, "has no zones", hint, [facts.variables[variable]])
        zones = self.names(facts, variable, dns.get("zones", []), host_name)
        kept = self.names(facts, variable, dns.get("keep_mx", []), host_name)
        return zones, self.only_known(facts, variable, kept, zones)

    def preference(self, facts: HostFacts) -> int | None:
        """Return the MX preference of a gateway."""
        if (gateway := self.mapping(facts, "mailgate_gateway", "{preference: 0}", ["preference"])) is None:
            return None
        value = gateway.get("preference")
        if isinstance(value, Unreadable):
            return 0
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_PREFERENCE:
            return int(value)
        message = "has no preference" if value is None else f"{quoted(value)} is not a valid preference"
        hint = f"Use an integer from 0 to {MAX_PREFERENCE}: 0 for the primary, 10 for the backup"
        self.problem(facts, "mailgate_gateway", message, hint, [value, facts.variables["mailgate_gateway"]])
        return 0

    def mta(self, facts: HostFacts) -> str:
        """Return what a server runs; "" if the host itself is to be asked."""
        value = facts.variables.get("mailgate_mta")
        return "" if value is None or value == "" else self.choice(facts, "mailgate_mta", value, MTAS)

    def border(self, facts: HostFacts) -> tuple[tuple[str, ...], bool]:
        """Return the external interfaces of a border router (a final `+` matches any suffix), and if it is managed.

        The interfaces of a router that others maintain may be unknown, or have the names of any system.
        """
        form = "{outside_interface: eth0}, or a list of names"
        if (border := self.mapping(facts, "mailgate_border", form, ["outside_interface", "managed"])) is None:
            return (), True
        whole = facts.variables["mailgate_border"]
        managed = border.get("managed", True)
        if not isinstance(managed, bool | Unreadable):
            message = f"managed: {quoted(managed)} is neither true nor false"
            hint = "Use managed: false for a router that others maintain"
            self.problem(facts, "mailgate_border", message, hint, [managed, whole])
        managed = managed is not False
        value = border.get("outside_interface")
        if value is None and not managed:
            return (), False
        listed = value if isinstance(value, list) else [value]
        if any(isinstance(each, Unreadable) for each in listed):
            return (), managed
        wrong = [each for each in listed if not (is_interface_name(each) if managed else is_name(each))]
        if listed and not wrong:
            return tuple(dict.fromkeys(map(text, listed))), managed
        message = f"{quoted(wrong[0])} is not a valid interface name" if wrong and value else "has no outside_interface"
        hint = "Name the external interface, or list them, as `ip link` shows them before the @"
        self.problem(facts, "mailgate_border", message, hint, [value, whole])
        return (), managed

    def permit(self, facts: HostFacts) -> Permit | None:
        """Return the permit of a host, and warn of one that expires soon."""
        form = "{reason: ..., owner: ..., until: 2027-03-31}"
        if (permit := self.mapping(facts, "mailgate_permit", form, ["reason", "owner", "until"])) is None:
            return None
        whole = facts.variables["mailgate_permit"]
        texts = []
        for key, wanted in (
            ("reason", "State why port 25 must stay open"),
            ("owner", "Name the responsible person or group"),
        ):
            value = permit.get(key)
            if not isinstance(value, str) or not value.strip():
                if not isinstance(value, Unreadable):
                    self.problem(facts, "mailgate_permit", f"has no {key}", wanted, [value, whole])
                value = ""
            texts.append(text(value))
        value = permit.get("until")
        until = as_date(value)
        if isinstance(value, Unreadable):
            pass
        elif until is None:
            message = "has no expiry date (until)" if value is None else f"until: {quoted(value)} is not a valid date"
            self.problem(facts, "mailgate_permit", message, "Write until as 2027-03-31", [value, whole])
        elif until < self.today and self.expire_permits:
            self.findings.warnings.append(
                f"{facts.name}: mailgate_permit: expired on {until}, so the border blocks its port 25; "
                "renew or remove it"
            )
            return None
        elif until < self.today:
            self.problem(
                facts,
                "mailgate_permit",
                f"expired on {until}",
                f"Ask {texts[1] or 'its owner'} and extend until, or remove the permit",
                [value, whole],
            )
        elif (days := (until - self.today).days) <= WARN_DAYS:
            when = "today" if not days else "tomorrow" if days == 1 else f"in {days} days"
            then = ". Then the border blocks its port 25" if self.expire_permits else ""
            self.findings.warnings.append(
                f"{facts.name}: mailgate_permit: expires {when}, on {until}; renew or remove it before then{then}"
            )
        return Permit(reason=texts[0], owner=texts[1], until=until or self.today)


def is_name(value: object) -> bool:
    """Return whether this is the name of something on one line."""
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def is_interface_name(value: object) -> bool:
    """Return whether this is the name of a network interface, perhaps with a final `+`.

    Linux: at most 15 bytes, neither "/" nor white space. What follows "@" in the output of ip is its peer.
    """
    valid = isinstance(value, str) and 0 < len(value) <= 15
    return valid and not any(char.isspace() or char in "/@" for char in str(value))
