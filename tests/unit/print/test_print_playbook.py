# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook and the plugins in real runs on the controller; no host is touched."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import yaml
from playbook_run import ROOT, run_playbook
from print_campus import CAMPUS, hosts

PLAN = ROOT / "playbooks" / "plan.yml"

pytestmark = pytest.mark.slow


def write(directory, facts):
    campus = {"all": {"vars": CAMPUS, "hosts": facts}}
    (directory / "campus.yml").write_text(yaml.safe_dump(campus, allow_unicode=True, sort_keys=False))


def play(directory, *args):
    return run_playbook(directory, "-i", "campus.yml", *args)


def state(directory):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.rglob("*") if path.is_file()}


def test_print_outs_are_written_once_and_only_what_changes_again(tmp_path):
    write(tmp_path, hosts())
    out = tmp_path / "out"

    status, output = play(tmp_path, PLAN, "-e", "mailgate_plan_dir=out", "--check")
    assert (status, out.exists()) == (0, False), output
    assert "changed=1" in output

    status, output = play(tmp_path, PLAN, "-e", "mailgate_plan_dir=out")
    assert (status, "changed=1" in output) == (0, True), output
    first = state(out)
    assert len(first) == 15 + 3 * 13
    assert {path.stat().st_mode & 0o777 for path in first} == {0o644}

    status, output = play(tmp_path, PLAN, "-e", "mailgate_plan_dir=out", "--diff")
    assert (status, "changed=0" in output) == (0, True), output
    assert state(out) == first

    shutil.copy(out / "plan.json", tmp_path / "old.json")
    (out / "notes.txt").write_text("mine")
    facts = hosts()
    del facts["quake.univ.example"]
    facts["bio.sci.univ.example"]["ansible_host"] = "198.18.2.99"
    write(tmp_path, facts)
    arguments = [PLAN, "-e", "mailgate_plan_dir=out", "-e", "mailgate_plan_since=old.json"]

    before = state(out)
    status, output = play(tmp_path, *arguments, "--check", "--diff")
    assert (status, state(out)) == (0, before), output
    assert "+++ after: out/routes.csv" in output
    assert "-quake.univ.example,198.18.3.40,quake.univ.example,research" in output

    status, output = play(tmp_path, *arguments)
    assert status == 0, output
    assert "changed  bio.sci.univ.example" in output
    assert not (out / "faculties" / "research").exists()
    assert (out / "notes.txt").read_text() == "mine"
    changes = json.loads((out / "difference.json").read_text())
    assert [row["domain"] for row in changes["routes"]["removed"]] == ["quake.univ.example"]
    after = state(out)
    assert (
        before[out / "faculties" / "engineering" / "routes.csv"]
        == after[out / "faculties" / "engineering" / "routes.csv"]
    )

    status, output = play(tmp_path, *arguments)
    assert (status, "changed=0" in output) == (0, True), output


def test_a_wrong_earlier_plan_changes_nothing(tmp_path):
    write(tmp_path, hosts())
    (tmp_path / "old.json").write_text('{"routes": []}')
    for name, words in (("old.json", "old.json is not a saved plan"), ("none.json", "No such file")):
        status, output = play(tmp_path, PLAN, "-e", "mailgate_plan_dir=out", "-e", f"mailgate_plan_since={name}")
        assert status != 0
        assert words in output
    assert not (tmp_path / "out").exists()


def test_the_language_is_the_campus_s_or_what_is_asked_for(tmp_path):
    write(tmp_path, hosts())
    status, output = play(tmp_path, PLAN, "-e", "mailgate_plan_dir=out", "-e", "mailgate_language=ja")
    assert status == 0, output
    assert "配送先一覧" in output
    assert '<html lang="ja">' in (tmp_path / "out" / "plan.html").read_text()
    assert (tmp_path / "out" / "routes.csv").read_bytes().startswith("\ufeffドメイン,".encode())


def test_lookup_and_filters_in_a_playbook(tmp_path):
    write(tmp_path, hosts())
    message = {
        "hop": "{{ lookup('campus.mailgate.mail_plan', 'routes')"
        " | campus.mailgate.mail_route('x.lab.mech.eng.univ.example') }}",
        "science": "{{ lookup('campus.mailgate.mail_plan') | campus.mailgate.mail_routes('science') | length }}",
        "parts": "{{ query('campus.mailgate.mail_plan', 'gateways', 'border') | map('length') }}",
    }
    copy = {"content": "{{ message | to_json }}", "dest": str(tmp_path / "output.json")}
    tasks = [{"ansible.builtin.copy": copy, "delegate_to": "localhost", "run_once": True, "vars": {"message": message}}]
    tasks[0]["vars"]["ansible_connection"] = "local"
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    status, output = play(tmp_path, "play.yml", "-e", f"ansible_python_interpreter={sys.executable}")
    assert status == 0, output
    found = json.loads((tmp_path / "output.json").read_text())
    assert found["hop"]["next_hops"] == ["198.18.1.30"]
    assert [int(found["science"]), found["parts"]] == [2, [2, 1]]  # text before ansible-core 2.19

    facts = hosts()
    facts["mech.eng.univ.example"]["ansible_host"] = "nowhere"
    write(tmp_path, facts)
    status, output = play(tmp_path, "play.yml")
    assert status != 0
    assert "1 problem in the inventory" in output
