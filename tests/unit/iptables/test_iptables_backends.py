# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both variants of iptables, locks held by other processes, and tables that iptables cannot read."""

from __future__ import annotations

import dataclasses
import fcntl
import subprocess
import sys
import time

import pytest
from netfilter_kernel import GUARD, LOADER, Kernel

from ansible_collections.campus.mailgate.plugins.module_utils._iptables import model
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.model import Outbound, Permit
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.router import ApplyError

SENDERS = (Permit("198.18.7.7"), Permit("2001:db8:18::77"))
BOTH_WAYS = dataclasses.replace(GUARD, set_threshold=0, outbound=Outbound("enforce", SENDERS))

# Adds a rule to FORWARD that only nft supports, its own `reject`: batch begin, NFT_MSG_NEWRULE, batch end.
ODD_RULE = """
import socket, struct
def attribute(kind, value): return struct.pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
def nested(kind, *values): return attribute(kind | 0x8000, b"".join(values))
def message(kind, flags, family, resource, body=b""):
    body = struct.pack("BB", family, 0) + struct.pack(">H", resource) + body
    return struct.pack("IHHII", 16 + len(body), kind, flags, 1, 0) + body
reject = nested(1, attribute(1, b"reject\\0"), nested(2, attribute(1, struct.pack(">I", 0)), attribute(2, b"\\0")))
rule = attribute(1, b"filter\\0") + attribute(2, b"FORWARD\\0") + nested(4, reject)
out = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
out.send(message(16, 1, 0, 10) + message(10 << 8 | 6, 0xC05, 2, 0, rule) + message(17, 1, 0, 10))
assert struct.unpack_from("i", out.recv(4096), 16)[0] == 0
"""


def other(kind: str) -> str:
    return "legacy" if kind == "nft" else "nft"


def test_after_a_switch_our_chains_leave_the_other_tables(kernel: Kernel) -> None:
    kind = "nft" if "nf_tables" in kernel.must("iptables", "--version") else "legacy"
    kernel.apply(BOTH_WAYS)
    others = kernel.others("ipv4"), kernel.others("ipv6")
    kernel.switch(other(kind))
    change = kernel.compare(BOTH_WAYS)
    assert change.left
    assert any(
        ":MAILGATE-OUT" in text["before"] for text in change.diff() if "unused iptables tables" in text["before_header"]
    )
    kernel.router().apply(change, 0)
    assert not kernel.compare(BOTH_WAYS).needed
    for tool in ("iptables", "ip6tables"):
        assert "MAILGATE" not in kernel.must(f"{tool}-{kind}-save")
        assert "-A FORWARD -i outside0" in kernel.must(f"{tool}-save")
    kernel.switch(kind)
    assert (kernel.others("ipv4"), kernel.others("ipv6")) == others


def test_rules_gone_for_good_leave_both_kinds_of_tables(kernel: Kernel) -> None:
    kind = "nft" if "nf_tables" in kernel.must("iptables", "--version") else "legacy"
    kernel.apply(BOTH_WAYS)
    kernel.switch(other(kind))
    kernel.apply(None)
    assert not kernel.compare(None).needed
    assert "MAILGATE" not in kernel.must(f"iptables-{kind}-save") + kernel.must("iptables-save")
    assert kernel.must("ipset", "list", "-name") == ""


def test_a_boot_with_the_other_kind_cleans_as_well(kernel: Kernel) -> None:
    kind = "nft" if "nf_tables" in kernel.must("iptables", "--version") else "legacy"
    kernel.apply(BOTH_WAYS)
    kernel.switch(other(kind))
    assert kernel.loader("boot") == 0
    assert not kernel.compare(BOTH_WAYS).needed


def test_outbound_comes_and_goes_without_a_trace(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    before = {family: kernel.rules(family, counters=False) for family in model.FAMILIES}
    kernel.apply(BOTH_WAYS)
    assert kernel.must("ipset", "list", "-name").count("mailgate-senders") == 2
    kernel.apply(GUARD)
    assert {family: kernel.rules(family, counters=False) for family in model.FAMILIES} == before
    assert "\nadd" not in kernel.must("ipset", "save")


@pytest.mark.parametrize("kernel", ["legacy"], indirect=True)
def test_the_lock_of_the_tables_is_waited_for(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    new = dataclasses.replace(GUARD, action="drop")
    change = kernel.compare(new)
    with kernel.lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        with kernel.popen(str(LOADER), "load", *change.parts) as loader:
            for name, text in change.files.items():
                (kernel.directory / name).write_text(text)
            with pytest.raises(subprocess.TimeoutExpired):
                loader.wait(1.5)
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert loader.wait(60) == 0
    assert time.monotonic() - began >= 1.5
    assert not kernel.compare(new).needed


def test_two_loaders_run_one_after_the_other(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    with kernel.popen("flock", str(kernel.directory), "sh", "-c", "echo; sleep 1") as holder:
        assert holder.stdout
        holder.stdout.readline()
        assert kernel.loader("boot") == 0
        assert holder.poll() is not None


@pytest.mark.parametrize("kernel", ["nft"], indirect=True)
def test_a_table_that_iptables_cannot_read_is_left_alone(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    change = kernel.compare(dataclasses.replace(GUARD, action="drop"))
    kernel.must(sys.executable, "-c", ODD_RULE)
    with pytest.raises(ApplyError, match="only nft supports"):
        kernel.compare(GUARD)
    with pytest.raises(
        ApplyError, match="Cannot load the new port-25 rules: mailgate-border: iptables: the table filter holds rules"
    ):
        kernel.router().apply(change, 0)


def test_a_foreign_rule_in_the_outbound_chain_is_named(kernel: Kernel) -> None:
    kernel.apply(BOTH_WAYS)
    kernel.must("ip6tables", "-A", "MAILGATE-OUT", "-s", "2001:db8:9::9", "-j", "ACCEPT")
    change = kernel.apply(BOTH_WAYS)
    assert change.foreign == ["-A MAILGATE-OUT -s 2001:db8:9::9/128 -j ACCEPT"]
    assert change.parts == ["ipv6"]
    assert not kernel.compare(BOTH_WAYS).needed
