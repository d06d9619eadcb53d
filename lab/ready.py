# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts after their boot: check by ssh that they run, and complete those that have a seed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lab import controller, seed
from lab.host import Machine
from lab.inventory import SEEDS
from lab.tools import LabError, step

#: Seconds that the commands of a seed may take.
COMPLETE_SECONDS = 120


def check_hosts(twin: str, machines: Sequence[Machine]) -> None:
    """Check that systemd runs without failed units; this opens the connections that Ansible shares."""

    def problem(machine: Machine) -> str:
        found = state(twin, machine, 30)
        return "" if found == "running" else f"host {machine.name}: {found}"

    _all(machines, problem)


def complete(twin: str, machines: Sequence[Machine]) -> None:
    """Run the commands of the hosts' seeds; raise LabError naming all that fail."""

    def problem(machine: Machine) -> str:
        commands = seed.lived_in(SEEDS / machine.seed)[1]
        done = subprocess.run(
            controller.ssh(twin, machine.short, ["sh -eu"]), input=commands.encode(), capture_output=True,
            timeout=COMPLETE_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            return ""
        lines = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
        return "\n  ".join([f"host {machine.name}: the commands of {machine.seed} failed", *lines[-10:]])

    seeded = [machine for machine in machines if machine.seed]
    if seeded:
        with step(f"complete {len(seeded)} hosts"):
            _all(seeded, problem)


def _all(machines: Sequence[Machine], problem: Callable[[Machine], str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = [text for text in pool.map(problem, machines) if text]
    if found:
        raise LabError("\n".join(found))


def state(twin: str, machine: Machine, timeout: float) -> str:
    """Return `running`, or the problem that systemd or ssh reports."""
    ask = "systemctl is-system-running --wait; systemctl --failed --plain --no-legend"
    try:
        done = subprocess.run(
            controller.ssh(twin, machine.short, [ask]), capture_output=True, text=True, timeout=timeout,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no answer by ssh within {timeout:.0f} s"
    return (done.stdout.strip() or done.stderr.strip()).replace("\n", "; ")
