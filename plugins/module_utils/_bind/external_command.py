# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The command that a timer on the DNS server runs: `_outside_command SETTINGS.json` refreshes the outside copies."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .._zone.file import ZoneError
from .external import refresh, request_from
from .server import Bind


def run(command: Sequence[str], data: bytes | None) -> tuple[int, str, str]:
    """Runs one of BIND's programs."""
    try:
        done = subprocess.run(command, input=data or b"", capture_output=True, check=False)
    except OSError as error:
        return 127, "", str(error)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def main(arguments: Sequence[str]) -> int:
    """Refreshes; says what changed, and what is wrong. Gives the exit status."""
    try:
        values = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        copies = refresh(Bind(run, values["named_conf"]), request_from(values, check_only=False))
    except (ZoneError, OSError, ValueError, KeyError, IndexError) as error:
        sys.stderr.write(f"outside copies not refreshed: {error if isinstance(error, ZoneError) else repr(error)}\n")
        return 1
    for copy in copies:
        if copy.waiting:
            sys.stdout.write(f"{copy.zone.name}: waits until the inside serves serial {copy.inside_serial}\n")
        elif copy.changed:
            serials = f"outside serial {copy.serial_after}, from inside serial {copy.inside_serial}"
            sys.stdout.write(f"{copy.zone.name}: {serials}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
