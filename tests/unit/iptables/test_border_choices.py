# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The choice of the backend, the check of the outside interfaces, and the problems of permits."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import pytest
from netfilter_kernel import GUARD

from ansible_collections.campus.mailgate.plugins.module_utils._iptables import interfaces, managers, model, nft
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.model import Permit
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.saved_rules import SavedRules

SYSTEMCTL = """Id=firewalld.service
ActiveState={firewalld}
UnitFileState=disabled

Id=nftables.service
ActiveState=inactive
UnitFileState={nftables}

Id=ufw.service
ActiveState=active
UnitFileState=enabled
"""


def show(**states: str):
    values = {"firewalld": "inactive", "nftables": "disabled", **states}
    return lambda _command: (0, SYSTEMCTL.format(**values), "")


@pytest.mark.parametrize(
    ("wanted", "found", "own", "backend", "reason"),
    [
        ("auto", [], False, "iptables", "no other firewall"),
        ("auto", ["ufw", "docker"], False, "iptables", "ufw.service"),
        ("auto", ["netfilter-persistent"], True, "iptables", "netfilter-persistent.service"),
        ("auto", ["firewalld"], False, "nft", "firewalld.service"),
        ("auto", ["nftables", "ufw"], False, "nft", "nftables.service"),
        ("auto", ["docker"], True, "nft", "/etc/nftables.conf"),
        ("iptables", ["firewalld"], False, "iptables", "inventory"),
        ("nft", [], False, "nft", "inventory"),
    ],
)
def test_the_backend_follows_what_manages_the_router(wanted, found, own, backend, reason) -> None:
    choice = managers.choose(wanted, found, own)
    assert choice.backend == backend
    assert reason in choice.reason
    assert bool(managers.advice(choice, own)) is (wanted == "iptables")


def test_enabled_or_active_services_are_found(tmp_path: Path) -> None:
    assert managers.find_managers(show(), tmp_path) == []
    assert managers.find_managers(show(firewalld="active", nftables="enabled"), tmp_path) == ["firewalld", "nftables"]
    (tmp_path / "etc/ufw").mkdir(parents=True)
    (tmp_path / "etc/ufw/ufw.conf").write_text("# ENABLED=yes\nENABLED=no\n")
    assert managers.find_managers(show(), tmp_path) == []
    (tmp_path / "etc/ufw/ufw.conf").write_text("ENABLED=yes\n")
    assert managers.find_managers(show(), tmp_path) == ["ufw"]


def test_a_changed_nftables_conf_is_an_admins_own(tmp_path: Path) -> None:
    def run(command):
        if command[0] == "dpkg-query":
            return 0, "\n /etc/nftables.conf 6d5a0b9f\n", ""
        return 0, f"{sum_of} {command[1]}\n", ""

    sum_of = "6d5a0b9f"
    assert not managers.has_own_nft_conf(run, str, tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nftables.conf").write_text("")
    assert not managers.has_own_nft_conf(run, str, tmp_path)
    sum_of = "0000"
    assert managers.has_own_nft_conf(run, str, tmp_path)


def test_an_interface_that_matches_nothing_is_refused_unless_another_exists() -> None:
    masters = {"lo": "", "outside0": "", "wan7": "", "eth1": "br0", "br0": ""}

    def judge(*patterns: str, known: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
        return interfaces.judge(patterns, masters, known)

    assert judge("outside0", "wan+") == ([], [])
    (problem,), warnings = judge("eth9")
    assert "no interface 'eth9' on this router (it has outside0, wan7, br0)" in problem
    assert warnings == []
    problems, (warning,) = judge("outside0", "ppp0")
    assert problems == []
    assert "as soon as it exists" in warning
    assert judge("ppp0", known=("ppp0",))[0] == [], "an interface that is down at the moment stops no run"
    (problem,), _warnings = judge("eth1")
    assert "a port of br0" in problem
    assert judge("br0") == ([], [])


def test_the_interfaces_of_a_router_are_read(tmp_path: Path) -> None:
    for name in ("eth0", "eth1", "br0"):
        (tmp_path / name).mkdir()
    (tmp_path / "eth1/master").symlink_to("../br0")
    (tmp_path / "bonding_masters").write_text("")
    assert interfaces.read(tmp_path) == {"br0": "", "eth0": "", "eth1": "br0"}


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["0.0.0.0/1", "128.0.0.0/1"], "together would permit every server"),
        (["0.0.0.0/2", "198.18.1.1", "64.0.0.0/2", "128.0.0.0/1"], "together would permit every server"),
        (["::/1", "8000::/1"], "together would permit every server"),
        (["::ffff:198.18.1.30"], "write the IPv4 address 198.18.1.30"),
        (["198.18.1.30", "198.18.0.0/16", "2001:db8::/32"], ""),
    ],
)
def test_permits_that_cannot_be_meant_are_refused(addresses: list[str], expected: str) -> None:
    problems = model.problems(dataclasses.replace(GUARD, permits=tuple(map(Permit, addresses))))
    assert len(problems) == bool(expected)
    assert all(problem.startswith("permits: ") and expected in problem for problem in problems)


def test_an_expired_permit_is_refused() -> None:
    listed = [("198.18.1.1", "2026-03-31"), ("198.18.1.2", "2026-04-01"), ("198.18.1.3", ""), ("198.18.1.4", "soon")]
    assert model.expired("permits", listed, datetime.date(2026, 4, 1)) == [
        "permits: 198.18.1.1 expired on 2026-03-31; renew its date or remove it"
    ]


def test_a_prefix_with_a_variable_is_refused_for_nft() -> None:
    assert nft.problems(GUARD) == []
    (problem,) = nft.problems(dataclasses.replace(GUARD, log=model.Log(prefix="cost $5 ")))
    assert problem.startswith("log.prefix")


def test_saved_files_and_their_includes_are_searched(tmp_path: Path) -> None:
    def save(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    conf = save("etc/nftables.conf", 'include "/etc/own/*.nft"\ninclude "rel.nft"\ntable inet mailgate {\n}\n')
    own = save("etc/own/a.nft", "add rule ip filter input xt match set mailgate-permits\n")
    rel = save("etc/rel.nft", "MAILGATE-OUTSIDE mailgate-bans6x\n")
    ufw = save("etc/ufw/before.rules", "-A X -m set --match-set mailgate-bans6 src -j DROP\n-A Y -j MAILGATE\n")
    xml = save("etc/firewalld/direct.xml", "<rule>-m set --match-set mailgate-bans src</rule>")
    save("etc/iptables/ipsets", "create mailgate-senders hash:net\n")
    saved = SavedRules(lambda _command: (1, "", ""), lambda _name: None, tmp_path)
    assert saved.named_sets() == {"mailgate-permits": [own], "mailgate-bans6": [ufw], "mailgate-bans": [xml]}
    assert saved.with_rules_of(["iptables"]) == [ufw]
    assert saved.with_rules_of(["iptables", "nft"]) == [conf, ufw]
    assert rel
