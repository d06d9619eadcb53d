#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module mail_verify; the action plugin of the same name runs it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_verify
short_description: Read what a host or a vantage point shows of the campus's mail
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - On a host of the campus, reads what M(campus.mailgate.mail_survey) reads, which managed files are not as they were
    written, the service and the scanner of a gateway, and the port-25 rules and their guard of a border router.
  - With O(side), asks mail servers and DNS servers from the host of the task, by M(campus.mailgate.smtp_probe) and
    M(campus.mailgate.dns_probe).
  - With O(outbound), gateways and inner servers also connect to these servers, and send nothing.
  - With O(mailboxes), sends a test message to each of them, by M(campus.mailgate.mail_send); with O(sent), reads what
    the log of the host says about them, by M(campus.mailgate.mail_log).
  - Changes nothing, restarts nothing and without O(mailboxes) sends no mail; returns the same in check mode.
  - Playbook C(verify) calls it by its action plugin, which takes only O(plan), O(side), O(alone), O(resolvers),
    O(stranger), O(outbound), O(mailboxes), O(sent) and O(seconds). It does not fail for a host that cannot be
    reached, see RV(unreachable_reason). A server with C(mailgate_mta=none) or a router with C(managed=false) is not
    logged in to.
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
    description: The result of M(campus.mailgate.mail_plan). Only the action plugin has this option.
    type: dict
  side:
    description:
      - Where the host of the task is, as a vantage point; V(outside) or V(inside) of the campus. Without it, the host
        itself is read.
    type: str
    choices: [outside, inside]
  alone:
    description: Whether no vantage point is outside, so that the gateways are asked everything from inside.
    type: bool
    default: false
  resolvers:
    description: The resolvers of the vantage point. The default is those of the host.
    type: list
    elements: str
  stranger:
    description: The domain of the recipients of relay attempts.
    type: str
    default: example.com
  outbound:
    description:
      - Addresses of mail servers outside of the campus. Gateways, inner servers and vantage points outside connect to
        their port 25, and close the connection at once.
    type: list
    elements: str
    default: []
  mailboxes:
    description: Mailboxes to which test messages are sent from the host of the task.
    type: list
    elements: str
    default: []
  sent:
    description: The results of this module with O(mailboxes); the host is asked for the messages to its mailboxes.
    type: list
    elements: dict
    default: []
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
  seconds:
    description: The time limit for the whole module on the host.
    type: int
    default: 60
seealso:
  - module: campus.mailgate.mail_verify_print
  - module: campus.mailgate.smtp_probe
  - module: campus.mailgate.dns_probe
"""

EXAMPLES = r"""
- name: Read this host
  campus.mailgate.mail_verify:
    plan: "{{ mailgate_plan }}"
  register: mailgate_verify_answer

- name: Probe from this host, which is outside of the campus
  campus.mailgate.mail_verify:
    plan: "{{ mailgate_plan }}"
    side: outside
  register: mailgate_verify_probes
"""

RETURN = r"""
host:
  description: The inventory name of the host.
  returned: success
  type: str
facts:
  description:
    - The facts of the host, empty if it was not asked. Those of M(campus.mailgate.mail_survey), and C(kept),
      C(service), C(signatures), C(guard), C(lowered) and C(clock).
  returned: without O(side), O(mailboxes) and O(sent)
  type: dict
smtp:
  description: The result of M(campus.mailgate.smtp_probe).
  returned: with O(side)
  type: dict
outbound:
  description: The result of M(campus.mailgate.smtp_probe) for O(outbound), empty if the host was not asked.
  returned: without O(mailboxes) and O(sent)
  type: list
  elements: dict
outbound_reason:
  description: Why RV(outbound) is empty although the host was asked.
  returned: without O(side), O(mailboxes) and O(sent)
  type: str
dns:
  description: The result of M(campus.mailgate.dns_probe).
  returned: with O(side)
  type: dict
side:
  description: The side of the vantage point.
  returned: with O(side)
  type: str
messages:
  description: The result of M(campus.mailgate.mail_send).
  returned: with O(mailboxes)
  type: list
  elements: dict
homes:
  description: The final servers of the mailboxes.
  returned: with O(mailboxes)
  type: list
  elements: str
found:
  description: The result of M(campus.mailgate.mail_log).
  returned: with O(sent)
  type: dict
foreign:
  description: Whether others maintain the host, so that it was not logged in to.
  returned: without O(side)
  type: bool
unreachable_reason:
  description: Why there are no facts or no answers; empty if there are.
  returned: success
  type: str
started:
  description: The time of the controller before the host was asked, in seconds since 1970.
  returned: success
  type: float
ended:
  description: The same after it.
  returned: success
  type: float
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._results import text_only
from ..module_utils._survey.host import Question
from ..module_utils._survey.reader import Reader
from ..module_utils._verify.service import facts

NAMES = {"type": "list", "elements": "str", "default": []}
ARGUMENTS = {
    "plan": {"type": "dict"},
    "side": {"type": "str", "choices": ["outside", "inside"]},
    "alone": {"type": "bool", "default": False},
    "resolvers": {"type": "list", "elements": "str"},
    "stranger": {"type": "str", "default": "example.com"},
    "outbound": NAMES,
    "mailboxes": NAMES,
    "sent": {"type": "list", "elements": "dict", "default": []},
    "functions": {**NAMES, "choices": ["servers", "gateways", "dns", "borders"]},
    "mta": {"type": "str", "default": ""},
    "table": {"type": "dict"},
    "senders": NAMES,
    "named_conf": {"type": "path", "default": "/etc/bind/named.conf"},
    "zones": NAMES,
    "outside_interfaces": NAMES,
    "gateways": NAMES,
    "seconds": {"type": "int", "default": 60},
}
SECONDS_EACH = 20.0


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    question = Question(
        functions=params["functions"],
        said=params["mta"],
        table=params["table"],
        senders=params["senders"],
        named_conf=params["named_conf"],
        zones=params["zones"],
        outside=params["outside_interfaces"],
        gateways=params["gateways"],
    )
    module.exit_json(changed=False, facts=facts(question, Reader(params["seconds"], SECONDS_EACH)))


if __name__ == "__main__":
    main()
