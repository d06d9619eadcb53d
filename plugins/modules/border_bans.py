#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module: addresses that may not connect to port 25 for a while, at a border router."""

from __future__ import annotations

DOCUMENTATION = r"""
module: border_bans
short_description: Ban addresses from port 25 at a border router, for a limited time
version_added: 0.1.0
description:
  - The emergency measure against a host that floods the campus with mail. Its new TCP connections to port 25 are
    dropped at the border, those to gateways and permitted servers too, until the time is over. Connections that are
    established go on.
  - A ban ends by itself, in the kernel. It is kept when M(campus.mailgate.iptables_chain) changes the rules, and over a
    reboot, with the time that remains.
  - A ban is in force also while the router otherwise only observes.
  - Without O(addresses) nothing is changed, and the bans are listed.
author:
  - mailgate contributors (@mailgate)
requirements:
  - a router that role P(campus.mailgate.border_firewall#role) was applied to
extends_documentation_fragment:
  - campus.mailgate.attributes
options:
  addresses:
    description: Addresses or networks to ban or to let go, IPv4 and IPv6 mixed.
    type: list
    elements: str
    default: []
  duration:
    description:
      - Time from now on, a number and V(s), V(m), V(h) or V(d), at most V(24d). It replaces the time of a ban in force,
        unless that ends at about the same moment.
    type: str
    default: 1h
  reason:
    description: Told in the list.
    type: str
    default: ''
  state:
    description: V(absent) lets the addresses go.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Stop a flood for two hours
  campus.mailgate.border_bans:
    addresses: [198.19.9.9, '2001:db8:bad::/48']
    duration: 2h
    reason: flood of double bounces

- name: Let one go before its time
  campus.mailgate.border_bans:
    addresses: [198.19.9.9]
    state: absent

- name: List
  campus.mailgate.border_bans:
  register: listed
"""

RETURN = r"""
bans:
  description: All bans in force, ordered by address.
  type: list
  elements: dict
  returned: always
  contains:
    address: {description: Address or network., type: str}
    reason: {description: Why., type: str}
    seconds_left: {description: 'Seconds until it ends; 0 for a ban that was put in by hand and has no end.', type: int}
    until: {description: 'When it ends, UTC in ISO 8601.', type: str}
    refused: {description: Attempts to connect that were dropped., type: int}
  sample:
    - {address: 198.19.9.9, reason: flood, seconds_left: 7200, until: '2026-04-01T12:00:00Z', refused: 1234}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._iptables import bans as ban_sets
from ..module_utils._iptables import model
from ..module_utils._iptables.bans_router import Bans
from ..module_utils._iptables.router import ApplyError

OPTIONS = {
    "addresses": {"type": "list", "elements": "str", "default": []},
    "duration": {"type": "str", "default": "1h"},
    "reason": {"type": "str", "default": ""},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    """Read the sets, add or remove, list."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    params = module.params
    problems = ban_sets.problems(params["addresses"], params["duration"])
    if problems:
        module.fail_json(msg="No ban was changed: " + "; ".join(problems), problems=problems)
    router = Bans(
        run=module.run_command,
        feed=lambda command, text: module.run_command(command, data=text),
        find=module.get_bin_path,
    )
    try:
        result = router.change(
            addresses=params["addresses"],
            duration=ban_sets.seconds(params["duration"]) or 0,
            reason=model.clean_comment(params["reason"]),
            absent=params["state"] == "absent",
            dry=module.check_mode,
        )
    except ApplyError as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
