# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook as it is run: it asks every host, lists those that it cannot reach, and changes no inventory unasked."""

from __future__ import annotations

import json

import pytest
import yaml
from playbook_run import ROOT, run_playbook

PLAYBOOK = ROOT / "playbooks" / "survey.yml"
# The controller itself in the place of the host that can be reached. Port 25 is not asked.
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
CAMPUS = {
    "all": {"vars": {"mailgate_campus": "Small University", "mailgate_networks": ["198.18.0.0/16"]}},
    "gateways": {"hosts": {"gw1.univ.example": {"ansible_host": "198.18.0.25", "mailgate_gateway": {"preference": 0}}}},
    "borders": {
        "hosts": {"border.univ.example": {"ansible_host": "198.18.0.1", "mailgate_border": {"outside_interface": "x0"}}}
    },
    "engineering": {
        "hosts": {
            "mail.eng.univ.example": {
                **LOCAL,
                "ansible_host": "198.18.1.25",
                "mailgate_domains": ["eng.univ.example"],
            },
            "mech.eng.univ.example": {"ansible_host": "198.18.1.30", "mailgate_domains": ["mech.eng.univ.example"]},
        }
    },
}

pytestmark = pytest.mark.slow


def play(directory, campus=CAMPUS, *options):
    (directory / "campus").mkdir(exist_ok=True)
    (directory / "campus" / "campus.yml").write_text(yaml.safe_dump(campus))
    return run_playbook(
        directory,
        "-i",
        "campus",
        PLAYBOOK,
        "-e",
        "mailgate_survey_dir=out",
        "-e",
        "mailgate_survey_timeout=0",
        *options,
    )


def result(directory):
    return json.loads((directory / "out" / "survey.json").read_text())


def test_hosts_that_cannot_be_reached_are_listed_and_the_others_are_surveyed(tmp_path):
    status, output = play(tmp_path)
    assert status == 0, output
    found = result(tmp_path)
    assert found["planned"]
    by_name = {host["host"]: host for host in found["hosts"]}
    assert sorted(by_name) == [
        "border.univ.example",
        "gw1.univ.example",
        "mail.eng.univ.example",
        "mech.eng.univ.example",
    ]
    assert by_name["mail.eng.univ.example"]["facts"]["system"]["python"]
    for name in ("gw1.univ.example", "border.univ.example", "mech.eng.univ.example"):
        assert by_name[name]["unreachable_reason"]
        assert name in found["lists"]["cannot"]
    assert "It cannot be asked" in output
    assert "unreachable=1" not in output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "additions.yml",
        "survey.html",
        "survey.json",
        "survey.txt",
    ]
    assert [path.name for path in (tmp_path / "campus").iterdir()] == ["campus.yml"]


def test_a_campus_without_a_plan(tmp_path):
    campus = {name: group for name, group in CAMPUS.items() if name != "gateways"}
    campus["engineering"] = {
        "hosts": {
            **CAMPUS["engineering"]["hosts"],
            "TODO.bio.univ.example": {
                "ansible_host": "TODO: its address",
                "mailgate_domains": ["bio.univ.example"],
            },
        }
    }
    status, output = play(tmp_path, campus)
    assert status == 0, output
    found = result(tmp_path)
    assert not found["planned"]
    assert any("no host is a gateway" in problem for problem in found["problems"])
    todo = next(host for host in found["hosts"] if host["host"].startswith("TODO"))
    assert todo["unreachable_reason"] == "its address is still to be decided: its address"
    assert "There is no plan yet" in output


def test_additions_are_written_to_the_inventory_only_on_request(tmp_path):
    status, output = play(tmp_path, CAMPUS, "-e", "mailgate_survey_inventory=campus")
    assert status == 0, output
    assert sorted(path.name for path in (tmp_path / "campus").iterdir()) == ["campus.yml", "zz-survey.yml"]
    assert (tmp_path / "campus" / "zz-survey.yml").read_text() == (tmp_path / "out" / "additions.yml").read_text()
    assert run_playbook(tmp_path, "-i", "campus", ROOT / "playbooks" / "plan.yml")[0] == 0


def test_no_host_that_can_be_asked(tmp_path):
    status, output = play(tmp_path, CAMPUS, "-e", "ansible_connection=ssh")
    assert status == 2
    assert "no host could be asked" in output
    assert len(result(tmp_path)["lists"]["cannot"]) == 4


def test_check_mode_writes_nothing(tmp_path):
    status, output = play(tmp_path, CAMPUS, "--check", "--diff")
    assert status == 0, output
    assert "survey.html" in output
    assert not (tmp_path / "out").exists()
