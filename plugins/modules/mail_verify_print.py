#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Documentation of mail_verify_print; the action plugin of the same name implements it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_verify_print
short_description: Judge and report the verification of a campus
version_added: 0.3.0
author: mailgate contributors (@mailgate)
description:
  - Compares the answers of all hosts and vantage points with the plan, and returns the faults, the most important
    first, each with what is wrong, where, why it matters and how to fix it. Fails if there are any.
  - Writes them as HTML, text, JSON, and JUnit XML for CI.
extends_documentation_fragment:
  - campus.mailgate.inputs.plan
  - campus.mailgate.attributes
  - campus.mailgate.attributes.controller
attributes:
  diff_mode:
    support: none
options:
  answers:
    description: The results of M(campus.mailgate.mail_verify) on the hosts.
    type: list
    elements: dict
    required: true
  probes:
    description: Its results at the vantage points.
    type: list
    elements: dict
    default: []
  sent:
    description: Its results at the vantage point that sent test messages.
    type: list
    elements: dict
    default: []
    version_added: 0.3.0
  found:
    description: Its results on the final servers of the test messages.
    type: list
    elements: dict
    default: []
    version_added: 0.3.0
  outbound:
    description:
      - The addresses outside of the campus that hosts connected to, as O(campus.mailgate.mail_verify#module:outbound).
      - Which hosts may do so is read from C(border_firewall_outbound), C(border_firewall_networks) and
        C(border_firewall_state) of the border routers in the inventory.
    type: list
    elements: str
    default: []
    version_added: 0.3.0
  dest:
    description:
      - The directory for C(verify.html), C(verify.txt), C(verify.json) and C(verify.xml). It is created if it does not
        exist.
    type: path
  textfile:
    description:
      - A file for the textfile collector of Prometheus' C(node_exporter) on the controller, for example
        C(/var/lib/prometheus/node-exporter/mailgate.prom). It has the faults by level and kind, the time of the
        verification, its duration if O(began) is given, and when the first certificate of a mail server expires.
    type: path
    version_added: 0.3.0
  began:
    description: When the verification began, in seconds since 1970.
    type: float
    version_added: 0.3.0
  baseline:
    description:
      - A YAML file with acknowledged faults, a list of entries with C(fault) (the name in brackets of the report, with
        V(*) for any characters), C(reason) and C(until), its last day. They do not count until then.
    type: path
  limits:
    description: The limits for warnings.
    type: dict
    suboptions:
      certificate_days:
        description: A certificate must be valid for longer than this.
        type: int
        default: 14
      permit_days:
        description: A permit must be valid for longer than this.
        type: int
        default: 14
      dnssec_days:
        description: DNSSEC signatures must be valid for longer than this.
        type: int
        default: 3
      signature_days:
        description: The greatest age of virus signatures.
        type: int
        default: 3
      queue_messages:
        description: The greatest number of messages in a queue.
        type: int
        default: 1000
      queue_hours:
        description: The age of the oldest message in a queue from which on it is reported.
        type: int
        default: 24
      clock_seconds:
        description: The greatest difference of a host's clock from the controller's.
        type: int
        default: 5
      ttl_min:
        description: The least TTL of MX records in seconds.
        type: int
        default: 600
      ttl_max:
        description: The greatest TTL of MX records in seconds.
        type: int
        default: 172800
  show:
    description: Display RV(text).
    type: bool
    default: false
  fail:
    description: Whether to fail if there are faults.
    type: bool
    default: true
seealso:
  - module: campus.mailgate.mail_verify
"""

EXAMPLES = r"""
- name: Report the verification
  campus.mailgate.mail_verify_print:
    plan: "{{ mailgate_plan }}"
    answers: "{{ ansible_play_hosts_all | map('extract', hostvars) | map(attribute='mailgate_verify_answer') | list }}"
    probes: "{{ [hostvars['localhost'].mailgate_verify_probe] }}"
    dest: reports
    baseline: baseline.yml
  run_once: true
"""

RETURN = r"""
faults:
  description:
    - The faults that count, the most important first, each with C(id), C(kind), C(level) (V(error) or V(warning)),
      C(host), C(what), C(why), C(fix) and C(seen_from).
  returned: always
  type: list
  elements: dict
acknowledged:
  description: The names of the faults that the baseline acknowledges.
  returned: always
  type: list
  elements: str
text:
  description: The report as text, in the language of the campus.
  returned: always
  type: str
paths:
  description: The files that changed.
  returned: always
  type: list
  elements: str
"""
