# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sound campus for the tests of verification: its plan, and the answers of all hosts and vantage points."""

from __future__ import annotations

import datetime
from typing import Any

from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.findings import HostFacts
from ansible_collections.campus.mailgate.plugins.plugin_utils._pipeline import make_plan
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.verify.limits import Limits
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.verify.verdict import judge
from ansible_collections.campus.mailgate.plugins.plugin_utils._verify import questions

NOW = datetime.datetime(2026, 4, 1, 12, tzinfo=datetime.UTC).timestamp()
DAY = 86400
GW1, GW2, NS1, NS2, BORDER = (f"{name}.univ.example" for name in ("gw1", "gw2", "ns1", "ns2", "border"))
MAIL, MECH, CIVIL, QUAKE = (
    "mail.eng.univ.example",
    "mech.eng.univ.example",
    "civil.eng.univ.example",
    "quake.univ.example",
)
ZONES = {"univ.example": [NS1, NS2], "eng.univ.example": [NS1, NS2]}
SERVER, SERVER6 = "203.0.113.25", "2001:db8:ffff::25"
QUAKE_ADDRESS = "198.18.3.40"
ADDRESSES = {NS1: "198.18.0.53", NS2: "198.18.0.54"}


def inventory() -> dict[str, dict[str, Any]]:
    """Return the variables of the hosts."""
    eng = {"mailgate_faculty": "engineering", "mailgate_hub": MAIL}
    return {
        GW1: {
            "ansible_host": "198.18.0.25",
            "mailgate_address6": "2001:db8:18::25",
            "mailgate_gateway": {"preference": 0},
        },
        GW2: {"ansible_host": "198.18.0.26", "mailgate_gateway": {"preference": 10}},
        BORDER: {"ansible_host": "198.18.0.1", "mailgate_border": {"outside_interface": "outside0"}},
        NS1: {"ansible_host": "198.18.0.53", "mailgate_dns": {"zones": list(ZONES)}},
        MAIL: eng
        | {
            "ansible_host": "198.18.1.25",
            "mailgate_address6": "2001:db8:18:1::25",
            "mailgate_domains": ["eng.univ.example"],
        },
        MECH: eng
        | {"ansible_host": "198.18.1.30", "mailgate_domains": ["mech.eng.univ.example", "*.lab.mech.eng.univ.example"]},
        CIVIL: eng | {"ansible_host": "198.18.1.31", "mailgate_domains": ["civil.eng.univ.example"]},
        QUAKE: {
            "ansible_host": QUAKE_ADDRESS,
            "mailgate_faculty": "research",
            "mailgate_domains": ["quake.univ.example"],
            "mailgate_permit": {"reason": "measurements", "owner": "netlab", "until": "2099-03-31"},
        },
    }


def plan_of(changes: dict[str, dict[str, Any]] | None = None, **campus: Any) -> dict[str, Any]:
    """Return the plan, with changed variables of hosts and of the campus."""
    common = {
        "mailgate_networks": ["198.18.0.0/16", "2001:db8:18::/48"],
        "mailgate_campus": "Small University",
    } | campus
    hosts = {name: own | (changes or {}).get(name, {}) for name, own in inventory().items()}
    facts = [HostFacts(name, ["all"], {**common, **own}) for name, own in hosts.items()]
    made: dict[str, Any] = make_plan(facts, datetime.date(2026, 4, 1))
    return made


