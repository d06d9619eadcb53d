# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which remove.yml restores mail servers: those that relay for others come after all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2.nativetypes
import yaml

from ansible_collections.campus.mailgate.plugins.module_utils._routes.transition import ALL_ROUTES

ROOT = Path(__file__).resolve().parents[3]
PLAN = {
    "sendmail": {
        "gw1": {"relay": ["eng.example", "mech.eng.example"]},
        "hub": {"relay": ["mech.eng.example"]},
        "mech": {"relay": []},
        "bio": {"relay": []},
    }
}


def test_a_server_relays_until_no_other_one_has_routes_to_it():
    plays = yaml.safe_load((ROOT / "playbooks" / "remove.yml").read_text())
    (play,) = (play for play in plays if play["name"] == "Restore the mail servers")
    environment = jinja2.nativetypes.NativeEnvironment()
    environment.filters["dict2items"] = lambda each: [{"key": key, "value": value} for key, value in each.items()]
    relays = environment.from_string(play["vars"]["__relays"]).render(mailgate_plan=PLAN)
    steps = [
        {
            host
            for host in PLAN["sendmail"]
            if environment.from_string("{{ " + task["when"] + " }}").render(inventory_hostname=host, __relays=relays)
        }
        for task in play["tasks"]
        if task.get("ansible.builtin.include_tasks") == "tasks/remove_routes.yml"
    ]
    assert steps == [{"mech", "bio"}, {"gw1", "hub"}]
    assert play["any_errors_fatal"]


def test_relaying_servers_have_no_routes_to_each_other_when_the_first_one_is_restored():
    plays = yaml.safe_load((ROOT / "playbooks" / "remove.yml").read_text())
    (play,) = (play for play in plays if play["name"] == "Restore the mail servers")
    files = [task["ansible.builtin.include_tasks"] for task in play["tasks"] if "ansible.builtin.include_tasks" in task]
    assert files[:3] == ["tasks/remove_routes.yml", "tasks/withdraw_routes.yml", "tasks/remove_routes.yml"]
    (task,) = (task for task in _tasks("withdraw_routes.yml") if "ansible.builtin.include_role" in task)
    environment = jinja2.nativetypes.NativeEnvironment()
    direct = {"domain": "mech.example", "next_hop": "198.18.1.30", "host": "mech"}
    over = {"domain": "bio.example", "next_hop": "198.18.2.25", "host": "hub2", "distance": 2}
    plan = {"sendmail": {"hub": {"relay": ["mech.example"], "static": [direct, over]}}}
    left = environment.from_string(task["vars"]["__direct"]).render(mailgate_plan=plan, inventory_hostname="hub")
    assert left == [direct]
    for role in ("sendmail_routes", "postfix_routes"):
        assert task["vars"][f"{role}_static"] == "{{ __direct }}"
        assert task["vars"][f"{role}_distance"] == ALL_ROUTES


def _tasks(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((ROOT / "playbooks" / "tasks" / name).read_text())
    return found
