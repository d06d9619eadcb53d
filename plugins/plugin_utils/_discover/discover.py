# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draft the inventory of a campus from the records of its DNS zones.

The final server of a domain is the exchange of the lowest preference that is not a gateway. A value that the records do
not determine begins with ``TODO``, which no plan accepts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .._inventory.names import domain_pattern, host_name, zone_of

TODO = "TODO"
UNDECIDED = "undecided"  # the group of servers whose faculty is not known
GATEWAY_STEP = 10
_RESERVED = {"all", "ungrouped", "gateways", "borders", "dns", UNDECIDED}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ZoneData:
    """The mail-related records of one zone, by owner. Names are in lower case and A-labels, without final dot."""

    zone: str
    mx: Mapping[str, Sequence[tuple[int, str]]] = field(default_factory=dict)
    addresses: Mapping[str, Sequence[str]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    cuts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Names below the zone's own that are delegated, with their servers."""


@dataclass(frozen=True, slots=True)
class Server:
    """A DNS server; ``address`` is the address to transfer zones from."""

    host: str
    zones: tuple[str, ...]
    address: str = ""
    named_conf: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the admin. ``faculties`` maps a domain to the group of all servers in it."""

    domain: str
    name: str
    servers: tuple[Server, ...]
    gateways: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    faculties: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class DraftHost:
    """A host of the draft. An ``address`` may be a TODO; ``remarks`` are for the reader."""

    name: str
    address: str
    address6: str = ""
    domains: list[str] = field(default_factory=list)
    preference: int | str | None = None
    zones: tuple[str, ...] | None = None
    named_conf: str = ""
    remarks: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """Hosts by group. ``questions`` are what the admin must decide, ``remarks`` what the draft omits."""

    settings: Settings
    gateways: list[DraftHost] = field(default_factory=list)
    dns: list[DraftHost] = field(default_factory=list)
    faculties: dict[str, list[DraftHost]] = field(default_factory=dict)
    questions: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def discover(settings: Settings, zones: Sequence[ZoneData]) -> Draft:
    """Return the draft of an inventory. A zone on several servers is in ``zones`` once for each."""
    return _Discovery(settings, zones).draft()


def readable(name: str) -> str:
    """Return a name with its A-labels as U-labels, where these convert back to the same A-labels."""
    return ".".join(_u_label(label) if label.startswith("xn--") else label for label in name.split("."))


def _u_label(label: str) -> str:
    try:
        shown = label.encode("ascii").decode("idna")
        return shown if shown.isprintable() and shown.encode("idna").decode("ascii") == label else label
    except UnicodeError:
        return label


def sanitize(text: str) -> str:
    """Return text from DNS without characters that are special to templates, YAML or terminals."""
    return re.sub(r"[^\w.*@/:+-]", "?", text, flags=re.ASCII)


def group_name(label: str) -> str:
    """Return a label as the name of an Ansible group (an identifier that has no other meaning here)."""
    name = re.sub(r"\W", "_", readable(label))
    if name in _RESERVED or name[:1].isdigit():
        name = f"faculty_{name}"
    return name


def _is_name(name: str) -> bool:
    try:
        return host_name(name) == name
    except ValueError:
        return False


def _is_pattern(name: str) -> bool:
    try:
        return domain_pattern(name) == name
    except ValueError:
        return False


class _Records:
    """All zones as one: the records of a name come from the zone that is authoritative for it."""

    def __init__(self, zones: Sequence[ZoneData]) -> None:
        self.zones: dict[str, ZoneData] = {}
        self.differing: list[str] = []
        for zone in zones:
            if zone != self.zones.setdefault(zone.zone, zone) and zone.zone not in self.differing:
                self.differing.append(zone.zone)
        self.names = frozenset(self.zones)

    def authoritative(self, name: str) -> ZoneData | None:
        """Return the zone that is authoritative for a name; None if it was not read, as below a delegation."""
        apex = zone_of(name, self.names)
        if apex is None or self.cut(name, apex):
            return None
        return self.zones[apex]

    def cut(self, name: str, apex: str) -> str:
        """Return the delegated name that a name lies in, or an empty string."""
        cuts = self.zones[apex].cuts
        while name and name != apex:
            if name in cuts:
                return name
            name = name.partition(".")[2]
        return ""

    def mail(self) -> Iterator[tuple[str, Sequence[tuple[int, str]]]]:
        """Yield each owner of MX records with its set, sorted by owner, `*.x` after x."""
        owned = {
            owner: exchanges
            for zone in self.zones.values()
            for owner, exchanges in zone.mx.items()
            if self.authoritative(owner) is zone
        }
        yield from sorted(owned.items(), key=lambda item: (item[0].removeprefix("*."), item[0].startswith("*")))

    def unread(self) -> Iterator[tuple[str, Sequence[str]]]:
        """Yield each delegation whose zone was not read. Names such as _msdcs hold no mail domains."""
        for apex, zone in sorted(self.zones.items()):
            for name, servers in sorted(zone.cuts.items()):
                if name not in self.names and not name.startswith("_") and "._" not in name:
                    if self.cut(name.partition(".")[2], apex):
                        continue  # below another one
                    yield name, servers


class _Discovery:
    """One draft, built domain by domain."""

    def __init__(self, settings: Settings, zones: Sequence[ZoneData]) -> None:
        self.settings = settings
        self.records = _Records(zones)
        self.result = Draft(settings)
        self.mapping = frozenset(settings.faculties)
        self.preferences: dict[str, set[int]] = {gateway: set() for gateway in settings.gateways}
        self.homes: dict[str, DraftHost] = {}
        self.open: dict[str, tuple[str, DraftHost]] = {}  # by name: group and entry

    def draft(self) -> Draft:
        """Return the draft."""
        for owner, exchanges in self.records.mail():
            self.domain(owner, exchanges)
        self.result.gateways = list(self.gateways())
        self.servers()
        for host in self.homes.values():
            group = self.faculty(host)
            if group == UNDECIDED:
                host.address = f"{TODO}: of which faculty? {host.address.removeprefix(f'{TODO}: ')}"
            self.result.faculties.setdefault(group, []).append(host)
        for group, host in self.open.values():
            self.result.faculties.setdefault(group, []).append(host)
        for hosts in self.result.faculties.values():
            hosts.sort(key=_reading_order)
        self.unread()
        self.collect()
        return self.result

    def domain(self, owner: str, exchanges: Sequence[tuple[int, str]]) -> None:
        """Find the final server of a domain, or add a question."""
        if {name for _preference, name in exchanges} == {""}:
            self.result.remarks.append(f"{sanitize(readable(owner))} accepts no mail (null MX)")
            return
        if not _is_pattern(owner):
            self.ask(owner, "its name is not a valid mail domain: rename it, or delete this entry")
            return
        for preference, name in exchanges:
            if name in self.preferences:
                self.preferences[name].add(preference)
        own = sorted((preference, name) for preference, name in exchanges if name not in self.preferences and name)
        if not own:
            self.ask(owner, "which is its final server? Its MX records name gateways only")
            return
        first = own[0][0]
        names = [name for preference, name in own if preference == first]
        if len(names) > 1:
            shown = ", ".join(map(sanitize, names))
            self.ask(owner, f"which is its final server? Of equal preference {first} are {shown}")
            return
        if not _is_name(names[0]):
            self.ask(
                owner,
                f"which is its final server? '{sanitize(names[0])}' is not a valid host name",
            )
            return
        home = self.home(names[0])
        home.domains.append(owner)
        if more := ", ".join(f"{preference} {sanitize(name)}" for preference, name in own[1:]):
            remark = (
                f"{readable(owner)} has further MX records, omitted here: {more}. A server that has its mailboxes too "
                "may list it in mailgate_backup_domains"
            )
            home.remarks.append(remark)
            self.result.remarks.append(remark)

    def home(self, name: str) -> DraftHost:
        """Return the final server of this name."""
        if name not in self.homes:
            self.homes[name] = DraftHost(name, *self.addresses(name))
        return self.homes[name]

    def ask(self, owner: str, question: str) -> None:
        """Add a domain without a final server to the file of its faculty, as an entry that no plan accepts."""
        wanted = owner.removeprefix("*.")
        clean = re.sub(r"[^A-Za-z0-9.-]", "-", wanted).strip("-.") or "name"
        name, number = f"{TODO}.{clean}", 1
        while name in self.open:
            number += 1
            name = f"{TODO}{number}.{clean}"
        group = self.mapped(owner) or group_name(self.label(owner)) if self.label(owner) else UNDECIDED
        domain = owner if _is_pattern(owner) else sanitize(owner)
        entry = DraftHost(name, f"{TODO}: {readable(domain)}: {question}", domains=[domain])
        self.open[name] = (group, entry)

    def addresses(self, name: str) -> tuple[str, str]:
        """Return a host's IPv4 and IPv6 address, each perhaps a TODO that says why it is not known."""
        zone = self.records.authoritative(name)
        if zone is None:
            return f"{TODO}: its address; {name} is not in a zone that was read", ""
        if name in zone.aliases:
            target = sanitize(zone.aliases[name])
            return (
                f"{TODO}: {name} is an alias (CNAME) of {target}, which MX records must not name",
                "",
            )
        found = [ipaddress.ip_address(address) for address in zone.addresses.get(name, ())]
        four = [address for address in found if address.version == 4]
        six = [address for address in found if address.version == 6]
        if not found:
            return f"{TODO}: its IPv4 address; zone {zone.zone} has none", ""
        if not four:
            return self.one(six), ""
        return self.one(four), self.one(six) if six else ""

    def one(self, addresses: Sequence[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> str:
        """Return the only address, or a TODO."""
        shown = ", ".join(map(str, addresses))
        if len(addresses) > 1:
            return f"{TODO}: one of {shown}"
        networks = self.settings.networks
        if networks and not any(addresses[0] in network for network in networks):
            return f"{TODO}: {shown} is outside the networks of the campus"
        return shown

    def label(self, name: str) -> str:
        """Return the label just below the campus's domain, or an empty string outside of it."""
        inside = name.removesuffix(f".{self.settings.domain}")
        return "" if inside in (name, "*") else inside.rpartition(".")[2]

    def mapped(self, name: str) -> str:
        """Return the group that the settings give for a name, or an empty string."""
        key = zone_of(name, self.mapping)
        return self.settings.faculties[key] if key else ""

    def faculty(self, host: DraftHost) -> str:
        """Return the group of a server: by its own name, else by its domains if they agree."""
        if group := self.mapped(host.name):
            return group
        label = self.label(host.name)
        own = f"{label}.{self.settings.domain}"
        if label and (host.name != own or own in host.domains or own in self.records.names):
            return group_name(label)
        groups = {
            self.mapped(name) or (group_name(self.label(name)) if self.label(name) else "") for name in host.domains
        }
        return groups.pop() or UNDECIDED if len(groups) == 1 else UNDECIDED

    def servers(self) -> None:
        """Add each DNS server: to its faculty if it is a final server too, else to the campus."""
        gateways = {host.name: host for host in self.result.gateways}
        for server in self.settings.servers:
            host = self.homes.get(server.host) or gateways.get(server.host)
            if host is None:
                address, address6 = self.addresses(server.host)
                if server.address and self.records.authoritative(server.host) is None:
                    address = server.address
                host = DraftHost(server.host, address, address6)
                self.result.dns.append(host)
            host.zones, host.named_conf = server.zones, server.named_conf

    def gateways(self) -> Iterator[DraftHost]:
        """Yield the gateways in the order of the settings; unused ones get the previous preference plus 10."""
        last = -GATEWAY_STEP
        for name in self.settings.gateways:
            found = sorted(self.preferences[name])
            host = DraftHost(name, *self.addresses(name))
            if len(found) > 1:
                host.preference = f"{TODO}: one of {', '.join(map(str, found))}"
            else:
                host.preference = last = found[0] if found else last + GATEWAY_STEP
            yield host

    def unread(self) -> None:
        """Add questions for zones that were not read, and for those that differ between servers."""
        for name, servers in self.records.unread():
            known = ", ".join(map(sanitize, servers))
            question = f"{TODO}: read the zone {sanitize(readable(name))} too (from {known}), or delete this entry"
            self.result.dns.append(DraftHost(f"{TODO}.{sanitize(name)}", question, zones=(sanitize(name),)))
        for zone in self.records.differing:
            question = f"{TODO}: the servers of zone {readable(zone)} have different records: which are correct?"
            self.result.dns.append(DraftHost(f"{TODO}.{zone}", question, zones=(zone,)))

    def collect(self) -> None:
        """Collect all questions as they are in the files."""
        groups = {"gateways": self.result.gateways, "dns": self.result.dns, **self.result.faculties}
        for group, hosts in sorted(groups.items()):
            for host in hosts:
                values = (host.address, host.address6, host.preference)
                asked = [value for value in values if isinstance(value, str) and value.startswith(TODO)]
                self.result.questions += [f"{group}: {host.name}: {value.removeprefix(f'{TODO}: ')}" for value in asked]


def _reading_order(host: DraftHost) -> tuple[bool, int, str]:
    """Sort the final server of the faculty's own domain first, open questions last."""
    depth = min((domain.count(".") for domain in host.domains), default=0)
    return host.name.startswith(TODO), depth, host.name
