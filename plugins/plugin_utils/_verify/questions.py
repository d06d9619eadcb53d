# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify.yml asks from a vantage point, by the plan. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

OUTSIDE, INSIDE = "outside", "inside"
Plan = Mapping[str, Any]


def addresses(host: Mapping[str, Any]) -> list[str]:
    """Return the addresses of a host of the plan."""
    return [str(host[name]) for name in ("address", "address6") if host.get(name)]


def permitted(plan: Plan) -> set[str]:
    """Return the addresses that every border router leaves open."""
    borders = plan.get("border", {}).values()
    found = [{str(each["address"]) for each in border["permits"]} for border in borders]
    return set.intersection(*found) if found else set()


def in_campus(plan: Plan, address: str) -> bool:
    """Return whether an address is in the networks that the border protects."""
    networks = [ipaddress.ip_network(each) for each in plan["campus"].get("networks", ())]
    return any(ipaddress.ip_address(address) in each for each in networks)


def inner(plan: Plan) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the inner mail servers, also those of others."""
    for name, host in plan["hosts"].items():
        if {"servers", "destinations"} & set(host["kinds"]) and "gateways" not in host["kinds"]:
            yield name, host


def homes(plan: Plan) -> dict[str, list[str]]:
    """Return the domains of the gateways' table by their final server."""
    found: dict[str, list[str]] = {}
    for route in plan["routes"]:
        found.setdefault(route["home"], []).append(route["domain"])
    return found


def home(plan: Plan, address: str) -> str:
    """Return the final server of a mailbox, "" if the gateways do not accept its domain."""
    servers = {route["domain"]: str(route["home"]) for route in plan["routes"]}
    domain = address.rpartition("@")[2].lower()
    names = [domain]
    while "." in domain:
        domain = domain.partition(".")[2]
        names.append(f"*.{domain}")
    return next((servers[name] for name in names if name in servers), "")


def reads(plan: Plan, server: str) -> bool:
    """Return whether the log of a final server is read, as it is not maintained by others."""
    return "servers" in plan["hosts"].get(server, {}).get("kinds", ())


def exchanges(plan: Plan) -> list[dict[str, Any]]:
    """Return the mail exchanges for mail_send, in the order of the MX records."""
    ordered = sorted(plan["gateways"], key=lambda gateway: gateway["preference"])
    return [{"host": each["exchange"], "address": address} for each in ordered for address in addresses(each)]


def smtp(plan: Plan, side: str, *, alone: bool = False) -> list[dict[str, Any]]:
    """Return the servers that smtp_probe asks.

    Args:
        plan: The plan.
        side: Where the vantage point is.
        alone: Whether there is none outside, so that the gateways are asked everything from inside.
    """
    return [*_gateways(plan, whole=side == OUTSIDE or alone), *_inner(plan, side)]


def is_address(text: str) -> bool:
    """Return whether a text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def outbound(servers: Sequence[str]) -> list[dict[str, Any]]:
    """Return the servers outside of the campus that smtp_probe only connects to, without invalid addresses."""
    return [{"address": each, "session": False} for each in dict.fromkeys(servers) if is_address(each)]


def connects_out(functions: Sequence[str]) -> bool:
    """Return whether a host with these functions is asked to connect to servers outside of the campus."""
    return bool({"servers", "gateways"} & set(functions))


def _gateways(plan: Plan, *, whole: bool) -> Iterator[dict[str, Any]]:
    domains = [route["domain"] for route in plan["routes"]]
    exact = [each[0] for each in homes(plan).values() if each]
    for gateway in plan["gateways"]:
        for number, address in enumerate(addresses(gateway)):
            asked = {"host": gateway["exchange"], "address": address}
            if whole and number == 0:
                asked |= {"domains": domains, "unknown": exact, "relay": exact[0] if exact else ""}
            yield asked


def _inner(plan: Plan, side: str) -> Iterator[dict[str, Any]]:
    opened = permitted(plan)
    by_home = homes(plan)
    for name, host in inner(plan):
        domains = by_home.get(name, [])
        for number, address in enumerate(addresses(host)):
            if not in_campus(plan, address):
                continue
            asked: dict[str, Any] = {"host": host["mail_name"] or name, "address": address}
            if side == OUTSIDE:
                if plan.get("border"):
                    yield asked | {"session": address in opened}
            elif number == 0:
                own = "servers" in host["kinds"]
                more = {"unknown": domains[:1], "relay": domains[0]} if own and domains else {}
                yield asked | {"domains": domains} | more
            else:
                yield asked | {"session": False}


def records(plan: Plan, side: str) -> Mapping[str, Any]:
    """Return the MX records that a vantage point should find, by DNS server."""
    found: Mapping[str, Any] = (plan.get("mx_outside") if side == OUTSIDE else None) or plan.get("mx", {})
    return found


def expected(plan: Plan, side: str) -> dict[str, dict[str, frozenset[str]]]:
    """Return the planned MX records, as `PREFERENCE EXCHANGE`, by zone and name."""
    found: dict[str, dict[str, frozenset[str]]] = {}
    for zones in records(plan, side).values():
        for zone in zones:
            owners = found.setdefault(zone["zone"], {})
            for owner in zone["owners"]:
                owners[owner["owner"]] = frozenset(f"{mx['preference']} {mx['exchange'].lower()}" for mx in owner["mx"])
    return found


def dns(plan: Plan, side: str) -> dict[str, Any]:
    """Return what dns_probe asks."""
    planned = expected(plan, side)
    servers: dict[str, dict[str, list[str]]] = {zone: {} for zone in planned}
    for server in plan["dns"]:
        host = plan["hosts"].get(server["host"], {})
        for zone in server["zones"]:
            if zone in servers:
                servers[zone][host.get("mail_name") or server["host"]] = list(server["addresses"])
    exchanges = {record.split()[1] for owners in planned.values() for mx in owners.values() for record in mx}
    return {
        "zones": [{"zone": zone, "owners": list(owners), "servers": servers[zone]} for zone, owners in planned.items()],
        "owners": [owner for owners in planned.values() for owner in owners],
        "names": sorted(exchanges | {gateway["exchange"] for gateway in plan["gateways"]}),
        "addresses": [address for gateway in plan["gateways"] for address in addresses(gateway)],
    }
