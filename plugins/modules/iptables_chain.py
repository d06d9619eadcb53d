#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module: the port-25 chains of a border router, both families in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: iptables_chain
short_description: Guard port 25 at a border router with chains of its own
version_added: 0.1.0
description:
  - Owns the chain C(MAILGATE) in the table C(filter), for IPv4 and for IPv6, and the one jump to it, first in
    C(FORWARD). With O(outbound) there is a second chain, C(MAILGATE-OUT). Rules, order and counters of everybody else
    stay as they are.
  - The chain sees attempts to open a TCP connection (SYN without ACK) to port 25 that come in by the outside interface.
    Gateways and permitted servers return to the router's other rules; the rest of the campus networks is logged and
    refused. Established connections are never cut, and the router need not track connections.
  - A family without an entry in O(networks) is guarded for every destination, so that forgetting IPv6 does not leave
    it open.
  - Addresses that M(campus.mailgate.border_bans) bans are refused first, in either mode.
  - Works with iptables-nft and iptables-legacy. Chains of ours in the tables of the one that is not in use are removed.
  - Rules are replaced in one C(iptables-restore --noflush) transaction a family, after both were tested. When one can't
    be loaded, both are put back.
  - The files the rules are loaded from, in C(/etc/mailgate/border), are those that are loaded at boot.
author:
  - mailgate contributors (@mailgate)
requirements:
  - iptables and ipset on the router
  - C(mailgate-border), which role P(campus.mailgate.border_firewall#role) installs
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  check_mode:
    details: Works before iptables is installed.
options:
  outside_interface:
    description: Interface towards the internet. It need not exist yet. A final V(+) stands for any ending.
    type: str
    required: true
  networks:
    description: Campus networks behind this router, IPv4 and IPv6 mixed.
    type: list
    elements: str
    required: true
  gateways:
    description: Addresses of the mail gateways, IPv4 and IPv6 mixed.
    type: list
    elements: str
    required: true
  permits:
    description: Servers that stay reachable from outside.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: Address or network, IPv4 or IPv6.
        type: str
        required: true
      host:
        description: Name of the server, for the comment beside the rule.
        type: str
        default: ''
      reason:
        description: Why it stays open.
        type: str
        default: ''
      owner:
        description: Who asked for it.
        type: str
        default: ''
      until:
        description: Last day of the permit. It is told in the comment, not enforced here.
        type: str
        default: ''
  action:
    description: Answer with a TCP reset, so that senders go on to the next MX at once, or with silence.
    type: str
    choices: [reject, drop]
    default: reject
  mode:
    description: V(observe) logs and counts what would be refused, and refuses nothing.
    type: str
    choices: [enforce, observe]
    default: enforce
  log:
    description: How attempts are logged that are, or would be, refused.
    type: dict
    default: {}
    suboptions:
      target:
        description: Kernel log, netlink log for a program such as ulogd2, or no log.
        type: str
        choices: [log, nflog, none]
        default: log
      prefix:
        description: Beginning of each line, up to 29 characters (63 with V(nflog)).
        type: str
        default: 'mailgate-25: '
      limit:
        description: Most lines for each campus network, as V(10/minute).
        type: str
        default: 10/minute
      burst:
        description: Lines before the limit sets in.
        type: int
        default: 20
      group:
        description: Netlink group for V(nflog).
        type: int
        default: 0
  outbound:
    description:
      - The other direction, known as outbound port 25 blocking (OP25B). Only the gateways and listed hosts may connect
        to port 25 outside.
      - Its rules are in the chain C(MAILGATE-OUT), its jump is second in C(FORWARD). O(action), the rest of O(log) and
        O(ipset_threshold) are the same for both directions.
      - Servers that send to the internet by themselves must be listed, or relay through a gateway.
    type: dict
    default: {}
    suboptions:
      mode:
        description: V(observe) logs and counts what would be refused, and refuses nothing.
        type: str
        choices: [disabled, observe, enforce]
        default: disabled
      senders:
        description: Hosts, besides the gateways, that may send to the internet.
        type: list
        elements: dict
        default: []
        suboptions:
          address:
            description: Address or network, IPv4 or IPv6.
            type: str
            required: true
          host:
            description: Name of the host, for the comment beside the rule.
            type: str
            default: ''
          reason:
            description: Why it may send.
            type: str
            default: ''
          owner:
            description: Who asked for it.
            type: str
            default: ''
          until:
            description: Last day. It is told in the comment, not enforced here.
            type: str
            default: ''
      prefix:
        description: Beginning of each line logged.
        type: str
        default: 'mailgate-25-out: '
  ipset_threshold:
    description: With more permits, or senders, of one family than this, an address set replaces the rule for each.
    type: int
    default: 64
  confirm_timeout:
    description:
      - Seconds after which the router takes the change back by itself, unless C(mailgate-border confirm) was run.
      - V(0) confirms at once.
    type: int
    default: 0
  state:
    description: V(absent) removes chains, jumps, sets and files, and the bans with them.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Only the gateways and one research server receive mail from outside
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
  description: Rules somebody had put into our chains by hand, and which are removed.
  type: list
  elements: str
  returned: always
  sample: ['-A MAILGATE -s 198.19.0.0/24 -j ACCEPT']
confirm:
  description: Whether the change waits for C(mailgate-border confirm).
  type: bool
  returned: always
permits:
  description: How many permitted addresses the router has, by family.
  type: dict
  returned: when O(state=present)
  sample: {ipv4: 1, ipv6: 0}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._iptables import model
from ..module_utils._iptables.router import ApplyError, Router

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
    """Make permits from the items of an option."""
    return tuple(
        model.Permit(p["address"], model.permit_comment(p["host"], p["reason"], p["owner"], p["until"])) for p in listed
    )


def main() -> None:
    """Compare what is wanted with files and kernel, and load the difference."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
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
        module.fail_json(msg="The port-25 rules were not touched: " + "; ".join(problems), problems=problems)

    tables = [model.render(guard, family) for family in model.FAMILIES] if params["state"] == "present" else []
    router = Router(module.run_command, module.get_bin_path)
    try:
        change = router.compare(tables)
        if change.needed and not module.check_mode:
            router.apply(change, params["confirm_timeout"])
    except ApplyError as error:
        module.fail_json(msg=str(error))
    if change.foreign:
        module.warn(f"Our port-25 chains had rules that are not ours: {'; '.join(change.foreign)}")
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
