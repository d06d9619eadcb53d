# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""What the modules for MX records share: their options, and BIND's programs as a module runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .server import Run

MX = {"preference": {"type": "int", "required": True}, "exchange": {"type": "str", "required": True}}


def zones_argument(owner: Mapping[str, Any], zone: Mapping[str, Any], *, mx_required: bool) -> dict[str, Any]:
    """Return the option `zones`, a list of zones with owners with MX records.

    Args:
        owner: Further suboptions of an owner.
        zone: Further suboptions of a zone.
        mx_required: Whether each owner must have MX records.
    """
    mx = {"type": "list", "elements": "dict", "required": mx_required, "options": MX}
    owners = {"owner": {"type": "str", "required": True}, "mx": mx, **owner}
    options = {
        "zone": {"type": "str", "required": True},
        "owners": {"type": "list", "elements": "dict", "required": True, "options": owners},
        **zone,
    }
    return {"type": "list", "elements": "dict", "required": True, "options": options}


def runner(module: Any) -> Run:
    """Return a function that runs programs through `module`, an AnsibleModule, with bytes on standard input."""

    def run(command: Sequence[str], data: bytes | None) -> tuple[int, str, str]:
        """Run a command; return its exit status, standard output and standard error."""
        result: tuple[int, str, str] = module.run_command(list(command), data=data, binary_data=True)
        return result

    return run
