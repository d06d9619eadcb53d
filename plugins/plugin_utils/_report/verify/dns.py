# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge what DNS servers and resolvers answer. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..._verify.questions import OUTSIDE, Plan, addresses, expected, records
from .fault import Fault, some
from .limits import Limits

_NULL = frozenset({"0 ."})  # RFC 7505; bind_mx leaves such a name alone


def judge(plan: Plan, probe: Mapping[str, Any], limits: Limits, now: float) -> Iterator[Fault]:
    """Yield the faults that a vantage point finds in DNS."""
    side = str(probe["side"])
    planned = expected(plan, side)
    answers = probe.get("dns") or {}
    if probe.get("dns_reason"):
        yield Fault("unread", str(probe["host"]), {"text": f"DNS: {probe['dns_reason']}"})
        return
    if not answers:
        return
    wrong: set[str] = set()
    for zone in answers["zones"]:
        wanted = planned.get(zone["zone"], {})
        yield from _zone(zone, wanted, limits, now)
        wrong |= {owner for server in zone["servers"] for owner, _found, _wanted in _differing(server["mx"], wanted)}
    yield from _resolved(answers, planned, wrong)
    yield from _names(plan, answers, side)
    yield from _pointers(plan, answers)


def _zone(
    zone: Mapping[str, Any], planned: Mapping[str, frozenset[str]], limits: Limits, now: float
) -> Iterator[Fault]:
    """Yield the faults of a zone and its servers."""
    name = zone["zone"]
    serving = [each for each in zone["servers"] if each["authoritative"]]
    newest = max((each["serial"] for each in serving), default=0)
    primary = next((each for each in serving if each["host"] == each["primary"]), serving[0] if serving else None)
    leader = primary or {"host": "-", "serial": newest}
    for server in zone["servers"]:
        values = {"zone": name, "address": f"{server['host']} ({server['address']})"}
        if not server["authoritative"]:
            reason = server["error"] or "no authoritative answer"
            yield Fault("lame", server["host"], values | {"reason": reason}, key=name)
        elif server["serial"] != leader["serial"]:
            more = {"serial": server["serial"], "primary": leader["host"], "newest": leader["serial"]}
            # Its other records are as old as its serial.
            yield Fault("stale", server["host"], values | more, key=name)
        else:
            yield from _mx(name, server, planned)
    yield from _ttl(name, leader, limits)
    yield from _delegation(zone, leader)
    yield from _signed(zone, leader, limits, now)


def _differing(
    mx: Mapping[str, Any], planned: Mapping[str, frozenset[str]]
) -> Iterator[tuple[str, frozenset[str], frozenset[str]]]:
    for owner, answer in mx.items():
        found = frozenset(answer["records"])
        wanted = planned.get(owner, frozenset())
        if not answer["error"] and found not in (wanted, _NULL):
            yield owner, found, wanted


def _mx(zone: str, server: Mapping[str, Any], planned: Mapping[str, frozenset[str]]) -> Iterator[Fault]:
    """Yield one fault for all names of a zone that differ in the same way."""
    groups: dict[tuple[str, str], list[str]] = {}
    for owner, found, wanted in _differing(server["mx"], planned):
        groups.setdefault((listed(found), listed(wanted)), []).append(owner)
    for (found_text, wanted_text), owners in groups.items():
        values = {"domains": some(owners), "found": found_text, "planned": wanted_text}
        yield Fault("mx", server["host"], values, key=owners[0])
    failed = [(owner, answer["error"]) for owner, answer in server["mx"].items() if answer["error"]]
    if failed:
        values = {"zone": zone, "address": f"{server['host']} ({server['address']})", "reason": failed[0][1]}
        yield Fault("lame", server["host"], values, key=zone)


def _ttl(zone: str, server: Mapping[str, Any], limits: Limits) -> Iterator[Fault]:
    """Yield the names whose TTL is outside the limits, and those whose TTL is not that of most names of the zone."""
    ttls = {owner: each["ttl"] for owner, each in server.get("mx", {}).items() if each["records"]}
    usual = max(ttls.values(), key=list(ttls.values()).count, default=0)
    groups: dict[tuple[int, str], list[str]] = {}
    for owner, ttl in ttls.items():
        if not limits.ttl_min <= ttl <= limits.ttl_max:
            groups.setdefault((ttl, f"{limits.ttl_min} to {limits.ttl_max}"), []).append(owner)
        elif ttl != usual and list(ttls.values()).count(usual) > 1:
            groups.setdefault((ttl, str(usual)), []).append(owner)
    for (ttl, wanted), owners in groups.items():
        values = {"domains": some(owners), "found": ttl, "planned": wanted}
        yield Fault("ttl", server["host"], values, key=f"{zone} {owners[0]}")


