# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan would change on a host, and what of its own contradicts the plan."""

from __future__ import annotations

import pytest
from survey_host import Machine

from ansible_collections.campus.mailgate.plugins.module_utils._keep import blocks
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail import tables
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
