# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Word to systemd about the service's state (sd_notify(3)); does nothing when not started by it."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send assignments such as `READY=1`, separated by newlines; a supervisor that does not listen is no error."""
    target = os.environ.get("NOTIFY_SOCKET")
    if not target:
        return
    if target.startswith("@"):
        target = "\0" + target[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(target)
        channel.sendall(state.encode())


def watchdog_seconds() -> float | None:
    """How often to send `WATCHDOG=1`: twice as often as it is waited for; None when it is not."""
    micros = os.environ.get("WATCHDOG_USEC", "")
    owner = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not micros.isdigit() or owner != str(os.getpid()):
        return None
    return int(micros) / 2_000_000
