# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read an inventory: the hosts of the twin with names, addresses and the facts that the twin needs."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from lab.packages import LAYERS, SUITES
from lab.tools import REPOSITORY, LabError, command

#: Directories of files and commands that hosts may have before the collection is applied.
SEEDS = REPOSITORY / "lab" / "seeds"
#: Groups that do not name a host's faculty.
PLAIN_GROUPS = {"all", "ungrouped"}
#: Connections of hosts that are this machine itself.
LOCAL_CONNECTIONS = {"local", "ansible.builtin.local"}
#: Interfaces that every host of the twin has.
OWN_INTERFACES = {"lo", "mgmt0"}


@dataclass(frozen=True)
class Host:
    """One host of the inventory, with the facts that the twin needs."""

    name: str
    short: str
    address: IPv4Address | None
    address6: IPv6Address | None = None
    #: Full host name, if it is not the name in the inventory.
    mail_name: str = ""
    ansible_host: str = ""
    faculty: str = ""
    domains: tuple[str, ...] = ()
    backup_domains: tuple[str, ...] = ()
    gateway: bool = False
    #: Name of the interface towards the outside; set on border routers only.
    outside_interface: str | None = None
    #: Mail server that it runs: sendmail, postfix, or none if others maintain it.
    mta: str = "sendmail"
    #: Zones of a DNS server; None on other hosts.
    zones: tuple[str, ...] | None = None
    named_conf: str = "/etc/bind/named.conf"
    #: Debian suite; "" for the twin's.
    suite: str = ""
    #: Image layers; None for those of the host's functions.
    own_layers: frozenset[str] | None = None
    #: Directory under lab/seeds with what the host has before the collection is applied.
    seed: str = ""

    @property
    def full_name(self) -> str:
        """The host's own name, which DNS has."""
        return self.mail_name or self.name

    @property
    def addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """The IPv4 address and the IPv6 address, without a missing one."""
        return tuple(address for address in (self.address, self.address6) if address)

    @property
    def layers(self) -> frozenset[str]:
        """Services of the host before the collection is applied."""
        if self.own_layers is not None:
            return self.own_layers
        mail = {"mail"} if self.domains or self.backup_domains or self.gateway else set()
        if mail and self.mta == "postfix" and not self.gateway:
            mail = {"postfix"}
        return frozenset(mail | ({"dns"} if self.zones is not None else set()))


@dataclass(frozen=True)
class Inventory:
    """The hosts of a campus, in Ansible's order, and its networks."""

    hosts: tuple[Host, ...]
    networks: tuple[str, ...] = ()


@dataclass
class _Problems:
    found: list[str] = field(default_factory=list)

    def add(self, host: str, variable: str, problem: str) -> None:
        self.found.append(f"  {host}: {variable}: {problem}")


def short_names(names: list[str]) -> dict[str, str]:
    """Return for each name the shortest prefix of labels that is unique; the whole name if there is none."""
    labels = {name: name.split(".") for name in names}
    short = {}
    for name, own in labels.items():
        for length in range(1, len(own) + 1):
            others = (other for other in names if other != name)
            if all(labels[other][:length] != own[:length] for other in others):
                break
        short[name] = ".".join(own[:length])
    return short


def _addresses(
    problems: _Problems, name: str, variables: Mapping[str, Any]
) -> tuple[IPv4Address | None, IPv6Address | None]:
    """Return the IPv4 and the IPv6 address, of which a host may lack one, as the plan reads them."""
    address6 = _address6(problems, name, variables)
    variable = "mailgate_address" if "mailgate_address" in variables else "ansible_host"
    value = variables.get(variable)
    if value is None or (value == "" and variable == "mailgate_address"):
        if not variables.get("mailgate_address6"):
            problems.add(name, variable, "missing; set it to the host's IPv4 address, or set mailgate_address6")
        return None, address6
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        problems.add(
            name,
            variable,
            f"{value!r} is not a valid IPv4 address; if it is a name, set mailgate_address too "
            "('' for a host with mailgate_address6 only)",
        )
        return None, address6
    if isinstance(address, IPv4Address):
        return address, address6
    if address6:
        problems.add(name, variable, f"{value!r} is not a valid IPv4 address, and mailgate_address6 is set too")
    return None, address6 or address


def _address6(problems: _Problems, name: str, variables: Mapping[str, Any]) -> IPv6Address | None:
    value = variables.get("mailgate_address6")
    if not value:
        return None
    try:
        return IPv6Address(value)
    except ValueError:
        problems.add(name, "mailgate_address6", f"{value!r} is not a valid IPv6 address")
        return None


def _mapping(problems: _Problems, name: str, variables: Mapping[str, Any], variable: str) -> dict[str, Any] | None:
    value = variables.get(variable)
    if value is None:
        return None
    if isinstance(value, dict):
        return value
    problems.add(name, variable, f"{value!r} is not a mapping; see inventories/demo for an example")
    return {}


