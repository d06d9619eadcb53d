# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan would change on a host, and what of its own contradicts the plan."""

from __future__ import annotations

import pytest
from survey_host import Machine

from ansible_collections.campus.mailgate.plugins.module_utils._keep import blocks
from ansible_collections.campus.mailgate.plugins.module_utils._postfix import tables as postfix_tables
from ansible_collections.campus.mailgate.plugins.module_utils._postfix.trial import LOCAL, RELAY, TRANSPORT
from ansible_collections.campus.mailgate.plugins.module_utils._routes.table import Route
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail import adopt, tables
from ansible_collections.campus.mailgate.plugins.module_utils._survey.adoption import planned
from ansible_collections.campus.mailgate.plugins.module_utils._survey.host import Question, survey

TABLE = {
    "local": ["eng.univ.example"],
    "relay": ["eng.univ.example", "sci.univ.example"],
    "static": [
        {"domain": "sci.univ.example", "next_hop": "198.18.2.25", "host": "mail.sci.univ.example"},
        {"domain": "old.example", "next_hop": "198.18.2.25", "host": "mail.sci.univ.example"},
        {"domain": "club.example", "next_hop": "198.18.2.25", "host": "mail.sci.univ.example"},
    ],
}


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def changes(machine, table=TABLE):
    return survey(Question(["servers"], table=table), machine.reader())["changes"]


def kinds(found):
    return [(each["kind"], each["domain"]) for each in found["conflicts"]]


def test_a_sendmail_with_entries_of_its_own(machine):
    machine.sendmail()
    found = changes(machine)
    assert sorted(kinds(found)) == [
        ("local", "old.example"),
        ("route", "sci.univ.example"),
        ("virtual", "club.example"),
    ]
    route = next(each for each in found["conflicts"] if each["kind"] == "route")
    assert (route["theirs"], route["ours"]) == ("esmtp:[198.18.9.9]", "[198.18.2.25]")
    assert found["routes_added_count"] == 3
    assert found["local_added"] == []


def test_a_line_in_access_that_contradicts(machine):
    machine.sendmail()
    machine.file("etc/mail/access", "To:sci.univ.example\tREJECT\n")
    found = [each["theirs"] for each in changes(machine)["conflicts"] if each["kind"] == "access"]
    assert found == ["access, line 1: 'To:sci.univ.example\\tREJECT' contradicts the planned line "
                     "'To:sci.univ.example RELAY'"]  # fmt: skip


def test_a_domain_that_is_to_be_delivered_here_but_goes_elsewhere(machine):
    machine.sendmail()
    machine.file("etc/mail/mailertable", "eng.univ.example\tsmtp:[198.18.7.7]\n")
    assert ("away", "eng.univ.example") in kinds(changes(machine, {"local": ["eng.univ.example"]}))


def test_files_of_an_earlier_run_are_no_conflict(machine):
    machine.sendmail()
    earlier = planned({**TABLE, "static": [{**each, "next_hop": "198.18.2.99"} for each in TABLE["static"]]})
    machine.file("etc/mail/mailertable", tables.mailertable(earlier))
    machine.file("etc/mail/local-host-names", tables.local_host_names(earlier))
    machine.file("etc/mail/access", tables.access("", earlier))
    machine.file("etc/mail/virtusertable", "")
    found = changes(machine)
    assert found["conflicts"] == []
    assert found["routes_added_count"] == 3


def test_our_own_block_is_no_conflict(machine):
    machine.sendmail()
    text = blocks.put("", ["sci.univ.example\tesmtp:[198.18.2.99]"], "routes")
    machine.file("etc/mail/mailertable", text)
    assert ("route", "sci.univ.example") not in kinds(changes(machine))


def test_our_own_lines_in_names_and_access_are_no_conflict(machine):
    machine.sendmail()
    names = adopt.with_lines("eng.univ.example\n", ["club.example", "old.example"], adopt.LOCAL)
    machine.file("etc/mail/local-host-names", names)
    machine.file("etc/mail/virtusertable", "")
    machine.file("etc/mail/mailertable", "")
    machine.file("etc/mail/access", adopt.with_lines("x.example REJECT", ["To:sci.univ.example SKIP"], adopt.RELAY))
    assert changes(machine)["conflicts"] == []
    machine.file("etc/mail/local-host-names", f"{names}old.example\n")
    assert kinds(changes(machine)) == [("local", "old.example")]


def test_access_lines_after_our_block_have_their_numbers(machine):
    machine.sendmail()
    ours = adopt.with_lines("", ["To:eng.univ.example RELAY"], adopt.RELAY)
    machine.file("etc/mail/access", f"{ours}To:sci.univ.example REJECT\n")
    found = [each["theirs"] for each in changes(machine)["conflicts"] if each["kind"] == "access"]
    assert len(found) == 1 and found[0].startswith("access, line 4: ")


def test_a_postfix_that_has_the_plan(machine):
    machine.postfix()
    hosts = {
        "partner.example": "198.18.1.25",
        "*.sci.univ.example": "198.18.1.25",
        "mail.sci.univ.example": "198.18.1.25",
    }
    routes = [Route(domain, hop, "", ()) for domain, hop in hosts.items()]
    for name, text in {
        TRANSPORT: postfix_tables.transport(routes, {}, "smtp"),
        LOCAL: postfix_tables.domain_set(["new.example", "*.new.example"], []),
        RELAY: postfix_tables.domain_set(["*.sci.univ.example"], []),
    }.items():
        machine.file(f"etc/postfix/{name}", text)
    machine.prints(
        "postconf",
        f"""\
mydestination = localhost regexp:/etc/postfix/{LOCAL}
relay_domains = regexp:/etc/postfix/{RELAY}
transport_maps = hash:/etc/postfix/transport texthash:/etc/postfix/{TRANSPORT}
""",
    )
    table = {"local": ["new.example", "*.new.example"], "relay": ["*.sci.univ.example"]}
    static = [{"domain": domain, "next_hop": hop} for domain, hop in hosts.items() if domain != "partner.example"]
    found = changes(machine, {**table, "static": static})
    assert [found[name] for name in ("conflicts", "routes_added", "local_added", "relay_added")] == [[], [], [], []]
    assert survey(Question(["servers"]), machine.reader())["mail"]["unread"] == []
    # The next plan has other addresses, and the domain of the host is local no more.
    static = [{"domain": domain, "next_hop": "198.18.3.25"} for domain in ("*.sci.univ.example", "new.example")]
    found = changes(machine, {"static": static})
    assert (found["conflicts"], found["routes_added"]) == ([], ["new.example", "*.sci.univ.example"])
    # An entry of the admin in the table before our own.
    found = changes(machine, {"static": [{"domain": "partner.example", "next_hop": "198.18.1.25"}]})
    assert kinds(found) == [("route", "partner.example")]


def test_a_postfix(machine):
    machine.postfix()
    table = {
        "local": ["sci.univ.example", "club.example", "new.example"],
        "static": [
            {"domain": "partner.example", "next_hop": "198.18.1.25"},
            {"domain": "mail.sci.univ.example", "next_hop": "198.18.1.25"},
        ],
    }
    found = changes(machine, table)
    assert sorted(kinds(found)) == [("local", "mail.sci.univ.example"), ("route", "partner.example")]
    assert found["local_added"] == ["new.example"]


def test_without_a_plan_nothing_is_compared(machine):
    machine.sendmail()
    assert "changes" not in survey(Question(["servers"]), machine.reader())
