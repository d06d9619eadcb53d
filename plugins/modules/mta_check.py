#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module mta_check."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mta_check
short_description: Find which MTA a host runs, and compare it with the inventory
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Finds the mail transfer agent (MTA) of a host. It looks at the programs that listen on port 25, at other daemons of
    MTAs, at the installed packages, at the program behind C(/usr/sbin/sendmail), and at what starts with the system.
  - A host that runs or has installed another MTA than the inventory says is a problem in the result, because a package
    manager removes one MTA to install another. The module itself fails only if the host cannot be examined.
  - Reads the operating system too, as M(campus.mailgate.host_check) does. One that the roles do not support is the only
    problem then.
  - With O(roles), compares the host with what M(campus.mailgate.role_applied) has recorded.
  - Changes nothing, and returns the same in check mode. Runs no program but C(dpkg-query), C(systemctl show), and with
    O(roles) what M(campus.mailgate.role_applied) has recorded as commands. Needs root to see which program has port 25.
options:
  host:
    description: The name of the host in the result.
    type: str
    required: true
  said:
    description: The kind that the inventory says, its C(mailgate_mta). Without it, the kind is what has port 25.
    type: str
    choices: ['', sendmail, postfix]
    default: ''
  gateway:
    description: Whether the host is a gateway. Its queue is a sendmail for any value of O(said).
    type: bool
    default: false
  roles:
    description: Roles of this collection for which to look whether their tasks are necessary, before the kind is known.
    type: list
    elements: str
    choices: [sendmail_routes, postfix_routes, clamav, gateway, bind_mx, border_firewall]
    default: []
    version_added: 0.3.0
  fingerprints:
    description: The action plugin sets it, for each of O(roles).
    type: dict
    default: {}
    version_added: 0.3.0
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
  action:
    description: Names the system, and computes the fingerprints, on the controller.
    support: full
seealso:
  - module: campus.mailgate.mail_plan
  - module: campus.mailgate.role_applied
"""

EXAMPLES = r"""
- name: Find the MTA
  campus.mailgate.mta_check:
    host: "{{ inventory_hostname }}"
    said: "{{ mailgate_mta | default('') }}"
  register: mailgate_mta_found
"""

RETURN = r"""
kind:
  description: V(sendmail) or V(postfix); empty if neither is said nor has port 25.
  returned: success
  type: str
problems:
  description: Why the host must not be changed, each with what was seen and how to fix it. Empty if it may be.
  returned: success
  type: list
  elements: str
  sample:
    - "mail.eng.univ.example: mailgate_mta is sendmail, but postfix is on this host: /usr/lib/postfix/sbin/master runs
       on 0.0.0.0:25 (process 612); package postfix 3.7.11-0+deb12u1 is installed. To install sendmail, the package
       manager would remove it. Set mailgate_mta to postfix, or to none if others maintain this server; or stop and
       remove it yourself"
reasons:
  description: For each of O(roles), why its tasks are necessary. Empty if they would change nothing.
  returned: success
  type: dict
  sample: {"sendmail_routes": [], "postfix_routes": ["nothing was applied yet"]}
os_release:
  description: The text of os-release(5).
  returned: success
  type: str
found:
  description: What was seen.
  returned: success
  type: dict
  contains:
    processes:
      description: Daemons of MTAs, and all programs that listen on port 25, each with its kind.
      type: list
      elements: dict
      contains:
        kind:
          description: The kind of MTA, for example V(exim); V(unknown) for another program on port 25.
          type: str
        pid:
          description: The process; 0 if only root can see it.
          type: int
        path:
          description: The path of its program.
          type: str
        listens:
          description: The addresses and ports that it listens on.
          type: list
          elements: str
    packages:
      description: Installed packages that provide C(mail-transport-agent).
      type: list
      elements: dict
      contains:
        kind:
          description: The kind of MTA; the name of the package if it is not a known one.
          type: str
        name:
          description: The name of the package.
          type: str
        version:
          description: Its version.
          type: str
        send_only:
          description: Whether it only sends mail of the host itself.
          type: bool
    units:
      description: Units and init scripts of MTAs that start with the system.
      type: list
      elements: dict
      contains:
        kind:
          description: The kind of MTA.
          type: str
        name:
          description: The name of the unit.
          type: str
    command:
      description: The program that C(/usr/sbin/sendmail) leads to; empty without one.
      type: str
"""

from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._mta.first_look import first_look
from ..module_utils._results import text_only

ARGUMENTS = {
    "host": {"type": "str", "required": True},
    "said": {"type": "str", "choices": ["", "sendmail", "postfix"], "default": ""},
    "gateway": {"type": "bool", "default": False},
    "roles": {
        "type": "list",
        "elements": "str",
        "choices": ["sendmail_routes", "postfix_routes", "clamav", "gateway", "bind_mx", "border_firewall"],
        "default": [],
    },
    "fingerprints": {"type": "dict", "default": {}},
}


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=ARGUMENTS, supports_check_mode=True)

    def run(command: Sequence[str]) -> tuple[int, str, str]:
        result: tuple[int, str, str] = module.run_command(list(command))
        return result

    given = module.params
    found = first_look(run, given["host"], given["said"], given["gateway"], given["fingerprints"])
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
