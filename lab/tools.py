# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared parts of the lab: its error class, commands, progress messages, locks and directories."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
#: Runtime state of twins (sockets, keys, wiring); lost at the machine's next boot, as the namespaces are.
RUN = Path("/run/mailgate-lab")
#: File systems of the twins' hosts.
STATE = Path("/var/lib/mailgate-lab")
CGROUPS = Path("/sys/fs/cgroup")


class LabError(Exception):
    """A problem that the user can fix; the text names the problem, the place and the fix."""


def cache_directory() -> Path:
    """Return the directory of the package repository and the images, shared by all twins."""
    return Path(os.environ.get("MAILGATE_CACHE", "/var/cache/mailgate-lab"))


def compiled_directory() -> Path:
    """Return the directory where all hosts keep compiled code (compiled.py); make it if it is missing."""
    directory = cache_directory() / "compiled"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def log(text: str) -> None:
    """Print a progress line to standard error without buffering."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Log the start and the duration of a long step."""
    log(f"lab: {what} …")
    began = time.monotonic()
    yield
    log(f"lab: {what} done in {time.monotonic() - began:.1f} s")


def command(arguments: Sequence[str | Path], *, text: str | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return its output; raise LabError with the last lines of the output if it fails."""
    done = subprocess.run(
        [str(argument) for argument in arguments],
        input=text,
        stdin=None if text is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **env} if env else None,
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise LabError(f"{' '.join(str(a) for a in arguments)[:300]}: exit status {done.returncode}\n{tail}")
    return done.stdout


@contextlib.contextmanager
def locked(path: Path, waiting_for: str) -> Iterator[None]:
    """Hold an exclusive lock on `path`; log what it waits for while another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f"lab: waiting for {waiting_for} …")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
