# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Systems of hosts by their os-release, and the roles' facts of each supported one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.campus.mailgate.plugins.plugin_utils._systems.systems import SUPPORTED, System, identify

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if (path / "vars").is_dir())

DEBIAN = """\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
ID=debian
HOME_URL="https://www.debian.org/"
"""


def test_a_supported_release_has_no_problem():
    system = identify(DEBIAN)
    assert system == System("debian", "12", "Debian GNU/Linux 12 (bookworm)")
    assert system.problem("gw1.test") == ""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (DEBIAN.replace('"12"', '"11"').replace("12 (bookworm)", "11 (bullseye)"), "Debian GNU/Linux 11 (bullseye)"),
        (DEBIAN.replace('VERSION_ID="12"\n', "").replace("12 (bookworm)", "forky/sid"), "Debian GNU/Linux forky/sid"),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n', "ubuntu 24.04"),
        (
            'ID="rhel"\nVERSION_ID="9.4"\nPRETTY_NAME="Red Hat Enterprise Linux 9.4 (Plow)"',
            "Red Hat Enterprise Linux 9.4 (Plow)",
        ),
        ('PRETTY_NAME="FreeBSD 14.1-RELEASE"', "FreeBSD 14.1-RELEASE"),
        ("ID='open quote", "'open quote"),
        ("", "an unknown system"),
    ],
)
def test_another_system_is_a_problem_that_names_host_system_and_fix(text: str, name: str):
    problem = identify(text).problem("old.test")
    assert problem.startswith(f"old.test runs {name}; supported are Debian 12 and 13. ")
    assert "mailgate_mta: none" in problem


def test_the_release_is_that_of_a_point_release_too():
    assert identify('ID=debian\nVERSION_ID="13.2"\n').version == "13"


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_all_its_facts_for_each_system(role: str):
    directory = ROOT / "roles" / role / "vars" / "main"
    places = [
        path
        for part in ("defaults", "handlers", "tasks", "templates")
        for path in (ROOT / "roles" / role / part).rglob("*")
        if path.is_file()
    ]
    text = "".join(path.read_text() for path in [directory / "main.yml", *places])
    used = set(re.findall(rf"__{role}_system\.(\w+)", text))
    assert used
    for system in SUPPORTED:
        facts = yaml.safe_load((directory / f"{system}.yml").read_text())
        assert {name: set(values) for name, values in facts.items()} == {f"__{role}_{system}": used}


@pytest.mark.parametrize("role", ROLES)
def test_tasks_have_no_facts_of_a_system(role: str):
    """Not counted are paths of the collection's own files, and those that systemd and POSIX have everywhere."""
    own = re.compile(
        r"/etc/mailgate|/usr/local/|/var/lib/mailgate|/run/mailgate|/etc/systemd/system|/usr/bin/systemd-analyze"
        r"|/usr/lib/os-release|/usr/bin/python3|/bin/sh|/usr/sbin/nologin"
    )
    found = []
    for path in sorted((ROOT / "roles" / role).glob("tasks/*.yml")) + sorted(
        (ROOT / "roles" / role).glob("handlers/*.yml")
    ):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = own.sub("", line.split(" #")[0])
            if not code.lstrip().startswith("#") and re.search(r"(?<![\w./}])/(etc|usr|var|run|lib|bin|sbin)/", code):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found
