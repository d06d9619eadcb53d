# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories as Ansible reads them, and the zones of their campuses, for the tests of discover."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager

from ansible_collections.campus.mailgate.plugins.plugin_utils._discover.discover import Server, Settings, ZoneData
from ansible_collections.campus.mailgate.plugins.plugin_utils._discover.zone import parse
from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.findings import HostFacts
from ansible_collections.campus.mailgate.plugins.plugin_utils._pipeline import make_plan
from lab import inventory, seed

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "inventories" / "example"
DEMO = ROOT / "inventories" / "demo"
TODAY = datetime.date(2026, 11, 24)


@cache
def load(directory: Path) -> Mapping[str, HostFacts]:
    """Every host of an inventory, with its groups and all that is set for it."""
    loader = DataLoader()
    inventory = InventoryManager(loader, sources=[str(directory)])
    variables = VariableManager(loader=loader, inventory=inventory)
    facts = {}
    for host in inventory.get_hosts():
        own = variables.get_vars(host=host, include_hostvars=False)
        known = {name: own[name] for name in own if name.startswith("mailgate_") or name == "ansible_host"}
        facts[host.name] = HostFacts(host.name, own["group_names"], known)
    return facts


hosts_of = cache(inventory.read)


def plan(directory: Path) -> dict[str, Any]:
    return make_plan(list(load(directory).values()), TODAY)


def zone_texts(directory: Path) -> dict[str, dict[str, str]]:
    """Return the zones of an inventory's campus as they are before the collection comes, by DNS server."""
    hosts = hosts_of(directory).hosts
    return {
        host.name: {zone: seed.zone_file(zone, hosts) for zone in host.zones}
        for host in hosts
        if host.zones is not None
    }


def settings(directory: Path, **more: Any) -> Settings:
    """Return what the admin of that campus would say before a discovery."""
    hosts = hosts_of(directory)
    chosen: dict[str, Any] = {
        "domain": "univ.example",
        "name": "Example University",
        "servers": tuple(Server(host.name, host.zones) for host in hosts.hosts if host.zones is not None),
        "gateways": tuple(host.name for host in hosts.hosts if host.gateway),
        "networks": tuple(ipaddress.ip_network(network) for network in hosts.networks),
        "faculties": faculties(directory),
    }
    return Settings(**(chosen | more))


def faculties(directory: Path) -> dict[str, str]:
    """Return the domain of each faculty, which is its label below the campus, to its group."""
    homes = [host for host in hosts_of(directory).hosts if host.domains]
    return {".".join(host.full_name.split(".")[-3:]): host.faculty for host in homes}


def read(texts: Mapping[str, Mapping[str, str]]) -> list[ZoneData]:
    return [parse(text, zone) for zones in texts.values() for zone, text in zones.items()]


def facts(directory: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Hosts of one kind with what DNS can know of them, domains in A-labels."""
    found = {}
    for name, host in load(directory).items():
        own = host.variables
        if f"mailgate_{kind}" not in own:
            continue
        domains = own.get("mailgate_domains", [])
        known = {
            "address": own.get("mailgate_address", own["ansible_host"]),
            "address6": own.get("mailgate_address6"),
            "domains": {domain.encode("idna").decode() for domain in domains},
            "faculty": [group for group in host.groups if group != "all"] if domains else None,
            "preference": own.get("mailgate_gateway", {}).get("preference"),
            "zones": own.get("mailgate_dns", {}).get("zones"),
        }
        found[own.get("mailgate_name", name)] = known
    return found
