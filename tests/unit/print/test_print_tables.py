# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan's tables as text, CSV and JSON: complete, the same in all three, safe to open."""

from __future__ import annotations

import csv
import io
import json

import pytest
from print_campus import PERMIT, big, hosts, plan_of, server

from ansible_collections.campus.mailgate.plugins.plugin_utils._report import plan as report_plan
from ansible_collections.campus.mailgate.plugins.plugin_utils._report import static as static_report
from ansible_collections.campus.mailgate.plugins.plugin_utils._report import tables
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.translations import translations

EN, JA = translations("en"), translations("ja")


def rows_of(text: str) -> list[dict[str, str]]:
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def test_routes_are_the_same_in_all_three():
    plan = plan_of(hosts())
    listed = json.loads(tables.as_json("routes", plan))
    assert listed[0] == {
        "domain": "civil.eng.univ.example",
        "next_hops": ["198.18.1.31"],
        "ask": ["198.18.1.31"],
        "home": "civil.eng.univ.example",
        "faculty": "engineering",
    }
    table = rows_of(tables.as_csv("routes", plan, EN))
    assert [list(row.values()) for row in table] == [
        [each["domain"], *each["next_hops"], each["home"], each["faculty"]] for each in listed
    ]
    lines = tables.as_text("routes", plan, [], EN).splitlines()
    assert lines[0] == "Delivery list (7)"
    assert [line.split() for line in lines[4:]] == [list(row.values()) for row in table]
    assert [row["Domain"] for row in table][2:4] == ["*.lab.mech.eng.univ.example", "mech.eng.univ.example"]


def test_who_is_asked_about_recipients_is_shown_in_tiered_delivery_only():
    plan = plan_of(hosts(), mailgate_delivery="tiered")
    table = {row["Domain"]: row for row in rows_of(tables.as_csv("routes", plan, EN))}
    assert table["civil.eng.univ.example"]["Next hop"] == "198.18.1.25"
    assert table["civil.eng.univ.example"]["Verification server"] == "198.18.1.31"
    assert table["eng.univ.example"]["Verification server"] == "198.18.1.25"
    assert "宛先確認先" in tables.as_text("routes", plan, [], JA)
    listed = {row["domain"]: row["ask"] for row in json.loads(tables.as_json("routes", plan))}
    assert listed["civil.eng.univ.example"] == ["198.18.1.31"]
    assert "Verification server" not in tables.as_csv("routes", plan_of(hosts()), EN)


@pytest.mark.parametrize(
    ("table", "count", "first"),
    [
        ("mx", 7, ["univ.example", "quake.univ.example"]),
        ("static", 56, ["gw1.univ.example", "*.lab.mech.eng.univ.example"]),
        ("permits", 1, ["quake.univ.example", "198.18.3.40"]),
    ],
)
def test_csv_and_json_have_every_row(table, count, first):
    plan = plan_of(hosts())
    rows = rows_of(tables.as_csv(table, plan, EN))
    assert len(rows) == len(json.loads(tables.as_json(table, plan))) == count
    assert any(list(row.values())[:2] == first for row in rows)


def test_mx_records():
    (row,) = [row for row in plan_of(hosts()).mx if row.owner == "bio.sci.univ.example"]
    assert row.lines == ((0, "gw1.univ.example"), (10, "gw2.univ.example"), (20, "bio.sci.univ.example"))
    assert (row.zone, row.view, row.servers, row.faculty) == ("univ.example", "", ("ns1.univ.example",), "science")
    assert "View" not in rows_of(tables.as_csv("mx", plan_of(hosts()), EN))[0]


def test_split_shows_both_views():
    plan = plan_of(hosts(), mailgate_method="split")
    inside, outside = (row for row in plan.mx if row.owner == "bio.sci.univ.example")
    assert (inside.view, inside.lines) == ("inside", ((0, "bio.sci.univ.example"),))
    assert (outside.view, outside.lines) == ("outside", ((0, "gw1.univ.example"), (10, "gw2.univ.example")))
    assert {row["ビュー"] for row in rows_of(tables.as_csv("mx", plan, JA))} == {"学内", "学外"}


def test_static_says_what_stays():
    rows = {(row["Server"], row["Domain"]): row for row in rows_of(tables.as_csv("static", plan_of(hosts()), EN))}
    own = rows["mail.eng.univ.example", "eng.univ.example"]
    assert (own["Next hop"], own["Sent to"]) == ("local delivery", "mail.eng.univ.example")
    leaf = rows["mech.eng.univ.example", "sci.univ.example"]
    assert (leaf["Next hop"], leaf["Sent to"], leaf["Relayed"]) == ("198.18.1.25", "mail.eng.univ.example", "")
    assert rows["mail.eng.univ.example", "sci.univ.example"]["Relayed"] == "yes"


def test_the_part_of_a_faculty():
    part = plan_of(hosts()).for_faculty("science")
    assert {row.domain for row in part.routes} == {"sci.univ.example", "bio.sci.univ.example"}
    assert {row.owner for row in part.mx} == {"sci.univ.example", "bio.sci.univ.example"}
    assert {row.server for row in part.static} == {"mail.sci.univ.example", "bio.sci.univ.example"}
    assert part.permits == ()
    assert plan_of(hosts()).for_faculty("research").permits[0].host == "quake.univ.example"


