#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module iptables_chain."""

from __future__ import annotations

DOCUMENTATION = r"""
module: iptables_chain
short_description: Manage the port-25 chains of a border router
version_added: 0.1.0
description:
  - Manages the chain C(MAILGATE) in the table C(filter), for IPv4 and IPv6, and the jump to it, first in C(FORWARD).
    With O(outbound) there is a second chain, C(MAILGATE-OUT). All other rules, their order and counters stay.
  - The chain handles attempts to open a TCP connection (SYN without ACK) to port 25 from the external interface.
    Traffic to gateways and permitted servers returns to the router's other rules. Traffic to the rest of the campus
    networks is logged and rejected. Established connections are never cut, and the router need not track connections.
  - A family without an entry in O(networks) is guarded for every destination, so that an omitted IPv6 network does not
    leave IPv6 open.
  - Addresses banned by M(campus.mailgate.border_bans) are dropped first, in both modes.
  - Works with iptables-nft and iptables-legacy. Managed chains in the tables of the unused variant are removed.
  - Each family's rules are replaced in one C(iptables-restore --noflush) transaction, after both were tested. If one
    cannot be loaded, both are restored.
  - The rules are loaded from files in C(/etc/mailgate/border), which are also loaded at boot.
author:
  - mailgate contributors (@mailgate)
requirements:
  - iptables and ipset on the router
  - C(mailgate-border), which role P(campus.mailgate.border_firewall#role) installs
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  check_mode:
    details: Works even if iptables is not installed yet.
options:
  outside_interface:
    description: The interface to the internet. It need not exist yet. A final V(+) matches any suffix.
    type: str
    required: true
  networks:
    description: The campus networks behind this router, IPv4 and IPv6.
    type: list
    elements: str
    required: true
  gateways:
    description: The addresses of the mail gateways, IPv4 and IPv6.
    type: list
    elements: str
    required: true
  permits:
    description: The servers that stay reachable from the internet.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: An address or network, IPv4 or IPv6.
        type: str
        required: true
      host:
        description: The name of the server, for the comment of the rule.
        type: str
        default: ''
      reason:
        description: The reason for the permit.
        type: str
        default: ''
      owner:
        description: The person or group responsible.
        type: str
        default: ''
      until:
        description: The last day of the permit, for the comment only. It is not enforced.
        type: str
        default: ''
  action:
    description: V(reject) sends a TCP reset, so that senders try the next MX at once. V(drop) sends nothing.
    type: str
    choices: [reject, drop]
    default: reject
  mode:
    description: V(observe) only logs and counts what V(enforce) rejects.
    type: str
    choices: [enforce, observe]
    default: enforce
  log:
    description: Logging of attempts that are, or in observe mode would be, rejected.
    type: dict
    default: {}
    suboptions:
      target:
        description: The kernel log, the netlink log for a program such as ulogd2, or none.
        type: str
        choices: [log, nflog, none]
        default: log
      prefix:
        description: The prefix of each line, up to 29 characters (63 with V(nflog)).
        type: str
        default: 'mailgate-25: '
      limit:
        description: The maximum rate of lines for each campus network, for example V(10/minute).
        type: str
        default: 10/minute
      burst:
        description: The number of lines before the limit applies.
        type: int
        default: 20
      group:
        description: The netlink group for V(nflog).
        type: int
        default: 0
  outbound:
    description:
      - The other direction, known as outbound port 25 blocking (OP25B). Only the gateways and the listed hosts may
        connect to external port 25.
      - Its rules are in the chain C(MAILGATE-OUT), and the jump to it is second in C(FORWARD). O(action), the other
        options of O(log) and O(ipset_threshold) apply to both directions.
      - Servers that send to the internet directly must be listed, or relay through a gateway.
    type: dict
    default: {}
    suboptions:
      mode:
        description: V(observe) only logs and counts what V(enforce) rejects.
        type: str
        choices: [disabled, observe, enforce]
        default: disabled
      senders:
        description: The hosts, besides the gateways, that may send to the internet.
        type: list
        elements: dict
        default: []
        suboptions:
          address:
            description: An address or network, IPv4 or IPv6.
            type: str
            required: true
          host:
            description: The name of the host, for the comment of the rule.
            type: str
            default: ''
          reason:
            description: The reason for the permit.
            type: str
            default: ''
          owner:
            description: The person or group responsible.
            type: str
            default: ''
          until:
            description: The last day of the permit, for the comment only. It is not enforced.
            type: str
            default: ''
      prefix:
        description: The prefix of each log line.
        type: str
        default: 'mailgate-25-out: '
  ipset_threshold:
    description: If a family has more permits, or senders, than this, one address set replaces their rules.
    type: int
    default: 64
  confirm_timeout:
    description:
      - Seconds after which the router reverts the change, unless C(mailgate-border confirm) was run before.
      - V(0) confirms the change at once.
    type: int
    default: 0
  state:
    description: V(absent) removes chains, jumps, sets and files, including all bans.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Permit mail from the internet to the gateways and one research server only
  campus.mailgate.iptables_chain:
    outside_interface: outside0
    networks: [198.18.0.0/16, '2001:db8:18::/48']
    gateways: [198.18.0.25, 198.18.0.26, '2001:db8:18::25']
    permits:
      - address: 198.18.1.40
        host: research.eng.univ.example
        reason: SMTP measurements
        owner: netlab
        until: '2027-03-31'
"""

