# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller: a namespace with nothing but the management network, keys, and the ssh configuration that maps the
inventory's own names and addresses to management addresses, so that an inventory needs no change.
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
    """Name of the controller's network namespace."""
    return f"lab.{twin}._controller"


def wires(twin: str) -> tuple[str, str]:
    """Input of `ip -batch` in the switch's and in the controller's namespace; no default route, on purpose."""
    port = f"link add name m type veth peer name mgmt0 netns {namespace(twin)}"
    switch = f"{port}\nlink set dev m master {MANAGEMENT_BRIDGE} up\n"
    own = f"link set lo up\nlink set dev mgmt0 up\naddress add {CONTROLLER_ADDRESS}/{MANAGEMENT.prefixlen} dev mgmt0\n"
    return switch, own


def make_keys(twin: str) -> dict[str, str]:
    """Make the twin's two key pairs; returns the files that every host gets, by path."""
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
    """Text of the ssh client's configuration for a twin."""
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
    """Where the ssh configuration lies."""
    return RUN / twin / "ssh" / "config"


def environment(twin: str, inventory: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment in which Ansible finds the twin in place of the campus.

    Ansible's settings are the checkout's alone: a caller such as Molecule has others, its colours among them.
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
    """A command as run in the controller's namespace."""
    return [shutil.which("ip") or "/usr/sbin/ip", "netns", "exec", namespace(twin), *arguments]


def ssh(twin: str, target: str, arguments: Sequence[str], *options: str) -> list[str]:
    """The ssh command, in the controller's namespace, for a shell line (one argument) or an argument list."""
    line = arguments[0] if len(arguments) == 1 else shlex.join(arguments)
    return inside(twin, ["ssh", "-F", str(config_path(twin)), *options, target, *([line] if arguments else [])])


def hang_up(twin: str, machine: Machine) -> None:
    """Close the shared connection to a host that is going down, so that nobody waits on it."""
    subprocess.run(ssh(twin, machine.short, [], "-O", "exit"), capture_output=True, check=False)
    (RUN / twin / "ssh" / machine.management).unlink(missing_ok=True)
