# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the web page: every problem is reported, and no one but the web servers in front may reach it."""

from __future__ import annotations

import pytest

from mailgate.config import ConfigError
from mailgate.config_file import parse_config
from mailgate.web.access import Access, access_of, domain_terms, visible, visible_events
from mailgate.web_settings import Faculty

NEEDED = 'hostname = "g.example"\nroutes_file = "/r"\n'
ENGINEERING = Access("carol", "faculty", ("eng.univ.example", "*.lab.eng.univ.example"))
NOBODY_RELAYS = lambda _client: False  # noqa: E731


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(NEEDED + text, "x")
    return caught.value.problems


def test_faculties_are_read():
    found = parse_config(NEEDED + '[web_faculties."E & M"]\nusers = ["carol"]\ndomains = ["Eng.univ.example"]\n')
    assert found.web_faculties == {"E & M": Faculty(("carol",), ("eng.univ.example",))}


def test_all_problems_are_reported_at_once():
    assert problems(
        '[web]\nlisten = "8025"\nuser_header = "X Remote"\nproxies = ["198.18.0.0/24"]\npostmasters = ["@p"]\n'
        '[web_faculties.law]\nusers = ["dave"]\n[web_faculties.eng]\ndomains = ["x y"]\nuser = 1\n'
    ) == [
        "x: web.listen: '8025' is not a valid ADDRESS:PORT or [ADDRESS]:PORT",
        "x: web.proxies: '198.18.0.0/24' is not a valid IP address",
        "x: web.user_header: 'X Remote' is not a valid name of a header, of letters, digits and -",
        'x: web_faculties."eng".user: unknown setting; valid settings are users, domains',
        "x: web_faculties.\"eng\".domains: 'x y' is not a valid domain or *.domain",
        "x: web.groups_header: must be set, as @p is a group",
        'x: web_faculties."law".domains: must name the domains that its users see',
    ]


@pytest.mark.parametrize("listen", ["0.0.0.0:8025", "[::]:8025", "198.18.0.10:8025", "[2001:db8::1]:8025"])
def test_a_page_that_others_reach_needs_the_web_servers(listen):
    assert problems(f'[web]\nlisten = "{listen}"\n')[0].startswith(f"x: web.listen: {listen} is not on loopback; set")
    assert parse_config(f'{NEEDED}[web]\nlisten = "{listen}"\nproxies = ["198.18.0.5"]\n').web.listen == listen


def test_other_gateways_need_a_key_and_an_address():
    assert problems('[web]\npeers = ["gw2.example=198.18.0.2:8026"]\n') == [
        "x: web.peer_file: must be set for web.peers and web.peer_listen"
    ]
    assert problems('[web]\npeers = ["gw2", "=198.18.0.2:1"]\npeer_listen = "x"\npeer_file = "/k"\n') == [
        "x: web.peers: 'gw2' is not a valid NAME=ADDRESS:PORT or NAME=[ADDRESS]:PORT",
        "x: web.peers: '=198.18.0.2:1' is not a valid NAME=ADDRESS:PORT or NAME=[ADDRESS]:PORT",
        "x: web.peer_listen: 'x' is not a valid ADDRESS:PORT or [ADDRESS]:PORT",
    ]


@pytest.mark.parametrize("listen", ["127.0.0.1:8025", "[::1]:8025", "127.9.9.9:1"])
def test_loopback_needs_nothing(listen):
    assert parse_config(f'{NEEDED}[web]\nlisten = "{listen}"\n').web.listen == listen


def test_the_strongest_role_counts_and_faculties_add_up():
    config = parse_config(
        NEEDED
        + '[web]\npostmasters = ["alice"]\nviewers = ["@staff", "alice"]\ngroups_header = "X-G"\n'
        + '[web_faculties.a]\nusers = ["carol", "alice"]\ndomains = ["a.example"]\n'
        + '[web_faculties.b]\nusers = ["@b"]\ndomains = ["b.example", "*.B.example"]\n'
    )
    assert access_of(config, "alice") == Access("alice", "postmaster")
    assert access_of(config, "erin", ["staff"]) == Access("erin", "viewer")
    both = access_of(config, "carol", ["b"])
    assert both == Access("carol", "faculty", ("a.example", "b.example", "*.b.example"))
    assert access_of(config, "b") is None and access_of(config, "@b") is None and access_of(config, "") is None


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("x@eng.univ.example", True),
        ("X@ENG.univ.example", True),
        ("x@sub.eng.univ.example", False),
        ("x@lab.eng.univ.example", False),
        ("x@y.lab.eng.univ.example", True),
        ("eng.univ.example@law.univ.example", False),
        ("x@noteng.univ.example", False),
        ("", False),
    ],
)
def test_a_faculty_sees_exactly_its_domains(address, seen):
    assert ENGINEERING.sees(address) is seen


def test_other_recipients_and_quoted_addresses_are_hidden():
    event = {
        "event": "message",
        "sender": "s@x.example",
        "recipients": ["a@eng.univ.example", "b@law.univ.example"],
        "reply": "550 <b@law.univ.example> is full, <a@eng.univ.example> and s@x.example are not",
    }
    shown = visible(event, ENGINEERING, NOBODY_RELAYS)
    assert shown is not None and shown["recipients"] == ["a@eng.univ.example"]
    assert shown["reply"] == "550 <…> is full, <a@eng.univ.example> and s@x.example are not"
    assert visible({"event": "recipient", "recipient": "b@law.univ.example"}, ENGINEERING, NOBODY_RELAYS) is None
    assert visible({"event": "banned", "client": "198.18.9.9"}, ENGINEERING, NOBODY_RELAYS) is None


def test_a_senders_address_counts_only_from_a_host_that_may_relay():
    event = {"event": "message", "client": "198.18.1.1", "sender": "a@eng.univ.example", "recipients": ["b@x.example"]}
    assert visible(event, ENGINEERING, NOBODY_RELAYS) is None
    assert visible(event, ENGINEERING, lambda client: client == "198.18.1.1") == event


def test_events_without_recipients_are_seen_with_those_of_the_same_mail_only():
    lost = {"event": "not_scanned", "reason": "timeout for b@law.univ.example"}
    own = {"event": "recipient", "recipient": "a@eng.univ.example"}
    assert visible_events([lost], ENGINEERING, NOBODY_RELAYS) == []
    assert visible_events([lost, own], ENGINEERING, NOBODY_RELAYS) == [{**lost, "reason": "timeout for …"}, own]


def test_the_index_is_asked_for_own_domains():
    assert domain_terms(Access("alice", "postmaster")) == ()
    assert domain_terms(ENGINEERING)[:2] == (("to_domain", "eng.univ.example"), ("from_domain", "eng.univ.example"))
