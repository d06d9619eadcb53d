# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""What the loader uses of the router: its directory, programs, messages and a lock."""

from __future__ import annotations

import datetime
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .._iptables import expiry

DIRECTORY = Path("/etc/mailgate/border")
BANS_FILE = Path("/var/lib/mailgate-border/bans")
RUNTIME = Path("/run/mailgate-border")
SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
LOCK_SECONDS = int(os.environ.get("MAILGATE_BORDER_LOCK_SECONDS", "60"))
"""How long another loader, and another program that holds the xtables lock, is waited for."""


class LoadError(Exception):
    """A part cannot be read or loaded; the message is for the admin."""


class BusyError(LoadError):
    """Another program holds a lock, so nothing is known about the rules and nothing was changed."""


@dataclass(frozen=True)
class Result:
    """The exit status and output of a program."""

    status: int
    out: str
    error: str


class System:
    """The router. Its paths can be set by the environment, for tests."""

    def __init__(self) -> None:
        self.directory = Path(os.environ.get("MAILGATE_BORDER_DIR", DIRECTORY))
        self.bans_file = Path(os.environ.get("MAILGATE_BORDER_BANS", BANS_FILE))
        self.runtime = Path(os.environ.get("MAILGATE_BORDER_RUN", RUNTIME))
        self._environment = {**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8"}

    def run(self, *command: str, text: str = "") -> Result:
        """Run a program with this standard input; a missing program has the status 127, as in a shell."""
        try:
            # Commands are fixed lists. This code also runs without Ansible, from an archive.
            done = subprocess.run(  # pylint: disable=subprocess-run-check,ansible-bad-function
                command,
                input=text,
                capture_output=True,
                encoding="utf-8",
                errors="surrogateescape",
                check=False,
                env=self._environment,
            )
        except FileNotFoundError:
            return Result(127, "", f"{command[0]}: not installed")
        return Result(done.returncode, done.stdout, done.stderr)

    def find(self, program: str) -> bool:
        """Return whether a program is installed."""
        return shutil.which(program, path=SEARCH_PATH) is not None

    def say(self, message: str) -> None:
        """Write a message to standard error, which systemd's journal records."""
        for line in message.splitlines():
            sys.stderr.write(f"mailgate-border: {line}\n")
        sys.stderr.flush()

    def read(self, name: str) -> str:
        """Return a file of the directory without the permits that have expired, "" if there is none."""
        return expiry.without(self._read(name), self.expired())

    def expired(self) -> frozenset[str]:
        """Return the lines of permits that have expired, by this router's date."""
        return expiry.expired(self._read(expiry.FILE), datetime.date.today())

    def _read(self, name: str) -> str:
        """Return a file of the directory, "" if there is none."""
        try:
            return (self.directory / name).read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return ""

    def bans(self) -> str:
        """Return the recorded bans, "" if there are none."""
        try:
            return self.bans_file.read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return ""

    def lock(self) -> int | None:
        """Wait for other loaders, since boot, timer and Ansible may run at the same time.

        Return the descriptor that holds the lock, None without a directory. Raises BusyError.
        """
        if not self.directory.is_dir():
            return None
        descriptor = os.open(self.directory, os.O_RDONLY)
        if wait_until(lambda: _try_lock(descriptor), LOCK_SECONDS):
            return descriptor
        os.close(descriptor)
        raise BusyError(
            f"another mailgate-border is still running after {LOCK_SECONDS} seconds; stop it and run this again"
        )


def _try_lock(descriptor: int) -> bool:
    """Lock a file without waiting; return whether this worked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_until(done: Callable[[], bool], seconds: float, step: float = 0.05) -> bool:
    """Call a function until it returns True, for at most some seconds; return whether it did."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(step)
    return True
