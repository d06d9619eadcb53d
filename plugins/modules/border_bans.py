#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module border_bans."""

from __future__ import annotations

DOCUMENTATION = r"""
module: border_bans
short_description: Ban addresses from port 25 temporarily at a border router
version_added: 0.1.0
description:
  - An emergency measure against hosts that flood the campus with mail. The router drops their new TCP connections to
    port 25, also to gateways and permitted servers, until the ban expires. Established connections continue.
  - The kernel ends a ban. A ban survives a change by M(campus.mailgate.iptables_chain) and, with its remaining time, a
    reboot.
  - Bans also apply in observe mode.
  - Without O(addresses) the module only lists the bans.
author:
  - mailgate contributors (@mailgate)
requirements:
  - a router with the role P(campus.mailgate.border_firewall#role) applied
extends_documentation_fragment:
  - campus.mailgate.attributes
options:
  addresses:
    description: Addresses or networks to ban or unban, IPv4 and IPv6.
    type: list
    elements: str
    default: []
  duration:
    description:
      - The time from now, a number and V(s), V(m), V(h) or V(d), at most V(24d). It replaces the remaining time of an
        existing ban, unless both end at about the same time.
    type: str
    default: 1h
  reason:
    description: The reason, for the list of bans.
    type: str
    default: ''
  state:
    description: V(absent) removes the bans.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Ban two sources for two hours
  campus.mailgate.border_bans:
    addresses: [198.19.9.9, '2001:db8:bad::/48']
    duration: 2h
    reason: flood of double bounces

- name: Remove a ban early
  campus.mailgate.border_bans:
    addresses: [198.19.9.9]
    state: absent

- name: List all bans
  campus.mailgate.border_bans:
  register: listed
"""

RETURN = r"""
bans:
  description: All bans, ordered by address.
  type: list
  elements: dict
  returned: always
  contains:
    address: {description: The address or network., type: str}
    reason: {description: The reason., type: str}
    seconds_left: {description: 'The remaining seconds; 0 for a manually added ban without end.', type: int}
    until: {description: 'The end, UTC in ISO 8601.', type: str}
    refused: {description: The number of dropped connection attempts., type: int}
  sample:
    - {address: 198.19.9.9, reason: flood, seconds_left: 7200, until: '2026-04-01T12:00:00Z', refused: 1234}
"""


from ansible.module_utils.basic import AnsibleModule

from ..module_utils._iptables import bans as ban_sets
from ..module_utils._iptables import model
from ..module_utils._iptables.bans_router import Bans
from ..module_utils._iptables.router import ApplyError
from ..module_utils._results import text_only

OPTIONS = {
    "addresses": {"type": "list", "elements": "str", "default": []},
    "duration": {"type": "str", "default": "1h"},
    "reason": {"type": "str", "default": ""},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=OPTIONS, supports_check_mode=True)
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
