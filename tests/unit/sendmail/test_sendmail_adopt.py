# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our lines in an admin's files, and what contradicts them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.campus.mailgate.plugins.module_utils._keep import blocks
from ansible_collections.campus.mailgate.plugins.module_utils._routes.table import Route
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail import adopt, static_route, system, tables
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.running import Configuration, statements
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.settings import Listener, Settings, normalize

PLAN = normalize(
    Settings(
        "a.univ.example",
        (Listener("0.0.0.0", 25),),
        ("a.univ.example", "*.lab.a.univ.example"),
        ("b.univ.example",),
        (Route("b.univ.example", "198.18.1.2"), Route("*.c.univ.example", "2001:db8::1")),
    )
)
ENTRIES = tables.routing_entries(PLAN)
TABLE = Path("/etc/mail/mailertable")

BASE = """\
Cwlocalhost
Fw-o /etc/mail/names %[^\\#]
FR-o /etc/mail/relay-domains %[^\\#]
Kmailertable hash -o /etc/mail/mailertable.db
Kaccess btree -T<TMPF> /etc/mail/access
Kvirtuser ldap -1 -v x -k (&(a=b)(c=%0))
Kgenerics text -k0 -v1 /etc/mail/generics
DS
O AliasFile=/etc/mail/aliases, hash:/etc/mail/lists
O DaemonPortOptions=Family=inet, Name=MTA, Port=smtp, Addr=127.0.0.1
#O MaxDaemonChildren=0
Mrelay,\t\tP=[IPC], F=mDFMuXa8, S=EnvFromSMTP/HdrFromSMTP, R=MasqSMTP, E=\\r\\n, L=2040,
\t\tT=DNS/RFC822/SMTP,
\t\tA=TCP $h
"""

pieces = ["a", "b.univ.example", "\t", " ", "\n", "\r\n", "#", "# ", "\udce4", "relay:", "dnl ", "`", "'"]
texts = st.lists(st.sampled_from(pieces), max_size=40).map("".join)
lines = st.lists(st.sampled_from(["b.univ.example\trelay:[198.18.1.2]", "x", "To:y\tRELAY"]), max_size=4)


@settings(max_examples=300)
@given(texts, lines, lines, st.sets(st.integers(1, 6)))
def test_a_table_with_our_lines_and_without_them_again_has_the_same_bytes(
    text: str, first: list[str], second: list[str], taken: set[int]
) -> None:
    once = adopt.with_lines(text, first, adopt.ROUTES, taken)
    assert adopt.bare(once) == text
    twice = adopt.with_lines(once, second, adopt.ROUTES)
    assert adopt.bare(twice) == text
    assert twice == adopt.with_lines(text, second, adopt.ROUTES) or not (first and second)


def test_lines_are_taken_out_of_use_by_their_number_in_the_admins_file() -> None:
    text = adopt.with_lines("one x\ntwo y\n", ["ours z"], adopt.ROUTES) + "three z\nfour z"
    made = adopt.with_lines(text, ["ours z"], adopt.ROUTES, [2, 4])
    assert dict(tables.map_entries(made)) == {"one": "x", "ours": "z", "three": "z"}
    assert adopt.bare(made) == "one x\ntwo y\nthree z\nfour z"
    # A later run that does not take them gives them back.
    assert dict(tables.map_entries(adopt.with_lines(made, ["ours z"], adopt.ROUTES))).keys() >= {"two", "four"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("b.univ.example\tesmtp:[198.18.1.2]", ""),
        ("B.univ.example   relay:[198.18.1.2]  ", ""),
        ("b.univ.example smtp:[198.18.1.3]", "b.univ.example smtp:[198.18.1.3]"),
        ("b.univ.example error:5.7.0:550 gone", "b.univ.example error:5.7.0:550 gone"),
        ("b.univ.example uucp-new:[198.18.1.2]", "b.univ.example uucp-new:[198.18.1.2]"),
        ("a.univ.example esmtp:[198.18.1.9]", "a.univ.example esmtp:[198.18.1.9]"),
        (".c.univ.example esmtp:mx.c.univ.example", ".c.univ.example esmtp:mx.c.univ.example"),
        ("pc1.c.univ.example esmtp:[198.18.1.9]", ""),
        ("# b.univ.example smtp:[198.18.1.3]", ""),
        ("other.example smtp:[198.18.1.3]", ""),
    ],
)
def test_another_route_is_a_conflict_and_an_equal_one_is_not(line: str, told: str) -> None:
    text = f"# routes\n{line}\n"
    found = adopt.table_conflicts(TABLE, text, ENTRIES, PLAN)
    assert [each.theirs for each in found] == ([told] if told else [])
    assert all("/etc/mail/mailertable, line 2: " in str(each) for each in found)


def test_equal_entries_are_not_repeated() -> None:
    text = "b.univ.example esmtp:[198.18.1.2]\nx.example smtp:y\n"
    assert [line.split("\t")[0] for line in adopt.route_lines(text, ENTRIES)] == [
        ".lab.a.univ.example",
        ".c.univ.example",
    ]
    assert adopt.relay_lines("to:B.univ.example relay\n", PLAN) == ["To:lab.a.univ.example\tRELAY"]
    assert adopt.alias_lines(["root: x\n", '"Postmaster": y\nMailer-Daemon : z\n']) == []
    assert adopt.alias_lines(["postmaster: x\n", ""]) == ["mailer-daemon: postmaster"]


