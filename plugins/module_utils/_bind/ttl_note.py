# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The file on the DNS server that keeps the TTLs of MX records while they are lowered for a cut-over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .._replace import replace_all
from .._zone.file import ZoneError, spell
from .authority import ZoneRequest
from .change import PlannedZone


class TtlNote:
    """A JSON file with a list of zones: for each its name, its view and the TTL in seconds of each owner."""

    def __init__(self, path: str) -> None:
        """Use the file at `path`; it need not exist."""
        self.path = Path(path)

    @property
    def exists(self) -> bool:
        """Whether TTLs are noted."""
        return self.path.exists()

    def save(self, zones: Sequence[PlannedZone]) -> None:
        """Note the present TTLs of all names that have none noted; a later TTL of a noted name may be a lowered one.

        Raises:
            OSError: The file cannot be written.
            ZoneError: There is a note that cannot be read.
        """
        noted: dict[tuple[str, str], dict[str, int]] = {}
        path = self.path.resolve()
        before = path.read_bytes() if self.exists else None
        for request in self.requests() if before else ():
            ttls = {owner: ttl for owner, _mx, ttl in request.owners if ttl is not None}
            noted[request.name, request.view] = ttls
        for zone in zones:
            ttls = noted.setdefault((zone.zone.name, zone.zone.view), {})
            for owner, ttl in ttls_by_name(zone).items():
                ttls.setdefault(owner, ttl)
        values = [{"zone": zone, "view": view, "ttls": ttls} for (zone, view), ttls in noted.items()]
        content = (json.dumps(values, indent=4, sort_keys=True) + "\n").encode()
        if content != before:
            replace_all({path: before}, {path: content})

    def requests(self) -> list[ZoneRequest]:
        """Return a request for each noted zone that restores its TTLs and keeps its MX records.

        Raises:
            ZoneError: There is no note, or it cannot be read.
        """
        try:
            values = json.loads(self.path.read_text(encoding="utf-8"))
            return [
                ZoneRequest(zone["zone"], zone["view"], [(owner, None, ttl) for owner, ttl in zone["ttls"].items()])
                for zone in values
            ]
        except FileNotFoundError as error:
            raise ZoneError(
                f"no TTLs are noted in {self.path}, so there are none to restore. Lower them first"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ZoneError(f"cannot read the noted TTLs from {self.path}: {error!r}") from error

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


def ttls_by_name(zone: PlannedZone) -> dict[str, int]:
    """Return the TTLs in seconds that the planned names' MX records had, by name without the final dot."""
    return {spell(owner).rstrip("."): ttl for owner, ttl in zone.ttls.items()}
