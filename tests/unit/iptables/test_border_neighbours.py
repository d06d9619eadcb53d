# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What other firewalls and an admin have on the router: saved rules, chains of our name, rules that use our chains."""

from __future__ import annotations

import dataclasses
import fcntl

import pytest
from netfilter_kernel import GUARD, Kernel

from ansible_collections.campus.mailgate.plugins.module_utils._iptables import model
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.kernel import ApplyError
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.saved_rules import SavedRules

ALL_SETS = {name for names in (model.PERMITS, model.SENDERS, model.BANS) for name in names.values()}
IN_SETS = dataclasses.replace(GUARD, set_threshold=0)


def sets(kernel: Kernel) -> set[str]:
    return set(kernel.must("ipset", "list", "-name").split())


def save(kernel: Kernel) -> None:
    """Save the rules as netfilter-persistent does."""
    kernel.save("etc/iptables/rules.v4", kernel.must("iptables-save"))
    kernel.save("etc/iptables/rules.v6", kernel.must("ip6tables-save"))


def boot(kernel: Kernel) -> None:
    """Boot with the saved rules: sets, the other firewall, then our rules."""
    kernel.flush()
    kernel.loader("sets")
    kernel.must("iptables-restore", str(kernel.root / "etc/iptables/rules.v4"))
    kernel.must("ip6tables-restore", str(kernel.root / "etc/iptables/rules.v6"))
    assert kernel.loader("boot") == 0


def test_saved_rules_that_name_our_sets_stay_loadable_after_absent(kernel: Kernel) -> None:
    kernel.apply(IN_SETS)
    save(kernel)
    change = kernel.apply(None)
    assert any("rules.v4" in warning and "mailgate-bans" in warning for warning in change.warnings)
    assert sets(kernel) >= {"mailgate-bans", "mailgate-bans6", "mailgate-permits", "mailgate-permits6"}
    assert "\nadd" not in kernel.must("ipset", "save")
    assert not kernel.compare(None).needed
    others = kernel.rules("ipv4", counters=False)
    boot(kernel)
    assert kernel.rules("ipv4", counters=False) == others
    assert "MAILGATE" not in kernel.must("iptables-save"), "rules that another program saved come back for good"
    assert any("rules.v4" in warning for warning in kernel.compare(None).warnings)
    for name in ("rules.v4", "rules.v6"):
        (kernel.root / "etc/iptables" / name).unlink()
    assert kernel.apply(None).needed
    assert sets(kernel) == set()
    assert list(kernel.directory.iterdir()) == []


def test_saved_rules_stay_loadable_when_the_permits_become_few(kernel: Kernel) -> None:
    kernel.apply(IN_SETS)
    save(kernel)
    kernel.apply(GUARD)
    assert sets(kernel) == ALL_SETS
    boot(kernel)
    assert not kernel.compare(GUARD).needed


def test_a_set_that_an_admins_rule_uses_stays_and_is_not_a_change_for_ever(kernel: Kernel) -> None:
    kernel.apply(IN_SETS)
    kernel.must("iptables", "-A", "INPUT", "-m", "set", "--match-set", "mailgate-permits", "src", "-j", "ACCEPT")
    kernel.apply(GUARD)
    assert not kernel.compare(GUARD).needed
    change = kernel.apply(None)
    assert sets(kernel) == {"mailgate-permits"}
    assert any("mailgate-permits" in warning for warning in change.warnings)
    assert not kernel.compare(None).needed


