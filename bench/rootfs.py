# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Debian system in its own directory for the peers and the load generator; nothing is installed on the machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.image import check_machine, key
from lab.packages import SUITE
from lab.repository import CONFINED, machine_sources
from lab.tools import REPOSITORY, command, step

INCLUDE = (
    "ca-certificates", "clamav-daemon", "clamav-milter", "clamdscan", "hyperfine", "iproute2", "netbase", "postfix",
    "procps", "python3", "python3-uvloop",
)  # fmt: skip

CACHE = REPOSITORY / ".cache" / "bench"


def prepare() -> Path:
    """Return the system's directory; build it if it is missing."""
    check_machine()
    root = CACHE / f"root-{key(SUITE, INCLUDE)}"
    if root.exists():
        return root
    CACHE.mkdir(parents=True, exist_ok=True)
    building = root.with_name(root.name + ".building")
    shutil.rmtree(building, ignore_errors=True)
    sources = CACHE / "debian.sources"
    sources.write_text(machine_sources())
    with step("system for the bench: Postfix, clamd, clamav-milter"):
        command(
            [*CONFINED, "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(INCLUDE)}",
             "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
             "--dpkgopt=force-unsafe-io", SUITE, building, sources]
        )  # fmt: skip
    building.rename(root)
    return root
