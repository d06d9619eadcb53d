# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller: a namespace in the management network, ssh keys and the ssh configuration.

The ssh configuration maps the inventory's names and addresses to management addresses, so that an inventory needs no
change.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lab.host import Machine
from lab.network import CONTROLLER_ADDRESS, MANAGEMENT, MANAGEMENT_BRIDGE
from lab.tools import REPOSITORY, RUN, command


def namespace(twin: str) -> str:
    """Return the name of the controller's network namespace."""
    return f"lab.{twin}._controller"


def network_batches(twin: str) -> tuple[str, str]:
    """Return input of `ip -batch` for the namespaces of switch and controller; the latter has no default route."""
    port = f"link add name m type veth peer name mgmt0 netns {namespace(twin)}"
    switch = f"{port}\nlink set dev m master {MANAGEMENT_BRIDGE} up\n"
    own = f"link set lo up\nlink set dev mgmt0 up\naddress add {CONTROLLER_ADDRESS}/{MANAGEMENT.prefixlen} dev mgmt0\n"
    return switch, own


def make_keys(twin: str) -> dict[str, str]:
    """Make the twin's two key pairs; return the files of every host by path."""
    directory = RUN / twin / "ssh"
    directory.mkdir(parents=True, mode=0o700)
    for name in ("controller", "host"):
        command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"mailgate-lab-{name}", "-f", directory / name])
    host_key = (directory / "host.pub").read_text()
    (directory / "known_hosts").write_text(f"twin {host_key}")
    return {
        "/etc/ssh/ssh_host_ed25519_key": (directory / "host").read_text(),
        "/etc/ssh/ssh_host_ed25519_key.pub": host_key,
        "/root/.ssh/authorized_keys": (directory / "controller.pub").read_text(),
    }


def ssh_config(twin: str, machines: Iterable[Machine]) -> str:
    """Return the ssh client configuration for a twin."""
    directory = RUN / twin / "ssh"
    text = []
    for machine in machines:
        names = dict.fromkeys([machine.short, machine.name, machine.ansible_host, machine.address])
        text += [f"Host {' '.join(names)}", f"    HostName {machine.management}"]
    text += [
        "Host *",
        "    User root",
        f"    IdentityFile {directory / 'controller'}",
        "    IdentitiesOnly yes",
        "    PreferredAuthentications publickey",
        "    HostKeyAlias twin",
        f"    UserKnownHostsFile {directory / 'known_hosts'}",
        "    GlobalKnownHostsFile /dev/null",
        "    StrictHostKeyChecking yes",
        "    AddressFamily inet",
        "    ConnectTimeout 10",
        "    ServerAliveInterval 10",
        "    ServerAliveCountMax 3",
        "    ControlMaster auto",
        "    ControlPersist 1h",
        f"    ControlPath {directory}/%h",
        "    KexAlgorithms curve25519-sha256",
        "    Ciphers aes128-gcm@openssh.com",
        "    LogLevel ERROR",
    ]
    return "\n".join([*text, ""])


def config_path(twin: str) -> Path:
    """Return the path of the ssh configuration."""
    return RUN / twin / "ssh" / "config"


def environment(twin: str, inventory: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment in which Ansible reaches the twin instead of the campus.

    Ansible settings of the caller, such as Molecule's, are removed; only those of the checkout apply.
    """
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "PATH": os.pathsep.join((str(REPOSITORY / ".venv" / "bin"), os.environ.get("PATH", "/usr/bin:/bin"))),
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ANSIBLE_INVENTORY": str(inventory),
        "ANSIBLE_SSH_ARGS": f"-F {config_path(twin)}",
        "MAILGATE_TWIN": twin,
        **(extra or {}),
    }


def inside(twin: str, arguments: Sequence[str]) -> list[str]:
    """Return the command line that runs a command in the controller's namespace."""
    return [shutil.which("ip") or "/usr/sbin/ip", "netns", "exec", namespace(twin), *arguments]


def ssh(twin: str, target: str, arguments: Sequence[str], *options: str) -> list[str]:
    """Return the ssh command line, in the controller's namespace, for a shell line (one argument) or a list."""
    line = arguments[0] if len(arguments) == 1 else shlex.join(arguments)
    return inside(twin, ["ssh", "-F", str(config_path(twin)), *options, target, *([line] if arguments else [])])


def close_connection(twin: str, machine: Machine) -> None:
    """Close the shared ssh connection to a host that goes down, so that no command waits for it."""
    subprocess.run(ssh(twin, machine.short, [], "-O", "exit"), capture_output=True, check=False)
    (RUN / twin / "ssh" / machine.management).unlink(missing_ok=True)
