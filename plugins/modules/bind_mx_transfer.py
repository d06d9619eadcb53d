#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module bind_mx_transfer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bind_mx_transfer
short_description: Wait until a secondary BIND server has the planned MX records
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Has a BIND server transfer its secondary zones now (C(rndc refresh)), and waits until it serves the planned MX
    records.
  - A zone in a view is complete when its serial is that of its primary server, because a query may be answered from
    another view.
  - No MX record is changed here; M(campus.mailgate.bind_mx) changes them on the primary server.
requirements:
  - dnspython (package C(python3-dnspython))
  - C(rndc) (package C(bind9))
options:
  zones:
    description: The zones of this server, as for M(campus.mailgate.bind_mx). Those not in O(transfers) are ignored.
    type: list
    elements: dict
    required: true
    suboptions:
      zone:
        description: The zone's name.
        type: str
        required: true
      owners:
        description: The names whose MX records are managed.
        type: list
        elements: dict
        required: true
        suboptions:
          owner:
            description: The full name, with or without the final dot.
            type: str
            required: true
          mx:
            description: The planned MX records.
            type: list
            elements: dict
            suboptions:
              preference:
                description: The preference.
                type: int
                required: true
              exchange:
                description: The full host name of the mail server.
                type: str
                required: true
  transfers:
    description: The zones that are transferred (C(zone), C(view), C(primary)), as M(campus.mailgate.bind_mx) reports.
    type: list
    elements: dict
    required: true
  authorities:
    description: The DNS servers of the campus, as for M(campus.mailgate.bind_mx) (C(host), C(address)).
    type: list
    elements: dict
    default: []
  named_conf:
    description: The server's configuration.
    type: path
    default: /etc/bind/named.conf
  server:
    description: The address for queries to this server.
    type: str
    default: 127.0.0.1
  port:
    description: The port for queries.
    type: int
    default: 53
  timeout:
    description: Seconds to wait for all zones.
    type: int
    default: 30
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
notes:
  - In check mode the module does nothing.
seealso:
  - module: campus.mailgate.bind_mx
"""

EXAMPLES = r"""
- name: Set the MX records
  campus.mailgate.bind_mx:
    zones: "{{ mailgate_plan.mx[inventory_hostname] }}"
    authorities: "{{ mailgate_plan.dns }}"
  register: edited

- name: Wait for the zones of which this server is a secondary
  campus.mailgate.bind_mx_transfer:
    zones: "{{ mailgate_plan.mx[inventory_hostname] }}"
    transfers: "{{ edited.zones | selectattr('method', 'eq', 'transfer') }}"
"""

RETURN = r"""
problems:
  description: The zones that this server does not serve as planned.
  returned: failure
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ..module_utils._bind.authority import ZoneRequest
from ..module_utils._bind.client import DNSPYTHON_ERROR, DnsClient
from ..module_utils._bind.command_module import runner, zones_argument
from ..module_utils._bind.server import Bind
from ..module_utils._bind.transferred import wait
from ..module_utils._results import text_only

ARGUMENTS = {
    "zones": zones_argument({}, {}, mx_required=False),
    "transfers": {"type": "list", "elements": "dict", "required": True},
    "authorities": {"type": "list", "elements": "dict", "default": []},
    "named_conf": {"type": "path", "default": "/etc/bind/named.conf"},
    "server": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 53},
    "timeout": {"type": "int", "default": 30},
}
ANSWER_SECONDS = 5.0
DNS_PORT = 53


def requests(params: dict[str, Any]) -> list[ZoneRequest]:
    """Return the planned records of the zones that are transferred, in each of their views."""
    owners = {
        zone["zone"].rstrip(".").lower(): [
            (each["owner"], [(mx["preference"], mx["exchange"]) for mx in each["mx"]], None)
            for each in zone["owners"]
            if each["mx"] is not None
        ]
        for zone in params["zones"]
    }
    return [
        ZoneRequest(each["zone"], each.get("view", ""), owners.get(each["zone"], [])) for each in params["transfers"]
    ]


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    if module.check_mode:
        module.exit_json(changed=False)
    if DNSPYTHON_ERROR:
        module.fail_json(msg=missing_required_lib("dnspython"), exception=DNSPYTHON_ERROR, problems=[])
    addresses = {each.get("host"): each.get("address") for each in params["authorities"]}
    primaries = {each["zone"]: each.get("primary", "") for each in params["transfers"]}
    servers = {
        zone: DnsClient(addresses[host], DNS_PORT, ANSWER_SECONDS)
        for zone, host in primaries.items()
        if host in addresses
    }
    client = DnsClient(params["server"], params["port"], ANSWER_SECONDS)
    bind = Bind(runner(module), params["named_conf"], client.served)
    problems = wait(bind, client, requests(params), primaries, timeout=params["timeout"], servers=servers)
    if problems:
        module.fail_json(msg="MX records not transferred: " + "\n".join(problems), problems=problems)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