def _delegation(zone: Mapping[str, Any], leader: Mapping[str, Any]) -> Iterator[Fault]:
    name = zone["zone"]
    own = set(leader.get("ns", ()))
    for each in zone["delegation"][:1]:
        listed_ones = set(each["ns"])
        if listed_ones and own and listed_ones != own:
            values = {"zone": name, "parent": ", ".join(sorted(listed_ones)), "own": ", ".join(sorted(own))}
            yield Fault("delegation", leader["host"], values, key=name)
        for server in each["ns"]:
            if (server == name or server.endswith(f".{name}")) and not each["glue"].get(server):
                yield Fault("glue", server, {"zone": name, "name": server}, key=name)
    for server, found in zone.get("ns", {}).items():
        within = any(server in each["glue"] and not each["glue"][server] for each in zone["delegation"])
        if not found and not within:
            yield Fault("glue", server, {"zone": name, "name": server}, key=name)


def _signed(zone: Mapping[str, Any], leader: Mapping[str, Any], limits: Limits, now: float) -> Iterator[Fault]:
    signed = zone.get("dnssec") or {}
    if signed.get("errors"):
        values = {"zone": zone["zone"], "text": "; ".join(signed["errors"][:3])}
        yield Fault("dnssec", leader["host"], values, key=zone["zone"])
    elif signed.get("expires") and signed["expires"] < now + limits.dnssec_days * 86400:
        values = {"zone": zone["zone"], "until": day(signed["expires"])}
        yield Fault("signatures_end", leader["host"], values, key=zone["zone"])


def _resolved(
    answers: Mapping[str, Any], planned: Mapping[str, Mapping[str, frozenset[str]]], wrong: Iterable[str]
) -> Iterator[Fault]:
    """Yield what a resolver answers otherwise than the plan, without names that the DNS servers have wrong already."""
    resolver = ", ".join(answers["resolvers"]) or "resolver"
    every = {owner: mx for owners in planned.values() for owner, mx in owners.items()}
    errors = {answer["error"] for answer in answers["mx"].values() if answer["error"]}
    if errors and all(answer["error"] for answer in answers["mx"].values()):
        yield Fault("no_resolver", resolver, {"reason": min(errors)})
        return
    known = set(wrong)
    groups: dict[tuple[str, str], list[str]] = {}
    for owner, answer in answers["mx"].items():
        found, wanted = frozenset(answer["records"]), every.get(owner, frozenset())
        if owner not in known and found not in (wanted, _NULL):
            groups.setdefault((answer["error"] or listed(found), listed(wanted)), []).append(owner)
    for (found_text, wanted_text), owners in groups.items():
        values = {"domains": some(owners), "found": found_text, "planned": wanted_text}
        yield Fault("resolver", resolver, values, key=owners[0])


def _names(plan: Plan, answers: Mapping[str, Any], side: str) -> Iterator[Fault]:
    """Yield mail exchanges with missing or other addresses."""
    hosts = {host["mail_name"] or name: host for name, host in plan["hosts"].items()}
    for name, answer in answers["names"].items():
        planned = set(addresses(hosts.get(name, {})))
        found = set(answer["addresses"])
        gateway = any(name == each["exchange"] for each in plan["gateways"])
        if answer["error"]:
            continue  # a fault of the resolver or of the zone
        if answer["alias"]:
            yield Fault("alias", name, {"name": name}, key=name)
        elif not found:
            if gateway or side != OUTSIDE or _named(plan, name, side):
                yield Fault("no_address", name, {"name": name}, key=name)
        elif gateway and planned and found != planned:
            values = {"name": name, "found": ", ".join(sorted(found)), "planned": ", ".join(sorted(planned))}
            yield Fault("address", name, values, key=name)


def _named(plan: Plan, name: str, side: str) -> bool:
    """Return whether an MX record of this side names a host."""
    return any(
        mx["exchange"] == name
        for zones in records(plan, side).values()
        for zone in zones
        for owner in zone["owners"]
        for mx in owner["mx"]
    )


def _pointers(plan: Plan, answers: Mapping[str, Any]) -> Iterator[Fault]:
    for gateway in plan["gateways"]:
        for address in addresses(gateway):
            answer = answers["ptr"].get(address)
            if answer and not answer["error"] and answer["names"] != [gateway["exchange"]]:
                found = ", ".join(answer["names"]) or "-"
                values = {"address": address, "found": found, "planned": gateway["exchange"]}
                yield Fault("ptr", gateway["host"], values, key=address)


def listed(mx: Iterable[str]) -> str:
    """Return MX records as text, most preferred first."""
    return ", ".join(sorted(mx, key=lambda record: (int(record.split()[0]), record))) or "-"


def day(seconds: float) -> str:
    """Return a time as a date in UTC."""
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d}"
