# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller: reaches management addresses only, by the inventory's own names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab import controller
from lab.host import Machine


def machine(short: str, name: str, address: str, management: str, ansible_host: str = "") -> Machine:
    return Machine("demo", short, name, address, ansible_host or address, management, (), "/repository")


MACHINES = [
    machine("gw1", "gw1.univ.example", "198.18.0.25", "198.19.224.10"),
    machine("mail.eng", "mail.eng.univ.example", "198.18.1.25", "198.19.224.11", "mx.inside.test"),
]


@pytest.mark.parametrize(
    ("name", "management"),
    [
        ("gw1", "198.19.224.10"),
        ("gw1.univ.example", "198.19.224.10"),
        ("198.18.0.25", "198.19.224.10"),
        ("mail.eng", "198.19.224.11"),
        ("mx.inside.test", "198.19.224.11"),
    ],
)
def test_ssh_finds_the_management_address_by_any_name(tmp_path: Path, name: str, management: str):
    config = tmp_path / "config"
    config.write_text(controller.ssh_config("demo", MACHINES))
    shown = subprocess.run(["ssh", "-G", "-F", config, name], capture_output=True, text=True, check=True).stdout
    settings = dict(line.split(" ", 1) for line in shown.splitlines())
    assert settings["hostname"] == management
    assert settings["user"] == "root"
    assert settings["stricthostkeychecking"] == "true"
    assert settings["userknownhostsfile"].endswith("/demo/ssh/known_hosts")


def test_the_controller_has_no_route_except_to_its_own_network():
    _, own = controller.network_batches("demo")
    assert "route" not in own
    assert "address add 198.19.224.1/20 dev mgmt0" in own


def test_one_argument_is_a_shell_line_and_several_are_words():
    assert controller.ssh("demo", "gw1", ["ls | wc -l"])[-1] == "ls | wc -l"
    assert controller.ssh("demo", "gw1", ["echo", "a b"])[-1] == "echo 'a b'"


def test_ansible_uses_the_twin():
    environment = controller.environment("demo", Path("/inventory"), {"EXTRA": "1"})
    assert environment["ANSIBLE_SSH_ARGS"] == "-F /run/mailgate-lab/demo/ssh/config"
    assert environment["ANSIBLE_INVENTORY"] == "/inventory"
    assert environment["EXTRA"] == "1"
    assert environment["PATH"].split(":")[0].endswith(".venv/bin")