def _strings(problems: _Problems, name: str, variable: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        problems.add(name, variable, f"{value!r} is not a list of names")
        return ()
    found = []
    for item in value:
        try:  # DNS and sendmail use the A-labels of international names
            found.append((item if item.isascii() else item.encode("idna").decode()).lower().rstrip("."))
        except UnicodeError as error:
            problems.add(name, variable, f"{item!r} cannot be converted to A-labels: {error}")
    return tuple(found)


def _lab(problems: _Problems, name: str, variables: Mapping[str, Any]) -> tuple[str, frozenset[str] | None, str]:
    """Return the suite, the image layers and the seed that the inventory gives a host in the twin only."""
    suite = variables.get("lab_suite", "")
    if suite and suite not in SUITES:
        problems.add(name, "lab_suite", f"{suite!r} is unknown; use one of {', '.join(SUITES)}")
    layers = None
    if "lab_layers" in variables:
        layers = frozenset(_strings(problems, name, "lab_layers", variables["lab_layers"]))
        if unknown := sorted(layers - LAYERS):
            problems.add(name, "lab_layers", f"unknown: {', '.join(unknown)}; known are {', '.join(sorted(LAYERS))}")
    seed = str(variables.get("lab_seed") or "")
    if seed and not (SEEDS / seed).is_dir():
        problems.add(name, "lab_seed", f"no such directory: {SEEDS / seed}")
    return suite, layers, seed


def _host(
    problems: _Problems, taken: dict[Any, str], names: tuple[str, str, str], variables: Mapping[str, Any]
) -> Host | None:
    name, short, faculty = names
    address, address6 = _addresses(problems, name, variables)
    for value in (address, address6):
        if value is not None and value in taken:
            problems.add(name, "address", f"{value} is also the address of {taken[value]}")
        elif value is not None:
            taken[value] = name
    border = _mapping(problems, name, variables, "mailgate_border")
    outside_interface = None
    if border is not None:
        # A twin has one outside interface; a final + in a name matches it.
        named = border.get("outside_interface", "outside0")
        outside_interface = str(named[0] if isinstance(named, list) and named else named).replace("+", "0")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,14}", outside_interface) or outside_interface in OWN_INTERFACES:
            problems.add(
                name,
                "mailgate_border.outside_interface",
                f"{outside_interface!r} is not a valid interface name in the twin",
            )
    dns = _mapping(problems, name, variables, "mailgate_dns")
    zones = None if dns is None else _strings(problems, name, "mailgate_dns.zones", dns.get("zones", []))
    domains = _strings(problems, name, "mailgate_domains", variables.get("mailgate_domains", []))
    backups = _strings(problems, name, "mailgate_backup_domains", variables.get("mailgate_backup_domains", []))
    suite, own_layers, seed = _lab(problems, name, variables)
    if address is None and address6 is None:
        return None
    if outside_interface and address is None:
        problems.add(name, "ansible_host", "a border router of the twin requires an IPv4 address")
    return Host(
        name=name,
        short=short,
        address=address,
        address6=address6,
        mail_name=str(variables.get("mailgate_name") or "").lower().rstrip("."),
        ansible_host=str(variables.get("ansible_host", name)),
        faculty=faculty,
        domains=domains,
        backup_domains=backups,
        gateway="mailgate_gateway" in variables,
        outside_interface=outside_interface,
        mta=str(variables.get("mailgate_mta") or Host.mta),
        zones=zones,
        named_conf=str((dns or {}).get("named_conf", Host.named_conf)),
        suite=suite,
        own_layers=own_layers,
        seed=seed,
    )


def _groups(listing: Mapping[str, Any]) -> dict[str, str]:
    """Return each host's first group other than PLAIN_GROUPS, in the listing's order; empty if there is none."""
    groups: dict[str, str] = {}
    for group, content in listing.items():
        for name in content.get("hosts", []) if group != "_meta" else []:
            groups[name] = groups.get(name) or ("" if group in PLAIN_GROUPS else group)
    return groups


def parse(listing: Mapping[str, Any], reserved: tuple[str, ...] = ()) -> Inventory:
    """Return an Inventory from the output of `ansible-inventory --list`.

    Args:
        listing: the parsed output.
        reserved: short names that the twin uses itself.

    Raises:
        LabError: lists every problem with host, variable and fix.
    """
    variables: dict[str, dict[str, Any]] = listing.get("_meta", {}).get("hostvars", {})
    groups = _groups(listing)
    names = [n for n in groups if variables.get(n, {}).get("ansible_connection") not in LOCAL_CONNECTIONS]
    problems = _Problems()
    taken: dict[Any, str] = {}
    hosts = []
    short = short_names(names)
    for name in names:
        own = variables.get(name, {})
        faculty = str(own.get("mailgate_faculty", groups[name]))
        if short[name] in reserved:
            problems.add(name, "name", f"{short[name]!r} is a host of the twin itself; rename this host")
        host = _host(problems, taken, (name, short[name], faculty), own)
        if host:
            hosts.append(host)
    listed: Any = next((own["mailgate_networks"] for own in variables.values() if "mailgate_networks" in own), [])
    networks = _strings(problems, "all", "mailgate_networks", listed)
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            problems.add("all", "mailgate_networks", str(error))
    if not names:
        problems.add("the inventory", "hosts", "no hosts found")
    if problems.found:
        raise LabError("the twin cannot be built from this inventory:\n" + "\n".join(problems.found))
    return Inventory(tuple(hosts), networks)


def read(path: Path, reserved: tuple[str, ...] = ()) -> Inventory:
    """Read an inventory with Ansible; raise LabError if Ansible or the twin cannot use it."""
    if not path.exists():
        raise LabError(f"inventory not found: {path}")
    # The release that belongs to the Python that runs this comes first.
    search = os.pathsep.join((str(Path(sys.executable).parent), str(REPOSITORY / ".venv" / "bin"), os.environ["PATH"]))
    program = shutil.which("ansible-inventory", path=search)
    if program is None:
        raise LabError("ansible-inventory is not in .venv/bin or on PATH; run: make setup")
    env = {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_INVENTORY_UNPARSED_FAILED": "true"}
    return parse(json.loads(command([program, "-i", path, "--list"], env=env)), reserved)
