# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of a Postfix host, what is read back from them, and what contradicts the plan."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.campus.mailgate.plugins.module_utils._postfix import conflicts, known, resolver, tables, trial
from ansible_collections.campus.mailgate.plugins.module_utils._postfix.resolver import Answer
from ansible_collections.campus.mailgate.plugins.module_utils._postfix.settings import Settings, normalize, without
from ansible_collections.campus.mailgate.plugins.module_utils._routes.table import Route

DOMAINS = st.sets(
    st.sampled_from(["a.example", "*.a.example", "x.a.example", "*.x.a.example", "b.example", "*.b.example"])
)
NAMES = [
    "a.example",
    "y.a.example",
    "x.a.example",
    "z.x.a.example",
    "b.example",
    "aXexample",
    "ba.example",
    "c.b.example",
]


def has(table: str, name: str) -> bool:
    """Return whether a regexp table has a name, as Postfix reads it."""
    skipped = False
    for line in table.splitlines():
        if line.startswith("if !/"):
            skipped = re.search(line[5:-1], name) is not None
        elif line == "endif":
            skipped = False
        elif line.startswith("/") and not skipped and re.search(line[1:].rsplit("/", 1)[0], name):
            return True
    return False


def within(domain: str, name: str) -> bool:
    return name == domain or (domain.startswith("*.") and name.endswith(domain[1:]) and len(name) > len(domain) - 1)


@given(DOMAINS, DOMAINS)
def test_a_set_has_its_domains_and_no_other(domains, external):
    external -= domains  # validation refuses both
    table = tables.domain_set(domains, external)
    for name in NAMES:
        ours, theirs = (
            max(((d.count("."), d == name) for d in each if within(d, name)), default=(0, False))
            for each in (domains, external)
        )
        assert has(table, name) is (ours > theirs)
    assert tables.domains_of(table) == frozenset(domains)


def test_the_transport_table():
    routes = (
        Route("a.example", "198.18.1.2"),
        Route("*.a.example", "198.18.1.2", next_hops=("198.18.1.2", "2001:db8::1")),
    )
    text = tables.transport(routes, {"ext.a.example": ":"}, "smtp")
    assert text.split("\n")[1:] == [
        "a.example\tsmtp:[198.18.1.2]",
        ".a.example\tsmtp:[198.18.1.2], [2001:db8::1]",
        "ext.a.example\t:",
        "",
    ] or text.split("\n")[1:] == [
        ".a.example\tsmtp:[198.18.1.2], [2001:db8::1]",
        "a.example\tsmtp:[198.18.1.2]",
        "ext.a.example\t:",
        "",
    ]
    present = tables.read_present(text, None, tables.domain_set(["a.example", "*.a.example"], []))
    assert present is not None
    assert present.routes == {"a.example": ("198.18.1.2",), "*.a.example": ("198.18.1.2", "2001:db8::1")}
    assert present.relay == {"a.example", "*.a.example"}
    assert tables.read_present("a.example smtp:[198.18.1.2]\n", None, None) is None


def answer(kind: str, nexthop: str, transport: str = "smtp") -> Answer:
    return Answer(kind, transport, nexthop, "x")


WHERE = {"relay_domains": "main.cf, line 3", "mydestination": "main.cf, line 4", "hash:/t": "/t, line 7"}


ROUTE = Settings(routes=(Route("a.example", "198.18.1.2"),))


