#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of mail_check; the action plugin of the same name implements it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_check
short_description: Verify that a step of a rollout may begin
version_added: 0.3.0
author: mailgate contributors (@mailgate)
description:
  - With O(step), fails unless every host that the step rests on is ready, with a list of all that are not. Ansible
    itself goes on to the next play when the only host of a play is unreachable.
  - A host in the run must have finished the steps before. Before MX records change, gateways must accept the planned
    domains, hubs of tiered delivery the domains behind them, and the rules of the border routers must not block port 25
    of the gateways. Before the border closes, DNS servers must serve the planned MX records too. So O(answers) must
    have the answers of all these hosts, in the run or not.
  - With O(ask), asks one of these hosts by M(campus.mailgate.mail_probe), a border router by
    M(campus.mailgate.border_check). Delegate the task to it. A host that cannot be reached is a problem in the result
    and does not fail the task.
  - In check mode problems are warnings.
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
    description: The inventory name of the host to ask. Exactly one of O(ask) and O(step) is required.
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
  step:
    description: The step that the host of the task is about to take.
    type: str
    choices: [gateways, dns, border]
  hosts:
    description: The hosts of the run, without those that C(--limit) excludes.
    type: list
    elements: str
    default: []
  done:
    description: For each step the hosts that finished it in this run.
    type: dict
    default: {}
  answers:
    description: The results of O(ask) for all hosts that were asked.
    type: list
    elements: dict
    default: []
  steps:
    description: The steps of the run. By default those that its tags select.
    type: list
    elements: str
    choices: [routes, gateways, dns, border]
  accept:
    description: The hosts whose problems are only warnings.
    type: list
    elements: str
    default: []
seealso:
  - module: campus.mailgate.mail_probe
  - module: campus.mailgate.border_check
"""

EXAMPLES = r"""
- name: Ask the gateways
  campus.mailgate.mail_check:
    plan: "{{ mailgate_plan }}"
    ask: "{{ item }}"
  delegate_to: "{{ item }}"
  loop: "{{ mailgate_plan.gateways | map(attribute='host') | list }}"
  register: answers

- name: Stop unless MX records may change
  campus.mailgate.mail_check:
    plan: "{{ mailgate_plan }}"
    step: dns
    hosts: "{{ groups.mailgate_run }}"
    done: {routes: "{{ groups.mailgate_done_routes }}", gateways: "{{ groups.mailgate_done_gateways }}"}
    answers: "{{ answers.results }}"
"""

RETURN = r"""
host:
  description: The host that was asked.
  returned: with O(ask)
  type: str
time:
  description: The time of the answer on the controller, in seconds since 1970.
  returned: with O(ask)
  type: float
  sample: 1796039071.2
problems:
  description: The problems found, one text for each host with O(step).
  returned: always
  type: list
  elements: str
  sample: ["ns1.univ.example: did not finish the step dns in this run; unreachable: Connection timed out"]
notes:
  description: What the host could not determine, such as rules of a router that are not understood.
  returned: with O(ask)
  type: list
  elements: str
"""
