# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The address sets of ipset that the chains use, and the recorded bans in them."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from .._iptables.bans import Ban, parse
from .._iptables.model import BANS, PERMITS, SENDERS, clean_comment, short
from .system import LoadError, System

NAMES = (*PERMITS.values(), *SENDERS.values(), *BANS.values())
FILE = "sets"
_BAN = re.compile(r"([0-9]+) ([0-9]+) mailgate-bans6? ([0-9a-f.:/]+)(?: (.*))?")


def recorded_bans(text: str, now: int) -> list[Ban]:
    """Return the recorded bans that have not expired. Pure.

    Args:
        text: A line for each ban: END (seconds since 1970) LEFT (seconds when it was written) SET ADDRESS COMMENT. If
            the clock is behind at boot, a ban lasts at most LEFT seconds.
        now: The seconds since 1970.
    """
    bans = []
    for found in filter(None, map(_BAN.fullmatch, text.splitlines())):
        end, left, address, comment = found.groups(default="")
        seconds = min(int(end) - now, int(left))
        try:
            ban = Ban(short(address), seconds, clean_comment(comment))
        except ValueError:
            continue
        if seconds > 0:
            bans.append(ban)
    return bans


def live_bans(system: System) -> dict[str, Ban]:
    """Return the bans in the sets by address."""
    bans: dict[str, Ban] = {}
    for name in BANS.values():
        bans |= parse(system.run("ipset", "save", name).out)
    return bans


class Sets:
    """The sets of ipset."""

    def __init__(self, system: System) -> None:
        self._system = system

    def load(self, live: Mapping[str, Ban]) -> None:
        """Load the file of sets, then the recorded bans and live ones. Raises LoadError, but not for the bans."""
        text = self._system.read(FILE)
        if not text:
            return
        done = self._system.run("ipset", "-exist", "restore", text=text)
        if done.status:
            raise LoadError(f"cannot load the address sets: {done.error.strip()}")
        recorded = recorded_bans(self._system.bans(), int(time.time()))
        bans = {**{ban.address: ban for ban in recorded}, **live}
        commands = "".join(f"{ban.add()}\n" for ban in bans.values())
        done = self._system.run("ipset", "-exist", "restore", text=commands)
        if done.status:
            self._system.say(f"cannot load the bans: {done.error.strip()}")

    def tidy(self) -> None:
        """Empty the sets that the file creates and does not fill, and destroy those that it does not create.

        After the chains are loaded, since those loaded before may use them. A set that a rule of the router still uses
        cannot be destroyed; it is emptied.
        """
        text = self._system.read(FILE)
        created = set(re.findall(r"^create (\S+) ", text, re.MULTILINE))
        filled = set(re.findall(r"^swap \S+ (\S+)$", text, re.MULTILINE))
        for name in NAMES:
            if name not in filled and not (name in created and name in BANS.values()):
                self._system.run("ipset", "-quiet", "flush", name)
            if name not in created:
                self._system.run("ipset", "-quiet", "destroy", name)