@pytest.mark.parametrize(
    ("planned", "said", "entry", "told"),
    [
        (ROUTE, answer("other", "a.example"), "", ""),
        (ROUTE, answer("other", "[198.18.1.2]"), "smtp:[198.18.1.2]", ""),
        (ROUTE, answer("other", "[198.18.9.9]"), "smtp:[198.18.9.9]",
         "/t, line 7 contradicts the plan's 'a.example smtp:[198.18.1.2]'"),
        (ROUTE, answer("local", "h", "local"), "",
         "main.cf, line 4 delivers it here"),
        (Settings(relay=("a.example",)), answer("local", "h", "local"), "", "main.cf, line 4 delivers it here"),
        (Settings(local=("a.example",)), answer("local", "h", "local"), "", ""),
        (Settings(local=("a.example",)), answer("relay", "unix:d", "lmtp"), "lmtp:unix:d", ""),
        (Settings(local=("a.example",)), answer("relay", "[127.0.0.1]:2525"), "smtp:[127.0.0.1]:2525", ""),
        (Settings(local=("a.example",)), answer("relay", "[198.18.9.9]"), "smtp:[198.18.9.9]", "sends it elsewhere"),
        (Settings(local=("a.example",)), answer("relay", "a.example", "relay"), "", "main.cf, line 3 relays it"),
    ],
)  # fmt: skip
def test_conflicts(planned, said, entry, told):
    asked = conflicts.Asked(
        {"a.example": said}, {"a.example": ("hash:/t", entry)} if entry else {}, frozenset(["a.example"])
    )
    found = conflicts.conflicts(planned, asked, frozenset(), lambda _domain, place: WHERE[place])
    assert [told in each for each in found] == ([True] if told else [])
    if "contradicts" in told:
        assert conflicts.conflicts(planned, asked, frozenset(["a.example"]), lambda _d, place: WHERE[place]) == []


def test_answers_of_the_resolver():
    hops = "[192.0.2.1], [2001:db8::1]"
    fields = ("flags", "0", "transport", "smtp", "nexthop", hops, "recipient", "a@b.example", "flags", "2048")
    out = "".join(f"{each}\0" for each in fields) + "\0"
    assert resolver.parse(out, "a@b.example", "") == Answer(
        "relay", "smtp", "[192.0.2.1], [2001:db8::1]", "a@b.example"
    )
    with pytest.raises(resolver.ResolverError, match="a table cannot be read"):
        resolver.parse(out.replace("2048", "2056"), "a@b.example", "")
    with pytest.raises(resolver.ResolverError, match="status 1"):
        resolver.parse("", "a@b.example", "status 1")


def test_what_is_known_of_a_configuration(tmp_path):
    (tmp_path / "more").write_text("c.example\n# d.example\n")
    values = {
        "mydestination": f"mail.a.example, localhost {tmp_path}/more",
        "transport_maps": "hash:/t, regexp:/r proxy:ldap:/l",
        "virtual_alias_maps": "inline:{info@v.example=alice} texthash:/missing",
        "alias_maps": "hash:/aliases",
        "sender_dependent_relayhost_maps": "hash:/senders",
    }
    dumped = {
        "hash:/t": "p.example smtp:[x]\n.w.example\tsmtp:[y]\nboss@q.example smtp:z\n*\tsmtp:r\n",
        "hash:/aliases": 'abroad\tcarol@far.example, "|/bin/x"\n',
        "hash:/senders": "boss@a.example\t[h]\n",
    }
    found = known.known(values, dumped.get)
    assert found.names == {
        "mail.a.example", "localhost", "c.example", "p.example", "mailgate-probe.w.example", "q.example", "v.example",
        "far.example",
    }  # fmt: skip
    assert found.addresses == {"boss@q.example"}
    assert found.senders == {"boss@a.example"}
    assert found.unread == [
        "transport_maps: regexp:/r",
        "transport_maps: proxy:ldap:/l",
        "virtual_alias_maps: texthash:/missing",
    ]
    assert found.transports["hash:/t"]["*"] == "smtp:r"


def test_domains_that_are_kept_are_left_out():
    settings = normalize(Settings(("A.example",), ("b.example",), (Route("c.example", "198.18.1.2"),)))
    assert without(settings, ["a.example", "B.example", "c.example."]) == Settings()


def test_all_tables_have_a_use():
    assert set(trial.TABLES) == set(trial._USE)
