# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The port-25 chain as text: rendered, parsed and compared."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.campus.mailgate.plugins.module_utils._iptables import model
from ansible_collections.campus.mailgate.plugins.module_utils._iptables import text as iptables_text
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.model import Guard, Log, Outbound, Permit

GUARD = Guard(
    interfaces=("outside0",),
    networks=("198.18.0.0/16", "2001:db8:18::/48"),
    gateways=("198.18.0.25", "198.18.0.26", "2001:DB8:18::25"),
    permits=(Permit("198.18.1.40", "research: SMTP; netlab; until 2027-03-31"), Permit("2001:db8:18:1::40")),
)
TO_25 = model.CONNECTING
RESEARCH = "research: SMTP; netlab; until 2027-03-31"
LIMIT = "-m limit --limit 10/minute --limit-burst 20"


def change(**values: Any) -> Guard:
    return dataclasses.replace(GUARD, **values)


def rules(guard: Guard, family: str, chain: int = 0) -> tuple[str, ...]:
    return model.render(guard, family).chains[chain].rules


def saved_text(table: model.Table, before: str = "", after: str = "") -> str:
    """Return what iptables-save prints after the table is loaded, among other rules."""
    names = "".join(f":{chain.name} - [0:0]\n" for chain in table.chains)
    jumps = "".join(f"-A FORWARD {jump}\n" for jump in table.jumps)
    ours = "".join(f"{rule}\n" for rule in table.rules)
    return f"*filter\n:FORWARD ACCEPT [0:0]\n{names}{before}{jumps}{after}{ours}COMMIT\n"


def test_the_ipv4_chain_reads_as_documented() -> None:
    assert model.render(GUARD, "ipv4").text().splitlines() == [
        "*filter",
        ":MAILGATE - [0:0]",
        f"-A MAILGATE {TO_25} -m set --match-set mailgate-bans src -j DROP",
        f'-A MAILGATE -d 198.18.0.25/32 {TO_25} -m comment --comment "gateway" -j RETURN',
        f'-A MAILGATE -d 198.18.0.26/32 {TO_25} -m comment --comment "gateway" -j RETURN',
        f'-A MAILGATE -d 198.18.1.40/32 {TO_25} -m comment --comment "{RESEARCH}" -j RETURN',
        f'-A MAILGATE -d 198.18.0.0/16 {TO_25} {LIMIT} -j LOG --log-prefix "mailgate-25: "',
        f"-A MAILGATE -d 198.18.0.0/16 {TO_25} -j REJECT --reject-with tcp-reset",
        f"-I FORWARD 1 -i outside0 {TO_25} -m comment --comment mailgate -j MAILGATE",
        "COMMIT",
    ]


def test_the_ipv6_chain_guards_as_the_ipv4_one() -> None:
    assert rules(GUARD, "ipv6") == (
        f"{TO_25} -m set --match-set mailgate-bans6 src -j DROP",
        f'-d 2001:db8:18::25/128 {TO_25} -m comment --comment "gateway" -j RETURN',
        f"-d 2001:db8:18:1::40/128 {TO_25} -j RETURN",
        f'-d 2001:db8:18::/48 {TO_25} {LIMIT} -j LOG --log-prefix "mailgate-25: "',
        f"-d 2001:db8:18::/48 {TO_25} -j REJECT --reject-with tcp-reset",
    )


def test_a_family_without_networks_is_guarded_whole() -> None:
    assert (
        rules(change(networks=("198.18.0.0/16",), log=Log(target="none")), "ipv6")[-1]
        == f"{TO_25} -j REJECT --reject-with tcp-reset"
    )


def test_observe_counts_and_refuses_nothing() -> None:
    ours = rules(change(mode="observe"), "ipv4")
    assert ours[-1] == f'-d 198.18.0.0/16 {TO_25} -m comment --comment "would be refused" -j RETURN'
    refusing = [rule for rule in ours if "REJECT" in rule or "DROP" in rule]
    assert refusing == [f"{TO_25} -m set --match-set mailgate-bans src -j DROP"], "bans are no rules on trial"


