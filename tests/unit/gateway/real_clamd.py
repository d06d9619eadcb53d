# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real clamd on the test's own socket, with the lab's signatures and the role's options."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
CLAMD = shutil.which("clamd") or shutil.which("clamd", path="/usr/sbin:/sbin")
MISSING = "clamd is not installed here (apt-get install clamav-daemon)"


def role_options() -> dict[str, str]:
    """Return the role's options for clamd that are plain values; sizes and paths are the test's."""
    options = yaml.safe_load((ROOT / "roles/clamav/vars/main/main.yml").read_text())["__clamav_clamd"]
    defaults = yaml.safe_load((ROOT / "roles/clamav/defaults/main.yml").read_text())
    plain = {}
    for name, value in options.items():
        variable = re.fullmatch(r"\{\{ (\w+) \}\}", str(value))
        found = defaults.get(variable.group(1)) if variable else value
        if "{{" not in str(found):
            plain[name] = {True: "yes", False: "no"}.get(found, str(found)) if isinstance(found, bool) else str(found)
    return plain


class RealClamd:
    """The process; `directory` must be short, since the length of socket paths is limited."""

    def __init__(self, directory: Path, **options: object) -> None:
        self.directory = directory
        self.socket = directory / "clamd.ctl"
        self.database = directory / "db"
        if not self.database.exists():
            shutil.copytree(ROOT / "lab/signatures", self.database)
        settings = {
            **role_options(),
            "MaxScanSize": "209715200",
            "MaxFileSize": "209715201",
            "StreamMaxLength": "27262976",
            "DatabaseDirectory": self.database,
            "LocalSocket": self.socket,
            "LocalSocketGroup": "",
            "User": getpass.getuser(),
            "TemporaryDirectory": directory,
            "Foreground": "yes",
            **options,
        }
        text = "".join(f"{name} {value}\n" for name, value in settings.items() if value != "")
        (directory / "clamd.conf").write_text(text)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self, *, wait: bool = True) -> None:
        self.socket.unlink(missing_ok=True)
        with (self.directory / "clamd.log").open("ab") as out:
            self.process = subprocess.Popen(
                [str(CLAMD), f"--config-file={self.directory}/clamd.conf"], stdout=out, stderr=out
            )
        deadline = time.monotonic() + 120
        while wait and not self._accepts():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError((self.directory / "clamd.log").read_text()[-2000:])
            time.sleep(0.02)

    def _accepts(self) -> bool:
        # The socket file appears before clamd listens.
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def signal(self, number: signal.Signals) -> None:
        assert self.process
        os.kill(self.process.pid, number)

    def ended(self) -> None:
        assert self.process
        self.process.wait(60)

    def hide(self) -> None:
        self.socket.unlink(missing_ok=True)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()
