#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module mail_left."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_left
short_description: Find what a host has left of functions that it lost
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Looks for files that the roles of this collection installed on a host that no longer has their function, such as the
    service of a host that is no gateway any more. Changes nothing, and returns the same in check mode.
options:
  host:
    description: The name of the host in the result.
    type: str
    required: true
  functions:
    description: The functions that the host has; V(outside) for a DNS server with external zones.
    type: list
    elements: str
    choices: [gateways, servers, dns, borders, outside]
    default: []
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
seealso:
  - module: campus.mailgate.mail_plan
"""

EXAMPLES = r"""
- name: Find what the plan no longer has
  campus.mailgate.mail_left:
    host: "{{ inventory_hostname }}"
    functions: "{{ mailgate_plan.hosts[inventory_hostname].kinds }}"
"""

RETURN = r"""
left:
  description: What is left, each with the way to remove it.
  returned: success
  type: list
  elements: str
  sample: ["gw3.univ.example: the service of a gateway. To remove it, ..."]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._probe.left import left
from ..module_utils._results import text_only

ARGUMENTS = {
    "host": {"type": "str", "required": True},
    "functions": {
        "type": "list",
        "elements": "str",
        "choices": ["gateways", "servers", "dns", "borders", "outside"],
        "default": [],
    },
}


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=ARGUMENTS, supports_check_mode=True)
    found = left(module.params["functions"])
    lines = [f"{module.params['host']}: {trace.what}. To remove it, {trace.remove}" for trace in found]
    module.exit_json(changed=False, left=lines)


if __name__ == "__main__":
    main()
