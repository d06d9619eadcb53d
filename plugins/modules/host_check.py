#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of host_check; the action plugin of the same name implements it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_check
short_description: Check that the roles support a host's operating system
version_added: 0.3.0
author: mailgate contributors (@mailgate)
description:
  - Reads C(/etc/os-release) of the host, and fails if the roles of this collection do not support its system. The
    supported systems are Debian 12 and 13.
  - Sets the fact C(mailgate_system), with which the roles choose names and paths of packages, units and files. It is
    read in place of the facts of C(setup), which the roles do not need.
  - The host needs no Python for it.
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
  action:
    description: Runs on the controller and reads a file of the host.
    support: full
options:
  fail:
    description:
      - Whether an unsupported system, or a host that cannot be reached, is an error.
      - Without it, the result has RV(problem), so that a playbook can report all hosts at once. A host that cannot be
        reached has none, and no fact.
    type: bool
    default: true
  roles:
    description:
      - Roles of this collection for which to look whether their tasks are necessary, as M(campus.mailgate.role_applied)
        does. The host needs Python for it.
    type: list
    elements: str
    choices: [bind_mx, border_firewall]
    default: []
"""

EXAMPLES = r"""
- name: Check the system
  campus.mailgate.host_check:
  when: ansible_facts['mailgate_system'] is not defined
"""

RETURN = r"""
problem:
  description: Why the host cannot be managed; empty if it can, or if it is not known.
  type: str
  returned: success
reasons:
  description: For each of O(roles), why its tasks are necessary. Empty if they would change nothing.
  type: dict
  returned: success
  sample: {"bind_mx": ["nothing was applied yet"]}
ansible_facts:
  description: The fact C(mailgate_system).
  type: dict
  returned: when the host can be reached
  contains:
    mailgate_system:
      description: The operating system of the host.
      type: dict
      returned: success
      contains:
        id:
          description: Its C(ID) in os-release(5).
          type: str
          sample: debian
        version:
          description: Its release; empty if it has none.
          type: str
          sample: "12"
        name:
          description: Its name with the release.
          type: str
          sample: Debian GNU/Linux 12 (bookworm)
"""
