# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report files: which there are, where, and which of an earlier run are removed."""

from __future__ import annotations

import json

import pytest
from print_campus import big, hosts, plan_of

from ansible_collections.campus.mailgate.plugins.plugin_utils._report import difference as differences
from ansible_collections.campus.mailgate.plugins.plugin_utils._report import files as report
from ansible_collections.campus.mailgate.plugins.plugin_utils._report import plan as report_plan

TABLES = {f"{name}.{kind}" for name in ("routes", "mx", "static", "permits") for kind in ("txt", "csv", "json")}


def names(plan, difference=None):
    return set(report.report_files(plan, difference))


def test_the_files():
    faculty = TABLES | {"plan.html"}
    whole = faculty | {"plan.json", "plan.txt"}
    assert names(plan_of(hosts())) == whole | {
        f"faculties/{name}/{file}" for name in ("engineering", "research", "science") for file in faculty
    }


def test_with_a_difference_there_are_two_more_for_all_and_each_faculty():
    plan = plan_of(hosts())
    more = names(plan, differences.compare(plan, plan)) - names(plan)
    assert more == {
        f"{folder}difference.{kind}"
        for folder in ("", "faculties/engineering/", "faculties/research/", "faculties/science/")
        for kind in ("txt", "json")
    }


def test_contents():
    plan = plan_of(hosts(), mailgate_language="ja")
    files = report.report_files(plan, None)
    assert files["plan.txt"] == plan.data["text"] + "\n"
    assert report_plan.load(files["plan.json"], "plan.json").fingerprint == plan.fingerprint
    assert all(text.endswith("\n") for text in files.values())
    assert files["faculties/science/routes.txt"].startswith("配送先一覧 (2)\n")
    assert [row["domain"] for row in json.loads(files["faculties/science/routes.json"])] == [
        "bio.sci.univ.example",
        "sci.univ.example",
    ]
    assert 'lang="ja"' in files["faculties/science/plan.html"]


def test_the_faculties_together_are_the_whole():
    files = report.report_files(plan_of(big()), None)
    for table in ("routes", "mx", "permits"):
        parts = [
            row
            for name, text in files.items()
            if name.startswith("faculties/") and name.endswith(f"/{table}.json")
            for row in json.loads(text)
        ]
        assert sorted(map(str, parts)) == sorted(map(str, json.loads(files[f"{table}.json"])))


def test_the_same_plan_gives_the_same_bytes():
    assert report.report_files(plan_of(hosts()), None) == report.report_files(plan_of(hosts()), None)


@pytest.mark.parametrize(
    ("faculty", "folder"),
    [
        ("engineering", "engineering"),
        ("工学部", "工学部"),
        ("../../etc", "etc"),
        ("/", "faculty"),
        ("..", "faculty"),
        (".hidden", "hidden"),
        ("a b\nc\0d", "a_b_c_d"),
        ("x" * 300, "x" * 60),
    ],
)
def test_no_faculty_leaves_the_directory(faculty, folder):
    assert report.folder_names([faculty]) == {faculty: folder}


def test_names_that_fall_together_are_kept_apart():
    found = report.folder_names(["a/b", "a b", "A_B", "a_b-2"])
    assert len({name.casefold() for name in found.values()}) == 4


def test_only_our_own_files_are_stale():
    found = [
        "routes.csv",
        "notes.txt",
        "difference.txt",
        "faculties/old/plan.html",
        "faculties/old/notes.txt",
        "faculties/science/plan.html",
        "faculties/plan.html",
        "archive/plan.html",
        "archive/old/plan.json",
    ]
    assert report.stale(found, names(plan_of(hosts()))) == ["difference.txt", "faculties/old/plan.html"]
