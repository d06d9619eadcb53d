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
  - With O(backend=nft) the same rules are in a table of their own, C(inet mailgate), with native sets. Other programs'
    reloads and saved rules do not touch it.
  - Works with iptables-nft and iptables-legacy. Managed chains in the tables of the unused variant are removed.
  - Nothing is changed if the router already has a chain or table of this name that this module did not make.
  - Before and after a change the saved rules of other firewalls are tested. If the next boot could not load them any
    more, the change is rolled back. Address sets that saved rules name stay, empty, with O(state=absent).
  - Each family's rules are replaced in one C(iptables-restore --noflush) transaction, after both were tested. If one
    cannot be loaded, both are restored.
  - The rules are loaded from files in C(/etc/mailgate/border), which are also loaded at boot.
author:
  - mailgate contributors (@mailgate)
requirements:
  - iptables and ipset on the router, or nft with O(backend=nft)
  - C(mailgate-border), which role P(campus.mailgate.border_firewall#role) installs
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  check_mode:
    details: Works even if iptables is not installed yet.
options:
  outside_interface:
    description:
      - The interfaces to the internet. A final V(+) matches any suffix.
      - One may be missing for the time being, with a warning. If none exists, nothing is changed.
    type: list
    elements: str
    required: true
  backend:
    description:
      - V(iptables) manages chains in the table C(filter), V(nft) a table of nftables.
      - V(auto) is V(nft) if firewalld or nftables manages the router, because they flush or cannot save the other kind.
        That is a unit that is enabled or active, or a changed C(/etc/nftables.conf). Else it is V(iptables).
      - If the backend changes, the new rules are loaded before the old ones are removed.
    type: str
    choices: [auto, iptables, nft]
    default: auto
    version_added: 0.3.0
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
        description: The last day of the permit, an ISO date. Without O(expire), nothing is changed if it is over.
        type: str
        default: ''
  expire:
    description:
      - The router itself ends each of O(permits) after its last day, by its own date. One that is over is omitted, with
        a warning.
      - C(mailgate-border expire) must be run every day, which the role's timer does. It is also done at boot.
    type: bool
    default: false
    version_added: 0.3.0
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
  servers:
    description:
      - Servers with rules of their own, so that connections to each are counted on their own, and with a mode of their
        own. They precede the rules of O(networks), which have O(mode). A permit precedes both.
      - So some servers can be blocked while O(mode=observe) only observes all others.
    type: list
    elements: dict
    default: []
    version_added: 0.3.0
    suboptions:
      address:
        description: The address of the server, IPv4 or IPv6.
        type: str
        required: true
      mode:
        description: As O(mode), for this server.
        type: str
        choices: [enforce, observe]
        default: observe
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
            description: The last day of the permit, an ISO date. Nothing is changed if it is over.
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
    description:
      - V(absent) removes chains, jumps, tables, sets and files, including all bans.
      - A set that rules of the admin's name stays, empty. A chain that they use is emptied and stays.
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
saved:
  description:
    - The rules and sets of this collection that saved rules on the router name, with the files.
    - While there is any, the program and its units are needed at boot.
  returned: success
  type: list
  elements: str
  sample: []
  version_added: 0.3.0
foreign:
  description: Rules that were added to the managed chains manually, and are removed.
  type: list
  elements: str
  returned: always
  sample: ['-A MAILGATE -s 198.19.0.0/24 -j ACCEPT']
backend:
  description: The backend in use, why, and the firewall services that are enabled or active on the router.
  type: dict
  returned: always
  sample: {name: nft, reason: firewalld.service is enabled or active, managers: [firewalld]}
differed:
  description: Whether the router had other rules; the same as C(changed), which a task may override.
  type: bool
  returned: always
  version_added: 0.3.0
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

import datetime

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._iptables import expiry, interfaces, managers, model, nft
from ..module_utils._iptables.kernel import ApplyError
from ..module_utils._iptables.router import Router
from ..module_utils._results import text_only

PERMIT = {
    "address": {"type": "str", "required": True},
    "host": {"type": "str", "default": ""},
    "reason": {"type": "str", "default": ""},
    "owner": {"type": "str", "default": ""},
    "until": {"type": "str", "default": ""},
}
OPTIONS = {
    "outside_interface": {"type": "list", "elements": "str", "required": True},
    "backend": {"type": "str", "choices": ["auto", "iptables", "nft"], "default": "auto"},
    "networks": {"type": "list", "elements": "str", "required": True},
    "gateways": {"type": "list", "elements": "str", "required": True},
    "permits": {"type": "list", "elements": "dict", "default": [], "options": PERMIT},
    "expire": {"type": "bool", "default": False},
    "action": {"type": "str", "choices": ["reject", "drop"], "default": "reject"},
    "mode": {"type": "str", "choices": ["enforce", "observe"], "default": "enforce"},
    "servers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "address": {"type": "str", "required": True},
            "mode": {"type": "str", "choices": ["enforce", "observe"], "default": "observe"},
        },
    },
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