class Sound:
    """The answers of a sound campus; tests change them."""

    def __init__(self, plan: dict[str, Any] | None = None) -> None:
        self.plan = plan or plan_of()
        self.hosts = {name: self._host(name, host) for name, host in self.plan["hosts"].items() if host["kinds"]}
        self.servers = [SERVER, SERVER6]
        self.routers = {
            BORDER: {"border_firewall_outbound": {"mode": "enforce", "senders": [{"address": QUAKE_ADDRESS}]}}
        }
        self.outside = self._probe("outside", "outside.example")
        self.inside = self._probe("inside", "localhost")

    def verdict(self, limits: Limits | None = None, baseline=()):
        """Judge the answers."""
        answers, probes = list(self.hosts.values()), [self.outside, self.inside]
        return judge(
            self.plan,
            answers,
            probes,
            limits=limits or Limits(),
            now=NOW,
            baseline=baseline,
            servers=self.servers,
            routers=self.routers,
        )

    def first(self) -> tuple[str, str]:
        """Return kind and host of the first fault."""
        faults = self.verdict().faults
        return (faults[0].kind, faults[0].host) if faults else ("none", "")

    def facts(self, host: str) -> dict[str, Any]:
        return self.hosts[host]["facts"]

    def outbound(self, host: str, server: str = SERVER) -> dict[str, Any]:
        """Return the answer of a server outside to a host."""
        return next(each for each in self.hosts[host]["outbound"] if each["address"] == server)

    def smtp(self, address: str, side: str = "outside") -> dict[str, Any]:
        """Return the answer of an address to a vantage point."""
        probe = self.outside if side == "outside" else self.inside
        return next(each for each in probe["smtp"]["servers"] if each["address"] == address)

    def zone(self, zone: str, server: str = NS1, side: str = "outside") -> dict[str, Any]:
        """Return what a DNS server answers for a zone."""
        whole = self.whole_zone(zone, side)
        return next(each for each in whole["servers"] if each["host"] == server)

    def whole_zone(self, zone: str, side: str = "outside") -> dict[str, Any]:
        probe = self.outside if side == "outside" else self.inside
        return next(each for each in probe["dns"]["zones"] if each["zone"] == zone)

    def dns(self, side: str = "outside") -> dict[str, Any]:
        return (self.outside if side == "outside" else self.inside)["dns"]

    # -- what a sound campus answers --------------------------------------------------------------------------------

    def _host(self, name: str, host: dict[str, Any]) -> dict[str, Any]:
        kinds = host["kinds"]
        facts: dict[str, Any] = {"kept": [], "notes": [], "missed": [], "clock": NOW, "mta": {"problems": []}}
        if {"servers", "gateways"} & set(kinds):
            table = self.plan["sendmail"][name]
            routes = {
                each["domain"].removeprefix("*"): "relay:"
                + ":".join(f"[{hop}]" for hop in each.get("next_hops", [each["next_hop"]]))
                for each in table["static"]
            }
            facts |= {
                "mail": {"routes": routes},
                "queue": {"messages": 2, "oldest": 60},
                "changes": {"routes_added": [], "relay_added": [], "local_added": []},
            }
        if "gateways" in kinds:
            listed = [{"domain": each["domain"], "next_hops": each["next_hops"]} for each in self.plan["routes"]]
            clamd = "ClamAV 1.4.3/27500/Tue Mar 31 10:00:00 2026"
            facts |= {"signatures": NOW - DAY}
            facts["service"] = {"status": 0, "failed": [], "clamd": clamd, "error": "", "version": "0.3.0"}
            facts["service"] |= {"routes": listed, "routes_error": ""}
        if "borders" in kinds:
            facts["guard"] = {"status": 0, "problems": [], "error": "", "active": "active", "repairs": 0, "last": 0}
            facts["guard"] |= {"by": [], "stopped": ""}
            facts["router"] = {"ways": [{"address": "198.18.0.25", "fate": "accepted", "rules": []}]}
        if "dns" in kinds:
            facts["lowered"] = False
        return {
            "host": name,
            "functions": list(kinds),
            "foreign": False,
            "unreachable_reason": "",
            "started": NOW - 1,
            "ended": NOW + 1,
            "facts": facts,
            "outbound": self._outbound(name, host) if {"servers", "gateways"} & set(kinds) else [],
            "outbound_reason": "",
        }

    def _outbound(self, name: str, host: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what servers outside answer; hosts without an IPv6 address have no route to one."""
        found = []
        for server, source in ((SERVER, host["address"]), (SERVER6, host["address6"])):
            state = "open" if name in {GW1, GW2, QUAKE} else "refused"
            answer = {"address": server, "state": state if source else "no_route", "error": "", "source": ""}
            found.append(answer | {"source": source if answer["state"] == "open" else ""})
        return found

    def _probe(self, side: str, host: str) -> dict[str, Any]:
        servers = [self._server(asked, side) for asked in questions.smtp(self.plan, side)]
        return {
            "host": host,
            "side": side,
            "unreachable_reason": "",
            "dns_reason": "",
            "smtp": {"servers": servers},
            "dns": self._dns(side),
        }

    def _server(self, asked: dict[str, Any], side: str) -> dict[str, Any]:
        answer = {
            "host": asked["host"],
            "address": asked["address"],
            "state": "open",
            "error": "",
            "greeting": f"220 {asked['host']} ESMTP",
            "extensions": {"STARTTLS": "", "SIZE": "1000"},
            "tls": {"error": "", "not_before": NOW - DAY, "not_after": NOW + 90 * DAY, "names": [], "matches": True},
            "size": {"declared": 1000, "code": 552, "text": "too big"},
            "domains": [{"domain": each, "code": 250, "text": "OK"} for each in asked.get("domains", ())],
            "unknown": [{"domain": each, "code": 550, "text": "5.1.1 unknown"} for each in asked.get("unknown", ())],
            "relay": {"tried": 73, "accepted": [], "unanswered": 0} if asked.get("relay") else {},
            "unfinished": False,
        }
        if side == "outside" and asked.get("session") is False:
            answer |= {"state": "refused", "error": "refused", "greeting": "", "extensions": {}, "tls": {}, "size": {}}
        return answer

    def _dns(self, side: str) -> dict[str, Any]:
        planned = questions.expected(self.plan, side)
        mx = {
            zone: {
                owner: {"records": sorted(records), "ttl": 86400, "error": "", "alias": ""}
                for owner, records in owners.items()
            }
            for zone, owners in planned.items()
        }
        names = questions.dns(self.plan, side)["names"]
        hosts = {host["mail_name"] or name: host for name, host in self.plan["hosts"].items()}
        return {
            "zones": [
                {
                    "zone": zone,
                    "servers": [
                        {
                            "host": server,
                            "address": ADDRESSES[server],
                            "error": "",
                            "authoritative": True,
                            "serial": 7,
                            "primary": NS1,
                            "ns": servers,
                            "mx": {owner: dict(answer) for owner, answer in mx[zone].items()},
                        }
                        for server in servers
                    ],
                    "ns": {server: [ADDRESSES[server]] for server in servers},
                    "delegation": [
                        {"server": "198.19.0.1", "ns": list(servers), "glue": {s: [ADDRESSES[s]] for s in servers}}
                    ],
                    "dnssec": {"signed": False, "delegated": False, "expires": 0, "errors": []},
                }
                for zone, servers in ZONES.items()
            ],
            "resolvers": ["192.0.2.53"],
            "mx": {owner: dict(answer) for owners in mx.values() for owner, answer in owners.items()},
            "names": {
                name: {"addresses": questions.addresses(hosts[name]), "alias": "", "error": ""} for name in names
            },
            "ptr": {
                address: {"names": [gateway["exchange"]], "error": ""}
                for gateway in self.plan["gateways"]
                for address in questions.addresses(gateway)
            },
        }
