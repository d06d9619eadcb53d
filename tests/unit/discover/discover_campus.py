# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories as Ansible reads them, for the tests of discover."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager

from ansible_collections.campus.mailgate.plugins.plugin_utils._findings import HostFacts
from ansible_collections.campus.mailgate.plugins.plugin_utils._plan import make_plan

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "inventories" / "example"
DEMO = ROOT / "inventories" / "demo"
TODAY = datetime.date(2026, 11, 24)


@cache
def load(directory: Path) -> Mapping[str, HostFacts]:
    """Every host of an inventory, with its groups and all that is set for it."""
    loader = DataLoader()
    inventory = InventoryManager(loader, sources=[str(directory)])
    variables = VariableManager(loader=loader, inventory=inventory)
    facts = {}
    for host in inventory.get_hosts():
        own = variables.get_vars(host=host, include_hostvars=False)
        known = {name: own[name] for name in own if name.startswith("mailgate_") or name == "ansible_host"}
        facts[host.name] = HostFacts(host.name, own["group_names"], known)
    return facts


def plan(directory: Path) -> dict[str, Any]:
    return make_plan(list(load(directory).values()), TODAY)
