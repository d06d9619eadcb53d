# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The campus before the collection is applied: initial files of its DNS and mail servers.

Zone files look like an admin's own: comments, tabs, `$ORIGIN`, relative names, a dated serial, and for each mail domain
`IN MX 0 <final server>`, and `IN MX 10 <backup>` if it has one. Everything here is a function of the inventory,
but for the seeds of hosts that somebody has configured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lab.inventory import Host
from lab.network import OUTSIDE_ADDRESS, OUTSIDE_ADDRESS6

OUTSIDE_NAME = "outside.example"
SERIAL = "2026041501"
ZONES = "/etc/bind/zones"

Record = tuple[str, str, str]  # owner (full name without the last dot), type, data


def is_under(name: str, parent: str) -> bool:
    """Whether a name is `parent` or below it."""
    return name == parent or name.endswith(f".{parent}")


def zone_of(name: str, zones: Iterable[str]) -> str | None:
    """Return the longest of `zones` that contains a name."""
    return max((zone for zone in zones if is_under(name, zone)), key=len, default=None)


def relative(name: str, origin: str) -> str:
    """Return a name as written below `$ORIGIN origin.`."""
    if name == origin:
        return "@"
    return name[: -len(origin) - 1] if is_under(name, origin) else f"{name}."


def served_zones(hosts: Iterable[Host]) -> dict[str, list[Host]]:
    """Return each zone of the inventory with its DNS servers."""
    zones: dict[str, list[Host]] = {}
    for host in hosts:
        for zone in host.zones or ():
            zones.setdefault(zone, []).append(host)
    return zones


def _addresses(host: Host) -> list[Record]:
    return [(host.full_name, "AAAA" if address.version == 6 else "A", str(address)) for address in host.addresses]


def _own_records(host: Host) -> list[Record]:
    own = ((domain, "MX", f"0 {host.full_name}") for domain in host.domains)
    backups = ((domain, "MX", f"10 {host.full_name}") for domain in host.backup_domains)
    return [*_addresses(host), *own, *backups]


def _data(kind: str, data: str, origin: str) -> str:
    if kind in ("MX", "NS"):
        *preference, name = data.split()
        return " ".join([*preference, relative(name, origin)])
    return data


