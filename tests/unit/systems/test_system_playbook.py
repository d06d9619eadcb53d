# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml on hosts with systems that the roles do not support; a program in place of ssh answers for the hosts."""

from __future__ import annotations

from pathlib import Path

from playbook_run import ROOT, run_playbook

#: Plays the hosts: each runs the file of its address, or is unreachable without one.
SSH = """#!/bin/sh
for word in "$@"; do
    [ ! -e "{directory}/$word" ] || exec sh "{directory}/$word"
done
exit 255
"""
SUPPORTED = 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n'
OLD = 'ID=debian\nVERSION_ID="10"\nPRETTY_NAME="Debian GNU/Linux 10 (buster)"\n'
RED_HAT = 'ID="rhel"\nVERSION_ID="8.10"\nPRETTY_NAME="Red Hat Enterprise Linux 8.10 (Ootpa)"\n'


def site(directory: Path, systems: dict[str, str]) -> tuple[int, str]:
    """Run site.yml on the demo's inventory with these systems by address."""
    for address, text in systems.items():
        (directory / address).write_text(f"cat <<'END'\n{text}END\n" if text else "exit 3\n")
    program = directory / "ssh"
    program.write_text(SSH.format(directory=directory))
    program.chmod(0o755)
    playbook = ROOT / "playbooks" / "site.yml"
    return run_playbook(
        directory, "-i", ROOT / "inventories" / "demo", playbook, "-e", f"ansible_ssh_executable={program}"
    )


def test_all_hosts_with_other_systems_are_reported_before_the_first_change(tmp_path: Path):
    status, output = site(
        tmp_path, {"198.18.0.25": SUPPORTED, "198.18.1.30": OLD, "198.18.0.1": RED_HAT, "198.18.0.53": ""}
    )
    assert status != 0
    for expected in (
        "Nothing was changed. Correct this, and run it again.",
        "mech.eng.univ.example runs Debian GNU/Linux 10 (buster); supported are Debian 12 and 13.",
        "border.univ.example runs Red Hat Enterprise Linux 8.10 (Ootpa); supported are Debian 12 and 13.",
    ):
        assert expected in output
    assert "gw1.univ.example runs" not in output
    assert "ns1.univ.example: its /etc/os-release cannot be read: exit status 3." in output
    assert "TASK [Group the hosts by whether their routes are as planned]" not in output


def test_supported_and_unreachable_hosts_have_no_problem(tmp_path: Path):
    _status, output = site(tmp_path, {"198.18.0.25": SUPPORTED})
    assert "UNREACHABLE" in output
    assert "supported are" not in output