def test_drop_and_nflog() -> None:
    ours = rules(change(action="drop", log=Log(target="nflog", prefix="mg", group=5)), "ipv4")
    assert ours[-2].endswith('-j NFLOG --nflog-prefix "mg" --nflog-group 5')
    assert ours[-1] == f"-d 198.18.0.0/16 {TO_25} -j DROP"


def test_many_permits_become_a_set() -> None:
    permits = tuple(Permit(f"198.18.2.{number}", f"host {number}") for number in range(1, 4))
    guard = change(permits=permits, set_threshold=2)
    table, other = model.render(guard, "ipv4"), model.render(guard, "ipv6")
    assert f"{TO_25} -m set --match-set mailgate-permits dst -j RETURN" in table.chains[0].rules
    assert other.sets == {}
    text = model.sets_text([table, other])
    assert text.splitlines() == [
        "create mailgate-bans hash:net family inet maxelem 1048576 timeout 0 counters comment",
        "create mailgate-permits hash:net family inet maxelem 1048576 comment",
        "create mailgate-senders hash:net family inet maxelem 1048576 comment",
        "create mailgate-permits.new hash:net family inet maxelem 1048576 comment",
        "flush mailgate-permits.new",
        'add mailgate-permits.new 198.18.2.1 comment "host 1"',
        'add mailgate-permits.new 198.18.2.2 comment "host 2"',
        'add mailgate-permits.new 198.18.2.3 comment "host 3"',
        "swap mailgate-permits.new mailgate-permits",
        "destroy mailgate-permits.new",
        "create mailgate-bans6 hash:net family inet6 maxelem 1048576 timeout 0 counters comment",
        "create mailgate-permits6 hash:net family inet6 maxelem 1048576 comment",
        "create mailgate-senders6 hash:net family inet6 maxelem 1048576 comment",
    ]
    assert iptables_text.parse_set(text.replace(".new", "")) == table.sets["mailgate-permits"]


def test_outbound_lets_only_gateways_and_senders_out() -> None:
    outbound = Outbound("enforce", (Permit("198.18.7.7", "lists"), Permit("198.18.0.25"), Permit("2001:db8:18::77")))
    table = model.render(change(outbound=outbound), "ipv4")
    assert [chain.name for chain in table.chains] == ["MAILGATE", "MAILGATE-OUT"]
    assert table.chains[0] == model.render(GUARD, "ipv4").chains[0]
    assert table.chains[1].jumps[0].startswith("-o outside0 -p tcp -m tcp --dport 25 ")
    assert table.chains[1].rules == (
        f'-s 198.18.0.25/32 {TO_25} -m comment --comment "gateway" -j RETURN',
        f'-s 198.18.0.26/32 {TO_25} -m comment --comment "gateway" -j RETURN',
        f'-s 198.18.7.7/32 {TO_25} -m comment --comment "lists" -j RETURN',
        f'-s 198.18.0.0/16 {TO_25} {LIMIT} -j LOG --log-prefix "mailgate-25-out: "',
        f"-s 198.18.0.0/16 {TO_25} -j REJECT --reject-with tcp-reset",
    )
    assert rules(change(outbound=outbound), "ipv6", 1)[1] == f"-s 2001:db8:18::77/128 {TO_25} -j RETURN"
    assert table.text().splitlines()[-2].startswith("-I FORWARD 2 -o outside0 ")


