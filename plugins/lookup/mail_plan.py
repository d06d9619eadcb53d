# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of the mail plan, or of keys of it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mail_plan
short_description: The campus's mail plan for your own playbooks
version_added: 0.1.0
author: mailgate contributors (@mailgate)
description:
  - Computes and proves the plan from the whole inventory, as the module P(campus.mailgate.mail_plan#module) does, and
    returns it, or the keys that are named.
  - Fails, as the module does, with all problems of the inventory.
options:
  _terms:
    description:
      - Keys of the plan, such as V(routes) or V(gateways). Without any, the whole plan is returned.
    type: list
    elements: str
  today:
    description:
      - The date at which permits must be valid, such as V(2027-03-31). The default is the date of the controller.
    type: str
notes:
  - Each call computes the plan again. To use it often, register the result of the module.
seealso:
  - plugin: campus.mailgate.mail_plan
    plugin_type: module
  - plugin: campus.mailgate.mail_routes
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the route of a domain
  ansible.builtin.debug:
    msg: "{{ lookup('campus.mailgate.mail_plan', 'routes') | campus.mailgate.mail_route('mech.eng.univ.example') }}"

- name: Use several keys of one plan
  ansible.builtin.debug:
    msg: "{{ plan.gateways | length }} gateways, {{ plan.routes | length }} domains"
  vars:
    plan: "{{ lookup('campus.mailgate.mail_plan') }}"
"""

RETURN = r"""
_value:
  description: The whole plan, or the value of each key that was named; see the return values of the module.
  type: list
  elements: raw
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ..plugin_utils._inventory.hostvars import AnsibleInventory
from ..plugin_utils._pipeline import as_result, plan_inventory


class LookupModule(LookupBase):
    """The lookup campus.mailgate.mail_plan."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        """Return the plan, or the values of the keys in ``terms``."""
        self.set_options(var_options=variables, direct=kwargs)
        if not variables or "hostvars" not in variables:
            raise AnsibleError("the lookup mail_plan needs hostvars: use it in a task")
        try:
            plan = as_result(plan_inventory(AnsibleInventory(variables), self.get_option("today")))
        except ValueError as refused:
            raise AnsibleError(str(refused)) from None
        unknown = [term for term in terms if term not in plan]
        if unknown:
            keys = f"key{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}"
            raise AnsibleError(f"unknown plan {keys}; valid keys are {', '.join(plan)}")
        return [plan[term] for term in terms] if terms else [plan]