def test_conflicts_about_class_w_and_virtual_users_name_the_line() -> None:
    files = {Path("/etc/mail/names"): "# x\na.univ.example\nB.univ.example # old\n"}
    found = adopt.class_conflicts(["b.univ.example", "vm"], files, Path("/etc/mail/sendmail.mc"), PLAN)
    assert [(each.line, each.domain) for each in found] == [(3, "b.univ.example")]
    (found,) = adopt.class_conflicts(["b.univ.example"], {}, Path("/etc/mail/sendmail.mc"), PLAN)
    assert str(found).startswith("b.univ.example: /etc/mail/sendmail.mc: 'b.univ.example in class w'")
    users = "x@b.univ.example\tbob\nx@a.univ.example\tbob\n@b.univ.example error:nouser\n"
    assert [each.line for each in adopt.user_conflicts(TABLE, users, PLAN)] == [1, 3]
    access = "To:b.univ.example REJECT\nTo:a.univ.example REJECT\nb.univ.example REJECT\n"
    assert [each.line for each in adopt.access_conflicts(TABLE, access, PLAN)] == [1]


def test_domains_that_are_kept_are_left_out_everywhere() -> None:
    kept = adopt.without_domains(PLAN, ["B.univ.example.", "*.lab.a.univ.example"])
    assert (kept.local, kept.relay, [r.domain for r in kept.routes]) == (
        ("a.univ.example",), (), ["*.c.univ.example"],
    )  # fmt: skip


def test_a_cf_is_read() -> None:
    found = Configuration("Kmailertable hash /etc/mail/former\n" + BASE)
    routes = found.map("mailertable")
    assert routes
    assert (routes.kind, routes.path, routes.built) == ("hash", TABLE, Path("/etc/mail/mailertable.db"))
    virtual, generics = found.map("virtuser"), found.map("generics")
    assert virtual and virtual.path is None
    assert generics and generics.path is None
    assert found.map("domaintable") is None
    assert found.class_files("w") == [Path("/etc/mail/names")]
    assert found.options("MaxDaemonChildren") == []
    assert found.listeners == [("127.0.0.1", "smtp".replace("smtp", "25"))]
    relay = found.mailer("relay")
    assert relay
    assert (relay.flags, relay.length, relay.arguments) == ("mDFMuXa8", "2040", "TCP $h")
    assert statements("# x\n\nKa b  \n") == ["Ka b"]


@pytest.mark.parametrize(
    ("wanted", "options", "missing"),
    [
        (("0.0.0.0", 25), "Name=MTA", []),
        (("0.0.0.0", 25), "Port=smtp, Addr=127.0.0.1", ["0.0.0.0 25"]),
        (("0.0.0.0", 25), "Port=smtp, Addr=198.18.1.30", []),
        (("0.0.0.0", 25), "Port=587", ["0.0.0.0 25"]),
        (("::", 25), "Port=25, Family=inet6", []),
        (("127.0.0.1", 10025), "Port=25", ["127.0.0.1 10025"]),
        (("127.0.0.1", 587), "Port=submission, Addr=127.0.0.1", []),
        (("198.18.1.30", 25), "Port=25, Addr=198.18.1.31", ["198.18.1.30 25"]),
    ],
)
def test_where_the_daemon_must_listen(wanted: tuple[str, int], options: str, missing: list[str]) -> None:
    configuration = Configuration(f"O DaemonPortOptions={options}\n")
    assert adopt.uncovered(replace(PLAN, listen=(Listener(*wanted),)), configuration.listeners) == missing


def test_the_block_has_only_what_the_file_does_not_have() -> None:
    own = Configuration(BASE)
    flags = ["define(`RELAY_MAILER_LL', `0')dnl", "MODIFY_MAILER_FLAGS(`RELAY', `-8')dnl"]
    assert adopt.mc_lines(own, PLAN, {}, (), ()) == flags
    # A smart host uses the same mailer.
    assert adopt.mc_lines(Configuration(BASE.replace("DS", "DSsmart.example")), PLAN, {}, (), ()) == []
    declared = {"mailertable": TABLE, "access": Path("/etc/mail/access")}
    made = adopt.mc_lines(own, PLAN, declared, ("listen", "max_daemon_children"), ["a.univ.example"])
    assert made[:5] == [
        "FEATURE(`mailertable', `hash -o /etc/mail/mailertable')dnl",
        "FEATURE(`access_db', `hash -o -T<TMPF> /etc/mail/access', `skip')dnl",
        "LOCAL_DOMAIN(`a.univ.example')dnl",
        "DAEMON_OPTIONS(`Name=mailgate1, Family=inet, Addr=0.0.0.0, Port=25')dnl",
        "define(`confMAX_DAEMON_CHILDREN', `60')dnl",
    ]
    # What the admin set is the admin's.
    own = Configuration(BASE.replace("#O Max", "O Max").replace("=0\n", "=7\n"))
    assert not any("CHILDREN" in line for line in adopt.mc_lines(own, PLAN, {}, ("max_daemon_children",), ()))


