# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole plan as a page of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...module_utils._iptables import handover
from .._inventory.model import Campus
from .._plan.mx import MxTables
from .._plan.routes import Tables
from .._proof.proof import Proof
from .columns import plain, table, width
from .proof import methods_table, proof_table, proof_title
from .tables import HEADS, TITLES
from .translations import choice, translations, view_name


def page(
    campus: Campus,
    tables: Tables,
    proof: Proof,
    warnings: Sequence[str],
    methods: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Return the whole plan in the language of the campus, without a final line break.

    ``methods`` is the comparison of the MX methods, as mail_plan returns it.
    """
    lines = _Page(campus, tables).lines(proof, warnings, methods or {})
    return "\n".join(plain(line) for line in lines)


class _Page:
    """The sections of the page; each is a list of lines."""

    def __init__(self, campus: Campus, tables: Tables) -> None:
        self.campus = campus
        self.tables = tables
        self.catalog = translations(campus.language)
        self.gettext = self.catalog.gettext

    def lines(self, proof: Proof, warnings: Sequence[str], methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Return the lines of all sections."""
        title = self.gettext("Mail plan") + (f": {self.campus.name}" if self.campus.name else "")
        return [
            title,
            "=" * width(title),
            *self.settings(),
            *self.gateways(),
            *self.routes(),
            *self.mx(),
            *self.static(),
            *self.permits(),
            *self.external(),
            *self.others(),
            *self.proof(proof),
            *self.methods(methods),
            *self.warnings(warnings),
        ]

    def section(self, title: str, lines: Iterable[str]) -> list[str]:
        """Return a section below its title."""
        return ["", title, *lines]

    def settings(self) -> list[str]:
        """Return the settings of the campus on one line."""
        campus = self.campus
        settings = (
            (self.gettext("method"), choice(campus.method, self.catalog)),
            (self.gettext("delivery"), choice(campus.delivery, self.catalog)),
            (self.gettext("networks"), ", ".join(campus.networks)),
        )
        return ["  " + ", ".join(f"{name}: {value}" for name, value in settings if value)]

    def gateways(self) -> list[str]:
        """Return the gateways."""
        gettext = self.gettext
        rows = [(host.name, ", ".join(host.addresses), str(host.preference)) for host in self.campus.gateways]
        return self.section(
            gettext("Gateways"), table([gettext("Host"), gettext("Address"), gettext("Preference")], rows)
        )

    def routes(self) -> list[str]:
        """Return the delivery list, sorted by faculty."""
        gettext = self.gettext
        routes = sorted(self.tables.routes, key=lambda route: (route.faculty, route.domain.removeprefix("*.")))
        rows = [
            (
                route.domain,
                ", ".join(route.next_hops) + ("" if route.via == route.home else f" {route.via}"),
                route.home + (f" {', '.join(route.ask)}" if route.ask else ""),
                route.faculty,
            )
            for route in routes
        ]
        head = [gettext("Domain"), gettext("Next hop"), gettext("Final server"), gettext("Faculty")]
        title = gettext("Delivery list")
        return self.section(f"{title} ({len(rows)})", table(head, rows))

    def mx(self) -> list[str]:
        """Return the MX records of every zone and view."""
        views = {"": self.tables.mx}
        if self.tables.mx_outside:
            views = {"inside": self.tables.mx, "outside": self.tables.mx_outside}
        return [line for view, tables in views.items() for line in self.view(view, tables)]

    def view(self, view: str, tables: MxTables) -> list[str]:
        """Return the MX records of every zone of one view."""
        gettext = self.gettext
        servers: dict[str, list[str]] = {}
        owners = {}
        for server, zones in tables.items():
            for zone, names in zones.items():
                servers.setdefault(zone, []).append(server)
                owners[zone] = names
        lines = []
        for zone, names in owners.items():
            where = f"{zone}, {view_name(view, self.catalog)}" if view else zone
            title = gettext("MX records of zone {zone}, on {servers}").format(
                zone=where, servers=", ".join(servers[zone])
            )
            rows = [(name, ", ".join(f"{mx.preference} {mx.exchange}" for mx in each)) for name, each in names.items()]
            lines += self.section(f"{title} ({len(names)})", table([gettext("Name"), gettext("MX")], rows))
        return lines

    def static(self) -> list[str]:
        """Return the number of local domains, relayed domains and STATIC routes of every server."""
        gettext = self.gettext
        rows = []
        for name, mail in self.tables.sendmail.items():
            hub = self.campus.hosts[name].hub
            rows.append((name, hub, str(len(mail.local)), str(len(mail.relay)), str(len(mail.static))))
        head = [
            gettext("Server"),
            gettext("Hub"),
            gettext("Local domains"),
            gettext("Relayed domains"),
            gettext("Routes"),
        ]
        return self.section(gettext("STATIC routes"), table(head, rows))

    def permits(self) -> list[str]:
        """Return the servers whose port 25 is open to the outside."""
        gettext = self.gettext
        rows = [
            (host.name, ", ".join(host.addresses), host.permit.reason, host.permit.owner, host.permit.until.isoformat())
            for host in self.campus.permitted
            if host.permit
        ]
        title = gettext("Open to the outside (port 25)")
        if not rows:
            return self.section(title, ["  " + gettext("none")])
        return self.section(
            title,
            table([gettext("Host"), gettext("Address"), gettext("Reason"), gettext("Owner"), gettext("Until")], rows),
        )

    def external(self) -> list[str]:
        """Return the domains that a provider hosts, if there are any."""
        gettext = self.gettext
        rows = [(each.domain, each.within, each.faculty) for each in self.campus.external.values()]
        head = [gettext("Domain"), gettext("Excepted from"), gettext("Faculty")]
        return self.section(f"{gettext('Hosted outside')} ({len(rows)})", table(head, rows)) if rows else []

    def others(self) -> list[str]:
        """Return the servers that others maintain, and the rules for routers that others maintain, if there are any."""
        gettext = self.gettext
        campus = self.campus
        gateways = ", ".join(gateway.name for gateway in campus.gateways)
        servers = [
            (host.name, ", ".join(host.addresses), ", ".join((*host.domains, *host.backup_domains)), gateways)
            for host in campus.hosts.values()
            if host.is_destination
        ]
        rules = [
            (router, str(each.order), each.source, each.destination, each.port, each.action, each.comment)
            for router, border in self.tables.border.items()
            if not border.managed
            for each in handover.entries(handover.guard_of(asdict(border)))
        ]
        lines = []
        for name, rows in (("destinations", servers), ("rules", rules)):
            if rows:
                head = [gettext(text) for column, text in HEADS[name].items() if column != "faculty"]
                lines += self.section(f"{gettext(TITLES[name])} ({len(rows)})", table(head, rows))
        return lines

    def proof(self, proof: Proof) -> list[str]:
        """Return the counts of the proof."""
        scenarios = [
            {"scenario": scenario.kind, "host": scenario.host, "senders": senders}
            for scenario, senders in proof.counts.items()
        ]
        return self.section(proof_title(proof.ok, self.catalog), table(*proof_table(scenarios, self.catalog)))

    def methods(self, methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Return the comparison of the MX methods."""
        head, rows = methods_table(methods, self.catalog)
        return self.section(self.gettext("Comparison of the MX methods"), table(head, rows)) if rows else []

    def warnings(self, warnings: Sequence[str]) -> list[str]:
        """Return the warnings."""
        return self.section(self.gettext("Warnings"), [f"  {warning}" for warning in warnings]) if warnings else []
