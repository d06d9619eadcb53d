# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The kernel's reports that a process changed the rules of nf_tables, which iptables-nft uses too.

The same source as `nft monitor`, linux/netfilter/nf_tables.h: after each transaction a message NFT_MSG_NEWGEN with the
process that sent it. iptables-legacy and ipset have no such reports.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
from pathlib import Path

_NETLINK_NETFILTER = 12
_GROUP = 1 << 6  # NFNLGRP_NFTABLES is 7
_NEWGEN = 10 << 8 | 15  # NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN
_PID, _NAME = 2, 3  # NFTA_GEN_PROC_PID, NFTA_GEN_PROC_NAME
_HEADER, _FAMILY_HEADER = 16, 4


def senders(data: bytes) -> list[tuple[int, str]]:
    """Return the process (number, name) of each transaction in a datagram. Pure."""
    found = []
    while len(data) >= _HEADER:
        length, kind = struct.unpack_from("=IH", data)
        if length < _HEADER:
            break
        if kind == _NEWGEN:
            found.append(_sender(data[_HEADER + _FAMILY_HEADER : length]))
        data = data[_aligned(length) :]
    return found


def _sender(attributes: bytes) -> tuple[int, str]:
    """Return the process in the attributes of a message, (0, "") from a kernel that does not name it."""
    pid, name = 0, ""
    while len(attributes) >= 4:
        length, kind = struct.unpack_from("=HH", attributes)
        if length < 4:
            break
        value = attributes[4:length]
        if kind == _PID and len(value) == 4:
            pid = struct.unpack(">I", value)[0]
        elif kind == _NAME:
            name = value.rstrip(b"\0").decode("utf-8", "replace")
        attributes = attributes[_aligned(length) :]
    return pid, name


def _aligned(length: int) -> int:
    """Return a length rounded up to 4 bytes (NLMSG_ALIGN, NLA_ALIGN)."""
    return (length + 3) & ~3


def unit_of(cgroup: str) -> str:
    """Return the systemd unit in the content of /proc/PID/cgroup, "" without one. Pure."""
    found = re.findall(r"/([^/\n]+\.(?:service|scope))(?:/|$)", cgroup, re.MULTILINE)
    return found[-1] if found else ""


def describe(pid: int, name: str) -> str:
    """Return a process for messages, with its unit if it still runs."""
    unit = ""
    with contextlib.suppress(OSError):
        unit = unit_of(Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"))
    return f"{name} (process {pid}{', ' + unit if unit else ''})"


class Events:
    """A subscription to these reports."""

    def __init__(self) -> None:
        """Subscribe. Raises OSError on a kernel without nf_tables."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind((0, _GROUP))
        self._socket.setblocking(False)

    def wait(self, seconds: float) -> list[str] | None:
        """Wait for reports and return the processes; None if there was none."""
        if not select.select([self._socket], [], [], seconds)[0]:
            return None
        return self.read()

    def read(self) -> list[str]:
        """Return the processes of the reports that have come."""
        found: list[tuple[int, str]] = []
        # A transaction of many rules is longer than the buffer (ENOBUFS); that there was one is known all the same.
        for _datagram in range(10000):
            try:
                found += senders(self._socket.recv(1 << 16))
            except BlockingIOError:
                break
            except OSError:
                continue
        return [describe(pid, name) for pid, name in dict.fromkeys(found) if name]