def valid(params: dict) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the permits to load, and, if they end by themselves, those that are over."""
    today = datetime.date.today()
    over = [
        item
        for item in (params["permits"] if params["expire"] else [])
        if model.expired("permits", [(item["address"], item["until"])], today)
    ]
    return [item for item in params["permits"] if item not in over], over


def expired(params: dict) -> list[str]:
    """Return the problems of permits and senders whose last day is over."""
    today = datetime.date.today()
    lists = {
        "permits": [] if params["expire"] else params["permits"],
        "outbound.senders": params["outbound"]["senders"],
    }
    return [
        problem
        for option, listed in lists.items()
        for problem in model.expired(option, ((item["address"], item["until"]) for item in listed), today)
    ]


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=OPTIONS, supports_check_mode=True)
    params = module.params
    outbound = params["outbound"]
    kept, over = valid(params)
    guard = model.Guard(
        interfaces=tuple(dict.fromkeys(params["outside_interface"])),
        networks=tuple(params["networks"]),
        gateways=tuple(params["gateways"]),
        permits=permits(kept),
        action=params["action"],
        mode=params["mode"],
        log=model.Log(**params["log"]),
        set_threshold=params["ipset_threshold"],
        servers=tuple(model.Server(**server) for server in params["servers"]),
        outbound=model.Outbound(outbound["mode"], permits(outbound["senders"]), outbound["prefix"]),
    )
    run, find = module.run_command, module.get_bin_path
    own_nft_conf = managers.has_own_nft_conf(run, find)
    choice = managers.choose(params["backend"], managers.find_managers(run), own_nft_conf)
    router = Router(run, find)
    warnings = managers.advice(choice, own_nft_conf)
    warnings += [f"The permit of {item['host'] or item['address']} has expired on {item['until']}" for item in over]
    if params["state"] == "present":
        problems = model.problems(guard) + expired(params) + (nft.problems(guard) if choice.backend == "nft" else [])
        if not problems:
            problems, more = interfaces.judge(guard.interfaces, interfaces.read(), router.loaded_interfaces())
            warnings += more
        if problems:
            module.fail_json(msg="The port-25 rules were not changed: " + "; ".join(problems), problems=problems)

    tables = [model.render(guard, family) for family in model.FAMILIES] if params["state"] == "present" else []
    try:
        native = bool(tables) and choice.backend == "nft"
        dated = zip(guard.permits, (item["until"] for item in kept), strict=True)
        ending = expiry.text_of(dated) if params["expire"] and tables else ""
        change = router.compare([], nft.render(guard), ending) if native else router.compare(tables, expiry_text=ending)
        if change.needed and not module.check_mode:
            broken = router.apply(change, params["confirm_timeout"])
        else:
            broken = router.unloadable()
    except ApplyError as error:
        module.fail_json(msg=str(error))
    if change.foreign:
        warnings.append(f"Removed manually added rules from the port-25 chains: {'; '.join(change.foreign)}")
    warnings += [
        f"The next boot cannot load {path}, as before this run, and leaves the router without these rules: {text}"
        for path, text in broken.items()
    ]
    for warning in [*warnings, *change.warnings]:
        module.warn(warning)
    result = {
        "changed": change.needed,
        "differed": change.needed,
        "foreign": change.foreign,
        "confirm": change.needed and params["confirm_timeout"] > 0,
        "backend": {"name": choice.backend, "reason": choice.reason, "managers": choice.managers},
        "diff": change.diff(),
        "saved": change.saved,
    }
    if tables:
        result["permits"] = {table.family: table.permits for table in tables}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
