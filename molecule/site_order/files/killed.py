# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command and kill it, with all processes that it started, when a line of its output begins with a text.

The exit status is 0 if it was killed, and 1 if it ended before.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys


def main() -> int:
    """Run the command in the arguments after the text."""
    text, *command = sys.argv[1:]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        for line in process.stdout or ():
            print(line, end="")
            if line.startswith(text):
                os.killpg(process.pid, signal.SIGKILL)
                return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
