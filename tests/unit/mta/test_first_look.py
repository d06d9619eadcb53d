# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first look at a host is the same with and without Ansible's part of a module."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from playbook_run import run_playbook

from ansible_collections.campus.mailgate.plugins.action.mta_check import MODULE_UTILS, MODULES
from ansible_collections.campus.mailgate.plugins.plugin_utils._systems.program import MARK, answer, program

#: One look each: by the program; by the module, after a program that fails; without pipelining; with a wrong argument.
PLAY = """\
- hosts: localhost
  gather_facts: false
  vars: {{ansible_connection: local, ansible_pipelining: true, ansible_python_interpreter: {directory}/program}}
  tasks:
    - campus.mailgate.mta_check: &given {{host: mail, said: postfix}}
      register: program
    - campus.mailgate.mta_check: *given
      vars: {{ansible_python_interpreter: {directory}/refusing}}
      register: refusing
    - campus.mailgate.mta_check: *given
      vars: {{ansible_pipelining: false, ansible_python_interpreter: {directory}/copied}}
      register: copied
    - campus.mailgate.mta_check: {{host: mail, gateway: perhaps}}
      vars: {{ansible_python_interpreter: {directory}/wrong}}
      register: wrong
      ignore_errors: true
    - ansible.builtin.copy:
        content: "{{{{ [program, refusing, copied, wrong, ansible_facts['mailgate_system']] | to_json }}}}"
        dest: {directory}/found.json
        mode: "0600"
"""
#: Records how Python was called. `refusing` runs no program from its standard input alone.
PYTHON = """#!/bin/sh
echo "$*" >> "$0.calls"
case "$0 $1" in */refusing\\ -I) echo '{mark}no answer'; exit 0;; esac
exec /usr/bin/python3 "$@"
"""


def plain(found: dict) -> dict:
    """Return a result without what differs from run to run."""
    return {key: value for key, value in found.items() if key not in ("found", "invocation", "warnings")}


def test_the_program_and_the_module_have_the_same_result(tmp_path: Path):
    for name in ("program", "refusing", "copied", "wrong"):
        (tmp_path / name).write_text(PYTHON.format(mark=MARK))
        (tmp_path / name).chmod(0o755)
    play = tmp_path / "play.yml"
    play.write_text(PLAY.format(directory=tmp_path))
    status, output = run_playbook(tmp_path, "-i", "localhost,", play)
    assert status == 0, output
    calls = {path.stem: path.read_text().splitlines() for path in tmp_path.glob("*.calls")}
    assert calls["program"][0] == "-I -S -"
    assert calls["refusing"][:2] == ["-I -S -", ""]
    assert "AnsiballZ" in calls["copied"][0]
    assert calls["wrong"] == [""]
    program_found, refusing, copied, wrong, system = json.loads((tmp_path / "found.json").read_text())
    assert plain(program_found) == plain(refusing) == plain(copied)
    assert program_found["found"].keys() == refusing["found"].keys()
    assert program_found["reasons"] == {}
    assert system["id"]
    assert "not a valid boolean" in wrong["msg"]


def test_a_program_has_all_that_it_imports_and_answers_in_one_line():
    given = {"host": "mail", "said": "", "gateway": False, "fingerprints": {"sendmail_routes": "f\u00fc'\"\\\n"}}
    text = program(MODULE_UTILS, MODULES, "answer", given)
    done = subprocess.run([sys.executable, "-I", "-S", "-"], input=text, capture_output=True, check=True)
    assert done.stdout.count(b"\n") == 1
    found = answer("Welcome\n" + done.stdout.decode())
    assert found is not None
    assert found["reasons"].keys() == {"sendmail_routes"}
    assert "ID=" in found["os_release"]


@pytest.mark.parametrize("output", ["", "Welcome\n", MARK, f"{MARK}[1]\n", f"{MARK}{{\n"])
def test_other_output_is_no_answer(output: str):
    assert answer(output) is None
