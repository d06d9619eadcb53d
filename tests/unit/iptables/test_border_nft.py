# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend nft in a real kernel, and the change from one backend to the other."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any

import pytest
from netfilter_kernel import GUARD, Kernel
from test_iptables_netfilter import VARIANTS

from ansible_collections.campus.mailgate.plugins.module_utils._border.nftables import bans_to_load
from ansible_collections.campus.mailgate.plugins.module_utils._iptables import model, nft
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.bans import Ban
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.kernel import ApplyError
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.model import Permit

pytestmark = pytest.mark.parametrize("kernel", ["nft"], indirect=True)


BAN_WITHOUT_END = {
    "iptables": ["ipset", "add", "mailgate-bans", "198.19.7.7", "packets", "5"],
    "nft": ["nft", "add", "element", "inet", "mailgate", "bans", "{", "198.19.7.7", "}"],
}


def ban(kernel: Kernel, *addresses: str, **options: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"duration": 600, "reason": "it's a flood", "absent": False, "dry": False}
    return kernel.bans().change(addresses, **{**values, **options})


def banned(kernel: Kernel) -> list[str]:
    return [each["address"] for each in ban(kernel)["bans"]]


def table(kernel: Kernel) -> str:
    return kernel.must("nft", "--stateless", "list", "table", "inet", "mailgate")


def guarded(kernel: Kernel) -> bool:
    """Return whether one of the backends is in force."""
    if kernel.run(["nft", "list", "chain", "inet", "mailgate", "inbound"])[0] == 0:
        return True
    saved = kernel.must("iptables-save", "-t", "filter")
    return "-j MAILGATE" in saved and "-A MAILGATE" in saved


@pytest.mark.parametrize("values", VARIANTS, ids=lambda values: "-".join(values) or "default")
def test_loaded_once_it_is_the_same_for_ever(kernel: Kernel, values: dict[str, Any]) -> None:
    guard = dataclasses.replace(GUARD, **values)
    others = {family: kernel.others(family) for family in model.FAMILIES}
    change = kernel.compare(guard, "nft")
    assert change.parts == ["nft"]
    kernel.router().apply(change, 0)
    again = kernel.compare(guard, "nft")
    assert not again.needed, again.diff()
    assert again.diff() == []
    assert kernel.loader("check") == 0
    assert {family: kernel.others(family) for family in model.FAMILIES} == others
    assert "mailgate" not in kernel.must("ipset", "list", "-name")
    assert kernel.apply(None).needed
    assert list(kernel.directory.iterdir()) == []
    assert "mailgate" not in kernel.must("nft", "list", "tables")


def test_the_table_reads_as_documented(kernel: Kernel) -> None:
    kernel.apply(GUARD, "nft")
    text = table(kernel)
    assert "type filter hook forward priority filter - 10; policy accept;" in text
    assert 'iifname "outside0" tcp dport 25 tcp flags syn / syn,ack counter jump inbound' in text
    rules = [line.strip() for line in text.partition("chain inbound {")[2].partition("}")[0].splitlines()]
    assert [rule for rule in rules if rule and "ip6" not in rule] == [
        "ip saddr @bans counter drop",
        "ip saddr @ban_networks counter drop",
        'ip daddr 198.18.0.25 counter return comment "gateway"',
        'ip daddr 198.18.0.26 counter return comment "gateway"',
        "ip daddr @permits counter return",
        'ip daddr 198.18.0.0/16 limit rate 10/minute burst 20 packets log prefix "mailgate-25: "',
        "meta l4proto tcp ip daddr 198.18.0.0/16 counter reject with tcp reset",
    ]
    assert '198.18.1.40 counter comment "research\'s: SMTP é; netlab; until 2027-03-31"' in text


def test_a_permit_inside_another_is_no_conflict(kernel: Kernel) -> None:
    permits = (
        Permit("198.18.2.1"),
        Permit("198.18.2.0/28", "lab"),
        Permit("198.18.2.0/24", "all"),
        Permit("198.18.3.1"),
    )
    guard = dataclasses.replace(GUARD, permits=permits)
    kernel.apply(guard, "nft")
    assert not kernel.compare(guard, "nft").needed
    assert '198.18.2.0/24 counter comment "all"' in table(kernel)


