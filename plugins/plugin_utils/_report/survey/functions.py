# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge what DNS servers, border routers and gateways answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..translations import N_
from .finding import CONFLICT, FACT, OBSTACLE, Finding, some

_MEMORY = 2000  # MiB that clamd needs with its signatures twice in memory, while it reloads them
_DISK = 2000


def dns(facts: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is to be known of a DNS server."""
    found = facts.get("dns")
    if found is None:
        return
    for error in found.get("errors", ()):
        yield Finding(OBSTACLE, "{text}", "", {"text": error})
    if found.get("version"):
        values = {"version": found["version"], "file": found.get("named_conf", "")}
        yield Finding(FACT, N_("DNS server: BIND {version} with {file}"), "", values)
    if found.get("missing"):
        fix = N_("Correct its mailgate_dns.zones, or add them to its configuration")
        yield Finding(OBSTACLE, N_("It does not serve {names}"), fix, {"names": some(found["missing"])})
    wanted = {str(zone).rstrip(".").lower() for zone in answer.get("zones", ())}
    zones = [zone for zone in found.get("zones", ()) if zone["name"] in wanted]
    if views := found.get("views"):
        yield Finding(FACT, N_("Has the views {names}"), "", {"names": some(views)})
    for zone in zones:
        yield from _zone(zone)
    several = {zone["name"] for zone in zones if sum(each["name"] == zone["name"] for each in zones) > 1}
    if several:
        fix = N_("Say which copies have the MX records of the plan: bind_mx_views, bind_mx_other_views")
        yield Finding(CONFLICT, N_("Several views have {names}"), fix, {"names": some(sorted(several))})
    others = sorted({z["name"] for z in found.get("zones", ()) if z["kind"] == "primary" and z["name"] not in wanted})
    if others:
        fix = N_("Add those with mail domains to its mailgate_dns.zones")
        yield Finding(
            FACT, N_("Is primary for zones that the inventory does not list: {names}"), fix, {"names": some(others)}
        )


def _zone(zone: Mapping[str, Any]) -> Iterator[Finding]:
    name = f"{zone['name']} ({zone['view']})" if zone["view"] else zone["name"]
    words = [zone["kind"], *(["dynamic"] if zone["dynamic"] else []), *(["DNSSEC"] if zone["signed"] else [])]
    values = {
        "zone": name,
        "kind": ", ".join(words),
        "servers": some(zone.get("name_servers", ())) or some(zone.get("primaries", ())) or "-",
        "text": zone.get("obstacle", ""),
    }
    yield Finding(FACT, N_("Zone {zone}: {kind}; name servers {servers}"), "", values)
    if zone.get("obstacle"):
        yield Finding(OBSTACLE, N_("Zone {zone} cannot be changed here: {text}"), "", values)


def router(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is to be known of a border router."""
    found = facts.get("router")
    if found is None:
        return
    values = {
        "backend": found.get("backend", ""),
        "reason": found.get("reason", ""),
        "managers": some(found.get("managers", ())) or "-",
        "names": some(found.get("interfaces", ())) or "-",
        "default": found.get("default") or "-",
    }
    yield Finding(FACT, N_("The rules would be loaded by {backend} ({reason})"), "", values)
    yield Finding(FACT, N_("Services that manage its firewall: {managers}"), "", values)
    yield Finding(FACT, N_("Interfaces: {names}; the default route leaves by {default}"), "", values)
    for problem in found.get("problems", ()):
        yield Finding(OBSTACLE, "{text}", "", {"text": problem})
    for warning in found.get("warnings", ()):
        yield Finding(CONFLICT, "{text}", "", {"text": warning})
    if not found.get("forwards", True):
        fix = N_("Check that it is the router to the internet")
        yield Finding(CONFLICT, N_("It forwards no IPv4 packets"), fix)
    for way in found.get("ways", ()):
        values = {"address": way["address"], "interface": way["interface"], "rule": "; ".join(way.get("rules", ()))}
        if way["fate"] == "blocked":
            fix = N_("Accept new TCP connections to port 25 of the gateways before this rule")
            text = N_("Its own rules block mail from {interface} to the gateway {address}: {rule}")
            yield Finding(CONFLICT, text, fix, values)
        elif way["fate"] == "unknown":
            text = N_("Whether mail from {interface} passes to the gateway {address} depends on: {rule}")
            yield Finding(FACT, text, "", values)
        else:
            text = N_("Its own rules let mail from {interface} pass to the gateway {address}")
            yield Finding(FACT, text, "", values)


def gateway(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is to be known of a gateway."""
    found = facts.get("gateway")
    if found is None:
        return
    system = facts.get("system") or {}
    if found.get("clamd_conf") or found.get("freshclam_conf"):
        fix = N_("Compare its options with those that the role clamav sets, by --check --diff")
        yield Finding(FACT, N_("ClamAV is configured already"), fix)
    else:
        yield Finding(FACT, N_("ClamAV is not configured yet"))
    if found.get("clamd_socket"):
        yield Finding(FACT, N_("clamd runs, with the socket {path}"), "", {"path": found["clamd_socket"]})
    if 0 < int(system.get("memory") or 0) < _MEMORY:
        fix = N_("Give it more memory: clamd holds its signatures twice while it reloads them")
        yield Finding(
            CONFLICT, N_("It has {memory} MiB of memory, less than {needed}"), fix, {**system, "needed": _MEMORY}
        )
    if 0 < int(system.get("disk") or 0) < _DISK:
        fix = N_("Give /var more space, for queue, quarantine and signatures")
        yield Finding(
            CONFLICT, N_("It has {disk} MiB free in /var, less than {needed}"), fix, {**system, "needed": _DISK}
        )
