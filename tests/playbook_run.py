# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of playbooks on the controller, without access to hosts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_playbook(directory: Path, *arguments: object) -> tuple[int, str]:
    """Run ansible-playbook in `directory` without access to hosts; return its status and output."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), *map(str, arguments)]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_SSH_EXECUTABLE": str(Path(__file__).with_name("unreachable")),
    }
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr
