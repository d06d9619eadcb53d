# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check claims of domains: duplicates, backups without a final server, overlapping wildcards, missing zones."""

from __future__ import annotations

from .findings import Findings, items
from .model import Campus, Host
from .names import Patterns, domain_pattern, zone_of


def check_claims(campus: Campus, findings: Findings) -> None:
    """Report the problems of the domains of all hosts together."""
    claims = _Claims(campus, findings)
    claims.check_homes()
    claims.check_backups()
    claims.check_wildcards()
    claims.check_zones()
    claims.check_kept()
    claims.check_external()
    claims.check_host_names()
    claims.check_whole_zones()
    claims.check_retired()


class _Claims:
    """Claims of domains by hosts."""

    def __init__(self, campus: Campus, findings: Findings) -> None:
        self.campus = campus
        self.findings = findings
        self.homes: dict[str, Host] = {}  # the first host that claims each domain

    def problem(self, host: Host, variable: str, domain: str, message: str, hint: str) -> None:
        """Add a problem with the place of the domain in the host's variable."""
        self.findings.problem(
            self.findings.facts[host.name], variable, message, hint, self.items_of(host.name, variable, domain)
        )

    def items_of(self, host: str, variable: str, domain: str) -> list[object]:
        """Return the items of the host's list that denote ``domain``; they carry their place in the file."""
        found: list[object] = []
        for item in items(self.findings.facts[host].variables.get(variable)):
            try:
                if domain_pattern(item) == domain:
                    found.append(item)
            except ValueError:
                continue  # reported already
        return found

    def check_homes(self) -> None:
        """Report domains that two hosts claim."""
        variable = "mailgate_domains"
        for host in self.campus.hosts.values():
            for domain in host.domains:
                first = self.homes.setdefault(domain, host)
                if first is host:
                    continue
                there = self.findings.place(
                    self.findings.facts[first.name], variable, self.items_of(first.name, variable, domain)
                )
                message = f"'{domain}' is also claimed by {first.name}{f', {there}' if str(there) else ''}"
                hint = "Remove it from one of them, or move it to the second one's mailgate_backup_domains"
                self.problem(host, variable, domain, message, hint)

    def check_backups(self) -> None:
        """Report backup domains without a final server."""
        for host in self.campus.hosts.values():
            for domain in host.backup_domains:
                if domain not in self.homes:
                    hint = "Correct or remove it, or list it in the mailgate_domains of its final server"
                    message = f"'{domain}' is in no server's mailgate_domains, so it cannot be backed up"
                    self.problem(host, "mailgate_backup_domains", domain, message, hint)

    def check_wildcards(self) -> None:
        """Warn of names inside another faculty's wildcard: the longer claim gets their mail."""
        wildcards = Patterns((domain, domain) for domain in self.homes if domain.startswith("*."))
        if not wildcards:
            return
        inside: dict[str, list[str]] = {}
        for domain, host in self.homes.items():
            outer = wildcards.find(domain.removeprefix("*."))
            if outer and self.homes[outer].faculty != host.faculty:
                inside.setdefault(outer, []).append(domain)
        for outer, domains in inside.items():
            first = domains[0]
            more = f" and {len(domains) - 1} more" if len(domains) > 1 else ""
            self.findings.warnings.append(
                f"{self.homes[outer].name}: mailgate_domains: '{outer}' overlaps '{first}' of "
                f"{self.homes[first].name}{more}, which another faculty claims; the longer claim wins"
            )

    def check_zones(self) -> None:
        """Report domains that no DNS server has a zone for."""
        if not self.campus.of_kind("dns"):
            self.findings.warnings.append("no host has mailgate_dns: MX records are not planned")
            return
        for domain, host in self.homes.items():
            if zone_of(domain, self.campus.zones) is None:
                message = f"'{domain}' is not in a zone of any DNS server"
                hint = "Add its zone to a DNS server's mailgate_dns, or correct the domain"
                self.problem(host, "mailgate_domains", domain, message, hint)

    def check_kept(self) -> None:
        """Report servers whose port 25 the border blocks although kept MX records name them."""
        if not self.campus.of_kind("borders"):
            return
        for domain in sorted(self.campus.kept):
            if domain not in self.homes:
                continue
            home = self.homes[domain]
            if home.permit or home.name in self.campus.beyond_border:
                continue
            by_host = domain in home.kept_domains
            self.problem(
                home,
                "mailgate_keep_mx" if by_host else "mailgate_domains",
                domain,
                f"'{domain}' keeps its MX records{'' if by_host else ' with its zone'}, but the border blocks port 25 "
                "of its server: external mail would not arrive",
                "Give the server a mailgate_permit, or let its MX records be set",
            )

    def check_external(self) -> None:
        """Report external domains that a server of the campus claims."""
        for domain in self.campus.external:
            if domain in self.homes:
                hint = "Remove it from one of the two"
                message = f"'{domain}' is in mailgate_external_domains too, as a domain that a provider hosts"
                self.problem(self.homes[domain], "mailgate_domains", domain, message, hint)

    def check_host_names(self) -> None:
        """Report mail names that two hosts have, or that a domain has: a sendmail delivers its own name locally."""
        owners: dict[str, Host] = {}
        for host in self.campus.hosts.values():
            name = host.exchange
            if not name:
                continue
            first = owners.setdefault(name, host)
            if first is not host:
                facts = self.findings.facts[host.name]
                message = f"'{name}' is also the mail name of {first.name}"
                hint = "Set another full host name; in a group, {{ inventory_hostname }} can be part of it"
                self.findings.problem(facts, "mailgate_name", message, hint)
            home = self.homes.get(name)
            if home is None or home is host:
                continue
            message = f"'{name}' is the mail name of {host.name}, whose sendmail delivers mail for it locally"
            if "gateways" in host.kinds:
                self.problem(home, "mailgate_domains", name, message, "Use another name for the domain or the gateway")
            else:
                self.findings.warnings.append(f"{home.name}: mailgate_domains: {message}")

    def check_whole_zones(self) -> None:
        """Warn of wildcards of a whole zone: they give a server the mail for every name that nobody else claims.

        A department's server may have its department's zone, but not the zone of the gateways without a word.
        """
        central = {zone_of(gateway.exchange, self.campus.zones) for gateway in self.campus.gateways}
        for domain, host in self.homes.items():
            zone = domain.removeprefix("*.")
            own = self.homes.get(zone) is host and zone not in central
            if zone != domain and zone in self.campus.zones and not own:
                self.findings.warnings.append(
                    f"{host.name}: mailgate_domains: '{domain}' covers the whole zone {zone}: the server gets mail for "
                    "every name in it that no other domain matches, and its MX records apply only to names without "
                    "records of their own"
                )

    def check_retired(self) -> None:
        """Report retired domains without a server, and those whose server external mail would not reach."""
        variable = "mailgate_retired"
        borders = self.campus.of_kind("borders")
        retired = sorted(self.campus.retired)
        for domain in retired:
            home = self.homes.get(domain)
            if home is None:
                self.findings.problem(
                    None,
                    variable,
                    f"'{domain}' is in no server's mailgate_domains: while senders may know its previous MX records, "
                    "it needs a route",
                    "Put it back into the mailgate_domains of its server until it has left, or remove it here",
                    self.items_of(next(iter(self.findings.facts)), variable, domain),
                )
            elif borders and not home.permit and home.name not in self.campus.beyond_border:
                self.problem(
                    home,
                    "mailgate_domains",
                    domain,
                    f"'{domain}' is retired, so its MX records name its own server, but the border blocks port 25 of "
                    "that: external mail would not arrive",
                    "Give the server a mailgate_permit. If the domain ceases to exist, remove its MX records from the "
                    "zone instead, then the domain from mailgate_domains and mailgate_retired",
                )
        if retired:
            self.findings.warnings.append(
                f"retired domains: {', '.join(retired)}; remove them from mailgate_domains and mailgate_retired when "
                "no cache has their previous MX records"
            )
