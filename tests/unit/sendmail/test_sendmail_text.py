# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a sendmail host's files."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import ansible_collections.campus.mailgate.plugins.module_utils._sendmail.cf as cf
import ansible_collections.campus.mailgate.plugins.module_utils._sendmail.tables as text
import ansible_collections.campus.mailgate.plugins.module_utils._sendmail.trial as trials
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.tables import Listener, Route, Settings
from mailgate.config import Limits

LEAF = Settings(
    hostname="mech.eng.univ.example",
    listen=(Listener("0.0.0.0", 25),),
    local=("mech.eng.univ.example", "*.lab.mech.eng.univ.example"),
    relay=(),
    routes=(
        Route("sci.univ.example", "198.18.1.25", "mail.sci.univ.example"),
        Route("civil.eng.univ.example", "198.18.1.31"),
        Route("*.dorm.univ.example", "198.18.1.25"),
        Route("eng.univ.example", "198.18.1.25"),
        Route("v6.univ.example", "2001:db8:18::30"),
    ),
)


TWO = ("198.18.1.1", "2001:db8:18::31")


def leaf(**changes: Any) -> Settings:
    return text.normal(dataclasses.replace(LEAF, **changes))


def body(content: str) -> list[str]:
    return [line for line in content.splitlines() if not line.startswith("#")]


def test_static_route_has_the_form_of_cf_and_each_parent_before_its_children() -> None:
    assert body(text.static_route(leaf())) == [
        "STATIC .dorm.univ.example smtp:[198.18.1.25]",
        "STATIC eng.univ.example smtp:[198.18.1.25]",
        "STATIC civil.eng.univ.example smtp:[198.18.1.31]",
        "STATIC sci.univ.example smtp:[198.18.1.25]",
        "STATIC v6.univ.example smtp:[IPv6:2001:db8:18::30]",
    ]


def test_mailertable_holds_the_same_routes_and_local_wildcards() -> None:
    assert body(text.mailertable(leaf())) == [
        ".dorm.univ.example\trelay:[198.18.1.25]",
        "eng.univ.example\trelay:[198.18.1.25]",
        "civil.eng.univ.example\trelay:[198.18.1.31]",
        ".lab.mech.eng.univ.example\tlocal:",
        "sci.univ.example\trelay:[198.18.1.25]",
        "v6.univ.example\trelay:[IPv6:2001:db8:18::30]",
    ]


def test_a_second_server_follows_the_first_in_brackets_of_its_own() -> None:
    settings = leaf(local=(), routes=(Route("*.a.univ.example", TWO[0], "a", ("198.18.1.1", "2001:DB8:18:0::31")),))
    assert body(text.mailertable(settings)) == [".a.univ.example\trelay:[198.18.1.1]:[IPv6:2001:db8:18::31]"]
    assert body(text.static_route(settings)) == ["STATIC .a.univ.example smtp:[198.18.1.1]:[IPv6:2001:db8:18::31]"]
    (test, _foreign) = trials.address_tests(settings)
    assert test.expected == "$#relay$@[198.18.1.1]:[IPv6:2001:db8:18::31]$:"
    assert text.problems(settings) == []


def test_class_w_holds_local_names_but_no_wildcard() -> None:
    assert body(text.local_host_names(leaf())) == ["mech.eng.univ.example"]


def test_every_file_says_who_made_it_and_none_when() -> None:
    for make in (text.static_route, text.mailertable, text.local_host_names, cf.sendmail_mc, cf.submit_mc):
        assert "Made by campus.mailgate" in make(leaf())
        assert make(leaf()) == make(leaf())


def test_order_and_spelling_of_the_input_do_not_matter() -> None:
    shuffled = list(LEAF.routes)
    random.Random(1).shuffle(shuffled)
    shouted = tuple(dataclasses.replace(r, domain=r.domain.upper() + ".") for r in [*shuffled, shuffled[0]])
    other = leaf(routes=shouted, local=tuple(reversed([d.upper() for d in LEAF.local])))
    assert text.mailertable(other) == text.mailertable(leaf())
    assert text.static_route(other) == text.static_route(leaf())
    assert text.problems(other) == []


