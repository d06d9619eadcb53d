# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network namespace for each test that requests one, with each variant of iptables."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from netfilter_kernel import FOREIGN, LOADER, NEEDED, Kernel, build


@pytest.fixture(scope="session", autouse=True)
def loader() -> None:
    build(LOADER)


@pytest.fixture(scope="session")
def alternatives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return copies of /etc/alternatives in which iptables is the nft and the legacy variant."""
    directory = tmp_path_factory.mktemp("alternatives")
    for kind in ("nft", "legacy"):
        shutil.copytree("/etc/alternatives", directory / kind, symlinks=True)
        for tool in ("iptables", "ip6tables"):
            for end in ("", "-save", "-restore"):
                link = directory / kind / f"{tool}{end}"
                link.unlink(missing_ok=True)
                link.symlink_to(f"/usr/sbin/{tool}-{kind}{end}")
    return directory


@pytest.fixture(params=["nft", "legacy"])
def kernel(request: pytest.FixtureRequest, tmp_path: Path, alternatives: Path) -> Iterator[Kernel]:
    if os.geteuid() != 0 or any(shutil.which(program) is None for program in NEEDED):
        pytest.skip(f"needs root and {', '.join(NEEDED)}")
    with subprocess.Popen(
        ["unshare", "--net", "--mount", "sh", "-c", f"touch {tmp_path}/up; exec sleep 600"]
    ) as holder:
        deadline = time.monotonic() + 60
        while not (tmp_path / "up").exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        kernel = Kernel(holder.pid, tmp_path / "border", alternatives)
        kernel.switch(request.param)
        assert f"({'nf_tables' if request.param == 'nft' else 'legacy'})" in kernel.must("iptables", "--version")
        kernel.must("iptables-restore", "--noflush", "--counters", text=FOREIGN % "198.19.0.0/24")
        kernel.must("ip6tables-restore", "--noflush", "--counters", text=FOREIGN % "2001:db8:19::/64")
        yield kernel
        holder.kill()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the kernel's tables as slow: most of these tests start a dozen programs."""
    directory = Path(__file__).parent
    for item in items:
        if item.path.parent == directory and "kernel" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
