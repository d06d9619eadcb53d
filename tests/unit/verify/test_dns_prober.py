# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The DNS prober against name servers on loopback: a parent zone, a primary, a stale secondary, and a lame server."""

from __future__ import annotations

import asyncio
import datetime
import json
import socketserver
import threading

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.zone
import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._verify.nameservers import (
    DnsProber,
    Wanted,
    Zone,
    resolvers_of,
)
from ansible_collections.campus.mailgate.plugins.module_utils._verify.queries import Queries
from ansible_collections.campus.mailgate.plugins.modules import dns_probe

RESOLVER, PARENT, NS1, NS2, LAME = (f"127.0.0.{number}" for number in (2, 3, 4, 5, 6))
CAMPUS = """
@ 300 IN SOA ns1 hostmaster {serial} 60 60 600 60
@ 300 IN NS ns1
@ 300 IN NS ns2
@ 300 IN NS ns3
ns1 300 IN A 127.0.0.4
ns2 300 IN A 127.0.0.5
ns3 300 IN A 127.0.0.6
gw1 300 IN A 198.18.0.25
gw1 300 IN AAAA 2001:db8::25
www 300 IN CNAME gw1
mech 300 IN MX 0 GW1
*.lab 300 IN MX 0 gw1
"""


class Server(socketserver.BaseRequestHandler):
    """Answers by the address that was asked."""

    def handle(self):
        data, sock = self.request
        query = dns.message.from_wire(data)
        server = self.server.server_address[0]
        self.server.state.asked.append((server, query.question[0].to_text()))
        answer = dns.message.make_response(query)
        self.server.state.answer(server, query, answer)
        sock.sendto(answer.to_wire(), self.client_address)


class State:
    """The zones of all servers."""

    def __init__(self):
        self.asked = []
        self.zones = {NS1: self.zone(7), NS2: self.zone(6)}
        self.glue = {"ns1": NS1, "ns2": NS2}
        self.ds = []
        self.signed = {}

    @staticmethod
    def zone(serial):
        return dns.zone.from_text(CAMPUS.format(serial=serial), origin="univ.example.", relativize=False)

    def answer(self, server, query, answer):
        name, rtype = query.question[0].name, query.question[0].rdtype
        if server == PARENT:
            self.refer(answer, name, rtype)
        elif server == LAME:
            answer.set_rcode(dns.rcode.REFUSED)
        elif server == RESOLVER and name == dns.name.from_text("example"):
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "NS", "a.nic.example."))
        elif server == RESOLVER and name == dns.name.from_text("a.nic.example"):
            if rtype == dns.rdatatype.A:
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", "A", PARENT))
        elif name == dns.name.from_text("25.0.18.198.in-addr.arpa"):
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "PTR", "GW1.univ.example."))
        else:
            self.zone_answer(self.zones[server if server in self.zones else NS1], name, rtype, answer)
            if server != RESOLVER:
                answer.flags |= dns.flags.AA

    def refer(self, answer, name, rtype):
        if rtype == dns.rdatatype.DS:
            answer.flags |= dns.flags.AA
            if self.ds:
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", "DS", *self.ds))
            return
        answer.authority.append(
            dns.rrset.from_text("univ.example.", 60, "IN", "NS", *(f"{n}.univ.example." for n in ("ns1", "ns2", "ns3")))
        )
        for host, address in self.glue.items():
            answer.additional.append(dns.rrset.from_text(f"{host}.univ.example.", 60, "IN", "A", address))

    def zone_answer(self, zone, name, rtype, answer):
        for rrset in self.signed.get((name, rtype), ()):
            answer.answer.append(rrset)
        if answer.answer:
            return
        for candidate in (name, dns.name.Name((b"*", *name.labels[1:]))):
            for kind in (rtype, dns.rdatatype.CNAME):
                if found := zone.get_rrset(candidate, kind):
                    answer.answer.append(dns.rrset.from_rdata_list(name, found.ttl, list(found)))
                    return
        if not zone.get_node(name):
            answer.set_rcode(dns.rcode.NXDOMAIN)


@pytest.fixture
def state():
    """Run all servers on one port of several loopback addresses."""
    shared = State()
    servers, port = [], 0
    for address in (RESOLVER, PARENT, NS1, NS2, LAME):
        server = socketserver.ThreadingUDPServer((address, port), Server)
        port = server.server_address[1]
        server.state = shared
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
    shared.port = port
    yield shared
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(state, seconds=60, **more):
    wanted = {
        "zones": [Zone("univ.example", ["mech.univ.example", "*.lab.univ.example"], {"ns1.univ.example": [NS1]})],
        "owners": ["mech.univ.example", "none.univ.example"],
        "names": ["gw1.univ.example", "www.univ.example"],
        "addresses": ["198.18.0.25"],
        "resolvers": [RESOLVER],
    } | more

    async def run():
        return await DnsProber(Queries(seconds, state.port), Wanted(**wanted)).ask_all()

    return asyncio.run(run())