def test_a_leaf_without_faults_has_no_problems() -> None:
    assert text.problems(leaf()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"routes": (Route("a.univ.example", "mail.a.univ.example"),)}, "is not an IP address"),
        ({"routes": (Route("a.univ.example", "127.0.0.1"),)}, "mail would loop"),
        ({"routes": (Route("a.univ.example", "::1"),)}, "mail would loop"),
        ({"routes": (Route("mech.eng.univ.example", "198.18.1.30"),)}, "is local here too"),
        (
            {"routes": (Route("a.univ.example", "198.18.1.1"), Route("A.univ.example", "198.18.1.2"))},
            "has two lines, to 198.18.1.1 and 198.18.1.2",
        ),
        (
            {"routes": (Route("a.univ.example", "198.18.1.1"), Route("a.univ.example", "198.18.1.1", "", TWO))},
            "has two lines, to 198.18.1.1 and 198.18.1.1, 2001:db8:18::31",
        ),
        ({"routes": (Route("a.univ.example", "198.18.1.2", "", TWO),)}, "next_hops begin with 198.18.1.1, not with"),
        ({"routes": (Route("a.univ.example", TWO[0], "", (*TWO, "2001:DB8:18:0::31")),)}, "name an address twice"),
        ({"routes": (Route("a.univ.example", TWO[0], "", (*TWO, "b")),)}, "'b' is not an IP address"),
        ({"routes": (Route("a.univ.example", TWO[0], "", (*TWO, "::1")),)}, "mail would loop"),
        ({"routes": (Route("a b.univ.example", "198.18.1.1"),)}, "is not a domain"),
        ({"routes": (Route("*.*.univ.example", "198.18.1.1"),)}, "is not a domain"),
        ({"local": ("localhost",)}, "is not a domain"),
        ({"local": ("x`y.univ.example",)}, "is not a domain"),
        ({"relay": ("-a.univ.example",)}, "is not a domain"),
        ({"relay": ("a.univ.example\nConnect:198\tRELAY",)}, "is not a domain"),
        ({"hostname": "mech"}, "is not a full host name"),
        ({"listen": ()}, "give at least one"),
        ({"listen": (Listener("lo", 25),)}, "is not an IP address"),
        ({"listen": (Listener("127.0.0.1", 0),)}, "is not a port"),
        ({"queue_interval": "10"}, "is not a sendmail time"),
        ({"queue_interval": '10m"; rm x'}, "is not a sendmail time"),
        ({"max_daemon_children": 0}, "would refuse all mail"),
        ({"double_bounce_address": "a')"}, "is not a mail address"),
    ],
)
def test_each_fault_is_named(changes: dict[str, Any], words: str) -> None:
    found = text.problems(leaf(**changes))
    assert len(found) == 1
    assert words in found[0]


def test_all_faults_come_at_once() -> None:
    faulty = leaf(queue_interval="soon", listen=(), routes=(Route("a.univ.example", "b"), Route("c", "198.18.1.1")))
    assert len(text.problems(faulty)) == 4


def test_access_gains_one_block_and_keeps_the_rest() -> None:
    admin = "Connect:198.19.66\tREJECT\nSpam:abuse@ FRIEND"
    settings = leaf(relay=("*.b.univ.example", "a.univ.example"))
    made = text.access(admin, settings)
    assert made == (
        admin + f"\n{text.ACCESS_BEGIN}\nTo:a.univ.example\tRELAY\nTo:b.univ.example\tRELAY\n"
        f"To:lab.mech.eng.univ.example\tRELAY\n{text.ACCESS_END}\n"
    )
    assert text.access(made, settings) == made
    fewer = text.access(made + "To:z.example REJECT\n", leaf(local=("mech.eng.univ.example",)))
    assert fewer == admin + f"\n{text.ACCESS_BEGIN}\n{text.ACCESS_END}\nTo:z.example REJECT\n"


def test_a_wildcard_and_its_own_name_need_one_line() -> None:
    made = text.access("", leaf(local=(), relay=("a.univ.example", "*.a.univ.example")))
    assert body(made) == ["To:a.univ.example\tRELAY"]


