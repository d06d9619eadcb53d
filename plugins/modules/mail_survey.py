#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module mail_survey; the action plugin of the same name runs it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_survey
short_description: Survey a host before the plan is applied to it
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Reads the system of a host, its mail transfer agent (MTA), what that takes mail for and from whom it relays, its
    queue, and the firewall rules for its port 25. On a DNS server also the zones of BIND, on a border router the
    firewall and its interfaces, and on a gateway what clamd needs.
  - With O(table), compares the mail of the host with the plan.
  - Changes nothing, restarts nothing and sends no mail; returns the same in check mode. Each command has a time limit,
    and the whole module has O(seconds).
  - Playbook C(survey) calls it once for each host, by its action plugin. That takes only O(plan), connects to port 25
    of the host from the controller, and does not fail for a host that cannot be reached, see RV(unreachable_reason).
    A server with C(mailgate_mta=none) or a router with C(managed=false) is not logged in to.
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
  action:
    description: Runs on the controller and on the host.
    support: full
options:
  plan:
    description:
      - The result of M(campus.mailgate.mail_plan), also one without a plan. Only the action plugin has this option. It
        sets the others from the plan and from the variables of the host.
    type: dict
  functions:
    description: The functions of the host in the inventory.
    type: list
    elements: str
    choices: [servers, gateways, dns, borders]
    default: []
  mta:
    description: The kind of mail server that the inventory has for the host, empty without one.
    type: str
    default: ""
  table:
    description: The routing table of the host in the plan, with C(local), C(relay) and C(static).
    type: dict
  listen:
    description: Where the plan has the mail server listen. The action plugin sets it.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: The address.
        type: str
        required: true
      port:
        description: The port.
        type: int
        required: true
  name:
    description: The name of the host. The action plugin sets it.
    type: str
    default: ''
  senders:
    description: The addresses that must reach port 25 of the host.
    type: list
    elements: str
    default: []
  named_conf:
    description: The configuration of BIND.
    type: path
    default: /etc/bind/named.conf
  zones:
    description: The zones that the inventory has for this DNS server.
    type: list
    elements: str
    default: []
  outside_interfaces:
    description: The outside interfaces of this router.
    type: list
    elements: str
    default: []
  gateways:
    description: The addresses of the gateways.
    type: list
    elements: str
    default: []
  backend:
    description: The backend that the inventory has for the rules of this router.
    type: str
    choices: [auto, iptables, nft]
    default: auto
  seconds:
    description: The time limit for the whole module on the host.
    type: int
    default: 15
  timeout:
    description: The seconds to wait for an answer of port 25, 0 not to ask it. Used by the action plugin.
    type: int
    default: 5
seealso:
  - module: campus.mailgate.mail_survey_print
"""

EXAMPLES = r"""
- name: Survey this host
  campus.mailgate.mail_survey:
    plan: "{{ mailgate_plan }}"
  register: mailgate_survey_answer
"""

RETURN = r"""
facts:
  description:
    - The facts of the host, empty if it was not asked. The parts are C(system), C(mta), C(mail), C(changes), C(queue),
      C(firewall), C(dns), C(router), C(gateway), C(left), C(notes) and C(missed).
  returned: success
  type: dict
host:
  description: The inventory name of the host.
  returned: success
  type: str
functions:
  description: Its functions in the inventory.
  returned: success
  type: list
  elements: str
said:
  description: The kind of mail server that the inventory has for the host.
  returned: success
  type: str
foreign:
  description: Whether others maintain the host, so that it was not logged in to.
  returned: success
  type: bool
banners:
  description: For each address, the answer of port 25 to the controller, or why there was none.
  returned: success
  type: list
  elements: dict
unreachable_reason:
  description: Why the host could not be asked, empty if it was.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._results import text_only
from ..module_utils._survey.host import Question, survey
from ..module_utils._survey.reader import Reader

ARGUMENTS = {
    "plan": {"type": "dict"},
    "functions": {
        "type": "list",
        "elements": "str",
        "choices": ["servers", "gateways", "dns", "borders"],
        "default": [],
    },
    "mta": {"type": "str", "default": ""},
    "table": {"type": "dict"},
    "listen": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"address": {"type": "str", "required": True}, "port": {"type": "int", "required": True}},
    },
    "name": {"type": "str", "default": ""},
    "senders": {"type": "list", "elements": "str", "default": []},
    "named_conf": {"type": "path", "default": "/etc/bind/named.conf"},
    "zones": {"type": "list", "elements": "str", "default": []},
    "outside_interfaces": {"type": "list", "elements": "str", "default": []},
    "gateways": {"type": "list", "elements": "str", "default": []},
    "backend": {"type": "str", "choices": ["auto", "iptables", "nft"], "default": "auto"},
    "seconds": {"type": "int", "default": 15},
    "timeout": {"type": "int", "default": 5},
}


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=ARGUMENTS, supports_check_mode=True)
    values = module.params
    question = Question(
        functions=values["functions"],
        said=values["mta"],
        table=values["table"],
        listen=values["listen"],
        name=values["name"],
        senders=values["senders"],
        named_conf=values["named_conf"],
        zones=values["zones"],
        outside=values["outside_interfaces"],
        gateways=values["gateways"],
        backend=values["backend"],
    )
    module.exit_json(changed=False, facts=survey(question, Reader(values["seconds"])))


if __name__ == "__main__":
    main()
