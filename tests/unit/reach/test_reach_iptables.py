# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fate of mail to a gateway in rules as iptables-save prints them."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.campus.mailgate.plugins.module_utils._iptables import model
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.model import Guard, Permit
from ansible_collections.campus.mailgate.plugins.module_utils._reach import iptables
from ansible_collections.campus.mailgate.plugins.module_utils._reach.walk import (
    Packet,
    Verdict,
    evaluate,
    interface_match,
    ordinary_sender,
)

PACKET = Packet("5.77.99.13", "198.18.0.25", "outside0", "inside0")
PACKET6 = Packet("2400:77:99::13", "2001:db8:18::25", "outside0", "inside0")


def verdict(text: str, packet: Packet = PACKET) -> Verdict:
    return evaluate(iptables.bases(text, packet))


def rules(*lines: str, policy: str = "DROP", chains: str = "") -> str:
    return "\n".join(["*filter", f":FORWARD {policy} [0:0]", chains, *lines, "COMMIT", ""])


def fate(*lines: str, policy: str = "DROP", chains: str = "", packet: Packet = PACKET) -> str:
    return verdict(rules(*lines, policy=policy, chains=chains), packet).fate


ACCEPTING = [
    "",
    "-s 0.0.0.0/0",
    "-d 198.18.0.0/24",
    "-d 198.18.0.25/32",
    "! -d 198.18.0.26/32",
    "-i outside0",
    "-i out+",
    "-o inside0",
    "! -i inside0",
    "-p tcp",
    "-p tcp -m tcp --dport 25",
    "-p tcp -m tcp --dport 20:30",
    "-p tcp -m tcp --dport :1024",
    "-p tcp -m tcp ! --dport 80",
    "-p tcp -m tcp --sport 1024:65535 --dport 25",
    "-p tcp -m multiport --dports 22,25,80:90",
    "-p tcp -m multiport ! --dports 80,443",
    "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN",
    "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK ACK",
    "-m conntrack --ctstate NEW,RELATED,ESTABLISHED",
    "-m conntrack ! --ctstate INVALID",
    "-m state --state NEW",
    '-m comment --comment "-d 10.0.0.0/8 -j DROP"',
    '-m comment --comment "-j"',
    "-m iprange --dst-range 198.18.0.1-198.18.0.99",
    "-m addrtype ! --dst-type LOCAL",
    "-m policy --dir in --pol none",
    "! -s 10.0.0.0/8",
    "-m connlimit --connlimit-upto 9 --connlimit-mask 32 --connlimit-saddr",
    "-m set ! --match-set mailgate-bans src",
]
PASSED_BY = [
    "-s 10.0.0.0/8",
    "-d 198.18.0.26/32",
    "! -d 198.18.0.0/24",
    "-i inside0",
    "-i in+",
    "! -i outside0",
    "-o outside0",
    "-p udp",
    "! -p tcp",
    "-p tcp -m tcp --dport 80",
    "-p tcp -m tcp ! --dport 25",
    "-p tcp -m tcp --sport 25",
    "-p tcp -m multiport --dports 80,443",
    "-p tcp -m tcp --tcp-flags SYN,ACK SYN,ACK",
    "-m conntrack --ctstate RELATED,ESTABLISHED",
    "-m state --state INVALID",
    "-m addrtype --dst-type LOCAL",
    "-m iprange --dst-range 198.18.0.26-198.18.0.99",
    "-f",
    "-m socket -p udp",
    "-m connlimit --connlimit-above 9 --connlimit-mask 32 --connlimit-saddr",
    "-m recent --update --seconds 60 --hitcount 4 --name mail --mask 255.255.255.255 --rsource",
    "-m pkttype --pkt-type broadcast",
]
UNCLEAR = [
    "-m limit --limit 10/min",
    "-m mark --mark 0x1",
    "-m socket",
    "-m time --timestart 08:00:00 --timestop 18:00:00",
    "-m set --match-set campus dst",
    '-m string --string "-d" --algo bm',
    "-p tcp -m tcp --sport 5000:6000",
    "-m conntrack --ctstate DNAT",
    "-m geoip --source-country JP",
]


