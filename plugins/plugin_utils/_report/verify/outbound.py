# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge which hosts can connect to port 25 outside of the campus, by the outbound rules of the border routers. Pure."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..._verify.questions import Plan, addresses, in_campus, is_address
from .fault import Fault

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: The variables of a border router that set its rule.
VARIABLES = ("border_firewall_outbound", "border_firewall_networks", "border_firewall_state")
_OPEN = "open"


@dataclass(frozen=True, slots=True)
class Rule:
    """The outbound rule of a border router.

    Attributes:
        enforced: Whether it refuses connections.
        networks: The networks whose connections it refuses; all addresses of a family that has none.
        senders: The hosts whose connections it never refuses, besides the gateways.
        current: Those of them whose last day is not over.
    """

    enforced: bool
    networks: tuple[Network, ...] = ()
    senders: tuple[Network, ...] = ()
    current: tuple[Network, ...] = ()

    def refuses(self, own: Collection[str]) -> bool:
        """Return whether connections from a host with these addresses of one family are refused."""
        networks = [each for each in self.networks if {_version(address) for address in own} == {_version(str(each))}]
        return self.enforced and not _within(own, self.senders) and (not networks or _within(own, networks))


Rules: TypeAlias = Mapping[str, Rule | None]


def rules(plan: Plan, routers: Mapping[str, Mapping[str, Any]], now: float) -> Rules:
    """Return the rule of each border router by its name, None if it is not known.

    Args:
        plan: The result of mail_plan.
        routers: `VARIABLES` of the routers, without routers whose variables cannot be read.
        now: The time in seconds since 1970.
    """
    today = datetime.datetime.fromtimestamp(now, datetime.UTC).date()
    found: dict[str, Rule | None] = {}
    for name, border in plan.get("border", {}).items():
        found[name] = None
        # Nothing sets the rules of a router that others maintain.
        if name in routers and border["managed"]:
            # The role reports settings that are not valid.
            with suppress(AttributeError, KeyError, TypeError, ValueError):
                found[name] = _rule(routers[name], border["networks"], today)
    return found


def _rule(values: Mapping[str, Any], networks: Iterable[str], today: datetime.date) -> Rule:
    outbound = values.get("border_firewall_outbound") or {}
    present = values.get("border_firewall_state", "present") == "present"
    senders = [
        (ipaddress.ip_network(each["address"]), str(each.get("until") or "")) for each in outbound.get("senders") or ()
    ]
    return Rule(
        present and outbound.get("mode") == "enforce",
        tuple(ipaddress.ip_network(each) for each in values.get("border_firewall_networks", networks)),
        tuple(network for network, _until in senders),
        tuple(network for network, until in senders if not until or datetime.date.fromisoformat(until) >= today),
    )


def judge(
    plan: Plan,
    servers: Sequence[str],
    known: Rules,
    answers: Sequence[Mapping[str, Any]],
    probes: Sequence[Mapping[str, Any]],
) -> Iterator[Fault]:
    """Yield the hosts that can connect and must not, or must and cannot.

    Args:
        plan: The result of mail_plan.
        servers: The addresses outside of the campus.
        known: The rules of the border routers.
        answers: The results of mail_verify on the hosts.
        probes: Its results at the vantage points; one outside shows whether a server answers at all.
    """
    places = [*answers, *probes]
    reached = {each["address"] for place in places for each in place.get("outbound", ()) if each["state"] == _OPEN}
    tried = {each["address"] for answer in answers for each in answer.get("outbound", ())}
    useful = set()
    for server in dict.fromkeys(servers):
        if reason := _useless(plan, server) or ("no host reached it" if server in tried - reached else ""):
            yield Fault("outbound_unknown", "-", {"address": server, "reason": reason}, key=server)
        else:
            useful.add(server)
    for answer in answers:
        host = str(answer["host"])
        if answer.get("outbound_reason"):
            text = f"connections to port 25 outside of the campus: {answer['outbound_reason']}"
            yield Fault("unread", host, {"text": text}, key="outbound")
        found: dict[str, list[Mapping[str, Any]]] = {}
        for each in answer.get("outbound", ()):
            if each["address"] in useful:
                found.setdefault(_version(each["address"]), []).append(each)
        for version, tries in found.items():
            yield from _host(plan, host, version, tries, known)


def _host(plan: Plan, host: str, version: str, tries: Sequence[Mapping[str, Any]], known: Rules) -> Iterator[Fault]:
    """Yield the fault of a host, by its connections with one version of IP to servers that answer."""
    gateway = "gateways" in plan["hosts"][host]["kinds"]
    own = {each for each in addresses(plan["hosts"][host]) if _version(each) == version}
    opened = next((each for each in tries if each["state"] == _OPEN), None)
    if opened:
        own |= {opened["source"]} - {""}
        if own and not gateway and known and all(rule and rule.refuses(own) for rule in known.values()):
            values = {"address": opened["address"], "source": opened["source"] or "-"}
            yield Fault("outbound_open", host, values, key=version)
    elif own and (gateway or any(rule and _within(own, rule.current) for rule in known.values())):
        names = ", ".join(each["address"] for each in tries)
        yield Fault("outbound_closed", host, {"address": names, "state": tries[0]["state"]}, key=version)


def _useless(plan: Plan, server: str) -> str:
    """Return why connections to a server say nothing about the rules, "" if they do."""
    if not is_address(server):
        return "it is not an IP address"
    return "it is in the networks of the campus" if in_campus(plan, server) else ""


def _version(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _within(own: Iterable[str], networks: Collection[Network]) -> bool:
    return any(ipaddress.ip_address(each) in network for each in own for network in networks)