RETURN = r"""
foreign:
  description: Rules that were added to the managed chains manually, and are removed.
  type: list
  elements: str
  returned: always
  sample: ['-A MAILGATE -s 198.19.0.0/24 -j ACCEPT']
confirm:
  description: Whether the change must be confirmed by C(mailgate-border confirm).
  type: bool
  returned: always
permits:
  description: The number of permitted addresses by family.
  type: dict
  returned: when O(state=present)
  sample: {ipv4: 1, ipv6: 0}
"""


from ansible.module_utils.basic import AnsibleModule

from ..module_utils._iptables import model
from ..module_utils._iptables.router import ApplyError, Router
from ..module_utils._results import text_only

PERMIT = {
    "address": {"type": "str", "required": True},
    "host": {"type": "str", "default": ""},
    "reason": {"type": "str", "default": ""},
    "owner": {"type": "str", "default": ""},
    "until": {"type": "str", "default": ""},
}
OPTIONS = {
    "outside_interface": {"type": "str", "required": True},
    "networks": {"type": "list", "elements": "str", "required": True},
    "gateways": {"type": "list", "elements": "str", "required": True},
    "permits": {"type": "list", "elements": "dict", "default": [], "options": PERMIT},
    "action": {"type": "str", "choices": ["reject", "drop"], "default": "reject"},
    "mode": {"type": "str", "choices": ["enforce", "observe"], "default": "enforce"},
    "log": {
        "type": "dict",
        "default": {},
        "options": {
            "target": {"type": "str", "choices": ["log", "nflog", "none"], "default": "log"},
            "prefix": {"type": "str", "default": "mailgate-25: "},
            "limit": {"type": "str", "default": "10/minute"},
            "burst": {"type": "int", "default": 20},
            "group": {"type": "int", "default": 0},
        },
    },
    "outbound": {
        "type": "dict",
        "default": {},
        "options": {
            "mode": {"type": "str", "choices": ["disabled", "observe", "enforce"], "default": "disabled"},
            "senders": {"type": "list", "elements": "dict", "default": [], "options": PERMIT},
            "prefix": {"type": "str", "default": "mailgate-25-out: "},
        },
    },
    "ipset_threshold": {"type": "int", "default": 64},
    "confirm_timeout": {"type": "int", "default": 0},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def permits(listed: list[dict[str, str]]) -> tuple[model.Permit, ...]:
    """Return permits from the items of an option."""
    return tuple(
        model.Permit(p["address"], model.permit_comment(p["host"], p["reason"], p["owner"], p["until"])) for p in listed
    )


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=OPTIONS, supports_check_mode=True)
    params = module.params
    outbound = params["outbound"]
    guard = model.Guard(
        interface=params["outside_interface"],
        networks=tuple(params["networks"]),
        gateways=tuple(params["gateways"]),
        permits=permits(params["permits"]),
        action=params["action"],
        mode=params["mode"],
        log=model.Log(**params["log"]),
        set_threshold=params["ipset_threshold"],
        outbound=model.Outbound(outbound["mode"], permits(outbound["senders"]), outbound["prefix"]),
    )
    problems = model.problems(guard)
    if problems:
        module.fail_json(msg="The port-25 rules were not changed: " + "; ".join(problems), problems=problems)

    tables = [model.render(guard, family) for family in model.FAMILIES] if params["state"] == "present" else []
    router = Router(module.run_command, module.get_bin_path)
    try:
        change = router.compare(tables)
        if change.needed and not module.check_mode:
            router.apply(change, params["confirm_timeout"])
    except ApplyError as error:
        module.fail_json(msg=str(error))
    if change.foreign:
        module.warn(f"Removed manually added rules from the port-25 chains: {'; '.join(change.foreign)}")
    result = {
        "changed": change.needed,
        "foreign": change.foreign,
        "confirm": change.needed and params["confirm_timeout"] > 0,
        "diff": change.diff(),
    }
    if tables:
        result["permits"] = {table.family: table.permits for table in tables}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