def test_outbound_observes_by_itself_and_has_a_set_of_its_own() -> None:
    outbound = Outbound("observe", tuple(Permit(f"198.18.7.{number}") for number in range(3)), prefix="out ")
    table = model.render(change(outbound=outbound, set_threshold=2), "ipv4")
    assert table.chains[1].rules[2:] == (
        f"{TO_25} -m set --match-set mailgate-senders src -j RETURN",
        f'-s 198.18.0.0/16 {TO_25} {LIMIT} -j LOG --log-prefix "out "',
        f'-s 198.18.0.0/16 {TO_25} -m comment --comment "would be refused" -j RETURN',
    )
    assert table.chains[0].rules[-1].endswith("-j REJECT --reject-with tcp-reset")
    assert list(table.sets) == ["mailgate-senders"]
    assert model.problems(change(outbound=Outbound("observe", (Permit("::/0"),), prefix=""))) == [
        "outbound.senders: '::/0' would permit every server; list single servers or small networks",
        "outbound.prefix: ''; use 1 to 29 printable ASCII characters without quotes or backslashes",
    ]


def test_doubles_and_permitted_gateways_are_said_once() -> None:
    guard = change(
        gateways=("198.18.0.25", "198.18.0.25"),
        permits=(Permit("198.18.0.25"), Permit("198.18.9.9"), Permit("198.18.9.9")),
    )
    table = model.render(guard, "ipv4")
    assert len([rule for rule in table.rules if rule.endswith("RETURN")]) == 2
    assert table.permits == 1


def test_all_problems_are_told_at_once() -> None:
    guard = Guard(
        interfaces=("an interface", "outside0@if31", "*"),
        networks=("198.18.0.1/16",),
        gateways=("gw1.univ.example", "::/0"),
        permits=(Permit("198.18.0.300"),),
        log=Log(prefix='say "hi"', limit="fast", burst=0, group=-1),
        set_threshold=-1,
    )
    found = model.problems(guard)
    for option in ("outside_interface", "networks", "gateways: 'gw1", "gateways: '::/0'", "permits", "log.prefix"):
        assert any(problem.startswith(option) for problem in found), option
    assert len(found) == 12
    assert model.problems(GUARD) == []
    assert [p.split(":")[0] for p in model.problems(change(networks=(), gateways=()))] == ["networks", "gateways"]


@pytest.mark.parametrize(
    ("target", "prefix", "good"),
    [("log", "x" * 29, True), ("log", "x" * 30, False), ("nflog", "x" * 63, True), ("nflog", "x" * 64, False)],
)
def test_a_prefix_has_room_in_the_kernel(target: str, prefix: str, good: bool) -> None:
    assert (model.problems(change(log=Log(target=target, prefix=prefix))) == []) is good


