#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module border_check."""

from __future__ import annotations

DOCUMENTATION = r"""
module: border_check
short_description: Determine whether a router's own rules let mail in
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Reads the rules of iptables and nft on a router, and determines whether they let new TCP connections to port 25 of
    the gateways pass that arrive from outside. Sends nothing, changes nothing, and returns the same in check mode.
  - A gateway is V(blocked) if the rules block every sender, and V(accepted) if they let a sender pass whose address no
    rule names. In all other cases, and where a rule is not understood, it is V(unknown). A rate limit is such a rule.
  - The tables V(raw), V(mangle), V(nat), V(filter) and V(security), and all nft tables, are evaluated.
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
options:
  outside_interfaces:
    description: The interfaces to the internet. A final V(+) matches any suffix.
    type: list
    elements: str
    required: true
  gateways:
    description: The addresses of the mail gateways, IPv4 and IPv6.
    type: list
    elements: str
    required: true
seealso:
  - module: campus.mailgate.mail_check
"""

EXAMPLES = r"""
- name: Determine whether mail can reach the gateways
  campus.mailgate.border_check:
    outside_interfaces: [outside0]
    gateways: [198.18.0.25, 198.18.0.26, '2001:db8:18::25']
  register: border
  failed_when: border.problems | length > 0
"""

RETURN = r"""
ways:
  description: The result for each interface and gateway.
  returned: success
  type: list
  elements: dict
  contains:
    interface:
      description: The interface outside.
      type: str
    gateway:
      description: The address of the gateway.
      type: str
    fate:
      description: V(accepted), V(blocked) or V(unknown).
      type: str
    rules:
      description: The rule or policy that blocks it, or the rules on which it depends.
      type: list
      elements: str
problems:
  description: A text for each gateway that is blocked.
  returned: success
  type: list
  elements: str
notes:
  description: A text for each gateway whose result is unknown.
  returned: success
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._reach.router import Rules
from ..module_utils._results import text_only

ARGUMENTS = {
    "outside_interfaces": {"type": "list", "elements": "str", "required": True},
    "gateways": {"type": "list", "elements": "str", "required": True},
}


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=ARGUMENTS, supports_check_mode=True)
    interfaces = [path.name for path in Path("/sys/class/net").iterdir()]
    rules = Rules(module.run_command, module.get_bin_path, interfaces)
    ways = rules.ways(module.params["outside_interfaces"], module.params["gateways"])
    module.exit_json(
        changed=False,
        ways=[
            {"interface": way.interface, "gateway": way.gateway, "fate": way.verdict.fate, "rules": way.verdict.rules}
            for way in ways
        ],
        problems=[way.problem for way in ways if way.problem],
        notes=[way.note for way in ways if way.note],
    )


if __name__ == "__main__":
    main()
