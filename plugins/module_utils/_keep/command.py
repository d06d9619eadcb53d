# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command without AnsibleModule."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

NOT_FOUND = 127
"""The exit status of a command that cannot be started, as in a shell."""


def run(command: Sequence[str], stdin: str = "") -> tuple[int, str, str]:
    """Return exit status, standard output and standard error; bytes that are not UTF-8 as `text.decode` does."""
    data = stdin.encode("utf-8", "surrogateescape")
    try:
        # AnsibleModule is not loaded where this is called.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            list(command), input=data, capture_output=True, check=False
        )
    except OSError as error:
        return NOT_FOUND, "", str(error)
    return done.returncode, done.stdout.decode(errors="surrogateescape"), done.stderr.decode(errors="surrogateescape")
