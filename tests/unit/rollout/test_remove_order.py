# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which remove.yml restores mail servers: those that relay for others come after all others."""

from __future__ import annotations

from pathlib import Path

import jinja2.nativetypes
import yaml

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
