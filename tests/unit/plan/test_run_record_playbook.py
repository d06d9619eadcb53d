# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a run as playbooks write it on the controller, by a play without any host."""

from __future__ import annotations

import json

import pytest
import yaml
from playbook_run import run_playbook

pytestmark = pytest.mark.slow

GW1 = {"host": "gw1", "found": {"files": [{"path": "/etc/mailgate/routes"}], "zones": []}}


def record(state, **options):
    module = {"state": state, "directory": "runs", "campus": "Small University", "what": "site", **options}
    return {"name": state, "campus.mailgate.rollout_record": module, "register": state}


def play(directory, *tasks, arguments=()):
    (directory / "play.yml").write_text(
        yaml.safe_dump([{"name": "Play", "hosts": "localhost", "gather_facts": False, "tasks": list(tasks)}])
    )
    status, output = run_playbook(directory, "-i", "localhost,", "play.yml", *arguments)
    found = [json.loads(path.read_text())["run"] for path in sorted(directory.glob("runs/*/*.json"))]
    return status, output, found


def test_a_run_that_takes_another_one_back(tmp_path):
    status, output, found = play(
        tmp_path,
        record("begin"),
        record("update", name="{{ begin.name }}", changed=[GW1]),
        record("end", name="{{ begin.name }}", keep_empty=False),
        {"name": "Name", "ansible.builtin.set_fact": {"first": "{{ begin }}"}},
        {"name": "Wait", "ansible.builtin.pause": {"seconds": 1}},
        record("begin", what="rollback", takes_back="{{ first.run }}"),
        {
            "name": "Show",
            "ansible.builtin.debug": {"msg": "{{ begin.environment.MAILGATE_RUN }} of {{ first.environment }}"},
        },
        record("end", name="{{ begin.name }}"),
    )
    assert status == 0, output
    first, second = (run["name"].removesuffix(".json") for run in found)
    assert f"{second}/{first} of" in output
    assert found[0]["files"] == {"gw1": ["/etc/mailgate/routes"]}
    assert (found[0]["taken_back"], found[1]["takes_back"], found[1]["taken_back"]) == (second, first, "")
    assert all(run["ended"] for run in found)


def test_a_run_of_site_that_changed_nothing_is_not_recorded(tmp_path):
    status, output, found = play(
        tmp_path, record("begin"), record("end", name="{{ begin.name }}", changed=[], keep_empty=False)
    )
    assert (status, found) == (0, []), output


@pytest.mark.parametrize(("required", "status"), [(True, 2), (False, 0)])
def test_a_record_that_cannot_be_written(tmp_path, required, status):
    (tmp_path / "runs").write_text("in the way")
    show = {"name": "Show", "ansible.builtin.debug": {"msg": "environment {{ begin.environment }}"}}
    found, output, _records = play(tmp_path, record("begin", required=required), show)
    assert found == status, output
    assert "the record of this run cannot be written" in " ".join(output.split())
    assert ("environment {}" in output) is not required


def test_check_mode_records_nothing(tmp_path):
    status, output, found = play(
        tmp_path, record("begin"), record("end", name="{{ begin.name }}"), arguments=["--check"]
    )
    assert (status, found) == (0, []), output
