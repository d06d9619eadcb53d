# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The command that a timer on the DNS server runs: `mailgate-outside.pyz SETTINGS.json` refreshes external zones."""

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
    """Run one of BIND's programs; return its exit status, standard output and standard error."""
    try:
        # A command of its own, not a module, has no run_command.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            command, input=data or b"", capture_output=True, check=False
        )
    except OSError as error:
        return 127, "", str(error)
    # The paths in the output may be in any encoding.
    output, errors = (text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr))
    return done.returncode, output, errors


def main(arguments: Sequence[str] | None = None) -> int:
    """Refresh the external zones; print what changed and what failed; return the exit status.

    Args:
        arguments: The path of a JSON file with the options of the module bind_mx_outside. By default those of the
            command line.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        values = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        zones = refresh(Bind(run, values["named_conf"]), request_from(values, check_only=False))
    except (ZoneError, OSError, ValueError, KeyError, IndexError) as error:
        sys.stderr.write(f"external zones not refreshed: {error if isinstance(error, ZoneError) else repr(error)}\n")
        return 1
    for zone in zones:
        if zone.waiting:
            sys.stdout.write(f"{zone.zone.name}: waiting until BIND serves internal serial {zone.internal_serial}\n")
        elif zone.changed:
            serials = f"external serial {zone.serial_after}, from internal serial {zone.internal_serial}"
            sys.stdout.write(f"{zone.zone.name}: {serials}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