def test_conf_changes_the_interval_only() -> None:
    debian = '# QUEUE_INTERVAL="10m";  Timespec\nDAEMON_PARMS="";\nQUEUE_INTERVAL="10m";\nMSP_MODE="Cron";\n'
    made = text.conf(debian, leaf(queue_interval="10s"))
    assert made == debian.replace('\nQUEUE_INTERVAL="10m"', '\nQUEUE_INTERVAL="10s"')
    assert text.conf(made, leaf(queue_interval="10s")) == made
    assert text.conf("", leaf()) == 'QUEUE_INTERVAL="10m";\n'


MUST = "postmaster: root\nmailer-daemon: postmaster\n"


@pytest.mark.parametrize(
    ("before", "address", "after"),
    [
        ("", "nobody", MUST + "nobody: /dev/null\n"),
        ("root: alice", "nobody", "root: alice\n" + MUST + "nobody: /dev/null\n"),
        ("Nobody : root\n", "nobody", "Nobody : root\n" + MUST),
        ("# nobody: x\n", "nobody", "# nobody: x\n" + MUST + "nobody: /dev/null\n"),
        ("root: alice\n", "", "root: alice\n" + MUST),
        ("root: alice\n", "nobody@univ.example", "root: alice\n" + MUST),
        ("MAILER-DAEMON: root\nPostmaster: bob", "postmaster", "MAILER-DAEMON: root\nPostmaster: bob"),
    ],
)
def test_aliases_that_must_exist_are_added_and_others_stay(before: str, address: str, after: str) -> None:
    made = text.aliases(before, leaf(double_bounce_address=address))
    assert made == after
    assert text.aliases(made, leaf(double_bounce_address=address)) == made


def test_mc_says_what_was_set() -> None:
    mc = cf.sendmail_mc(
        leaf(
            listen=(Listener("127.0.0.1", 10025), Listener("::", 25)),
            max_daemon_children=7,
            extra=("define(`confSMTP_LOGIN_MSG', `$j')dnl",),
        )
    )
    assert "define(`confDOMAIN_NAME', `mech.eng.univ.example')dnl\n" in mc
    assert "DAEMON_OPTIONS(`Name=MTA1, Family=inet, Addr=127.0.0.1, Port=10025')dnl\n" in mc
    assert "DAEMON_OPTIONS(`Name=MTA2, Family=inet6, Addr=::, Port=25')dnl\n" in mc
    assert "define(`confMAX_DAEMON_CHILDREN', `7')dnl\n" in mc
    assert mc.index("confSMTP_LOGIN_MSG") < mc.index("MAILER_DEFINITIONS")
    assert "confDOMAIN_NAME" not in cf.sendmail_mc(leaf(hostname=""))


@pytest.mark.parametrize(
    ("listen", "reached"),
    [
        ([("0.0.0.0", 25)], ("127.0.0.1", 25)),
        ([("::", 25)], ("127.0.0.1", 25)),
        ([("127.0.0.1", 10025)], ("127.0.0.1", 10025)),
        ([("198.18.1.30", 25), ("127.0.0.1", 10025)], ("127.0.0.1", 10025)),
        ([("198.18.1.30", 26)], ("198.18.1.30", 26)),
    ],
)
def test_local_mail_goes_to_the_daemon_where_it_listens(
    listen: list[tuple[str, int]], reached: tuple[str, int]
) -> None:
    settings = leaf(listen=tuple(Listener(*entry) for entry in listen))
    assert cf.submission(settings) == reached
    assert f"FEATURE(`msp', `[{reached[0]}]')dnl" in cf.submit_mc(settings)
    assert f"define(`RELAY_MAILER_ARGS', `TCP $h {reached[1]}')dnl" in cf.submit_mc(settings)


def test_a_cf_is_the_same_whoever_built_it_when() -> None:
    head = "#####\t\tSENDMAIL CONFIGURATION FILE\n#####\n"
    here = head + "##### built by root@a on Tue Nov 24 10:20:49 UTC 2026\n##### in /\n##### using /x/ as y\nCP.\n"
    made = cf.cf(here, "sendmail.mc", "divert(0)dnl\nMAILER(`local')dnl\n")
    assert made == head + "CP.\n### /etc/mail/sendmail.mc ###\n# divert(0)dnl\n# MAILER(`local')dnl\n"
    assert cf.comparable_cf(made) == made


