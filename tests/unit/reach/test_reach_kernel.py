# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on rules against real connections through a router with these rules."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from reach_router import GATEWAY, OUTSIDE, Net

from ansible_collections.campus.mailgate.plugins.module_utils._reach.router import Rules
from ansible_collections.campus.mailgate.plugins.module_utils._reach.walk import Verdict

NEEDED = ("unshare", "nsenter", "ip", "iptables-nft-restore", "iptables-legacy-restore", "nft")
MATCHES = {
    4: [
        "", "-s 198.19.255.0/24", "-s 10.0.0.0/8", "! -s 10.0.0.0/8", "-d 198.18.0.25/32", "-d 198.18.0.26/32",
        "! -d 198.18.0.0/24", "-m iprange --dst-range 198.18.0.1-198.18.0.25", "-m addrtype --dst-type LOCAL",
    ],
    6: ["", "-s 2001:db8:ffff::/64", "! -s 2001:db8:ffff::/64", "-d 2001:db8:18::25/128", "! -d 2001:db8:18::/64"],
}  # fmt: skip
COMMON = [
    "", "-i outside0", "-i out+", "! -i outside0", "-o inside0", "-o outside0", "-p tcp", "-p udp", "! -p tcp",
    "-p tcp -m tcp --dport 25", "-p tcp -m tcp --dport 26:65535", "-p tcp -m tcp ! --dport 25",
    "-p tcp -m tcp --sport 25",
    "-p tcp -m multiport --dports 22,25", "-p tcp -m multiport ! --dports 22,25",
    "-p tcp -m tcp --tcp-flags SYN,ACK SYN", "-p tcp -m tcp --tcp-flags ALL ACK", "-m conntrack --ctstate NEW",
    "-m conntrack --ctstate RELATED,ESTABLISHED", "-m conntrack ! --ctstate INVALID",
    "-m comment --comment \"-j DROP\"", "-m limit --limit 1/sec --limit-burst 1", "-m mark --mark 1",
    "-m mark ! --mark 1",
]  # fmt: skip
TARGETS = ["ACCEPT", "ACCEPT", "DROP", "RETURN", "a", "b", "LOG", "MARK --set-xmark 0x1/0xffffffff"]
NFT = [
    "", 'iifname "outside0"', 'iifname "out*"', 'oifname != "inside0"', "ip daddr 198.18.0.25", "ip daddr 198.18.0.26",
    "ip saddr 198.19.255.0/24", "ip saddr != 198.19.0.0/16", "tcp dport 25", "tcp dport { 22, 25 }", "tcp dport != 25",
    "udp dport 25", "ct state new", "ct state established,related", "ct state != invalid", "tcp flags syn",
    "tcp flags & (syn | ack) == syn", "tcp flags & (syn | ack) == ack", "meta l4proto tcp", "meta nfproto ipv6",
    "meta mark 1",
]  # fmt: skip
NFT_ENDS = ["accept", "accept", "drop", "reject", "return", "jump a", "goto b", "counter", "continue"]
# The first packet alone decides: all later ones pass.
SAMPLES = 40

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or any(shutil.which(program) is None for program in NEEDED), reason=f"needs root, {NEEDED}"
    ),
]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    net = Net(Path(tmp_path_factory.mktemp("net")))
    yield net
    net.close()


def judged(net: Net, version: int, monkeypatch: pytest.MonkeyPatch) -> Verdict:
    """Return the verdict for the host outside as the ordinary sender, and check it against a connection."""
    base = "ansible_collections.campus.mailgate.plugins.module_utils._reach.router."
    monkeypatch.setattr(f"{base}ordinary_sender", lambda _version, _texts: OUTSIDE[version])
    (way,) = Rules(net.router, shutil.which, ["outside0", "inside0"]).ways(["out+"], [GATEWAY[version]])
    verdict = way.verdict
    assert (way.interface, way.gateway) == ("outside0", GATEWAY[version])
    seen = net.connect(version)
    expected = {"accepted": {"open"}, "blocked": {"TimeoutError", "ConnectionRefusedError", "PermissionError"}}
    if verdict.fate in expected and seen not in expected[verdict.fate]:
        pytest.fail(f"{verdict}: {seen}\n{net.must('router', 'nft', 'list', 'ruleset')}")
    return verdict


@pytest.mark.parametrize("version", [4, 6])
def test_iptables_rules(net: Net, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(version)
    tool = "iptables-nft" if version == 4 else "ip6tables-nft"
    fates = []
    for _sample in range(SAMPLES):
        lines = ["*filter", f":FORWARD {chance.choice(['ACCEPT', 'DROP'])} [0:0]", ":a - [0:0]", ":b - [0:0]"]
        lines.append("-A FORWARD -p tcp -m tcp ! --tcp-flags SYN,ACK SYN -j ACCEPT")
        for chain in ("FORWARD",) * 4 + ("a",) * 2 + ("b",):
            targets = [target for target in TARGETS if target not in {"FORWARD": "", "a": "a", "b": "ab"}[chain]]
            address, common = chance.choice(MATCHES[version]), chance.choice(COMMON)
            lines.append(f"-A {chain} {address} {common} -j {chance.choice(targets)}")
        net.must("router", f"{tool}-restore", text="\n".join([*lines, "COMMIT", ""]))
        fates.append(judged(net, version, monkeypatch).fate)
    net.must("router", f"{tool}-restore", text="*filter\nCOMMIT\n")
    assert min(fates.count("accepted"), fates.count("blocked")) >= SAMPLES // 8, fates


def test_nft_rules(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    fates = []
    for _sample in range(SAMPLES):
        chains = {}
        for chain, length in (("a", 2), ("b", 1), ("forward", 4)):
            ends = [
                end for end in NFT_ENDS if end[-1] not in {"forward": "", "a": "a", "b": "ab"}[chain] or "t" in end[-2:]
            ]
            ends = [
                end
                for end in ends
                if not (chain == "b" and end in ("jump a", "goto b")) and not (chain == "a" and end == "jump a")
            ]
            chains[chain] = [f"{chance.choice(NFT)} {chance.choice(NFT)} {chance.choice(ends)}" for _ in range(length)]
        policy = chance.choice(["accept", "drop"])
        text = "flush ruleset\ntable inet edge {\n"
        for chain in ("b", "a", "forward"):
            head = (
                f"type filter hook forward priority 0; policy {policy};\ntcp flags & (syn | ack) != syn accept"
                if chain == "forward"
                else ""
            )
            text += f"chain {chain} {{\n{head}\n" + "\n".join(chains[chain]) + "\n}\n"
        status, _out, error = net.run("router", ["nft", "-f", "-"], text + "}\n")
        if status:
            # Some pairs of matches contradict each other, which nft refuses.
            assert "conflicting" in error, error
            continue
        fates.append(judged(net, 4, monkeypatch).fate)
    net.must("router", "nft", "flush ruleset")
    assert min(fates.count("accepted"), fates.count("blocked")) >= 4, fates
