# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Debian system with sendmail, in which a test runs: an overlay of the lab's images, without network."""

from __future__ import annotations

import ctypes
import os
import pickle
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab import image
from lab.tools import LabError

_NEW_NAMESPACES = 0x00020000 | 0x40000000  # CLONE_NEWNS, CLONE_NEWNET
REASON = "needs root and what the lab needs"


def system(suite: str = image.SUITE) -> System | None:
    """Return a system with sendmail; None if this machine cannot have one."""
    if os.geteuid() != 0:
        return None
    try:
        images = image.prepare([frozenset({"mail"})], suite)
    except LabError:
        return None
    return System([Path(path) for path in images.lower(["mail"])])


def run(command: list[str], stdin: str) -> tuple[int, str, str]:
    """Run a command as the module does."""
    done = subprocess.run(
        command, input=stdin.encode("utf-8", "surrogateescape"), capture_output=True, check=False, timeout=60
    )
    out, err = (data.decode("utf-8", "surrogateescape") for data in (done.stdout, done.stderr))
    return done.returncode, out, err


class System:
    """A system; each call runs on a fresh copy of it."""

    def __init__(self, layers: list[Path]) -> None:
        self.layers = layers

    def do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in the system, in a child process; return its result or raise its exception."""
        with tempfile.TemporaryDirectory() as work:
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reading)
                _child(writing, self.layers, Path(work), function, arguments)
            os.close(writing)
            with os.fdopen(reading, "rb") as stream:
                data = stream.read()
            os.waitpid(child, 0)
        kind, result = pickle.loads(data)
        if kind == "error":
            raise AssertionError(result)
        return result


def _child(
    writing: int, layers: list[Path], work: Path, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    """Enter the system and call the function; does not return."""
    try:
        _enter(layers, work)
        result = ("result", function(*arguments))
    except BaseException:
        result = ("error", traceback.format_exc())
    with os.fdopen(writing, "wb") as stream:
        pickle.dump(result, stream)
    sys.stdout.flush()
    os._exit(0)


def _enter(layers: list[Path], work: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NAMESPACES):
        raise OSError(ctypes.get_errno(), "unshare")
    root = work / "root"
    options = f"lowerdir={':'.join(map(str, layers))},upperdir={work / 'upper'},workdir={work / 'work'}"
    commands = [
        ["mount", "--make-rprivate", "/"],
        ["mount", "-t", "tmpfs", "tmpfs", str(work)],
        ["mkdir", str(root), str(work / "upper"), str(work / "work")],
        ["mount", "-t", "overlay", "overlay", "-o", options, str(root)],
        ["mount", "-t", "proc", "proc", str(root / "proc")],
        ["mount", "--rbind", "/dev", str(root / "dev")],
    ]
    for command in commands:
        subprocess.run(command, check=True)
    os.chroot(root)
    os.chdir("/")