def answer(test: trials.AddressTest, result: str) -> str:
    return f"canonify         returns: whatever\n{test.ruleset:<16} returns: {result}\n"


def test_address_tests_ask_for_each_route_local_domain_and_relay() -> None:
    tests = trials.address_tests(leaf(relay=("sci.univ.example",)))
    commands = [t.command for t in tests]
    assert "3,0 mailgate-probe@mailgate-probe.dorm.univ.example" in commands
    assert "3,0 mailgate-probe@mailgate-probe.lab.mech.eng.univ.example" in commands
    assert "check_rcpt mailgate-probe@sci.univ.example" in commands
    assert commands[-1] == "check_rcpt mailgate-probe@mailgate-probe.invalid"
    assert len(tests) == 5 + 2 + 3 + 1


def test_answers_of_sendmail_are_held_against_the_table() -> None:
    settings = leaf(routes=LEAF.routes[:1], local=(), relay=())
    tests = trials.address_tests(settings)
    good = [
        "$# relay $@ [ 198 . 18 . 1 . 25 ] $: mailgate-probe < @ sci . univ . example . >",
        '$# error $@ 5 . 7 . 1 $: "550 Relaying denied. IP name lookup failed " mailgate-probe . invalid',
    ]
    outputs = [answer(t, r) for t, r in zip(tests, good, strict=True)]
    assert trials.failures(tests, "> " + "".join(outputs)) == []
    by_mx = answer(tests[0], "$# esmtp $@ sci . univ . example . $: mailgate-probe < @ sci . univ . example . >")
    assert len(trials.failures(tests, by_mx + outputs[1])) == 1
    open_relay = trials.failures(tests, outputs[0] + answer(tests[1], "RELAY"))
    assert len(open_relay) == 1
    assert "RELAY" in open_relay[0]
    assert len(trials.failures(tests, "")) == 2


def test_a_longer_address_is_another_next_hop() -> None:
    (test, _foreign) = trials.address_tests(leaf(routes=(Route("a.univ.example", "198.18.1.3"),), local=(), relay=()))
    assert trials.failures([test], answer(test, "$# relay $@ [ 198 . 18 . 1 . 30 ] $: x < @ a . univ . example . >"))


def test_map_entries_are_read_alike_from_source_and_dump() -> None:
    source = "# a comment\nTo:A.example\tRELAY\nConnect:198.18   REJECT\n\n"
    assert text.map_entries(source) == text.map_entries("connect:198.18\tREJECT\nto:a.example\tRELAY\n")


domains = st.lists(
    st.from_regex(r"(\*\.)?[a-z]{1,3}\.[a-z]{1,3}\.univ\.example", fullmatch=True), max_size=8, unique=True
)


@given(domains, st.randoms())
def test_any_table_comes_out_once_and_the_same_in_any_order(names: list[str], chance: random.Random) -> None:
    routes = [Route(name, f"198.18.1.{n + 1}") for n, name in enumerate(names)]
    mixed = list(routes)
    chance.shuffle(mixed)
    one, other = (leaf(routes=tuple(r), local=(), relay=tuple(d.domain for d in r)) for r in (routes, mixed))
    assert text.problems(one) == []
    for make in (text.mailertable, text.static_route):
        assert make(one) == make(other)
        assert len(body(make(one))) == len(names)
    assert text.access(text.access("x y\n", one), other) == text.access("x y\n", other)


def test_a_server_serves_others_beside_all_that_two_gateways_may_open() -> None:
    """A gateway that loses power leaves its sessions half open; a server that they fill refuses everybody's mail."""
    root = Path(__file__).resolve().parents[3]
    defaults = yaml.safe_load((root / "roles/sendmail_routes/defaults/main.yml").read_text())
    assert defaults["sendmail_routes_max_daemon_children"] > 2 * Limits().max_connections_per_next_hop