def _lines(records: Sequence[Record], origin: str) -> list[str]:
    """Return records as lines; the owner is written on its first line only."""
    lines, last = [], ""
    for owner, kind, data in records:
        shown = "" if owner == last else relative(owner, origin)
        gap = "\t" * max(1, 2 - len(shown) // 8)
        lines.append(f"{shown}{gap}IN\t{kind}\t{_data(kind, data, origin)}")
        last = owner
    return lines


def _section(owner: str, zone: str) -> str:
    """Return the `$ORIGIN` of an owner: its parent, if it is more than one label deep."""
    if owner == zone or owner.startswith("*."):
        return zone
    parent = owner.split(".", 1)[1]
    return parent if is_under(parent, zone) else zone


def zone_file(zone: str, hosts: Sequence[Host]) -> str:
    """Return a zone file: addresses and MX records of the names that are in no deeper zone, and delegations."""
    zones = served_zones(hosts)
    servers = zones[zone]
    text = [
        f"; {zone}: hosts and mail.",
        "; Please count up the serial (YYYYMMDDnn) after every change!",
        "$TTL	86400",
        f"$ORIGIN {zone}.",
        f"@		IN	SOA	{relative(servers[0].full_name, zone)} hostmaster.{zone}. (",
        f"				{SERIAL}	; serial",
        "				10800		; refresh (3 hours)",
        "				3600		; retry (1 hour)",
        "				604800		; expire (1 week)",
        "				60 )		; negative answers",
        *(f"		IN	NS	{relative(server.full_name, zone)}" for server in servers),
    ]
    sections: dict[str, dict[str, list[Record]]] = {zone: {}}
    for host in hosts:
        for record in _own_records(host):
            if zone_of(record[0], zones) == zone:
                sections.setdefault(_section(record[0], zone), {}).setdefault(host.faculty, []).append(record)
    for origin in sorted(sections, key=lambda name: (name != zone, name)):
        if origin != zone:
            text += ["", f"$ORIGIN {origin}."]
        for faculty, records in sections[origin].items():
            ordered = sorted(records, key=lambda record: [r[0] for r in records].index(record[0]))
            text += ["", f"; --- {faculty or 'other'}", *_lines(ordered, origin)]
    children = [name for name in zones if name != zone and zone_of(name.split(".", 1)[-1], zones) == zone]
    if children:
        text += ["", "; --- zones of their own", f"$ORIGIN {zone}."]
        text += _lines([record for child in children for record in _delegation(child, zones[child])], zone)
    return "\n".join([*text, ""])


def _delegation(zone: str, servers: Sequence[Host]) -> list[Record]:
    """Return the NS records of a zone, and the glue records of its servers."""
    records: list[Record] = [(zone, "NS", server.full_name) for server in servers]
    return records + [record for s in servers if is_under(s.full_name, zone) for record in _addresses(s)]


def name_server(host: Host, hosts: Sequence[Host], networks: Iterable[str]) -> dict[str, str]:
    """Return the files of a campus DNS server by path: its zones, and recursion for the campus via the outside."""
    zones = host.zones or ()
    clients = " ".join(f"{network};" for network in networks)
    files = {f"{ZONES}/{zone}.zone": zone_file(zone, hosts) for zone in zones}
    files["/etc/bind/named.conf.local"] = "// The zones this server is the primary of.\n" + "".join(
        f'\nzone "{zone}" {{\n\ttype primary;\n\tfile "{ZONES}/{zone}.zone";\n}};\n' for zone in zones
    )
    files["/etc/bind/named.conf.options"] = (
        'options {\n\tdirectory "/var/cache/bind";\n\tlisten-on-v6 { any; };\n\n'
        f"\trecursion yes;\n\tallow-recursion {{ localhost; {clients} }};\n"
        f"\tforward only;\n\tforwarders {{ {OUTSIDE_ADDRESS}; }};\n"
        "\tdnssec-validation no;\n\tempty-zones-enable no;\n\tmax-cache-ttl 1;\n\tmax-ncache-ttl 1;\n};\n"
    )
    if host.named_conf != Host.named_conf:
        files[host.named_conf] = f'include "{Host.named_conf}";\n'
    return files


def root_zone(hosts: Sequence[Host]) -> str:
    """Return the root zone: the outside, delegations of the campus's zones, and hosts that are in none of them."""
    zones = served_zones(hosts)
    records: list[Record] = [
        (OUTSIDE_NAME, "A", str(OUTSIDE_ADDRESS)),
        (OUTSIDE_NAME, "AAAA", str(OUTSIDE_ADDRESS6)),
        (OUTSIDE_NAME, "MX", f"0 {OUTSIDE_NAME}"),
    ]
    for zone, servers in zones.items():
        if zone_of(zone.split(".", 1)[-1], zones) is None:
            records += [(zone, "NS", server.full_name) for server in servers]
            records += [record for server in servers for record in _addresses(server)]
    for host in hosts:
        records += [record for record in _own_records(host) if zone_of(record[0], zones) is None]
    text = [f". 60 IN SOA {OUTSIDE_NAME}. hostmaster.{OUTSIDE_NAME}. 1 3600 600 86400 1", f". 60 IN NS {OUTSIDE_NAME}."]
    for owner, kind, data in dict.fromkeys(records):
        text.append(f"{owner}. 60 IN {kind} {data}{'.' if kind in ('MX', 'NS') else ''}")
    return "\n".join([*text, ""])


def outside(hosts: Sequence[Host]) -> dict[str, str]:
    """Return the files of the internet's only name server, which caches for at most one second."""
    return {
        "/etc/bind/named.conf": (
            'options {\n\tdirectory "/var/cache/bind";\n\tlisten-on-v6 { any; };\n\trecursion yes;\n'
            "\tallow-recursion { any; };\n\tallow-query-cache { any; };\n\tdnssec-validation no;\n"
            "\tempty-zones-enable no;\n\tmax-cache-ttl 1;\n\tmax-ncache-ttl 1;\n\tservfail-ttl 0;\n};\n"
            f'zone "." {{\n\ttype primary;\n\tfile "{ZONES}/root.zone";\n}};\n'
        ),
        f"{ZONES}/root.zone": root_zone(hosts),
    }


def mail_server(host: Host) -> dict[str, str]:
    """Return the files of a faculty's mail server: its local host names."""
    if host.mta == "postfix":
        return {}
    own = [domain for domain in (*host.domains, *host.backup_domains) if not domain.startswith("*.")]
    return {"/etc/mail/local-host-names": "\n".join(["localhost", *dict.fromkeys([host.full_name, *own]), ""])}


def resolver(hosts: Iterable[Host], *, ipv6: bool = False) -> str:
    """Return resolv.conf of a campus host: the campus's DNS servers, or the outside's if there are none.

    `ipv6` is for a host without an IPv4 address, which reaches only IPv6 addresses.
    """
    addresses = (host.address6 if ipv6 else host.address for host in hosts if host.zones is not None)
    servers = [str(address) for address in addresses if address][:3]
    servers = servers or [str(OUTSIDE_ADDRESS6 if ipv6 else OUTSIDE_ADDRESS)]
    return "".join(f"nameserver {server}\n" for server in servers) + "options timeout:2 attempts:2\n"


def lived_in(directory: Path) -> tuple[dict[str, str], str]:
    """Return the files of a seed by path on the host, and the commands that complete it after the boot."""
    files = {f"/{p.relative_to(directory)}": p.read_text() for p in sorted(directory.rglob("*")) if p.is_file()}
    return files, files.pop("/commands", "")


def identity(name: str, addresses: Iterable[str]) -> dict[str, str]:
    """Return hostname and hosts files: loopback and the host itself; all else is in DNS."""
    short = name.partition(".")[0]
    names = name if name == short else f"{name} {short}"
    own = "".join(f"{address} {names}\n" for address in addresses)
    return {
        "/etc/hostname": f"{short}\n",
        "/etc/hosts": f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{own}",
    }