def test_a_change_that_makes_saved_rules_unloadable_is_rolled_back(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.apply(IN_SETS)
    save(kernel)
    before = kernel.rules("ipv4", counters=False)
    # As if the file named the sets in a form that is not recognized.
    monkeypatch.setattr(SavedRules, "named_sets", lambda _self: {})
    with pytest.raises(ApplyError, match=r"saved rules could not be loaded at boot: .*rules\.v4.* were restored"):
        kernel.apply(None)
    assert kernel.rules("ipv4", counters=False) == before
    assert not kernel.compare(IN_SETS).needed


def test_a_held_lock_does_not_hide_damaged_rules(kernel: Kernel) -> None:
    kernel.save("etc/iptables/rules.v6", "*filter\n-A NOWHERE -j ACCEPT\nCOMMIT\n")
    with kernel.lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert list(kernel.router().unloadable()) == [str(kernel.root / "etc/iptables/rules.v6")]


def test_saved_rules_that_are_damaged_anyway_do_not_stop_a_change(kernel: Kernel) -> None:
    kernel.save("etc/iptables/rules.v4", "*filter\n-A NOWHERE -j ACCEPT\nCOMMIT\n")
    assert kernel.apply(GUARD).needed
    assert list(kernel.router().unloadable()) == [str(kernel.root / "etc/iptables/rules.v4")]


@pytest.mark.parametrize("chain", ["MAILGATE", "MAILGATE-OUT"])
def test_a_chain_of_our_name_that_is_somebody_elses_is_refused_before_any_change(kernel: Kernel, chain: str) -> None:
    kernel.must("iptables", "-N", chain)
    kernel.must("iptables", "-A", chain, "-p", "tcp", "--dport", "22", "-j", "ACCEPT")
    kernel.must("iptables", "-A", "INPUT", "-p", "tcp", "-j", chain)
    before = kernel.rules("ipv4")
    with pytest.raises(ApplyError, match=f"Nothing was changed: .*iptables: {chain} .*iptables -E {chain} NAME"):
        kernel.apply(GUARD)
    assert not kernel.compare(None).needed
    assert kernel.loader("boot") == 0
    assert kernel.loader("load", "ipv4", "ipv6") == 0
    assert kernel.rules("ipv4") == before
    assert not kernel.directory.exists()


def test_every_rule_concerns_new_connections_to_port_25_only(kernel: Kernel) -> None:
    guard = dataclasses.replace(IN_SETS, outbound=model.Outbound("enforce", (model.Permit("198.18.7.7"),)))
    kernel.apply(guard)
    for family in model.FAMILIES:
        rules = [line for line in kernel.rules(family, counters=False) if line.startswith("-A MAILGATE")]
        assert rules
        assert all("--dport 25 --tcp-flags SYN,ACK SYN" in rule for rule in rules), rules


def test_an_admins_jumps_to_our_chain_stay_and_are_named(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    second = ["FORWARD", "-i", "wan2", "-p", "tcp", "--dport", "25", "-j", "MAILGATE"]
    kernel.must("iptables", "-A", *second)
    kernel.must("iptables", "-A", "INPUT", "-p", "tcp", "-j", "MAILGATE")
    change = kernel.apply(dataclasses.replace(GUARD, action="drop"))
    (warning,) = change.warnings
    assert "-i wan2" in warning
    assert "-A INPUT -p tcp -j MAILGATE" in warning
    assert "outside_interface" in warning
    assert kernel.loader("boot") == 0
    kernel.must("iptables", "-C", *second)
    change = kernel.apply(None)
    assert change.needed
    kernel.must("iptables", "-C", *second)
    assert "-A MAILGATE" not in kernel.must("iptables-save"), "the chain is empty"
    assert not kernel.compare(None).needed
    kernel.apply(GUARD)
    kernel.must("iptables", "-C", *second)
    assert not kernel.compare(GUARD).needed


def test_a_first_change_is_rolled_back_though_an_admins_rule_uses_the_chain(kernel: Kernel) -> None:
    before = kernel.rules("ipv4", counters=False)
    change = kernel.compare(GUARD)
    kernel.router()._keep_old(change.old_files)
    for name, text in change.files.items():
        (kernel.directory / name).write_text(text)
    assert kernel.loader("load", "ipv4", "ipv6") == 0
    kernel.must("iptables", "-A", "INPUT", "-p", "tcp", "-j", "MAILGATE")
    assert kernel.loader("undo") == 0
    rules = kernel.rules("ipv4", counters=False)
    assert [rule for rule in rules if "MAILGATE" in rule] == [
        ":MAILGATE - [0:0]",
        "-A INPUT -p tcp -j MAILGATE",
    ]
    assert [rule for rule in rules if "MAILGATE" not in rule] == before


def test_chains_of_an_older_release_are_replaced(kernel: Kernel) -> None:
    kernel.must(
        "ipset", "create", "mailgate-bans", "hash:net", "maxelem", "1048576", "timeout", "0", "counters", "comment"
    )
    old = (
        "*filter\n:MAILGATE - [0:0]\n-A MAILGATE -m set --match-set mailgate-bans src -j DROP\n"
        "-A MAILGATE -d 198.18.0.0/16 -p tcp -j REJECT --reject-with tcp-reset\n"
        f"-I FORWARD 1 -i outside0 {model.CONNECTING} -j MAILGATE\nCOMMIT\n"
    )
    kernel.must("iptables-restore", "--noflush", text=old)
    kernel.directory.mkdir()
    (kernel.directory / "ipv4.rules").write_text(old)
    others = kernel.others("ipv4")
    assert kernel.apply(GUARD).warnings == []
    assert not kernel.compare(GUARD).needed
    assert kernel.must("iptables-save").count("-j MAILGATE") == 1
    assert kernel.others("ipv4") == others


@pytest.mark.parametrize("kernel", ["legacy"], indirect=True)
def test_a_held_lock_leaves_the_old_rules_and_says_so(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILGATE_BORDER_LOCK_SECONDS", "2")
    kernel.apply(IN_SETS)
    before = kernel.rules("ipv4", counters=False)
    new = dataclasses.replace(IN_SETS, action="drop")
    with kernel.lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, _out, error = kernel.run([str(kernel.router()._loader), "boot"])
        assert status == 1
        assert "without address sets" not in error
        assert "port 25 is open" not in error
        assert "rules that were there before are still in place" in error
        with pytest.raises(ApplyError, match="xtables lock"):
            kernel.apply(new)
    assert kernel.rules("ipv4", counters=False) == before
    assert not kernel.compare(IN_SETS).needed


def test_an_undo_that_cannot_write_fails_and_still_loads(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    change = kernel.compare(dataclasses.replace(GUARD, action="drop"))
    kernel.router()._keep_old(change.old_files)
    # In place of a full disk: the file to replace is a directory.
    (kernel.directory / "ipv4.rules").unlink()
    (kernel.directory / "ipv4.rules").mkdir()
    assert kernel.loader("undo") == 1
    (kernel.directory / "ipv4.rules").rmdir()
    assert kernel.loader("boot") == 0
    assert not kernel.compare(GUARD).needed
