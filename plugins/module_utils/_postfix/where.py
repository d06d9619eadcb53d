# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the line of a domain in an admin's configuration, for messages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .._keep.text import read, shown
from . import known, main_cf, tables


class Where:
    """Finds the line of a domain, for messages."""

    def __init__(self, main: str, config: Path, values: Mapping[str, str]) -> None:
        """Take the content of main.cf, its directory, and the expanded values of its parameters."""
        self._main, self._config, self._values = main, config, values

    def __call__(self, domain: str, place: str) -> str:
        """Return the line of a domain in a table, or in the list of a parameter."""
        items = [place] if ":" in place else known.items(self._values.get(place, ""))
        if place == "virtual_alias_domains":
            items += known.items(self._values.get("virtual_alias_maps", ""))
        for item in items:
            source = known.source_of(item)
            for number, line in enumerate((read(Path(source)) or "").split("\n") if source else [], 1):
                key = line.split(None, 1)[0].lower() if line.strip() else ""
                if key.removeprefix("@") == tables.key(domain):
                    return f"{source}, line {number}: {shown(line.strip())!r}"
        defined = [d for d in main_cf.definitions(self._main) if d.name == place]
        if defined:
            return f"{self._config}/main.cf, line {defined[-1].line}: {shown(defined[-1].text)!r}"
        return f"{place}"
