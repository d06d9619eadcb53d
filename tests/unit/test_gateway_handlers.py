# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No handler of the role gateway starts a gateway: site.yml prepares several hosts at once, and starts them in turn."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

HANDLERS = Path(__file__).resolve().parents[2] / "roles" / "gateway" / "handlers" / "main.yml"
#: The verbs of systemctl that start a unit that does not run.
STARTS = re.compile(r"systemctl (?:--\S+ )*(?:start|restart|reload-or-restart|enable --now)\b")
#: Units of which a start opens no port for mail: the store, and the journal of the system.
OTHERS = {"{{ __gateway_store_unit }}", "systemd-journald.service"}


def starting(handlers: list[dict[str, Any]]) -> list[str]:
    """Return the names of the handlers that start a unit that did not run."""
    found = []
    for handler in handlers:
        unit = handler.get("ansible.builtin.systemd_service", {})
        line = str(handler.get("ansible.builtin.command", "")) + str(handler.get("ansible.builtin.shell", ""))
        if (unit.get("state") in ("started", "restarted") and unit["name"] not in OTHERS) or STARTS.search(line):
            found.append(handler["name"])
    return found


def test_no_handler_starts_a_gateway() -> None:
    assert starting(yaml.safe_load(HANDLERS.read_text())) == []


def test_a_start_is_found() -> None:
    unit = {"name": "{{ __gateway_unit }}", "state": "restarted"}
    handlers = [
        {"name": "module", "ansible.builtin.systemd_service": unit},
        {"name": "command", "ansible.builtin.command": "systemctl reload-or-restart {{ __gateway_unit }}"},
        {"name": "try", "ansible.builtin.command": "systemctl try-restart {{ __gateway_unit }}"},
    ]
    assert starting(handlers) == ["module", "command"]
