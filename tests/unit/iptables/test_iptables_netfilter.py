# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chain in a real kernel: one network namespace for each test, both variants of iptables."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from netfilter_kernel import GUARD, Kernel

from ansible_collections.campus.mailgate.plugins.module_utils._iptables import model
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.model import Permit
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.router import ApplyError, Router

VARIANTS: list[dict[str, Any]] = [
    {},
    {"set_threshold": 0},
    {"mode": "observe"},
    {"action": "drop", "networks": ("198.18.0.0/16", "198.19.0.0/16")},
    {"log": model.Log(target="nflog", prefix="mg 25", limit="90/hour", burst=5, group=0)},
    {"log": model.Log(target="nflog", limit="7/minute", group=3), "interfaces": ("wan+", "outside0")},
    {"log": model.Log(target="none")},
    {"outbound": model.Outbound("enforce", (Permit("198.18.7.7", "it's lists"), Permit("2001:db8:18::77")))},
    {"outbound": model.Outbound("observe", (Permit("198.18.7.7", "lists"),)), "set_threshold": 0, "action": "drop"},
]


@pytest.mark.parametrize("values", VARIANTS, ids=lambda values: "-".join(values) or "default")
def test_loaded_once_it_is_the_same_for_ever(kernel: Kernel, values: dict[str, Any]) -> None:
    guard = dataclasses.replace(GUARD, **values)
    others = {family: kernel.others(family) for family in model.FAMILIES}
    assert kernel.apply(guard).needed
    again = kernel.compare(guard)
    assert not again.needed, again.diff()
    assert again.diff() == []
    for family in model.FAMILIES:
        assert kernel.others(family) == others[family]
        forward = [line for line in kernel.rules(family, counters=False) if line.startswith("-A FORWARD")]
        jumps = ["MAILGATE", "MAILGATE-OUT"] if "outbound" in values else ["MAILGATE"] * len(guard.interfaces)
        assert [line.rpartition(" ")[2] for line in forward[: len(jumps)]] == jumps
        assert len(forward) == 2 + len(jumps)


