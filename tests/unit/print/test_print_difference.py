# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changed from one plan to the next."""

from __future__ import annotations

import json

import pytest
from print_campus import PERMIT, big, hosts, plan_of, server

from ansible_collections.campus.mailgate.plugins.plugin_utils._report import difference as differences
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.translations import translations

EN, JA = translations("en"), translations("ja")


def difference(change, facts=hosts, **campus):
    after = facts()
    change(after)
    return differences.compare(plan_of(facts()), plan_of(after, **campus))


def reported(found):
    return json.loads(differences.as_json(found))


def test_no_change():
    found = difference(lambda facts: None)
    assert not found
    assert differences.as_text(found, EN).splitlines()[-1] == "  Nothing changed."
    assert reported(found)["since"] == reported(found)["now"]


def test_the_order_of_hosts_is_no_change():
    assert not differences.compare(plan_of(hosts()), plan_of(dict(reversed(hosts().items()))))


def test_a_new_server():
    new = server("science", "198.18.2.31", "new.sci.univ.example", hub="mail.sci") | {"mailgate_permit": PERMIT}
    found = difference(lambda facts: facts.update({"new.sci.univ.example": new}))
    data = reported(found)
    (route,) = data["routes"]["added"]
    assert (route["domain"], route["next_hops"]) == ("new.sci.univ.example", ["198.18.2.31"])
    assert [len(data[table]["added"]) for table in ("mx", "permits")] == [1, 1]
    assert len(data["static"]["added"]) == 8 + 8  # a line on each of the others, and its own table
    assert not any(data[table][kind] for table in data if table in ("routes", "mx", "permits") for kind in ("removed",))
    lines = differences.as_text(found, EN)
    assert "whole table (8 lines)" in lines
    assert data["since"] != data["now"]


def test_a_server_that_went_is_the_mirror():
    forth = difference(lambda facts: facts.pop("bio.sci.univ.example"))
    back = differences.compare(plan_of({k: v for k, v in hosts().items() if "bio" not in k}), plan_of(hosts()))
    for table in ("routes", "mx", "static", "permits"):
        assert sorted(map(str, reported(forth)[table]["removed"])) == sorted(map(str, reported(back)[table]["added"]))
        assert reported(forth)[table]["added"] == reported(back)[table]["removed"] == []


def test_what_a_server_leaves_behind_is_not_called_removed():
    found = difference(lambda facts: facts.pop("bio.sci.univ.example"))
    sections = {section.title.partition(" (")[0]: section for section in differences.sections(found, EN)}
    (mx,) = [section for title, section in sections.items() if title.startswith("MX")]
    assert {row[0] for row in mx.rows} == {"left in DNS"}
    assert "site stops before any change" in mx.note
    (static,) = [section for title, section in sections.items() if title.startswith("STATIC")]
    assert [row[0] for row in static.rows if row[4] == "bio.sci.univ.example"] == ["left on the host"]
    assert {row[0] for row in static.rows if row[4] != "bio.sci.univ.example"} == {"removed"}
    assert "keeps its files" in static.note
    assert mx.note in differences.as_text(found, EN)
    assert all(JA.gettext(section.note) != section.note for section in (mx, static))
    assert {row[0] for row in sections["Delivery list"].rows} == {"removed"}
    assert not sections["Delivery list"].note


def test_a_gateway_that_left_may_still_run():
    found = difference(lambda facts: facts.pop("gw2.univ.example"))
    (section,) = [each for each in differences.sections(found, EN) if each.title.startswith("Gateways")]
    assert section.rows[0][0] == "left running"
    assert "until you stop it" in section.note


def test_a_new_address_shows_only_what_is_other():
    found = difference(lambda facts: facts["mech.eng.univ.example"].update(ansible_host="198.18.1.99"))
    data = reported(found)
    assert [(each["before"]["next_hops"], each["after"]["next_hops"]) for each in data["routes"]["changed"]] == [
        (["198.18.1.30"], ["198.18.1.99"])
    ] * 2
    (section,) = [each for each in differences.sections(found, EN) if each.title.startswith("Delivery list")]
    assert section.rows[1] == ["changed", "mech.eng.univ.example", "Next hop: 198.18.1.30", "Next hop: 198.18.1.99"]
    assert data["mx"] == {"added": [], "removed": [], "changed": []}


def test_alike_static_changes_are_one_row():
    found = difference(lambda facts: facts["s3.f3.univ.example"].update(ansible_host="198.18.200.1"), big)
    assert len(found.tables["static"]) > 1000
    (section,) = [each for each in differences.sections(found, EN) if each.title.startswith("STATIC")]
    assert len(section.rows) < 25
    assert f"({len(found.tables['static'])})" in section.title
    domains = sum(len(changes) for changes in (found.tables["routes"],))
    assert domains == 2


def test_a_new_domain_on_every_server_is_one_row():
    found = difference(lambda facts: facts["s20.f2.univ.example"]["mailgate_domains"].append("new.univ.example"), big)
    (section,) = [each for each in differences.sections(found, JA) if each.title.startswith("STATIC")]
    (row,) = section.rows
    assert row[:3] == ["追加", "new.univ.example", ""]
    assert row[3] == "サーバーごと"
    assert row[4].endswith(" ほか141件")  # 142 servers and two queues, three of them named


def test_a_permit_and_a_preference():
    def change(facts):
        facts["quake.univ.example"]["mailgate_permit"]["until"] = "2030-03-31"
        facts["gw2.univ.example"]["mailgate_gateway"]["preference"] = 5

    found = difference(change)
    text = differences.as_text(found, EN)
    assert "Until: 2099-03-31  Until: 2030-03-31" in text
    assert "Preference: 10  Preference: 5" in text
    assert len(reported(found)["mx"]["changed"]) == 7


def test_settings():
    found = difference(lambda facts: None, mailgate_delivery="tiered", mailgate_language="ja")
    assert found.settings == (("delivery", "direct", "tiered"),)
    assert reported(found)["settings"] == [{"name": "delivery", "before": "direct", "after": "tiered"}]
    assert "直接" in differences.as_text(found, JA)
    (change,) = [each for each in found.tables["routes"] if each.row.key == ("bio.sci.univ.example",)]
    assert change.after.ask == change.before.next_hops == ("198.18.2.30",)
    assert "Recipients asked of" not in differences.as_text(found, EN), "the servers asked are the same as before"


@pytest.mark.parametrize(("faculty", "routes"), [("science", 1), ("engineering", 0)])
def test_a_faculty_s_share(faculty, routes):
    found = difference(lambda facts: facts["bio.sci.univ.example"].update(ansible_host="198.18.2.99")).for_faculty(
        faculty
    )
    assert len(found.tables["routes"]) == routes
    assert {change.row.faculty for change in found.tables["static"]} <= {faculty}


def test_a_server_that_changes_its_faculty_is_reported_to_both():
    def move(facts):
        facts["civil.eng.univ.example"] |= {"mailgate_faculty": "science", "mailgate_hub": "mail.sci.univ.example"}

    found = difference(move)
    for faculty in ("science", "engineering"):
        assert [change.row.domain for change in found.for_faculty(faculty).tables["routes"]] == [
            "civil.eng.univ.example"
        ]
