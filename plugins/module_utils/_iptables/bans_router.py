# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The bans on a router: the kernel's sets, of ipset or of nftables, and the file that restores them at boot."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from .._replace import make_directory
from . import bans as ban_sets
from . import nft
from .bans import Ban
from .kernel import PROGRAMS, ApplyError, Find, Kernel, Run, format_error
from .model import BANS, CONNECTING, INBOUND, short
from .router import DIRECTORY

FILE = Path("/var/lib/mailgate-border/bans")
APPLY_FIRST = "Apply the role campus.mailgate.border_firewall first (playbooks/site.yml)."

Feed = Callable[[Sequence[str], str], "tuple[int, str, str]"]


class Bans:
    """The bans on this router."""

    def __init__(self, run: Run, feed: Feed, find: Find, file: Path = FILE, directory: Path = DIRECTORY) -> None:
        """Use these functions: `run` runs a command, `feed` one with standard input, `find` finds a program."""
        self._run = run
        self._feed = feed
        self._find = find
        self._file = file
        self._native = (directory / nft.FILE).exists()

    def change(self, addresses: Sequence[str], duration: int, reason: str, absent: bool, dry: bool) -> dict[str, Any]:
        """Ban addresses for `duration` seconds, or with `absent` unban them; `dry` only predicts.

        Returns:
            `changed`, `bans`, `diff` and `warnings`.
        """
        try:
            return self._change(addresses, duration, reason, absent=absent, dry=dry)
        except ApplyError:
            if not self._native:
                raise
        # Once more: nft deletes nothing of a list if the kernel has ended one of the bans since they were read.
        return self._change(addresses, duration, reason, absent=absent, dry=dry)

    def _change(
        self, addresses: Sequence[str], duration: int, reason: str, *, absent: bool, dry: bool
    ) -> dict[str, Any]:
        """Change the bans as `change` does, at the first attempt."""
        before = self._live()
        now = int(time.time())
        after = dict(before)
        new: dict[str, Ban] = {}
        warnings: list[str] = []
        if absent:
            for address in dict.fromkeys(map(short, addresses)):
                after.pop(address, None)
                warnings += [f"{address} is still banned by {net}" for net in ban_sets.covering(after, address)]
        else:
            self._require_rules(addresses)
            new = ban_sets.added(before, addresses, duration, reason)
            after.update(new)
            if self._native:
                warnings += ban_sets.remove_nested(after, new)
                new = {address: ban for address, ban in new.items() if address in after}
        # ipset replaces an entry, nft does not.
        removed = [
            each for address, each in before.items() if address not in after or (self._native and address in new)
        ]
        commands = self._commands(removed, new.values())
        timed = {address for address, ban in after.items() if ban.left}
        stale = bool(addresses) and set(ban_sets.recorded(self._text(), now)) != timed
        if not dry:
            if commands:
                self._load(commands)
            if commands or stale:
                self._write(ban_sets.record(after.values(), now))
        bans = ban_sets.report(after.values(), now)
        diff = {"before_header": "bans", "after_header": "bans"}
        diff |= {"before": _lines(ban_sets.report(before.values(), now)), "after": _lines(bans)}
        return {"changed": bool(commands or stale), "bans": bans, "diff": diff, "warnings": warnings}

    def _live(self) -> dict[str, Ban]:
        """Return the bans in the kernel."""
        bans: dict[str, Ban] = {}
        if self._native:
            listing = Kernel(self._run, self._find).nft_table()
            if not listing:
                raise ApplyError(f"The table {nft.TABLE} is missing on this router. {APPLY_FIRST}")
            return nft.parse_bans(listing)
        program = self._find("ipset")
        if not program:
            raise ApplyError(f"ipset is not installed on this router. {APPLY_FIRST}")
        for name in BANS.values():
            status, out, error = self._run([program, "save", name])
            if status:
                raise ApplyError(f"Cannot read the set {name} on this router: {format_error(error)}. {APPLY_FIRST}")
            bans.update(ban_sets.parse(out))
        return bans

    def _require_rules(self, addresses: Sequence[str]) -> None:
        """Raise ApplyError if no rule uses the sets, as a ban would have no effect."""
        for family in (
            () if self._native else sorted({f"ipv{ipaddress.ip_network(address).version}" for address in addresses})
        ):
            rule = [*CONNECTING.split(), "-m", "set", "--match-set", BANS[family], "src", "-j", "DROP"]
            status, _out, _error = self._run([PROGRAMS[family], "-w", "60", "-C", INBOUND, *rule])
            if status:
                raise ApplyError(f"The port-25 rules ({family}) on this router predate ban support. {APPLY_FIRST}")

    def _commands(self, removed: Iterable[Ban], new: Iterable[Ban]) -> str:
        """Return input for the program that changes the sets; a changed ban is both removed and new."""
        if self._native:
            return nft.delete_bans(removed) + nft.add_bans(new)
        lines = [*(f"del {ban.set_name} {ban.address}" for ban in removed), *(ban.add() for ban in new)]
        return "".join(f"{line}\n" for line in lines)

    def _load(self, text: str) -> None:
        """Load commands into nft or ipset."""
        program = ["nft", "--file", "-"] if self._native else ["ipset", "-exist", "restore"]
        status, _out, error = self._feed(program, text)
        if status:
            raise ApplyError(f"Cannot change the bans: {format_error(error)}")

    def _text(self) -> str:
        """Return the content of the file, "" without one."""
        try:
            return self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def _write(self, text: str) -> None:
        """Replace the file atomically and durably."""
        make_directory(self._file.parent)
        temporary = self._file.with_name(f".{self._file.name}")
        with temporary.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._file)


def _lines(bans: list[dict[str, str | int]]) -> str:
    """Return the bans as text, for a diff."""
    return "".join(
        f"{ban['address']} until {ban['until'] or 'removed manually'}  {ban['reason']}".rstrip() + "\n" for ban in bans
    )
