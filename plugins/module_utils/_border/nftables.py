# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The managed table of nftables, and the recorded bans in it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from .._iptables import bans as ban_sets
from .._iptables import nft
from .._iptables.bans import Ban
from .sets import live_bans, recorded_bans
from .system import LoadError, System

RECORD = "nft.json"
_MISSING = "No such file or directory"


def bans_to_load(live: Mapping[str, Ban], recorded: Mapping[str, Ban], boot: bool) -> list[Ban]:
    """Return the bans to load with the table. Pure.

    At boot, a live ban with an end comes from rules that another program saved at some time, so only the record counts.
    A ban that another one contains is omitted, as the set cannot hold both.
    """
    bans = {address: ban for address, ban in live.items() if not (boot and ban.left)}
    bans = {**recorded, **bans}
    return [ban for ban in bans.values() if len(ban_sets.covering(bans, ban.address)) == 1 or "/" not in ban.address]


class NftTable:
    """The table `inet mailgate`."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._record = system.runtime / RECORD

    def wanted(self) -> bool:
        """Return whether this router uses the table."""
        return (self._system.directory / nft.FILE).exists()

    def listing(self) -> str:
        """Return the table as `nft --json` prints it, "" if there is none. Raises LoadError."""
        done = self._system.run("nft", "--json", "list", "table", *nft.TABLE.split())
        if done.status == 0:
            return done.out
        if _MISSING in done.error or done.status == 127:
            return ""
        raise LoadError(f"nft: cannot read the table {nft.TABLE}: {' '.join(done.error.split())}")

    def bans(self) -> dict[str, Ban]:
        """Return the bans in the table, by address; {} if there is none. Raises LoadError."""
        listing = self.listing()
        return nft.parse_bans(listing) if listing and nft.is_managed(listing) else {}

    def test(self) -> None:
        """Test the file without loading it. Raises LoadError."""
        self._feed(self._system.read(nft.FILE), "--check")

    def load(self) -> None:
        """Replace the table, with its bans, in one transaction. Raises LoadError, and then nothing was changed."""
        listing = self.listing()
        live = nft.parse_bans(listing) if listing else live_bans(self._system)
        recorded = {ban.address: ban for ban in recorded_bans(self._system.bans(), int(time.time()))}
        bans = bans_to_load(live, recorded, boot=bool(listing) and not self._record.exists())
        text = self._system.read(nft.FILE)
        try:
            self._feed(text + nft.add_bans(bans))
        except LoadError as error:
            self._feed(text)
            self._system.say(f"cannot load the bans: {error}")
        self._system.runtime.mkdir(parents=True, exist_ok=True)
        self._record.write_text(nft.state(self.listing()), encoding="utf-8", errors="surrogateescape")

    def load_possible(self) -> bool:
        """Load the table, report an error, and return whether it is loaded."""
        try:
            self.load()
        except LoadError as error:
            self._system.say(f"{error}; {self.present()}")
            return False
        return True

    def remove(self) -> None:
        """Remove the table if it is managed. Raises LoadError."""
        listing = self.listing()
        if listing and nft.is_managed(listing):
            self._feed("")
        self._record.unlink(missing_ok=True)

    def check(self) -> list[str]:
        """Return what is missing or changed, a line each; [] if everything is in place. Raises LoadError."""
        listing = self.listing()
        if not listing:
            return [f"nft: the table {nft.TABLE} is missing"]
        try:
            expected = self._record.read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return [f"nft: the table {nft.TABLE} was not loaded by mailgate-border since the last boot"]
        if nft.state(listing) != expected:
            return [f"nft: the table {nft.TABLE} was changed"]
        return []

    def stale(self) -> list[str]:
        """Return a line if the table is loaded though the backend is another one: somebody loaded saved rules."""
        listing = self.listing()
        return [f"nft: the table {nft.TABLE} is loaded again"] if listing and nft.is_managed(listing) else []

    def present(self) -> str:
        """Return a sentence on what the kernel has of the table now."""
        try:
            listing = self.listing()
        except LoadError as error:
            return f"nft: NOT LOADED, and whether older rules are in place is unknown: {error}"
        if listing and '"jump"' in listing:
            return "nft: NOT LOADED, the rules that were there before are still in place"
        return "nft: NOT LOADED, port 25 is open"

    def _feed(self, text: str, *options: str) -> None:
        """Replace the table by this text. Raises LoadError."""
        done = self._system.run("nft", *options, "-f", "-", text=nft.REPLACE + text)
        if done.status:
            raise LoadError(f"nft: {' '.join(done.error.split())}")
