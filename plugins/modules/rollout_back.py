#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of rollout_back; the action plugin of the same name implements it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_back
short_description: Decide whether a run can be taken back, and in which steps
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Finds the record of a run, and fails with one line if the run cannot be taken back as a whole. Changes nothing.
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
  action:
    description: Runs on the controller only.
    support: full
options:
  run:
    description: The run.
    type: str
    required: true
  directory:
    description: The directory of the records on the controller.
    type: path
    required: true
  campus:
    description: The name of the campus.
    type: str
    required: true
  answers:
    description: The results of M(campus.mailgate.host_run) for all hosts. Without it, only the record is checked.
    type: list
    elements: dict
  left:
    description: For each DNS server the MX records that others have changed since.
    type: dict
    default: {}
  broken:
    description: For each DNS server whose zones cannot be compared the reason.
    type: dict
    default: {}
  hosts:
    description: The hosts of the plan, gateways in the order in which they are changed.
    type: list
    elements: str
    default: []
  exchanges:
    description: The names of the gateways in MX records.
    type: list
    elements: str
    default: []
  accept:
    description: Hosts that need not be asked.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Require that the run can be taken back
  campus.mailgate.rollout_back:
    run: 20261130T101500Z-4711
    directory: ~/.local/state/mailgate/runs
    campus: Example University
"""

RETURN = r"""
steps:
  description: The hosts of each step.
  returned: with O(answers)
  type: dict
roles:
  description: For each host the roles whose files are restored.
  returned: with O(answers)
  type: dict
new:
  description: For each host the roles that are removed, as the host had nothing of them before the run.
  returned: with O(answers)
  type: dict
leaving:
  description: The domains that a gateway will not route any more.
  returned: with O(answers)
  type: list
  elements: str
"""
