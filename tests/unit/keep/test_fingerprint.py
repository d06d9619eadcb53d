# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fingerprint of a role changes with all that its tasks would write, and with nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.campus.mailgate.plugins.action import role_applied
from ansible_collections.campus.mailgate.plugins.plugin_utils.fingerprint import (
    code_state,
    fingerprint,
    input_state,
)

HOST = "mail.eng.univ.example"
PLAN = {
    "hosts": {HOST: {"kinds": ["servers"], "mail_name": HOST, "address6": ""}},
    "sendmail": {HOST: {"local": ["eng.univ.example"], "relay": [], "static": [], "external": []}},
}


@pytest.fixture
def action() -> role_applied.ActionModule:
    loader = DataLoader()
    return role_applied.ActionModule(None, None, None, loader, Templar(loader, variables={}), None)


def of(action: role_applied.ActionModule, **changed: object) -> str:
    variables = {"mailgate_plan": PLAN, "inventory_hostname": HOST, "sendmail_routes_packages": ["sendmail-bin"]}
    return action.fingerprint("sendmail_routes", {**variables, **changed})


def test_the_plan_and_each_variable_change_it(action):
    before = of(action)
    assert len(before) == 64
    assert of(action) == before
    moved = {**PLAN, "sendmail": {HOST: {**PLAN["sendmail"][HOST], "local": ["sci.univ.example"]}}}
    assert of(action, mailgate_plan=moved) != before
    assert of(action, sendmail_routes_queue_interval="5m") != before
    assert of(action, sendmail_routes_of_a_later_release=1) != before


def test_a_step_on_the_way_and_other_variables_do_not(action):
    before = of(action)
    assert of(action, sendmail_routes_distance=2) == before
    assert of(action, gateway_hostname="gw9") == before


def test_a_variable_that_cannot_be_known_gives_none(action):
    assert of(action, inventory_hostname="unknown.univ.example") == ""


def test_a_value_may_name_the_role_directory_as_in_the_role(action):
    before = of(action, sendmail_routes_extra="{{ role_path }}/a")
    assert before
    assert of(action, sendmail_routes_extra="{{ role_path }}/a", role_path="/a/link/to/the/role") == before
    assert of(action, sendmail_routes_extra="{{ role_path }}/b") != before


def signatures(action: role_applied.ActionModule, *files: Path | str, playbook: Path = Path("/nowhere")) -> str:
    named = {"clamav_packages": ["clamav"], "clamav_signature_files": list(map(str, files))}
    return action.fingerprint("clamav", {**named, "playbook_dir": str(playbook)})


def test_a_file_that_the_role_copies_from_the_controller_changes_it(action, tmp_path: Path):
    path = tmp_path / "files" / "campus.ndb"
    path.parent.mkdir()
    path.write_text("a")
    seen = [signatures(action, path), signatures(action, "campus.ndb", playbook=tmp_path)]
    os.utime(path, (1, 1))
    seen += [signatures(action, path), signatures(action, "campus.ndb", playbook=tmp_path)]
    assert len(set(seen)) == 4
    assert signatures(action, path) == seen[2]
    assert signatures(action, tmp_path / "missing.ndb") == ""


def test_a_wheel_changes_it(tmp_path: Path):
    before = input_state([str(tmp_path)], [tmp_path])
    (tmp_path / "aiosmtpd.whl").touch()
    assert input_state([str(tmp_path)], [tmp_path]) != before


def test_an_edited_or_new_file_of_the_collection_changes_it(tmp_path: Path):
    for name in ("roles/r/tasks", "roles/other", "plugins/modules", "plugins/module_utils/__pycache__"):
        (tmp_path / name).mkdir(parents=True)
    task = tmp_path / "roles/r/tasks/main.yml"
    task.touch()
    seen = [code_state(tmp_path, "r")]
    os.utime(task, (1, 1))
    seen.append(code_state(tmp_path, "r"))
    (tmp_path / "plugins/modules/m.py").touch()
    seen.append(code_state(tmp_path, "r"))
    (tmp_path / "plugins/plugin_utils").mkdir()
    (tmp_path / "plugins/plugin_utils/zipapp.py").touch()
    seen.append(code_state(tmp_path, "r"))
    assert len(set(seen)) == 4
    (tmp_path / "roles/other/main.yml").touch()
    (tmp_path / "plugins/module_utils/__pycache__/m.pyc").touch()
    assert code_state(tmp_path, "r") == seen[-1]


def test_it_is_a_hash_of_plain_values():
    assert fingerprint("r", {"a": [1, "x"], "b": None}, "c") == fingerprint("r", {"b": None, "a": [1, "x"]}, "c")
    assert fingerprint("r", {"a": 1}, "c") != fingerprint("r", {"a": 1}, "d")
