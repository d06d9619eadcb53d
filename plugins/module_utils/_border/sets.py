# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The address sets of ipset that the chains use, and the recorded bans in them."""

from __future__ import annotations

import re
import time

from .._iptables.model import BANS, PERMITS, SENDERS
from .system import LoadError, System

NAMES = (*PERMITS.values(), *SENDERS.values(), *BANS.values())
FILE = "sets"
_BAN = re.compile(r"([0-9]+) ([0-9]+) (mailgate-bans6?) ([0-9a-f.:/]+)(?: (.*))?")


def ban_commands(text: str, now: int) -> str:
    """Return input for `ipset -exist restore` from the recorded bans. Pure.

    Args:
        text: A line for each ban: END (seconds since 1970) LEFT (seconds when it was written) SET ADDRESS COMMENT. If
            the clock is behind at boot, a ban lasts at most LEFT seconds.
        now: The seconds since 1970.
    """
    lines = []
    for found in filter(None, map(_BAN.fullmatch, text.splitlines())):
        end, left, name, address, comment = found.groups(default="")
        seconds = min(int(end) - now, int(left))
        comment = comment.translate({ord('"'): None, ord("\\"): None})
        if seconds > 0:
            lines.append(f"add {name} {address} timeout {seconds}" + (f' comment "{comment}"' if comment else ""))
    return "".join(f"{line}\n" for line in lines)


class Sets:
    """The sets of ipset."""

    def __init__(self, system: System) -> None:
        self._system = system

    def load(self) -> None:
        """Load the file of sets, then the recorded bans. Raises LoadError, but not for the bans."""
        text = self._system.read(FILE)
        if not text:
            return
        done = self._system.run("ipset", "-exist", "restore", text=text)
        if done.status:
            raise LoadError(f"cannot load the address sets: {done.error.strip()}")
        try:
            bans = self._system.bans_file.read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return
        commands = ban_commands(bans, int(time.time()))
        done = self._system.run("ipset", "-exist", "restore", text=commands)
        if done.status:
            self._system.say(f"cannot load the bans: {done.error.strip()}")

    def drop_unused(self) -> None:
        """Destroy the managed sets that the file does not create; one that a rule of the router uses stays."""
        created = set(re.findall(r"^create (\S+) ", self._system.read(FILE), re.MULTILINE))
        for name in NAMES:
            if name not in created:
                self._system.run("ipset", "-quiet", "destroy", name)