@pytest.mark.parametrize("match", ACCEPTING)
def test_a_rule_that_matches_decides(match: str) -> None:
    assert fate(f"-A FORWARD {match} -j ACCEPT".replace("  ", " ")) == "accepted"


@pytest.mark.parametrize("match", PASSED_BY)
def test_a_rule_that_does_not_match_is_passed_by(match: str) -> None:
    assert fate(f"-A FORWARD {match} -j DROP", policy="ACCEPT") == "accepted"


@pytest.mark.parametrize("match", [match for match in PASSED_BY if "-s 10" not in match and "recent" not in match])
def test_no_sender_is_accepted_by_a_rule_that_does_not_match(match: str) -> None:
    if "connlimit" not in match:
        assert fate(f"-A FORWARD {match} -j ACCEPT") == "blocked"


@pytest.mark.parametrize("match", UNCLEAR)
def test_what_is_not_understood_leaves_the_verdict_open(match: str) -> None:
    for target, policy in (("ACCEPT", "DROP"), ("DROP", "ACCEPT")):
        found = verdict(rules(f"-A FORWARD {match} -j {target}", policy=policy))
        assert found.fate == "unknown"
        assert found.rules[-1].startswith(f"-A FORWARD {match}") or found.rules[0].startswith(f"-A FORWARD {match}")
    assert fate(f"-A FORWARD {match} -j LOG", policy="ACCEPT") == "accepted"
    assert fate(f"-A FORWARD {match} -j ACCEPT", policy="ACCEPT") == "accepted"
    assert fate(f"-A FORWARD {match} -j DROP") == "blocked"


def test_rules_for_some_senders_only() -> None:
    assert fate("-A FORWARD -s 10.0.0.0/8 -j DROP", policy="ACCEPT") == "accepted"
    found = verdict(rules("-A FORWARD -s 203.0.113.0/24 -p tcp -m tcp --dport 25 -j ACCEPT"))
    assert found.fate == "unknown"
    assert any("203.0.113.0/24" in rule for rule in found.rules)
    assert fate("-A FORWARD -m set --match-set mailgate-bans src -j DROP", policy="ACCEPT") == "accepted"


def test_sets_are_asked() -> None:
    packet = dataclasses.replace(PACKET, in_set=lambda name, _address: name == "gateways")
    assert fate("-A FORWARD -m set --match-set gateways dst -j ACCEPT", packet=packet) == "accepted"
    assert fate("-A FORWARD -m set --match-set others dst -j ACCEPT", packet=packet) == "blocked"
    assert fate("-A FORWARD -m set --match-set others src -j DROP", policy="ACCEPT", packet=packet) == "accepted"


def test_the_rule_that_blocks_is_named() -> None:
    found = verdict(rules("-A FORWARD -p tcp -m tcp --dport 25 -j REJECT --reject-with tcp-reset"))
    assert found == Verdict(
        "blocked", ("-A FORWARD -p tcp -m tcp --dport 25 -j REJECT --reject-with tcp-reset (iptables, table filter)",)
    )
    assert verdict(rules()).rules == ("policy DROP of chain FORWARD (iptables, table filter)",)


def test_jumps_returns_and_gotos() -> None:
    chains = ":a - [0:0]\n:b - [0:0]"
    assert (
        fate("-A FORWARD -j a", "-A a -j b", "-A b -j RETURN", "-A b -j DROP", chains=chains, policy="ACCEPT")
        == "accepted"
    )
    assert fate("-A FORWARD -j a", "-A FORWARD -j ACCEPT", "-A a -g b", chains=chains) == "accepted"
    assert fate("-A FORWARD -g a", "-A FORWARD -j ACCEPT", chains=chains) == "blocked"
    assert fate("-A FORWARD -j a", "-A a -j ACCEPT", chains=chains) == "accepted"
    assert fate("-A FORWARD -m mark --mark 0x1 -j a", "-A a -j RETURN", chains=chains, policy="ACCEPT") == "accepted"
    assert fate("-A FORWARD -m mark --mark 0x1 -j a", "-A a -j DROP", chains=chains, policy="ACCEPT") == "unknown"
    assert fate("-A FORWARD -j NFQUEUE --queue-num 0", policy="ACCEPT") == "unknown"


