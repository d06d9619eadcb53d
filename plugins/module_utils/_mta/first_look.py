# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a run asks of a mail server before its first change: mta_check, also without Ansible's part of a module."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._keep.applied import Applied, Run
from .._keep.command import run as run_command
from .._keep.text import read
from .._results import displayable
from .system import look
from .verdict import judge

OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")


def first_look(run: Run, host: str, said: str, gateway: bool, fingerprints: Mapping[str, str]) -> dict[str, Any]:
    """Return the result of the module mta_check, without `changed`.

    Args:
        run: How to run dpkg-query, systemctl and the commands that a role has recorded.
        host: The name of the host in the result.
        said: The mailgate_mta of the inventory, "" without one.
        gateway: Whether it is a gateway.
        fingerprints: For each role the fingerprint of what it is asked for.
    """
    seen = look(run)
    verdict = judge(seen, said, gateway)
    return {
        "kind": verdict.kind,
        "problems": [f"{host}: {problem}" for problem in verdict.problems],
        "found": seen.as_dict(),
        "reasons": {role: Applied(run, role).look(each) for role, each in fingerprints.items()},
        "os_release": next((text for path in OS_RELEASE if (text := read(Path(path)))), ""),
    }


def answer(arguments: Mapping[str, Any]) -> str:
    """Return the first look at this host in one line of JSON; for a program that has no AnsibleModule."""
    return json.dumps(displayable(first_look(run_command, **arguments)))