def test_all_servers_of_a_zone_are_found_and_asked(state):
    (zone,) = ask(state)["zones"]
    servers = {each["host"]: each for each in zone["servers"]}
    assert set(servers) == {"ns1.univ.example", "ns2.univ.example", "ns3.univ.example"}
    assert [servers[f"ns{number}.univ.example"]["serial"] for number in (1, 2)] == [7, 6]
    assert (servers["ns3.univ.example"]["authoritative"], servers["ns3.univ.example"]["error"]) == (False, "REFUSED")
    mx = servers["ns2.univ.example"]["mx"]
    assert mx["mech.univ.example"] == {"records": ["0 gw1.univ.example"], "ttl": 300, "error": "", "alias": ""}
    assert mx["*.lab.univ.example"]["records"] == ["0 gw1.univ.example"]


def test_delegation_with_missing_glue(state):
    (zone,) = ask(state)["zones"]
    (delegation,) = zone["delegation"]
    assert delegation["ns"] == ["ns1.univ.example", "ns2.univ.example", "ns3.univ.example"]
    assert delegation["glue"]["ns3.univ.example"] == []
    assert delegation["glue"]["ns1.univ.example"] == [NS1]


def test_resolvers(state):
    found = ask(state)
    assert found["mx"]["mech.univ.example"]["records"] == ["0 gw1.univ.example"]
    assert found["mx"]["none.univ.example"]["records"] == []
    assert found["names"]["gw1.univ.example"]["addresses"] == ["198.18.0.25", "2001:db8::25"]
    assert found["names"]["www.univ.example"]["alias"] == "gw1.univ.example"
    assert found["ptr"]["198.18.0.25"]["names"] == ["gw1.univ.example"]


def test_each_question_is_asked_once(state):
    ask(state)
    assert len(state.asked) == len(set(state.asked))


def test_a_silent_server_and_a_dead_resolver(state):
    silent = Zone("univ.example", ["mech.univ.example"], {"ns9.univ.example": ["127.0.0.9"]})
    found = ask(state, zones=[silent], resolvers=["127.0.0.9"], names=[], addresses=[], seconds=1)
    (server,) = found["zones"][0]["servers"]
    assert not server["authoritative"]
    assert server["error"]
    assert found["mx"]["mech.univ.example"]["error"]


@pytest.mark.parametrize(
    ("days", "ds", "error"),
    [(9, True, ""), (-1, True, "the signature expired on"), (9, False, "no DNSKEY of the zone has the hash")],
)
def test_signatures(state, days, ds, error):
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    private = rsa.generate_private_key(rsa.SECP256R1())
    origin = dns.name.from_text("univ.example")
    key = dns.dnssec.make_dnskey(private.public_key(), dns.dnssec.Algorithm.ECDSAP256SHA256)
    now = datetime.datetime.now(datetime.UTC)
    keys = dns.rrset.from_rdata(origin, 300, key)
    sets = [keys, *(state.zones[NS1].get_rrset(n, t) for n, t in ((origin, "SOA"), ("mech.univ.example.", "MX")))]
    for rrset in sets:
        times = {"inception": now - datetime.timedelta(days=30), "expiration": now + datetime.timedelta(days=days)}
        signature = dns.dnssec.sign(rrset, private, origin, key, **times)
        state.signed[rrset.name, rrset.rdtype] = [rrset, dns.rrset.from_rdata(rrset.name, 300, signature)]
    good = dns.dnssec.make_ds(origin, key, "SHA256").to_text()
    state.ds = [good if ds else good[:-4] + ("0000" if good[-4:] != "0000" else "1111")]
    zone = Zone("univ.example", ["mech.univ.example"], {"ns1.univ.example": [NS1]})
    signed = ask(state, zones=[zone])["zones"][0]["dnssec"]
    assert signed["signed"]
    assert signed["delegated"]
    assert bool(signed["errors"]) == bool(error)
    assert error in "; ".join(signed["errors"])


def test_module(module_arguments, capsys, state):
    zone = {"zone": "univ.example", "owners": ["mech.univ.example"], "servers": {"ns1.univ.example": [NS1]}}
    arguments = {"zones": [zone], "resolvers": [RESOLVER], "port": state.port, "timeout": 60}
    with module_arguments(arguments), pytest.raises(SystemExit):
        dns_probe.main()
    assert json.loads(capsys.readouterr().out)["zones"][0]["zone"] == "univ.example"
    with module_arguments({"addresses": ["nowhere"]}), pytest.raises(SystemExit):
        dns_probe.main()
    assert json.loads(capsys.readouterr().out)["msg"].startswith("not an address")


def test_resolv_conf():
    text = "# nameserver 192.0.2.9\nsearch example\nnameserver 192.0.2.1\n"
    text += "nameserver fe80::1%eth0\nnameserver 2001:db8::1\n"
    assert resolvers_of(text) == ["192.0.2.1", "2001:db8::1"]
