# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain Debian system of any suite as a directory, to run programs under another Python than the machine's."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.image import check_machine, key
from lab.repository import CONFINED, machine_sources
from lab.tools import cache_directory, command, locked, step


def build_system(suite: str, packages: Sequence[str]) -> Path:
    """Return the root directory of a minimal system with `packages`, built when it is not in the cache.

    The mirror is the one of the machine's own apt sources, its key that of Debian's keyring.

    Raises:
        LabError: the machine lacks a program or an apt source.
    """
    check_machine()
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"system-{suite}-{key(suite, sorted(packages))}"
    with locked(cache / "lock", "another build of the images"):
        if not target.exists():
            building = target.with_name(target.name + ".building")
            shutil.rmtree(building, ignore_errors=True)
            sources = machine_sources(suite)
            with step(f"Debian {suite}"):
                command(
                    [*CONFINED, "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase",
                     f"--include={','.join(packages)}", "--dpkgopt=force-unsafe-io", suite, building, "-"],
                    text=sources,
                )  # fmt: skip
            building.rename(target)
    return target


def run_in(
    root: Path, arguments: Sequence[str], *, binds: Sequence[Path], env: Mapping[str, str], seconds: int
) -> subprocess.CompletedProcess[str]:
    """Run a command in the system, with a loopback interface alone, for at most `seconds`.

    Each path of `binds` is seen there at its own place; the first is the working directory.
    """
    script = (
        'root=$1; shift; ip link set lo up && mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev"'
        ' && while [ "$1" != -- ]; do mkdir -p "$root$1" && mount --bind "$1" "$root$1"; shift; done; shift'
        '; exec chroot "$root" "$@"'
    )
    inner = ["env", "--ignore-environment", f"--chdir={binds[0]}", *(f"{name}={value}" for name, value in env.items())]
    outer = [*CONFINED, "unshare", "--net", "sh", "-c", script, "sh", str(root), *map(str, binds), "--"]
    return subprocess.run(
        [*outer, *inner, *arguments],
        capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