SAME = [
    ("-d 198.18.0.25 -j RETURN", "-d 198.18.0.25/32 -j RETURN"),
    ("-d 198.18.0.25/255.255.255.255 -j RETURN", "-d 198.18.0.25/32 -j RETURN"),
    ("-p tcp -m tcp --dport 25 -i outside0 -j X", "-i outside0 -p tcp --dport 25 -m tcp -j X"),
    ("-m limit --limit 10/minute --limit-burst 5 -j LOG", "-m limit --limit 10/min -j LOG --log-level 4"),
    ("-m limit --limit 60/hour -j LOG", "-m limit --limit 1/min -j LOG"),
    ("-m conntrack --ctstate RELATED,ESTABLISHED -j A", "-m conntrack --ctstate ESTABLISHED,RELATED -j A"),
    ("-p tcp --syn -j A", "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j A"),
    ("-s 0.0.0.0/0 -j A", "-j A"),
    ('-m comment --comment "gateway" -j A', "-m comment --comment gateway -j A"),
    ('-m comment --comment "it\'s" -j A', '-m comment --comment "it\\\'s" -j A'),
    ("-d 2001:DB8:0::1 -j A", "-d 2001:db8::1/128 -j A"),
    ('-j NFLOG --nflog-prefix "a b" --nflog-group 0', '-j NFLOG --nflog-prefix "a b"'),
]
OTHER = [
    ("-d 198.18.0.25 -j RETURN", "! -d 198.18.0.25 -j RETURN"),
    ("-d 198.18.0.25 -j RETURN", "-s 198.18.0.25 -j RETURN"),
    ("-d 198.18.0.25 -j RETURN", "-d 198.18.0.25 -j ACCEPT"),
    ("-p tcp --syn -j A", "-p tcp ! --syn -j A"),
    ("-m socket -j A", "-j A"),
    ("-m limit --limit 10/min -j LOG", "-m limit --limit 10/sec -j LOG"),
    ('-m comment --comment "a" -j A', '-m comment --comment "b" -j A'),
    ("-j A", "-g A"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_equal_rules_are_seen_as_equal(one: str, other: str) -> None:
    assert iptables_text.rule_key(one) == iptables_text.rule_key(other)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_different_rules_are_seen_as_different(one: str, other: str) -> None:
    assert iptables_text.rule_key(one) != iptables_text.rule_key(other)


@given(st.text(alphabet=st.sampled_from("-!\"'\\ abm/0129:.,sdj"), max_size=60))
def test_no_rule_of_somebody_elses_is_too_odd_to_read(rule: str) -> None:
    iptables_text.rule_key(rule)


@given(st.text(max_size=400))
def test_a_comment_is_fit_for_both_programs(text: str) -> None:
    comment = model.clean_comment(text)
    assert len(comment.encode()) <= 255
    assert not set(comment) & set('"\\\n\r\t\0')
    assert model.clean_comment(comment) == comment
    if comment:
        assert iptables_text.split_rule(f'x "{comment}" y') == ["x", comment, "y"]


def test_a_permit_comment_says_who_and_until_when() -> None:
    assert (
        model.permit_comment("mx.example", "tests", "lab", "2027-01-01") == "mx.example: tests; lab; until 2027-01-01"
    )
    assert model.permit_comment("", "", "", "") == ""
    assert model.permit_comment("mx.example", "", "", "") == "mx.example"


def test_what_was_loaded_is_seen_as_the_same() -> None:
    table = model.render(GUARD, "ipv4")
    assert iptables_text.same(table, iptables_text.parse_save(saved_text(table, after="-A FORWARD -j ACCEPT\n")))
    counted = saved_text(table).replace("-A ", "[7:420] -A ")
    assert iptables_text.same(table, iptables_text.parse_save(counted))


def test_every_kind_of_disorder_is_seen() -> None:
    table = model.render(GUARD, "ipv4")
    good = saved_text(table)
    jump = f"-A FORWARD {table.jumps[0]}\n"
    for text in (
        "",
        saved_text(table, before="-A FORWARD -j ACCEPT\n"),  # not first
        saved_text(table, after=jump),  # twice
        good.replace(jump, ""),
        good.replace("-i outside0", "-i outside1"),
        good.replace("COMMIT", "-A MAILGATE -j ACCEPT\nCOMMIT"),
        good.replace("198.18.0.26", "198.18.0.27"),
        "\n".join(line for line in good.splitlines() if "REJECT" not in line),
    ):
        assert not iptables_text.same(table, iptables_text.parse_save(text)), text


def test_a_foreign_rule_in_our_chain_is_named() -> None:
    table = model.render(GUARD, "ipv4")
    text = saved_text(table).replace("COMMIT", "-A MAILGATE -s 198.19.0.0/24 -j ACCEPT\nCOMMIT")
    assert iptables_text.foreign(iptables_text.parse_save(text), table.rules) == [
        "-A MAILGATE -s 198.19.0.0/24 -j ACCEPT"
    ]


def test_a_listing_differs_only_where_the_meaning_does() -> None:
    table = model.render(GUARD, "ipv4")
    text = saved_text(table).replace("10/minute", "10/min").replace('"gateway"', "gateway").replace(".26", ".27")
    before = iptables_text.listing(iptables_text.parse_save(text), like=table).splitlines()
    after = iptables_text.listing(iptables_text.as_saved(table)).splitlines()
    assert [line for line in before if line not in after] == [
        f"-A MAILGATE -d 198.18.0.27/32 {TO_25} -m comment --comment gateway -j RETURN"
    ]
    assert len(before) == len(after)
