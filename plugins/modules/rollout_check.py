#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of rollout_check; the action plugin of the same name implements it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_check
short_description: Read the state of a rollout on the hosts
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - With O(ask), reads by M(campus.mailgate.rollout_facts) what a host has of the plan. A host that cannot be asked is a
    result, never an unreachable or failed host.
  - Without, computes from O(answers) the state of each phase for each faculty, what does not fit together and the next
    safe step. No state is remembered.
  - With O(require), fails unless all that a phase rests on was found on the hosts. In check mode this is a warning.
extends_documentation_fragment:
  - campus.mailgate.inputs.plan
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
  action:
    description: Runs on the controller; with O(ask) also on the host.
    support: full
options:
  ask:
    description: The inventory name of the host to ask, that of the task.
    type: str
  dns_server:
    description: The address at which O(ask) queries its own DNS server.
    type: str
    default: 127.0.0.1
  named_conf:
    description: The configuration of BIND on O(ask), if that is a DNS server.
    type: path
    default: /etc/bind/named.conf
  other_views:
    description: Views of O(named_conf) that may have other MX records.
    type: list
    elements: str
    default: []
  log_prefix:
    description: The prefix of the lines in the log of a border router.
    type: str
    default: 'mailgate-25: '
  answers:
    description: The results of O(ask) for all hosts.
    type: list
    elements: dict
    default: []
  require:
    description: The phase that is about to begin.
    type: str
    choices: [survey, routes, gateways, ttl, mx, observe, block]
  skip_wait:
    description: Whether O(require) ignores caches and direct connections.
    type: bool
    default: false
  lowered_ttl:
    description: The TTL in seconds of MX records that is low enough for a change.
    type: int
    default: 300
  quiet:
    description: For how many seconds no direct connection may have come before the border blocks.
    type: int
    default: 86400
  accept:
    description: The hosts whose problems do not count.
    type: list
    elements: str
    default: []
  border:
    description: Also returns what the border routers are to do in this phase; V(open) takes V(block) back.
    type: str
    choices: [observe, block, open]
  runs:
    description: Records of runs to show, from M(campus.mailgate.rollout_record).
    type: list
    elements: dict
    default: []
  show:
    description: Whether the state is printed as a table.
    type: bool
    default: false
  dest:
    description: A file on the controller to which the state is written as JSON.
    type: path
seealso:
  - module: campus.mailgate.rollout_select
  - module: campus.mailgate.mail_check
"""

EXAMPLES = r"""
- name: Read what this host has
  campus.mailgate.rollout_check:
    plan: "{{ mailgate_plan }}"
    ask: "{{ inventory_hostname }}"
  register: answer

- name: Show the state
  campus.mailgate.rollout_check:
    plan: "{{ mailgate_plan }}"
    answers: "{{ ansible_play_hosts_all | map('extract', hostvars) | map(attribute='answer') | list }}"
    show: true
  run_once: true
"""

RETURN = r"""
host:
  description: The host that was asked.
  returned: with O(ask)
  type: str
facts:
  description: What was read, empty if it could not be asked.
  returned: with O(ask)
  type: dict
reason:
  description: Why it could not be asked.
  returned: with O(ask)
  type: str
faculties:
  description:
    - The state of each faculty. C(phases) has for each phase C(state), which is C(done), C(partly), C(not),
      C(not known) or C(nothing to do), and the hosts that have it, lack it or could not be asked.
    - C(drift) is what does not fit together, C(next) the next safe step.
  returned: without O(ask)
  type: list
  elements: dict
not_asked:
  description: The hosts that could not be asked, with the reason.
  returned: without O(ask)
  type: dict
wait:
  description: For how many seconds caches may have MX records with a longer TTL than the present one.
  returned: without O(ask)
  type: int
border:
  description: For each managed router the mode and the servers of M(campus.mailgate.iptables_chain).
  returned: with O(border)
  type: dict
"""
