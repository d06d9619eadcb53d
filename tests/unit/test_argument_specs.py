# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role's argument spec is the source of its documentation: defaults, comments and README agree with it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text()) or {}


def options(role: Path) -> dict[str, Any]:
    return load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]


def undescribed(name: str, option: dict[str, Any]) -> list[str]:
    """Return the dotted names of this option and those nested in it that lack a type or a description."""
    missing = [] if option.get("type") and option.get("description") else [name]
    if option.get("type") == "list" and "elements" not in option:
        missing.append(f"{name} (elements)")
    for key, nested in option.get("options", {}).items():
        missing += undescribed(f"{name}.{key}", nested)
    return missing


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_default_is_in_the_spec_and_the_other_way_round(role: Path) -> None:
    described = options(role)
    defaults = load(role / "defaults" / "main.yml")
    optional = {name for name, option in described.items() if not option.get("required")}
    assert set(defaults) <= set(described)
    assert {name for name in optional if "default" in described[name]} <= set(defaults)
    for name, value in defaults.items():
        if "{{" not in str(value):
            assert described[name].get("default") == value, name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_option_has_a_type_and_a_description(role: Path) -> None:
    assert [name for key, option in options(role).items() for name in undescribed(key, option)] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_variables_carry_the_roles_name(role: Path) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role.name}_")] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_default_has_one_comment_line(role: Path) -> None:
    """Its text is the first sentence of the option's description: test_defaults_and_readmes_repeat_the_spec."""
    lines = (role / "defaults" / "main.yml").read_text().splitlines()
    bare = [line for line, above in zip(lines[1:], lines, strict=False) if re.match(r"\w+:", line) and above[:1] != "#"]
    double = [line for line, above in zip(lines[4:], lines[3:], strict=False) if line[:1] == above[:1] == "#"]
    assert (bare, double) == ([], [])
    assert [line for line in lines if line.startswith("#") and len(line) > 120] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_role_installs_the_packages_of_one_variable(role: Path) -> None:
    files = [role / "tasks" / name for name in ("main.yml", "present.yml")]
    tasks = [task for path in files if path.exists() for task in load(path)]
    names = [task["ansible.builtin.apt"]["name"] for task in tasks if "ansible.builtin.apt" in task]
    assert names == [f"{{{{ {role.name}_packages }}}}"]


WRITING = ("assemble", "blockinfile", "copy", "file", "get_url", "lineinfile", "template", "unarchive")


def written(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the arguments that describe each file or directory that tasks write."""
    found: list[dict[str, Any]] = []
    for task in tasks:
        found += written(task.get("block", []))
        found += [
            task[f"ansible.builtin.{name}"]
            for name in WRITING
            if task.get(f"ansible.builtin.{name}", {}).get("state", "") != "absent"
            and f"ansible.builtin.{name}" in task
        ]
        found += task.get("campus.mailgate.file_set", {}).get("files", [])
    return found


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_file_has_an_owner_a_group_and_a_mode(role: Path) -> None:
    """A host's umask must not decide who can read a file."""
    files = [file for tasks in sorted((role / "tasks").glob("*.yml")) for file in written(load(tasks))]
    assert [file for file in files if not {"owner", "group", "mode"} <= set(file)] == []


def test_defaults_and_readmes_repeat_the_spec() -> None:
    tool = [sys.executable, str(ROOT / "tests" / "sanity" / "role_docs"), "--check"]
    assert subprocess.run(tool, capture_output=True, text=True, check=False).stdout == ""
