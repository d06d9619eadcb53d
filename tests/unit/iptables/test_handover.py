# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule of a router that others maintain: the real programs read it, and it decides as the role's rules."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import random
import shutil
import subprocess

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._iptables import handover, model
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.model import FAMILIES, render
from ansible_collections.campus.mailgate.plugins.module_utils._reach import iptables, nft
from ansible_collections.campus.mailgate.plugins.module_utils._reach.walk import Packet, evaluate

BORDER = {
    "outside_interfaces": ["outside0"],
    "networks": ["198.18.0.0/16", "2001:db8:18::/48"],
    "gateways": ["198.18.0.25", "2001:db8:18::25", "198.18.0.26"],
    "permits": [
        {
            "host": "quake.univ.example",
            "address": address,
            "reason": 'it\'s "open"',
            "owner": "n",
            "until": "2099-03-31",
        }
        for address in ("198.18.3.40", "2001:db8:18:3::40")
    ],
}
ADDRESSES = [
    "198.18.0.25", "198.18.0.26", "198.18.3.40", "198.18.3.41", "198.18.1.30", "203.0.113.9",
    "2001:db8:18::25", "2001:db8:18:3::40", "2001:db8:18:1::30", "2001:db8:77::1",
]  # fmt: skip
needs_programs = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "iptables-restore", "unshare"))),
    reason="needs root, nft and iptables",
)


def borders(count=25):
    """Return the border of the tests, and others with random parts."""
    source = random.Random(7)
    yield BORDER
    for _number in range(count):
        permits = [each for each in BORDER["permits"] if source.random() < 0.7]
        yield {
            "outside_interfaces": source.choice([["outside0"], ["outside0", "ppp+"], [], ["GigabitEthernet0/0/1"]]),
            "networks": [each for each in BORDER["networks"] if source.random() < 0.8] or ["198.18.0.0/16"],
            "gateways": source.sample(BORDER["gateways"], source.randint(1, 3)),
            "permits": permits,
        }


def in_namespace(script: str, text: str) -> str:
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def listed(entries, address):
    """Judge a connection by the table for any vendor."""
    ip = ipaddress.ip_address(address)
    for entry in entries:
        if entry.family != f"ipv{ip.version}":
            continue
        if entry.destination == "any" or ip in ipaddress.ip_network(entry.destination):
            return {"permit": "accepted", "deny": "blocked"}[entry.action]
    return "accepted"


def saved(family, text, sets=""):
    """Return what iptables-save prints when the kernel has loaded a text."""
    program = "iptables" if family == "ipv4" else "ip6tables"
    script = (
        f"ipset -exist restore <<'SETS'\n{sets}SETS\n{program}-restore --test <<'RULES' && {program}-restore --noflush "
        f"<<'AGAIN' && {program}-save\n{text}RULES\n{text}AGAIN\n"
    )
    return in_namespace(script, "")


def fate(bases):
    return evaluate(bases).fate


@needs_programs
@pytest.mark.parametrize("border", list(borders()), ids=lambda _border: "")
def test_each_form_decides_as_the_rules_of_the_role(border):
    guard = handover.guard_of(border)
    table = handover.entries(guard)
    assert [entry.order for entry in table] == list(range(1, len(table) + 1))
    text = handover.nft_text("border.univ.example", guard)
    in_namespace("nft -c -f -", text)
    document, listing = in_namespace("nft -f - && nft -j list ruleset && nft -a list ruleset", text).split("\n", 1)
    role = dataclasses.replace(guard, bans=True)
    for family in FAMILIES:
        rules = render(role, family)
        ours = saved(family, rules.text(), model.sets_text([rules]))
        theirs = saved(family, handover.iptables_text("border.univ.example", guard, family))
        for address in ADDRESSES:
            if f"ipv{ipaddress.ip_address(address).version}" != family:
                continue
            sender = "2400:77:99::13" if family == "ipv6" else "5.77.99.13"
            packet = Packet(
                sender, address, guard.interfaces[-1].replace("+", "0"), "inside0", in_set=lambda *_names: False
            )
            wanted = fate(iptables.bases(ours, packet))
            assert fate(iptables.bases(theirs, packet)) == wanted, address
            assert fate(nft.bases(json.loads(document), packet, nft.rule_texts(listing))) == wanted, address
            assert listed(table, address) == wanted, address


def test_a_router_whose_interface_is_not_known():
    for names in ([], ["GigabitEthernet0/0/1"], ["a name"]):
        guard = handover.guard_of(BORDER | {"outside_interfaces": names})
        assert guard.interfaces == (handover.OUTSIDE,)
        assert "Replace OUTSIDE by" in handover.iptables_text("r", guard, "ipv4")
        assert "Replace OUTSIDE by" in handover.nft_text("r", guard)
    assert "Replace" not in handover.nft_text("r", handover.guard_of(BORDER))


def test_what_must_not_answer_outside():
    servers = [("mech", ["198.18.1.30", "2001:db8:18:1::30"]), ("quake", ["198.18.3.40", "2001:db8:18:3::40"])]
    assert [each["address"] for each in handover.closed(BORDER, servers)] == ["198.18.1.30", "2001:db8:18:1::30"]
