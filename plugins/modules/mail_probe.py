#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module mail_probe."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_probe
short_description: Compare what DNS and mail servers answer with the plan
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Queries a DNS server for MX records, and mail servers for recipients, and returns where the answers differ from the
    expected ones. Changes nothing, and returns the same in check mode.
  - A mail server is asked up to C(RCPT) for C(postmaster) of each domain, with an empty sender. No mail is sent.
  - A recipient that is rejected as unknown is no problem, as the domain has a route. A rejection with C(5.7) or a text
    about relaying is one.
  - A query reaches one view of a DNS server. If several views have copies of a zone, the files of all copies are read
    too, with their journals.
requirements:
  - dnspython (package C(python3-dnspython)) for O(zones)
  - C(named-checkconf) and C(named-checkzone) (package C(bind9-utils)) for O(named_conf)
options:
  zones:
    description: The zones to query.
    type: list
    elements: dict
    default: []
    suboptions:
      zone:
        description: The zone's name.
        type: str
        required: true
      owners:
        description: The names whose MX records are queried.
        type: list
        elements: dict
        required: true
        suboptions:
          owner:
            description: The full name.
            type: str
            required: true
          allowed:
            description: The sets of MX records, such as V(0 gw1.univ.example), one of which the name must have.
            type: list
            elements: list
            required: true
  named_conf:
    description: The configuration of BIND, if the module runs on the DNS server. Without it no view is read.
    type: path
  other_views:
    description: Views of O(named_conf) that may have copies of the zones with other MX records.
    type: list
    elements: str
    default: []
  dns_server:
    description: The address of the DNS server.
    type: str
    default: 127.0.0.1
  dns_port:
    description: The port of the DNS server.
    type: int
    default: 53
  smtp:
    description: The mail servers to ask.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: The name of the server in messages.
        type: str
        required: true
      address:
        description: The address of the server.
        type: str
        required: true
      port:
        description: The port of the server.
        type: int
        default: 25
      domains:
        description: The domains that the server must accept. V(*) may be the first label.
        type: list
        elements: str
        required: true
      verifies:
        description: Whether it is a problem if the server replies with a temporary error for every domain.
        type: bool
        default: false
  closed:
    description:
      - Servers whose port 25 this host must not reach, for a host outside the campus. A connection is a problem.
    type: list
    elements: dict
    default: []
    version_added: 0.3.0
    suboptions:
      host:
        description: The name of the server in messages.
        type: str
        required: true
      address:
        description: The address of the server.
        type: str
        required: true
  closed_timeout:
    description: Seconds to wait for each of the connections of O(closed); many are tried at once.
    type: int
    default: 5
    version_added: 0.3.0
  timeout:
    description: Seconds to wait for each answer of a mail server, which may have to ask another one first.
    type: int
    default: 60
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
seealso:
  - module: campus.mailgate.mail_check
"""

EXAMPLES = r"""
- name: Ask a gateway about two domains
  campus.mailgate.mail_probe:
    smtp:
      - host: gw1.univ.example
        address: 198.18.0.25
        domains: [eng.univ.example, "*.lab.eng.univ.example"]
  register: answers

- name: Compare MX records
  campus.mailgate.mail_probe:
    zones:
      - zone: eng.univ.example
        owners:
          - owner: eng.univ.example
            allowed: [["0 gw1.univ.example", "10 gw2.univ.example"]]

- name: Verify the rule of a border router from a host outside
  campus.mailgate.mail_probe:
    closed:
      - {host: mech.eng.univ.example, address: 198.18.1.30}
"""

RETURN = r"""
problems:
  description: The differences, empty without any.
  returned: success
  type: list
  elements: str
  sample: ["gw1.univ.example (198.18.0.25 port 25) rejects mail for eng.univ.example: 550 5.7.1 Relaying denied"]
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._bind.client import DNSPYTHON_ERROR, DnsClient
from ..module_utils._bind.command_module import runner
from ..module_utils._bind.copies import copies, mx_of
from ..module_utils._bind.server import Bind
from ..module_utils._probe.answers import ask_all, ask_domain, mx_problems, open_problems, smtp_problems
from ..module_utils._results import text_only
from ..module_utils._zone.file import ZoneError

OWNER = {
    "owner": {"type": "str", "required": True},
    "allowed": {"type": "list", "elements": "list", "required": True},
}
ZONE = {
    "zone": {"type": "str", "required": True},
    "owners": {"type": "list", "elements": "dict", "required": True, "options": OWNER},
}
SMTP = {
    "host": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "default": 25},
    "domains": {"type": "list", "elements": "str", "required": True},
    "verifies": {"type": "bool", "default": False},
}
CLOSED = {"host": {"type": "str", "required": True}, "address": {"type": "str", "required": True}}
ARGUMENTS = {
    "zones": {"type": "list", "elements": "dict", "default": [], "options": ZONE},
    "named_conf": {"type": "path"},
    "other_views": {"type": "list", "elements": "str", "default": []},
    "dns_server": {"type": "str", "default": "127.0.0.1"},
    "dns_port": {"type": "int", "default": 53},
    "smtp": {"type": "list", "elements": "dict", "default": [], "options": SMTP},
    "closed": {"type": "list", "elements": "dict", "default": [], "options": CLOSED},
    "closed_timeout": {"type": "int", "default": 5},
    "timeout": {"type": "int", "default": 60},
}
ANSWER_SECONDS = 5.0


def dns(params: dict[str, Any], bind: Bind | None) -> list[str]:
    """Return the problems of the DNS server."""
    if not params["zones"]:
        return []
    if DNSPYTHON_ERROR:
        return ["its MX records cannot be queried: dnspython (python3-dnspython) is not installed there"]
    client = DnsClient(params["dns_server"], params["dns_port"], ANSWER_SECONDS)
    problems: list[str] = []
    for zone in params["zones"]:
        owners = [
            (owner["owner"], [frozenset(map(str.lower, records)) for records in owner["allowed"]])
            for owner in zone["owners"]
        ]
        try:
            problems += mx_problems(zone["zone"], owners, partial(client.served_mx, zone["zone"]))
            for copy in copies(bind, zone["zone"], params["other_views"]) if bind else ():
                has = mx_of(bind.dump(copy)) if bind else {}
                problems += mx_problems(f"{zone['zone']} (view {copy.view})", owners, partial(served, has))
        except ZoneError as error:
            problems += error.problems
    return problems


def served(has: dict[str, frozenset[str]], owner: str) -> frozenset[str]:
    """Return the MX records of a name in a copy of a zone."""
    return has.get(owner.rstrip(".").lower(), frozenset())


def smtp(server: dict[str, Any], timeout: float) -> list[str]:
    """Return the problems of a mail server."""
    answers = ask_all(server["domains"], partial(ask_domain, server["address"], server["port"], timeout))
    name = f"{server['host']} ({server['address']} port {server['port']})"
    return smtp_problems(name, answers, verifies=server["verifies"])


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=ARGUMENTS, supports_check_mode=True)
    bind = Bind(runner(module), module.params["named_conf"]) if module.params["named_conf"] else None
    problems = dns(module.params, bind)
    for server in module.params["smtp"]:
        problems += smtp(server, module.params["timeout"])
    servers = [(each["host"], each["address"]) for each in module.params["closed"]]
    problems += open_problems(servers, module.params["closed_timeout"])
    module.exit_json(changed=False, problems=problems)


if __name__ == "__main__":
    main()
