# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The system of a host: its release, kernel, Python, memory and disk."""

from __future__ import annotations

import os
import platform
import re
import shlex
import socket
from typing import Any

from .reader import Reader


def release(text: str) -> dict[str, str]:
    """Return the values of an os-release file."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and re.fullmatch(r"[A-Z0-9_]+", name):
            try:
                found[name] = " ".join(shlex.split(value))
            except ValueError:
                found[name] = value
    return found


def memory(text: str) -> tuple[int, int]:
    """Return the total and the available memory in MiB, from /proc/meminfo."""
    found = {name: int(size) // 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
    return found.get("MemTotal", 0), found.get("MemAvailable", 0)


def facts(reader: Reader) -> dict[str, Any]:
    """Return the facts of the system."""
    values = release(reader.text("/etc/os-release") or reader.text("/usr/lib/os-release") or "")
    total, available = memory(reader.text("/proc/meminfo") or "")
    return {
        "id": values.get("ID", ""),
        "version": values.get("VERSION_ID", ""),
        "name": values.get("PRETTY_NAME", "") or values.get("ID", ""),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "hostname": socket.gethostname(),
        "root": os.geteuid() == 0,
        "memory": total,
        "available": available,
        "disk": _free(reader),
    }


def _free(reader: Reader) -> int:
    """Return the free space of /var in MiB."""
    try:
        status = os.statvfs(reader.at("/var"))
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize // 2**20