@pytest.mark.parametrize("delivery", ["direct", "tiered"])
@pytest.mark.parametrize("campus", [hosts, big])
def test_static_blocks_tell_every_server_s_whole_table(campus, delivery):
    """Reads the short report back, as a person would, and compares it with every line of the plan."""
    plan = plan_of(campus(), mailgate_delivery=delivery)
    delivery_list = {route.domain: route.next_hops for route in plan.routes}
    faculties: dict[str, set[str]] = {}
    for route in plan.routes:
        faculties.setdefault(route.faculty, set()).add(route.domain)
    own = {(row.server, row.domain) for row in plan.static if row.host == row.server and not row.next_hops}
    read = {}
    blocks = static_report.blocks(plan)
    for block in blocks:
        routes = {}
        for line in block.lines:
            names = {
                "domains": set(line.domains),
                "faculty": faculties.get(line.faculty),
                "others": delivery_list.keys() - routes.keys(),
                "all": delivery_list.keys(),
            }[line.kind]
            assert len(names) == len(line.domains)
            for name in names:
                hops = delivery_list[name] if line.kind == "all" else line.next_hops
                routes[name] = (hops, line.relay)
        for host in block.servers:
            read |= {(host, name): route for name, route in routes.items() if (host, name) not in own}
    assert read == {row.key: (row.next_hops, row.relay) for row in plan.static if (row.server, row.domain) not in own}
    lines = sum(len(tables.block_cells(block, EN)) for block in blocks)
    assert lines < 30 or lines < len(plan.static) / 20  # short enough for paper


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", "＠a"])  # noqa: RUF001
def test_no_cell_is_a_formula(text):
    facts = hosts()
    facts["quake.univ.example"]["mailgate_permit"] = PERMIT | {"reason": text}
    reread = rows_of(tables.as_csv("permits", plan_of(facts), EN))[0]["Reason"]
    assert reread.startswith("'")
    assert reread.removeprefix("'").strip() == text.strip()
    assert json.loads(tables.as_json("permits", plan_of(facts)))[0]["reason"].strip() == text.strip()


def test_csv_keeps_quotes_commas_and_lines_in_their_cell():
    facts = hosts()
    reason = 'a "b", c\nd;=1'
    facts["quake.univ.example"]["mailgate_permit"] = PERMIT | {"reason": reason}
    text = tables.as_csv("permits", plan_of(facts), EN)
    assert rows_of(text)[0]["Reason"] == reason
    assert text.endswith("\r\n")


def test_text_has_no_control_characters():
    facts = hosts()
    facts["quake.univ.example"]["mailgate_permit"] = PERMIT | {"reason": "a\x1b[2Jb\u202ec\nd", "owner": "研究\u3000室"}
    result = tables.as_text("permits", plan_of(facts), [], EN)
    assert "a\ufffd[2Jb\ufffdc d" in result
    assert "研究 室" in result
    whole = plan_of(facts, mailgate_campus="x\x1b]0;owned\x07").data["text"]
    assert all(char.isprintable() or char == "\n" for char in result + whole)


def test_an_empty_table():
    facts = hosts()
    del facts["quake.univ.example"]
    assert tables.as_text("permits", plan_of(facts), [], JA).splitlines()[-1] == "  なし"


def test_faculties_come_in_their_natural_order():
    facts = big()
    assert plan_of(facts).faculties[:3] == ("faculty0", "faculty1", "faculty2")
    assert plan_of(facts).faculties[-1] == "faculty17"


def test_the_fingerprint_moves_with_the_tables_alone():
    plan = plan_of(hosts())
    assert plan.fingerprint == plan_of(dict(reversed(hosts().items()))).fingerprint
    assert plan.fingerprint == plan_of(hosts(), mailgate_language="ja", mailgate_campus="x").fingerprint
    facts = hosts() | {"new.sci.univ.example": server("science", "198.18.2.31", "new.sci.univ.example", hub="mail.sci")}
    assert plan.fingerprint != plan_of(facts).fingerprint


def test_a_saved_plan_is_the_plan():
    plan = plan_of(hosts())
    text = tables.to_json(report_plan.saved(plan))
    again = report_plan.load(text, "plan.json")
    assert again.fingerprint == plan.fingerprint
    assert all(again.rows(table) == plan.rows(table) for table in report_plan.TABLES)
    assert max(map(len, text.splitlines())) < 400
    assert "text" not in json.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "old.json is not valid JSON (Expecting value"),
        ("[1]", "old.json is not a saved plan: its 'format' is not 'campus.mailgate plan'. Use the plan.json"),
        ('{"format": "campus.mailgate difference", "version": 1}', "is not a saved plan"),
        ('{"format": "campus.mailgate plan", "version": 2}', "is a plan of version 2; this collection reads version 1"),
        (
            '{"format": "campus.mailgate plan", "version": 1, "mx": {}}',
            "lacks campus, hosts, gateways, routes, sendmail",
        ),
    ],
)
def test_a_wrong_file_is_named_with_what_to_do(text, message):
    with pytest.raises(report_plan.InvalidPlan) as error:
        report_plan.load(text, "old.json")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("routes", [{"domain": "a.example"}], "lacks 'next_hops'"),
        ("routes", [{"domain": "a.example", "next_hops": "198.18.0.1"}], "'198.18.0.1' is not a list"),
        ("routes", 3, "unexpected structure"),
        ("mx", [], "unexpected structure"),
        ("gateways", [{"host": "a", "address": "", "address6": "", "preference": "x"}], "unexpected structure"),
        ("border", {"b": {"permits": [1]}}, "unexpected structure"),
    ],
)
def test_a_plan_of_another_structure_is_refused(part, value, message):
    saved = report_plan.saved(plan_of(hosts())) | {part: value}
    with pytest.raises(report_plan.InvalidPlan) as error:
        report_plan.load(json.dumps(saved), "old.json")
    assert message in str(error.value)
    assert str(error.value).startswith("old.json has an unexpected structure")