def test_other_tables() -> None:
    accept = rules(policy="ACCEPT")
    drop = "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d 198.18.0.0/16 -j DROP\nCOMMIT\n"
    assert verdict(drop + accept).fate == "blocked"
    nat = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING {} -j DNAT --to-destination 198.18.0.9\nCOMMIT\n"
    assert verdict(nat.format("-d 198.18.0.25/32") + accept).fate == "unknown"
    assert verdict(nat.format("-d 198.18.0.25/32") + rules()).fate == "unknown"
    assert verdict(nat.format("-d 198.18.0.77/32") + accept).fate == "accepted"
    raw = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING {} -j CT --notrack\nCOMMIT\n"
    state = rules("-A FORWARD -m conntrack --ctstate NEW -j ACCEPT")
    assert verdict(raw.format("-p tcp -m tcp --dport 25") + state).fate == "unknown"
    assert verdict(raw.format("-p udp -m udp --dport 53") + state).fate == "accepted"


@pytest.mark.parametrize("family", model.FAMILIES)
def test_our_own_chain_lets_mail_to_the_gateways_pass(family: str) -> None:
    guard = Guard(
        interfaces=("outside0",),
        networks=("198.18.0.0/16", "2001:db8:18::/48"),
        gateways=("198.18.0.25", "2001:db8:18::25"),
        permits=(Permit("198.18.1.40"),),
    )
    packet = PACKET if family == "ipv4" else PACKET6
    ours = model.render(guard, family).text().replace("-I FORWARD 1", "-A FORWARD")
    ours = ours.replace("*filter\n", "*filter\n:FORWARD ACCEPT [0:0]\n")
    assert verdict(ours, packet).fate == "accepted"
    inner = dataclasses.replace(packet, destination="198.18.1.30" if family == "ipv4" else "2001:db8:18::30")
    assert verdict(ours, inner).fate == "blocked"
    drop = ours.replace(":FORWARD ACCEPT", ":FORWARD DROP")
    assert verdict(drop, packet).rules == ("policy DROP of chain FORWARD (iptables, table filter)",)


def test_interfaces_by_pattern() -> None:
    assert interface_match("wan+", "wan0") is True
    assert interface_match("+", None) is True
    assert interface_match("wan0", None) is None
    assert interface_match("wan0", "wan+") is None
    assert interface_match("wan+", "wan1+") is True
    assert interface_match("lan+", "wan+") is False


def test_the_ordinary_sender_is_in_no_rule() -> None:
    assert ordinary_sender(4, ["-s 5.0.0.0/8 -d 0.0.0.0/0", "-s 23.77.99.0/255.255.255.0"]) == "46.77.99.13"
    assert ordinary_sender(6, ["-s 2400::/12"]) == "2600:77:99::13"


WORDS = st.sampled_from(
    ["-j", "-g", "ACCEPT", "DROP", "a", "!", "-s", "10.0.0.0/8", "-d", "-p", "tcp", "-m", "set", "--match-set", "x",
     "src", "--dport", "25", "a:b", "--tcp-flags", "SYN", "--ctstate", "NEW", "-i", "--dst-range", "--comment",
     "--name"]
)  # fmt: skip


@given(st.lists(st.lists(WORDS, max_size=9).map(" ".join), max_size=6))
def test_no_rule_is_too_odd(lines: list[str]) -> None:
    text = rules(*(f"-A FORWARD {line}" for line in lines), chains=":a - [0:0]")
    assert verdict(text).fate in ("accepted", "blocked", "unknown")
