# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd passes and is told (sd_listen_fds(3), sd_notify(3)); no effect if it did not start the process."""

from __future__ import annotations

import contextlib
import os
import socket

# The first descriptor that it passes.
_LISTEN_FDS_START = 3


def passed_socket() -> socket.socket | None:
    """Return the socket of the unit's socket unit, which has one, or None if systemd has passed none."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    return socket.socket(fileno=_LISTEN_FDS_START)


def notify(state: str) -> None:
    """Send assignments such as `READY=1`, separated by newlines; ignore errors."""
    target = os.environ.get("NOTIFY_SOCKET")
    if not target:
        return
    if target.startswith("@"):
        target = "\0" + target[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(target)
        channel.sendall(state.encode())


def watchdog_seconds() -> float | None:
    """Return the interval for `WATCHDOG=1`, half the watchdog timeout, or None if the watchdog is off."""
    micros = os.environ.get("WATCHDOG_USEC", "")
    owner = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not micros.isdigit() or owner != str(os.getpid()):
        return None
    return int(micros) / 2_000_000
