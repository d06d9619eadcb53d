# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers and routers that others maintain, in the reports."""

from __future__ import annotations

import csv
import io
import json

import pytest
from print_campus import hosts, plan_of

from ansible_collections.campus.mailgate.plugins.plugin_utils._report.difference import as_text, compare
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.files import report_files, stale
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.translations import translations

MECH, BORDER = "mech.eng.univ.example", "border.univ.example"


def others():
    found = hosts()
    found[MECH]["mailgate_mta"] = "none"
    found[BORDER] = {"mailgate_border": {"managed": False}}
    return found


@pytest.fixture(scope="module")
def files():
    return report_files(plan_of(others()), None)


def test_a_server_of_others_is_in_every_report(files):
    heading = "Servers that others maintain (1)"
    assert heading in files["plan.txt"]
    for page in ("plan.html", "faculties/engineering/plan.html"):
        assert heading in files[page]
        assert "◇ mech.eng" in files[page]
        assert "its own mail goes by MX, through the gateways" in files[page]
    assert heading not in files["faculties/science/plan.html"]
    lines = files["plan.txt"].splitlines()
    row = next(line for line in lines[lines.index(heading) :] if line.strip().startswith(MECH))
    assert row.split() == [
        *(MECH, "198.18.1.30", f"{MECH},", "*.lab.mech.eng.univ.example"),
        *("gw1.univ.example,", "gw2.univ.example"),
    ]


def test_the_rule_of_a_router_in_the_files_that_its_administrators_get(files):
    names = {name.removeprefix(f"border-{BORDER}.") for name in files if name.startswith("border-")}
    assert names == {"v4.rules", "v6.rules", "nft", "txt", "csv", "probe.json"}
    rows = list(csv.DictReader(io.StringIO(files[f"border-{BORDER}.csv"].lstrip("\ufeff"))))
    assert [(row["Order"], row["Destination"], row["Action"], row["Comment"]) for row in rows][:4] == [
        ("1", "198.18.0.25", "permit", "gateway"),
        ("2", "198.18.0.26", "permit", "gateway"),
        ("3", "198.18.3.40", "permit", "quake.univ.example: measurements; netlab; until 2099-03-31"),
        ("4", "198.18.0.0/15", "deny", ""),
    ]
    assert "-d 198.18.3.40/32" in files[f"border-{BORDER}.v4.rules"]
    assert "Port-25 rule for routers that others maintain (6)" in files["plan.html"]
    assert 'mail_probe -a "$(cat border-border.univ.example.probe.json)"' in files[f"border-{BORDER}.txt"]


def test_what_a_host_outside_verifies(files):
    probe = json.loads(files[f"border-{BORDER}.probe.json"])
    assert [each["address"] for each in probe["smtp"]] == ["198.18.0.25", "198.18.0.26"]
    closed = {each["address"] for each in probe["closed"]}
    assert "198.18.1.30" in closed  # a server of others is behind the border, too
    assert not closed & {"198.18.0.25", "198.18.3.40"}


def test_files_of_a_former_router_are_removed(files):
    former = [name for name in files if name.startswith("border-")]
    after = report_files(plan_of(hosts()), None)
    assert stale(former, after) == sorted(former)
    assert stale(["border-notes.doc", "faculties/x/border-r.nft"], after) == []


def test_a_server_that_changes_hands_is_a_difference():
    before, after = plan_of(hosts()), plan_of(others())
    text = as_text(compare(before, after), translations("en"))
    assert "Servers that others maintain (1)" in text
    assert before.fingerprint != after.fingerprint


def test_reports_in_japanese():
    files = report_files(plan_of(others(), mailgate_language="ja"), None)
    assert "他組織が管理するサーバー (1)" in files["plan.txt"]
    assert "規則の設定後" in files[f"border-{BORDER}.txt"]