def test_rules_saved_with_our_table_are_loaded_at_boot_and_ours_on_top(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    kernel.must("nft", "add", "table", "inet", "own")
    kernel.apply(GUARD, "nft")
    ban(kernel, "198.19.9.9", "198.19.8.0/24")
    saved = kernel.save("etc/nftables.conf", "flush ruleset\n" + kernel.must("nft", "list", "ruleset"))
    assert kernel.router().unloadable() == {}
    # An expired ban does not come back with the saved rules.
    ban(kernel, "198.19.9.9", absent=True)
    kernel.flush()
    kernel.must("nft", "flush", "ruleset")
    kernel.must("nft", "-f", str(saved))
    assert kernel.loader("boot") == 0
    assert not kernel.compare(GUARD, "nft").needed
    assert banned(kernel) == ["198.19.8.0/24"]
    assert "table inet own" in kernel.must("nft", "list", "tables")
    change = kernel.apply(None)
    assert any("nftables.conf" in warning for warning in change.warnings)


def test_what_nft_saved_with_our_iptables_rules_is_reported(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    path = kernel.save("etc/nftables.conf", kernel.must("nft", "list", "ruleset"))
    assert list(kernel.router().unloadable()) == [str(path)]
    kernel.apply(GUARD, "nft")
    path.write_text(kernel.must("nft", "list", "ruleset"))
    assert kernel.router().unloadable() == {}


@pytest.mark.parametrize(("first", "second"), [("iptables", "nft"), ("nft", "iptables")])
def test_old_rules_that_somebody_loads_again_are_removed(kernel: Kernel, first: str, second: str) -> None:
    kernel.apply(GUARD, first)
    old = (
        kernel.must("iptables-save") if first == "iptables" else kernel.must("nft", "list", "table", "inet", "mailgate")
    )
    path = kernel.save("etc/iptables/rules.v4" if first == "iptables" else "etc/nftables.conf", old)
    change = kernel.apply(GUARD, second)
    assert any(str(path) in warning and "not in use any more" in warning for warning in change.warnings)
    assert kernel.loader("check") == 0
    kernel.must(*(["iptables-restore"] if first == "iptables" else ["nft", "-f"]), str(path))
    assert kernel.loader("check") == 1
    assert kernel.compare(GUARD, second).needed
    assert kernel.loader("boot") == 0
    assert kernel.loader("check") == 0
    assert not kernel.compare(GUARD, second).needed


@pytest.mark.slow
def test_each_change_of_the_table_is_seen_and_corrected(kernel: Kernel) -> None:
    kernel.apply(GUARD, "nft")
    for command in (
        "flush ruleset",
        "delete table inet mailgate",
        "flush chain inet mailgate forward",
        "add rule inet mailgate inbound accept",
        "insert rule inet mailgate forward accept",
        "delete element inet mailgate permits { 198.18.1.40 }",
        "add element inet mailgate permits { 198.18.1.41 }",
    ):
        kernel.must("nft", command)
        assert kernel.loader("check") == 1, command
        assert kernel.compare(GUARD, "nft").parts == ["nft"], command
        assert kernel.loader("boot") == 0
        assert kernel.loader("check") == 0, command
        assert not kernel.compare(GUARD, "nft").needed


@pytest.mark.parametrize(("first", "second"), [("iptables", "nft"), ("nft", "iptables")])
def test_the_backend_changes_without_an_open_moment_and_keeps_the_bans(kernel: Kernel, first: str, second: str) -> None:
    kernel.apply(GUARD, first)
    ban(kernel, "198.19.9.9", "198.19.8.0/24", "2001:db8:bad::/48")
    kernel.must(*BAN_WITHOUT_END[first])
    before = ban(kernel)["bans"]
    assert before[0]["seconds_left"] == 0
    others = {family: kernel.others(family) for family in model.FAMILIES}
    change = kernel.compare(GUARD, second)
    open_moments, stop = [], threading.Event()

    def watch() -> None:
        while not stop.is_set():
            if not guarded(kernel):
                open_moments.append(time.monotonic())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        kernel.router().apply(change, 0)
    finally:
        stop.set()
        watcher.join()
    assert open_moments == []
    assert not kernel.compare(GUARD, second).needed
    after = ban(kernel)["bans"]
    assert [(each["address"], each["reason"]) for each in after] == [
        (each["address"], each["reason"]) for each in before
    ]
    assert after[0] == before[0]
    assert all(500 <= each["seconds_left"] <= 600 for each in after[1:])
    assert {family: kernel.others(family) for family in model.FAMILIES} == others
    if second == "nft":
        assert "MAILGATE" not in kernel.must("iptables-save") + kernel.must("ip6tables-save")
        assert "mailgate" not in kernel.must("ipset", "list", "-name")
    else:
        assert "mailgate" not in kernel.must("nft", "list", "tables")


@pytest.mark.parametrize(("first", "second"), [("iptables", "nft"), ("nft", "iptables"), ("nft", "nft")])
def test_an_unconfirmed_change_is_rolled_back_across_backends(kernel: Kernel, first: str, second: str) -> None:
    kernel.apply(GUARD, first)
    new = dataclasses.replace(GUARD, gateways=("198.18.0.99",))
    for way in ("boot", "undo"):
        change = kernel.compare(new, second)
        kernel.router()._keep_old(change.old_files)
        for name, text in change.files.items():
            (kernel.directory / name).write_text(text)
        for name in change.old_files.keys() - change.files.keys():
            (kernel.directory / name).unlink()
        assert kernel.loader("load", *change.parts) == 0
        assert kernel.compare(new, second).unconfirmed
        assert kernel.loader(way) == 0
        assert not kernel.compare(GUARD, first).needed


@pytest.mark.parametrize("first", ["iptables", "nft"])
def test_a_table_that_cannot_be_loaded_leaves_the_old_rules(kernel: Kernel, first: str) -> None:
    kernel.apply(GUARD, first)
    ban(kernel, "198.19.9.9")
    change = kernel.compare(dataclasses.replace(GUARD, action="drop"), "nft")
    change.files[nft.FILE] = change.files[nft.FILE].replace("counter drop", "counter nonsense")
    with pytest.raises(ApplyError, match=r"Cannot load the new port-25 rules: .*The old rules were restored"):
        kernel.router().apply(change, 0)
    assert not kernel.compare(GUARD, first).needed
    assert banned(kernel) == ["198.19.9.9"]


def test_a_damaged_file_at_boot_is_reported_truthfully(kernel: Kernel) -> None:
    kernel.apply(GUARD, "nft")
    (kernel.directory / nft.FILE).write_text("nonsense\n")
    status, _out, error = kernel.run([str(kernel.router()._loader), "boot"])
    assert status == 1
    assert "rules that were there before are still in place" in error
    kernel.must("nft", "flush", "ruleset")
    status, _out, error = kernel.run([str(kernel.router()._loader), "boot"])
    assert status == 1
    assert "port 25 is open" in error


def test_a_table_of_our_name_that_is_somebody_elses_is_refused_before_any_change(kernel: Kernel) -> None:
    kernel.must("nft", "add table inet mailgate; add chain inet mailgate own")
    before = kernel.must("nft", "list", "ruleset")
    with pytest.raises(ApplyError, match=r"Nothing was changed: .*table inet mailgate"):
        kernel.apply(GUARD, "nft")
    assert kernel.loader("boot") == 0
    assert kernel.must("nft", "list", "ruleset") == before


def test_bans_of_addresses_and_networks(kernel: Kernel) -> None:
    kernel.apply(GUARD, "nft")
    assert ban(kernel, "198.19.9.9", "198.19.9.0/24", "2001:db8:bad::1", "2001:db8:bad::/48")["changed"]
    assert not ban(kernel, "198.19.9.9", "198.19.9.0/24")["changed"]
    assert kernel.loader("check") == 0, "bans are not a change of the rules"
    # A set of nftables holds no network inside another one.
    wider = ban(kernel, "198.19.0.0/16", duration=1000)
    assert wider["warnings"] == [
        "198.19.9.0/24 is no longer banned separately, but by 198.19.0.0/16; "
        "its end and reason are those of 198.19.0.0/16"
    ]
    narrow = ban(kernel, "198.19.5.0/24")
    assert not narrow["changed"]
    assert "198.19.5.0/24 is already banned by 198.19.0.0/16" in narrow["warnings"][0]
    assert ban(kernel, "198.19.9.9", duration=60, reason="other")["changed"]
    found = {each["address"]: each for each in ban(kernel)["bans"]}
    assert set(found) == {"198.19.0.0/16", "198.19.9.9", "2001:db8:bad::1", "2001:db8:bad::/48"}
    assert found["198.19.9.9"]["seconds_left"] <= 60
    assert found["198.19.9.9"]["reason"] == "other"
    kernel.apply(dataclasses.replace(GUARD, action="drop"), "nft")
    assert set(banned(kernel)) == set(found)
    assert ban(kernel, *found, absent=True)["bans"] == []
    assert kernel.bans_file.read_text() == ""


def test_bans_outlive_a_reboot(kernel: Kernel) -> None:
    kernel.apply(GUARD, "nft")
    ban(kernel, "198.19.9.9", "2001:db8:bad::/48")
    kernel.flush()
    assert kernel.loader("boot") == 0
    assert banned(kernel) == ["198.19.9.9", "2001:db8:bad::/48"]


def test_a_table_that_is_gone_is_an_error_for_bans(kernel: Kernel) -> None:
    kernel.apply(GUARD, "nft")
    kernel.must("nft", "flush", "ruleset")
    with pytest.raises(ApplyError, match=r"table inet mailgate is missing on this router\. Apply the role"):
        ban(kernel, "198.19.9.9")


def test_which_bans_are_loaded(kernel: Kernel) -> None:
    bans = [Ban("198.19.9.9", 5), Ban("198.19.0.0/16", 0), Ban("198.19.9.0/24", 9), Ban("198.19.7.7", 0)]
    live = {each.address: each for each in bans}
    recorded = {"198.19.3.3": Ban("198.19.3.3", 50)}
    kept = bans_to_load(live, recorded, boot=False)
    assert {each.address for each in kept} == {"198.19.9.9", "198.19.0.0/16", "198.19.7.7", "198.19.3.3"}
    kept = bans_to_load(live, recorded, boot=True)
    assert {each.address for each in kept} == {"198.19.0.0/16", "198.19.7.7", "198.19.3.3"}


@pytest.mark.slow
def test_ten_thousand_permits(kernel: Kernel) -> None:
    permits = tuple(Permit(f"198.18.{number // 250 + 1}.{number % 250}", f"host {number}") for number in range(10_000))
    guard = dataclasses.replace(GUARD, permits=permits)
    kernel.apply(guard, "nft")
    assert not kernel.compare(guard, "nft").needed
    assert kernel.loader("boot") == 0


# Creates a table with the flags owner and persist (Linux 6.9): batch begin, NFT_MSG_NEWTABLE, batch end. The owner is
# the socket, so the table is an orphan when this program ends.
OWNED_TABLE = """
import socket, struct
def attribute(kind, value): return struct.pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
def message(kind, flags, family, resource, body=b""):
    body = struct.pack("BB", family, 0) + struct.pack(">H", resource) + body
    return struct.pack("IHHII", 16 + len(body), kind, flags, 1, 0) + body
table = attribute(1, b"owned\\0") + attribute(2, struct.pack(">I", 2 | 4))
out = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
out.send(message(16, 1, 0, 10) + message(10 << 8 | 0, 0x405, 1, 0, table) + message(17, 1, 0, 10))
assert struct.unpack_from("i", out.recv(4096), 16)[0] == 0
"""


def test_flags_owner_and_persist_do_not_protect_a_table_whose_program_has_ended(kernel: Kernel) -> None:
    """The reason why the table has no flags: no program stays that could own it."""
    flush = 'import subprocess; subprocess.run(["nft", "flush", "ruleset"])'
    if kernel.run(["python3", "-c", OWNED_TABLE + flush])[0]:
        pytest.skip("this kernel has no flag persist")
    assert "table inet owned" in kernel.must("nft", "list", "tables"), "while its owner lives, others cannot flush it"
    kernel.must("nft", "flush", "ruleset")
    assert kernel.must("nft", "list", "tables") == "", "an orphan is flushed like any other table"
