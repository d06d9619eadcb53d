# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fate of mail to a gateway in rules as `nft -j list ruleset` prints them, loaded by the real nft."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._iptables import nft as managed
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.model import Guard, Outbound, Permit
from ansible_collections.campus.mailgate.plugins.module_utils._reach import nft
from ansible_collections.campus.mailgate.plugins.module_utils._reach.walk import Packet, Verdict, evaluate

PACKET = Packet("5.77.99.13", "198.18.0.25", "outside0", "inside0")
PACKET6 = Packet("2400:77:99::13", "2001:db8:18::25", "outside0", "inside0")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("nft") or not shutil.which("unshare"), reason="needs root and nft"
)


def verdict(text: str, packet: Packet = PACKET) -> Verdict:
    script = "nft -f - && nft -j list ruleset && nft -a list ruleset"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    document, listing = done.stdout.split("\n", 1)
    return evaluate(nft.bases(json.loads(document), packet, nft.rule_texts(listing)))


def forward(*rules: str, policy: str = "drop", more: str = "", family: str = "inet") -> str:
    head = f"type filter hook forward priority filter; policy {policy};"
    body = "\n".join(f"    {rule}" for rule in rules)
    return f"table {family} edge {{\n{more}\n  chain forward {{\n    {head}\n{body}\n  }}\n}}\n"


ACCEPTING = [
    "accept",
    "tcp dport 25 accept",
    "tcp dport { 22, 25, 80-90 } counter accept",
    'iifname "outside0" ip daddr 198.18.0.0/24 tcp dport 25 accept',
    'iifname "out*" oifname "inside0" accept',
    "ip daddr { 198.18.0.25, 198.18.0.26 } tcp dport 25 ct state new accept",
    "ct state vmap { invalid : drop, established : accept, related : accept, new : accept }",
    "tcp flags & (fin | syn | rst | ack) == syn accept",
    "tcp flags syn accept",
    "meta l4proto tcp ip daddr != 198.18.0.99 accept",
    "ip saddr != 10.0.0.0/8 accept",
    'meta nfproto ipv4 log prefix "x" limit rate 1/second continue\n accept',
    "jump gateways",
    "tcp dport vmap { 25 : jump gateways }",
    "ip daddr @servers tcp dport 25 accept",
    "tcp sport 1024-65535 tcp dport 25 accept",
]
UNCLEAR = [
    "limit rate 10/second accept",
    "meta mark 0x00000001 accept",
    "ip daddr . tcp dport { 198.18.0.25 . 25 } accept",
    "tcp option maxseg size 1-536 accept",
]
BLOCKING = [
    "",
    "ct state established,related accept",
    "tcp dport 80 accept",
    'iifname "inside0" accept',
    "ip daddr 198.18.0.26 accept",
    "udp dport 25 accept",
    "ip6 daddr 2001:db8:18::25 accept",
    "tcp flags & (syn | ack) == syn | ack accept",
    "tcp dport 25 reject with tcp reset",
]
MORE = """
  set servers { type ipv4_addr; flags interval; elements = { 198.18.0.16/28 } }
  chain gateways { ip daddr 198.18.0.25 accept; }
"""


@pytest.mark.parametrize("rule", ACCEPTING)
def test_a_rule_that_accepts(rule: str) -> None:
    assert verdict(forward(rule, more=MORE)).fate == "accepted"


@pytest.mark.parametrize("rule", BLOCKING)
def test_a_rule_that_does_not(rule: str) -> None:
    found = verdict(forward(rule))
    assert found.fate == "blocked"
    expected = "tcp dport 25 reject with tcp reset (nft" if "reject" in rule else "policy drop of chain forward (nft"
    assert found.rules[0].startswith(expected)


@pytest.mark.parametrize("rule", UNCLEAR)
def test_a_rule_that_is_not_understood(rule: str) -> None:
    found = verdict(forward(rule))
    assert found.fate == "unknown"
    assert any(rule[:12] in text and "(nft table inet edge, chain forward)" in text for text in found.rules)


def test_every_table_must_accept() -> None:
    assert verdict(forward(policy="accept") + forward(policy="drop").replace("edge", "other")).fate == "blocked"
    assert verdict(forward(policy="drop", family="ip6")).fate == "accepted"
    assert verdict(forward(policy="drop", family="ip6"), PACKET6).fate == "blocked"
    assert (
        verdict(forward(policy="accept").replace("hook forward", "hook input").replace("accept", "drop")).fate
        == "accepted"
    )


def test_network_address_translation_leaves_the_verdict_open() -> None:
    head = "type nat hook prerouting priority dstnat"
    nat = f"table ip nat {{{{ chain pre {{{{ {head}; ip daddr {{}} dnat to 198.18.0.9\n}}}}\n}}}}\n"
    assert verdict(nat.format("198.18.0.25") + forward()).fate == "unknown"
    assert verdict(nat.format("198.18.0.77") + forward()).fate == "blocked"


def test_an_untracked_packet_has_no_known_state() -> None:
    raw = "table inet raw {{ chain pre {{ type filter hook prerouting priority raw; {} notrack\n}}\n}}\n"
    state = forward("ct state new accept")
    assert verdict(raw.format("tcp dport 25") + state).fate == "unknown"
    assert verdict(raw.format("udp dport 53") + state).fate == "accepted"


def test_spoofed_senders_are_not_ordinary() -> None:
    head = "type filter hook prerouting priority -290"
    check = f"table inet fw {{ chain pre {{ {head}; fib saddr . iif oif missing drop\n}}\n}}\n"
    assert verdict(check + forward(policy="accept")).fate == "accepted"


def test_our_own_table_lets_mail_to_the_gateways_pass() -> None:
    guard = Guard(
        interfaces=("outside0",),
        networks=("198.18.0.0/16", "2001:db8:18::/48"),
        gateways=("198.18.0.25", "2001:db8:18::25"),
        permits=(Permit("198.18.1.40"), Permit("2001:db8:18:1::40")),
        outbound=Outbound("enforce", (Permit("198.18.7.7"),)),
    )
    text = managed.render(guard)
    for packet, inner in ((PACKET, "198.18.1.30"), (PACKET6, "2001:db8:18:1::30")):
        assert verdict(text, packet) == Verdict("accepted")
        assert verdict(text, dataclasses.replace(packet, destination=inner)).fate == "blocked"
        assert verdict(text + forward(), packet).fate == "blocked"
