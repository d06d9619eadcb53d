# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Debian system in its own directory for the peers and the load generator; nothing is installed on the machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.image import check_machine, key
from lab.packages import SUITE
from lab.repository import CONFINED, machine_sources
from lab.tools import REPOSITORY, command, step

INCLUDE = (
    "ca-certificates", "clamav-daemon", "clamav-milter", "clamdscan", "hyperfine", "iproute2", "libldap-2.5-0",
    "liblockfile1", "libwrap0", "m4", "netbase", "postfix", "python3-jinja2", "procps", "python3", "python3-uvloop",
)  # fmt: skip
# These conflict with Postfix, so they are unpacked without being installed.
UNPACKED = ("sendmail-bin", "sendmail-cf")

CACHE = REPOSITORY / ".cache" / "bench"


def prepare() -> Path:
    """Return the system's directory; build it if it is missing."""
    check_machine()
    root = CACHE / f"root-{key(SUITE, (*INCLUDE, *UNPACKED))}"
    if root.exists():
        return root
    CACHE.mkdir(parents=True, exist_ok=True)
    building = root.with_name(root.name + ".building")
    shutil.rmtree(building, ignore_errors=True)
    sources = CACHE / "debian.sources"
    sources.write_text(machine_sources())
    with step("system for the bench: Postfix, sendmail, clamd, clamav-milter"):
        command(
            [*CONFINED, "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(INCLUDE)}",
             "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
             "--dpkgopt=force-unsafe-io", SUITE, building, sources]
        )  # fmt: skip
    with tempfile.TemporaryDirectory(dir=CACHE) as packages:
        subprocess.run(["apt-get", "-qq", "download", *UNPACKED], cwd=packages, check=True)
        for package in Path(packages).glob("*.deb"):
            command(["dpkg-deb", "--extract", package, building])
    (building / "usr/sbin/sendmail-mta").symlink_to("/usr/libexec/sendmail/sendmail")
    with (building / "etc/passwd").open("a") as users:
        users.write("smmta:x:990:990::/:/usr/sbin/nologin\n")
    with (building / "etc/group").open("a") as groups:
        groups.write("smmta:x:990:\n")
    building.rename(root)
    return root
