# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rehearsal needs of the machine, and a refusal when the machine has less."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.inventory import Inventory
from lab.tools import STATE, LabError


@dataclass(frozen=True)
class Amount:
    """Memory and disk space in megabytes, and processes and threads."""

    memory: int
    disk: int
    processes: int

    def times(self, count: int) -> Amount:
        """Return the amount of so many."""
        return Amount(self.memory * count, self.disk * count, self.processes * count)

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.memory + other.memory, self.disk + other.disk, self.processes + other.processes)


#: Measured in a twin of 153 hosts during the rollout: 16 MB in 11 processes and 6 MB of disk for a host, 90 MB, 18 and
#: 100 MB for a gateway; and a reserve for the kernel, the programs of Ansible and the mail.
HOST = Amount(memory=30, disk=15, processes=20)
GATEWAY = Amount(memory=250, disk=150, processes=60)
#: Ansible with its forks, the mail, and the images.
CONTROLLER = Amount(memory=1500, disk=2000, processes=200)


def needs(hosts: int, gateways: int) -> Amount:
    """Return what a twin with so many hosts, of which some are gateways, needs."""
    return CONTROLLER + HOST.times(hosts - gateways) + GATEWAY.times(gateways)


def available() -> Amount:
    """Return what the machine has now."""
    memory = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    place = next(path for path in (STATE, *STATE.parents) if path.exists())
    limit = min(int(Path("/proc/sys/kernel", name).read_text()) for name in ("pid_max", "threads-max"))
    # The lab raises pid_max itself.
    limit = max(limit, min(262144, int(Path("/proc/sys/kernel/threads-max").read_text())))
    running = int(Path("/proc/loadavg").read_text().split()[3].split("/")[1])
    return Amount(
        memory=int(memory["MemAvailable"].split()[0]) // 1024,
        disk=shutil.disk_usage(place).free // (1 << 20),
        processes=limit - running,
    )


def missing(need: Amount, have: Amount) -> list[str]:
    """Return what the machine has too little of."""
    kinds = (
        ("memory", need.memory, have.memory, " MB"),
        (f"disk space in {STATE}", need.disk, have.disk, " MB"),
        ("processes", need.processes, have.processes, ""),
    )
    return [
        f"{name}: needs {wanted}{unit}, available {found}{unit}"
        for name, wanted, found, unit in kinds
        if wanted > found
    ]


def require(inventory: Inventory) -> Amount:
    """Return what the twin of an inventory needs.

    Raises:
        LabError: the machine has less.
    """
    gateways = sum(host.gateway for host in inventory.hosts)
    hosts = len(inventory.hosts) + 1  # and the outside
    need = needs(hosts, gateways)
    short = missing(need, available())
    if short:
        raise LabError(
            f"the machine is too small for a twin of {hosts} hosts, {gateways} of them gateways; nothing was started:\n"
            + "\n".join(f"  {line}" for line in short)
            + "\nEnd other programs, use a larger machine, or an inventory with fewer hosts."
        )
    if os.geteuid() != 0:
        raise LabError("a rehearsal requires root")
    return need
