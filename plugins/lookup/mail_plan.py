# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan, or a part of it, inside any template."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mail_plan
short_description: The campus's mail plan for your own playbooks
version_added: 0.1.0
author: mailgate contributors (@mailgate)
description:
  - Computes and proves the plan from the whole inventory, as the module P(campus.mailgate.mail_plan#module) does, and
    gives it, or the parts that are named.
  - Fails, as the module does, with all problems of the inventory.
options:
  _terms:
    description:
      - Parts of the plan, as V(routes) or V(gateways). Without any, the whole plan.
    type: list
    elements: str
  today:
    description:
      - The day, as V(2027-03-31), at which permits must not have expired. The default is the controller's date.
    type: str
notes:
  - Each use computes the plan anew. To use it often, register the module's result.
seealso:
  - plugin: campus.mailgate.mail_plan
    plugin_type: module
  - plugin: campus.mailgate.mail_routes
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Tell where a domain's mail goes
  ansible.builtin.debug:
    msg: "{{ lookup('campus.mailgate.mail_plan', 'routes') | campus.mailgate.mail_route('mech.eng.univ.example') }}"

- name: Use several parts of one plan
  ansible.builtin.debug:
    msg: "{{ plan.gateways | length }} gateways, {{ plan.routes | length }} domains"
  vars:
    plan: "{{ lookup('campus.mailgate.mail_plan') }}"
"""

RETURN = r"""
_value:
  description: The whole plan, or each part that was named. They are described as the module's return values.
  type: list
  elements: raw
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ..plugin_utils._inventory.hostvars import plan_inventory
from ..plugin_utils._plan.plan import as_result


class LookupModule(LookupBase):
    """Computes the plan once a call and hands out its parts."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        """Return the plan, or the parts that ``terms`` name."""
        self.set_options(var_options=variables, direct=kwargs)
        if not variables or "hostvars" not in variables:
            raise AnsibleError("the lookup mail_plan needs the inventory's hosts: use it in a task")
        try:
            plan = as_result(plan_inventory(variables["hostvars"], self.get_option("today")))
        except ValueError as refused:
            raise AnsibleError(str(refused)) from None
        unknown = [term for term in terms if term not in plan]
        if unknown:
            raise AnsibleError(f"the plan has no part {', '.join(unknown)}. It has {', '.join(plan)}")
        return [plan[term] for term in terms] if terms else [plan]
