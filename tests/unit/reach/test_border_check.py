# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of the check before the step dns, for a router whose rules are in a network namespace."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from playbook_run import ROOT, run_playbook

NEEDED = ("unshare", "iptables-nft-restore")
HOST = "border.univ.example"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or any(shutil.which(program) is None for program in NEEDED), reason=f"needs root, {NEEDED}"
    ),
]


def step(directory: Path, rules: str, *arguments: str) -> tuple[int, str]:
    """Run the check before MX records change, for a router with these rules and one gateway."""
    (directory / "rules").write_text(rules)
    python = directory / "python"
    load = f"iptables-nft-restore <{directory}/rules"
    python.write_text(f'#!/bin/sh\nexec unshare --net sh -c \'{load}; exec {sys.executable} "$@"\' sh "$@"\n')
    python.chmod(0o755)
    router = {"outside_interfaces": ["outside0"], "networks": [], "gateways": ["198.18.0.25"], "permits": []}
    plan = {"gateways": [], "hosts": {}, "routes": [], "mx": {}, "mx_outside": {}, "border": {HOST: router}}
    play = {
        "hosts": "ns1",
        "gather_facts": False,
        "vars": {"mailgate_plan": plan, "mailgate_site_step": "dns", "mailgate_site_ask": [HOST]},
        "tasks": [{"name": "Check", "ansible.builtin.import_tasks": str(ROOT / "playbooks" / "tasks" / "check.yml")}],
    }
    (directory / "play.yml").write_text(json.dumps([play]))
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {
        "all": {"vars": local, "hosts": {HOST: {"ansible_python_interpreter": str(python)}}},
        "mailgate_run": {"hosts": {"ns1": {}}},
    }
    (directory / "hosts.yml").write_text(json.dumps(inventory))
    return run_playbook(directory, "-i", "hosts.yml", "play.yml", *arguments)


def test_a_policy_that_blocks_the_gateway_stops_the_step(tmp_path: Path) -> None:
    rules = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -p tcp -m tcp --dport 443 -j ACCEPT\nCOMMIT\n"
    status, output = step(tmp_path, rules)
    text = " ".join(output.split())
    assert status, output
    assert "Step dns stopped, the MX records are unchanged" in text
    assert (
        f"{HOST}: its own rules block mail from outside0 to the gateway 198.18.0.25: policy DROP of chain FORWARD "
        "(iptables, table filter). Accept new TCP connections to port 25 of the gateways before this rule" in text
    )
    assert "mailgate_site_accept=HOST,HOST" in text
    status, output = step(tmp_path, rules, "-e", f"mailgate_site_accept={HOST}")
    assert status == 0, output


def test_a_rule_for_the_gateways_lets_the_step_begin(tmp_path: Path) -> None:
    rules = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -d 198.18.0.25/32 -p tcp -m tcp --dport 25 -j ACCEPT\nCOMMIT\n"
    status, output = step(tmp_path, rules)
    assert status == 0, output
    assert "WARNING" not in output, output


def test_a_rule_that_is_not_understood_is_a_warning(tmp_path: Path) -> None:
    rules = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m limit --limit 9/sec -j ACCEPT\nCOMMIT\n"
    status, output = step(tmp_path, rules)
    assert status == 0, output
    assert "cannot determine whether its own rules let mail from outside0" in " ".join(output.split())