def test_the_mailer_is_one_that_delivers_to_port_25() -> None:
    assert adopt.mailer(Configuration(BASE)) == "relay"
    other = BASE.replace("A=TCP $h", "A=TCP $h 587") + "Mesmtp, P=[IPC], F=mDFMuXa, L=990, A=TCP $h\n"
    assert adopt.mailer(Configuration(other)) == "esmtp"
    assert adopt.mailer(Configuration("Mlocal, P=/bin/x, A=x\n")) is None


TRACE = """\
m4trace:/x/own.mc:2: -1- include(/usr/share/sendmail/cf/m4/cf.m4)
m4trace:/usr/share/sendmail/cf/m4/cfhead.m4:19: -1- include(/tmp/cf)
m4trace:/x/own.mc:3: -1- FEATURE(mailertable)
m4trace:/x/own.mc:3: -1- include(/usr/share/sendmail/cf/feature/mailertable.m4)
"""


@pytest.mark.parametrize(
    ("rest", "line"),
    [
        ("m4trace:/x/own.mc:4: -1- MAILER(local)\n", 4),
        ("m4trace:/x/own.mc:5: -1- MAILER_DEFINITIONS\nm4trace:/x/own.mc:6: -1- MAILER(smtp)\n", 5),
        ("m4trace:/x/own.mc:5: -1- include(/etc/mail/m.m4)\nm4trace:/etc/mail/m.m4:1: -1- MAILER(smtp)\n", 5),
        ("", None),
    ],
)
def test_the_block_is_before_the_first_mailer(rest: str, line: int | None) -> None:
    text = "1\n2\n3\n4\r\n5\n6\n"
    place = adopt.place(TRACE + rest, Path("/x/own.mc"), text)
    assert (None if place is None else text[place]) == (None if line is None else str(line))


def test_null_client_is_seen() -> None:
    assert adopt.null_client(TRACE) is None
    assert adopt.null_client(TRACE + "m4trace:/x/own.mc:9: -1- FEATURE(nullclient, hub.example)\n") == "hub.example"


def test_our_lines_are_read_as_the_present_routes() -> None:
    table = adopt.with_lines("z.example smtp:[192.0.2.1]\n", adopt.route_lines("", ENTRIES), adopt.ROUTES)
    names = adopt.with_lines("mine.example\n", ["a.univ.example"], adopt.LOCAL)
    access = adopt.with_lines("", adopt.relay_lines("", PLAN), adopt.RELAY)
    mc = blocks.put("MAILER\n", ["LOCAL_DOMAIN(`d.univ.example')dnl"], adopt.MC, adopt.MC_STYLE, 0)
    found = adopt.present(table, names, access, mc)
    assert found
    assert found.local == {"a.univ.example", "*.lab.a.univ.example", "d.univ.example"}
    assert found.relay == {"b.univ.example", "lab.a.univ.example"}
    assert found.routes == {"b.univ.example": ("198.18.1.2",), "*.c.univ.example": ("2001:db8::1",)}
    assert adopt.present("z.example smtp:[192.0.2.1]\n", "mine.example\n", "", "") is None


def test_staged_copies_are_read_in_place_of_the_files_and_no_others() -> None:
    text = BASE + "Kother hash /etc/mail/mailertable2\nKmine hash /srv/etc/mail/mailertable\nR/etc/mail/mailertable\n"
    staged = {TABLE: Path("/run/s/1-mailertable"), Path("/etc/mail/names"): Path("/run/s/names")}
    made = system.redirected(text, staged)
    assert "Kmailertable hash -o /run/s/1-mailertable.db\n" in made
    assert "Fw-o /run/s/names %" in made
    assert made.endswith(text[len(BASE) :])


def test_a_static_route_file_of_cf_is_compared_with_the_plan() -> None:
    assert static_route.static_route_path("# CF\nMX_SENDMAIL=yes\nSTATIC_ROUTE_FILE='static-route'\n") == "static-route"
    assert static_route.static_route_path("#STATIC_ROUTE_FILE=x\n") is None
    text = (
        "# routes\nSTATIC b.univ.example smtp:[198.18.1.2]\nSTATIC .c.univ.example smtp:[198.18.9.9]\n"
        "GW smtp:[198.18.7.7]\nDOM old.univ.example\nstrange line here\nSTATIC a.univ.example smtp:[198.18.1.1]\n"
    )
    found = static_route.adoption("static-route", text, PLAN)
    assert found.equal == ["b.univ.example"]
    assert len(found.conflicts) == 2
    assert "the plan: *.c.univ.example [IPv6:2001:db8::1]" in found.conflicts[0]
    assert "a.univ.example is local" in found.conflicts[1]
    assert found.extra == ["static-route, line 5: old.univ.example smtp:[198.18.7.7]"]
    assert found.unread == ["static-route, line 6: 'strange line here'"]