def test_a_change_in_one_family_keeps_the_others_counters(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    kernel.count("ipv4")
    before = kernel.rules("ipv4")
    assert any(line.startswith("[7:700] -A MAILGATE") for line in before)
    change = kernel.apply(dataclasses.replace(GUARD, gateways=("198.18.0.25", "198.18.0.26")))
    assert change.parts == ["ipv6"]
    assert kernel.rules("ipv4") == before


def test_permits_in_a_set_change_without_touching_the_chain(kernel: Kernel) -> None:
    guard = dataclasses.replace(GUARD, set_threshold=0)
    kernel.apply(guard)
    kernel.count("ipv4")
    before = kernel.rules("ipv4")
    change = kernel.apply(dataclasses.replace(guard, permits=(*guard.permits, Permit("198.18.3.3", "new"))))
    assert (change.parts, change.sets) == ([], True)
    assert kernel.rules("ipv4") == before
    assert 'add mailgate-permits 198.18.3.3 comment "new"' in kernel.must("ipset", "save", "mailgate-permits")
    kernel.apply(GUARD)
    assert "\nadd" not in kernel.must("ipset", "save")


def test_disorder_is_mended_and_foreign_rules_in_our_chain_are_named(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    others = kernel.others("ipv4")
    kernel.must("iptables", "-I", "MAILGATE", "1", "-s", "198.19.9.9", "-j", "ACCEPT")
    kernel.must("iptables", "-I", "FORWARD", "1", "-i", "lan0", "-j", "MAILGATE")
    kernel.must("iptables", "-D", "FORWARD", "2")
    kernel.must("iptables", "-A", "FORWARD", "-i", "outside0", "-p", "tcp", "--dport", "25", "-j", "MAILGATE")
    change = kernel.apply(GUARD)
    assert change.foreign == ["-A MAILGATE -s 198.19.9.9/32 -j ACCEPT"]
    assert "-A MAILGATE -s 198.19.9.9/32 -j ACCEPT" in change.diff()[0]["before"]
    assert not kernel.compare(GUARD).needed
    assert kernel.others("ipv4") == others


def test_a_flushed_router_is_loaded_as_at_boot(kernel: Kernel) -> None:
    guard = dataclasses.replace(GUARD, set_threshold=0)
    kernel.apply(guard)
    kernel.flush()
    assert kernel.loader("sets") == 0
    assert kernel.loader("boot") == 0
    assert not kernel.compare(guard).needed
    assert kernel.loader("boot") == 0
    assert not kernel.compare(guard).needed


def test_without_its_set_the_router_still_guards_and_says_so(kernel: Kernel) -> None:
    kernel.apply(dataclasses.replace(GUARD, set_threshold=0))
    kernel.flush()
    (kernel.directory / "sets").unlink()
    assert kernel.loader("boot") == 1
    for family in model.FAMILIES:
        rules = "\n".join(kernel.rules(family, counters=False))
        assert "-j MAILGATE" in rules
        assert "gateway" in rules
        assert "REJECT" in rules
        assert "match-set" not in rules


def test_a_family_that_fails_leaves_both_as_they_were(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    before = {family: kernel.rules(family) for family in model.FAMILIES}
    files = {path.name: path.read_text() for path in kernel.directory.iterdir()}
    change = kernel.compare(dataclasses.replace(GUARD, gateways=("198.18.0.99", "2001:db8:18::99")))
    change.files["ipv6.rules"] = change.files["ipv6.rules"].replace("-j RETURN", "-j NOWHERE")
    with pytest.raises(ApplyError, match=r"Cannot load the new port-25 rules: .*The old rules were restored"):
        kernel.router().apply(change, 0)
    strip = [[line.split("] ", 1)[-1] for line in before[family]] for family in model.FAMILIES]
    assert [kernel.rules(family, counters=False) for family in model.FAMILIES] == strip
    assert {path.name: path.read_text() for path in kernel.directory.iterdir()} == files


def test_the_first_change_taken_back_leaves_nothing(kernel: Kernel) -> None:
    before = {family: kernel.rules(family) for family in model.FAMILIES}
    change = kernel.compare(dataclasses.replace(GUARD, set_threshold=0))
    change.files["ipv6.rules"] = change.files["ipv6.rules"].replace("COMMIT", "-A NOWHERE -j DROP\nCOMMIT")
    with pytest.raises(ApplyError, match="The old rules were restored"):
        kernel.router().apply(change, 0)
    assert {family: kernel.rules(family) for family in model.FAMILIES} == before
    assert list(kernel.directory.iterdir()) == []
    assert kernel.must("ipset", "list", "-name") == ""


def test_absent_removes_all_of_ours(kernel: Kernel) -> None:
    before = {family: kernel.rules(family) for family in model.FAMILIES}
    kernel.apply(dataclasses.replace(GUARD, set_threshold=0))
    assert kernel.apply(None).needed
    assert {family: kernel.rules(family) for family in model.FAMILIES} == before
    assert list(kernel.directory.iterdir()) == []
    assert not kernel.compare(None).needed


def test_an_unconfirmed_change_is_taken_back_at_boot_and_by_hand(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    new = dataclasses.replace(GUARD, gateways=("198.18.0.99",))
    for way in ("boot", "undo"):
        change = kernel.compare(new)
        kernel.router()._keep_old(change.old_files)
        for name, text in change.files.items():
            (kernel.directory / name).write_text(text)
        assert kernel.loader("load", "ipv4", "ipv6") == 0
        assert kernel.compare(new).unconfirmed
        assert kernel.loader(way) == 0
        assert not kernel.compare(GUARD).needed
    assert kernel.loader("undo") == 1
    assert kernel.loader("confirm") == 1


def test_a_missing_program_is_named_before_anything_is_written(kernel: Kernel) -> None:
    router = Router(kernel.run, lambda _name: None, kernel.directory)
    change = router.compare([model.render(GUARD, family) for family in model.FAMILIES])
    assert change.needed
    with pytest.raises(ApplyError, match="mailgate-border, iptables-restore, ip6tables-restore"):
        router.apply(change, 0)
    assert not kernel.directory.exists()


@pytest.mark.slow
def test_ten_thousand_permits_load_in_one_transaction(kernel: Kernel) -> None:
    permits = tuple(Permit(f"198.18.{number // 250 + 1}.{number % 250}", f"host {number}") for number in range(10_000))
    guard = dataclasses.replace(GUARD, permits=permits)
    kernel.apply(guard)
    assert not kernel.compare(guard).needed
    assert kernel.must("ipset", "save", "mailgate-permits").count("\nadd ") == 10_000
    assert kernel.loader("boot") == 0
