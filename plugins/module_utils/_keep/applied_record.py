# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record what a role has applied to a host, for the look of applied.py."""

from __future__ import annotations

import json
from dataclasses import asdict

from .._replace import replace_all
from .applied import FORMAT, Applied, State, Watched, files
from .kept import make_private, remove_empty


class Recorder(Applied):
    """The record of one role on this host, to be written."""

    def record(self, fingerprint: str, watched: Watched) -> bool:
        """Record the present state; return whether the record changes.

        What does not work now, such as a command that fails, is no reason against the record, but for a further run.

        Raises:
            OSError: The store cannot be written.
        """
        state = State(fingerprint, files(watched.paths), self.units(watched.units))
        data = {"format": FORMAT, "state": asdict(state), "watched": asdict(watched)}
        text = (json.dumps(data, indent=1) + "\n").encode()
        before = self._file.read_bytes() if self._file.exists() else None
        if before == text:
            return False
        make_private(self._store)
        self._file.parent.mkdir(mode=0o700, exist_ok=True)
        replace_all({self._file: before}, {self._file: text}, modes={self._file: 0o600})
        return True

    def forget(self) -> bool:
        """Remove the record; return whether there was one."""
        if not self._file.exists():
            return False
        self._file.unlink()
        if not any(self._file.parent.iterdir()):
            self._file.parent.rmdir()
        remove_empty(self._store)
        return True
