# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first look at a host is the same with and without Ansible's part of a module."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from playbook_run import run_playbook

from ansible_collections.campus.mailgate.plugins.action.mta_check import MODULE_UTILS
from ansible_collections.campus.mailgate.plugins.plugin_utils._systems.program import (
    MARK,
    answer,
    modules,
    program,
)

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


@pytest.mark.parametrize(
    ("entry", "arguments", "names"),
    [
        (
            "_mta.first_look",
            {"host": "mail", "said": "", "gateway": False, "fingerprints": {"sendmail_routes": "f\u00fc'\"\\\n"}},
            {"kind", "problems", "found", "reasons", "os_release"},
        ),
        ("_rollout.mail_look", {"said": "sendmail"}, {"time", "host", "mail"}),
        ("_rollout.mail_look", {"said": "postfix"}, {"time", "host", "mail"}),
    ],
)
def test_a_program_has_all_that_it_imports_and_answers_in_one_line(entry: str, arguments: dict, names: set[str]):
    text = program(MODULE_UTILS, entry, arguments)
    done = subprocess.run([sys.executable, "-I", "-S", "-"], input=text, capture_output=True, check=True)
    assert done.stdout.count(b"\n") == 1
    found = answer("Welcome\n" + done.stdout.decode())
    assert found is not None
    assert found.keys() == names


def test_the_imports_of_all_modules_are_found():
    for path in MODULE_UTILS.glob("*/*.py"):
        entry = f"{path.parent.name}.{path.stem}"
        package = [path.parent.name]
        expected = {entry}
        for statement in ast.walk(ast.parse(path.read_text())):
            if isinstance(statement, ast.ImportFrom) and statement.level:
                parts = package[: 2 - statement.level] + (statement.module or "").split(".")
                parts = [part for part in parts if part]
                module = MODULE_UTILS.joinpath(*parts).with_suffix(".py")
                if module.is_file():
                    expected.add(".".join(parts))
                else:
                    expected |= {".".join([*parts, name.name]) for name in statement.names}
        assert expected <= modules(MODULE_UTILS, entry).keys()


@pytest.mark.parametrize("output", ["", "Welcome\n", MARK, f"{MARK}[1]\n", f"{MARK}{{\n"])
def test_other_output_is_no_answer(output: str):
    assert answer(output) is None
